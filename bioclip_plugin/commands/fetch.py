"""``bioclip-plugin fetch``: the manifest of a folder of fetched images as CSV, and a check of its files."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bioclip_core.errors import DataError
from bioclip_core.files.replacing import remove
from bioclip_core.findings import shortened
from bioclip_core.nouns import number_of
from bioclip_plugin.commands.context import EXIT_DONE, EXIT_WITH_FAILURES
from bioclip_plugin.commands.options import force_option, output_option
from bioclip_plugin.commands.outputs import csv_output
from bioclip_plugin.commands.progress import ProgressLine
from bioclip_plugin.commands.reporting import console_for, print_lines, printable, write_csv_as_utf_8
from bioclip_plugin.commands.signals import interruptible

if TYPE_CHECKING:
    from bioclip_plugin.fetching.cache import Cache
    from bioclip_plugin.fetching.manifest import Record

_COLUMNS = (
    "address", "status", "reason", "time", "bytes", "sha256", "file", "media_type", "licence", "final_address", "tries", "etag",
    "last_modified",
)  # fmt: skip
_folder = click.argument("folder", type=click.Path(path_type=Path), metavar="FOLDER")


@click.group()
def fetch() -> None:
    """Show and check a folder of fetched images, which `classify --fetch FOLDER` fills.

    \b
    bioclip-plugin fetch manifest fetched --output manifest.csv
    bioclip-plugin fetch check fetched
    """


@fetch.command("manifest")
@_folder
@output_option("CSV file to write.", required=False, show_default="standard output")
@force_option
@click.option("--failed", is_flag=True, help="Write failures only.")
def manifest(folder: Path, output: Path | None, force: bool, failed: bool) -> int:
    """Write what is known of each address as CSV: status, time, sha256, bytes, file, licence and more.

    \b
    bioclip-plugin fetch manifest fetched --output manifest.csv
    """
    from bioclip_plugin.fetching.cache import Cache
    from bioclip_plugin.fetching.manifest import Manifest
    from bioclip_plugin.formats.shared.exported import guarded

    cache, console = Cache(folder, create=False), console_for(to_stderr=True)
    damaged = written = 0
    with interruptible(console, "No manifest was kept."), csv_output(output, _COLUMNS, force=force) as write:
        if output is None:
            write_csv_as_utf_8()
            table = csv.writer(sys.stdout)
            table.writerow(_COLUMNS)
            write = lambda cells: table.writerow(guarded(cell) if isinstance(cell, str) else cell for cell in cells)  # noqa: E731
        for _, record in Manifest(folder).records():
            if isinstance(record, DataError):
                damaged += 1
                console.print(printable(str(record)), markup=False)
            elif not failed or record.reason:
                written += 1
                write(_cells(cache, record))
    if output is not None:
        print_lines(console_for(), f"Output: {output}, {number_of(written, 'address', 'addresses')}")
    return EXIT_WITH_FAILURES if damaged else EXIT_DONE


def _cells(cache: Cache, record: Record) -> tuple[Any, ...]:
    file = cache.path_of(record.sha256, record.suffix).relative_to(cache.folder).as_posix() if record.is_fetched else ""
    return (
        record.address, record.status, record.reason, record.time, record.bytes if record.is_fetched else None, record.sha256, file,
        record.media_type, record.licence, record.final_address, record.tries, record.etag, record.last_modified,
    )  # fmt: skip


@fetch.command("check")
@_folder
@click.option("--remove", "removes", is_flag=True, help="Remove what is damaged, so that it is fetched again.")
def check(folder: Path, removes: bool) -> int:
    """Compare every image with its sha256, which is its name, and every record with its image. Needs no network.

    \b
    bioclip-plugin fetch check fetched
    """
    from bioclip_plugin.fetching.cache import Cache

    cache, console = Cache(folder, create=False), console_for()
    images = faults = 0
    with (
        interruptible(console, "The images that were not compared may be damaged."),
        ProgressLine("Checking", beats=True) as line,
    ):
        for path, fault in _faults(cache):
            if not fault:
                images += 1
                line.advance()
                continue
            faults += 1
            console.print(printable(f"{path}: {fault}"), markup=False)
            if removes:
                try:
                    remove(path)
                except OSError as error:
                    raise DataError(f"{path} cannot be removed: {error.strerror or error}") from error
    removed = " and removed: the next `classify --fetch` fetches them again" if removes and faults else ""
    print_lines(console, f"{folder}: {number_of(images, 'image')} as fetched, {faults} damaged or missing{removed}")
    return EXIT_WITH_FAILURES if faults else EXIT_DONE


def _faults(cache: Cache) -> Iterator[tuple[Path, str]]:
    """Yield every image, and every record that is of no use, with its fault; an empty one for a sound image."""
    from bioclip_plugin.fetching.cache import sha256_of
    from bioclip_plugin.fetching.manifest import Manifest

    for path in cache.images():
        try:
            if not path.is_file():  # a named pipe would be waited for
                yield path, "it is not a file"
                continue
            yield path, "" if sha256_of(path) == path.stem else "its content has another sha256 than its name"
        except OSError as error:
            yield path, f"it cannot be read ({error.strerror or error})"
    for path, record in Manifest(cache.folder).records():
        if isinstance(record, DataError):
            yield path, "the record is damaged"
        elif record.is_fetched and not cache.path_of(record.sha256, record.suffix).is_file():
            yield path, f"the image of {shortened(record.address)} is missing"
