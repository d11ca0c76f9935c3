"""``bioclip-plugin demo``: the whole job on an invented camera trap, without network or data."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bioclip_core.errors import BioclipError
from bioclip_core.files.whole import replacing_folder
from bioclip_plugin.cli import EXIT_DONE, EXIT_WITH_FAILURES
from bioclip_plugin.commands.classify import classify
from bioclip_plugin.commands.export import export
from bioclip_plugin.commands.report import report
from bioclip_plugin.commands.reporting import console_for, print_table, printable

if TYPE_CHECKING:
    from rich.console import Console

    from bioclip_plugin.store import StoredItem

_IMAGES = 24
_CORRUPT = 1  # write_camera_trap cuts off one file, as a camera with an empty battery does
_PHOTOS, _STORE, _TABLE, _PAGE = "photos", "demo.db", "results.csv", "report.html"
_MARK = ".bioclip-demo"  # by this file a folder is known as ours, before anything in it is replaced


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("demo"),
    show_default=True,
    help="Where everything goes.",
)
@click.option("--fresh", is_flag=True, help="Remove what an earlier demo left there and begin anew.")
@click.pass_context
def demo(ctx: click.Context, folder: Path, fresh: bool) -> int:
    """See the whole job: photos of an invented camera trap are drawn, classified, shown, exported and reported.

    Needs neither network nor data. Every species is fictional. Done again, it finds everything done.

    \b
    bioclip-plugin demo
    bioclip-plugin demo --folder /tmp/look --fresh
    """
    console = console_for()
    photos, store, table, page = _prepared(folder, fresh=fresh)
    if not photos.is_dir():
        _draw(console, photos)
    console.print(f"\n$ bioclip-plugin classify {photos} --model demo --store {store}")
    before = _done(store)
    code: int = ctx.invoke(classify, paths=(str(photos),), model="demo", store=str(store))
    if code not in (EXIT_DONE, EXIT_WITH_FAILURES):
        return code
    if before and before == _done(store):
        console.print(f"All {before} were done by an earlier demo; only the file that failed was opened again.")
    failed = _show(console, store)
    console.print(f"\n$ bioclip-plugin export --store {store} --output {table} --force")
    ctx.invoke(export, store=str(store), output=table, force=True)
    console.print(f"\n$ bioclip-plugin report --store {store} --output {page} --force")
    ctx.invoke(report, store=str(store), output=page, force=True)
    _say_where(console, photos, store, table, page)
    return EXIT_DONE if failed == _CORRUPT else EXIT_WITH_FAILURES


def _prepared(folder: Path, *, fresh: bool) -> tuple[Path, Path, Path, Path]:
    """The demo's folder and the places in it; a folder that holds something else is left alone."""
    places = folder / _PHOTOS, folder / _STORE, folder / _TABLE, folder / _PAGE
    if folder.exists() and not (folder / _MARK).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise BioclipError(f"{folder} holds something else than a demo: give another place with --folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _MARK).touch()
        if fresh:
            shutil.rmtree(places[0], ignore_errors=True)
            for name in (_STORE, f"{_STORE}-wal", f"{_STORE}-shm", _TABLE, _PAGE):
                (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise BioclipError(f"{folder} cannot be used for the demo: {error.strerror or error}") from error
    return places


def _draw(console: Console, photos: Path) -> None:
    """Draw the photos; an interrupted drawing leaves nothing that looks finished."""
    from bioclip_training.biosphere import Biosphere
    from bioclip_training.biosphere.camera_trap import write_camera_trap

    console.print(f"Drawing {_IMAGES} photos of an invented camera trap into {photos}, one of them cut off")
    with replacing_folder(photos) as draft:
        write_camera_trap(draft, Biosphere.grow(), images=_IMAGES)


def _done(store: Path) -> int:
    """How many images the store has answers for."""
    from bioclip_plugin.store import Store

    if not store.is_file():
        return 0
    with Store.open(store) as opened:
        return max((opened.summary(run).done for run in opened.runs()), default=0)


def _show(console: Console, store: Path) -> int:
    """The table of answers and the failures; how many failures there are."""
    from bioclip_plugin.store import Store

    with Store.open(store, create=False) as opened:
        run = opened.run()
        items = list(opened.items_of(run))
    console.print("\nEvery species is invented.")
    columns = ("image", "when", "camera", "best name", "probability", "consensus")
    print_table(console, columns, (row for item in items for row in _rows(item)))
    failed = [item for item in items if item.failure is not None]
    for item in failed:
        console.print(f"Failed: {printable(item.item.uri)}: {item.failure.reason if item.failure else ''}")
    return len(failed)


def _rows(stored: StoredItem) -> Iterator[tuple[str, ...]]:
    item = stored.item
    camera = item.deployment or Path(item.uri).parent.name
    when = f"{item.captured_at:%Y-%m-%d %H:%M:%S}" if item.captured_at else ""
    for region in stored.regions:
        best = region.by_rank["species"][0]
        consensus = f"{region.consensus.name} ({region.consensus.rank})" if region.consensus else "none"
        yield Path(item.uri).name, when, camera, best.name, f"{best.probability:.3f}", consensus


def _say_where(console: Console, photos: Path, store: Path, table: Path, page: Path) -> None:
    for line in (
        "",
        f"Photos:  {photos}",
        f"Results: {store} (SQLite: runs, answers, features)",
        f"Table:   {table}",
        f"Report:  {page} (open it in a browser)",
        "Next:",
        f"  bioclip-plugin runs verify --store {store}                        proves that no image is missing",
        f"  bioclip-plugin classify {photos} --model demo --rank family --store {store}   opens no image again",
        "  bioclip-plugin classify YOUR_PHOTOS --store results.db               the real model, fetched once",
    ):
        console.print(line)
