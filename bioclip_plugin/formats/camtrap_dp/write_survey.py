"""A first look over what is to be exported: what is missing is heard of before anything is written."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from bioclip_core.errors import UsageError
from bioclip_plugin.formats.camtrap_dp.cells import fault_of
from bioclip_plugin.formats.camtrap_dp.read_files import DEPLOYMENT_KEY, PACKAGE_KEY
from bioclip_plugin.formats.camtrap_dp.schema import TABLES
from bioclip_plugin.formats.camtrap_dp.write_media import Medium, folder_above, media_of, stated
from bioclip_plugin.items.deployments import NEEDED, Deployment, deployment_of, read_deployments, stamp

if TYPE_CHECKING:
    from bioclip_plugin.contracts.export import Export
    from bioclip_plugin.store import Review

_SHOWN = 20
FROM_MEDIA = "Start and end are the times of the first and the last image, the place is what the images say."


@dataclass
class _Seen:
    """What the media of a deployment say of it."""

    media: int = 0
    first: datetime | None = None
    last: datetime | None = None
    place: tuple[float, float] | None = None
    cells: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Survey:
    """What an export needs to know of all of its media."""

    base: str
    """What paths are relative to."""
    deployments: Mapping[str, Deployment]
    """All that go out, by name."""
    table: frozenset[str]
    """The names of those in the user's table: what a folder may be called after."""
    packages: Mapping[str, str]
    """Titles of the packages that media came from, by the packages' ids."""
    people_events: frozenset[str]
    """Events that a person said to be of people."""


def surveyed(export: Export) -> Survey:
    """Look over the media.

    Raises:
        UsageError: if a time zone is needed, or deployments are, with what to give.
    """
    options = export.options
    table = read_deployments(options.deployments, options.time_zone) if options.deployments else {}
    look = _Look(table)
    for medium in media_of(export, ranks=()):
        look.at(medium)
    people = set()
    for review in export.event_reviews():
        if not export.selection:  # of a selection only events that have an image in it
            look.at_event(review)
        if review.verdict == "person":
            people.add(review.target.event or "")
    look.refuse_what_is_missing()
    common = os.path.commonpath(look.folders) if look.folders else ""
    base = common if options.base_folder is None else os.fspath(options.base_folder)
    return Survey(base, look.deployments(options.time_zone), frozenset(table), look.packages, frozenset(people))


