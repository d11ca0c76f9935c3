"""The descriptor of an exported package and its tables: Camtrap DP's, and ours for candidates, decisions, runs and skipped files."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from bioclip_core.classify import Candidate
from bioclip_core.errors import BioclipError
from bioclip_core.taxonomy import RANKS, Taxon
from bioclip_plugin.contracts.export import Export
from bioclip_plugin.formats.camtrap_dp.check_descriptor import descriptor_problems
from bioclip_plugin.formats.camtrap_dp.naming import taxonomic_entry
from bioclip_plugin.formats.camtrap_dp.package import is_package, opened_package
from bioclip_plugin.formats.camtrap_dp.schema import PROFILE_URL, TABLES, table_schema_url
from bioclip_plugin.formats.camtrap_dp.write_media import made_id
from bioclip_plugin.formats.camtrap_dp.write_observations import Row, number_text
from bioclip_plugin.items.deployments import Deployment, stamp
from bioclip_plugin.store.records import Run

_HIGHER = tuple(rank.value for rank in RANKS[:-1])
_METRES_PER_DEGREE = 111_320
_KEPT_WHOLE = ("keywords", "sources", "bibliographicCitation", "references")
_KEPT = ("title", "contributors", "licenses", "project", *_KEPT_WHOLE)
"""Members of the descriptor of a classified package that are still true of ours."""


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


def descriptor_of(
    export: Export,
    deployments: Sequence[Deployment],
    names: Mapping[str, Taxon | None],
    *,
    levels: Sequence[str],
    capture_methods: Collection[str],
    has_individuals: bool,
    packages: Collection[str],
) -> dict[str, Any]:
    """Return the descriptor. Values without an option come from the package that was classified, if it still exists.

    Args:
        export: the export.
        deployments: the deployments, as they are written.
        names: the scientific names, with their taxa where known.
        levels: levels of the observations.
        capture_methods: capture methods of the media.
        has_individuals: an observation names an individual.
        packages: identifiers of the packages that the media came from.
    """
    options = export.options
    kept, taxa = _from_packages(export)
    title = options.title or kept.get("title") or "Camera trap classifications"
    contributors = kept.get("contributors") or [{"title": export.classified_by, "role": "contributor"}]
    if options.contributor:
        contributors = [{"title": options.contributor, "role": "contact"}]
    project = kept.get("project", {"title": title, "samplingDesign": "opportunistic"})
    descriptor: dict[str, Any] = {
        "resources": [_resource_of(name) for name in WRITTEN],
        "profile": PROFILE_URL,
        "name": re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:80] or "camera-trap-classifications",
        "id": made_id("package", export.run.key, export.run.rule_id),
        "created": stamp(export.moment),
        "title": title,
        "contributors": contributors,
        **{key: kept[key] for key in _KEPT_WHOLE if key in kept},
        **_licences(export, kept),
        "project": {
            **project,
            "captureMethod": sorted({*capture_methods} or {*project.get("captureMethod", [])} or {"activityDetection"}),
            "individualAnimals": has_individuals or bool(project.get("individualAnimals", False)),
            "observationLevel": list(levels) or ["media"],
        },
        "spatial": spatial_of([(one.longitude, one.latitude) for one in deployments]),
        "temporal": {
            "start": min(one.starts for one in deployments).date().isoformat(),
            "end": max(one.ends for one in deployments).date().isoformat(),
        },
        "taxonomic": [taxonomic_entry(name, names[name], taxa.get(name)) for name in sorted(names)],
    }
    if options.coordinate_precision is not None:
        descriptor["coordinatePrecision"] = float(f"1e-{options.coordinate_precision}")
    if packages:
        descriptor["relatedIdentifiers"] = [_derived_from(identifier) for identifier in sorted(packages)]
    return descriptor


def _licences(export: Export, kept: Mapping[str, Any]) -> dict[str, Any]:
    licence = export.options.licence
    if licence is None:
        return {"licenses": kept["licenses"]} if "licenses" in kept else {}
    return {
        "licenses": [{"path" if "://" in licence else "name": licence, "scope": scope} for scope in ("data", "media")]
    }


def _from_packages(export: Export) -> tuple[dict[str, Any], dict[str, Mapping[str, Any]]]:
    """Return valid members of the package that was classified (none if there are several), and taxa of all packages."""
    members: list[dict[str, Any]] = []
    taxa: dict[str, Mapping[str, Any]] = {}
    for source in export.run.sources:
        try:
            if not is_package(source):
                continue
            with opened_package(source) as package:
                before = package.descriptor
        except BioclipError:
            continue  # it was read once, and its descriptor is not needed now
        faulty = {problem.record.split(".")[0] for problem in descriptor_problems(before)}
        keys = {record.partition("[")[0] for record in faulty}
        members.append({key: before[key] for key in _KEPT if before.get(key) and key not in keys})
        listed = before.get("taxonomic")
        entries = enumerate(listed if isinstance(listed, list) else [])
        taxa |= {entry["scientificName"]: entry for number, entry in entries if f"taxonomic[{number}]" not in faulty}
    return members[0] if len(members) == 1 else {}, taxa


def _derived_from(identifier: str) -> dict[str, str]:
    kind = "URL" if "://" in identifier else "URN"
    if identifier.startswith(("10.", "https://doi.org/", "http://doi.org/", "http://dx.doi.org/")):
        kind = "DOI"
    elif re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", identifier):
        identifier = f"urn:uuid:{identifier}"
    return {
        "relationType": "IsDerivedFrom",
        "relatedIdentifier": identifier,
        "resourceTypeGeneral": "Dataset",
        "relatedIdentifierType": kind,
    }


def spatial_of(places: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """Return the box around places (longitude, latitude) as GeoJSON; the places themselves if they lie on one line."""
    lons, lats = sorted({lon for lon, _ in places}), sorted({lat for _, lat in places})
    if len(lons) == 1 and len(lats) == 1:
        return {"type": "Point", "coordinates": [lons[0], lats[0]]}
    if len(lons) == 1 or len(lats) == 1:
        return {"type": "MultiPoint", "coordinates": [list(place) for place in sorted(set(places))]}
    west, east, south, north = lons[0], lons[-1], lats[0], lats[-1]
    return {
        "type": "Polygon",
        "coordinates": [[[west, south], [east, south], [east, north], [west, north], [west, south]]],
    }


def rounded(deployment: Deployment, decimals: int | None) -> Deployment:
    """Return a deployment with its place rounded, and its uncertainty increased accordingly."""
    if decimals is None:
        return deployment
    latitude, longitude = round(deployment.latitude, decimals), round(deployment.longitude, decimals)
    # Half a step north and half a step east, which is longest at the equator.
    lost = math.hypot(0.5, 0.5) * 10**-decimals * _METRES_PER_DEGREE
    cells = {
        **deployment.cells,
        "latitude": f"{latitude:.{decimals}f}",
        "longitude": f"{longitude:.{decimals}f}",
        "coordinateUncertainty": str(max(1, math.ceil(int(deployment.cells.get("coordinateUncertainty", "0")) + lost))),
    }
    return replace(deployment, latitude=latitude, longitude=longitude, cells=cells)


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


def _resource_of(name: str) -> dict[str, Any]:
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


def candidate_rows(observation: str, candidates: Sequence[Candidate], run: Run) -> Iterator[Row]:
    """Yield the rows of the candidates of one observation."""
    for position, candidate in enumerate(candidates, start=1):
        yield {
            "observationID": observation,
            "position": str(position),
            "scientificName": candidate.name,
            "taxonRank": candidate.rank,
            "probability": number_text(min(max(candidate.probability, 0.0), 1.0)),
            **dict(zip(_HIGHER, candidate.taxon.lineage, strict=False)),
            "runID": run.rule_id[:16],
        }


def run_row(export: Export) -> Row:
    """Return the row of an export's run."""
    run = export.run
    model = run.provenance.get("model", {})
    source = str(model.get("source", ""))
    if source.startswith("local-dir:"):
        # The package is given to others: of a folder on this computer only the last name is written.
        source = "local-dir:" + PurePosixPath(source.removeprefix("local-dir:").replace("\\", "/")).name
    return {
        "runID": run.rule_id[:16],
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
