"""The human observations of a Camtrap DP package as reviews."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from bioclip_core.errors import UsageError
from bioclip_core.files.scratch import Scratch
from bioclip_core.names import parse_name
from bioclip_core.naming.ranks import holding_rank, rank_by_name, rank_named
from bioclip_core.taxonomy import RANKS, Rank, Taxon, name_above_genus
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.camtrap_dp.package import CamtrapPackage
from bioclip_plugin.formats.camtrap_dp.read_files import (
    MEDIA_KEY,
    Deployments,
    MediaFiles,
    media_metadata,
    region_of,
)
from bioclip_plugin.formats.shared.review_times import ReviewTimes, UnreadableTimeError
from bioclip_plugin.items.time_zones import zone_of
from bioclip_plugin.items.verdicts import ReviewVerdict
from bioclip_plugin.store.records import ReviewTarget, StatedReview

log = logging.getLogger(__name__)

NOT_STATED = "not stated"
"""Reviewer of an observation that does not say who classified it."""
_VERDICTS: Mapping[str, ReviewVerdict] = {
    "animal": "taxon",
    "human": "person",
    "vehicle": "vehicle",
    "blank": "blank",
    "unknown": "unidentifiable",
}
_TIME = "classificationTimestamp"
_NO_TIME = f"values of {_TIME} cannot be read; they are in the details of the reviews, which get the time of the import"
_ANIMAL = Taxon("Animalia")  # without a name
_TELLING = ("cameraSetupType", "observationTags", "observationComments")
_NUMBERS = {"count": int, "individualPositionRadius": float, "individualPositionAngle": float, "individualSpeed": float}
_TABLES = """
CREATE TABLE media (id TEXT PRIMARY KEY, cells TEXT) WITHOUT ROWID;
CREATE TABLE observations (id TEXT PRIMARY KEY) WITHOUT ROWID;
"""


class _Rows(Scratch):
    """The media rows of a package, and the observations met so far."""

    def __init__(self, package: CamtrapPackage) -> None:
        super().__init__(_TABLES)
        rows = (row.values for row in package.rows(package.table("media")) if row.values.get("mediaID"))
        self._database.executemany(
            "INSERT OR IGNORE INTO media VALUES (?, ?)", ((cells["mediaID"], json.dumps(cells)) for cells in rows)
        )

    def is_new(self, observation: str) -> bool:
        return self._database.execute("INSERT OR IGNORE INTO observations VALUES (?)", (observation,)).rowcount == 1

    def media(self, name: str | None) -> dict[str, str] | None:
        found = self._database.execute("SELECT cells FROM media WHERE id = ?", (name,)).fetchone()
        return dict(json.loads(found[0])) if found else None


def stated_reviews(
    package: CamtrapPackage, deployments: Deployments, files: MediaFiles, options: ListingOptions
) -> Iterator[StatedReview]:
    """Yield the reviews of a package: observations of images, boxes and events that a person classified.

    An ``unclassified`` observation is a review only if it says something else, such as that the camera was set up; its
    verdict is then "unidentifiable", and the details have the type. An animal without a name is one of kingdom Animalia.
    The media rows are kept in a database in a temporary file; observations are read once.
    """
    taxa = {name: _taxon_of(name, entry) for name, entry in package.taxonomic.items()} | {"": _ANIMAL}
    identity = package.descriptor.get("id") or package.descriptor.get("name") or ""
    zone = zone_of(options.time_zone) if options.time_zone else None
    times = ReviewTimes(package.address, partial(_cells, package), zone, options.findings, options.date_order)
    with _Rows(package) as rows:
        for row in package.rows(package.table("observations")):
            cells, name = row.values, row.values.get("observationID", "")
            verdict = _verdict_of(cells)
            if cells.get("classificationMethod") != "human" or verdict is None or not name or not rows.is_new(name):
                continue
            media, taxon_name = rows.media(cells.get("mediaID")), cells.get("scientificName", "")
            try:
                target = _target_of(cells, media, files)
            except UsageError as error:
                log.warning("%s/%s: observation %s is skipped: %s", package.address, row.where, name, error)
                continue
            details = _details_of(cells, media, package, deployments)
            try:
                reviewed_at = times.read(_TIME, cells.get(_TIME), f"observation {name}")
            except UnreadableTimeError:
                reviewed_at, details = None, details | {_TIME: cells[_TIME]}
                options.findings.add(_NO_TIME, f"{package.address}/{row.where}: {cells[_TIME]!r}")
            yield StatedReview(
                target=target,
                verdict=verdict,
                taxon=(taxa.get(taxon_name) or _taxon_of(taxon_name, {})) if verdict == "taxon" else None,
                reviewer=cells.get("classifiedBy", "").strip() or NOT_STATED,
                reviewed_at=reviewed_at,
                comment=cells.get("observationComments", ""),
                details=details,
                uid=str(uuid.uuid5(uuid.NAMESPACE_URL, f"camtrap-dp:{identity}:{name}")),
            )


def _cells(package: CamtrapPackage, column: str) -> Iterator[tuple[str, object]]:
    """Yield the cells of a column of the observations, for the order of its dates."""
    for row in package.rows(package.table("observations")):
        yield f"observation (line {row.line})", row.values.get(column)


def _verdict_of(cells: Mapping[str, str]) -> ReviewVerdict | None:
    kind = cells.get("observationType", "")
    if kind == "unclassified" and any(cells.get(name) for name in _TELLING):
        return "unidentifiable"
    return _VERDICTS.get(kind)


def _taxon_of(name: str, entry: Mapping[str, Any]) -> Taxon:
    """Return the taxon of an entry of a package's ``taxonomic``, with the ranks that are stated there."""
    names = entry.get("vernacularNames")
    common = names.get("eng") if isinstance(names, dict) else None
    return Taxon.of(
        _lineage_of(name, str(entry.get("taxonRank") or ""), entry),
        common_name=common if isinstance(common, str) else "",
        source_id=str(entry.get("taxonID") or ""),
    )


