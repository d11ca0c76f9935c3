"""Outputs of commands: CSV files, a check against replacing images, and a warning about unfinished runs."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from bioclip_core.errors import BioclipError
from bioclip_core.files.drives import relative
from bioclip_core.files.whole import whole_file
from bioclip_core.next_commands import command, next_lines
from bioclip_plugin.commands.reporting import print_lines
from bioclip_plugin.items.media import uri_of

if TYPE_CHECKING:
    from bioclip_plugin.store import Run, Store


@contextmanager
def csv_output(
    path: Path | None,
    columns: Iterable[str],
    console: Console | None = None,
    *,
    force: bool,
    reads: Collection[str | os.PathLike[str]] = (),
) -> Iterator[Callable[[Iterable[Any]], None]]:
    """Give a function that writes a row to a CSV file, which is whole when the block ends and absent if it fails.

    Args:
        path: the file; None: rows are dropped.
        columns: the names of the columns.
        console: where the path is printed at the end; None: nowhere.
        force: replace an existing file.
        reads: inputs of the same command, which are never replaced.

    Raises:
        BioclipError: if the file must not be replaced or cannot be written.
    """
    from bioclip_plugin.formats.shared.exported import guarded

    if path is None:
        yield lambda _cells: None
        return
    with whole_file(path, force=force, reads=reads) as draft, draft.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(columns)
        yield lambda cells: table.writerow(
            guarded(cell) if isinstance(cell, str) else cell for cell in cells
        )  # fmt: skip
    if console:
        console.print(f"Output: {path}")


def refuse_listed_image(store: Store, output: Path) -> None:
    """Refuse an output that would replace an image, or a file that images were listed from.

    Raises:
        BioclipError: if it would.
    """
    if not output.is_file():
        return
    spellings = (output, output.absolute(), output.resolve(), relative(output))
    names = {uri_of(spelling) for spelling in spellings if spelling}
    if names.intersection(*(run.sources for run in store.runs())) or store.regions_of([(name, 0) for name in names]):
        raise BioclipError(f"the output {output} is a file that this store has results of: give another name")


def say_unfinished(console: Console, store: Store, run: Run) -> None:
    """Warn that a run is not finished, so that an output of it is not taken for the whole."""
    todo, undecided = store.summary(run).todo, store.undecided(run)
    print_lines(
        console,
        f"Not finished: {todo:,} images are still to do; the classify command of this run continues with them."
        if todo
        else "",
        f"Not finished: {undecided:,} regions are not decided by the run's rules and have their plain consensus."
        if undecided
        else "",
        *(next_lines(command("rules apply", store=store.shown_address, run=run.id)) if undecided else ()),
    )
