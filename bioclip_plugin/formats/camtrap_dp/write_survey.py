"""A first pass over the media of an export and the user's table of deployments, which reports missing information first."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time

from bioclip_core.cells import column_name, day_of
from bioclip_core.errors import DataError
from bioclip_plugin.contracts.export import Export
from bioclip_plugin.formats.camtrap_dp.read_files import DEPLOYMENT_KEY, PACKAGE_KEY
from bioclip_plugin.formats.camtrap_dp.schema import MISSING, TABLES, Column, fault_of
from bioclip_plugin.formats.camtrap_dp.write_media import Medium, folder_above, media_of, stated
from bioclip_plugin.formats.shared.people import says_person
from bioclip_plugin.items.deployments import Deployment, stamp
from bioclip_plugin.items.time_zones import in_zone, moment_in
from bioclip_plugin.store.records import Review

_NEEDED = ("deploymentID", "latitude", "longitude", "deploymentStart", "deploymentEnd")
"""Columns of Camtrap DP that the table should have; its other columns are used if present."""
_IMPLAUSIBLE = "times of images are not possible; they have the time of their deployment instead"
_SHOWN = 20
_FROM_MEDIA = "Start and end are the times of the first and the last image, the place is that of the images."


@dataclass(slots=True)
class _Seen:
    """The information that the media of a deployment have about it."""

    media: int = 0
    first: datetime | None = None
    last: datetime | None = None
    place: tuple[float, float] | None = None
    is_named: bool = True
    example: str = ""
    cells: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Counted:
    """Number of images with a fault, and the first of them."""

    number: int = 0
    first: str = ""

    def add(self, example: str, number: int = 1) -> None:
        self.first = self.first or example
        self.number += number


class Survey:
    """The information about all media of an export that is needed before anything is written."""

    def __init__(self, export: Export) -> None:
        """Survey the media of an export.

        Raises:
            DataError: if a time zone or deployments are missing, with the option to give.
        """
        options = export.options
        self._rows = {row.name: row for row in export.deployments.table.rows} if export.deployments.table else {}
        self.packages: dict[str, str] = {}
        """Titles of the packages that media came from, by the packages' identifiers."""
        self.people_events: set[str] = set()
        """Events with people according to a review."""
        self._seen: dict[str, _Seen] = {}
        self._nameless, self._naive = _Counted(), _Counted()
        self._folders: set[str] = set()
        self._folder: str | None = None  # the deepest one that holds all files so far
        self._findings = export.findings
        for medium in media_of(export, ranks=()):
            if not medium.is_listed_only:
                self._add(medium)
        for review in export.event_reviews():
            if not export.selection:  # a selection has only events with a selected image
                self._add_event(review)
            if says_person(review):
                self.people_events.add((review.target.event or "").strip())
        self._refuse_if_incomplete()
        self.base = self._folder or "" if options.base_folder is None else os.fspath(options.base_folder)
        """Folder that paths are relative to."""
        names = sorted({*self._seen, *self._rows})
        found = ((name, self._deployment(name, export)) for name in names)
        self.deployments = {name: deployment for name, deployment in found if deployment is not None}
        """All deployments of the export, by name."""

    def _add(self, medium: Medium) -> None:
        if not medium.media_cells.get("filePath"):
            self._add_folder(folder_above(medium.uri))
        if identifier := medium.package.get("id") or medium.package.get("name"):
            self.packages.setdefault(identifier, medium.package.get("title", ""))
        moment, name = medium.moment(), medium.deployment
        if moment is None:
            if (captured := medium.first.item.captured_at) is not None:
                self._findings.add(_IMPLAUSIBLE, f"{medium.uri}: {captured.isoformat()}")
            return  # it is skipped or gets its deployment's time when it is written
        if moment.tzinfo is None:
            self._naive.add(f"{medium.uri}, {moment.isoformat()}")
        elif not name:
            self._nameless.add(medium.uri)
        else:
            self._add_to_deployment(name, medium, moment)

    def _add_to_deployment(self, name: str, medium: Medium, moment: datetime) -> None:
        seen, place, cells = self._seen.setdefault(name, _Seen()), medium.first.item.place, medium.deployment_cells
        seen.media += 1
        seen.first, seen.last = min(seen.first or moment, moment), max(seen.last or moment, moment)
        if seen.place is None and place.latitude is not None and place.longitude is not None:
            seen.place = (place.latitude, place.longitude)
        seen.cells = seen.cells or cells
        seen.is_named, seen.example = medium.is_named, seen.example or medium.uri
        if cells and cells != seen.cells and name not in self._rows:
            raise DataError(
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
        try:
            self._folder = os.path.commonpath(both) if all(both) else ""
        except ValueError as error:
            raise DataError(
                f"images are on more than one drive ({' and '.join(both)}), and a package names them under one folder: classify and "
                "export them one by one"
            ) from error

    def _refuse_if_incomplete(self) -> None:
        """Raise an error that names the options to give before a package can be written."""
        if self._naive.number:
            raise DataError(
                f"{self._naive.number:,} images have a time without an offset from UTC (the first: {self._naive.first}): "
                "give the time zone of their cameras' clocks with --time-zone, such as Europe/Brussels or +02:00, or with "
                "a column timeZone in the table of --deployments"
            )
        missing = [name for name in self._seen if self._lacks_place(name)]
        for name in missing:
            if not self._seen[name].is_named:
                self._nameless.add(self._seen[name].example, self._seen[name].media)
        if self._nameless.number:
            raise DataError(
                f"{self._nameless.number:,} images belong to no deployment (the first: {self._nameless.first}): keep each "
                "camera's images in a folder named after its deployment, say with --deployment-from where the name is, or classify "
                "them from a table with a column deploymentID; given in --deployments are: "
                f"{', '.join(list(self._rows)[:_SHOWN]) or 'none'}"
            )
        if missing:
            shown = ", ".join(f"{name} ({self._seen[name].media:,} images)" for name in missing[:_SHOWN])
            more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
            raise DataError(
                f"the place is unknown for {len(missing)} deployments: {shown}{more}; give a table with the columns "
                f"{', '.join(_NEEDED)} and a row for each of them with --deployments"
            )

    def _lacks_place(self, name: str) -> bool:
        """True if neither the table, nor the package, nor the images say where a deployment with images is."""
        row, seen = self._rows.get(name), self._seen[name]
        return not (seen.place or (row is not None and row.latitude is not None) or (row is None and seen.cells))

    def _deployment(self, name: str, export: Export) -> Deployment | None:
        """Return a deployment as the table has it, else as its package or its images do; None if it cannot be written."""
        zone, row, seen = export.options.time_zone, self._rows.get(name), self._seen.get(name)
        if row is None:
            return _deployment_of(name, seen, zone) if seen else None
        cells = {column: (row.cells or {}).get(column_name(column), "") for column in TABLES["deployments"]}
        of_images = _cells_of_images(name, seen) if seen else {}
        cells |= {column: of_images[column] for column in _NEEDED if cells[column] in MISSING and column in of_images}
        table = export.deployments.table
        where = f"{table.shown if table else 'the table of deployments'}, line {row.line}"
        if not seen and any(cells[column] in MISSING for column in _NEEDED):
            export.findings.add("rows without images lack a place or dates and are not written", f"{where}: {name}")
            return None
        if row.shift:
            said = f"Times are those of the camera with a correction of {row.shift.text}."
            cells["deploymentComments"] = " ".join(filter(None, (cells["deploymentComments"], said)))
        return _deployment_from(cells, row.zone or zone, where)


def _cells_of_images(name: str, seen: _Seen) -> dict[str, str]:
    """Return the cells of a deployment that its images give."""
    place = dict(zip(("latitude", "longitude"), (f"{degrees:.7f}" for degrees in seen.place or ()), strict=False))
    times = {"deploymentStart": seen.first, "deploymentEnd": seen.last}
    return {"deploymentID": name, **place, **{column: stamp(moment) for column, moment in times.items() if moment}}


def _deployment_of(name: str, seen: _Seen, time_zone: str | None) -> Deployment:
    where, cells = f"deployment {name!r}, as its images have it from their package", _without_faults(seen.cells)
    if not cells and seen.place and seen.first and seen.last:
        where = f"deployment {name!r}, as its images have it"
        cells = {**_cells_of_images(name, seen), "deploymentComments": _FROM_MEDIA}
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


def _deployment_from(cells: Mapping[str, str], time_zone: str | None, where: str) -> Deployment:
    """Return a deployment from the cells of a row, under the column names of Camtrap DP.

    Raises:
        DataError: beginning with ``where``, for a cell that cannot be used.
    """
    good = {
        name: cell
        for name, column in TABLES["deployments"].items()
        if (cell := _cell(column, cells.get(name, "").strip(), time_zone, where))
    }
    starts, ends = (datetime.fromisoformat(good[name]) for name in ("deploymentStart", "deploymentEnd"))
    if ends < starts:
        raise DataError(
            f"{where}: deploymentEnd {good['deploymentEnd']} is before deploymentStart {good['deploymentStart']}"
        )
    return Deployment(good["deploymentID"], float(good["latitude"]), float(good["longitude"]), starts, ends, good)


def _cell(column: Column, cell: str, time_zone: str | None, where: str) -> str:
    """Return a cell as Camtrap DP writes it, empty for a missing value."""
    shown = f"{where}: {column.name} {cell!r}"
    if column.kind == "datetime" and cell not in MISSING:
        moment = moment_in(cell, time_zone)
        if moment is None and (day := day_of(cell)):
            moment = in_zone(datetime.combine(day, time()), time_zone)  # a day begins and ends deployments at midnight
        if moment is None:
            raise DataError(f"{shown}: must be a date and time such as 2020-05-30T04:57:37")
        if moment.tzinfo is None:
            raise DataError(
                f"{shown} lacks an offset from UTC: write one (+02:00), or give --time-zone, such as Europe/Brussels"
            )
        cell = stamp(moment)
    if column.kind == "integer":
        cell = cell.removesuffix(".0")  # a spreadsheet's way of writing a whole number
    if fault := fault_of(column, cell):
        raise DataError(f"{shown}: {fault}")
    if column.kind == "boolean" and cell:
        return "true" if cell.lower() in ("true", "1") else "false"
    return "" if cell in MISSING else cell