def _lineage_of(name: str, rank: str, stated: Mapping[str, Any]) -> list[str]:
    """Return the lineage of a name; without a rank two words are a species, and the ending tells a family."""
    lineage = {rank: str(stated.get(rank.value) or "") for rank in RANKS[:-1]} | {Rank.SPECIES: ""}
    genus, epithet = parse_name(name, is_species=rank == "species").binomial
    holder = holding_rank(rank)
    if holder in ("", "species") and epithet:
        lineage |= {Rank.GENUS: genus, Rank.SPECIES: epithet}
    elif holder in ("", "species"):
        lineage[Rank(rank_by_name(genus) or Rank.GENUS)] = genus
    elif rank_named(rank) == holder:
        lineage[Rank(holder)] = genus or name_above_genus(name)
    if not any(lineage.values()):  # "Unidentified bird"
        lineage[Rank.KINGDOM] = _ANIMAL.kingdom
    return list(lineage.values())


def _target_of(cells: Mapping[str, str], media: Mapping[str, str] | None, files: MediaFiles) -> ReviewTarget:
    """Return the subject of an observation.

    Raises:
        UsageError: if that is not known.
    """
    if cells.get("observationLevel") == "event":
        if not cells.get("eventID"):
            raise UsageError("it is an observation of an event without eventID")
        return ReviewTarget("event", event=cells["eventID"])
    if media is None:
        raise UsageError(f"mediaID {cells.get('mediaID', '')!r} is not in the media")
    region = region_of(cells)
    return ReviewTarget("region" if region else "media", uri=files.find(media).uri, region=region)


def _details_of(
    cells: Mapping[str, str], media: Mapping[str, str] | None, package: CamtrapPackage, deployments: Deployments
) -> dict[str, Any]:
    """Return the cells of an observation under the names of their columns, and the rows that it refers to."""
    details: dict[str, Any] = dict(cells)
    for name, number in _NUMBERS.items():
        with suppress(KeyError, ValueError):  # missing, or not a number and kept as it was written
            details[name] = number(cells[name])
    details |= media_metadata(cells if media is None else media, package, deployments)
    if media is None:
        del details[MEDIA_KEY]
    return details
