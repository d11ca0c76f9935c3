"""The user's table of deployments: its columns, its rows, and the row that a name or a folder means at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from bioclip_core.cells import DateOrders, column_name, is_unknown, latitude_of, longitude_of, plain_number_of
from bioclip_core.errors import DataError, SourceError, UsageError
from bioclip_core.findings import Findings
from bioclip_core.tables.reading import open_table
from bioclip_plugin.items.clock_shifts import clock_shift_of
from bioclip_plugin.items.deployments import DeploymentRow
from bioclip_plugin.items.folders import Folders, comparable, name_parts
from bioclip_plugin.items.time_zones import in_zone, is_named_zone, zone_of

COORDINATES_AND_TIMES = ("latitude", "longitude", "deploymentStart", "deploymentEnd")
"""Columns of Camtrap DP that only some uses of the table need."""
_REMEMBERED = 4096  # folders
_DATES = "deploymentStart or deploymentEnd"
"""Both columns as one: dates of one table are in one order."""
_DEGREES = (("latitude", 90), ("longitude", 180))

# Comparable names of columns: Camtrap DP's and ours first, then those of Wildlife Insights, camtrapR and Darwin Core.
_NAME = ("deploymentid", "deployment")
_PLACE = ("locationname", "locationid", "placename", "location", "station", "site")
_FOLDER = ("folder", "relativepath")
_FIELDS: Mapping[str, tuple[str, ...]] = {
    "latitude": ("latitude", "decimallatitude"),
    "longitude": ("longitude", "decimallongitude"),
    "deploymentstart": ("deploymentstart", "start", "startdate", "setupdate"),
    "deploymentend": ("deploymentend", "end", "enddate", "retrievaldate"),
    "timezone": ("timezone", "tz", "utcoffset"),
    "clockshift": ("clockshift", "timeshift"),
}
_PROBLEMS = {
    "several": "images fit several rows of the table of deployments at their time and belong to none of them; give the rows dates "
    "(deploymentStart, deploymentEnd) that do not overlap",
    "timeless": "images without a time fit several rows of the table of deployments and belong to none of them",
    "outside": "images were taken outside the dates of the rows for their folder and belong to none of them",
}


class DeploymentTable:
    """The rows of a table of deployments."""

    def __init__(self, path: Path, findings: Findings | None = None) -> None:
        """Read a table.

        Args:
            path: text with separators, a workbook or Parquet.
            findings: for what is wrong with its rows.

        Raises:
            DataError: naming file, line and value, for a table that cannot be used.
        """
        self.shown = f"the table of deployments {path}"
        self.columns: tuple[str, ...] = ()
        """The comparable names of its columns."""
        self._findings = Findings() if findings is None else findings
        self._values = self._lines(path)
        self._dates = DateOrders(self.shown, self._both_dates, self._findings)
        rows = [self._row(line, values) for line, values in self._values]
        self.rows = _named_apart(rows, self.shown)
        self._known: dict[Folders, tuple[Sequence[DeploymentRow], str]] = {}
        self._by_name: dict[str, list[DeploymentRow]] = {}
        self._by_folder: dict[str, list[tuple[Sequence[str], DeploymentRow]]] = {}
        for row in self.rows:
            for name in dict.fromkeys(map(comparable, (row.name, *row.folders))):
                self._by_name.setdefault(name, []).append(row)
            for parts in {tuple(name_parts(name)) for name in row.folders} - {()}:
                self._by_folder.setdefault(parts[-1], []).append((parts, row))

    def named(self, name: str, moment: datetime | None, assumed: str | None = None) -> tuple[DeploymentRow | None, str]:
        """Return the row that a name means at a time, or the reason why none can be chosen.

        Args:
            name: a name of a row.
            moment: a time on the camera's clock.
            assumed: time zone of :func:`corrected`.
        """
        rows = self._by_name.get(comparable(name), [])
        own = [row for row in rows if row.name == name]
        if not rows:
            return None, f"images are of deployments that {self.shown} lacks"
        return _chosen(own or rows, name, moment, assumed)

    def above(
        self, folders: Folders, moment: datetime | None, assumed: str | None = None
    ) -> tuple[DeploymentRow | None, str]:
        """Return the row called like the nearest folder at a time, or the reason why none can be chosen."""
        if folders not in self._known:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[folders] = self._fitting(folders)
        rows, name = self._known[folders]
        return _chosen(rows, name, moment, assumed) if rows else (None, "")

    def _fitting(self, folders: Folders) -> tuple[Sequence[DeploymentRow], str]:
        """Return the rows called like the nearest folder that any row is called like, and the name of that folder."""
        names = [comparable(part) for part in folders]
        for depth in range(len(names), 0, -1):
            last = names[depth - 1]
            fitting = [
                row
                for name in dict.fromkeys((last, last.removesuffix(".zip")))
                for parts, row in self._by_folder.get(name, [])
                if [*names[: depth - 1], name][-len(parts) :] == list(parts)
            ]
            if fitting:
                return fitting, folders[depth - 1]
        return (), ""

    def _lines(self, path: Path) -> list[tuple[int, dict[str, Any]]]:
        """Return number and values of each line, by the comparable names of the columns."""
        try:
            table = open_table(path, findings=self._findings, needed=(*_NAME, *_PLACE))
            self._check_columns(table.header)
            lines = []
            for row in table:
                if row.fault:
                    raise DataError(f"{self.shown}, line {row.line}: {row.fault}")
                lines.append((row.line, {column_name(heading): value for heading, value in row.cells.items()}))
        except SourceError as error:
            raise DataError(f"the table of deployments {str(error).removeprefix('the table ')}") from error
        return lines

    def _check_columns(self, header: Sequence[str]) -> None:
        self.columns = tuple(map(column_name, header))
        if not any(name in self.columns for name in (*_NAME, *_PLACE)):
            lacking = [name for name in COORDINATES_AND_TIMES if column_name(name) not in self.columns]
            found = ", ".join(header) or "no columns"
            raise DataError(f"{self.shown} lacks {', '.join(('deploymentID', *lacking))}; it has {found}")

    def _both_dates(self, _: str) -> Iterator[tuple[str, object]]:
        names = [name for field in ("deploymentstart", "deploymentend") for name in _FIELDS[field]]
        return ((f"line {line}", values[name]) for line, values in self._values for name in names if name in values)

    def _row(self, line: int, values: Mapping[str, Any]) -> DeploymentRow:
        where = f"{self.shown}, line {line}"
        cells = {name: "" if is_unknown(value) else _text(value) for name, value in values.items()}
        for field, names in _FIELDS.items():
            cells[field] = next((cells[name] for name in names if cells.get(name)), "")
        places = [cells[name] for name in _PLACE if cells.get(name)]
        name = next((cells[column] for column in _NAME if cells.get(column)), "")
        if not name and not any(column in self.columns for column in _NAME):
            name = next(iter(places), "")
        if not name:
            raise DataError(f"{where}: deploymentID '': the cell is required")
        cells["deploymentid"] = name
        cells["locationname"] = cells.get("locationname") or next((place for place in places if place != name), "")
        zone = cells["timezone"] or None
        try:
            if zone:
                zone_of(zone)
            shift = clock_shift_of(cells["clockshift"]) if cells["clockshift"] else None
        except UsageError as error:
            raise DataError(f"{where}: {error}") from None
        starts = self._moment(where, "deploymentStart", values, cells, timedelta())
        ends = self._moment(where, "deploymentEnd", values, cells, timedelta(days=1, seconds=-1))
        if starts and ends and _wall(ends, starts) < _wall(starts, ends):
            raise DataError(
                f"{where}: deploymentEnd {cells['deploymentend']} is before deploymentStart {cells['deploymentstart']}"
            )
        folders = [cells[column] for column in _FOLDER if cells.get(column)] or [name, *places]
        north, east = (_degrees(where, *field, cells) for field in _DEGREES)
        latitude, longitude = (north, east) if None not in (north, east) else (None, None)
        return DeploymentRow(name, line, tuple(folders), latitude, longitude, starts, ends, zone, shift, cells)

    def _moment(
        self, where: str, name: str, values: Mapping[str, Any], cells: dict[str, str], rest_of_day: timedelta
    ) -> datetime | None:
        """Return a date of a row, and write its cell in ISO 8601."""
        field = name.lower()
        if not cells[field]:
            return None
        column = next(column for column in _FIELDS[field] if not is_unknown(values.get(column)))
        try:
            dated = self._dates.read(_DATES, values.get(column), where.rpartition(", ")[2])
        except SourceError as error:
            words = str(error).replace("give --day-first or --month-first", "write dates as 2024-05-31")
            raise DataError(words) from None
        moment = dated.moment if dated else None
        if dated and moment is None and dated.day:
            moment = datetime.combine(dated.day, time()) + rest_of_day
        if dated is None or moment is None:
            raise DataError(f"{where}: {name} {cells[field]!r}: must be a date and time such as 2020-05-30T04:57:37")
        cells[field] = dated.iso
        return in_zone(moment, cells["timezone"] or None)


def _chosen(
    rows: Sequence[DeploymentRow], name: str, moment: datetime | None, assumed: str | None
) -> tuple[DeploymentRow | None, str]:
    """Return the row of several of one name that was in place at a time, or the reason why there is none."""
    rows = list({row.line: row for row in rows}.values())
    exact = [row for row in rows if name in (row.name, *row.folders)]
    rows = exact or rows  # "cam1" and "CAM1"
    if len(rows) == 1:
        return rows[0], ""
    if moment is None:
        return None, _PROBLEMS["timeless"]
    there = [row for row in rows if includes(row, moment, assumed)]
    return (there[0], "") if len(there) == 1 else (None, _PROBLEMS["several" if there else "outside"])


def corrected(row: DeploymentRow, moment: datetime, assumed: str | None = None) -> datetime:
    """Return a time of a row's camera without the error of its clock, and in its time zone.

    The shift is added to the wall clock, and the wall clock is then put into the zone.

    Args:
        row: the row.
        moment: a time on the camera's clock.
        assumed: time zone that the run put times without an offset into; a time with another offset keeps its own.
    """
    true = row.shift.corrected(moment) if row.shift else moment
    if row.shift and is_assumed(moment, assumed):
        return in_zone(true.replace(tzinfo=None), assumed)
    return in_zone(true, row.zone)


def is_assumed(moment: datetime, assumed: str | None) -> bool:
    """True for a time with the offset that a named zone has at that time on the wall clock."""
    if moment.tzinfo is None or assumed is None or not is_named_zone(zone_of(assumed)):
        return False
    return in_zone(moment.replace(tzinfo=None), assumed).utcoffset() == moment.utcoffset()


def includes(row: DeploymentRow, moment: datetime, assumed: str | None = None) -> bool:
    """True if a moment on the camera's clock is within the dates of a row; a date that is not stated includes everything."""
    true = corrected(row, moment, assumed)
    after_start = row.starts is None or _wall(true, row.starts) >= _wall(row.starts, true)
    return after_start and (row.ends is None or _wall(true, row.ends) <= _wall(row.ends, true))


