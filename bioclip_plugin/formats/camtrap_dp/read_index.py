"""Observations of a package by media item, kept on disk: boxes, events, and identifiers without a media row.

A package may have millions of observations in any order, and a media item needs its own. They are read once into a
database that SQLite keeps in a temporary file; only its cache of some megabytes and the deployments are in memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from bioclip_core.errors import UsageError
from bioclip_core.files.scratch import Scratch
from bioclip_plugin.formats.camtrap_dp.package import CamtrapPackage, PackageRow
from bioclip_plugin.formats.camtrap_dp.schema import BOX, TABLES
from bioclip_plugin.items.media import Region, Unlisted
from bioclip_plugin.items.time_zones import moment_in

_TABLES = """
CREATE TABLE observations (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE events (media TEXT PRIMARY KEY, event TEXT, line TEXT, observation TEXT) WITHOUT ROWID;
CREATE TABLE boxes (media TEXT, number INTEGER, kind TEXT, x REAL, y REAL, w REAL, h REAL, PRIMARY KEY (media, number)) WITHOUT ROWID;
CREATE TABLE spans (deployment TEXT, starts REAL, ends REAL, event TEXT);
CREATE TABLE seen (media TEXT PRIMARY KEY) WITHOUT ROWID;
"""
_CATEGORIES = {"human": "person"}
_NAMED_BY_A_MODEL = ("animal", "unknown", "unclassified")


class ObservationIndex(Scratch):
    """The observations of a package by media item. Use it in a ``with`` block."""

    def __init__(self) -> None:
        super().__init__(_TABLES)

    def read(
        self, package: CamtrapPackage, deployments: Mapping[str, Mapping[str, str]], zone: str | None
    ) -> Iterator[Unlisted]:
        """Read all observations, and yield an entry for each that cannot be used."""
        for number, row in enumerate(package.rows(package.table("observations")), start=1):
            if fault := row.fault or self._enter(row, number, deployments, zone):
                name = row.values.get("observationID", "without observationID")
                yield Unlisted(f"{package.address}/{row.where}", f"observation {name} (line {row.line}): {fault}")
        self._database.execute("CREATE INDEX spans_by_deployment ON spans (deployment, starts)")

    def _enter(
        self, row: PackageRow, number: int, deployments: Mapping[str, Mapping[str, str]], zone: str | None
    ) -> str:
        """Store what a row says of its media, and return why it cannot be used (empty if it can)."""
        values = row.values
        name, media, event = values.get("observationID"), values.get("mediaID"), values.get("eventID")
        if not name:
            return "it lacks an observationID"
        if self._database.execute("INSERT OR IGNORE INTO observations VALUES (?)", (name,)).rowcount == 0:
            return f"duplicate observationID {name!r}; the first row is used"
        if values.get("deploymentID") not in deployments:
            return f"deploymentID {values.get('deploymentID', '')!r} is not in the deployments"
        if values.get("observationLevel") == "event":
            starts, ends = (moment_in(values.get(key, ""), zone) for key in ("eventStart", "eventEnd"))
            if starts is not None and ends is not None and event:
                span = (values["deploymentID"], _seconds(starts), _seconds(ends), event)
                self._database.execute("INSERT INTO spans VALUES (?, ?, ?, ?)", span)
            return ""
        if media is None:
            return "it lacks a mediaID and is not an observation of an event"
        self._database.execute("INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?)", (media, event, row.where, name))
        if event:
            self._database.execute("UPDATE events SET event = ? WHERE media = ? AND event IS NULL", (event, media))
        try:
            region = region_of(values)
        except UsageError as error:
            return str(error)
        if region is not None:
            box = (media, number, values.get("observationType", ""), *region.xywh)
            self._database.execute("INSERT INTO boxes VALUES (?, ?, ?, ?, ?, ?, ?)", box)
        return ""

    def is_new(self, media: str) -> bool:
        """Note the identifier of a media row; False if it was noted before."""
        return self._database.execute("INSERT OR IGNORE INTO seen VALUES (?)", (media,)).rowcount == 1

    def regions(self, media: str) -> tuple[Region, ...]:
        """Return the boxes of a media item; a box that several observations share is one region."""
        query = "SELECT kind, x, y, w, h FROM boxes WHERE media = ? ORDER BY number"
        found: dict[tuple[tuple[int, int, int, int], str], Region] = {}
        for kind, *box in self._database.execute(query, (media,)):
            region = _region(box, kind)
            found.setdefault((region.box, region.category), region)
        return tuple(found.values())

    def event(self, media: str, deployment: str, captured_at: datetime | None) -> str | None:
        """Return the event of a media item: as its own observations say, else by its deployment and time."""
        row = self._database.execute("SELECT event FROM events WHERE media = ?", (media,)).fetchone()
        if not (row and row[0]) and captured_at is not None:
            query = "SELECT event FROM spans WHERE deployment = ? AND starts <= ?2 AND ends >= ?2 ORDER BY starts DESC LIMIT 1"
            row = self._database.execute(query, (deployment, _seconds(captured_at))).fetchone()
        return row[0] if row else None

    def without_media(self, package: CamtrapPackage) -> Iterator[Unlisted]:
        """Yield an entry for the first observation of each mediaID without a media row."""
        query = "SELECT media, line, observation FROM events WHERE media NOT IN (SELECT media FROM seen)"
        for media, line, observation in self._database.execute(query):
            reason = f"observation {observation}: mediaID {media!r} is not in the media"
            yield Unlisted(f"{package.address}/{line}", reason)


def region_of(values: Mapping[str, str]) -> Region | None:
    """Return the box of an observation, None without one.

    Camtrap DP does not say what drew a box, so the region does not name a detector.

    Raises:
        UsageError: for a box that is not four numbers inside the image.
    """
    cells = [values.get(name) for name in BOX]
    if all(cell is None for cell in cells):
        return None
    try:
        box = [float(cell or "nan") for cell in cells]
    except ValueError:
        box = [math.nan]
    if not all(map(math.isfinite, box)):
        raise UsageError(f"its box {cells} is not four numbers ({', '.join(BOX)})")
    return _region(box, values.get("observationType", ""))


def _region(box: list[float], kind: str) -> Region:
    category = _CATEGORIES.get(kind, kind) if kind in TABLES["observations"]["observationType"].allowed else ""
    x, y, w, h = box
    return Region(x, y, w, h, category=category, classified=kind in _NAMED_BY_A_MODEL or not category)


def _seconds(moment: datetime) -> float:
    """Return seconds since 1970; local times of an unknown zone count as UTC, which keeps their order."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
