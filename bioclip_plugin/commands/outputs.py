"""Outputs of commands: CSV files, and a check that an output does not replace an image with results in the store."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bioclip_core.errors import BioclipError
from bioclip_core.files.whole import whole_file
from bioclip_plugin.formats.tables.write import spreadsheet_safe
from bioclip_plugin.items.media import uri_of
from bioclip_plugin.store import Store


@contextmanager
def csv_output(
    path: Path | None, columns: Iterable[str], *, force: bool, reads: Collection[str | os.PathLike[str]] = ()
) -> Iterator[Callable[[Iterable[Any]], None]]:
    """Give a function that writes a row to a CSV file, which is whole when the block ends and absent if it fails.

    Args:
        path: the file; None: rows are dropped.
        columns: the names of the columns.
        force: replace an existing file.
        reads: inputs of the same command, which are never replaced.

    Raises:
        BioclipError: if the file must not be replaced or cannot be written.
    """
    if path is None:
        yield lambda _cells: None
        return
    with whole_file(path, force=force, reads=reads) as draft, draft.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(columns)
        yield lambda cells: table.writerow(
            spreadsheet_safe(cell) if isinstance(cell, str) else cell for cell in cells
        )  # fmt: skip


def refuse_listed_image(store: Store, output: Path) -> None:
    """Refuse an output that would replace an image, or a file that images were listed from.

    Raises:
        BioclipError: if it would.
    """
    if not output.is_file():
        return
    seen_from_here = Path(os.path.relpath(output))
    names = {uri_of(name) for name in (output, output.absolute(), output.resolve(), seen_from_here)}
    sources = {source for run in store.runs() for source in run.sources}
    if names & sources or store.regions_of([(name, 0) for name in names]):
        raise BioclipError(f"the output {output} is a file that this store has results of: give another name")
