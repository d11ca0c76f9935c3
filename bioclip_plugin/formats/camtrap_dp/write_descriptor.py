"""The descriptor of a package: who, when, where, which taxa, which tables."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bioclip_core.errors import BioclipError
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.formats.camtrap_dp.check_descriptor import descriptor_problems
from bioclip_plugin.formats.camtrap_dp.naming import taxonomic_entry
from bioclip_plugin.formats.camtrap_dp.package import is_package, opened_package
from bioclip_plugin.formats.camtrap_dp.schema import PROFILE_URL
from bioclip_plugin.formats.camtrap_dp.write_media import made_id
from bioclip_plugin.formats.camtrap_dp.write_tables import resource_of
from bioclip_plugin.items.deployments import Deployment, stamp

if TYPE_CHECKING:
    from bioclip_plugin.contracts.export import Export

METRES_A_DEGREE = 111_320
_TAKEN_OVER = (
    "title",
    "contributors",
    "licenses",
    "project",
    "keywords",
    "sources",
    "bibliographicCitation",
    "references",
)
"""What a package that was classified says of itself, and what is still true of ours."""
_DEFAULT_TITLE = "Camera trap classifications"


def descriptor_of(
    export: Export,
    resources: Iterable[str],
    deployments: Sequence[Deployment],
    names: Mapping[str, Taxon | None],
    *,
    levels: Sequence[str],
    capture_methods: Sequence[str],
    individuals: bool,
    packages: Mapping[str, str],
) -> dict[str, Any]:
    """The descriptor. What options do not say is taken from the package that was classified, where it is still there."""
    options = export.options
    before = packages_before(export)
    said = _taken_over(before[0]) if len(before) == 1 else {}
    title = options.title or said.get("title") or _DEFAULT_TITLE
    project = said.get("project", {"title": title, "samplingDesign": "opportunistic"})
    stated = {
        entry["scientificName"]: entry for package in before for entry in _taxa(package) if entry["scientificName"] in names
    }  # fmt: skip
    descriptor: dict[str, Any] = {
        "resources": [resource_of(name) for name in resources],
        "profile": PROFILE_URL,
        "name": re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:80] or "camera-trap-classifications",
        "id": made_id("package", export.run.key, export.run.rule_id),
        "created": stamp(export.moment.replace(microsecond=0)),
        "title": title,
        "contributors": _contributors(export, said),
        **{key: said[key] for key in _TAKEN_OVER[4:] if key in said},
        **_licences(export, said),
        "project": {
            **project,
            "captureMethod": sorted({*capture_methods} or {*project.get("captureMethod", [])} or {"activityDetection"}),
            "individualAnimals": individuals or bool(project.get("individualAnimals", False)),
            "observationLevel": list(levels) or ["media"],
        },
        "spatial": spatial_of([(one.longitude, one.latitude) for one in deployments]),
        "temporal": {
            "start": min(one.starts for one in deployments).date().isoformat(),
            "end": max(one.ends for one in deployments).date().isoformat(),
        },
        "taxonomic": [taxonomic_entry(name, names[name], stated.get(name)) for name in sorted(names)],
    }
    if options.coordinate_precision is not None:
        descriptor["coordinatePrecision"] = float(f"1e-{options.coordinate_precision}")
    if packages:
        descriptor["relatedIdentifiers"] = [_derived_from(one) for one in sorted(packages)]
    return descriptor


def packages_before(export: Export) -> list[Mapping[str, Any]]:
    """The descriptors of the packages that the run was made from, as far as they are still there."""
    found = []
    for source in export.run.sources:
        try:
            if is_package(source):
                with opened_package(source) as package:
                    found.append(package.descriptor)
        except BioclipError:
            continue  # it was read once; what it says of itself now is not needed
    return found


def _taken_over(before: Mapping[str, Any]) -> dict[str, Any]:
    """What a package says of itself, without what is not as Camtrap DP wants it."""
    bad = {re.split(r"[.\[]", problem.record)[0] for problem in descriptor_problems(before)}
    return {key: before[key] for key in _TAKEN_OVER if before.get(key) and key not in bad}


def _taxa(before: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    bad = {problem.record.split(".")[0] for problem in descriptor_problems(before)}
    listed = before.get("taxonomic")
    return [one for n, one in enumerate(listed) if f"taxonomic[{n}]" not in bad] if isinstance(listed, list) else []


def _contributors(export: Export, said: Mapping[str, Any]) -> list[Any]:
    given = export.options.contributor
    if given:
        return [{"title": given, "role": "contact"}]
    found: list[Any] = said.get("contributors") or [{"title": export.classified_by, "role": "contributor"}]
    return found


def _licences(export: Export, said: Mapping[str, Any]) -> dict[str, Any]:
    given = export.options.licence
    if given is None:
        return {"licenses": said["licenses"]} if "licenses" in said else {}
    named = {"path": given} if "://" in given else {"name": given}
    return {"licenses": [{**named, "scope": scope} for scope in ("data", "media")]}


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
    """The box around places (longitude, latitude) as GeoJSON; the places themselves where they lie on one line."""
    lons, lats = sorted({lon for lon, _ in places}), sorted({lat for _, lat in places})
    if len(lons) == 1 and len(lats) == 1:
        return {"type": "Point", "coordinates": [lons[0], lats[0]]}
    if len(lons) == 1 or len(lats) == 1:
        return {"type": "MultiPoint", "coordinates": [list(place) for place in sorted(set(places))]}
    west, east, south, north = lons[0], lons[-1], lats[0], lats[-1]
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def rounded(deployment: Deployment, decimals: int | None) -> Deployment:
    """A deployment with its place rounded; what that takes away is added to its uncertainty."""
    if decimals is None:
        return deployment
    latitude, longitude = round(deployment.latitude, decimals), round(deployment.longitude, decimals)
    # Half a step north and half a step east, which is longest at the equator.
    lost = math.hypot(0.5, 0.5) * 10**-decimals * METRES_A_DEGREE
    before = int(deployment.cells.get("coordinateUncertainty", "0"))
    cells = {
        **deployment.cells,
        "latitude": f"{latitude:.{decimals}f}",
        "longitude": f"{longitude:.{decimals}f}",
        "coordinateUncertainty": str(max(1, math.ceil(before + lost))),
    }
    return Deployment(deployment.name, latitude, longitude, deployment.starts, deployment.ends, cells)
