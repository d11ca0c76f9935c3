"""The source of tables that ``export`` wrote: their images and frames with the same boxes, keys and kept columns."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from bioclip_core.cells import number_of
from bioclip_core.errors import DataError, UsageError
from bioclip_core.files.present import exists, is_file
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.shared.exported import is_exported
from bioclip_plugin.formats.shared.review_rows import BadCellError, frame_of
from bioclip_plugin.formats.shared.stated_values import StatedValues, fields_in
from bioclip_plugin.formats.shared.table_files import header_of, rows_of
from bioclip_plugin.formats.shared.table_rows import Row, location_of, skipped_row, values_of
from bioclip_plugin.formats.tables.columns import BOX, KEY_COLUMNS, MEDIA, OWN_COLUMNS
from bioclip_plugin.formats.tables.keys import PREFIX
from bioclip_plugin.formats.tables.region_rows import NO_REGIONS
from bioclip_plugin.items.categories import is_named
from bioclip_plugin.items.media import MediaItem, Region, Unlisted, path_of, uri_of

# Columns of ours that describe the image; all others are answers, decisions and reviews, which are made anew.
_OF_THE_IMAGE = frozenset((*KEY_COLUMNS, *MEDIA)) - {"status"}


class ExportedTableSource:
    """Lists the images of a table with one row per region or per image that ``export`` wrote.

    Names that are relative begin in the table's folder or ``--base-folder``, or else in the working directory, as when the
    images were listed. The rows of an image or frame are one item with their boxes.
    """

    name = "table of export"

    def takes(self, address: str) -> bool:
        try:
            return is_file(path_of(address)) and is_exported(header_of(address))
        except (OSError, DataError):
            return False

    def items(self, address: str, options: ListingOptions | None = None) -> Iterator[MediaItem | Unlisted]:
        options = options or ListingOptions()
        reader = _Reader(address, options, values_of(address, options, lambda: rows_of(address, options)))
        rows = rows_of(address, options, options.findings)
        for _, group in groupby(
            rows, key=lambda row: (row.image, row.values.get("frame")) if isinstance(row, Row) else None
        ):
            together = list(group)
            known = [row for row in together if isinstance(row, Row)]
            yield from (row for row in together if isinstance(row, Unlisted))
            if known:
                yield from reader.entries(known)


class _Reader:
    """Turns the rows of one image into its item."""

    def __init__(self, address: str, options: ListingOptions, values: StatedValues) -> None:
        self._table, self._options, self._values = uri_of(address), options, values
        self._folder = options.base_folder or path_of(address).parent

    def entries(self, rows: Sequence[Row]) -> Iterator[MediaItem | Unlisted]:
        """Yield the item of an image, and a message for each row that cannot be used."""
        first, regions = rows[0], list[Region]()
        if not first.image.strip():
            yield from (self._skipped(row, "column 'uri' is empty; it must name the image") for row in rows)
            return
        for row in rows:
            try:
                regions += filter(None, [_region(row, self._options.detection_threshold)])
                frame_of(row.values)
            except (BadCellError, UsageError, ValueError) as error:
                yield self._skipped(row, str(error))
                if row is first:
                    return
        uri, path = self._location(first)
        item = MediaItem(
            uri=uri, path=path, frame=frame_of(first.values), regions=tuple(regions), is_part=True,
            detected=bool(regions) or _found_nothing(first), **self._facts(first),
        )  # fmt: skip
        if first.values.get("failure_stage") == "list":
            yield Unlisted(uri, str(first.values.get("failure_reason", "")), item.frame, item)
        else:
            yield item

    def _skipped(self, row: Row, why: str) -> Unlisted:
        return skipped_row(self._table, replace(row, values=self._stated(row)), why)

    def _location(self, row: Row) -> tuple[str, Path | None]:
        uri, path = location_of(row, self._folder, self._options)
        if self._options.base_folder is None and path is not None and not exists(path):
            here = path_of(row.image)
            if exists(here):
                return uri_of(os.fspath(here)), here
        return uri, path

    def _facts(self, row: Row) -> dict[str, Any]:
        """Return time, place, deployment, sequence, keys and kept columns."""
        stated = self._stated(row)
        return self._values.item_fields(
            stated, fields_in(name for name in MEDIA if name in stated), f"row {row.number}"
        )

    def _stated(self, row: Row) -> dict[str, Any]:
        """Return the values that the image had before it was exported."""
        stated: dict[str, Any] = {}
        for name, value in row.values.items():
            if name in OWN_COLUMNS and name not in _OF_THE_IMAGE:
                continue
            stated[name.removeprefix(PREFIX) if name not in OWN_COLUMNS else name] = value
        return stated


def _found_nothing(row: Row) -> bool:
    """True if a detector found nothing in the image."""
    return NO_REGIONS in str(row.values.get("flags", "")).split() or (
        row.values.get("status") == "done" and number_of(row.values.get("regions")) == 0
    )


def _region(row: Row, threshold: float) -> Region | None:
    cells = [row.values.get(name) for name in BOX]
    if all(cell is None for cell in cells):
        return None
    numbers = [number for cell in cells if (number := number_of(cell)) is not None]
    if len(numbers) != len(cells):
        raise UsageError(f"{', '.join(BOX)} are {cells}: four numbers from 0 to 1 are needed, or none")
    detection = _detection(row.values)
    confidence = number_of(row.values.get("detection_confidence"))
    classified = is_named(detection["category"]) and (confidence is None or confidence >= threshold)
    return Region(
        numbers[0], numbers[1], numbers[2], numbers[3], confidence=confidence, classified=classified, **detection
    )


def _detection(values: Mapping[str, Any]) -> dict[str, str]:
    return {"detector": str(values.get("detector", "")), "category": str(values.get("detection_category", ""))}
