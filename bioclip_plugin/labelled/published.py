"""Published collections as sources of a catalog: their records as labelled items, through the readers of published layouts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bioclip_core.errors import SourceError, UsageError
from bioclip_core.files.present import is_folder
from bioclip_core.findings import Findings
from bioclip_core.listed_names import did_you_mean
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.items.media import path_of, uri_of
from bioclip_plugin.labelled.moments import moment_of
from bioclip_plugin.labelled.published_options import ORDINARY, PublishedOptions
from bioclip_training.catalog.rows import Box, LabelledItem
from bioclip_training.catalog.sources import LabelledSource, SkippedRow

NO_LABEL = "no name"
NO_FILE = "no file"
IN_HOLDER = "it is in a tar or Parquet file, which a catalog does not read: curate does, and train reads published shards as they are"
_CELLS = {
    "scientificName": "verbatim_name",
    **{rank: rank for rank in ("kingdom", "phylum", "class", "order", "family", "genus", "species")},
    "taxonRank": "taxon_rank",
    "vernacularName": "common_name",
    "basisOfRecord": "basis_of_record",
    "lifeStage": "life_stage",
    "sex": "sex",
    "license": "licence",
    "rightsHolder": "rights_holder",
    "eventID": "event_id",
    "occurrenceID": "observation_id",
    "recordedBy": "recorded_by",
    "country": "country",
    "locality": "locality",
    "eventDate": "event_date",
    "split": "published_split",
    "sha256": "published_sha256",
    "identifier": "record_id",
    "decimalLatitude": "latitude",
    "decimalLongitude": "longitude",
}
"""Columns of a catalog's source, by what each is in a record."""
_NAMES = ("verbatim_name", "kingdom", "phylum", "class", "order", "family", "genus", "species")
_BOX = ("bboxX", "bboxY", "bboxWidth", "bboxHeight")


def published_source(
    address: str, name: str, options: ListingOptions, published: PublishedOptions, *, plain_labels: bool
) -> LabelledSource | None:
    """Return the source for a published collection; None for an address that is read as a table or folder tree.

    Args:
        address: a table, folder or other file.
        name: of the source.
        options: of reading tables; their findings are filled.
        published: the layout and its options.
        plain_labels: True if labels are words, so that captions are labels.

    Raises:
        SourceError: if it has several layouts, or not the stated one.
        UsageError: for an unknown layout.
    """
    from bioclip_training.published.known import candidates, layouts, recognise

    path = path_of(address)
    if published.layout == ORDINARY:
        return None
    if published.layout is not None:
        known = [layout.name for layout in layouts()]
        if published.layout not in known:
            raise UsageError(
                f"--layout {published.layout} is not known; known are {', '.join(known)} and {ORDINARY}"
                f"{did_you_mean(published.layout, known)}"
            )
        layout, taken = recognise(path, published.layout)
    else:
        found = candidates(path)
        if len(found) > 1:
            choices = ", ".join(f"--layout {layout.name} ({taken.confidence})" for layout, taken in found)
            raise SourceError(
                f"{uri_of(address)} may be read as several published layouts; give one of: {choices}, or --layout {ORDINARY}"
            )
        if not found:
            return None
        layout, taken = found[0]
    items = _Published(layout, path, name, options, published.settings, plain_labels=plain_labels)
    return LabelledSource(name, "folder", items, items.root, moment_of, notes=tuple(_notes(name, taken.lines())))


def _notes(name: str, lines: Iterator[str]) -> Iterator[str]:
    yield f"{name}: {next(lines)}"
    yield from lines


class _Published:
    """The items of a collection, which may be read several times; its findings are those of the first time."""

    def __init__(
        self,
        layout: Any,
        path: Path,
        name: str,
        options: ListingOptions,
        settings: Mapping[str, str],
        *,
        plain_labels: bool,
    ) -> None:
        self._layout, self._path, self._name = layout, path, name
        self._options, self._settings, self._plain_labels = options, settings, plain_labels
        self._is_first = True
        self.root = path if is_folder(path) else path.parent

    def __call__(self) -> Iterator[LabelledItem | SkippedRow]:
        from bioclip_training.published.layout import ReadOptions

        is_first, self._is_first = self._is_first, False
        table = replace(self._options, findings=Findings())
        options = ReadOptions(settings=self._settings, findings=Findings(), table=table)
        given = 0
        for batch in self._layout.read(self._path, options):
            rows = batch.to_pylist()
            self._check(rows)
            given += len(rows)
            yield from map(self._item, rows)
        if is_first:
            for found in (options.findings, options.skipped):
                for text, count, example in found.found():
                    self._options.findings.add(f"{self._name}: {text}", example, count)
        if not given:
            raise SourceError(f"{uri_of(str(self._path))} has no record in the layout {self._layout.name}")

    def _check(self, rows: list[dict[str, Any]]) -> None:
        """Refuse a collection without files, or with labels that are not names, from its first rows."""
        if not any(row["uri"] for row in rows):
            raise SourceError(
                f"{uri_of(str(self._path))} ({self._layout.name}) states addresses of images and has no files, which a catalog needs: "
                "fetch the images and give the folder or the table of the fetched ones"
            )
        if not any(_has_name(row) or row["caption"] for row in rows):
            raise SourceError(
                f"{uri_of(str(self._path))} ({self._layout.name}) states neither names nor captions: join its images with a table of names"
            )
        if not self._plain_labels and not any(_has_name(row) for row in rows):
            ways = "--plain-labels takes them as words"
            if any(option.name == "labels" for option in self._layout.options):
                ways += ", --layout-option labels=scientific or labels=common reads them as names"
            raise SourceError(
                f"{uri_of(str(self._path))} ({self._layout.name}): labels such as {rows[0]['caption']!r} are captions, not taxa: {ways}"
            )

    def _item(self, row: dict[str, Any]) -> LabelledItem | SkippedRow:
        uri = uri_of(str(self.root / row["uri"])) if row["uri"] else row["url"]
        if not row["uri"] or "#" in row["uri"]:
            reason = IN_HOLDER if row["uri"] else "only its address is known"
            return SkippedRow(uri, self._name, NO_FILE, reason)
        cells = {column: row[name] for column, name in _CELLS.items() if row[name] not in ("", None)}
        if not _has_name(row) and row["caption"]:
            if not self._plain_labels:
                return SkippedRow(
                    uri, self._name, NO_LABEL, f"its label {row['caption']!r} is a caption", row["caption"]
                )
            cells["scientificName"] = row["caption"]
        edges = [row[name] for name in _BOX]
        box: Box | None = None if None in edges else (edges[0], edges[1], edges[2], edges[3])
        return LabelledItem(uri, self.root / row["uri"], cells, self._name, 0, box)


def _has_name(row: Mapping[str, Any]) -> bool:
    return any(row[name] for name in _NAMES) or bool(row["common_name"])
