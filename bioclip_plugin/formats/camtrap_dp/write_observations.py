"""Rows of the table of observations: a run's results for images, regions and events, and reviews."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bioclip_core.taxonomy import Taxon
from bioclip_plugin.contracts.export import Export
from bioclip_plugin.formats.camtrap_dp.naming import HOMO_SAPIENS, Naming, kind_of_taxon, named_taxon, naming_of
from bioclip_plugin.formats.camtrap_dp.read_reviews import NOT_STATED
from bioclip_plugin.formats.camtrap_dp.schema import BOX, TABLES, fault_of
from bioclip_plugin.formats.camtrap_dp.write_media import made_id
from bioclip_plugin.formats.shared.image_verdicts import threshold_of
from bioclip_plugin.items.deployments import stamp
from bioclip_plugin.items.media import Region
from bioclip_plugin.items.time_zones import moment_in
from bioclip_plugin.store.records import Review, StoredItem, StoredRegion

Row = dict[str, str]
Span = tuple[datetime, datetime]
"""The first and the last moment of an image or event; aware."""

_FROM_DETAILS = (
    "cameraSetupType", "count", "lifeStage", "sex", "behavior", "individualID", "individualPositionRadius",
    "individualPositionAngle", "individualSpeed", "classificationProbability",
)  # fmt: skip
_Key = tuple[str, str, str]
"""Type, scientific name and label of a decision."""
_KINDS = {"vehicle": "vehicle", "blank": "blank", "unidentifiable": "unknown"}
"""Observation types of verdicts."""


@dataclass(frozen=True, slots=True)
class RowPlace:
    """The deployment, media file, time and event of a row."""

    deployment: str
    media: str
    """Empty for an observation of an event."""
    span: Span
    event: str

    def cells(self, level: str) -> Row:
        """Return the cells for an observation of that level."""
        return {
            "deploymentID": self.deployment,
            "mediaID": self.media,
            "eventID": self.event,
            "eventStart": stamp(self.span[0]),
            "eventEnd": stamp(self.span[1]),
            "observationLevel": level,
        }


@dataclass(frozen=True, slots=True)
class Observed:
    """A row and its origin."""

    row: Row
    naming: Naming
    region: StoredRegion | None = None


def machine_observations(frame: StoredItem, chosen: StoredItem, place: RowPlace, export: Export) -> Iterator[Observed]:
    """Yield a run's results for one frame: one row per region; "blank" if a detector found nothing.

    Args:
        frame: the frame with all its regions.
        chosen: the frame with the regions that are selected.
        place: where it was taken, and when.
        export: the export, for the author.
    """
    if chosen.status != "done":
        return
    threshold = threshold_of(export.run)
    namings = [(region, naming_of(region, threshold)) for region in chosen.regions]
    for region, naming in namings:
        if naming is not None:
            yield Observed(_machine_row(frame, region, naming, place, export), naming, region)
    if not any(naming for _, naming in namings) and not any(naming_of(region, threshold) for region in frame.regions):
        # Nothing at all, or only boxes below the detector's threshold.
        row = _machine_row(frame, None, Naming("blank"), place, export)
        found = next(((box.detector, box.detector_version) for box in frame.item.regions if box.detector), None)
        if detector := " ".join(found or export.run.detector or ()).strip():
            row["classifiedBy"] = detector
        yield Observed(row, Naming("blank"))


def _machine_row(
    frame: StoredItem, region: StoredRegion | None, naming: Naming, place: RowPlace, export: Export
) -> Row:
    box, decision = (region.region, region.decision) if region else (None, None)
    origin = (*box.box, box.category, box.detector, box.detector_version) if box else ("",) * 7
    cells = place.cells("media") | {
        # With the run, so that the identifiers of two runs do not clash.
        "observationID": made_id("observation", export.run.rule_id, place.media, frame.item.frame, *origin),
        **_result_cells(naming, export, count=int(box is not None and naming.kind in ("animal", "human", "vehicle"))),
        **_box_cells(box),
    }
    if decision is not None and decision.event:
        cells["eventID"] = decision.event
    if decision is None and box is not None and (box.detector or box.detector_version):
        cells["classifiedBy"] = f"{box.detector} {box.detector_version}".strip()
    return cells


def _result_cells(naming: Naming, export: Export, *, count: int) -> Row:
    cells = {
        "observationType": naming.kind,
        "scientificName": naming.scientific_name,
        "classificationMethod": "machine",
        "classifiedBy": export.classified_by,
        "classificationTimestamp": stamp(export.moment),
    }
    if count:
        cells["count"] = str(count)
    if naming.probability is not None:
        cells["classificationProbability"] = number_text(min(max(naming.probability, 0.0), 1.0))
    if naming.label:
        cells["observationTags"] = _tag("label", naming.label)
    return cells


@dataclass(slots=True)
class _Event:
    first: datetime
    last: datetime
    counts: Counter[_Key] = field(default_factory=Counter)
    namings: dict[_Key, Naming] = field(default_factory=dict)


class Events:
    """Collects the time of each event, and its decisions with the largest number of individuals in one image.

    In memory: some hundred bytes per event.
    """

    def __init__(self) -> None:
        self._events: dict[str, dict[str, _Event]] = {}  # by name and deployment

    def add_image(self, deployment: str, name: str, span: Span) -> None:
        """Add an image of an event."""
        if name:
            event = self._events.setdefault(name, {}).setdefault(deployment, _Event(*span))
            event.first, event.last = min(event.first, span[0]), max(event.last, span[1])

    def add_decisions(self, deployment: str, observed: Iterable[Observed], span: Span) -> None:
        """Add the decisions about one image's regions that rules made for the whole event."""
        counts: dict[str, Counter[_Key]] = {}
        for observation in observed:
            decision = observation.region.decision if observation.region else None
            if decision is None or decision.event is None:
                continue
            self.add_image(deployment, decision.event, span)
            naming = observation.naming
            key = (naming.kind, naming.scientific_name, naming.label)
            counts.setdefault(decision.event, Counter())[key] += bool(observation.row.get("count"))
            best = self._events[decision.event][deployment].namings.setdefault(key, naming)
            if (naming.probability or 0) > (best.probability or 0):
                self._events[decision.event][deployment].namings[key] = naming
        for name, tally in counts.items():
            self._events[name][deployment].counts |= tally

    def span(self, name: str, deployment: str | None) -> tuple[str, Span] | None:
        """Return the deployment and the time of an event; without that deployment those of its first one."""
        found = self._events.get(name, {})
        where = deployment if deployment in found else next(iter(found), None)
        return None if where is None else (where, (found[where].first, found[where].last))

    def rows(self, export: Export, reviewed: Collection[tuple[str, str]]) -> Iterator[tuple[Row, Naming]]:
        """Yield rows for the decisions, except about reviewed events: observations of an event exclude each other.

        Args:
            export: the export, for the author of the decisions.
            reviewed: event and deployment.
        """
        for name, places in self._events.items():
            for deployment, event in places.items():
                if (name, deployment) in reviewed:
                    continue
                keys = sorted(event.namings)
                telling = [key for key in keys if key[0] not in ("blank", "unknown")]
                unsure = [key for key in keys if key[0] == "unknown"]
                for key in telling or unsure or keys:
                    naming, place = event.namings[key], RowPlace(deployment, "", (event.first, event.last), name)
                    identifier = made_id("event", export.run.rule_id, deployment, name, *key)
                    cells = _result_cells(naming, export, count=event.counts[key])
                    yield place.cells("event") | {"observationID": identifier} | cells, naming


