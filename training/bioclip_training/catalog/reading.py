"""Reading of a source's rows in order: labelled, and their images fingerprinted by threads that stay a little ahead."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from bioclip_core.cells import DateOrder, plain_cells
from bioclip_core.errors import BioclipError, ImageError
from bioclip_core.files.camera_folders import is_camera_folder
from bioclip_core.names import NameKind
from bioclip_core.taxonomy import Taxon
from bioclip_training.catalog.ahead import in_order, threads_for
from bioclip_training.catalog.evidence import Evidence, evidence_of
from bioclip_training.catalog.fingerprints import Fingerprint, Look, fingerprint
from bioclip_training.catalog.naming.labelling import LICENCES, SOURCE_IDS, Labeller, first_cell, occurrence_of
from bioclip_training.catalog.naming.name_decisions import NO_NAME, WORD_COLUMNS
from bioclip_training.catalog.naming.names import Label
from bioclip_training.catalog.options import FOLDER, IMAGE, BuildOptions
from bioclip_training.catalog.rows import CatalogRow, LabelledItem
from bioclip_training.catalog.sources import LabelledSource, SkippedRow
from bioclip_training.catalog.splits import group_of, split_word
from bioclip_training.catalog.survey import Survey
from bioclip_training.catalog.uris import RelativeUris

BURST_GAP_S = 300.0
"""Images of one camera and folder that were taken within this time of each other count as one encounter."""
MISSING_IMAGE = "missing image"
_SHA256 = re.compile(r"[0-9a-f]{64}")
NO_LABEL = Label(Taxon(), "", ())
NAME_KINDS = frozenset((NO_NAME, *(kind.value for kind in NameKind)))
"""Kinds of all rows that are skipped because of their names."""
_AHEAD = 8  # images per thread


@dataclass(frozen=True, slots=True)
class Labelled:
    """An item with its label, and its source's cells by their plain names."""

    item: LabelledItem
    path: Path
    label: Label
    cells: dict[str, Any]
    evidence: Evidence
    otherwise: SkippedRow | None = None
    """For a review that is not a taxon: its report if its image cannot be read."""


def read(
    source: LabelledSource, known: Survey, labeller: Labeller, options: BuildOptions, uris: RelativeUris
) -> Iterator[tuple[CatalogRow, Look, bool] | SkippedRow]:
    """Yield every row of a source in order: read, with its look and True if it belongs to a burst, or skipped with the reason.

    A review that is not a taxon is a row too, so that it can take away the label of its image; its evidence has the verdict.
    """
    burst_of, columns, order = _Bursts(), known.group_columns[source.name], known.date_orders[source.name]
    moment_of = source.moment_of if columns[0] not in (IMAGE, FOLDER) else None
    perceptual = options.near_distance > 0

    def work(rows: Sequence[Labelled | SkippedRow]) -> tuple[list[Labelled], Fingerprint] | list[SkippedRow]:
        labelled = [row for row in rows if isinstance(row, Labelled)]
        if not labelled:
            return [row for row in rows if isinstance(row, SkippedRow)]
        first, boxes = labelled[0], [row.item.box for row in labelled]
        reviewed = Fingerprint(first.item.content, (Look(),) * len(labelled), is_missing=True)
        try:
            found = fingerprint(first.path, boxes, first.item.frame, perceptual=perceptual, moment_of=moment_of)
            return labelled, reviewed if _has_changed(first, found) else found
        except BioclipError as error:
            kind = MISSING_IMAGE if isinstance(error, ImageError) and error.stage == "read" else "broken image"
            if kind == MISSING_IMAGE and _SHA256.fullmatch(first.item.content):
                return labelled, reviewed
            return [
                row.otherwise
                or SkippedRow(row.item.uri, row.item.source, kind, str(error), row.label.taxon.scientific_name)
                for row in labelled
            ]

    # Consecutive rows of one image read it once.
    images = (list(rows) for _, rows in groupby(_labelled(source, labeller, options, order), key=_image_of))
    threads = threads_for(options.workers)
    for found in in_order(work, images, threads, threads * _AHEAD, name="bioclip-catalog"):
        if isinstance(found, list):
            yield from found
            continue
        rows, image = found
        burst = burst_of(rows[0].item.uri, image)
        for row, look in zip(rows, image.looks, strict=True):
            group = group_of(columns, row.cells, row.item, source.root) or burst or f"image {image.sha256[:16]}"
            yield _row(row, group, image, look, uris), look, bool(burst)


