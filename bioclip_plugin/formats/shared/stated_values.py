"""Dates, positions and countries that a file states: read where they are certain, else counted and kept in the metadata."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from itertools import product, takewhile
from typing import Any, NamedTuple

from bioclip_core.cells import (
    Dated,
    DateOrder,
    DateOrders,
    column_name,
    country_of,
    dated_of,
    is_unknown,
    json_value,
    latitude_of,
    longitude_of,
    plain_number_of,
    position_in,
    position_of,
    programs_moment,
    time_of,
    with_time,
)
from bioclip_core.cells.date_orders import Cells
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.items.media import Place
from bioclip_plugin.items.strange_times import FIRST_YEAR, Clock, StrangeTimes

Fields = Mapping[str, tuple[str, ...]]
"""The columns of a file that may fill each field of an item."""

FIELD_COLUMNS: Fields = {
    "captured_at": ("captured_at", "timestamp", "eventDate", "datetime", "DateTimeOriginal"),
    "time": ("eventTime", "time"),
    "parts": ("year", "month", "day"),
    "latitude": ("latitude", "decimalLatitude", "lat", "verbatimLatitude"),
    "longitude": ("longitude", "decimalLongitude", "lon", "long", "lng", "verbatimLongitude"),
    "position": ("coordinates", "verbatimCoordinates"),
    "country": ("countryCode", "country"),
    "region": ("region", "stateProvince"),
    "deployment": ("deployment", "deploymentID"),
    "sequence": ("sequence", "sequenceID", "eventID"),
}
"""The columns that fill a field of the item, ours first, then those of Camtrap DP and Darwin Core. The first with a usable value
counts; a value that is not usable stays in the metadata."""
_CAMERA_COLUMNS = frozenset(("capturedat", "timestamp", "datetime", "datetimeoriginal"))
"""Columns for the time of an image. An eventDate is the time of a find, which may be older than cameras."""
_KEPT = "they are kept in the metadata, and no other value takes their place"


def fields_in(header: Iterable[str]) -> Fields:
    """Return the columns of a header that fill a field of an item.

    A column ``date`` counts with a time beside it, or where no other column is the time of capture.
    """
    by_name = {column_name(name): name for name in reversed(tuple(header))}
    found = {
        field: tuple(by_name[name] for name in map(column_name, names) if name in by_name)
        for field, names in FIELD_COLUMNS.items()
    }
    if "date" in by_name and (found["time"] or not found["captured_at"]):
        found["captured_at"] = (*found["captured_at"], by_name["date"])
    if "verbatimeventdate" in by_name:
        found["captured_at"] = (*found["captured_at"], by_name["verbatimeventdate"])
    return found


class _Time(NamedTuple):
    """The time that a record states."""

    moment: datetime | None = None
    within: tuple[date, date] | None = None
    month: int | None = None
    is_unread: bool = False
    column: str = ""
    """Column of the moment."""


_NO_TIME = _Time()


class StatedValues:
    """Reads the values of one file. What cannot be read is counted in the findings of the options, with the first example."""

    def __init__(
        self,
        file: str,
        options: ListingOptions,
        cells: Cells = lambda _column: (),
        *,
        own_order: DateOrder | None = None,
        clock: Clock = "unknown",
        has_codes: bool = False,
    ) -> None:
        """Begin a file.

        Args:
            file: its name in messages.
            options: options of the listing, with its findings.
            cells: reads the file again, and returns the cells of a column with the names of their records.
            own_order: order of day and month in which the program writes that the file is from.
            clock: origin of the file's times: "camera" for formats of camera traps.
            has_codes: True if the format's countries are always codes.
        """
        self._file, self._findings, self._has_codes = file, options.findings, has_codes
        self._orders = DateOrders(file, cells, options.findings, options.date_order, own_order)
        self._strange = StrangeTimes(options.findings)
        self._clock: Clock = clock

    def item_fields(self, rest: dict[str, Any], fields: Fields, record: str) -> dict[str, Any]:
        """Return the fields of a record as arguments of :class:`MediaItem`, with all its other values as metadata.

        Args:
            rest: the values of the record; those that fill a field are taken out, unless they were written in another form.
            fields: the columns that fill each field.
            record: its name in messages, such as "row 4".

        Raises:
            SourceError: for a date whose order of day and month neither its column nor an option shows.
        """
        deployment = _text(rest, fields.get("deployment"))
        time = self._time(rest, record, fields)
        if time.moment is not None:
            is_cameras = deployment is not None or column_name(time.column) in _CAMERA_COLUMNS
            clock: Clock = "camera" if is_cameras else self._clock
            if not FIRST_YEAR <= time.moment.year < self._strange.last_year:
                self._strange.check(time.moment, clock, lambda: f"{self._file}, {record}")
        latitude, longitude, no_position = self._position(rest, record, fields)
        country, no_country = self._country(rest, record, fields)
        found: dict[str, Any] = {
            "captured_at": time.moment,
            "place": Place(country, _text(rest, fields.get("region")), latitude, longitude, time.month),
            "deployment": deployment,
            "sequence": _text(rest, fields.get("sequence")),
            "metadata": {name: json_value(value) for name, value in rest.items()},
        }
        if time.is_unread or no_position or no_country:
            closed = {"captured_at": time.is_unread, "position": no_position, "country": no_country}
            found["unread"] = frozenset(name for name, is_closed in closed.items() if is_closed)
        if time.within is not None:
            found["within"] = time.within
        return found

    def found(self, text: str, record: str, *values: object) -> None:
        """Count a finding with its first example."""
        shown = ", ".join("nothing" if value is None else repr(str(value)) for value in values)
        self._findings.add(text, f"{self._file}, {record}" + (f": {shown}" if values else ""))

    # -- time ----------------------------------------------------------------------------------------------------------

    def _time(self, rest: dict[str, Any], record: str, fields: Fields) -> _Time:
        """Return the moment if a column states it, else the day, month or year. Midnight of a day would make a sequence of it."""
        best, is_unread = _NO_TIME, False
        for name in fields.get("captured_at", ()):
            cell = rest.get(name)
            moment = cell if isinstance(cell, datetime) else programs_moment(cell)
            if moment is not None:
                del rest[name]
                return _Time(moment, None, moment.month, column=name)
            if is_unknown(cell):
                continue
            dated = self._dated(name, cell, record)
            if dated is None:
                is_unread = True
                continue
            if dated.day is not None and dated.moment is None:
                dated, has_bad_time = self._with_time(dated, rest, record, fields)
                is_unread |= has_bad_time
            if dated.moment is not None:
                return _Time(dated.moment, None, dated.moment.month, column=name)
            if best is _NO_TIME:
                # Of a year of two digits and of open numbers nothing can be compared with the camera's time.
                within = (dated.first, dated.last) if dated.first and dated.last else None
                best = _Time(None, within, dated.month, within is None)
        names = fields.get("parts", ())
        if names and best.month is None:
            parts = _of_parts(rest, names)
            best = parts if best is _NO_TIME and not is_unread else best._replace(month=parts.month)
        return best._replace(is_unread=True) if is_unread else best

    def _dated(self, name: str, cell: object, record: str) -> Dated | None:
        if _is_verbatim(name):  # as the label has it: it is read if it can be, and nothing is wrong with it otherwise
            return dated_of(cell)
        dated = self._orders.read(name, cell, record)
        if dated is None and dated_of(cell) is None:
            self.found(f"values of {name} cannot be read as a date; {_KEPT}", record, cell)
        elif dated is not None and dated.has_short_year and dated.moment is None:
            self.found(f"years of two digits in {name} are not certain; {_KEPT}", record, cell)
        return dated

    def _with_time(self, dated: Dated, rest: Mapping[str, Any], record: str, fields: Fields) -> tuple[Dated, bool]:
        """Return a day with the time in the column beside it, and True if there is a time that cannot be read."""
        for name in fields.get("time", ()):
            cell = rest.get(name)
            if is_unknown(cell):
                continue
            if time_of(cell) is not None:
                return with_time(dated, cell), False
            self.found(f"values of {name} cannot be read as a time of day; {_KEPT}", record, cell)
            return dated, True
        return dated, False

    # -- position ------------------------------------------------------------------------------------------------------

    def _position(self, rest: dict[str, Any], record: str, fields: Fields) -> tuple[float | None, float | None, bool]:
        """Return degrees north and east, and True if there is a position that cannot be used."""
        stated: list[tuple[str, str]] = []
        for names in product(fields.get("latitude", ()), fields.get("longitude", ())):
            cells = rest.get(names[0]), rest.get(names[1])
            latitude, longitude = position_of(*cells)
            if latitude is not None:
                if stated:
                    self._report_positions(rest, record, stated)
                for name, cell in zip(names, cells, strict=True):
                    if plain_number_of(cell) is not None:
                        del rest[name]
                return latitude, longitude, False
            if is_unknown(cells[0]) and is_unknown(cells[1]):
                continue
            stated.append(names)
        for name in () if stated else fields.get("position", ()):
            if is_unknown(cell := rest.get(name)):
                continue
            latitude, longitude = position_in(cell)
            if latitude is None and not _is_verbatim(name):
                self.found(f"values of {name} cannot be read as a position; {_KEPT}", record, cell)
            return latitude, longitude, latitude is None
        if stated:
            self._report_positions(rest, record, stated)
        return None, None, bool(stated)

    def _report_positions(self, rest: Mapping[str, Any], record: str, stated: Sequence[tuple[str, str]]) -> None:
        """Report the first of some pairs of columns that cannot be used, a whole pair if there is one."""
        halves = [names for names in stated if not all(map(_is_verbatim, names))]
        whole = (names for names in halves if not any(is_unknown(rest.get(name)) for name in names))
        if halves:
            north, east = next(whole, halves[0])
            cells = rest.get(north), rest.get(east)
            self.found(f"positions ({north}, {east}) {_why_no_position(*cells)}; {_KEPT}", record, *cells)

    # -- country -------------------------------------------------------------------------------------------------------

    def _country(self, rest: dict[str, Any], record: str, fields: Fields) -> tuple[str | None, bool]:
        """Return the code of the country, and True if a column of codes has something else."""
        is_unread = False
        for name in fields.get("country", ()):
            cell = rest.get(name)
            if cell is None:
                continue
            code = country_of(cell)
            if code == "NA" and not self._has_codes and not _names_namibia(rest, fields):
                self.found(
                    f"values of {name} are NA, the code of Namibia and the mark of an unknown value; they are not used "
                    "unless another column says Namibia",
                    record,
                )
                is_unread = True
            elif code is not None:
                if str(cell).strip().upper() == code:
                    del rest[name]
                return code, False
            elif not is_unknown(cell) and (self._has_codes or column_name(name) == "countrycode"):
                self.found(f"values of {name} are not codes of ISO 3166-1, such as DE or DEU; {_KEPT}", record, cell)
                is_unread = True
        return None, is_unread


def _text(rest: dict[str, Any], names: Iterable[str] | None) -> str | None:
    for name in names or ():
        cell = rest.get(name)
        if isinstance(cell, (str, int, float)) and not is_unknown(cell):
            return str(rest.pop(name))
    return None


def _is_verbatim(name: str) -> bool:
    return column_name(name).startswith("verbatim")


def _of_parts(rest: Mapping[str, Any], names: Iterable[str]) -> _Time:
    """Return the time in columns for year, month and day, which Darwin Core has beside the date."""
    parts = {column_name(name): plain_number_of(rest.get(name)) for name in names}
    numbers = [int(number) for number in takewhile(bool, map(parts.get, ("year", "month", "day"))) if number]
    month = int(parts.get("month") or 0)
    dated = dated_of("-".join(f"{number:02}" for number in numbers)) if numbers else None
    if dated is None or dated.first is None or dated.last is None:
        return _Time(month=month if 1 <= month <= 12 else None)
    return _Time(within=(dated.first, dated.last), month=dated.month)


def _why_no_position(north: object, east: object) -> str:
    if is_unknown(north) or is_unknown(east):
        return "have only one of latitude and longitude"
    if latitude_of(north) == longitude_of(east) == 0:
        return "are 0, 0, which stands for an unknown place"
    numbers = plain_number_of(north), plain_number_of(east)
    if None not in numbers:
        return "are outside 90 and 180 degrees (are the columns exchanged?)"
    return "cannot be read"


def _names_namibia(rest: Mapping[str, Any], fields: Fields) -> bool:
    said: Iterator[str] = (str(rest.get(name, "")).strip().casefold() for name in fields.get("country", ()))
    return any(text in ("nam", "namibia", "namibie", "république de namibie") for text in said)
