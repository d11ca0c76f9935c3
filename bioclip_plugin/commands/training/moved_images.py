"""Missing images of a table that are found in another folder nearby: the option that finds them, for the summary of ``catalog build``."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from bioclip_core.errors import SourceError
from bioclip_core.files.elsewhere import moved_beginning, replacing
from bioclip_core.files.moved import is_from_windows
from bioclip_core.files.present import exists

MISSING = frozenset({"missing image", "no file"})
"""Kinds of skipped rows whose images may have moved."""
_LOOKED_FOR = 50


@contextmanager
def naming_moved_images(work: Path, tables: Sequence[str]) -> Iterator[None]:
    """Add the option that finds the missing images to an error of the block, in which ``removed.csv`` is written in ``work``."""
    try:
        yield
    except SourceError as error:
        if line := moved_line(work / "removed.csv", tables):
            raise SourceError(f"{error}; {line}") from error
        raise


def moved_line(removed: Path | None, tables: Sequence[str]) -> str:
    """Return the option with which missing images are found; empty if none are missing, or they are not found.

    Args:
        removed: the list of skipped rows.
        tables: the tables, as given to the command.
    """
    if removed is None or not removed.is_file():
        return ""
    from bioclip_training.catalog.uris import file_of

    folders = {table: Path(table).absolute().parent for table in tables}
    missing: list[str] = []
    with removed.open(newline="", encoding="utf-8") as file:
        skipped = (row for row in csv.DictReader(file) if row["kind"] in MISSING)
        for row in islice(skipped, _LOOKED_FOR):
            base = next((folder for table, folder in folders.items() if table.endswith(row["source"])), Path.cwd())
            path = file_of(row["uri"], base)
            if not exists(path):
                missing.append(row["uri"] if is_from_windows(row["uri"]) else os.path.abspath(path))  # noqa: PTH100
    found = moved_beginning(missing, [*dict.fromkeys(folders.values()), Path.cwd()]) if missing else None
    if found is None:
        return ""
    old, new, count = found
    return (
        f"{count} of {len(missing)} missing files are in {new}, by their names; to use them, give {replacing(old, new)}"
    )
