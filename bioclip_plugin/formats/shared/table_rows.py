"""Rows of tables and records as media items: the meaning of their columns, and all other values as metadata."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bioclip_core.cells import column_name, json_value, number_of
from bioclip_core.errors import UsageError
from bioclip_core.files.drives import name_of_file_address
from bioclip_core.files.moved import is_from_windows
from bioclip_core.files.near_names import same_name
from bioclip_core.files.present import exists
from bioclip_core.tables.options import IMAGE_COLUMNS
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.fetching.schemes import scheme_of
from bioclip_plugin.formats.shared.exported import FIRST_IMAGE, has_events, is_exported
from bioclip_plugin.formats.shared.paths import moved_name
from bioclip_plugin.formats.shared.stated_values import FIELD_COLUMNS, Fields, StatedValues, fields_in
from bioclip_plugin.items.media import MediaItem, Region, Unlisted, path_of, uri_of
from bioclip_plugin.items.metadata import CAMERA_NAMES
from bioclip_plugin.items.web import file_needed, is_web_address

BOX_COLUMNS = ("bboxX", "bboxY", "bboxWidth", "bboxHeight")

TERMS = (
    "occurrenceID", "catalogNumber", "recordNumber", "institutionCode", "collectionCode", "basisOfRecord", "scientificName",
    "verbatimScientificName", "kingdom", "phylum", "class", "order", "family", "genus", "species", "specificEpithet",
    "infraspecificEpithet", "taxonRank", "taxonID", "vernacularName", "common_name", "identificationQualifier", "recordedBy",
    "locality", "habitat", "individualCount", "sex", "lifeStage", "behavior", "captureMethod", "licence", "group", "split", "frame",
)  # fmt: skip
"""Columns that stay in the metadata and that exports, catalogs and second opinions read from there."""
TABLE_FIELDS = tuple(
    dict.fromkeys((*IMAGE_COLUMNS, *(name for names in FIELD_COLUMNS.values() for name in names), *BOX_COLUMNS, *TERMS))
)
"""The fields that a column of a table may be read as."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The meaning of a table's columns."""

    image: str
    fields: Fields
    box: tuple[str, ...]
    """The four columns of a box, or none."""
    names: frozenset[str] = frozenset()
    """All columns of the table."""
    image_heading: str = ""
    """Heading of the image column as the table has it, for messages."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its number from 1, the table's columns, and the values that are not empty."""

    number: int
    columns: Columns
    values: Mapping[str, Any]
    image_bytes: str = ""
    """The image column with bytes that are not of the table's encoding as surrogates; empty if there are none."""
    data: bytes | None = field(default=None, repr=False)
    """The bytes of an image that is in the table itself; its name is then that of the row."""

    @property
    def image(self) -> str:
        return str(self.values.get(self.columns.image, ""))


def columns_of(header: Sequence[str]) -> Columns | None:
    """Return the meaning of a header; None without an image column."""
    ours = "uri" if is_exported(header) else FIRST_IMAGE if has_events(header) else ""
    image = (ours,) if ours else _present(header, IMAGE_COLUMNS)
    if not image:
        return None
    return Columns(image[0], fields_in(header), _present(header, BOX_COLUMNS), frozenset(header), image[0])


