"""``bioclip-plugin demo``: the whole job on an invented camera trap, without network or data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from bioclip_core.errors import BioclipError
from bioclip_core.files.replacing import remove, remove_tree
from bioclip_core.files.whole import replacing_folder
from bioclip_core.next_commands import command, next_lines
from bioclip_plugin.commands.classify import classify
from bioclip_plugin.commands.context import EXIT_DONE, EXIT_WITH_FAILURES
from bioclip_plugin.commands.export import export
from bioclip_plugin.commands.report import report
from bioclip_plugin.commands.reporting import console_for, print_lines, print_table, printable
from bioclip_plugin.store import open_store

if TYPE_CHECKING:
    from bioclip_plugin.store import StoredItem

_IMAGES = 24
_CORRUPT = 1  # write_camera_trap cuts off one file, as a camera with an empty battery does
_PHOTOS, _STORE, _TABLE, _PAGE = "photos", "demo.db", "results.csv", "report.html"
_MARK = ".bioclip-demo"  # this file marks a folder as a demo's, before anything in it is replaced


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("demo"),
    show_default=True,
    help="Folder of the photos and all results.",
)
@click.option("--fresh", is_flag=True, help="Remove the files of an earlier demo and start again.")
@click.pass_context
def demo(ctx: click.Context, folder: Path, fresh: bool) -> int:
    """See the whole job: photos of an invented camera trap are drawn, classified, shown, exported and reported.

    Needs neither network nor data. Every species is fictional. A second demo finds everything done.

    \b
    bioclip-plugin demo
    bioclip-plugin demo --folder /tmp/look --fresh
    """
    console = console_for()
    prepare_folder(folder, fresh=fresh)
    photos, store, table, page = (folder / name for name in (_PHOTOS, _STORE, _TABLE, _PAGE))
    if not photos.is_dir():
        _draw(console, photos)
    console.print(f"\n$ {command('classify', photos, model='demo', store=store)}")
    before = _done(store)
    code: int = ctx.invoke(classify, paths=(str(photos),), model="demo", store=str(store))
    if code not in (EXIT_DONE, EXIT_WITH_FAILURES):
        return code
    if before and before == _done(store):
        console.print(f"All {before} were done by an earlier demo; only the file that failed was opened again.")
    failed = _show(console, store)
    console.print(f"\n$ {command('export', store=store, output=table, force=True)}")
    ctx.invoke(export, store=str(store), output=table, force=True)
    console.print(f"\n$ {command('report', store=store, output=page, force=True)}")
    ctx.invoke(report, store=str(store), output=page, force=True)
    print_lines(
        console,
        f"\nPhotos:  {photos}",
        f"Results: {store} (SQLite: runs, answers, features)",
        f"Table:   {table}",
        f"Report:  {page} (open it in a browser)",
        "These prove that no image is missing, answer again without opening an image, and use the real model, fetched once:",
        *next_lines(
            command("runs verify", store=store),
            then=[
                command("classify", photos, model="demo", rank="family", store=store),
                command("classify", "PATHS", store="results.db"),
            ],
        ),
    )
    return EXIT_DONE if failed == _CORRUPT else EXIT_WITH_FAILURES


def prepare_folder(folder: Path, *, fresh: bool) -> None:
    """Make the folder of the demo; a folder that holds anything else is refused."""
    if folder.exists() and not (folder / _MARK).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise BioclipError(f"{folder} holds something else than a demo: give another folder with --folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _MARK).touch()
        if fresh:
            remove_tree(folder / _PHOTOS)
            for name in (_STORE, f"{_STORE}-wal", f"{_STORE}-shm", _TABLE, _PAGE):
                remove(folder / name)
    except OSError as error:
        raise BioclipError(f"{folder} cannot be used for the demo: {error.strerror or error}") from error


def _draw(console: Console, photos: Path) -> None:
    from bioclip_training.biosphere import Biosphere
    from bioclip_training.biosphere.camera_trap import write_camera_trap

    console.print(f"Drawing {_IMAGES} photos of an invented camera trap into {photos}, one of them cut off")
    with replacing_folder(photos, flush=False) as draft:
        write_camera_trap(draft, Biosphere.grow(), images=_IMAGES)


def _done(store: Path) -> int:
    """Return the number of images that the store has answers for."""
    if not store.is_file():
        return 0
    with open_store(str(store)) as opened:
        return max((opened.summary(run).done for run in opened.runs()), default=0)


def _show(console: Console, store: Path) -> int:
    """Print the answers and the failures, and return the number of failures."""
    with open_store(str(store)) as opened:
        items = list(opened.items_of(opened.run()))
    console.print("\nEvery species is invented.")
    columns = ("image", "when", "camera", "best name", "probability", "consensus")
    print_table(console, columns, (row for item in items for row in _rows(item)))
    failures = [f"Failed: {printable(one.item.uri)}: {one.failure.reason}" for one in items if one.failure is not None]
    print_lines(console, *failures)
    return len(failures)


def _rows(stored: StoredItem) -> Iterator[tuple[str, ...]]:
    item = stored.item
    camera = item.deployment or Path(item.uri).parent.name
    when = f"{item.captured_at:%Y-%m-%d %H:%M:%S}" if item.captured_at else ""
    for region in stored.regions:
        best = region.by_rank["species"][0]
        consensus = f"{region.consensus.name} ({region.consensus.rank})" if region.consensus else "none"
        yield Path(item.uri).name, when, camera, best.name, f"{best.probability:.3f}", consensus
