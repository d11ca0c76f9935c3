"""Tables of other programs whose columns are known: their rows by the image that they name, and the meaning of their cells."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from bioclip_core.cells import (
    Dated,
    DateOrder,
    DateOrders,
    column_name,
    country_of,
    is_unknown,
    json_value,
    number_of,
    position_of,
    with_time,
)
from bioclip_core.errors import BioclipError, UsageError
from bioclip_core.files.scratch import Scratch
from bioclip_core.tables.reading import open_table
from bioclip_core.tables.rows import Table, TableRow
from bioclip_core.tables.sheets import sheet_of
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.items.media import MediaItem, Place, Unlisted, path_of, uri_of
from bioclip_plugin.items.time_zones import in_zone

IMAGE = "image"
"""Field that ``--column`` gives to the column of the images, whatever the table's own rules are."""
_NOT_READ = "they are kept in the metadata, and the camera's values do not replace them"


@dataclass(frozen=True, slots=True)
class Meaning:
    """The columns of a table by what they mean, as comparable names; the first one with a value counts."""

    times: tuple[str, ...]
    clock: str = ""
    """Column of the time of day, where that of the date has the day alone."""
    order: DateOrder | None = None
    """The order of day and month that the program writes."""
    latitude: tuple[str, ...] = ("latitude", "decimallatitude")
    longitude: tuple[str, ...] = ("longitude", "decimallongitude")
    country: tuple[str, ...] = ("countrycode", "country")
    deployment: tuple[str, ...] = ("deployment", "deploymentid")
    sequence: tuple[str, ...] = ("sequence", "sequenceid", "eventid")


class Cells(NamedTuple):
    """One row of a table: its number, and its cells by the comparable names of their columns."""

    number: int
    cells: Mapping[str, Any]
    row: TableRow

    def text(self, *columns: str) -> str:
        """Return the text of the first of some columns that has one; empty without one."""
        return next((text for name in columns if (text := str(self.cells.get(name, "")).strip())), "")


class Located(NamedTuple):
    """A row with the image that it names."""

    row: Cells
    uri: str
    path: Path


