"""The Camtrap DP exporter: a folder or zip file with deployments, media and observations, and our candidates beside them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from bioclip_core.errors import DataError
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.contracts.export import Export
from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.contracts.problem import Problem
from bioclip_plugin.formats.camtrap_dp.package import DESCRIPTOR, is_package
from bioclip_plugin.formats.camtrap_dp.read_files import PACKAGE_KEY
from bioclip_plugin.formats.camtrap_dp.schema import TABLES, path_fault
from bioclip_plugin.formats.camtrap_dp.write_descriptor import (
    WRITTEN,
    candidate_rows,
    descriptor_of,
    file_of,
    rounded,
    run_row,
    table_files,
)
from bioclip_plugin.formats.camtrap_dp.write_media import Medium, made_id, media_of, stated
from bioclip_plugin.formats.camtrap_dp.write_observations import (
    Events,
    Observed,
    Row,
    RowPlace,
    Span,
    human_row,
    machine_observations,
)
from bioclip_plugin.formats.camtrap_dp.write_survey import Survey
from bioclip_plugin.formats.shared.people import is_person, says_person
from bioclip_plugin.items.deployment_options import DEPLOYMENT_SETTINGS
from bioclip_plugin.items.deployments import stamp
from bioclip_plugin.items.metadata import capture_method_of
from bioclip_plugin.store.records import Review, StoredItem, asked_level

_TIMELESS = "The time of recording is unknown: the timestamp is the start of the deployment."


class CamtrapDpExporter:
    """Camtrap DP 1.0.2: media- and event-level observations, with a linked table of candidates and one of the run.

    Reviews are written beside the machine's observations; a reviewed event gets none from the machine. Media
    files are named, not copied.
    """

    name = "camtrap-dp"
    description = "a Camera Trap Data Package 1.0.2, as GBIF and camera-trap programs read it"
    folder = True
    options = frozenset(
        {
            *DEPLOYMENT_SETTINGS, "time_zone", "coordinate_precision", "base_folder", "title", "contributor", "licence",
            "show_people", "top",
        }
    )  # fmt: skip
    names_deployments = True
    files = (DESCRIPTOR, *map(file_of, WRITTEN))

    def write(self, path: Path, export: Export) -> int:
        """Write a package into an empty folder.

        Returns:
            The number of its observations.

        Raises:
            DataError: if a time zone or deployments are missing, or nothing can be exported.
        """
        survey = Survey(export)
        with table_files(path) as tables:
            writer = _Writer(export, survey, tables)
            for medium in media_of(export, ranks=(asked_level(export.run),)):
                writer.add(medium)
            writer.add_events()
            if not writer.media:
                raise DataError(
                    "there is nothing to export: no image of the run matches the selection (--since, --taxon …)"
                    if export.selection
                    else "there is nothing to export: no image of the run has a time, or a deployment with a known one; give a "
                    "table of deployments with --deployments, or classify a table with the columns deploymentID and timestamp"
                )
            writer.finish(path)
        return writer.observations

    def recognises(self, path: Path) -> bool:
        return is_package(str(path))

    def check(self, path: Path, options: ExportOptions) -> Iterator[Problem]:
        from bioclip_plugin.formats.camtrap_dp.check import camtrap_dp_problems

        return camtrap_dp_problems(path, options.base_folder)


class _Writer:
    """One export: the open tables, and what the descriptor needs from the rows."""

    def __init__(self, export: Export, survey: Survey, tables: Mapping[str, csv.DictWriter[str]]) -> None:
        self.media = self.observations = 0
        """Rows written."""
        self._export = export
        self._level = asked_level(export.run)
        self._survey = survey
        self._tables = tables
        self._events = Events()
        self._names: dict[str, Taxon | None] = {}
        self._levels: set[str] = set()
        self._capture_methods: set[str] = set()
        self._has_individuals = False
        self._timeless: set[str] = set()
        self._human_ids: set[str] = set()
        self._reviewed_events: set[tuple[str, str]] = set()

    # One medium

    def add(self, medium: Medium) -> None:
        """Write the rows of a medium, or the reason why it is skipped."""
        path = "" if medium.is_listed_only else medium.file_path(self._survey.base)
        fault = self._fault(medium, path)
        for frame in medium.chosen:
            if frame.failure is not None:
                self._skip(frame, frame.failure.stage, frame.failure.reason)
            elif frame.status != "done":
                self._skip(frame, frame.status, "it is not classified yet")
            elif fault:
                self._skip(frame, "export", fault)
        if fault:
            return
        deployment, event = medium.deployment, (medium.first.item.sequence or "").strip()
        place = RowPlace(
            deployment, medium.media_cells.get("mediaID") or made_id("media", path), self._span(medium), event
        )
        has_people = self._write_machine_rows(medium, place)
        for review in medium.reviews:
            has_people = has_people or says_person(review)
            self._write_human_row(review, place)
        self._tables["media"].writerow(self._media_row(medium, path, place, has_people=has_people))
        self.media += 1

    def _fault(self, medium: Medium, path: str) -> str:
        """Return why the table of media cannot have a medium; empty if it can."""
        if medium.is_listed_only:
            return "it could not be listed"
        if medium.moment() is None and medium.deployment not in self._survey.deployments:
            return "neither its time nor its deployment is known; Camtrap DP requires that"
        return path_fault(path)

    def _span(self, medium: Medium, frame: StoredItem | None = None) -> Span:
        """Return the time of recording as a span: the whole time of its deployment if it is unknown."""
        moment = medium.moment(frame) or medium.moment()
        if moment is None:
            deployment = self._survey.deployments[medium.deployment]  # checked by _fault
            self._timeless.add(deployment.name)
            return deployment.starts, deployment.ends
        return moment, moment

    def _write_machine_rows(self, medium: Medium, place: RowPlace) -> bool:
        """Write a run's results for a medium; True if a region of it shows a person, selected or not."""
        has_people = False
        for whole, chosen in zip(medium.whole, medium.chosen, strict=True):
            there = replace(place, span=self._span(medium, chosen), event=(chosen.item.sequence or "").strip())
            self._events.add_image(there.deployment, there.event, there.span)
            observed = list(machine_observations(whole, chosen, there, self._export))
            has_people = has_people or any(is_person(region, self._level) for region in whole.regions)
            self._events.add_decisions(there.deployment, observed, there.span)
            for observation in observed:
                self._write_observation(observation.row, observation.naming.taxon)
                self._write_candidates(observation)
        return has_people

    def _write_candidates(self, observed: Observed) -> None:
        if observed.region is None:
            return
        name, decision = observed.row["observationID"], observed.region.decision
        candidates = observed.region.by_rank.get(asked_level(self._export.run), ())[: self._export.options.top]
        self._tables["candidates"].writerows(candidate_rows(name, candidates, self._export.run))
        if decision is not None and decision.trail:
            trail = json.dumps([dict(step) for step in decision.trail], ensure_ascii=False, sort_keys=True)
            self._tables["decisions"].writerow(
                {"observationID": name, "verdict": decision.verdict, "eventID": decision.event or "", "trail": trail}
            )

    def _write_human_row(self, review: Review, place: RowPlace) -> None:
        row, taxon = human_row(review, place, self._export.options.time_zone)
        if row["observationID"] in self._human_ids:  # a later review of the same observation
            row["observationID"] = f"{row['observationID']}_review_{review.id}"
        self._human_ids.add(row["observationID"])
        self._has_individuals = self._has_individuals or bool(row.get("individualID"))
        self._write_observation(row, taxon)

    def _write_observation(self, row: Row, taxon: Taxon | None) -> None:
        self._tables["observations"].writerow(row)
        self.observations += 1
        self._levels.add(row["observationLevel"])
        name = row.get("scientificName", "")
        if name and self._names.get(name) is None:
            self._names[name] = taxon

    def _media_row(self, medium: Medium, path: str, place: RowPlace, *, has_people: bool) -> Row:
        cells, options = medium.media_cells, self._export.options
        events = {(frame.item.sequence or "").strip() for frame in medium.whole}
        events |= {region.decision.event or "" for frame in medium.whole for region in frame.regions if region.decision}
        events |= {str(review.details.get("eventID", "")) for review in medium.reviews}
        has_people = has_people or bool(events & self._survey.people_events)
        is_public = cells.get("filePublic", "true").lower() in ("true", "1") and (options.show_people or not has_people)
        method = capture_method_of(medium.first.item)
        method = method if method in TABLES["media"]["captureMethod"].allowed else ""
        self._capture_methods |= {method} - {""}
        return {
            "mediaID": place.media,
            "deploymentID": place.deployment,
            "captureMethod": method,
            "timestamp": stamp(place.span[0]),
            "filePath": path,
            "filePublic": "true" if is_public else "false",
            "fileName": cells.get("fileName") or PurePosixPath(path).name,
            "fileMediatype": medium.mediatype(path),
            "exifData": medium.exif(hide_places=options.coordinate_precision is not None),
            "favorite": cells["favorite"] if cells.get("favorite") in ("true", "false") else "",
            "mediaComments": " ".join(filter(None, (cells.get("mediaComments"), "" if medium.moment() else _TIMELESS))),
        }

    def _skip(self, frame: StoredItem, stage: str, reason: str) -> None:
        # A package is given to others, so it does not tell where its files are on this computer.
        base = f"{self._survey.base}/" if self._survey.base else ""
        name = frame.item.uri.removeprefix(base)
        if name.startswith(("/", "\\")) or name[1:2] == ":":
            name = PurePosixPath(name.replace("\\", "/")).name
        reason = reason.replace(base, "") if base else reason
        self._tables["left-out"].writerow(
            {"uri": name, "frame": str(frame.item.frame), "stage": stage, "reason": reason}
        )

    # Events and the rest

    def add_events(self) -> None:
        """Write the reviews of events, then the rules' decisions about the others."""
        for review in self._export.event_reviews():
            name = review.target.event or ""
            stated = str(review.details.get("deploymentID", "")) or None
            found = self._events.span(name, stated) or self._span_of_deployment(review, stated)
            if found is not None:
                deployment, span = found
                self._write_human_row(review, RowPlace(deployment, "", span, name))
                self._reviewed_events.add((name, deployment))
        for row, naming in self._events.rows(self._export, self._reviewed_events):
            self._write_observation(row, naming.taxon)

    def _span_of_deployment(self, review: Review, deployment: str | None) -> tuple[str, Span] | None:
        """Return the deployment of a reviewed event without images here and its time; None if its package is not here."""
        package, found = stated([review.details], PACKAGE_KEY), self._survey.deployments.get(deployment or "")
        is_here = not self._export.selection and (package.get("id") or package.get("name")) in self._survey.packages
        return (found.name, (found.starts, found.ends)) if found and is_here else None

    def finish(self, folder: Path) -> None:
        """Write the deployments, the run and the descriptor."""
        decimals = self._export.options.coordinate_precision
        deployments = [rounded(deployment, decimals) for deployment in self._survey.deployments.values()]
        for deployment in deployments:
            issues = {"timestampIssues": "true"} if deployment.name in self._timeless else {}
            self._tables["deployments"].writerow({**deployment.cells, **issues})
        self._tables["runs"].writerow(run_row(self._export))
        descriptor = descriptor_of(
            self._export,
            deployments,
            self._names,
            levels=[level for level in ("media", "event") if level in self._levels],
            capture_methods=self._capture_methods,
            has_individuals=self._has_individuals,
            packages=self._survey.packages,
        )
        (folder / DESCRIPTOR).write_text(
            json.dumps(descriptor, ensure_ascii=False, indent=2, allow_nan=False) + "\n", "utf-8", newline="\n"
        )
