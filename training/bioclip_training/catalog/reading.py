"""Reading of a source's rows in order: labelled, and their images fingerprinted by threads that stay a little ahead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from bioclip_core.cells import plain_cells
from bioclip_core.errors import BioclipError, ImageError
from bioclip_training.catalog.ahead import in_order
from bioclip_training.catalog.fingerprints import Fingerprint, Look, fingerprint
from bioclip_training.catalog.labelling import Labeller
from bioclip_training.catalog.names import Label
from bioclip_training.catalog.options import BuildOptions
from bioclip_training.catalog.rows import LabelledItem
from bioclip_training.catalog.sources import LabelledSource, SkippedRow

BURST_GAP_S = 300.0
"""Images of one camera and folder that were taken within this time of each other count as one encounter."""
_AHEAD = 8  # images per thread


@dataclass(frozen=True, slots=True)
class Labelled:
    """An item with its label, and its source's cells by their plain names."""

    item: LabelledItem
    path: Path
    label: Label
    cells: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Read:
    """A row with a readable image."""

    labelled: Labelled
    sha256: str
    look: Look
    burst: str
    """Name of its burst; empty if unknown."""


def read(
    source: LabelledSource, labeller: Labeller, options: BuildOptions, *, bursts: bool
) -> Iterator[Read | SkippedRow]:
    """Yield every row of a source in order: read, or skipped with the reason.

    Args:
        bursts: take the images' own times to tell which images belong together.
    """
    burst_of = _Bursts()

    def work(rows: Sequence[Labelled | SkippedRow]) -> tuple[list[Labelled], Fingerprint] | list[SkippedRow]:
        labelled = [row for row in rows if isinstance(row, Labelled)]
        if not labelled:
            return [row for row in rows if isinstance(row, SkippedRow)]
        first, boxes = labelled[0], [row.item.box for row in labelled]
        moment_of = source.moment_of if bursts else None
        try:
            return labelled, fingerprint(
                first.path, boxes, first.item.frame, perceptual=options.near_distance > 0, moment_of=moment_of
            )
        except BioclipError as error:
            is_missing = isinstance(error, ImageError) and error.stage == "read"
            kind, reason = "missing image" if is_missing else "broken image", str(error)
            return [
                SkippedRow(row.item.uri, row.item.source, kind, reason, row.label.taxon.scientific_name)
                for row in labelled
            ]

    # Consecutive rows of one image read it once.
    images = (list(rows) for _, rows in groupby(_labelled(source, labeller, options), key=_image_of))
    for found in in_order(work, images, options.threads, options.threads * _AHEAD, name="bioclip-catalog"):
        if isinstance(found, list):
            yield from found
        else:
            rows, print_ = found
            burst = burst_of(rows[0].item.uri, print_)
            for row, look in zip(rows, print_.looks, strict=True):
                yield Read(row, print_.sha256, look, burst)


def _labelled(source: LabelledSource, labeller: Labeller, options: BuildOptions) -> Iterator[Labelled | SkippedRow]:
    for item in source.items():
        if isinstance(item, SkippedRow):
            yield item
            continue
        cells = plain_cells(item.cells)
        label = labeller.label(cells, count=True)
        name = label.taxon.scientific_name
        if label.taxon.rank is None:
            reason = (
                f"its name cannot be used ({label.verbatim!r})"
                if label.verbatim
                else "no column of a rank and no scientificName has its name"
            )
            yield SkippedRow(item.uri, item.source, "no name", "; ".join(filter(None, (reason, label.unresolved))))
        elif label.unresolved and options.only_resolved:
            yield SkippedRow(item.uri, item.source, "not resolved", label.unresolved, name)
        elif item.path is None:
            yield SkippedRow(item.uri, item.source, "no file", "its image is not a file on this machine", name)
        else:
            yield Labelled(item, item.path, label, cells)


def _image_of(row: Labelled | SkippedRow) -> tuple[Path, int] | None:
    return None if isinstance(row, SkippedRow) else (row.path, row.item.frame)


class _Bursts:
    """Bursts of the images of a listing, in its order."""

    def __init__(self) -> None:
        self._folder = ""
        self._cameras: dict[str, tuple[float, str]] = {}

    def __call__(self, uri: str, found: Fingerprint) -> str:
        """Return the burst of an image, named by the content of its first image."""
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
