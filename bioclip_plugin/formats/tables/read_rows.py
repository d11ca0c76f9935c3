"""Rows of a table to media items: which columns mean what, and everything else as metadata."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from bioclip_core.cells import column_name, day_of, moment_of, number_of, position_of
from bioclip_core.errors import UsageError
from bioclip_plugin.items.media import MediaItem, Place, Region, Unlisted, path_of, uri_of

IMAGE_COLUMNS = ("image", "path", "file", "filepath", "uri")

# Columns that fill a field of the item, ours first, then those of Camtrap DP and Darwin Core; the first that has a usable
# value is taken, and one whose value cannot be used stays in the metadata.
_FIELDS: Mapping[str, tuple[str, ...]] = {
    "captured_at": ("captured_at", "timestamp", "eventDate"),
    "latitude": ("latitude", "decimalLatitude"),
    "longitude": ("longitude", "decimalLongitude"),
    "country": ("countryCode", "country"),
    "region": ("region", "stateProvince"),
    "deployment": ("deployment", "deploymentID"),
    "sequence": ("sequence", "sequenceID", "eventID"),
}
BOX_COLUMNS = ("bboxX", "bboxY", "bboxWidth", "bboxHeight")


@dataclass(frozen=True, slots=True)
class Columns:
    """What a table's columns mean; worked out once a table."""

    image: str
    fields: Mapping[str, tuple[str, ...]]
    box: tuple[str, ...]
    """Its four columns, or none."""


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
    """The meaning of a header; None where it has no image column. Case does not matter."""
    by_name = {column_name(name): name for name in reversed(header)}
    image = next((by_name[name] for name in IMAGE_COLUMNS if name in by_name), None)
    if image is None:
        return None
    fields = {
        field: tuple(by_name[n] for n in map(column_name, names) if n in by_name) for field, names in _FIELDS.items()
    }
    box = tuple(by_name[name] for name in map(column_name, BOX_COLUMNS) if name in by_name)
    return Columns(image, fields, box)


def items_of(rows: Sequence[Row], folder: Path, table: str) -> Iterator[MediaItem | Unlisted]:
    """One item for rows of the same image, and a message for each row whose box cannot be used.

    Fields and metadata are the first row's.
    """
    regions: list[Region] = []
    whole = False
    for row in rows:
        try:
            region = _region(row)
        except (UsageError, ValueError) as error:
            yield Unlisted(f"{table}#row={row.number}", f"row {row.number}: {error}")
            continue
        whole = whole or region is None
        if region is not None:
            regions.append(region)
    if not regions and not whole:
        return
    first = rows[0]
    rest = {name: value for name, value in first.values.items() if name != first.columns.image}
    for name in first.columns.box:
        rest.pop(name, None)
    captured_at, day = _captured_at(first, rest)
    uri, path = _located(first.image, folder)
    yield MediaItem(
        uri=uri,
        path=path,
        captured_at=captured_at,
        place=_place(first, rest, day),
        deployment=_text(first, "deployment", rest),
        sequence=_text(first, "sequence", rest),
        regions=tuple(regions),
        metadata={name: plain(value) for name, value in rest.items()},
    )


def plain(value: Any) -> Any:
    """A value as JSON has it: dates as ISO 8601 text, decimals as numbers, what JSON does not know as text."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, (float, Decimal)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, (date, datetime, time)):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return str(value)


def _located(cell: str, folder: Path) -> tuple[str, Path | None]:
    """The uri and the file of an image cell; no file for an address on the web."""
    scheme = urlsplit(cell).scheme if "://" in cell else ""
    if scheme == "file":
        return cell, Path(url2pathname(urlsplit(cell).path))
    if scheme:
        return cell, None
    name = os.fspath(folder / cell)
    path = path_of(name)
    if not path.exists():
        # A table from another machine: backslashes between folders, or a name in Latin-1 where the disk has UTF-8.
        for other in (name.replace("\\", "/"), latin_1(name)):
            if other != name and Path(other).exists():
                path = Path(other)
    return uri_of(name), path


def latin_1(text: str) -> str:
    """Text whose bytes were no UTF-8 (and were kept as surrogates), read as Latin-1; other text as it is."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape").decode("latin-1")
    return text


def _region(row: Row) -> Region | None:
    cells = [row.values.get(name) for name in row.columns.box]
    if all(cell is None for cell in cells):
        return None
    numbers = [number_of(cell) for cell in cells]
    if any(number is None for number in numbers):
        raise UsageError(f"{', '.join(row.columns.box)} are {cells}: four numbers from 0 to 1 are needed, or none")
    x, y, w, h = (number for number in numbers if number is not None)
    return Region(x, y, w, h)


def _captured_at(row: Row, rest: dict[str, Any]) -> tuple[datetime | None, date | None]:
    """The moment, and the day for the place's month. A day alone is no moment: midnight would make a sequence of it."""
    day: date | None = None
    for name in row.columns.fields["captured_at"]:
        cell = rest.get(name)
        if moment := moment_of(cell):
            del rest[name]
            return moment, moment.date()
        day = day or day_of(cell)
    return None, day


def _place(row: Row, rest: dict[str, Any], day: date | None) -> Place:
    latitude = longitude = None
    for north, east in product(row.columns.fields["latitude"], row.columns.fields["longitude"]):
        latitude, longitude = position_of(row.values.get(north), row.values.get(east))
        if latitude is not None:
            rest.pop(north, None)
            rest.pop(east, None)
            break
    country = None
    for name in row.columns.fields["country"]:
        code = str(rest.get(name, "")).strip().upper()
        if country is None and code.isascii() and code.isalpha() and len(code) in (2, 3):
            country = code
            del rest[name]
    return Place(country, _text(row, "region", rest), latitude, longitude, day.month if day else None)


def _text(row: Row, field: str, rest: dict[str, Any]) -> str | None:
    for name in row.columns.fields[field]:
        if name in rest:
            return str(rest.pop(name))
    return None
