"""A first pass over the media of an export and the user's table of deployments, which reports missing information first."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time
from pathlib import Path

from bioclip_core.cells import column_name, day_of
from bioclip_core.errors import UsageError
from bioclip_plugin.contracts.export import Export
from bioclip_plugin.formats.camtrap_dp.read_files import DEPLOYMENT_KEY, PACKAGE_KEY
from bioclip_plugin.formats.camtrap_dp.schema import MISSING, TABLES, Column, fault_of
from bioclip_plugin.formats.camtrap_dp.write_media import Medium, folder_above, media_of, stated
from bioclip_plugin.items.deployments import Deployment, stamp
from bioclip_plugin.items.time_zones import in_zone, moment_in
from bioclip_plugin.store.records import Review

_NEEDED = ("deploymentID", "latitude", "longitude", "deploymentStart", "deploymentEnd")
"""Columns that the table must have; other columns of Camtrap DP's table are used if present."""
_LARGEST = 64 << 20
_SHOWN = 20
_FROM_MEDIA = "Start and end are the times of the first and the last image, the place is that of the images."


@dataclass(slots=True)
class _Seen:
    """The information that the media of a deployment have about it."""

    media: int = 0
    first: datetime | None = None
    last: datetime | None = None
    place: tuple[float, float] | None = None
    cells: Mapping[str, str] = field(default_factory=dict)


class Survey:
    """The information about all media of an export that is needed before anything is written."""

    def __init__(self, export: Export) -> None:
        """Survey the media of an export.

        Raises:
            UsageError: if a time zone or deployments are missing, with the option to give.
        """
        options = export.options
        self.table = _read_table(options.deployments, options.time_zone) if options.deployments else {}
        """Deployments of the user's table, which folders may be called after."""
        self.packages: dict[str, str] = {}
        """Titles of the packages that media came from, by the packages' identifiers."""
        self.people_events: set[str] = set()
        """Events with people according to a review."""
        self._seen: dict[str, _Seen] = {}
        self._nameless: Counter[str] = Counter()
        self._naive: Counter[str] = Counter()
        self._folders: set[str] = set()
        self._folder: str | None = None  # the deepest one that holds all files so far
        for medium in media_of(export, ranks=()):
            if not medium.is_listed_only:
                self._add(medium)
        for review in export.event_reviews():
            if not export.selection:  # a selection has only events with a selected image
                self._add_event(review)
            if review.verdict == "person":
                self.people_events.add(review.target.event or "")
        self._refuse_if_incomplete()
        self.base = self._folder or "" if options.base_folder is None else os.fspath(options.base_folder)
        """Folder that paths are relative to."""
        others = {
            name: _deployment_of(name, seen, options.time_zone)
            for name, seen in self._seen.items()
            if name not in self.table
        }
        self.deployments = dict(sorted({**self.table, **others}.items()))
        """All deployments of the export, by name."""

    def _add(self, medium: Medium) -> None:
        if not medium.media_cells.get("filePath"):
            self._add_folder(folder_above(medium.uri))
        if identifier := medium.package.get("id") or medium.package.get("name"):
            self.packages.setdefault(identifier, medium.package.get("title", ""))
        moment, name = medium.moment(), medium.deployment(self.table)
        if moment is None:
            return  # it is skipped or gets its deployment's time when it is written
        if moment.tzinfo is None:
            self._naive[f"{medium.uri}, {moment.isoformat()}"] += 1
        elif not name:
            self._nameless[medium.uri] += 1
        else:
            self._add_to_deployment(name, medium, moment)

    def _add_to_deployment(self, name: str, medium: Medium, moment: datetime) -> None:
        seen, place, cells = self._seen.setdefault(name, _Seen()), medium.first.item.place, medium.deployment_cells
        seen.media += 1
        seen.first, seen.last = min(seen.first or moment, moment), max(seen.last or moment, moment)
        if seen.place is None and place.latitude is not None and place.longitude is not None:
            seen.place = (place.latitude, place.longitude)
        seen.cells = seen.cells or cells
        if cells and cells != seen.cells and name not in self.table:
            raise UsageError(
                f"two packages have a deployment {name!r} and describe it differently (the second: {medium.uri}): classify and "
                "export them one by one, or give a row for it with --deployments"
            )

    def _add_event(self, review: Review) -> None:
        """Note the deployment of a reviewed event without images here, if other media here are of the same package."""
        cells, package = stated([review.details], DEPLOYMENT_KEY), stated([review.details], PACKAGE_KEY)
        name = cells.get("deploymentID")
        if name and (package.get("id") or package.get("name")) in self.packages:
            self._seen.setdefault(name, _Seen(cells=cells))

    def _add_folder(self, folder: str | None) -> None:
        if folder is None or folder in self._folders:
            return
        self._folders.add(folder)
        both = [folder] if self._folder is None else [folder, self._folder]
        if len({os.path.isabs(path) for path in both}) > 1:  # noqa: PTH117
            both = [os.path.abspath(path) for path in both]  # noqa: PTH100
        self._folder = os.path.commonpath(both) if all(both) else ""

    def _refuse_if_incomplete(self) -> None:
        """Raise an error that names the options to give before a package can be written."""
        if self._naive:
            raise UsageError(
                f"{self._naive.total():,} images have a time without an offset from UTC (the first: {next(iter(self._naive))}): "
                "give the time zone of their cameras' clocks with --time-zone, such as Europe/Brussels or +02:00"
            )
        if self._nameless:
            raise UsageError(
                f"{self._nameless.total():,} images belong to no deployment (the first: {next(iter(self._nameless))}): classify "
                "them from a table with a column deploymentID, or keep each camera's images in a folder named after its "
                f"deployment; given in --deployments are: {', '.join(list(self.table)[:_SHOWN]) or 'none'}"
            )
        missing = [name for name, seen in self._seen.items() if not (name in self.table or seen.cells or seen.place)]
        if missing:
            shown = ", ".join(f"{name} ({self._seen[name].media:,} images)" for name in missing[:_SHOWN])
            more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
            raise UsageError(
                f"the place is unknown for {len(missing)} deployments: {shown}{more}; give a table with the columns "
                f"{', '.join(_NEEDED)} and a row for each of them with --deployments"
            )


