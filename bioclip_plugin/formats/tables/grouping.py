"""Rows of a table by the image that they name: several images in one cell, and one image in several rows."""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from bioclip_core.cells import json_value
from bioclip_core.errors import DataError
from bioclip_core.files.documents import parse_document
from bioclip_core.files.present import exists
from bioclip_core.files.scratch import Scratch
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.shared.stated_values import StatedValues
from bioclip_plugin.formats.shared.table_rows import Row, items_of, located_cell, location_of, skipped_row
from bioclip_plugin.items.media import MediaItem, Unlisted
from bioclip_plugin.items.web import addresses_in, is_web_address, shared_uri

_REMEMBERED_ROWS = 20_000  # first rows whose values are kept, to say what differs in a later row
_SHOWN_VALUES = 5
_LINES = re.compile(r"\s*[\n\r]\s*")
_SEPARATORS = tuple(map(re.compile, (r"\s*\|\s*", r"\s*;\s*", r",\s*")))
_ANY_SEPARATOR = re.compile(r"\s*[|;]\s*|,\s*")
_FILE = re.compile(r"\S.*\.[A-Za-z][A-Za-z0-9]{1,4}")
_DOTS = re.compile(r"(?:^|[/\\])\.{1,2}[/\\]|//")

SEVERAL = "cells name several images; each of them is an item with the values of its row"
SHARED = "rows name an address of an earlier row, with other values; each row has an answer of its own, under the address with its number"
OTHER_VALUES = "rows add a box to an image, and other values than its first row, whose values count"


class _Named(NamedTuple):
    """A row with the place of its image."""

    row: Row
    uri: str
    path: Path | None
    key: str
    """The same for every spelling of the file's name."""


@dataclass(slots=True)
class ImageRows:
    """The rows of a table, gathered by image."""

    table: str
    """Name of the table, for messages."""
    folder: Path
    """Folder where relative names begin."""
    options: ListingOptions
    values: StatedValues

    def entries(self, rows: Iterator[Row | Unlisted]) -> Iterator[MediaItem | Unlisted]:
        """Yield an item for each image, and a message with its number for each row that is not part of one."""
        with _Images() as images:
            for key, group in groupby(
                self._named(rows), key=lambda named: named.key if isinstance(named, _Named) else ""
            ):
                if not key:
                    yield from (entry for entry in group if isinstance(entry, Unlisted))
                    continue
                together = [named for named in group if isinstance(named, _Named)]
                yield from self._of_image(together, images)

    # -- images of a row -----------------------------------------------------------------------------------------------

    def _named(self, rows: Iterator[Row | Unlisted]) -> Iterator[_Named | Unlisted]:
        """Yield each row once per image that it names."""
        base, last = os.path.abspath(self.folder), None  # noqa: PTH100 - links stay as they are
        for row in rows:
            if isinstance(row, Unlisted):
                yield row
            elif last is not None and last.row.image == row.image and last.row.image_bytes == row.image_bytes:
                yield last._replace(row=row)
            else:
                for part in rows_by_image(row, self.table, self.folder, self.options):
                    if isinstance(part, Unlisted):
                        yield part
                        continue
                    last = self._placed(part, base)
                    yield last

    def _placed(self, row: Row, base: str) -> _Named:
        uri, path = location_of(row, self.folder, self.options)
        text = uri if path is None else os.fspath(path)
        if path is not None and (not text.startswith(base) or _DOTS.search(text)):
            text = os.path.normpath(os.path.join(os.getcwd(), text))  # noqa: PTH109, PTH118
        return _Named(row, uri, path, text)

    def _skipped(self, row: Row, reason: str) -> Unlisted:
        return skipped_row(self.table, row, reason)

    # -- rows of an image ----------------------------------------------------------------------------------------------

    def _of_image(self, group: Sequence[_Named], images: _Images) -> Iterator[MediaItem | Unlisted]:
        """Yield the item of adjacent rows, unless earlier rows named the image; and the rows that are not part of it."""
        first, regions = group[0], list[Row]()
        known = images.first_row(first.key, first.row)
        if known is None and len(group) == 1:
            yield from items_of(
                [first.row], self.folder, self.table, self.options, self.values, (first.uri, first.path)
            )
            return
        for named in group:
            row = named.row
            if known is None and row is first.row:
                regions.append(row)
                continue
            earlier = known or _First(first.row.number, _digest(_rest(first.row)), _rest(first.row))
            has_box = any(row.values.get(column) is not None for column in row.columns.box)
            same = _digest(_rest(row)) == earlier.digest
            if not has_box and not same and named.path is None and row.data is None and is_web_address(named.uri):
                yield from self._of_another_specimen(named, earlier)
            elif has_box and known is None:
                regions.append(row)
                if not same:
                    self._find(OTHER_VALUES, row, earlier)
            elif has_box:
                yield self._skipped(
                    row,
                    f"the same image as row {earlier.number}, which is not above it: its box is not classified; sort the "
                    f"table by its column {row.columns.image!r}",
                )
            else:
                values = "the same values" if same else f"other values{_difference(row, earlier)}"
                yield self._skipped(
                    row, f"the same image as row {earlier.number}, with {values}; the first row is used"
                )
        if regions:
            yield from items_of(regions, self.folder, self.table, self.options, self.values, (first.uri, first.path))

    def _of_another_specimen(self, named: _Named, earlier: _First) -> Iterator[MediaItem | Unlisted]:
        """Yield the item of a row that names an address as an earlier row does, with other values.

        It is asked for once, and has the place and time of each row: the row is in the fragment, which no server sees.
        """
        self._find(SHARED, named.row, earlier)
        uri = shared_uri(named.uri, "row", str(named.row.number))
        yield from items_of([named.row], self.folder, self.table, self.options, self.values, (uri, None))

    def _find(self, text: str, row: Row, earlier: _First) -> None:
        self.options.findings.add(
            text,
            f"{self.table}, row {row.number}: the same image as row {earlier.number}{_difference(row, earlier)}",
        )


