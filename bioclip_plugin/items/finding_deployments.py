"""The one answer to "which deployment does this image belong to?", for rules, exports and reports."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from datetime import datetime

from bioclip_core.findings import Findings
from bioclip_plugin.items.deployment_options import DeploymentOptions, Pattern
from bioclip_plugin.items.deployment_tables import DeploymentTable, corrected, includes, is_assumed
from bioclip_plugin.items.deployments import DeploymentRow, Membership
from bioclip_plugin.items.folders import (
    FolderOf,
    Folders,
    below,
    card_names,
    common,
    folder_of,
    folder_of_text,
    shared_beginning,
    shown,
    without_camera_folders,
)
from bioclip_plugin.items.media import MediaItem
from bioclip_plugin.items.stream_clocks import StreamClocks
from bioclip_plugin.items.time_zones import clock_doubt, in_zone, is_named_zone, zone_of

_REMEMBERED = 4096
_SHOWN = 100
_FIELDS = tuple(entry.name for entry in fields(MediaItem))
_NO_STREAM = Membership("", "", ())


class Deployments:
    """The deployments of a run's images.

    An image belongs to the deployment that is stated with it; else to a row of the table of deployments, called like the
    nearest folder above it; else to the name that a pattern finds in its path; else to its camera, by the serial number,
    where several cameras share a folder; else to its folder. Folders that cameras make by themselves do not divide a deployment. A
    serial number alone joins no two folders, since some makers give all their cameras the same one.

    In memory: some hundred bytes per folder.
    """

    def __init__(
        self,
        listed: Callable[[], Iterable[MediaItem]],
        sources: Sequence[str] = (),
        options: DeploymentOptions | None = None,
        findings: Findings | None = None,
        assumed: str | None = None,
    ) -> None:
        """Survey the folders of a run and the cameras in them.

        Args:
            listed: returns the images of the run, without their regions; called again for :meth:`survey`.
            sources: the addresses of the run: paths are relative to the folder that holds them all.
            options: the table and the pattern.
            findings: for what is wrong with the rows of the table.
            assumed: time zone that the run put times without an offset into.

        Raises:
            DataError: for a table that cannot be used.
        """
        options = options or DeploymentOptions()
        self.table = DeploymentTable(options.deployments, findings) if options.deployments else None
        """The user's table of deployments."""
        self._pattern = Pattern(options.deployment_from) if options.deployment_from else None
        self._listed, self._assumed = listed, assumed
        self._serials: dict[int, str | frozenset[str]] = {}  # by the hash of a folder
        self._folder: Folders | None = None
        self._has_videos = False
        self._cards: dict[int, frozenset[str]] = {}  # endings of the cameras' own folders, by the hash of a folder
        self._several_cards: dict[str, str] = {}
        self._members: dict[tuple[Folders, str], Membership] = {}
        """By folder and serial number, where neither a column, a table nor a pattern decides."""
        last: FolderOf | None = None
        key = 0
        for item in listed():
            folder = folder_of(item.uri)
            if folder is not None and folder is not last:
                last, key = folder, self._noted(folder)
            self._has_videos = self._has_videos or "video_seconds" in item.metadata
            if folder is not None and (serial := _serial_of(item)) and serial != (known := self._serials[key]):
                self._serials[key] = serial if not known else frozenset((*_each(known), serial))
        self._base = _base_of(sources, self._folder or ())

    def _noted(self, folder: FolderOf) -> int:
        """Note a folder, and return the number under which its cameras are known."""
        if folder.is_local:
            self._folder = folder.parts if self._folder is None else shared_beginning(self._folder, folder.parts)
        place, names = without_camera_folders(folder.parts), card_names(folder.parts)
        self._serials.setdefault(hash(place), "")
        if names and names - self._cards.setdefault(hash(place), names) and len(self._several_cards) < _SHOWN:
            self._several_cards[shown(place)] = shown(folder.parts)
        return hash(place)

    def of(self, item: MediaItem) -> Membership:
        """Return the deployment that an image belongs to."""
        folder, serial = folder_of(item.uri), _serial_of(item)
        if item.deployment or self.table or self._pattern or folder is None:
            return self._member(item, folder, serial)
        key = folder.parts, serial
        if (member := self._members.get(key)) is None:
            if len(self._members) >= _REMEMBERED:
                self._members.clear()
            member = self._members[key] = self._member(item, folder, serial)
        return member

    def _member(self, item: MediaItem, folder: FolderOf | None, serial: str) -> Membership:
        place = without_camera_folders(folder.parts) if folder else ()
        together = _each(self._serials.get(hash(place), "")) if folder else frozenset()
        device = serial if len(together) > 1 or not folder else next(iter(together), serial)
        if named := self._named(item, folder):
            return replace(named, group=(named.deployment, device or shown(place)))
        if folder is None:
            return _NO_STREAM
        problem = self._problem(item, folder)
        if not folder.is_local:
            return Membership("", "", (shown(place), device), problem=problem)
        name = self._relative_name(place)
        if len(together) > 1 and serial:
            return Membership(f"{name} ({serial})", "camera", (shown(place), device), problem=problem)
        return Membership(name, "folder", (shown(place), device), problem=problem)

    def completed(self, item: MediaItem) -> MediaItem:
        """Return an image with its deployment, and with the time and the place that the table of deployments gives it.

        A folder is not given as the deployment if it holds all images of the run, which says nothing about them, nor for an
        image without a time, such as that of a specimen: a deployment is a camera at a place for a time.
        """
        member = self.of(item)
        is_folder = len(self._serials) > 1 and item.captured_at is not None
        name = member.deployment if member.is_named or member.known_by == "camera" or is_folder else None
        name = name or item.deployment
        row, moment, place = member.row, item.captured_at, item.place
        if row is None:
            return _changed(item, deployment=name, membership=member)
        if moment is not None and (row.shift or row.zone):
            moment = corrected(row, moment, self._zone_of(item))
            place = replace(place, month=moment.month) if place.month is not None else place
        if place.latitude is None and place.longitude is None:
            place = replace(place, latitude=row.latitude, longitude=row.longitude)
        return _changed(item, deployment=name, membership=member, captured_at=moment, place=place)

    def _named(self, item: MediaItem, folder: FolderOf | None) -> Membership | None:
        """Return the deployment that a column, the table or the pattern names; None if none of them does."""
        moment, table, zone = item.captured_at, self.table, self._zone_of(item)
        if item.deployment:
            row, problem = table.named(item.deployment, moment, zone) if table else (None, "")
            return Membership(row.name if row else item.deployment, "column", (), row, problem)
        if table and folder:
            row, _ = table.above(folder.parts, moment, zone)
            if row:
                return Membership(row.name, "table", (), row)
        if table and len(table.rows) == 1 and len(self._serials) <= 1:
            problem = f"images belong to the only row of {table.shown}, though their folder is not called like it"
            return Membership(table.rows[0].name, "table", (), table.rows[0], problem)
        if self._pattern and folder:
            name = self._pattern.name(*self._path(item, folder))
            if name:
                row, problem = table.named(name, moment, zone) if table else (None, "")
                return Membership(row.name if row else name, "pattern", (), row, problem)
        return None

    def _zone_of(self, item: MediaItem) -> str | None:
        """Return the zone that the run may have put an image's time into; a video's time in UTC is its own."""
        moment = item.captured_at
        return None if moment and "video_seconds" in item.metadata and not moment.utcoffset() else self._assumed

    def _problem(self, item: MediaItem, folder: FolderOf) -> str:
        """Return why neither table nor pattern names a deployment."""
        if self.table and (problem := self.table.above(folder.parts, item.captured_at, self._zone_of(item))[1]):
            return problem
        if self._pattern:
            return "images have a path without a deployment according to --deployment-from"
        if self.table:
            return f"images belong to no row of {self.table.shown}: no folder above them is called like a deployment"
        return ""

    def _path(self, item: MediaItem, folder: FolderOf) -> tuple[Folders, str]:
        """Return the folders below the common one without those of cameras, and the path below it."""
        base = self._base if below(folder.parts, self._base) is not None else self._folder or ()
        relative = below(folder.parts, base)
        parts = folder.parts if relative is None else relative
        name = item.uri[max(item.uri.rfind("/"), item.uri.rfind("\\"), item.uri.rfind("#")) + 1 :]
        return without_camera_folders(parts), shown((*parts, name))

    def _relative_name(self, place: Folders) -> str:
        """Return the name that a folder has as a deployment."""
        for base in (self._base, self._folder or ()):
            base = without_camera_folders(base)
            if (relative := below(place, base)) is not None:
                return shown(relative) or (base[-1] if base and base[-1] != "/" else ".")
        return shown(place) or "."

    # Findings

    def survey(self, findings: Findings, zone: str | None = None) -> None:
        """Go through the images once and report those without a deployment, doubtful times, and rows without images.

        Args:
            findings: where to report.
            zone: time zone of times without an offset, for deployments that have none of their own.
        """
        has_several = any(isinstance(serials, frozenset) for serials in self._serials.values())
        for place, card in self._several_cards.items():
            findings.add(
                "folders are called like those that cameras make (100MEDIA, 101MEDIA) with different endings, and are taken for one "
                "camera; if they are places, name them with --deployments or --deployment-from",
                f"{card} in {place or '.'}",
            )
        has_doubts = zone is not None and is_named_zone(zone_of(zone))
        if not (self.table or self._pattern or self._has_videos or has_several or has_doubts):
            return  # nothing can be found, and a run may have many images
        seen: set[int] = set()
        clocks = StreamClocks(self._assumed)
        for item in self._listed():
            member = self.of(item)
            if member.row:
                seen.add(member.row.line)
            self._report(item, member, findings, zone)
            clocks.add(item, member)
        clocks.report(findings)
        for row in self.table.rows if self.table else ():
            if row.line not in seen:
                findings.add(f"rows of {self.table.shown} are without images", f"line {row.line}: {row.name}")  # type: ignore[union-attr]

    def _report(self, item: MediaItem, member: Membership, findings: Findings, zone: str | None) -> None:
        row, moment = member.row, item.captured_at
        if member.problem:
            findings.add(member.problem, item.uri)
        if not member.is_named and member.known_by == "folder" and not _serial_of(item):
            folder = folder_of(item.uri)
            together = self._serials.get(hash(without_camera_folders(folder.parts)), "") if folder else ""
            if len(_each(together)) > 1:
                findings.add(
                    "files without a serial number are in a folder with images of several cameras; they are taken for another camera",
                    item.uri,
                )
        if moment is None:
            return
        if row and not includes(row, moment, self._zone_of(item)):
            findings.add("images were taken outside the dates of their deployment", _dated(item, moment, row))
        true = corrected(row, moment, self._zone_of(item)) if row else moment
        if row and row.shift:
            findings.add(
                "times were corrected by the clock_shift of their deployment",
                f"{item.uri}: {moment.isoformat()} to {true.isoformat()}, {row.name} {row.shift.text}",
            )
        local = in_zone(true, zone)
        if self.table and not (row and row.shift) and is_assumed(moment, self._zone_of(item)):
            local = in_zone(moment.replace(tzinfo=None), self._assumed)  # stored with its offset only
        if doubt := clock_doubt(local):
            findings.add(doubt, f"{item.uri}: {true.replace(tzinfo=None).isoformat()}")


