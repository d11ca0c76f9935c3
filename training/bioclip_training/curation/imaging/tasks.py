"""Images of records as work: each image once with all its regions, in the order of the files that hold them, cut into pieces."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from bioclip_training.catalog.rows import Box
from bioclip_training.curation.imaging.openers import Openers
from bioclip_training.curation.input_states import restricted

PIECE_IMAGES = 1024
"""Images of a piece of work: what an interruption costs at most, per piece that is open."""
BOX_COLUMNS = ("bboxX", "bboxY", "bboxWidth", "bboxHeight")
TASK_COLUMNS = ("key", "source", "uri", "url", "published_sha256", "published_md5", *BOX_COLUMNS)
"""Columns of records that make tasks."""


@dataclass(frozen=True, slots=True)
class WantedRegion:
    """A record of an image."""

    key: str
    box: Box | None
    published_sha256: str = ""
    published_md5: str = ""


@dataclass(frozen=True, slots=True)
class ImageTask:
    """One image of a source."""

    source: str
    uri: str
    """Empty for a record without a file."""
    url: str
    regions: tuple[WantedRegion, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """Images that are worked on together."""

    name: str
    """Hex hash of its records, and of size and time of the files that hold them: equal names have equal results."""
    tasks: tuple[ImageTask, ...]


def tasks_of(batches: Iterable[Any]) -> Iterator[ImageTask]:
    """Yield the images of record batches with ``TASK_COLUMNS``, sorted by source, uri and key."""
    rows = (row for batch in batches for row in batch.to_pylist())
    for (source, uri), group in groupby(rows, key=lambda row: (row["source"], row["uri"])):
        if uri:
            listed = list(group)
            yield ImageTask(source, uri, listed[0]["url"], tuple(map(_region, listed)))
        else:
            for row in group:
                yield ImageTask(source, "", row["url"], (_region(row),))


def _region(row: dict[str, Any]) -> WantedRegion:
    x, y, w, h = (row[name] for name in BOX_COLUMNS)
    box = None if x is None or y is None or w is None or h is None else (x, y, w, h)
    return WantedRegion(row["key"], box, row["published_sha256"] or "", row["published_md5"] or "")


def pieces_of(tasks: Iterable[ImageTask], openers: Openers) -> Iterator[Piece]:
    """Cut images into pieces; those that one file holds are in the order in which they lie there."""
    waiting: list[ImageTask] = []
    for task in _in_file_order(tasks, openers):
        waiting.append(task)
        if len(waiting) == PIECE_IMAGES:
            yield _piece(waiting, openers)
            waiting = []
    if waiting:
        yield _piece(waiting, openers)


def _in_file_order(tasks: Iterable[ImageTask], openers: Openers) -> Iterator[ImageTask]:
    for held, group in groupby(tasks, key=lambda task: _holder(task, openers)):
        if held is None:
            yield from group
        else:
            yield from sorted(group, key=lambda task: (openers.place(task.source, task.uri).at, task.uri))


def _holder(task: ImageTask, openers: Openers) -> tuple[str, Path] | None:
    """Return the file that holds an image with others; None for an image that is a file of its own."""
    if "#" not in task.uri:
        return None
    path = openers.place(task.source, task.uri).path
    return None if path is None else (task.source, path)


def _piece(tasks: list[ImageTask], openers: Openers) -> Piece:
    digest = hashlib.sha256()
    states: dict[Path, str] = {}
    for task in tasks:
        path = openers.place(task.source, task.uri).path if task.uri else None
        if path is not None and path not in states:
            states[path] = _state(path)
        parts = [task.source, task.uri, task.url, states[path] if path is not None else ""]
        for region in task.regions:
            parts += [region.key, repr(region.box), region.published_sha256, region.published_md5]
        digest.update("\0".join(parts).encode("utf-8", "surrogateescape") + b"\n")
    return Piece(digest.hexdigest()[:32], tuple(tasks))


def _state(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{status.st_size} {status.st_mtime_ns}{restricted(status)}"