class ImageTable:
    """A table of another program, open for reading."""

    def __init__(self, address: str, options: ListingOptions, meaning: Meaning, needed: Sequence[str]) -> None:
        """Open a table.

        Args:
            address: its path.
            options: options of the listing.
            meaning: the meaning of its columns.
            needed: headings of which the table has one.

        Raises:
            SourceError: if it cannot be read.
            UsageError: for a ``--column`` with an unknown field or heading.
        """
        self.name, self.options, self.meaning = uri_of(address), options, meaning
        self.path = path_of(address)
        self.table: Table = open_table(self.path, options, options.findings, name=self.name, needed=needed)
        self.base = options.base_folder if options.base_folder is not None else self.path.parent
        self._names = {heading: column_name(heading) for heading in self.table.header}
        self.columns = frozenset(self._names.values())
        self._dates = DateOrders(self.name, self._column, options.findings, options.date_order, meaning.order)

    # -- rows ----------------------------------------------------------------------------------------------------------

    def rows(self) -> Iterator[Cells | Unlisted]:
        """Yield the rows, and a message for each one that cannot be read."""
        for row in self.table:
            if row.fault:
                yield self.skipped(row.number, f"line {row.line} cannot be read: {row.fault}")
            else:
                yield self._cells(row)

    def _cells(self, row: TableRow) -> Cells:
        cells = {
            self._names.get(heading) or column_name(heading): value
            for heading, value in row.cells.items()
            if not is_unknown(value)
        }
        return Cells(row.number, cells, row)

    def _column(self, column: str) -> Iterator[tuple[str, object]]:
        """Yield the cells of a column by its comparable name, for the order of its dates."""
        for row in self.table:
            for heading, value in row.cells.items():
                if self._names.get(heading) == column:
                    yield f"row {row.number}", value

    def skipped(self, number: int, reason: str) -> Unlisted:
        """Return the message on a row that is skipped."""
        return Unlisted(f"{self.name}#row={number}", f"row {number}: {reason}")

    # -- images --------------------------------------------------------------------------------------------------------

    def by_image(
        self, locate: Callable[[Cells], tuple[str, Path]]
    ) -> Iterator[tuple[list[Located], int | None] | Unlisted]:
        """Yield the adjacent rows of each image, with the number of an earlier row of it that is not adjacent.

        Args:
            locate: returns the uri and the path of a row's image.
        """
        with _Images() as images:
            for uri, group in groupby(
                self._located(locate), key=lambda one: one.uri if isinstance(one, Located) else ""
            ):
                rows = list(group)
                if not uri:
                    yield from (row for row in rows if isinstance(row, Unlisted))
                    continue
                together = [row for row in rows if isinstance(row, Located)]
                yield together, images.first_row(uri, together[0].row.number)

    def _located(self, locate: Callable[[Cells], tuple[str, Path]]) -> Iterator[Located | Unlisted]:
        for row in self.rows():
            if isinstance(row, Unlisted):
                yield row
                continue
            try:
                yield Located(row, *locate(row))
            except NotThere as error:
                known = MediaItem(error.uri, error.path, **self.fields(row))
                yield Unlisted(error.uri, f"row {row.number}: {error}", known=known)
            except UsageError as error:
                yield self.skipped(row.number, str(error))

    # -- values --------------------------------------------------------------------------------------------------------

    def fields(self, row: Cells) -> dict[str, Any]:
        """Return time, place, deployment, sequence and metadata of a row as arguments of :class:`MediaItem`.

        A value that cannot be read is counted and kept in the metadata.
        """
        used: set[str] = set()
        unread: set[str] = set()
        dated = self._dated(row, used, unread)
        latitude, longitude = self._position(row, used, unread)
        country = self._country(row, used, unread)
        deployment, sequence = (
            self._text(row, names, used) for names in (self.meaning.deployment, self.meaning.sequence)
        )
        captured_at = dated.moment if dated else None
        return {
            "captured_at": captured_at and in_zone(captured_at, self.options.time_zone),
            "place": Place(country, None, latitude, longitude, dated.month if dated else None),
            "deployment": deployment,
            "sequence": sequence,
            "metadata": {
                heading: json_value(value)
                for heading, value in row.row.cells.items()
                if column_name(heading) in row.cells and column_name(heading) not in used
            },
            "unread": frozenset(unread),
        }

    def _dated(self, row: Cells, used: set[str], unread: set[str]) -> Dated | None:
        """Return the time of a row; a day alone is not a moment, and only gives the month.

        The first column with a value counts, also if it cannot be read: it is not replaced by another one.
        """
        column = next((name for name in self.meaning.times if name in row.cells), "")
        if not column:
            return None
        dated = self._dates.read(column, row.cells[column], f"row {row.number}")
        clock = row.cells.get(self.meaning.clock)
        if dated is not None and dated.moment is None and clock is not None:
            dated = with_time(dated, clock)
            used |= {self.meaning.clock} if dated.moment is not None else set()
        if dated is None:
            unread.add("captured_at")
            self._found(column, row, column)
        elif dated.moment is not None:
            used.add(column)
        return dated

    def _position(self, row: Cells, used: set[str], unread: set[str]) -> tuple[float | None, float | None]:
        north = next((name for name in self.meaning.latitude if name in row.cells), "")
        east = next((name for name in self.meaning.longitude if name in row.cells), "")
        if not north or not east:
            return None, None
        latitude, longitude = position_of(row.cells[north], row.cells[east])
        if latitude is not None:
            used |= {north, east}
        elif number_of(row.cells[north]) != 0 or number_of(row.cells[east]) != 0:  # 0, 0 is written for no place
            unread.add("position")
            self._found(f"{north} and {east}", row, north, east)
        return latitude, longitude

    def _country(self, row: Cells, used: set[str], unread: set[str]) -> str | None:
        for name in self.meaning.country:
            if name in row.cells:
                country = country_of(row.cells[name])
                if country is not None:
                    used.add(name)
                    return country
                unread.add("country")
                self._found(name, row, name)
        return None

    def _text(self, row: Cells, names: Sequence[str], used: set[str]) -> str | None:
        for name in names:
            if text := row.text(name):
                used.add(name)
                return text
        return None

    def _found(self, column: str, row: Cells, *columns: str) -> None:
        value = ", ".join(repr(str(row.cells[name])) for name in columns)
        self.options.findings.add(
            f"values of {column} cannot be read; {_NOT_READ}", f"{self.name}, row {row.number}: {value}"
        )


class NotThere(UsageError):
    """An image that is not on this disk: its row keeps its values."""

    def __init__(self, reason: str, uri: str, path: Path) -> None:
        super().__init__(reason)
        self.uri, self.path = uri, path


class _Images(Scratch):
    """The images of the rows so far, each with its first row: on disk, so that a table may have any length."""

    def __init__(self) -> None:
        super().__init__("CREATE TABLE images (key INTEGER PRIMARY KEY, number INTEGER)")

    def first_row(self, uri: str, number: int) -> int | None:
        """Return the number of an image's first row; None if it is this one."""
        key = int.from_bytes(
            blake2b(uri.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little", signed=True
        )
        if self._database.execute("INSERT OR IGNORE INTO images VALUES (?, ?)", (key, number)).rowcount:
            return None
        (first,) = self._database.execute("SELECT number FROM images WHERE key = ?", (key,)).fetchone()
        return int(first)


def headings_of(address: str, needed: Sequence[str]) -> tuple[str, ...]:
    """Return the headings of a table; empty for any other file.

    Args:
        address: a path.
        needed: headings of which the table has one.
    """
    path = path_of(address)
    file, _ = sheet_of(path)
    try:
        status = file.stat()
        is_file = stat.S_ISREG(status.st_mode) and status.st_size > 0
        return _headings(path, tuple(needed), status.st_mtime_ns, status.st_size) if is_file else ()
    except OSError:
        return ()


@lru_cache(maxsize=16)  # each source of tables asks for the same file
def _headings(path: Path, needed: tuple[str, ...], _changed_at: int, _size: int) -> tuple[str, ...]:
    try:
        return open_table(path, needed=needed).header
    except BioclipError:
        return ()
