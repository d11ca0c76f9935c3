"""First look at the images of a collection, before a model is opened: are they there, and are they still those that were recorded?"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import BioclipError, ImageError, SourceError
from bioclip_core.files.elsewhere import moved_beginning, replacing
from bioclip_core.files.moved import MovedNames, is_from_windows
from bioclip_core.files.present import exists
from bioclip_core.images.decoding import read_bytes
from bioclip_core.tables.options import PathOptions
from bioclip_training.catalog.ahead import in_order, threads_for
from bioclip_training.catalog.recorded import VERIFY, is_hash, verified
from bioclip_training.catalog.rows import Catalog
from bioclip_training.catalog.uris import file_of

LOOKED_AT = 50
"""Images that are read before the work begins, evenly spread over the rows."""
MOST_DIFFERENT = 0.5
"""Share of them above which a collection is refused whose images are not the recorded ones; up to it, each one is skipped."""

Failures = dict[int, ImageError]


def look_first(catalog: Catalog, rows: NDArray[np.int64]) -> list[str]:
    """Read a few images of a catalog's rows; return what is to be said before the others are read.

    Raises:
        SourceError: if none can be read, or more than half of them are not the recorded ones, with what to do.
    """
    looked = spread(rows)
    failures = failures_of(catalog.encoded, looked)
    unread = [row for row, error in failures.items() if error.stage == "read"]
    proposal = _proposal(catalog, unread) if unread else ""
    if looked and len(unread) == len(looked):
        first = unread[0]
        advice = f"{proposal}, or put the catalog back where it was built" if proposal else read_advice(catalog)
        raise SourceError(
            f"none of {len(looked)} images of {catalog.name} that were looked at could be used; the first is "
            f"{catalog.key(first)}: {failures[first]}. {advice}"
        )
    _check_recorded(catalog, len(looked), failures)
    unverified = catalog.unverified(rows)
    return [
        *catalog.notes,
        *(
            [f"{len(unread)} of {len(looked)} images that were looked at could not be read. {proposal}"]
            if proposal
            else []
        ),
        *unverified_lines(catalog.name, unverified, len(rows)),
    ]


def failures_of(read: Callable[[int], object], wanted: list[int]) -> Failures:
    """Return the reason of each image that cannot be read, in the order of ``wanted``."""

    def tried(index: int) -> ImageError | None:
        try:
            read(index)
        except ImageError as error:
            return error
        return None

    threads = threads_for(None)
    with closing(in_order(tried, wanted, threads, 2 * threads, name="bioclip-look")) as outcomes:
        return {index: error for index, error in zip(wanted, outcomes, strict=True) if error is not None}


def unused_prefix_lines(catalogs: Sequence[Catalog], replace_prefix: Sequence[str]) -> list[str]:
    """Return a line for each old beginning of ``--replace-prefix`` that no image has, and for each folder of shards it is given for."""
    lines = []
    listed = [catalog for catalog in catalogs if not catalog.holds_images]
    for old, new in PathOptions(replace_prefix=tuple(replace_prefix)).prefixes.items() if listed else ():
        moved = MovedNames({old: new}, Path())
        names = ((uri, os.path.abspath(file_of(uri, one.file.parent))) for one in listed for uri in one.column("uri"))  # noqa: PTH100
        if not any(moved.of(uri) or moved.of(path) for uri, path in names):
            lines.append(f"--replace-prefix: no image has a name that begins with {old}")
    return lines + [
        f"--replace-prefix is without effect on the shards {catalog.name}, which hold their images: leave it out"
        for catalog in catalogs
        if catalog.holds_images and replace_prefix
    ]


def unverified_lines(what: str, unverified: int, images: int) -> list[str]:
    """Return the note on images without a recorded sha256, if there are any."""
    if not unverified:
        return []
    count = "its images have" if unverified == images else f"{unverified} of {images} images have"
    return [f"{what}: {count} no recorded sha256, so that they are read unverified"]


def _check_recorded(catalog: Catalog, looked: int, failures: Failures) -> None:
    """Refuse a collection of which more than ``MOST_DIFFERENT`` of the images are others than the recorded ones."""
    different = [row for row, error in failures.items() if error.stage == VERIFY]
    if len(different) > MOST_DIFFERENT * looked:
        raise SourceError(
            f"{len(different)} of {looked} images of {catalog.name} that were looked at are not those that were recorded; the first is "
            f"{catalog.key(different[0])}: {failures[different[0]]}. Restore the files, or {catalog.made_again}"
        )


def spread(rows: NDArray[np.int64]) -> list[int]:
    """Return up to ``LOOKED_AT`` of the rows, evenly spread."""
    if not len(rows):
        return []
    places = np.linspace(0, len(rows) - 1, min(len(rows), LOOKED_AT)).round().astype(int)
    return [int(row) for row in rows[np.unique(places)]]


def _proposal(catalog: Catalog, unread: list[int]) -> str:
    """Return the option with which missing files are found in another folder; empty if they are not found."""
    uris, hashes = (catalog.column(name) for name in ("uri", "sha256"))
    recorded: dict[str, str] = {}
    for row in unread:
        if not catalog.holds_images and not exists(catalog.path(row)):
            written = file_of(uris[row], catalog.file.parent)
            recorded[uris[row] if is_from_windows(uris[row]) else os.path.abspath(written)] = hashes[row]  # noqa: PTH100

    def fits(missing: str, found: str) -> bool:
        try:
            verified(read_bytes(found), recorded[missing])
        except BioclipError:
            return False
        return True

    found = moved_beginning(list(recorded), (catalog.file.absolute().parent, Path.cwd()), fits)
    if found is None:
        return ""
    old, new, count = found
    known = "" if all(map(is_hash, recorded.values())) else ", by their names alone"
    return f"{count} of {len(recorded)} missing files are in {new}{known}; give {replacing(old, new)}"


def read_advice(catalog: Catalog) -> str:
    """Return what to do if no image of a catalog can be read."""
    if catalog.holds_images:
        return f"Restore its tars, or {catalog.made_again}"
    return (
        f"A relative uri is relative to {catalog.file.parent}: put the catalog back where it was built, give --replace-prefix OLD=NEW "
        "if the images moved, or build it again"
    )
