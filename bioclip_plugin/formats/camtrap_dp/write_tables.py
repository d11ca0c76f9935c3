"""The tables of an exported package: the three of Camtrap DP, and ours for candidates, decisions, runs and skipped files."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from bioclip_core.classify import Candidate
from bioclip_core.taxonomy import RANKS
from bioclip_plugin.contracts.export import Export
from bioclip_plugin.formats.camtrap_dp.schema import TABLES, table_schema_url
from bioclip_plugin.formats.camtrap_dp.write_observations import number_text
from bioclip_plugin.items.deployments import stamp

Row = Mapping[str, str]

_HIGHER = tuple(rank.value for rank in RANKS[:-1])


class _OwnTable(NamedTuple):
    """A table that Camtrap DP does not have."""

    description: str
    columns: tuple[tuple[str, str, str], ...]
    """Name, type, description."""
    key: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    """Columns with the resource whose column of the same name they refer to."""


_OURS = {
    "candidates": _OwnTable(
        "The best candidates of each machine observation, most probable first.",
        (
            ("observationID", "string", "The observation that the candidate belongs to."),
            ("position", "integer", "1 is the most probable."),
            ("scientificName", "string", "The candidate's full name, or the text of a custom label."),
            ("taxonRank", "string", "Its rank; label or group for custom labels."),
            ("probability", "number", "Summed over the labels below the candidate."),
            *((rank, "string", f"Its {rank}.") for rank in _HIGHER),
            ("runID", "string", "The run that gave it."),
        ),
        key=("observationID", "position"),
        links=(("observationID", "observations"), ("runID", "runs")),
    ),
    "decisions": _OwnTable(
        "The rules' decisions about the model's answers.",
        (
            ("observationID", "string", "The observation that was decided."),
            ("verdict", "string", "The rules' decision: taxon, unknown, blank, person or vehicle."),
            ("eventID", "string", "The event whose images were answered together."),
            ("trail", "string", "The effect of each rule, as a JSON list."),
        ),
        key=("observationID",),
        links=(("observationID", "observations"),),
    ),
    "runs": _OwnTable(
        "The runs that the machine observations come from.",
        (
            ("runID", "string", "The identity of the run's decisions: model, labels and rules."),
            ("software", "string", "The software that classified."),
            ("model", "string", "The model's name."),
            ("modelSource", "string", "The source of the model."),
            ("modelRevision", "string", "Its revision there."),
            ("modelLicence", "string", "The licence of its weights."),
            ("weightsSHA256", "string", "The sha256 of its weights."),
            ("labelSet", "string", "The identity of the label set."),
            ("answerID", "string", "The identity of the answers: model, labels and prior."),
            ("rules", "string", "The rules with their settings, as a JSON list."),
            ("created", "datetime", "The end of the run."),
        ),
        key=("runID",),
    ),
    "left-out": _OwnTable(
        "Listed images without a classification here, and the reasons.",
        (
            ("uri", "string", "The listed image."),
            ("frame", "integer", "Frame of a video, from 0."),
            ("stage", "string", "The stage that failed; export for images that this package cannot hold."),
            ("reason", "string", "The reason why the image or its classification is missing."),
        ),
    ),
}
WRITTEN = (*TABLES, *_OURS)
"""The resources of our packages."""


@contextmanager
def table_files(folder: Path) -> Iterator[dict[str, csv.DictWriter[str]]]:
    """Open the files of all tables for writing, with their headers written; by resource. Missing cells are empty."""
    with ExitStack() as stack:
        tables = {}
        for name in WRITTEN:
            columns = [column[0] for column in _OURS[name].columns] if name in _OURS else list(TABLES[name])
            file = stack.enter_context((folder / file_of(name)).open("w", encoding="utf-8", newline=""))
            tables[name] = csv.DictWriter(file, columns, lineterminator="\n")
            tables[name].writeheader()
        yield tables


def file_of(name: str) -> str:
    """Return the file name of a resource."""
    return f"{name.replace('-', '_')}.csv"


def resource_of(name: str) -> dict[str, Any]:
    """Return the descriptor's entry of a table."""
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
    table = _OURS[name]
    schema: dict[str, Any] = {
        "fields": [{"name": column, "type": kind, "description": text} for column, kind, text in table.columns]
    }
    if table.key:
        schema["primaryKey"] = list(table.key)
    if table.links:
        schema["foreignKeys"] = [
            {"fields": column, "reference": {"resource": other, "fields": column}} for column, other in table.links
        ]
    return resource | {"description": table.description, "schema": schema}


def candidate_rows(observation: str, candidates: Sequence[Candidate], run_id: str) -> Iterator[Row]:
    """Yield the rows of the candidates of one observation."""
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


def run_row(export: Export, run_id: str) -> Row:
    """Return the row of an export's run."""
    run = export.run
    model = run.provenance.get("model", {})
    source = str(model.get("source", ""))
    if source.startswith("local-dir:"):
        # The package is given to others: of a folder on this computer only the last name is written.
        source = "local-dir:" + PurePosixPath(source.removeprefix("local-dir:").replace("\\", "/")).name
    return {
        "runID": run_id,
        "software": export.classified_by,
        "model": str(model.get("name", "")),
        "modelSource": source,
        "modelRevision": str(model.get("revision", "")),
        "modelLicence": str(model.get("licence", "")),
        "weightsSHA256": str(run.feature_settings.get("weights_sha256", "")),
        "labelSet": str(run.answer_settings.get("label_set", "")),
        "answerID": run.answer_id,
        "rules": json.dumps(run.rule_settings.get("rules", []), ensure_ascii=False, sort_keys=True),
        "created": stamp(export.moment),
    }
