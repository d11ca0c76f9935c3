"""Observations: what the run says of an image and its regions, and what people said, as rows of the table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bioclip_core.taxonomy import Taxon
from bioclip_plugin.formats.camtrap_dp.cells import fault_of
from bioclip_plugin.formats.camtrap_dp.naming import HOMO_SAPIENS, Naming, kind_of_taxon, naming_of, whole
from bioclip_plugin.formats.camtrap_dp.read_reviews import NOT_STATED
from bioclip_plugin.formats.camtrap_dp.schema import BOX, TABLES
from bioclip_plugin.formats.camtrap_dp.write_media import made_id
from bioclip_plugin.items.deployments import stamp
from bioclip_plugin.items.media import Region
from bioclip_plugin.items.time_zones import moment_in
from bioclip_plugin.store.records import Review, StoredItem, StoredRegion

Row = dict[str, str]

_COLUMNS = {column.name: column for column in TABLES["observations"]}
_FROM_DETAILS = (
    "cameraSetupType", "count", "lifeStage", "sex", "behavior", "individualID", "individualPositionRadius",
    "individualPositionAngle", "individualSpeed", "classificationProbability", "observationTags",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Machine:
    """Who the machine is in the table, and when it classified."""

    run_id: str
    """Part of the identifiers of its observations, so that two runs' do not clash."""
    classified_by: str
    moment: datetime


@dataclass(frozen=True, slots=True)
class RowPlace:
    """Where a row belongs: deployment, media file, and the moment, or the two moments between which it was."""

    deployment: str
    media: str
    span: tuple[datetime, datetime]
    event: str


@dataclass(frozen=True, slots=True)
class Observed:
    """One row with what it was made of."""

    row: Row
    naming: Naming
    region: StoredRegion | None


def machine_observations(
    frame: StoredItem, chosen: StoredItem, place: RowPlace, machine: Machine
) -> Iterator[Observed]:
    """What the run says of one frame: a row a region; "blank" where a detector found nothing.

    Args:
        frame: with all regions; ``chosen`` has those that are asked for.
    """
    if chosen.status != "done":
        return
    said = False
    for region in chosen.regions:
        naming = naming_of(region)
        if naming is not None:
            said = True
            yield Observed(_machine_row(frame, region, naming, place, machine), naming, region)
    if not said and not any(naming_of(region) for region in frame.regions):
        # Nothing at all, or only boxes that the detector itself did not trust.
        naming = Naming("blank")
        yield Observed(_machine_row(frame, None, naming, place, machine), naming, None)


def _machine_row(
    frame: StoredItem, region: StoredRegion | None, naming: Naming, place: RowPlace, machine: Machine
) -> Row:
    stated = region.region if region else None
    box = stated.box if stated else ("", "", "", "")
    made_by = (stated.category, stated.detector, stated.detector_version) if stated else ("", "", "")
    decision = region.decision if region else None
    event = (decision.event if decision else None) or place.event
    detector = _detector(stated) if decision is None else ""
    row = {
        "observationID": made_id("observation", machine.run_id, place.media, frame.item.frame, *box, *made_by),
        "deploymentID": place.deployment,
        "mediaID": place.media,
        "eventID": event,
        "eventStart": stamp(place.span[0]),
        "eventEnd": stamp(place.span[1]),
        "observationLevel": "media",
        **_named_cells(
            naming, counted=1 if stated and naming.kind not in ("blank", "unclassified", "unknown") else None
        ),
        "classificationMethod": "machine",
        "classifiedBy": detector or machine.classified_by,
        "classificationTimestamp": stamp(machine.moment),
    }
    return row | box_cells(stated)


def _detector(region: Region | None) -> str:
    return " ".join(part for part in (region.detector, region.detector_version) if part) if region else ""


def _named_cells(naming: Naming, counted: int | None) -> Row:
    """The cells that say what was seen."""
    cells = {"observationType": naming.kind, "scientificName": naming.scientific_name}
    if counted:
        cells["count"] = str(counted)
    if naming.probability is not None:
        cells["classificationProbability"] = number_text(min(max(naming.probability, 0.0), 1.0))
    if naming.label:
        cells["observationTags"] = f"label:{_tag(naming.label)}"
    return cells