def rows_by_image(row: Row, table: str, folder: Path, options: ListingOptions) -> Iterator[Row | Unlisted]:
    """Yield a row once per image that it names, or the reason why it names none.

    Args:
        row: the row.
        table: name of the table, for messages.
        folder: folder where relative names begin.
        options: options of the listing; several images are counted in its findings.
    """
    if not row.image.strip():
        yield skipped_row(table, row, f"column {row.columns.image_heading!r} is empty; it must name the image")
        return
    parts = _several(row, folder, options) if row.data is None else None
    if parts is None:
        yield row
    elif any(row.values.get(column) is not None for column in row.columns.box):
        yield skipped_row(table, row, f"it names {len(parts)} images and a box: give each image a row of its own")
    else:
        options.findings.add(SEVERAL, f"{table}, row {row.number}: {row.image}")
        for part in dict.fromkeys(parts):
            yield replace(row, values={**row.values, row.columns.image: part}, image_bytes="")


def _several(row: Row, folder: Path, options: ListingOptions) -> list[str] | None:
    """Return the images that a cell names; None for one image."""

    def is_there(name: str) -> bool:
        path = located_cell(name, folder, options)[1]
        return path is not None and exists(path)

    cell = row.values[row.columns.image]
    if isinstance(cell, (list, tuple)):
        return [str(part) for part in cell if part]
    text = row.image.strip()
    if text.startswith("[") and text.endswith("]"):
        try:
            listed = parse_document(text, list[str], name="image")
        except DataError:
            listed = []
        if listed:
            return listed
    if is_web_address(text) and len(addresses := addresses_in(text)) > 1:
        return addresses
    lines = _LINES.split(text)
    if (len(lines) == 1 and not _ANY_SEPARATOR.search(text)) or is_there(row.image):
        return None
    named = [_files_of(line, is_there) for line in lines]
    parts = [part for found in named for part in found or ()]
    return parts if all(named) and len(parts) > 1 else None


def _files_of(line: str, is_there: Callable[[str], bool]) -> list[str] | None:
    """Return the names of files in one line of a cell; None if it is something else.

    A separator in the name of one file leaves parts that are not names of files.
    """
    if is_there(line):
        return [line]
    by_one, by_any = [_parts(line, separator) for separator in _SEPARATORS], _parts(line, _ANY_SEPARATOR)
    for parts in by_one:
        if len(parts) > 1 and all(map(is_there, parts)):
            return parts
    for parts in (by_any, *(parts for parts in by_one if len(parts) > 1), [line]):
        if parts and all(_FILE.fullmatch(part) or is_there(part) for part in parts):
            return parts
    return None


def _parts(line: str, separator: re.Pattern[str]) -> list[str]:
    return [part for part in separator.split(line) if part.strip()]


def _rest(row: Row) -> Mapping[str, Any]:
    """Return the values of a row beside its image and its box."""
    used = (row.columns.image, *row.columns.box)
    return {name: value for name, value in row.values.items() if name not in used}


def _digest(values: Mapping[str, Any]) -> int:
    try:
        return hash(tuple(values.items()))
    except TypeError:  # a list
        return hash(repr(list(values.items())))


def _difference(row: Row, earlier: _First) -> str:
    """Return the values that differ from those of an earlier row, for a message."""
    if earlier.values is None:
        return ""
    here = _rest(row)
    differ = [
        f"{name} {_shown(here.get(name))} instead of {_shown(earlier.values.get(name))}"
        for name in dict.fromkeys((*earlier.values, *here))
        if here.get(name) != earlier.values.get(name)
    ]
    more = f" and {len(differ) - _SHOWN_VALUES} more" if len(differ) > _SHOWN_VALUES else ""
    return f": {', '.join(differ[:_SHOWN_VALUES])}{more}" if differ else ""


def _shown(value: Any) -> str:
    return "nothing" if value is None else repr(json_value(value))


class _First(NamedTuple):
    """The first row of an image."""

    number: int
    digest: int
    values: Mapping[str, Any] | None
    """None if they are no longer in memory."""


class _Images(Scratch):
    """The images of the rows so far, each with its first row: on disk, 24 bytes for an image."""

    def __init__(self) -> None:
        super().__init__("CREATE TABLE images (key INTEGER PRIMARY KEY, number INTEGER, digest INTEGER)")
        self._values: OrderedDict[int, Mapping[str, Any]] = OrderedDict()

    def first_row(self, image: str, row: Row) -> _First | None:
        """Return the first row of an image; None if it is this one."""
        key, values = hash(image), _rest(row)  # of 64 bits, as SQLite has them
        done = self._database.execute(
            "INSERT OR IGNORE INTO images VALUES (?, ?, ?)", (key, row.number, _digest(values))
        )
        if done.rowcount:
            self._values[row.number] = values
            if len(self._values) > _REMEMBERED_ROWS:
                self._values.popitem(last=False)
            return None
        number, digest = self._database.execute("SELECT number, digest FROM images WHERE key = ?", (key,)).fetchone()
        return _First(number, digest, self._values.get(number))
