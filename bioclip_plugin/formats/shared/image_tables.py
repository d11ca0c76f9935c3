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

from bioclip_core.cells import DateOrder, column_name, is_unknown
from bioclip_core.errors import BioclipError, UsageError
from bioclip_core.files.scratch import Scratch
from bioclip_core.findings import Findings
from bioclip_core.tables.reading import open_table
from bioclip_core.tables.rows import Table, TableRow
from bioclip_core.tables.sheets import sheet_of
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.shared.stated_values import StatedValues
from bioclip_plugin.formats.shared.table_rows import TABLE_FIELDS, unlisted_row
from bioclip_plugin.items.media import MediaItem, Unlisted, path_of, uri_of
from bioclip_plugin.items.time_zones import in_zone

IMAGE = "image"
"""Field that ``--column`` gives to the column of the images, whatever the table's own rules are."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """The columns of a table by what they mean, as comparable names; all other columns are metadata."""

    fields: Mapping[str, tuple[str, ...]]
    """The columns of each field of an item."""
    order: DateOrder | None = None
    """The order of day and month that the program writes."""


PLACE: Mapping[str, tuple[str, ...]] = {
    "latitude": ("latitude", "decimallatitude", "lat"),
    "longitude": ("longitude", "decimallongitude", "lon", "long", "lng"),
    "country": ("countrycode", "country"),
    "deployment": ("deployment", "deploymentid"),
}
"""Columns that mean the same in the tables of many programs."""


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

    def __init__(
        self, address: str, options: ListingOptions, meaning: Meaning, needed: Sequence[str], fields: Sequence[str]
    ) -> None:
        """Open a table.

        Args:
            address: its path.
            options: options of the listing.
            meaning: the meaning of its columns.
            needed: headings of which the table has one.
            fields: the program's own columns, which ``--column`` may name beside those of every table.

        Raises:
            SourceError: if it cannot be read.
            UsageError: for a ``--column`` with an unknown field or heading.
        """
        self.name, self.options = uri_of(address), options
        self.path, self._needed = path_of(address), needed
        self.table: Table = open_table(
            self.path, options, options.findings, name=self.name, fields=(*fields, *TABLE_FIELDS), needed=needed
        )
        self.base = options.base_folder if options.base_folder is not None else self.path.parent
        self._names = {heading: column_name(heading) for heading in self.table.header}
        self.columns = frozenset(self._names.values())
        headings = {name: heading for heading, name in reversed(self._names.items())}
        self._fields = {
            field: tuple(headings[name] for name in names if name in headings)
            for field, names in meaning.fields.items()
        }
        self._values = StatedValues(self.name, options, self._column, own_order=meaning.order, clock="camera")

    # -- rows ----------------------------------------------------------------------------------------------------------

    def rows(self) -> Iterator[Cells | Unlisted]:
        """Yield the rows, and a message for each one that cannot be read."""
        for row in self.table:
            if row.fault:
                yield unlisted_row(self.name, row.number, f"line {row.line} cannot be read: {row.fault}", {})
            else:
                yield self._cells(row)

    def _cells(self, row: TableRow) -> Cells:
        cells = {
            self._names.get(heading) or column_name(heading): value
            for heading, value in row.cells.items()
            if not is_unknown(value)
        }
        return Cells(row.number, cells, row)

    def _column(self, heading: str) -> Iterator[tuple[str, object]]:
        """Yield the cells of a column, for the order of its dates; what is wrong with its rows is reported elsewhere."""
        table = open_table(self.path, self.options, Findings(), name=self.name, needed=self._needed)
        for row in table:
            yield f"row {row.number}", row.cells.get(heading)

    def skipped(self, row: Cells, reason: str) -> Unlisted:
        """Return the message on a row that is skipped, with its values."""
        return unlisted_row(self.name, row.number, reason, row.row.cells)

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
                if not uri:  # there may be any number of them
                    yield from (row for row in group if isinstance(row, Unlisted))
                    continue
                together = [row for row in group if isinstance(row, Located)]
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
                yield self.skipped(row, str(error))

    # -- values --------------------------------------------------------------------------------------------------------

    def fields(self, row: Cells) -> dict[str, Any]:
        """Return time, place, deployment, sequence and metadata of a row as arguments of :class:`MediaItem`.

        A value that cannot be read is counted and kept in the metadata.
        """
        facts = self._values.item_fields(dict(row.row.cells), self._fields, f"row {row.number}")
        if facts["captured_at"] is not None:
            facts["captured_at"] = in_zone(facts["captured_at"], self.options.time_zone)
        return facts


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
