"""The human observations of a Camtrap DP package as reviews."""

from __future__ import annotations

import json
import logging
import sqlite3
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

from bioclip_core.errors import UsageError
from bioclip_core.taxonomy import RANKS, Rank, Taxon, parse_binomial
from bioclip_plugin.formats.camtrap_dp.package import CamtrapPackage
from bioclip_plugin.formats.camtrap_dp.read_files import (
    DEPLOYMENT_KEY,
    PACKAGE_KEY,
    Deployments,
    MediaFiles,
    about_media,
)
from bioclip_plugin.formats.camtrap_dp.read_index import region_of
from bioclip_plugin.items.time_zones import moment_in
from bioclip_plugin.items.verdicts import ReviewVerdict
from bioclip_plugin.store.records import ReviewTarget, StatedReview

if TYPE_CHECKING:
    from bioclip_plugin.contracts.source import ListingOptions

log = logging.getLogger(__name__)

NOT_STATED = "not stated"
"""The reviewer of an observation that does not say who classified it."""
_VERDICTS: Mapping[str, ReviewVerdict] = {
    "animal": "taxon",
    "human": "person",
    "vehicle": "vehicle",
    "blank": "blank",
    "unknown": "unidentifiable",
}
_ANIMAL = Taxon(kingdom="Animalia")
_NUMBERS = {"count": int, "individualPositionRadius": float, "individualPositionAngle": float, "individualSpeed": float}


def stated_reviews(
    package: CamtrapPackage, deployments: Deployments, files: MediaFiles, options: ListingOptions
) -> Iterator[StatedReview]:
    """The reviews of a package: classified observations of people, of images, boxes and events.

    What nobody classified (``unclassified``) is no review unless something else is said of it, such as that the camera was set
    up; then it is "unidentifiable", and the details have the type. An animal without a name is one of the kingdom Animalia.
    The media rows wait in a database in a temporary file; observations are gone through once.
    """
    taxa = taxa_of(package.descriptor.get("taxonomic"))
    with closing(sqlite3.connect("", isolation_level=None)) as rows:
        _keep_media(rows, package)
        for row in package.rows("observations"):
            said = row.values
            if row.fault or said.get("classificationMethod") != "human":
                continue
            verdict, name = _verdict(said), said.get("observationID", "")
            if verdict is None or not name or not _is_new(rows, name):
                continue
            media = _media(rows, said.get("mediaID"))
            try:
                target = _target(said, media, files)
            except UsageError as error:
                log.warning("%s/%s: observation %s is left out: %s", package.address, row.where, name, error)
                continue
            yield StatedReview(
                target=target,
                verdict=verdict,
                taxon=_taxon(said.get("scientificName", ""), taxa) if verdict == "taxon" else None,
                reviewer=said.get("classifiedBy", "").strip() or NOT_STATED,
                reviewed_at=moment_in(said.get("classificationTimestamp", ""), options.time_zone),
                comment=said.get("observationComments", ""),
                details=_details(said, media, package, deployments),
                uid=str(uuid.uuid5(uuid.NAMESPACE_URL, f"camtrap-dp:{package.identity()}:{name}")),
            )


def _verdict(said: Mapping[str, str]) -> ReviewVerdict | None:
    kind = said.get("observationType", "")
    if kind == "unclassified" and any(
        said.get(name) for name in ("cameraSetupType", "observationTags", "observationComments")
    ):
        return "unidentifiable"
    return _VERDICTS.get(kind)


def taxa_of(listed: Any) -> dict[str, Taxon]:
    """The taxa of a package's ``taxonomic``, by scientific name, with the ranks that are stated there."""
    found: dict[str, Taxon] = {}
    for entry in listed if isinstance(listed, list) else []:
        if isinstance(entry, dict) and isinstance(entry.get("scientificName"), str):
            stated = {rank: str(entry.get(rank.value) or "") for rank in RANKS[:-1]}
            names = entry.get("vernacularNames")
            common = names.get("eng") if isinstance(names, dict) else None
            taxon = _named(entry["scientificName"], str(entry.get("taxonRank") or ""), stated)
            found[entry["scientificName"]] = Taxon.of(
                taxon.lineage,
                common_name=common if isinstance(common, str) else "",
                source_id=str(entry.get("taxonID") or ""),
            )
    return found


def _taxon(name: str, taxa: Mapping[str, Taxon]) -> Taxon:
    if not name:
        return _ANIMAL
    return taxa.get(name) or _named(name, "", {})


def _named(name: str, rank: str, stated: Mapping[Rank, str]) -> Taxon:
    """The taxon of a name; where the rank is not stated two words are a species, and the ending tells a family."""
    names = {rank: stated.get(rank, "") for rank in RANKS}
    genus, epithet = parse_binomial(name)
    if rank in ("species", "subspecies") or (not rank and epithet):
        names[Rank.GENUS], names[Rank.SPECIES] = genus, epithet
    elif rank in [one.value for one in RANKS]:
        names[Rank(rank)] = name.strip()
    else:
        names[Rank.FAMILY if name.endswith("idae") else Rank.GENUS] = name.strip()
    return Taxon.of(list(names.values()))


def _keep_media(rows: sqlite3.Connection, package: CamtrapPackage) -> None:
    rows.executescript("PRAGMA journal_mode=OFF; CREATE TABLE media (id TEXT PRIMARY KEY, said TEXT) WITHOUT ROWID")
    rows.executescript("CREATE TABLE observations (id TEXT PRIMARY KEY) WITHOUT ROWID; BEGIN")
    good = (row.values for row in package.rows("media") if not row.fault and row.values.get("mediaID"))
    rows.executemany(
        "INSERT OR IGNORE INTO media VALUES (?, ?)", ((said["mediaID"], json.dumps(said)) for said in good)
    )
    # The transaction stays open: nobody else sees this file, and a commit a row would be slow.


def _is_new(rows: sqlite3.Connection, observation: str) -> bool:
    return rows.execute("INSERT OR IGNORE INTO observations VALUES (?)", (observation,)).rowcount == 1


def _media(rows: sqlite3.Connection, name: str | None) -> dict[str, str] | None:
    found = rows.execute("SELECT said FROM media WHERE id = ?", (name,)).fetchone() if name else None
    return dict(json.loads(found[0])) if found else None


def _target(said: Mapping[str, str], media: Mapping[str, str] | None, files: MediaFiles) -> ReviewTarget:
    """What an observation is about.

    Raises:
        UsageError: if that cannot be told.
    """
    if said.get("observationLevel") == "event":
        if not said.get("eventID"):
            raise UsageError("it is one of an event and has no eventID")
        return ReviewTarget("event", event=said["eventID"])
    if media is None:
        raise UsageError(f"mediaID {said.get('mediaID', '')!r} is not in the media")
    uri, _, _ = files.find(media)
    region = region_of(said)
    return ReviewTarget("region" if region else "media", uri=uri, region=region)


def _details(
    said: Mapping[str, str], media: Mapping[str, str] | None, package: CamtrapPackage, deployments: Deployments
) -> dict[str, Any]:
    """The observation as it stands there under the names of its columns, and the rows that it points to."""
    details: dict[str, Any] = dict(said)
    for name, kind in _NUMBERS.items():
        try:
            details[name] = kind(said[name])
        except (KeyError, ValueError):
            continue  # not stated; what is no number stays as it was written
    if media is not None:
        return details | about_media(media, package, deployments)
    about = about_media(said, package, deployments)
    return details | {key: about[key] for key in (DEPLOYMENT_KEY, PACKAGE_KEY)}
