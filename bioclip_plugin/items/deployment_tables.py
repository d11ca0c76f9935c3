"""The user's table of deployments: its columns, its rows, and the row that a name or a folder means at a time."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, time, timedelta
from pathlib import Path

from bioclip_core.cells import column_name, day_of, moment_of, number_of
from bioclip_core.errors import DataError, UsageError
from bioclip_plugin.items.clock_shifts import clock_shift_of
from bioclip_plugin.items.deployments import DeploymentRow
from bioclip_plugin.items.folders import Folders, comparable, name_parts
from bioclip_plugin.items.time_zones import in_zone, zone_of

COORDINATES_AND_TIMES = ("latitude", "longitude", "deploymentStart", "deploymentEnd")
"""Columns of Camtrap DP that only some uses of the table need."""
_LARGEST = 64 << 20

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
_MISSING = ("", "na", "nan", "null")

_PROBLEMS = {
    "several": "images fit several rows of the table of deployments at their time and belong to none of them; give the rows dates "
    "(deploymentStart, deploymentEnd) that do not overlap",
    "timeless": "images without a time fit several rows of the table of deployments and belong to none of them",
    "outside": "images were taken outside the dates of the rows for their folder and belong to none of them",
}


class DeploymentTable:
    """The rows of a table of deployments."""

    def __init__(self, path: Path) -> None:
        """Read a table.

        Raises:
            UsageError: naming file, line and value, for a table that cannot be used.
        """
        self.shown = f"the table of deployments {path}"
        self.columns: tuple[str, ...] = ()
        """The comparable names of its columns."""
        rows = [self._row(line, cells) for line, cells in self._lines(path)]
        self.rows = _named_apart(rows, self.shown)
        self._by_name: dict[str, list[DeploymentRow]] = {}
        self._by_folder: dict[str, list[tuple[Sequence[str], DeploymentRow]]] = {}
        for row in self.rows:
            for name in dict.fromkeys(map(comparable, (row.name, *row.folders))):
                self._by_name.setdefault(name, []).append(row)
            for parts in {tuple(name_parts(name)) for name in row.folders} - {()}:
                self._by_folder.setdefault(parts[-1], []).append((parts, row))

    def named(self, name: str, moment: datetime | None) -> tuple[DeploymentRow | None, str]:
        """Return the row that a name means at a time, or the reason why none can be chosen."""
        rows = self._by_name.get(comparable(name), [])
        own = [row for row in rows if row.name == name]
        return (
            _chosen(own or rows, name, moment) if rows else (None, f"images are of deployments that {self.shown} lacks")
        )

    def above(self, folders: Folders, moment: datetime | None) -> tuple[DeploymentRow | None, str]:
        """Return the row called like the nearest folder at a time, or the reason why none can be chosen."""
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
                return _chosen(fitting, folders[depth - 1], moment)
        return None, ""

    def _lines(self, path: Path) -> Iterator[tuple[int, dict[str, str]]]:
        """Yield number and cells of each line, by the comparable names of the columns."""
        text = _text_of(path, self.shown)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=text.partition("\n")[0].count))
        try:
            header = next(reader, [])
            self.columns = tuple(column_name(cell) for cell in header)
            self._check_columns(header)
            for cells in reader:
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) > len(header):
                    raise DataError(
                        f"{self.shown}, line {reader.line_num}: {len(cells)} cells where the header has {len(header)}; remove "
                        "the surplus"
                    )
                yield reader.line_num, dict(zip(self.columns, map(str.strip, cells), strict=False))
        except csv.Error as error:
            raise DataError(f"{self.shown}, line {reader.line_num}: cannot be read: {error}; save it as CSV") from error

    def _check_columns(self, header: Sequence[str]) -> None:
        if not any(name in self.columns for name in (*_NAME, *_PLACE)):
            lacking = [name for name in COORDINATES_AND_TIMES if column_name(name) not in self.columns]
            found = ", ".join(cell for cell in header if cell) or "no columns"
            raise DataError(f"{self.shown} lacks {', '.join(('deploymentID', *lacking))}; it has {found}")

    def _row(self, line: int, cells: dict[str, str]) -> DeploymentRow:
        where = f"{self.shown}, line {line}"
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
            shift = clock_shift_of(cells["clockshift"]) if cells["clockshift"].lower() not in _MISSING else None
        except UsageError as error:
            raise DataError(f"{where}: {error}") from None
        starts = _moment(where, "deploymentStart", cells, zone, timedelta())
        ends = _moment(where, "deploymentEnd", cells, zone, timedelta(days=1, seconds=-1))
        if starts and ends and _wall(ends, starts) < _wall(starts, ends):
            raise DataError(
                f"{where}: deploymentEnd {cells['deploymentend']} is before deploymentStart {cells['deploymentstart']}"
            )
        folders = [cells[column] for column in _FOLDER if cells.get(column)] or [name, *places]
        return DeploymentRow(
            name, line, tuple(folders), *self._position(where, cells), starts, ends, zone, shift, cells
        )

    def _position(self, where: str, cells: Mapping[str, str]) -> tuple[float | None, float | None]:
        found: list[float | None] = []
        for name, limit in (("latitude", 90), ("longitude", 180)):
            cell = cells[name]
            number = number_of(cell)
            if cell.lower() not in _MISSING and (number is None or abs(number) > limit):
                fault = f"{limit} or less" if number and number > 0 else f"-{limit} or more" if number else "a number"
                raise DataError(f"{where}: {name} {cell!r}: must be {fault}")
            found.append(number)
        return (found[0], found[1]) if None not in found else (None, None)


def _chosen(rows: Sequence[DeploymentRow], name: str, moment: datetime | None) -> tuple[DeploymentRow | None, str]:
    """Return the row of several of one name that was in place at a time, or the reason why there is none."""
    rows = list({row.line: row for row in rows}.values())
    exact = [row for row in rows if name in (row.name, *row.folders)]
    rows = exact or rows  # "cam1" and "CAM1"
    if len(rows) == 1:
        return rows[0], ""
    if moment is None:
        return None, _PROBLEMS["timeless"]
    there = [row for row in rows if includes(row, moment)]
    return (there[0], "") if len(there) == 1 else (None, _PROBLEMS["several" if there else "outside"])


def corrected(row: DeploymentRow, moment: datetime) -> datetime:
    """Return a time of a row's camera without the error of its clock, and in its time zone."""
    return in_zone(row.shift.corrected(moment) if row.shift else moment, row.zone)


