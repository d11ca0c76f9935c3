"""Tables and lists of taxa that rules read: rows with their line numbers, names looked up in a label set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bioclip_core.cells import column_name
from bioclip_core.errors import DataError, SourceError
from bioclip_core.files.documents import MAX_DOCUMENT_BYTES
from bioclip_core.files.regular import open_regular
from bioclip_core.labels.checklist import NameIndex
from bioclip_core.labels.label_set import LabelSet
from bioclip_core.tables.reading import sure_rows
from bioclip_core.taxonomy import taxon_from_row

_NAME_COLUMNS = ("taxon", "label", "name", "scientificname", "canonicalname")
_SHOWN = 5


def read_text(path: Path, kind: str) -> str:
    """Return the text of a file.

    Raises:
        DataError: if it cannot be read, is larger than any list of taxa, or is not UTF-8.
    """
    try:
        with open_regular(path) as file:
            data = file.read(MAX_DOCUMENT_BYTES + 1)
        if len(data) > MAX_DOCUMENT_BYTES:
            raise DataError(f"{kind} {path} has more than {MAX_DOCUMENT_BYTES:,} bytes; is it the file that you meant?")
        return data.decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{kind} {path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{kind} {path} is not UTF-8 (byte {error.start}); save it as UTF-8") from None


def named_rows(path: Path, kind: str) -> Iterator[tuple[int, str, dict[str, str]]]:
    """Yield line number, taxon and cells of each row of a table; columns in lower case without underscores.

    The taxon is that of a column of its own, or of the columns of its ranks.

    Raises:
        DataError: without rows, and for a row without a taxon.
    """
    is_empty = True
    try:
        _, rows = sure_rows(path, name=f"{kind} {path}")
        for row in rows:
            cells = {column_name(name): str(cell).strip() for name, cell in row.cells.items()}
            is_empty = False
            own = next((cells[column] for column in _NAME_COLUMNS if cells.get(column)), "")
            name = own or taxon_from_row(cells).scientific_name
            if not name:
                raise DataError(
                    f"{kind} {path}, line {row.line}: no taxon; name it in a column taxon or in those of its ranks"
                )
            yield row.line, name, cells
    except SourceError as error:
        raise DataError(str(error)) from None
    if is_empty:
        raise DataError(f"{kind} {path} is empty below its header")


def rows_of_names(labels: LabelSet, names: Iterable[str]) -> tuple[dict[str, NDArray[np.int64]], list[str]]:
    """Return the label set's rows under each name (of any rank), and the names that it lacks."""
    index = NameIndex(labels)
    rows = {name: index.rows(name) for name in dict.fromkeys(names)}
    return {name: found for name, found in rows.items() if found is not None}, [
        name for name, found in rows.items() if found is None
    ]


def missing_note(path: Path, missing: list[str], count: int) -> list[str]:
    """Return one sentence on the names of a file that the label set lacks; nothing if it has them all."""
    more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    shown = ", ".join(missing[:_SHOWN])
    return [f"{path.name}: {len(missing)} of {count} names are not in the label set: {shown}{more}"] if missing else []
