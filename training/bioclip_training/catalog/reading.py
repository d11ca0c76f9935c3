"""The rows of a source read in order: labelled, and their images fingerprinted by threads that stay a little ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from bioclip_core.cells import plain_cells
from bioclip_core.errors import BioclipError
from bioclip_training.catalog.fingerprints import Fingerprint, Look, fingerprint
from bioclip_training.catalog.labelling import Label, Labeller
from bioclip_training.catalog.options import BuildOptions
from bioclip_training.catalog.rows import LabelledItem
from bioclip_training.catalog.sources import LabelledSource, LeftOut

BURST_GAP_S = 300.0
"""Images of one camera and folder that were taken within this time of each other are taken for one encounter."""
_AHEAD = 8  # images a thread


@dataclass(frozen=True, slots=True)
class Labelled:
    """An item with its label, and its source's cells by their plain names."""

    item: LabelledItem
    label: Label
    cells: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Read:
    """A row whose image was read."""

    labelled: Labelled
    sha256: str
    look: Look
    burst: str
    """The burst that it belongs to; empty where nothing is known."""


def read(
    source: LabelledSource, labeller: Labeller, options: BuildOptions, *, bursts: bool
) -> Iterator[Read | LeftOut]:
    """Every row of a source in order: read, or with the reason why it is left out.

    Args:
        bursts: whether the images' own times say what belongs together.
    """
    moment_of = source.moment_of if bursts else None
    last = _Bursts()
    waiting: deque[tuple[list[Labelled | LeftOut], Future[Fingerprint] | None]] = deque()
    with ThreadPoolExecutor(options.threads, thread_name_prefix="bioclip-catalog") as pool:

        def work(rows: Sequence[Any]) -> Fingerprint:
            first, boxes = rows[0].item, [row.item.box for row in rows]
            return fingerprint(
                first.path, boxes, first.frame, perceptual=options.near_distance > 0, moment_of=moment_of
            )

        try:
            for image, together in groupby(_labelled(source, labeller, options), key=_image_of):
                rows = list(together)  # rows of one image that stand together read it once
                waiting.append((rows, None if image is None else pool.submit(work, rows)))
                if len(waiting) > options.threads * _AHEAD:
                    yield from _finished(*waiting.popleft(), last)
            while waiting:
                yield from _finished(*waiting.popleft(), last)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _labelled(source: LabelledSource, labeller: Labeller, options: BuildOptions) -> Iterator[Labelled | LeftOut]:
    for item in source.items():
        if isinstance(item, LeftOut):
            yield item
            continue
        cells = plain_cells(item.cells)
        label = labeller.label(cells)
        labeller.count(label)
        name = label.taxon.scientific_name
        if label.taxon.rank is None:
            written = (
                f"it has no name that can be used ({label.verbatim!r})"
                if label.verbatim
                else "it has no name in a column of a rank or in scientificName"
            )
            yield LeftOut(item.uri, item.source, "no name", "; ".join(filter(None, (written, label.unresolved))))
        elif label.unresolved and options.only_resolved:
            yield LeftOut(item.uri, item.source, "not resolved", label.unresolved, name)
        elif item.path is None:
            yield LeftOut(item.uri, item.source, "no file", "its image is no file on this machine", name)
        else:
            yield Labelled(item, label, cells)


def _image_of(row: Labelled | LeftOut) -> tuple[Path, int] | None:
    return None if isinstance(row, LeftOut) or row.item.path is None else (row.item.path, row.item.frame)


def _finished(
    rows: Sequence[Labelled | LeftOut], future: Future[Fingerprint] | None, last: _Bursts
) -> Iterator[Read | LeftOut]:
    labelled = [row for row in rows if isinstance(row, Labelled)]
    if future is None:
        yield from (row for row in rows if isinstance(row, LeftOut))
        return
    try:
        found = future.result()
    except BioclipError as error:
        kind = "missing image" if getattr(error, "stage", "") == "read" else "broken image"
        for row in labelled:
            yield LeftOut(row.item.uri, row.item.source, kind, str(error), row.label.taxon.scientific_name)
        return
    burst = last.of(labelled[0].item.uri, found)
    for row, look in zip(labelled, found.looks, strict=True):
        yield Read(row, found.sha256, look, burst)


class _Bursts:
    """Images of a listing put into bursts, as they come."""

    def __init__(self) -> None:
        self._folder = ""
        self._cameras: dict[str, tuple[float, str]] = {}

    def of(self, uri: str, found: Fingerprint) -> str:
        """The burst of an image, named by the content of its first one."""
        folder = uri.rpartition("/")[0]
        if folder != self._folder:
            self._folder, self._cameras = folder, {}
        if found.moment is None:
            return ""
        camera, taken_s = found.moment
        own_name = f"burst {found.sha256[:16]}"
        before_s, name = self._cameras.get(camera, (taken_s, own_name))
        if abs(taken_s - before_s) > BURST_GAP_S:
            name = own_name
        self._cameras[camera] = (taken_s, name)
        return name
