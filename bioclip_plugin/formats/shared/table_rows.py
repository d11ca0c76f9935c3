"""Rows of tables and records as media items: the meaning of their columns, and all other values as metadata."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from bioclip_core.cells import column_name, country_of, day_of, json_value, moment_of, number_of, position_of
from bioclip_core.errors import UsageError
from bioclip_core.files.near_names import same_name
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.shared.exported import FIRST_IMAGE, has_events, is_exported
from bioclip_plugin.formats.shared.paths import moved_name
from bioclip_plugin.items.media import MediaItem, Place, Region, Unlisted, path_of, uri_of

IMAGE_COLUMNS = ("image", "path", "file", "filepath", "uri")
BOX_COLUMNS = ("bboxX", "bboxY", "bboxWidth", "bboxHeight")

# Columns that fill a field of the item, ours first, then those of Camtrap DP and Darwin Core. The first with a usable value
# counts; a value that is not usable stays in the metadata.
_FIELDS: Mapping[str, tuple[str, ...]] = {
    "captured_at": ("captured_at", "timestamp", "eventDate"),
    "latitude": ("latitude", "decimalLatitude"),
    "longitude": ("longitude", "decimalLongitude"),
    "country": ("countryCode", "country"),
    "region": ("region", "stateProvince"),
    "deployment": ("deployment", "deploymentID"),
    "sequence": ("sequence", "sequenceID", "eventID"),
}

Fields = Mapping[str, tuple[str, ...]]
"""The columns of a table that may fill each field of an item."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The meaning of a table's columns."""

    image: str
    fields: Fields
    box: tuple[str, ...]
    """The four columns of a box, or none."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its number from 1, the table's columns, and the values that are not empty."""

    number: int
    columns: Columns
    values: Mapping[str, Any]

    @property
    def image(self) -> str:
        return str(self.values.get(self.columns.image, ""))


def columns_of(header: Sequence[str]) -> Columns | None:
    """Return the meaning of a header; None without an image column."""
    ours = "uri" if is_exported(header) else FIRST_IMAGE if has_events(header) else ""
    image = (ours,) if ours else _present(header, IMAGE_COLUMNS)
    return Columns(image[0], fields_of(header), _present(header, BOX_COLUMNS)) if image else None


def fields_of(header: Iterable[str]) -> Fields:
    """Return the columns that fill a field of an item."""
    header = tuple(header)
    return {field: _present(header, names) for field, names in _FIELDS.items()}


def _present(header: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    by_name = {column_name(name): name for name in reversed(header)}
    return tuple(by_name[name] for name in map(column_name, names) if name in by_name)


def items_of(rows: Sequence[Row], folder: Path, table: str, options: ListingOptions) -> Iterator[MediaItem | Unlisted]:
    """Yield one item for the rows of one image, and a message for each row with an unusable box.

    Fields and metadata are the first row's.
    """
    found: list[Region | None] = []
    for row in rows:
        try:
            found.append(_region(row))
        except (UsageError, ValueError) as error:
            yield Unlisted(f"{table}#row={row.number}", f"row {row.number}: {error}")
    if found:
        first = rows[0]
        uri, path = located_cell(first.image, folder, options)
        used = (first.columns.image, *first.columns.box)
        rest = {name: value for name, value in first.values.items() if name not in used}
        regions = tuple(region for region in found if region is not None)
        yield MediaItem(uri=uri, path=path, regions=regions, **item_fields(rest, first.columns.fields))


def item_fields(rest: dict[str, Any], fields: Fields) -> dict[str, Any]:
    """Return time, place, deployment, sequence and metadata of a record as arguments of :class:`MediaItem`.

    Args:
        rest: the values of the record; those that fill a field are taken out.
        fields: its columns.
    """
    captured_at, day = _captured_at(rest, fields)
    return {
        "captured_at": captured_at,
        "place": Place(
            _country(rest, fields), _text(rest, fields["region"]), *_position(rest, fields), day.month if day else None
        ),
        "deployment": _text(rest, fields["deployment"]),
        "sequence": _text(rest, fields["sequence"]),
        "metadata": {name: json_value(value) for name, value in rest.items()},
    }


def _text(rest: dict[str, Any], names: Sequence[str]) -> str | None:
    name = next((name for name in names if name in rest), None)
    return None if name is None else str(rest.pop(name))


def located_cell(cell: str, folder: Path, options: ListingOptions) -> tuple[str, Path | None]:
    """Return the uri and the file of an image cell; the file is None for an address on the web.

    The beginning of the name is replaced first, as ``options.replace_prefix`` asks. The file may have the same name in another
    Unicode form, without blanks around it, in Latin-1, or with other slashes; the uri is then that file's.
    """
    scheme = urlsplit(cell).scheme if "://" in cell else ""
    if scheme:
        return cell, Path(url2pathname(urlsplit(cell).path)) if scheme == "file" else None
    name, folder = moved_name(cell, folder, options) or (cell, folder)
    written = os.fspath(folder / name)
    path = path_of(written)
    if not path.exists() and (same := same_name(written)):
        return uri_of(same), Path(same)
    return uri_of(written), path


def _region(row: Row) -> Region | None:
    cells = [row.values.get(name) for name in row.columns.box]
    if all(cell is None for cell in cells):
        return None
    numbers = [number for cell in cells if (number := number_of(cell)) is not None]
    if len(numbers) != len(cells):
        raise UsageError(f"{', '.join(row.columns.box)} are {cells}: four numbers from 0 to 1 are needed, or none")
    x, y, w, h = numbers
    return Region(x, y, w, h)


def _captured_at(rest: dict[str, Any], fields: Fields) -> tuple[datetime | None, date | None]:
    """Return the moment, and the day for the place's month. A day alone is not a moment: midnight would make a sequence of it."""
    for name in fields["captured_at"]:
        if moment := moment_of(rest.get(name)):
            del rest[name]
            return moment, moment.date()
    return None, next(filter(None, (day_of(rest.get(name)) for name in fields["captured_at"])), None)


def _position(rest: dict[str, Any], fields: Fields) -> tuple[float | None, float | None]:
    for north, east in product(fields["latitude"], fields["longitude"]):
        latitude, longitude = position_of(rest.get(north), rest.get(east))
        if latitude is not None:
            del rest[north], rest[east]
            return latitude, longitude
    return None, None


def _country(rest: dict[str, Any], fields: Fields) -> str | None:
    for name in fields["country"]:
        if country := country_of(rest.get(name)):
            del rest[name]
            return country
    return None