def _deployment_of(name: str, seen: _Seen, time_zone: str | None) -> Deployment:
    where, cells = f"deployment {name!r}, as its images have it from their package", _without_faults(seen.cells)
    if not cells and seen.place and seen.first and seen.last:
        where = f"deployment {name!r}, as its images have it"
        cells = {
            "deploymentID": name, "latitude": f"{seen.place[0]:.7f}", "longitude": f"{seen.place[1]:.7f}",
            "deploymentStart": stamp(seen.first), "deploymentEnd": stamp(seen.last), "deploymentComments": _FROM_MEDIA,
        }  # fmt: skip
    return _deployment_from(cells, time_zone, f"{where} (a row for it in --deployments takes precedence)")


def _without_faults(cells: Mapping[str, str]) -> dict[str, str]:
    """Return the cells of a package's deployment; a faulty value of an optional column becomes a tag."""
    columns = {name: column for name, column in TABLES["deployments"].items() if not column.required}
    faulty = [name for name, cell in cells.items() if name in columns and fault_of(columns[name], cell)]
    good = {name: cell for name, cell in cells.items() if name not in faulty}
    if faulty:
        tags = [good.get("deploymentTags", ""), *(f"{name}:{cells[name].replace('|', '/')}" for name in faulty)]
        good["deploymentTags"] = " | ".join(filter(None, tags))
    return good