def event_row(
    naming: Naming, count: int, name: str, deployment: str, span: tuple[datetime, datetime], machine: Machine
) -> Row:
    """What the run's rules decided of a whole event."""
    key = (machine.run_id, deployment, name, naming.kind, naming.scientific_name, naming.label)
    return {
        "observationID": made_id("event", *key),
        "deploymentID": deployment,
        "eventID": name,
        "eventStart": stamp(span[0]),
        "eventEnd": stamp(span[1]),
        "observationLevel": "event",
        **_named_cells(naming, count or None),
        "classificationMethod": "machine",
        "classifiedBy": machine.classified_by,
        "classificationTimestamp": stamp(machine.moment),
    }


def human_row(review: Review, place: RowPlace, time_zone: str | None) -> tuple[Row, Taxon | None]:
    """What a person said, as a row, and the taxon of its name.

    A review that came out of a Camtrap DP package goes out as it stood there; what its cells may not hold becomes a tag.
    """
    details = review.details
    from_package = "observationID" in details
    kind, taxon = _said(review)
    name = str(details["scientificName"]) if from_package and _fits(details, "scientificName") else ""
    named = name or (taxon.scientific_name if taxon and not from_package else "")
    cells: Row = {
        "observationID": str(details.get("observationID") or made_id("review", review.uid or review.id)),
        "deploymentID": place.deployment,
        "mediaID": place.media,
        "eventID": str(details.get("eventID") or place.event),
        "eventStart": _moment(details, "eventStart", time_zone) or stamp(place.span[0]),
        "eventEnd": _moment(details, "eventEnd", time_zone) or stamp(place.span[1]),
        "observationLevel": "event" if review.target.kind == "event" else "media",
        "observationType": str(details["observationType"]) if _fits(details, "observationType") else kind,
        "scientificName": named,
        "classificationMethod": "human",
        "classifiedBy": "" if review.reviewer == NOT_STATED else review.reviewer,
        "classificationTimestamp": _when(review, from_package, time_zone),
        "observationComments": review.comment,
    }
    tags = [str(details["observationTags"])] if details.get("observationTags") else []
    if from_package and details.get("scientificName") and not name:
        tags.append(f"scientificName:{_tag(str(details['scientificName']))}")
    for column in _FROM_DETAILS[:-1]:
        if _fits(details, column):
            cells[column] = str(details[column])
        elif details.get(column) not in (None, ""):
            tags.append(f"{column}:{_tag(str(details[column]))}")
    if review.verdict == "not_in_label_set":
        tags.append("not in label set")
    cells["observationTags"] = " | ".join(tags)
    box = {name: str(details[name]) for name in BOX if _fits(details, name)} if from_package else {}
    if review.target.kind == "region":
        cells |= box if len(box) == len(BOX) else box_cells(review.target.region)
    return cells, (taxon if cells["scientificName"] else None)


def _said(review: Review) -> tuple[str, Taxon | None]:
    """The observation type and the taxon of a review."""
    kinds = {"person": "human", "vehicle": "vehicle", "blank": "blank", "unidentifiable": "unknown"}
    if review.verdict == "person":
        return "human", HOMO_SAPIENS
    if review.verdict != "taxon" or review.taxon is None:
        return kinds.get(review.verdict, "unclassified"), None
    taxon = whole(review.taxon)
    category = review.target.region.category if review.target.region else ""
    return (kind_of_taxon(taxon, detected_animal=category == "animal"), taxon) if taxon else ("unknown", None)


def _when(review: Review, from_package: bool, time_zone: str | None) -> str:
    """When a person said it; the package's own word, since the store fills in the time of the import where there is none."""
    if from_package:
        return _moment(review.details, "classificationTimestamp", time_zone)
    return stamp(review.reviewed_at.replace(microsecond=0))


def _moment(details: Mapping[str, Any], name: str, time_zone: str | None) -> str:
    moment = moment_in(str(details.get(name, "")), time_zone)
    return stamp(moment.replace(microsecond=0)) if moment is not None and moment.tzinfo is not None else ""


def _fits(details: Mapping[str, Any], name: str) -> bool:
    value = details.get(name)
    return value not in (None, "") and not isinstance(value, bool) and not fault_of(_COLUMNS[name], str(value))


def box_cells(region: Region | None) -> Row:
    """A region's box, in the 1/10,000 that the store has; nothing for the whole image."""
    if region is None:
        return {}
    return {name: number_text(value / 10_000) for name, value in zip(BOX, region.box, strict=True)}


def number_text(value: float) -> str:
    """A number as a plain decimal of at most six places.

    >>> number_text(0.5), number_text(1e-9), number_text(1.0)
    ('0.5', '0', '1')
    """
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _tag(text: str) -> str:
    """Text as a part of a list that pipes separate."""
    return " ".join(text.replace("|", "/").split())
