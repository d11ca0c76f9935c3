"""The descriptor of an exported package: who, when, where, which taxa, which tables."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bioclip_core.errors import BioclipError
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.contracts.export import Export
from bioclip_plugin.formats.camtrap_dp.check_descriptor import descriptor_problems
from bioclip_plugin.formats.camtrap_dp.naming import taxonomic_entry
from bioclip_plugin.formats.camtrap_dp.package import is_package, opened_package
from bioclip_plugin.formats.camtrap_dp.schema import PROFILE_URL
from bioclip_plugin.formats.camtrap_dp.write_media import made_id
from bioclip_plugin.formats.camtrap_dp.write_tables import WRITTEN, resource_of
from bioclip_plugin.items.deployments import Deployment, stamp

_METRES_PER_DEGREE = 111_320
_KEPT_WHOLE = ("keywords", "sources", "bibliographicCitation", "references")
_KEPT = ("title", "contributors", "licenses", "project", *_KEPT_WHOLE)
"""Members of the descriptor of a classified package that are still true of ours."""


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
        "resources": [resource_of(name) for name in WRITTEN],
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
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


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