def _present(header: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    by_name = {column_name(name): name for name in reversed(header)}
    return tuple(by_name[name] for name in map(column_name, names) if name in by_name)


def values_of(address: str, options: ListingOptions, rows: Callable[[], Iterator[Row | Unlisted]]) -> StatedValues:
    """Return the reader of a table's values.

    Args:
        address: the table.
        options: options of the listing.
        rows: reads the rows again, for the order of day and month in a column.
    """

    def cells(column: str) -> Iterator[tuple[str, object]]:
        return ((f"row {row.number}", row.values.get(column)) for row in rows() if isinstance(row, Row))

    return StatedValues(uri_of(address), options, cells)


def items_of(
    rows: Sequence[Row],
    folder: Path,
    table: str,
    options: ListingOptions,
    values: StatedValues | None,
    location: tuple[str, Path | None] | None = None,
) -> Iterator[MediaItem | Unlisted]:
    """Yield one item for the rows of one image, and a message for each row with an unusable box.

    Fields and metadata are the first row's.

    Args:
        rows: the rows.
        folder: folder where relative names begin.
        table: name of the table, for messages.
        options: options of the listing.
        values: reader of the table's values; None for items without time, place and metadata.
        location: the image's uri and file, if they are known already.
    """
    found: list[Region | None] = []
    for row in rows:
        try:
            found.append(_region(row))
        except (UsageError, ValueError) as error:
            yield skipped_row(table, row, str(error))
    if found:
        first = rows[0]
        uri, path = location_of(first, folder, options) if location is None else location
        if path is None and first.data is None and (reason := _out_of_reach(uri, options)):
            yield skipped_row(table, first, reason)
            return
        used = (first.columns.image, *first.columns.box)
        rest = {name: value for name, value in first.values.items() if name not in used}
        regions = tuple(region for region in found if region is not None)
        stated = values.item_fields(rest, first.columns.fields, f"row {first.number}") if values else {}
        yield MediaItem(
            uri=uri,
            path=path,
            data=first.data,
            regions=regions,
            absent=first.columns.names - stated.get("metadata", {}).keys() - CAMERA_NAMES,
            **stated,
        )


def _out_of_reach(uri: str, options: ListingOptions) -> str:
    """Return the reason why an address is not listed; empty if it is."""
    if options.lists_addresses and is_web_address(uri):
        return ""
    return file_needed(uri)


def skipped_row(table: str, row: Row, reason: str) -> Unlisted:
    """Return the message on a row that is skipped, with the row's values: exports show its keys beside the reason."""
    used = (row.columns.image, *row.columns.box)
    stated = {name: value for name, value in row.values.items() if name not in used}
    return unlisted_row(table, row.number, reason, stated)


def unlisted_row(table: str, number: int, reason: str, stated: Mapping[str, Any]) -> Unlisted:
    """Return the message on a row that is skipped; its values become metadata, as they are written.

    Args:
        table: name of the table.
        number: number of the row, from 1.
        reason: the reason, without the number.
        stated: the values of the row.
    """
    uri = f"{table}#row={number}"
    known = MediaItem(uri, metadata={name: json_value(value) for name, value in stated.items()}) if stated else None
    return Unlisted(uri, f"row {number}: {reason}", known=known)


def located_cell(cell: str, folder: Path, options: ListingOptions) -> tuple[str, Path | None]:
    """Return the uri and the file of an image cell; the file is None for an address on the web.

    The beginning of the name is replaced first, as ``options.replace_prefix`` asks. The file may have the same name in another
    Unicode form, without blanks around it, in Latin-1, or with other slashes; the uri is then that file's.
    """
    scheme = _scheme_of(cell)
    written_name = name_of_file_address(cell) if scheme == "file" else cell
    moved = moved_name(written_name, folder, options)
    if moved is None and len(scheme) > 1 and scheme != "file":  # one letter is a drive
        return cell, None
    if scheme == "file" and moved is None and not is_from_windows(written_name):
        return cell, Path(written_name)
    name, folder = moved or (written_name, folder)
    written = os.fspath(folder / name)
    path = path_of(written)
    if not exists(path) and (same := same_name(written)):
        return uri_of(same), Path(same)
    if is_from_windows(name) and not exists(path):
        return uri_of(name), Path(name)
    return uri_of(written), path


def _scheme_of(cell: str) -> str:
    """Return the scheme of an address; empty for the name of a file."""
    if is_web_address(cell):
        return "https"
    scheme = scheme_of(cell)
    return scheme if "://" in cell or scheme in ("blob", "data") else ""


def location_of(row: Row, folder: Path, options: ListingOptions) -> tuple[str, Path | None]:
    """Return the uri and the file of a row's image. A file whose name has exactly the bytes of the table comes first."""
    if row.data is not None:
        return row.image, None
    if row.image_bytes:
        uri, path = located_cell(row.image_bytes, folder, options)
        if path is not None and exists(path):
            return uri, path
    uri, path = located_cell(row.image, folder, options)
    if '"' in row.image and path is not None and not exists(path):
        # A name as Windows copies it, or with a stray quotation mark.
        plain = located_cell(row.image.strip().strip('"'), folder, options)
        if plain[1] is not None and exists(plain[1]):
            return plain
    return uri, path


def _region(row: Row) -> Region | None:
    cells = [row.values.get(name) for name in row.columns.box]
    if all(cell is None for cell in cells):
        return None
    numbers = [number for cell in cells if (number := number_of(cell)) is not None]
    if len(numbers) != len(cells):
        raise UsageError(f"{', '.join(row.columns.box)} are {cells}: four numbers from 0 to 1 are needed, or none")
    x, y, w, h = numbers
    return Region(x, y, w, h)
