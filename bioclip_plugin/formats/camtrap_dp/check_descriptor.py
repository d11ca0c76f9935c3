"""Checks of a Camtrap DP package's descriptor: who, when, where, which taxa, which tables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from bioclip_plugin.contracts.problem import Problem, Severity
from bioclip_plugin.formats.camtrap_dp.cells import name_fault
from bioclip_plugin.formats.camtrap_dp.check_geojson import spatial_faults
from bioclip_plugin.formats.camtrap_dp.package import DESCRIPTOR, version_named
from bioclip_plugin.formats.camtrap_dp.schema import (
    CAPTURE_METHODS,
    LEVELS,
    PROFILE_VERSION,
    RANKS,
    READ_VERSIONS,
    ROLES,
    SAMPLING_DESIGNS,
    TABLES,
)

REQUIRED = ("resources", "profile", "created", "contributors", "project", "spatial", "temporal", "taxonomic")
_NAME = re.compile(r"[-a-z0-9._/]+\Z")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+\Z")
_RELATIVE = re.compile(r"(?![./~])(?!.*\.\.).+\Z")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\Z")
_SPDX = re.compile(r"[-a-zA-Z0-9._]+\Z")
_LANGUAGE = re.compile(r"[a-z]{3}\Z")
_RELATED_KEYS = ("relationType", "relatedIdentifier", "relatedIdentifierType")
_RELATIONS = frozenset(
    """IsCitedBy Cites IsSupplementTo IsSupplementedBy IsContinuedBy Continues IsNewVersionOf IsPreviousVersionOf IsPartOf
    HasPart IsPublishedIn IsReferencedBy References IsDocumentedBy Documents IsCompiledBy Compiles IsVariantFormOf
    IsOriginalFormOf IsIdenticalTo HasMetadata IsMetadataFor Reviews IsReviewedBy IsDerivedFrom IsSourceOf Describes
    IsDescribedBy HasVersion IsVersionOf Requires IsRequiredBy Obsoletes IsObsoletedBy""".split()
)
_RESOURCE_TYPES = frozenset(
    """Audiovisual Book BookChapter Collection ComputationalNotebook ConferencePaper ConferenceProceeding DataPaper Dataset
    Dissertation Event Image InteractiveResource Journal JournalArticle Model OutputManagementPlan PeerReview PhysicalObject
    Preprint Report Service Software Sound Standard Text Workflow Other""".split()
)
_IDENTIFIERS = frozenset(
    "ARK arXiv bibcode DOI EAN13 EISSN Handle IGSN ISBN ISSN ISTC LISSN LSID PMID PURL UPC URL URN w3id".split()
)

_OLDER = f"the profile is of an older version with the same tables; current is {PROFILE_VERSION}"

Said = Iterator[tuple[str, str, Any]]
"""Which part, what is wrong, the value as it stands."""


def descriptor_problems(descriptor: Mapping[str, Any], file: str = DESCRIPTOR) -> Iterator[Problem]:
    """What is wrong with a descriptor; ``record`` begins with the key that it is about."""
    for record, message, value in _all(descriptor):
        severity: Severity = "warning" if message == _OLDER else "error"
        yield Problem(file, record, message, "" if value is None else str(value)[:200], severity)


def _all(descriptor: Mapping[str, Any]) -> Said:
    for key in REQUIRED:
        if key not in descriptor:
            yield key, "is missing; Camtrap DP requires it", None
    checks = {
        "profile": _profile, "resources": _resources, "created": _created, "contributors": _contributors, "project": _project,
        "spatial": spatial_faults, "temporal": _temporal, "taxonomic": _taxonomic, "licenses": _licences, "name": _name,
        "sources": _sources,
        "relatedIdentifiers": _related, "references": _texts, "keywords": _texts, "coordinatePrecision": _precision,
    }  # fmt: skip
    for key, check in checks.items():
        if key in descriptor:
            yield from check(key, descriptor[key])
    yield from _versions(descriptor)
    for key in ("id", "title", "description", "version", "image", "bibliographicCitation"):
        if key in descriptor and not isinstance(descriptor[key], str):
            yield key, "text is needed", descriptor[key]
    if descriptor.get("homepage") and not _is_address(descriptor["homepage"]):
        yield "homepage", "an address on the web is needed", descriptor["homepage"]


def _versions(descriptor: Mapping[str, Any]) -> Said:
    """The tables' schemas are of the profile's version."""
    version = version_named({"profile": descriptor.get("profile")})
    listed = descriptor.get("resources")
    for number, one in enumerate(listed if isinstance(listed, list) else []):
        schema = one.get("schema") if isinstance(one, dict) and one.get("name") in TABLES else None
        found = version_named({"profile": schema})
        if version in READ_VERSIONS and found and found != version:
            yield f"resources[{number}].schema", f"it is of version {found}, the profile is of {version}", schema


def _profile(key: str, value: Any) -> Said:
    version = version_named({"profile": value})
    if version is None or not _is_address(value):
        yield key, f"the address of a Camtrap DP profile is needed, such as that of version {PROFILE_VERSION}", value
    elif version != PROFILE_VERSION:
        known = version in READ_VERSIONS
        yield key, _OLDER if known else f"version {version} is not known; checked is {PROFILE_VERSION}", value


def _resources(key: str, value: Any) -> Said:
    if not _is_list(value):
        yield key, "a list of resources is needed", value
        return
    names = [one.get("name") if isinstance(one, dict) else None for one in value]
    for table in TABLES:
        if names.count(table) != 1:
            yield key, f"the table {table} is needed once, and is there {names.count(table)} times", None
    for number, one in enumerate(value):
        yield from _resource(f"{key}[{number}]", one)
        if isinstance(names[number], str) and names.index(names[number]) != number and names[number] not in TABLES:
            yield f"{key}[{number}]", "another resource has the same name", names[number]


def _resource(record: str, one: Any) -> Said:
    if not isinstance(one, dict):
        yield record, "an object is needed", one
        return
    name, path = one.get("name"), one.get("path")
    if not isinstance(name, str) or not _NAME.match(name):
        yield f"{record}.name", "a name of lower case letters, digits, '.', '_', '-' and '/' is needed", name
    if ("path" in one) == ("data" in one):
        yield record, "either a path or data is needed", name
    for part in path if isinstance(path, list) else [path] if "path" in one else []:
        if not isinstance(part, str) or not _RELATIVE.match(part) or "\\" in part or re.match(r"[A-Za-z]:[\\/]", part):
            yield f"{record}.path", "a path inside the package, with forward slashes, or an address is needed", part
    if name not in TABLES:
        return
    if one.get("profile") != "tabular-data-resource":
        yield f"{record}.profile", "tabular-data-resource is needed", one.get("profile")
    schema = one.get("schema")
    if (
        not isinstance(schema, str)
        or not _is_address(schema)
        or version_named({"profile": schema}) not in READ_VERSIONS
    ):
        yield f"{record}.schema", f"the address of the schema of {name} of version {PROFILE_VERSION} is needed", schema


def _created(key: str, value: Any) -> Said:
    try:
        good = isinstance(value, str) and "T" in value and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        good = False
    if not good:
        yield key, "a date and time with its offset from UTC is needed, such as 2023-02-06T11:23:03Z", value


def _contributors(key: str, value: Any) -> Said:
    if not _is_list(value) or not value:
        yield key, "a list with at least one contributor is needed", value
        return
    for number, one in enumerate(value):
        record = f"{key}[{number}]"
        if not isinstance(one, dict) or not isinstance(one.get("title"), str) or not one["title"].strip():
            yield record, "a contributor with a title (the name) is needed", one
            continue
        if "role" in one and one["role"] not in ROLES:
            yield f"{record}.role", f"allowed are {', '.join(ROLES)}", one["role"]
        if "email" in one and not (isinstance(one["email"], str) and _EMAIL.match(one["email"])):
            yield f"{record}.email", "an e-mail address is needed", one["email"]
        if "path" in one and not (isinstance(one["path"], str) and _RELATIVE.match(one["path"])):
            yield f"{record}.path", "an address on the web is needed", one["path"]
        if "organization" in one and not isinstance(one["organization"], str):
            yield f"{record}.organization", "text is needed", one["organization"]


def _project(key: str, value: Any) -> Said:
    if not isinstance(value, dict):
        yield key, "an object is needed", value
        return
    for name in ("title", "samplingDesign", "captureMethod", "individualAnimals", "observationLevel"):
        if name not in value:
            yield f"{key}.{name}", "is missing; Camtrap DP requires it", None
    for name in ("id", "title", "acronym", "description"):
        if name in value and not isinstance(value[name], str):
            yield f"{key}.{name}", "text is needed", value[name]
    if "path" in value and not _is_address(value["path"]):
        yield f"{key}.path", "an address on the web is needed", value["path"]
    if "samplingDesign" in value and value["samplingDesign"] not in SAMPLING_DESIGNS:
        yield f"{key}.samplingDesign", f"allowed are {', '.join(SAMPLING_DESIGNS)}", value["samplingDesign"]
    if "individualAnimals" in value and not isinstance(value["individualAnimals"], bool):
        yield f"{key}.individualAnimals", "true or false is needed", value["individualAnimals"]
    for name, allowed, least in (("captureMethod", CAPTURE_METHODS, 1), ("observationLevel", LEVELS, 0)):
        if name in value and not _are_among(value[name], allowed, least):
            yield f"{key}.{name}", f"a list without repetition of {', '.join(allowed)} is needed", value[name]


def _temporal(key: str, value: Any) -> Said:
    if not isinstance(value, dict):
        yield key, "an object with start and end is needed", value
        return
    days = {}
    for name in ("start", "end"):
        try:
            days[name] = date.fromisoformat(value.get(name, ""))
        except (TypeError, ValueError):
            yield f"{key}.{name}", "a day such as 2020-05-30 is needed", value.get(name)
    if len(days) == 2 and days["start"] > days["end"]:
        yield key, "the start is after the end", f"{days['start']} {days['end']}"


def _taxonomic(key: str, value: Any) -> Said:
    if not _is_list(value):
        yield key, "a list of taxa is needed", value
        return
    seen: set[str] = set()
    for number, one in enumerate(value):
        record = f"{key}[{number}]"
        name = one.get("scientificName") if isinstance(one, dict) else None
        if not isinstance(name, str) or not name:
            yield f"{record}.scientificName", "is missing; Camtrap DP requires it", name
            continue
        if name in seen:
            yield f"{record}.scientificName", "the name stands there twice", name
        seen.add(name)
        if name_fault(name):
            yield f"{record}.scientificName", name_fault(name), name
        yield from _taxon(record, one)


def _taxon(record: str, one: Mapping[str, Any]) -> Said:
    if "taxonRank" in one and one["taxonRank"] not in RANKS:
        yield f"{record}.taxonRank", f"allowed are {', '.join(RANKS)}", one["taxonRank"]
    for name in ("taxonID", *RANKS[:-2]):
        if name in one and not isinstance(one[name], str):
            yield f"{record}.{name}", "text is needed", one[name]
    common = one.get("vernacularNames", {})
    good = isinstance(common, dict) and all(isinstance(name, str) for name in common.values())
    if not good or not all(_LANGUAGE.match(code) for code in common):
        yield f"{record}.vernacularNames", "names by language codes of three letters are needed", common


def _licences(key: str, value: Any) -> Said:
    if not _is_list(value) or len(value) < 2:
        yield key, "two licences are needed, one for the data and one for the media, or none", value
        return
    scopes = set()
    for number, one in enumerate(value):
        record = f"{key}[{number}]"
        if not isinstance(one, dict) or one.get("scope") not in ("data", "media"):
            yield f"{record}.scope", "allowed are data, media", one.get("scope") if isinstance(one, dict) else one
            continue
        scopes.add(one["scope"])
        name, path = one.get("name"), one.get("path")
        if name is None and path is None:
            yield record, "a name or a path is needed", None
        if name is not None and not (isinstance(name, str) and _SPDX.match(name)):
            yield f"{record}.name", "the identifier of a licence is needed, such as CC-BY-4.0", name
        if path is not None and not (isinstance(path, str) and _RELATIVE.match(path)):
            yield f"{record}.path", "an address on the web, or a file of the package is needed", path
    if not scopes.issuperset(("data", "media")):
        yield key, "one licence is needed for the data and one for the media", ", ".join(sorted(scopes))


def _related(key: str, value: Any) -> Said:
    for number, one in enumerate(value) if _is_list(value) else [(0, value)]:
        record = f"{key}[{number}]"
        if not isinstance(one, dict) or not all(isinstance(one.get(name), str) for name in _RELATED_KEYS):
            yield record, f"{', '.join(_RELATED_KEYS)} are needed", one
            continue
        allowed = {
            "relationType": _RELATIONS,
            "relatedIdentifierType": _IDENTIFIERS,
            "resourceTypeGeneral": _RESOURCE_TYPES,
        }
        for name, words in allowed.items():
            if name in one and not (isinstance(one[name], str) and one[name] in words):
                yield f"{record}.{name}", "DataCite has no such word", one[name]


def _sources(key: str, value: Any) -> Said:
    for number, one in enumerate(value) if _is_list(value) else [(0, value)]:
        if not isinstance(one, dict) or not isinstance(one.get("title"), str):
            yield f"{key}[{number}]", "a source with a title is needed", one
        elif not isinstance(one.get("version", ""), str):
            yield f"{key}[{number}].version", "text is needed", one["version"]


def _texts(key: str, value: Any) -> Said:
    if not _is_list(value) or not all(isinstance(one, str) for one in value):
        yield key, "a list of texts is needed", value
    elif key == "keywords" and not value:
        yield key, "one keyword at least is needed, or no list", value


def _name(key: str, value: Any) -> Said:
    if not isinstance(value, str) or not _NAME.match(value):
        yield key, "a name of lower case letters, digits, '.', '_', '-' and '/' is needed", value


def _precision(key: str, value: Any) -> Said:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 360:
        yield key, "a number of degrees above 0 is needed, such as 0.001", value


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_address(value: Any) -> bool:
    return isinstance(value, str) and bool(_ADDRESS.match(value))


def _are_among(value: Any, allowed: Sequence[str], least: int) -> bool:
    if not _is_list(value) or len(value) < least or not all(isinstance(one, str) for one in value):
        return False
    return set(value) <= set(allowed) and len(set(value)) == len(value)
