"""What a package's observations say of its media, kept on disk: boxes, events, and which ids lead nowhere.

A package may have millions of observations in any order, and a media item needs its own. They are read once into a
database that SQLite keeps in a file without a name; in memory are its cache of some megabytes, and the deployments.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator, Mapping
from datetime import datetime
from types import TracebackType
from typing import Self

from bioclip_core.errors import UsageError
from bioclip_plugin.formats.camtrap_dp.package import CamtrapPackage, PackageRow
from bioclip_plugin.formats.camtrap_dp.schema import BOX, OBSERVATION_TYPES
from bioclip_plugin.items.media import Region, Unlisted
from bioclip_plugin.items.time_zones import moment_in

_TABLES = """
CREATE TABLE observations (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE events (media TEXT PRIMARY KEY, event TEXT, line TEXT, observation TEXT) WITHOUT ROWID;
CREATE TABLE boxes (media TEXT, number INTEGER, kind TEXT, x REAL, y REAL, w REAL, h REAL, PRIMARY KEY (media, number)) WITHOUT ROWID;
CREATE TABLE spans (deployment TEXT, starts REAL, ends REAL, event TEXT);
CREATE TABLE seen (media TEXT PRIMARY KEY) WITHOUT ROWID;
"""
_CATEGORIES = {"animal": "animal", "human": "person", "vehicle": "vehicle"}
_NAMED_BY_A_MODEL = ("animal", "unknown", "unclassified")


class ObservationIndex:
    """The observations of a package by media item. To be used with ``with``: the file goes when it is closed."""

    def __init__(self) -> None:
        self._rows = sqlite3.connect("", isolation_level=None)
        self._rows.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;" + _TABLES)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rows.close()

    def read(
        self, package: CamtrapPackage, deployments: Mapping[str, Mapping[str, str]], zone: str | None
    ) -> Iterator[Unlisted]:
        """Read all observations; gives a line for each that cannot be used."""
        self._rows.execute("BEGIN")
        for number, row in enumerate(package.rows("observations"), start=1):
            fault = row.fault or self._enter(row, number, deployments, zone)
            if fault:
                given = row.values.get("observationID", "without observationID")
                yield Unlisted(f"{package.address}/{row.where}", f"observation {given} (line {row.line}): {fault}")
        self._rows.execute("CREATE INDEX spans_by_deployment ON spans (deployment, starts)")
        self._rows.execute("COMMIT")

    def _enter(
        self, row: PackageRow, number: int, deployments: Mapping[str, Mapping[str, str]], zone: str | None
    ) -> str:
        """Note what a row says of its media; why it cannot be used, or nothing."""
        values = row.values
        name, media, event = values.get("observationID"), values.get("mediaID"), values.get("eventID")
        if not name:
            return "it has no observationID"
        if self._rows.execute("INSERT OR IGNORE INTO observations VALUES (?)", (name,)).rowcount == 0:
            return f"observationID {name!r} stands there twice; the first one counts"
        if values.get("deploymentID") not in deployments:
            return f"deploymentID {values.get('deploymentID', '')!r} is not in the deployments"
        if values.get("observationLevel") == "event":
            self._enter_span(values, zone)
            return ""
        if media is None:
            return "it is no observation of an event and has no mediaID"
        self._rows.execute("INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?)", (media, event, row.where, name))
        if event:
            self._rows.execute("UPDATE events SET event = ? WHERE media = ? AND event IS NULL", (event, media))
        try:
            region = region_of(values)
        except UsageError as error:
            return str(error)
        if region is not None:
            box = (media, number, values.get("observationType", ""), *region.xywh)
            self._rows.execute("INSERT INTO boxes VALUES (?, ?, ?, ?, ?, ?, ?)", box)
        return ""

    def _enter_span(self, values: Mapping[str, str], zone: str | None) -> None:
        starts, ends = (moment_in(values.get(name, ""), zone) for name in ("eventStart", "eventEnd"))
        if starts is not None and ends is not None and values.get("eventID"):
            span = (values["deploymentID"], _seconds(starts), _seconds(ends), values["eventID"])
            self._rows.execute("INSERT INTO spans VALUES (?, ?, ?, ?)", span)

    def is_new(self, media: str) -> bool:
        """Note that a media row was met; False where one of the same id was met before."""
        return self._rows.execute("INSERT OR IGNORE INTO seen VALUES (?)", (media,)).rowcount == 1

    def regions(self, media: str) -> tuple[Region, ...]:
        """The boxes of a media item; one that several observations share is one region."""
        query = "SELECT kind, x, y, w, h FROM boxes WHERE media = ? ORDER BY number"
        found: dict[tuple[tuple[int, int, int, int], str], Region] = {}
        for kind, *box in self._rows.execute(query, (media,)):
            region = _region(box, kind)
            found.setdefault((region.box, region.category), region)
        return tuple(found.values())

    def event(self, media: str, deployment: str | None, captured_at: datetime | None) -> str | None:
        """The event of a media item: that of its own observations, else the one whose time it falls into."""
        row = self._rows.execute("SELECT event FROM events WHERE media = ?", (media,)).fetchone()
        if row is not None and row[0]:
            return str(row[0])
        if deployment is None or captured_at is None:
            return None
        moment = _seconds(captured_at)
        query = (
            "SELECT event FROM spans WHERE deployment = ? AND starts <= ? AND ends >= ? ORDER BY starts DESC LIMIT 1"
        )
        row = self._rows.execute(query, (deployment, moment, moment)).fetchone()
        return str(row[0]) if row else None

    def leading_nowhere(self, package: CamtrapPackage) -> Iterator[Unlisted]:
        """A line for the first observation of each mediaID that no media row has."""
        query = "SELECT media, line, observation FROM events WHERE media NOT IN (SELECT media FROM seen)"
        for media, line, observation in self._rows.execute(query):
            yield Unlisted(
                f"{package.address}/{line}", f"observation {observation}: mediaID {media!r} is not in the media"
            )


def region_of(values: Mapping[str, str]) -> Region | None:
    """The box of an observation; None where it has none.

    Camtrap DP does not say what drew a box, so the region names no detector.

    Raises:
        UsageError: for a box that is not four numbers inside the image.
    """
    cells = [values.get(name) for name in BOX]
    if all(cell is None for cell in cells):
        return None
    try:
        box = [float(cell or "nan") for cell in cells]
    except ValueError:
        box = [math.nan] * 4
    if not all(math.isfinite(number) for number in box):
        raise UsageError(f"its box {cells} is not four numbers ({', '.join(BOX)})")
    return _region(box, values.get("observationType", ""))


def _region(box: list[float], kind: str) -> Region:
    category = _CATEGORIES.get(kind, kind if kind in OBSERVATION_TYPES else "")
    x, y, w, h = box
    return Region(x, y, w, h, category=category, classified=kind in _NAMED_BY_A_MODEL or not category)


def _seconds(moment: datetime) -> float:
    return moment.timestamp() if moment.tzinfo else (moment - datetime(1970, 1, 1)).total_seconds()
