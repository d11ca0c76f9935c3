"""The files of a package: the three tables of Camtrap DP, and ours beside them with the candidates, the run and what is not there."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from bioclip_core.taxonomy import RANKS
from bioclip_plugin.formats.camtrap_dp.schema import names_of, table_schema_url
from bioclip_plugin.formats.camtrap_dp.write_observations import number_text

if TYPE_CHECKING:
    from bioclip_core.classify import Candidate
    from bioclip_plugin.store import Run

Row = Mapping[str, str]

_HIGHER = tuple(rank.value for rank in RANKS[:-1])

# Name, type, what it is; of the tables that Camtrap DP does not have.
_CANDIDATES = (
    ("observationID", "string", "The observation that the candidate belongs to."),
    ("position", "integer", "1 is the most probable."),
    ("scientificName", "string", "The candidate's whole name, or the words of a custom label."),
    ("taxonRank", "string", "Its rank; label or group for custom labels."),
    ("probability", "number", "Summed over the labels below the candidate."),
    *((rank, "string", f"Its {rank}.") for rank in _HIGHER),
    ("runID", "string", "The run that gave it."),
)
_DECISIONS = (
    ("observationID", "string", "The observation that was decided."),
    ("verdict", "string", "What the rules decided: taxon, unknown, blank, person or vehicle."),
    ("eventID", "string", "The event whose images were answered together."),
    ("trail", "string", "What each rule did, as a JSON list."),
)
_RUNS = (
    ("runID", "string", "The identity of the run's decisions: model, labels and rules."),
    ("software", "string", "What classified."),
    ("model", "string", "The model's name."),
    ("modelSource", "string", "Where the model came from."),
    ("modelRevision", "string", "Its revision there."),
    ("modelLicence", "string", "The licence of its weights."),
    ("weightsSHA256", "string", "The sha256 of its weights."),
    ("labelSet", "string", "The identity of the label set."),
    ("answerID", "string", "The identity of the answers: model, labels and prior."),
    ("rules", "string", "The rules with their settings, as a JSON list."),
    ("created", "datetime", "When the run ended."),
)
_LEFT_OUT = (
    ("uri", "string", "What was listed."),
    ("frame", "integer", "Of a video, from 0."),
    ("stage", "string", "Where it failed; export for what this package cannot hold."),
    ("reason", "string", "Why there is nothing of it, or no classification."),
)
_OURS = {
    "candidates": (_CANDIDATES, "The best candidates of each machine observation, most probable first."),
    "decisions": (_DECISIONS, "What rules did to the model's answers."),
    "runs": (_RUNS, "The runs that the machine observations are of."),
    "left-out": (_LEFT_OUT, "Listed images that have no classification here, and why."),
}
_KEYS = {"candidates": ["observationID", "position"], "decisions": ["observationID"], "runs": ["runID"]}
_LINKS = {
    "candidates": [("observationID", "observations"), ("runID", "runs")],
    "decisions": [("observationID", "observations")],
}


class TableFile:
    """One table being written; what a row does not say stays empty."""

    def __init__(self, writer: Any, columns: Sequence[str]) -> None:
        self._writer = writer
        self._columns = columns
        self.rows = 0

    def write(self, row: Row) -> None:
        """Write a row given by the names of its cells."""
        self._writer.writerow([row.get(name, "") for name in self._columns])
        self.rows += 1


@contextmanager
def table_files(folder: Path, names: Sequence[str]) -> Iterator[dict[str, TableFile]]:
    """Files for tables of Camtrap DP and of ours, open for writing, with their headers written."""
    with ExitStack() as stack:
        found = {}
        for name in names:
            columns = [one[0] for one in _OURS[name][0]] if name in _OURS else list(names_of(name))
            file = stack.enter_context((folder / file_of(name)).open("w", encoding="utf-8", newline=""))
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            found[name] = TableFile(writer, columns)
        yield found


DESCRIPTOR = "datapackage.json"
WRITTEN = ("deployments", "media", "observations", "candidates", "decisions", "runs", "left-out")
"""The resources of our packages."""


def file_of(name: str) -> str:
    """The file of a resource."""
    return f"{name.replace('-', '_')}.csv"


def resource_of(name: str) -> dict[str, Any]:
    """How a table stands in the descriptor."""
    resource: dict[str, Any] = {
        "name": name,
        "path": file_of(name),
        "profile": "tabular-data-resource",
        "format": "csv",
        "mediatype": "text/csv",
        "encoding": "utf-8",
    }
    if name not in _OURS:
        return resource | {"schema": table_schema_url(name)}
    columns, description = _OURS[name]
    fields = [{"name": column, "type": kind, "description": what} for column, kind, what in columns]
    schema: dict[str, Any] = {"fields": fields}
    if name in _KEYS:
        schema["primaryKey"] = _KEYS[name]
    if name in _LINKS:
        schema["foreignKeys"] = [
            {"fields": column, "reference": {"resource": other, "fields": column}} for column, other in _LINKS[name]
        ]
    return resource | {"description": description, "schema": schema}


def candidate_rows(observation: str, candidates: Sequence[Candidate], run_id: str) -> Iterator[Row]:
    """Rows of the candidates of one observation."""
    for position, candidate in enumerate(candidates, start=1):
        yield {
            "observationID": observation,
            "position": str(position),
            "scientificName": candidate.name,
            "taxonRank": candidate.rank,
            "probability": number_text(min(max(candidate.probability, 0.0), 1.0)),
            **dict(zip(_HIGHER, candidate.taxon.lineage, strict=False)),
            "runID": run_id,
        }


def decision_row(observation: str, verdict: str, event: str | None, trail: Sequence[Mapping[str, Any]]) -> Row:
    """The row of what rules did."""
    said = json.dumps([dict(step) for step in trail], ensure_ascii=False, sort_keys=True)
    return {"observationID": observation, "verdict": verdict, "eventID": event or "", "trail": said}


def run_row(run: Run, run_id: str, software: str, created: str) -> Row:
    """The row of the run."""
    model = run.provenance.get("model", {})
    return {
        "runID": run_id,
        "software": software,
        "model": str(model.get("name", "")),
        "modelSource": _without_folders(str(model.get("source", ""))),
        "modelRevision": str(model.get("revision", "")),
        "modelLicence": str(model.get("licence", "")),
        "weightsSHA256": str(run.feature_settings.get("weights_sha256", "")),
        "labelSet": str(run.answer_settings.get("label_set", "")),
        "answerID": run.answer_id,
        "rules": json.dumps(run.rule_settings.get("rules", []), ensure_ascii=False, sort_keys=True),
        "created": created,
    }


def _without_folders(source: str) -> str:
    """Where a model came from; of a folder on this computer only the last name, since the package is given to others."""
    kind, colon, path = source.partition("local-dir:")
    return f"{colon}{PurePosixPath(path.replace(chr(92), '/')).name}" if colon and not kind else source
