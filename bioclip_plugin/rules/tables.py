"""Tables and lists of taxa that rules read: rows with their line numbers, names looked up in a label set."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bioclip_core.cells import column_name
from bioclip_core.errors import UsageError
from bioclip_core.taxonomy import taxon_from_row

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bioclip_core.labels.label_set import LabelSet

_NAME_COLUMNS = ("taxon", "label", "name", "scientificname", "canonicalname")
_SHOWN = 5


def read_text(path: Path, what: str) -> str:
    """A file's text.

    Raises:
        UsageError: if it cannot be read or is not UTF-8.
    """
    try:
        return path.read_text("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{what} {path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{what} {path} is not UTF-8 (byte {error.start}); save it as UTF-8") from None


def read_rows(path: Path, what: str) -> list[tuple[int, dict[str, str]]]:
    """The rows of a CSV or TSV with their line numbers; columns in lower case without underscores.

    Raises:
        UsageError: if there is no header or no row.
    """
    lines = read_text(path, what).splitlines()
    first = lines[0] if lines else ""
    delimiter = (
        "\t" if path.suffix.lower() == ".tsv" or "\t" in first else ";" if first.count(";") > first.count(",") else ","
    )
    reader = csv.DictReader(lines, delimiter=delimiter)
    rows = []
    for row in reader:
        cells = {
            column_name(name): (cell or "").strip() for name, cell in row.items() if name and isinstance(cell, str)
        }
        if any(cells.values()):
            rows.append((reader.line_num, cells))
    if not rows:
        raise UsageError(f"{what} {path} has no rows below its header")
    return rows


def name_in(row: Mapping[str, str]) -> str:
    """The taxon that a row names: in a column of its own, or by the columns of its ranks; empty for none."""
    own = next((row[column] for column in _NAME_COLUMNS if row.get(column)), "")
    return own or taxon_from_row(row).scientific_name


def rows_of_names(labels: LabelSet, names: Iterable[str]) -> tuple[dict[str, NDArray[np.int64]], list[str]]:
    """The label set's rows under each name (of any rank), and the names that it does not have."""
    from bioclip_core.labels.checklist import NameIndex

    index = NameIndex(labels)
    found: dict[str, NDArray[np.int64]] = {}
    missing = []
    for name in dict.fromkeys(names):
        rows = index.rows(name)
        if rows is None:
            missing.append(name)
        else:
            found[name] = rows
    return found, missing


def missing_note(where: Path, missing: list[str], count: int) -> list[str]:
    """One sentence on the names of a file that the label set lacks, none where it lacks none."""
    if not missing:
        return []
    more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    return [
        f"{where.name}: {len(missing)} of {count} names are not in the label set: {', '.join(missing[:_SHOWN])}{more}"
    ]
