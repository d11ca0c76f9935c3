"""The Camtrap DP source: a package's media with place, event and boxes, and its human observations as reviews."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from bioclip_core.cells import is_unknown
from bioclip_core.errors import BioclipError, UsageError
from bioclip_core.files.present import is_file
from bioclip_core.files.scratch import Scratch
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.camtrap_dp.package import CamtrapPackage, PackageRow, is_package, opened_package
from bioclip_plugin.formats.camtrap_dp.read_files import (
    Deployments,
    MediaFiles,
    media_metadata,
    read_deployments,
    region_from,
    region_of,
)
from bioclip_plugin.formats.camtrap_dp.read_reviews import stated_reviews
from bioclip_plugin.formats.shared.stated_values import StatedValues
from bioclip_plugin.items.media import MediaItem, Region, Unlisted
from bioclip_plugin.items.time_zones import in_zone, moment_in
from bioclip_plugin.store.records import StatedReview

_TABLES = """
CREATE TABLE observations (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE events (media TEXT PRIMARY KEY, event TEXT, line TEXT, observation TEXT) WITHOUT ROWID;
CREATE TABLE boxes (media TEXT, number INTEGER, kind TEXT, x REAL, y REAL, w REAL, h REAL, PRIMARY KEY (media, number)) WITHOUT ROWID;
CREATE TABLE spans (deployment TEXT, starts REAL, ends REAL, event TEXT);
CREATE TABLE seen (media TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE files (uri TEXT PRIMARY KEY, media TEXT) WITHOUT ROWID;
"""
_TIME = {"captured_at": ("timestamp",)}
_PLACE = {"latitude": ("latitude",), "longitude": ("longitude",)}
_ON_THE_WEB = (
    "the file is on the web, which is not fetched here (only classify and embed fetch, with --fetch FOLDER), and neither the package nor "
    "its folder media has a file of its name (fileName): download it, and give --replace-prefix https://HOST/PATH=FOLDER"
)
"""The same text for all of them, so that a summary counts them; the uri says which file it is."""


class CamtrapDpSource:
    """Lists the media of a Camtrap DP 1.0 package: its folder, its ``datapackage.json``, or a zip file of it.

    ``filePath`` is relative to the descriptor. For a file on the web a file beside the package is used
    (``media/FILENAME`` or ``FILENAME``); without such a file it is its own address, or missing if addresses are not listed
    (:attr:`ListingOptions.lists_addresses`). Boxes of observations of one image become regions; those of people and vehicles
    are kept and not classified. The sequence is the event that the image's observations name, else the event of its
    deployment that includes its time; time-lapse images belong to events by their own observations only.

    Only the deployments are in memory. Observations are read once and kept in a database in a temporary file.
    """

    name = "Camtrap DP package"

    def takes(self, address: str) -> bool:
        return is_package(address)

    def items(self, address: str, options: ListingOptions) -> Iterator[MediaItem | Unlisted]:
        with opened_package(address) as package, _ObservationIndex(_TABLES) as index:
            deployments: dict[str, Mapping[str, str]] = {}
            yield from read_deployments(package, deployments)
            yield from index.read(package, deployments, options)
            files, stated = MediaFiles(package, options), _Stated(package, deployments, options)
            for row in package.rows(package.table("media"), options.findings):
                yield _item(row, package, deployments, index, files, stated)
            yield from index.without_media(package)

    def reviews(self, address: str, options: ListingOptions) -> Iterator[StatedReview]:
        """Yield the observations of images, boxes and events whose classificationMethod is human."""
        with opened_package(address) as package:
            deployments: dict[str, Mapping[str, str]] = {}
            list(read_deployments(package, deployments))  # items() reports the rows that cannot be used
            yield from stated_reviews(package, deployments, MediaFiles(package, options), options)


def _item(
    row: PackageRow,
    package: CamtrapPackage,
    deployments: Deployments,
    index: _ObservationIndex,
    files: MediaFiles,
    stated: _Stated,
) -> MediaItem | Unlisted:
    """Return the item of a media row, or the reason why it is not one."""
    values, where = row.values, f"{package.address}/{row.where}"
    name, deployment = values.get("mediaID", ""), values.get("deploymentID", "")
    if row.fault or not name:
        return Unlisted(where, f"media (line {row.line}): {row.fault or 'it lacks a mediaID'}")
    shown = f"media {name} (line {row.line})"
    if not index.is_new(name):
        return Unlisted(where, f"{shown}: duplicate mediaID {name!r}; the first row is used")
    try:
        file = files.find(values)
    except UsageError as error:
        return Unlisted(where, f"{shown}: {error}")
    if deployment not in deployments:
        return Unlisted(where, f"{shown}: deploymentID {deployment!r} is not in the deployments")
    if first := index.first_of_file(file.uri, name):
        return Unlisted(where, f"{shown}: it has the file of media {first!r}, which is used")
    facts = stated.facts(values, shown)
    item = MediaItem(
        uri=file.uri,
        path=file.path,
        **facts,
        deployment=deployment,
        # The span of an event says nothing about a time-lapse image within it.
        sequence=index.event(
            name, deployment, None if values.get("captureMethod") == "timeLapse" else facts["captured_at"]
        ),
        regions=index.regions(name),
        metadata=media_metadata(values, package, deployments),
    )
    if file.member:
        try:
            return replace(item, path=files.unpacked(file.member))
        except BioclipError as error:
            return Unlisted(file.uri, str(error), known=item)
    if file.path is None:
        return item if files.lists_addresses else Unlisted(file.uri, _ON_THE_WEB, known=item)
    if not is_file(file.path):
        return Unlisted(file.uri, f"{shown}: the file {values.get('filePath')} does not exist", known=item)
    return item


class _Stated:
    """The times of a package's media, and the places of its deployments."""

    def __init__(self, package: CamtrapPackage, deployments: Deployments, options: ListingOptions) -> None:
        self._deployments, self._zone = deployments, options.time_zone
        self._values = StatedValues(package.address, options, partial(_cells, package), clock="camera")
        self._places: dict[str, dict[str, Any]] = {}

    def facts(self, media: Mapping[str, str], shown: str) -> dict[str, Any]:
        """Return time and place of a media row as arguments of an item."""
        facts = self._values.item_fields({"timestamp": media.get("timestamp")}, _TIME, shown)
        where = self._place(media["deploymentID"])
        captured_at: datetime | None = facts["captured_at"]
        return {
            "captured_at": captured_at and in_zone(captured_at, self._zone),
            "place": replace(where["place"], month=facts["place"].month),
            "unread": facts.get("unread", frozenset()) | where.get("unread", frozenset()),
            "within": facts.get("within"),
        }

    def _place(self, deployment: str) -> dict[str, Any]:
        if deployment not in self._places:
            rest = {name: self._deployments[deployment].get(name) for names in _PLACE.values() for name in names}
            self._places[deployment] = self._values.item_fields(rest, _PLACE, f"deployment {deployment}")
        return self._places[deployment]


def _cells(package: CamtrapPackage, column: str) -> Iterator[tuple[str, object]]:
    """Yield the cells of a column of the media, for the order of its dates."""
    for row in package.rows(package.table("media")):
        yield f"media (line {row.line})", row.values.get(column)


class _ObservationIndex(Scratch):
    """The observations of a package by media item. Use it in a ``with`` block.

    A package may have millions of observations in any order, and a media item needs its own. They are read once into a
    database that SQLite keeps in a temporary file; only its cache of some megabytes and the deployments are in memory.
    """

    def read(self, package: CamtrapPackage, deployments: Deployments, options: ListingOptions) -> Iterator[Unlisted]:
        """Read all observations, and yield an entry for each that cannot be used."""
        for number, row in enumerate(package.rows(package.table("observations"), options.findings), start=1):
            if fault := row.fault or self._enter(row, number, deployments, options):
                shown = f"observation {row.values.get('observationID', 'without observationID')} (line {row.line})"
                yield Unlisted(f"{package.address}/{row.where}", f"{shown}: {fault}")
        self._database.execute("CREATE INDEX spans_by_deployment ON spans (deployment, starts)")

    def _enter(self, row: PackageRow, number: int, deployments: Deployments, options: ListingOptions) -> str:
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
            starts, ends = (_end_of_event(row, key, options) for key in ("eventStart", "eventEnd"))
            if starts is not None and ends is not None and event:
                self._database.execute(
                    "INSERT INTO spans VALUES (?, ?, ?, ?)",
                    (values["deploymentID"], _seconds(starts), _seconds(ends), event),
                )
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
            self._database.execute(
                "INSERT INTO boxes VALUES (?, ?, ?, ?, ?, ?, ?)",
                (media, number, values.get("observationType", ""), *region.xywh),
            )
        return ""

    def is_new(self, media: str) -> bool:
        """Note the identifier of a media row; False if it was noted before."""
        return self._database.execute("INSERT OR IGNORE INTO seen VALUES (?)", (media,)).rowcount == 1

    def first_of_file(self, uri: str, media: str) -> str | None:
        """Note the file of a media row; return the media that has it already, or None."""
        done = self._database.execute("INSERT OR IGNORE INTO files VALUES (?, ?)", (uri, media))
        if done.rowcount:
            return None
        (first,) = self._database.execute("SELECT media FROM files WHERE uri = ?", (uri,)).fetchone()
        return str(first)

    def regions(self, media: str) -> tuple[Region, ...]:
        """Return the boxes of a media item; a box that several observations share is one region."""
        query = "SELECT kind, x, y, w, h FROM boxes WHERE media = ? ORDER BY number"
        found: dict[tuple[tuple[int, int, int, int], str], Region] = {}
        for kind, *box in self._database.execute(query, (media,)):
            region = region_from(box, kind)
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
            yield Unlisted(
                f"{package.address}/{line}", f"observation {observation}: mediaID {media!r} is not in the media"
            )


def _end_of_event(row: PackageRow, name: str, options: ListingOptions) -> datetime | None:
    """Return the beginning or the end of an event; a cell that cannot be read is counted."""
    cell = row.values.get(name)
    moment = moment_in(cell, options.time_zone)
    if moment is None and not is_unknown(cell):
        options.findings.add(
            f"values of {name} cannot be read; media of these events have no sequence unless they name it",
            f"{row.where}: {cell!r}",
        )
    return moment


def _seconds(moment: datetime) -> float:
    """Return seconds since 1970; local times of an unknown zone count as UTC, which keeps their order."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