def human_row(review: Review, place: RowPlace, time_zone: str | None) -> tuple[Row, Taxon | None]:
    """Return the row of a review, and the taxon of its name.

    A review from a Camtrap DP package is written as it was there; values that its cells may not hold become tags.
    """
    details = review.details
    good = {
        name: str(value)
        for name in (*_FROM_DETAILS, *BOX, "scientificName", "observationType")
        if (value := details.get(name)) not in (None, "")
        and not isinstance(value, bool)
        and not fault_of(TABLES["observations"][name], str(value))
    }
    is_from_package = "observationID" in details
    kind, taxon = _kind_and_taxon(review)
    cells = place.cells("event" if review.target.kind == "event" else "media") | {
        "observationID": str(details.get("observationID") or made_id("review", review.uid or review.id)),
        "observationType": good.pop("observationType", kind),
        "scientificName": taxon.scientific_name if taxon else "",
        "classificationMethod": "human",
        "classifiedBy": "" if review.reviewer == NOT_STATED else review.reviewer,
        "classificationTimestamp": stamp(review.reviewed_at),
        "observationComments": review.comment,
    }
    name, box = good.pop("scientificName", ""), {column: good.pop(column) for column in BOX if column in good}
    tags = [str(details["observationTags"])] if details.get("observationTags") else []
    if is_from_package:
        cells["scientificName"] = name
        # The store fills in the time of the import for a missing one.
        cells["classificationTimestamp"] = _moment_cell(details, "classificationTimestamp", time_zone)
        if details.get("scientificName") and not name:
            tags.append(_tag("scientificName", details["scientificName"]))
    if details.get("eventID"):
        cells["eventID"] = str(details["eventID"])
    for column in ("eventStart", "eventEnd"):
        cells[column] = _moment_cell(details, column, time_zone) or cells[column]
    tags += [
        _tag(column, details[column])
        for column in _FROM_DETAILS
        if column not in good and details.get(column) not in (None, "")
    ]
    if review.verdict == "not_in_label_set":
        tags.append("not in label set")
    cells |= good | {"observationTags": " | ".join(tags)}
    if review.target.kind == "region":
        cells |= box if is_from_package and len(box) == len(BOX) else _box_cells(review.target.region)
    return cells, (taxon if cells["scientificName"] else None)


def _kind_and_taxon(review: Review) -> tuple[str, Taxon | None]:
    if review.verdict == "person":
        return "human", HOMO_SAPIENS
    if review.verdict != "taxon" or review.taxon is None:
        return _KINDS.get(review.verdict, "unclassified"), None
    taxon = named_taxon(review.taxon)
    if taxon is None:
        return "unknown", None
    region = review.target.region
    return kind_of_taxon(taxon, is_detected=region is not None and region.category == "animal"), taxon


def _moment_cell(details: Mapping[str, Any], name: str, time_zone: str | None) -> str:
    """Return a time of the details as a cell; empty if it is missing or its offset from UTC is unknown."""
    moment = moment_in(str(details.get(name, "")), time_zone)
    return stamp(moment) if moment is not None and moment.tzinfo is not None else ""


def _box_cells(region: Region | None) -> Row:
    """Return a region's box, in the 1/10,000 that the store has; nothing for the whole image."""
    if region is None:
        return {}
    return {name: number_text(value / 10_000) for name, value in zip(BOX, region.box, strict=True)}


def number_text(value: float) -> str:
    """Return a number as a plain decimal of at most six places.

    >>> number_text(0.5), number_text(1e-9), number_text(1.0)
    ('0.5', '0', '1')
    """
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _tag(name: str, value: Any) -> str:
    """Return a tag for a list that is separated by pipes."""
    return f"{name}:{' '.join(str(value).replace('|', '/').split())}"
