"""A first pass over the media of an export, which reports missing information before anything is written."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from bioclip_core.errors import UsageError
from bioclip_plugin.contracts.export import Export
from bioclip_plugin.formats.camtrap_dp.deployments import NEEDED, deployment_of, read_deployments
from bioclip_plugin.formats.camtrap_dp.read_files import DEPLOYMENT_KEY, PACKAGE_KEY
from bioclip_plugin.formats.camtrap_dp.schema import TABLES, fault_of
from bioclip_plugin.formats.camtrap_dp.write_media import Medium, folder_above, media_of, stated
from bioclip_plugin.items.deployments import Deployment, stamp
from bioclip_plugin.store.records import Review

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
        self.table = read_deployments(options.deployments, options.time_zone) if options.deployments else {}
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
                f"{', '.join(NEEDED)} and a row for each of them with --deployments"
            )


def _deployment_of(name: str, seen: _Seen, time_zone: str | None) -> Deployment:
    where, cells = f"deployment {name!r}, as its images have it from their package", _without_faults(seen.cells)
    if not cells and seen.place and seen.first and seen.last:
        where = f"deployment {name!r}, as its images have it"
        cells = {
            "deploymentID": name, "latitude": f"{seen.place[0]:.7f}", "longitude": f"{seen.place[1]:.7f}",
            "deploymentStart": stamp(seen.first), "deploymentEnd": stamp(seen.last), "deploymentComments": _FROM_MEDIA,
        }  # fmt: skip
    return deployment_of(cells, time_zone, f"{where} (a row for it in --deployments takes precedence)")


def _without_faults(cells: Mapping[str, str]) -> dict[str, str]:
    """Return the cells of a package's deployment; a faulty value of an optional column becomes a tag."""
    optional = {name: column for name, column in TABLES["deployments"].items() if not column.required}
    faulty = [name for name, cell in cells.items() if name in optional and fault_of(optional[name], cell)]
    good = {name: cell for name, cell in cells.items() if name not in faulty}
    if faulty:
        tags = [good.get("deploymentTags", ""), *(f"{name}:{cells[name].replace('|', '/')}" for name in faulty)]
        good["deploymentTags"] = " | ".join(filter(None, tags))
    return good