def _changed(item: MediaItem, **changes: object) -> MediaItem:
    """Return an item with other values, in a third of the time that ``dataclasses.replace`` takes."""
    new = object.__new__(MediaItem)
    for name in _FIELDS:
        object.__setattr__(new, name, changes[name] if name in changes else getattr(item, name))
    return new


def _dated(item: MediaItem, moment: datetime, row: DeploymentRow) -> str:
    return f"{item.uri}: {moment.isoformat()}, {row.name}, line {row.line}"


def _serial_of(item: MediaItem) -> str:
    return str(item.metadata.get("camera_serial_number") or "").strip()


def _each(serials: str | frozenset[str]) -> frozenset[str]:
    return serials if isinstance(serials, frozenset) else frozenset((serials,)) - {""}


def _base_of(sources: Sequence[str], folder: Folders) -> Folders:
    """Return the folder that holds the addresses of a run; the one that holds its images if no address is a path.

    Args:
        sources: the addresses.
        folder: the deepest folder that holds all images.
    """
    found = []
    for source in sources:
        given = folder_of_text(source.rstrip("/\\") + "/") if source not in ("-", "session") else None
        if given is None or not given.is_local:
            return folder
        # A folder begins the paths of its images; of a file, such as a table, the folder counts.
        found.append(given.parts if below(folder, given.parts) is not None or len(sources) > 1 else given.parts[:-1])
    return common(found) if found else folder