class _Look:
    def __init__(self, table: Mapping[str, Deployment]) -> None:
        self._table = table
        self._seen: dict[str, _Seen] = {}
        self._nameless: Counter[str] = Counter()
        self._naive: Counter[str] = Counter()
        self.folders: list[str] = []
        self._folders: set[str] = set()
        self.packages: dict[str, str] = {}

    def at(self, medium: Medium) -> None:
        if medium.is_listed_only():
            return
        if not medium.media_cells.get("filePath"):
            self._note_folder(medium)
        if medium.package.get("id") or medium.package.get("name"):
            self.packages.setdefault(
                medium.package.get("id") or medium.package["name"], medium.package.get("title", "")
            )
        moment = medium.moment()
        if moment is None:
            return  # it is left out, and said to be
        if moment.tzinfo is None:
            self._naive[f"{medium.uri}, {moment.isoformat()}"] += 1
            return
        name = medium.deployment(self._table)
        if not name:
            self._nameless[medium.uri] += 1
            return
        self._note(self._seen.setdefault(name, _Seen()), medium, moment)
        self._refuse_another(name, medium)

    def _refuse_another(self, name: str, medium: Medium) -> None:
        """Two packages may call different deployments the same: then somebody has to say which is meant."""
        cells = medium.deployment_cells
        if cells and cells != self._seen[name].cells and name not in self._table:
            raise UsageError(
                f"two packages have a deployment {name!r} and describe it differently (the second: {medium.uri}): classify and "
                "export them one by one, or give a row for it with --deployments"
            )

    def at_event(self, review: Review) -> None:
        """Note the deployment of an event whose images are not here, if it is of a package that others here are of."""
        cells, package = stated([review.details], DEPLOYMENT_KEY), stated([review.details], PACKAGE_KEY)
        name = cells.get("deploymentID")
        if name and (package.get("id") or package.get("name")) in self.packages:
            self._seen.setdefault(name, _Seen(cells=cells))

    def _note_folder(self, medium: Medium) -> None:
        folder = folder_above(medium.uri)
        if folder is not None and folder not in self._folders:
            self._folders.add(folder)
            # Relative and absolute paths have nothing in common but what they are relative to.
            shared = [os.path.abspath(one) for one in (folder, *self.folders)]  # noqa: PTH100
            same = not self.folders or os.path.isabs(folder) == os.path.isabs(self.folders[0])  # noqa: PTH117
            self.folders = [_common([folder, *self.folders] if same else shared)]

    def _note(self, seen: _Seen, medium: Medium, moment: datetime) -> None:
        seen.media += 1
        seen.first = min(seen.first or moment, moment)
        seen.last = max(seen.last or moment, moment)
        place = medium.first.item.place
        if seen.place is None and place.latitude is not None and place.longitude is not None:
            seen.place = (place.latitude, place.longitude)
        seen.cells = seen.cells or medium.deployment_cells

    def refuse_what_is_missing(self) -> None:
        """Say what has to be given before a package can be written."""
        if self._naive:
            first, count = next(iter(self._naive)), self._naive.total()
            raise UsageError(
                f"{count:,} images have a time without an offset from UTC (the first: {first}): give the time zone that their "
                "cameras were set to with --time-zone, such as Europe/Brussels or +02:00"
            )
        if self._nameless:
            first, count = next(iter(self._nameless)), self._nameless.total()
            known = ", ".join(list(self._table)[:_SHOWN]) or "none"
            raise UsageError(
                f"{count:,} images belong to no deployment (the first: {first}): classify them from a table with a column "
                f"deploymentID, or keep each camera's images in a folder called as its deployment; given in --deployments are: {known}"
            )
        missing = [name for name, seen in self._seen.items() if not (name in self._table or seen.cells or seen.place)]
        if missing:
            shown = ", ".join(f"{name} ({self._seen[name].media:,} images)" for name in missing[:_SHOWN])
            more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
            raise UsageError(
                f"nothing is known of the place of {len(missing)} deployments: {shown}{more}; give a table with the columns "
                f"{', '.join(NEEDED)} and a row for each of them with --deployments"
            )

    def deployments(self, time_zone: str | None) -> dict[str, Deployment]:
        """Those of the table, and those that only media tell of; by name."""
        found = dict(self._table)
        for name, seen in self._seen.items():
            if name not in found:
                found[name] = _from_media(name, seen, time_zone)
        return dict(sorted(found.items()))


def _from_media(name: str, seen: _Seen, time_zone: str | None) -> Deployment:
    where = f"deployment {name!r}, as its images have it from their package"
    cells = _without_faults(seen.cells)
    if not cells and seen.place and seen.first and seen.last:
        where = f"deployment {name!r}, as its images have it"
        cells = {
            "deploymentID": name, "latitude": f"{seen.place[0]:.7f}", "longitude": f"{seen.place[1]:.7f}",
            "deploymentStart": stamp(seen.first), "deploymentEnd": stamp(seen.last), "deploymentComments": FROM_MEDIA,
        }  # fmt: skip
    return deployment_of(cells, time_zone, f"{where} (a row of it in --deployments counts more)")


def _without_faults(cells: Mapping[str, str]) -> dict[str, str]:
    """The cells of somebody's deployment; what an optional one may not hold becomes a tag."""
    columns = {column.name: column for column in TABLES["deployments"] if not column.required}
    bad = [name for name, cell in cells.items() if name in columns and fault_of(columns[name], cell)]
    good = {name: cell for name, cell in cells.items() if name not in bad}
    if bad:
        tags = [
            *filter(None, [good.get("deploymentTags")]),
            *(f"{name}:{cells[name].replace('|', '/')}" for name in bad),
        ]
        good["deploymentTags"] = " | ".join(tags)
    return good


def _common(folders: list[str]) -> str:
    return os.path.commonpath(folders) if all(folders) else ""