def _read_table(path: Path, time_zone: str | None) -> dict[str, Deployment]:
    """Read a table of deployments in CSV (comma, semicolon or tab; UTF-8).

    Column names are compared without case, white space, underscores and hyphens. Times may be local; then ``time_zone`` is their zone.

    Returns:
        The deployments by name.

    Raises:
        UsageError: naming file, line and value, for a table that cannot be used.
    """
    shown = f"the table of deployments {path}"
    text = _text_of(path, shown)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=text.partition("\n")[0].count))
    found: dict[str, Deployment] = {}
    try:
        columns = _column_names(next(reader, []), shown)
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            where = f"{shown}, line {reader.line_num}"
            if len(cells) > len(columns):
                raise UsageError(f"{where}: {len(cells)} cells where the header has {len(columns)}; remove the surplus")
            named = {name: cell for name, cell in zip(columns, cells, strict=False) if name}
            deployment = _deployment_from(named, time_zone, where)
            if deployment.name in found:
                raise UsageError(f"{where}: duplicate deploymentID {deployment.name!r}; give each deployment its own")
            found[deployment.name] = deployment
    except csv.Error as error:
        raise UsageError(f"{shown}, line {reader.line_num}: cannot be read: {error}; save it as CSV") from error
    return found


def _deployment_from(cells: Mapping[str, str], time_zone: str | None, where: str) -> Deployment:
    """Return a deployment from the cells of a row, under the column names of Camtrap DP.

    Raises:
        UsageError: beginning with ``where``, for a cell that cannot be used.
    """
    good = {
        name: cell
        for name, column in TABLES["deployments"].items()
        if (cell := _cell(column, cells.get(name, "").strip(), time_zone, where))
    }
    starts, ends = (datetime.fromisoformat(good[name]) for name in ("deploymentStart", "deploymentEnd"))
    if ends < starts:
        raise UsageError(
            f"{where}: deploymentEnd {good['deploymentEnd']} is before deploymentStart {good['deploymentStart']}"
        )
    return Deployment(good["deploymentID"], float(good["latitude"]), float(good["longitude"]), starts, ends, good)


def _text_of(path: Path, shown: str) -> str:
    try:
        if path.stat().st_size > _LARGEST:
            raise UsageError(f"{shown} is larger than {_LARGEST >> 20} MB; is it the right file?")
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{shown} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{shown} is not text in UTF-8: {error}; save it as CSV in UTF-8") from error


def _column_names(header: Sequence[str], shown: str) -> list[str]:
    """Return Camtrap DP's name of each column, empty for columns that it does not have."""
    known = {column_name(name): name for name in TABLES["deployments"]}
    names = [known.get(column_name(cell), "") for cell in header]
    lacking = [name for name in _NEEDED if name not in names]
    if lacking:
        found = ", ".join(cell for cell in header if cell) or "no columns"
        raise UsageError(f"{shown} lacks {', '.join(lacking)}; it has {found}")
    return names


def _cell(column: Column, cell: str, time_zone: str | None, where: str) -> str:
    """Return a cell as Camtrap DP writes it, empty for a missing value."""
    shown = f"{where}: {column.name} {cell!r}"
    if column.kind == "datetime" and cell not in MISSING:
        moment = moment_in(cell, time_zone)
        if moment is None and (day := day_of(cell)):
            moment = in_zone(datetime.combine(day, time()), time_zone)  # a day begins and ends deployments at midnight
        if moment is None:
            raise UsageError(f"{shown}: must be a date and time such as 2020-05-30T04:57:37")
        if moment.tzinfo is None:
            raise UsageError(
                f"{shown} lacks an offset from UTC: write one (+02:00), or give --time-zone, such as Europe/Brussels"
            )
        cell = stamp(moment)
    if column.kind == "integer":
        cell = cell.removesuffix(".0")  # a spreadsheet's way of writing a whole number
    if fault := fault_of(column, cell):
        raise UsageError(f"{shown}: {fault}")
    if column.kind == "boolean" and cell:
        return "true" if cell.lower() in ("true", "1") else "false"
    return "" if cell in MISSING else cell
