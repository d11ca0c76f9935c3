"""Writing a package: each medium to its rows, then events, deployments and the descriptor."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from bioclip_core.errors import UsageError
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.camtrap_dp.cells import path_fault
from bioclip_plugin.formats.camtrap_dp.mediatypes import exif_cell, mediatype_of
from bioclip_plugin.formats.camtrap_dp.schema import CAPTURE_METHODS
from bioclip_plugin.formats.camtrap_dp.write_descriptor import descriptor_of, rounded
from bioclip_plugin.formats.camtrap_dp.write_events import Events
from bioclip_plugin.formats.camtrap_dp.write_media import Medium, media_of
from bioclip_plugin.formats.camtrap_dp.write_observations import (
    Machine,
    Observed,
    RowPlace,
    human_row,
    machine_observations,
)
from bioclip_plugin.formats.camtrap_dp.write_survey import Survey, surveyed
from bioclip_plugin.formats.camtrap_dp.write_tables import (
    DESCRIPTOR,
    WRITTEN,
    Row,
    TableFile,
    candidate_rows,
    decision_row,
    run_row,
    table_files,
)
from bioclip_plugin.formats.tables.write import asked_level
from bioclip_plugin.items.deployments import stamp

if TYPE_CHECKING:
    from bioclip_plugin.contracts.export import Export
    from bioclip_plugin.items.media import Region
    from bioclip_plugin.store import Review, StoredItem

_PEOPLE = frozenset({"person", "people", "human"})  # categories of detectors
_TIMELESS = "Nobody says when it was taken: the timestamp is the start of the deployment."


def write_package(folder: Path, export: Export) -> int:
    """Write a package into an empty folder; the number of its observations.

    Raises:
        UsageError: if a time zone or deployments have to be given, or nothing can be exported.
    """
    survey = surveyed(export)
    with table_files(folder, WRITTEN) as tables:
        writer = _Writer(export, survey, tables)
        for medium in media_of(export, ranks=(asked_level(export.run),)):
            writer.add(medium)
        writer.add_events()
        if not tables["media"].rows:
            if export.selection:
                raise UsageError(
                    "there is nothing to export: no image of the run passes what was asked for (--since, --taxon …)"
                )
            raise UsageError(
                "there is nothing to export: no image of the run has a time, nor a deployment of which that is known; give a table "
                "of deployments with --deployments, or classify a table with the columns deploymentID and timestamp"
            )
        writer.finish(folder)
    return tables["observations"].rows


class _Writer:
    """The state of one export: what was met, and the open tables."""

    def __init__(self, export: Export, survey: Survey, tables: dict[str, TableFile]) -> None:
        self._export = export
        self._survey = survey
        self._tables = tables
        self._run_id = export.run.rule_id[:16]
        self._machine = Machine(export.run.rule_id, export.classified_by, export.moment.replace(microsecond=0))
        self._events = Events()
        self._threshold = float(export.run.settings.get("detection_threshold", ListingOptions().detection_threshold))
        self._level = asked_level(export.run)
        self._names: dict[str, Taxon | None] = {}
        self._levels: set[str] = set()
        self._capture_methods: set[str] = set()
        self._individuals = False
        self._timeless: set[str] = set()
        self._human_ids: set[str] = set()
        self._spoken_of: set[tuple[str, str]] = set()

    # One medium

    def add(self, medium: Medium) -> None:
        """Write a medium's rows, or why there are none."""
        for frame in medium.chosen:
            if frame.failure is not None or frame.status != "done":
                stage = frame.failure.stage if frame.failure else frame.status
                self._leave_out(frame, stage, frame.failure.reason if frame.failure else "it is not classified yet")
        path = "" if medium.is_listed_only() else medium.file_path(self._survey.base)
        fault = self._fault(medium, path)
        if fault:
            for frame in medium.chosen:
                if frame.failure is None and frame.status == "done":
                    self._leave_out(frame, "export", fault)
            return
        deployment, event = medium.deployment(self._survey.table), medium.first.item.sequence or ""
        place = RowPlace(deployment, medium.identifier(path), self._span(medium), event)
        people = self._machine_rows(medium, place)
        people = self._human_rows(medium, place) or people
        self._tables["media"].write(self._media_row(medium, path, place, people=people))

    def _fault(self, medium: Medium, path: str) -> str:
        """Why a medium cannot stand in the table; nothing where it can."""
        if medium.is_listed_only():
            return "it could not be listed"
        if medium.moment() is None and medium.deployment(self._survey.table) not in self._survey.deployments:
            return "nobody says when it was taken, nor where it belongs; Camtrap DP requires that"
        return path_fault(path)

    def _span(self, medium: Medium, frame: StoredItem | None = None) -> tuple[datetime, datetime]:
        """Between which moments it was taken: all of its deployment's time, where nobody says."""
        moment = medium.moment(frame) or medium.moment()
        if moment is None:
            deployment = self._survey.deployments[medium.deployment(self._survey.table)]  # _fault looked
            self._timeless.add(deployment.name)
            return deployment.starts, deployment.ends
        assert moment.tzinfo is not None  # the survey looked
        return moment, moment

    def _machine_rows(self, medium: Medium, place: RowPlace) -> bool:
        """Write what the run says; whether it says that people are in it."""
        people = False
        for whole, chosen in zip(medium.whole, medium.chosen, strict=True):
            there = replace(place, span=self._span(medium, chosen), event=chosen.item.sequence or "")
            self._events.note(there.deployment, there.event, there.span)
            observed = list(machine_observations(whole, chosen, there, self._machine))
            every = observed if chosen is whole else machine_observations(whole, whole, there, self._machine)
            people = people or any(one.naming.kind == "human" for one in every)
            people = people or any(self._is_somebody(region.region) for region in whole.regions)
            self._events.decide(there.deployment, observed, there.span)
            for one in observed:
                self._observation(one.row, one.naming.taxon)
                self._beside(one)
        return people

    def _is_somebody(self, box: Region | None) -> bool:
        """Whether the detector is as sure of a person as the run wants it, also where a rule left it at unknown."""
        if box is None or box.category.strip().lower() not in _PEOPLE:
            return False
        return box.confidence is None or box.confidence >= self._threshold

    def _beside(self, one: Observed) -> None:
        """Write what our own tables say of an observation."""
        if one.region is None:
            return
        name = one.row["observationID"]
        candidates = one.region.by_rank.get(self._level, ())[: self._export.options.top]
        for row in candidate_rows(name, candidates, self._run_id):
            self._tables["candidates"].write(row)
        decision = one.region.decision
        if decision is not None and decision.trail:
            self._tables["decisions"].write(decision_row(name, decision.verdict, decision.event, decision.trail))

    def _human_rows(self, medium: Medium, place: RowPlace) -> bool:
        """Write what people said of the medium; whether they saw people in it."""
        people = False
        for review in medium.reviews:
            people = people or review.verdict == "person"
            self._human_row(review, place)
        return people

    def _human_row(self, review: Review, place: RowPlace) -> None:
        row, taxon = human_row(review, place, self._export.options.time_zone)
        if row["observationID"] in self._human_ids:  # a second statement under the first one's name
            row["observationID"] = f"{row['observationID']}_review_{review.id}"
        self._human_ids.add(row["observationID"])
        self._individuals = self._individuals or bool(row.get("individualID"))
        # An event of which only people spoke has its times from them.
        self._observation(row, taxon)

    def _observation(self, row: Row, taxon: Taxon | None) -> None:
        self._tables["observations"].write(row)
        self._levels.add(row["observationLevel"])
        name = row.get("scientificName", "")
        if name and self._names.get(name) is None:
            self._names[name] = taxon

    def _media_row(self, medium: Medium, path: str, place: RowPlace, *, people: bool) -> Row:
        cells = medium.media_cells
        events = {frame.item.sequence or "" for frame in medium.whole}
        events |= {str(review.details.get("eventID", "")) for review in medium.reviews}
        people = people or bool(events & self._survey.people_events)
        public = cells.get("filePublic", "true").lower() in ("true", "1") and (
            self._export.options.show_people or not people
        )
        method = cells.get("captureMethod", "")
        if method in CAPTURE_METHODS:
            self._capture_methods.add(method)
        hides = self._export.options.coordinate_precision is not None
        return {
            "mediaID": place.media,
            "deploymentID": place.deployment,
            "captureMethod": method if method in CAPTURE_METHODS else "",
            "timestamp": stamp(place.span[0]),
            "filePath": path,
            "filePublic": "true" if public else "false",
            "fileName": cells.get("fileName") or PurePosixPath(path).name,
            "fileMediatype": mediatype_of(path, cells.get("fileMediatype", "")),
            "exifData": exif_cell(cells.get("exifData", ""), medium.first.item.metadata, hide_places=hides),
            "favorite": cells["favorite"] if cells.get("favorite") in ("true", "false") else "",
            "mediaComments": " ".join(filter(None, (cells.get("mediaComments"), "" if medium.moment() else _TIMELESS))),
        }

    def _leave_out(self, frame: StoredItem, stage: str, reason: str) -> None:
        # A package is given to others: where its files lay on this computer is nobody's business.
        base = f"{self._survey.base}/" if self._survey.base else ""
        name = frame.item.uri.removeprefix(base)
        if name.startswith(("/", "\\")) or name[1:2] == ":":
            name = PurePosixPath(name.replace("\\", "/")).name
        said = reason.replace(base, "") if base else reason
        row = {"uri": name, "frame": str(frame.item.frame), "stage": stage, "reason": said}
        self._tables["left-out"].write(row)

    # Events and the rest

    def add_events(self) -> None:
        """Write what people said of events, then what rules decided of the others."""
        for review in self._export.event_reviews():
            name = review.target.event or ""
            stated = str(review.details.get("deploymentID", "")) or None
            span = self._events.span(name, stated)
            if span is None:
                span = self._span_stated(review, stated)
            if span is not None:
                deployment, first, last = span
                self._human_row(review, RowPlace(deployment, "", (first, last), name))
                self._spoken_of.add((name, deployment))
        for row, naming in self._events.rows(self._machine, frozenset(self._spoken_of)):
            self._observation(row, naming.taxon)

    def _span_stated(self, review: Review, deployment: str | None) -> tuple[str, datetime, datetime] | None:
        """Where and when an event was that none of the images here is of, by its own package; None if that is another's."""
        package = review.details.get("camtrap_package") or {}
        if self._export.selection or deployment not in self._survey.deployments or deployment is None:
            return None
        if not isinstance(package, dict) or (package.get("id") or package.get("name")) not in self._survey.packages:
            return None
        found = self._survey.deployments[deployment]
        return deployment, found.starts, found.ends

    def finish(self, folder: Path) -> None:
        """Write the deployments, the run and the descriptor."""
        options = self._export.options
        deployments = [rounded(one, options.coordinate_precision) for one in self._survey.deployments.values()]
        for deployment in deployments:
            issues = {"timestampIssues": "true"} if deployment.name in self._timeless else {}
            self._tables["deployments"].write({**deployment.cells, **issues})
        created = stamp(self._export.moment.replace(microsecond=0))
        self._tables["runs"].write(run_row(self._export.run, self._run_id, self._export.classified_by, created))
        descriptor = descriptor_of(
            self._export, WRITTEN, deployments, self._names, levels=self._in_order(), capture_methods=sorted(self._capture_methods),
            individuals=self._individuals, packages=self._survey.packages,
        )  # fmt: skip
        text = json.dumps(descriptor, ensure_ascii=False, indent=2, allow_nan=False)
        (folder / DESCRIPTOR).write_text(text + "\n", "utf-8", newline="\n")

    def _in_order(self) -> Sequence[str]:
        return [level for level in ("media", "event") if level in self._levels]