def _wall(moment: datetime, other: datetime) -> datetime:
    """Return a moment that can be compared with another one: without offset if one of them lacks it."""
    return moment if moment.tzinfo and other.tzinfo else moment.replace(tzinfo=None)


def _degrees(where: str, name: str, limit: int, cells: dict[str, str]) -> float | None:
    """Return a coordinate of a row, and write its cell as a number."""
    cell = cells[name]
    degrees = latitude_of(cell) if limit == 90 else longitude_of(cell)
    if degrees is not None and plain_number_of(cell) is None:
        cells[name] = f"{degrees:.7f}"
    if degrees is None and cell:
        number = plain_number_of(cell) or 0
        fault = f"{limit} or less" if number > limit else f"-{limit} or more" if number < -limit else "a number"
        raise DataError(f"{where}: {name} {cell!r}: must be {fault}")
    return degrees


def _text(value: object) -> str:
    """Return a value of a cell as text: of a workbook also a number, a date or a duration."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value.isoformat() if isinstance(value, date) else str(value).strip()


def _named_apart(rows: Sequence[DeploymentRow], shown: str) -> list[DeploymentRow]:
    """Return the rows, those of one deploymentID with their first days in their names.

    Raises:
        DataError: for two rows of one name that are in place at one time.
    """
    of_name: dict[str, list[DeploymentRow]] = {}
    for row in rows:
        of_name.setdefault(row.name, []).append(row)
    found = []
    for row in rows:
        same = [other for other in of_name[row.name] if other is not row]
        for other in same:
            if other.line < row.line and _overlap(row, other):
                raise DataError(
                    f"{shown}, line {row.line}: duplicate deploymentID {row.name!r} (line {other.line}); give each deployment its "
                    "own, or dates that do not overlap"
                )
        if same and row.starts:
            name = f"{row.name} {row.starts:%Y-%m-%d}"
            cells = {**(row.cells or {}), "deploymentid": name}
            cells["locationname"] = cells.get("locationname") or row.name
            row = replace(row, name=name, cells=cells)
        found.append(row)
    if len({row.name for row in found}) < len(found):
        raise DataError(f"{shown}: two rows of one deploymentID begin on one day; give each deployment its own")
    return found


def _overlap(one: DeploymentRow, other: DeploymentRow) -> bool:
    """True if two rows share more than the day on which a camera is moved."""
    if not (one.starts and one.ends and other.starts and other.ends):
        return True
    starts = max(_wall(one.starts, other.starts), _wall(other.starts, one.starts))
    ends = min(_wall(one.ends, other.ends), _wall(other.ends, one.ends))
    return _wall(ends, starts) - _wall(starts, ends) > timedelta(days=1)