def _has_changed(row: Labelled, found: Fingerprint) -> bool:
    """Return True if a file is not the one that was reviewed: names such as IMG_0001.JPG are used again.

    The content of formats with several images is known by its pixels, so that it cannot be compared.
    """
    known, suffix = row.item.content, row.path.suffix.lower()
    return bool(_SHA256.fullmatch(known)) and known != found.sha256 and suffix in (".jpg", ".jpeg", ".png")


def _row(row: Labelled, group: str, image: Fingerprint, look: Look, uris: RelativeUris) -> CatalogRow:
    return CatalogRow(
        uri=uris.of(row.path), taxon=row.label.taxon, verbatim_name=row.label.verbatim, source=row.item.source,
        source_id=first_cell(row.cells, SOURCE_IDS), taxon_id=row.label.taxon_id, licence=first_cell(row.cells, LICENCES),
        group=group, split=split_word(row.cells.get("split")), sha256=image.sha256, phash=look.hashed.hex(),
        frame=row.item.frame, box=row.item.box, changes=row.label.changes, evidence=row.evidence,
        occurrence=occurrence_of(row.cells), is_missing=image.is_missing,
    )  # fmt: skip


def _labelled(
    source: LabelledSource, labeller: Labeller, options: BuildOptions, order: DateOrder | None
) -> Iterator[Labelled | SkippedRow]:
    for item in source.items():
        if isinstance(item, SkippedRow):
            about = item.item
            if about is None or about.path is None or about.evidence is None:
                yield item
            else:
                yield Labelled(about, about.path, NO_LABEL, plain_cells(about.cells), about.evidence, item)
            continue
        cells = plain_cells(item.cells)
        label = labeller.label(cells, count=True)
        name = label.taxon.scientific_name
        if label.taxon.rank is None:
            labeller.names.refuse(label, item.uri)
            reason = (
                f"its name cannot be used ({label.verbatim!r}: {label.why_unread})"
                if label.verbatim
                else "no column of a rank and no scientificName has its name"
                + ("; --plain-labels takes its words" if any(cells.get(name) for name in WORD_COLUMNS) else "")
            )
            kind = label.fault.kind.value if label.fault else NO_NAME
            reason = "; ".join(filter(None, (reason, label.unresolved)))
            skipped, said = SkippedRow(item.uri, item.source, kind, reason), item.evidence
            if said is None and kind == NameKind.VERDICT:
                dated = evidence_of(cells, order=order)
                said = replace(dated, verdict=label.verbatim) if dated.standing.is_dated else None
            yield _without_label(item, said, cells, skipped)
        elif label.unresolved and options.only_resolved:
            skipped = SkippedRow(item.uri, item.source, "not resolved", label.unresolved, name)
            yield _without_label(item, item.evidence, cells, skipped)
        elif item.path is None:
            yield SkippedRow(item.uri, item.source, "no file", "its image is not a file on this machine", name)
        else:
            evidence = item.evidence or evidence_of(cells, is_folder=source.kind == "folder", order=order)
            yield Labelled(item, item.path, label, cells, evidence)


def _without_label(
    item: LabelledItem, said: Evidence | None, cells: dict[str, Any], skipped: SkippedRow
) -> Labelled | SkippedRow:
    """Return a row without a usable label: a person's review or dated "blank" takes away the label of its image all the same."""
    if said is None or item.path is None:
        return skipped
    evidence = said if said.verdict else replace(said, verdict=f"a name that cannot be used: {skipped.reason}")
    return Labelled(item, item.path, NO_LABEL, cells, evidence, skipped)


def _image_of(row: Labelled | SkippedRow) -> tuple[Path, int] | None:
    return None if isinstance(row, SkippedRow) else (row.path, row.item.frame)


class _Bursts:
    """Bursts of the images of a listing, in its order."""

    def __init__(self) -> None:
        self._folder = ""
        self._cameras: dict[str, tuple[float, str]] = {}

    def __call__(self, uri: str, found: Fingerprint) -> str:
        """Return the burst of an image, named by the content of its first image."""
        # A camera begins a new folder in the middle of a burst, after 9,999 images.
        folder = "/".join(part for part in uri.split("/")[:-1] if not is_camera_folder(part))
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