def includes(row: DeploymentRow, moment: datetime) -> bool:
    """True if a moment on the camera's clock is within the dates of a row; a date that is not stated includes everything."""
    true = corrected(row, moment)
    after_start = row.starts is None or _wall(true, row.starts) >= _wall(row.starts, true)
    return after_start and (row.ends is None or _wall(true, row.ends) <= _wall(row.ends, true))


def _wall(moment: datetime, other: datetime) -> datetime:
    """Return a moment that can be compared with another one: without offset if one of them lacks it."""
    return moment if moment.tzinfo and other.tzinfo else moment.replace(tzinfo=None)


def _moment(
    where: str, name: str, cells: Mapping[str, str], zone: str | None, rest_of_day: timedelta
) -> datetime | None:
    cell = cells[name.lower()]
    if cell.lower() in _MISSING:
        return None
    moment = moment_of(cell)
    if moment is None and (day := day_of(cell)):
        moment = datetime.combine(day, time()) + rest_of_day
    if moment is None:
        raise DataError(f"{where}: {name} {cell!r}: must be a date and time such as 2020-05-30T04:57:37")
    return in_zone(moment, zone)


def _named_apart(rows: Sequence[DeploymentRow], shown: str) -> list[DeploymentRow]:
    """Return the rows, those of one deploymentID with their first days in their names.

    Raises:
        UsageError: for two rows of one name that are in place at one time.
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


def _text_of(path: Path, shown: str) -> str:
    try:
        if path.stat().st_size > _LARGEST:
            raise DataError(f"{shown} is larger than {_LARGEST >> 20} MB; is it the right file?")
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{shown} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{shown} is not text in UTF-8: {error}; save it as CSV in UTF-8") from error
