"""Checks of a Camtrap DP package's descriptor: who, when, where, which taxa, which tables."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from typing import Any, NamedTuple

from bioclip_plugin.contracts.problem import Problem, Severity
from bioclip_plugin.formats.camtrap_dp.package import DESCRIPTOR, version_in
from bioclip_plugin.formats.camtrap_dp.schema import PROFILE_VERSION, READ_VERSIONS, TABLES, name_fault

_RELATIVE = r"(?![./~])(?!.*\.\.).+\Z"
_RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species", "subspecies")
_DATACITE = {
    "relationType": """IsCitedBy Cites IsSupplementTo IsSupplementedBy IsContinuedBy Continues IsNewVersionOf IsPreviousVersionOf
    IsPartOf HasPart IsPublishedIn IsReferencedBy References IsDocumentedBy Documents IsCompiledBy Compiles IsVariantFormOf
    IsOriginalFormOf IsIdenticalTo HasMetadata IsMetadataFor Reviews IsReviewedBy IsDerivedFrom IsSourceOf Describes
    IsDescribedBy HasVersion IsVersionOf Requires IsRequiredBy Obsoletes IsObsoletedBy""",
    "relatedIdentifierType": """ARK arXiv bibcode DOI EAN13 EISSN Handle IGSN ISBN ISSN ISTC LISSN LSID PMID PURL UPC URL URN
    w3id""",
    "resourceTypeGeneral": """Audiovisual Book BookChapter Collection ComputationalNotebook ConferencePaper ConferenceProceeding
    DataPaper Dataset Dissertation Event Image InteractiveResource Journal JournalArticle Model OutputManagementPlan PeerReview
    PhysicalObject Preprint Report Service Software Sound Standard Text Workflow Other""",
}
"""Words of DataCite for the members of a related identifier."""
_GEOMETRIES = {"Point": 0, "MultiPoint": 1, "LineString": 1, "MultiLineString": 2, "Polygon": 2, "MultiPolygon": 3}
"""Lists around the positions of each geometry of GeoJSON."""

_Faults = Iterator[tuple[str, str, Any]]
"""Part of the descriptor, message, value."""


class _Rule(NamedTuple):
    """A requirement for parts of a descriptor."""

    paths: str
    """The parts, separated by spaces; ``contributors[].role`` is the role of each contributor."""
    is_good: Callable[[Any], bool]
    message: str


def _is(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kinds)


def _matches(pattern: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and bool(re.match(pattern, value))


def _list_of(least: int, is_good: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and len(value) >= least and all(map(is_good, value))


def _one_of(path: str, *words: str) -> _Rule:
    return _Rule(path, lambda value: value in words, f"must be one of {', '.join(words)}")


def _some_of(path: str, least: int, *words: str) -> _Rule:
    is_list = _list_of(least, lambda entry: entry in words)
    return _Rule(
        path,
        lambda value: is_list(value) and len(set(value)) == len(value),
        f"must be a list of {', '.join(words)} without repetition",
    )


_is_address = _matches(r"[A-Za-z][A-Za-z0-9+.-]*:\S+\Z")
_is_path_inside = _matches(r"(?![A-Za-z]:[\\/])(?!.*\\)" + _RELATIVE)


def _is_moment(value: Any) -> bool:
    try:
        return isinstance(value, str) and "T" in value and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _is_day(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(date.fromisoformat(value))
    except ValueError:
        return False


_RELATED_KEYS = ("relationType", "relatedIdentifier", "relatedIdentifierType")
_REQUIRED = """
    resources profile created contributors project spatial temporal taxonomic project.title project.samplingDesign
    project.captureMethod project.individualAnimals project.observationLevel temporal.start temporal.end
    taxonomic[].scientificName resources[].name licenses[].scope
""".split()
_RULES = (
    _Rule("resources taxonomic relatedIdentifiers sources", _is(list), "must be a list"),
    _Rule("resources[] project temporal taxonomic[]", _is(dict), "must be an object"),
    _Rule("name resources[].name", _matches(r"[-a-z0-9._/]+\Z"),
          "must be a name of lower case letters, digits, '.', '_', '-' and '/'"),
    _Rule("id title description version image bibliographicCitation contributors[].organization project.id project.title "
          "project.acronym project.description taxonomic[].taxonID sources[].version", _is(str), "must be a text"),
    _Rule(" ".join(f"taxonomic[].{rank}" for rank in _RANKS[:-2]), _is(str), "must be a text"),
    _Rule("resources[]", lambda value: not isinstance(value, dict) or ("path" in value) != ("data" in value),
          "must have either a path or data"),
    _Rule("resources[].path", lambda value: all(map(_is_path_inside, value if isinstance(value, list) else [value])),
          "must be a path inside the package, with forward slashes, or an address"),
    _Rule("created", _is_moment, "must be a date and time with its offset from UTC, such as 2023-02-06T11:23:03Z"),
    _Rule("homepage", lambda value: not value or _is_address(value), "must be a web address"),
    _Rule("project.path", _is_address, "must be a web address"),
    _Rule("references", _list_of(0, _is(str)), "must be a list of texts"),
    _Rule("keywords", _list_of(1, _is(str)), "must be a list of at least one text; leave it out if there are none"),
    _Rule("coordinatePrecision", lambda value: type(value) in (int, float) and 0 < value < 360,
          "must be a number of degrees above 0, such as 0.001"),
    _Rule("contributors", _list_of(1, lambda _: True), "must be a list with at least one contributor"),
    _Rule("contributors[]", lambda value: isinstance(value, dict) and isinstance(value.get("title"), str)
          and bool(value["title"].strip()), "must be a contributor with a title (the name)"),
    _one_of("contributors[].role", "contact", "principalInvestigator", "rightsHolder", "publisher", "contributor"),
    _Rule("contributors[].email", _matches(r"[^@\s]+@[^@\s]+\Z"), "must be an e-mail address"),
    _Rule("contributors[].path", _matches(_RELATIVE), "must be a web address"),
    _one_of("project.samplingDesign", "simpleRandom", "systematicRandom", "clusteredRandom", "experimental", "targeted",
            "opportunistic"),
    _Rule("project.individualAnimals", _is(bool), "must be true or false"),
    _some_of("project.captureMethod", 1, *TABLES["media"]["captureMethod"].allowed),
    _some_of("project.observationLevel", 0, *TABLES["observations"]["observationLevel"].allowed),
    _Rule("temporal.start temporal.end", _is_day, "must be a day such as 2020-05-30"),
    _Rule("taxonomic[].scientificName", lambda value: isinstance(value, str) and bool(value), "must be a name"),
    _one_of("taxonomic[].taxonRank", *_RANKS),
    _Rule("taxonomic[].vernacularNames", lambda value: isinstance(value, dict)
          and all(isinstance(name, str) and re.fullmatch("[a-z]{3}", code) for code, name in value.items()),
          "must be names by language codes of three letters"),
    _Rule("licenses", _list_of(2, lambda _: True),
          "must have two licences, one for the data and one for the media, or be left out"),
    _Rule("licenses[]", lambda value: isinstance(value, dict) and ("name" in value or "path" in value),
          "must have a name or a path"),
    _one_of("licenses[].scope", "data", "media"),
    _Rule("licenses[].name", _matches(r"[-a-zA-Z0-9._]+\Z"), "must be the identifier of a licence, such as CC-BY-4.0"),
    _Rule("licenses[].path", _matches(_RELATIVE), "must be a web address, or a file of the package"),
    _Rule("relatedIdentifiers[]", lambda value: isinstance(value, dict)
          and all(isinstance(value.get(key), str) for key in _RELATED_KEYS), f"must have {', '.join(_RELATED_KEYS)}"),
    *(_Rule(f"relatedIdentifiers[].{key}", words.split().__contains__, "must be a word of DataCite")
      for key, words in _DATACITE.items()),
    _Rule("sources[]", lambda value: isinstance(value, dict) and isinstance(value.get("title"), str),
          "must be a source with a title"),
)  # fmt: skip


def descriptor_problems(descriptor: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield the problems of a descriptor; ``record`` begins with the key that is wrong."""
    for path in _REQUIRED:
        parent, _, key = path.rpartition(".")
        for record, value in _parts(descriptor, parent) if parent else [("", descriptor)]:
            if isinstance(value, dict) and key not in value:
                yield Problem(DESCRIPTOR, f"{record}.{key}".lstrip("."), "is missing; Camtrap DP requires it")
    for rule in _RULES:
        for path in rule.paths.split():
            for record, value in _parts(descriptor, path):
                if not rule.is_good(value):
                    yield _problem(record, rule.message, value)
    for record, profile in _parts(descriptor, "profile"):
        if fault := _profile_fault(profile):
            yield _problem(record, fault, profile)
        elif version_in(profile) != PROFILE_VERSION:
            yield _problem(
                record,
                f"the profile is of an older version with the same tables; the current one is {PROFILE_VERSION}",
                profile,
                "warning",
            )
    for record, message, value in (*_resource_faults(descriptor), *_content_faults(descriptor)):
        yield _problem(record, message, value)


def _problem(record: str, message: str, value: Any, severity: Severity = "error") -> Problem:
    return Problem(DESCRIPTOR, record, message, "" if value is None else str(value)[:200], severity)


def _parts(value: Any, path: str, record: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the parts of a descriptor that a path means, with their places; parts that are missing are left out."""
    first, _, rest = path.partition(".")
    key = first.removesuffix("[]")
    if not isinstance(value, dict) or key not in value:
        return
    found = [(f"{record}{key}", value[key])]
    if key != first:
        numbered = enumerate(value[key]) if isinstance(value[key], list) else ()
        found = [(f"{record}{key}[{number}]", entry) for number, entry in numbered]
    for place, part in found:
        if rest:
            yield from _parts(part, rest, f"{place}.")
        else:
            yield place, part


def _profile_fault(profile: Any) -> str:
    version = version_in(profile)
    if version is None or not _is_address(profile):
        return f"must be the address of a Camtrap DP profile, such as that of version {PROFILE_VERSION}"
    return "" if version in READ_VERSIONS else f"version {version} is unknown; the check is for {PROFILE_VERSION}"


def _resource_faults(descriptor: Mapping[str, Any]) -> _Faults:
    """Yield tables that are not there once, other duplicates, and resources of tables that do not say so."""
    if not isinstance(descriptor.get("resources"), list):
        return
    version, names = version_in(descriptor.get("profile")), []
    for record, resource in _parts(descriptor, "resources[]"):
        name = resource.get("name") if isinstance(resource, dict) else None
        if isinstance(name, str) and name in names and name not in TABLES:
            yield record, "another resource has the same name", name
        names.append(name)
        if not isinstance(name, str) or name not in TABLES:
            continue
        profile, schema = resource.get("profile"), resource.get("schema")
        if profile != "tabular-data-resource":
            yield f"{record}.profile", "must be tabular-data-resource", profile
        found = version_in(schema)
        if not _is_address(schema) or found not in READ_VERSIONS:
            yield (
                f"{record}.schema",
                f"must be the address of the schema of {name} of version {PROFILE_VERSION}",
                schema,
            )
        elif version in READ_VERSIONS and found != version:
            yield f"{record}.schema", f"the schema is of version {found}, but the profile of {version}", schema
    for table in TABLES:
        if names.count(table) != 1:
            yield "resources", f"must have the table {table} once, but has it {names.count(table)} times", None


def _content_faults(descriptor: Mapping[str, Any]) -> _Faults:
    """Yield faults of well-formed members: days in the wrong order, bad names, missing licences, bad geometries."""
    days = [value for path in ("temporal.start", "temporal.end") for _, value in _parts(descriptor, path)]
    if len(days) == 2 and all(map(_is_day, days)) and date.fromisoformat(days[0]) > date.fromisoformat(days[1]):
        yield "temporal", "the start is after the end", " ".join(days)
    seen: set[str] = set()
    for record, name in _parts(descriptor, "taxonomic[].scientificName"):
        if isinstance(name, str) and name:
            if fault := "the name is duplicated" if name in seen else name_fault(name):
                yield record, fault, name
            seen.add(name)
    scopes = [scope for _, scope in _parts(descriptor, "licenses[].scope")]
    if len(scopes) > 1 and not ("data" in scopes and "media" in scopes):
        yield "licenses", "must have one licence for the data and one for the media", ", ".join(map(str, scopes))
    for record, value in _parts(descriptor, "spatial"):
        yield from _geometry_faults(record, value)


def _geometry_faults(record: str, value: Any) -> _Faults:
    """Yield the faults of a GeoJSON object and of all its parts."""
    if not isinstance(value, dict):
        yield record, "must be a GeoJSON object", value
        return
    kind = value.get("type")
    if kind == "Feature":
        yield from _geometry_faults(f"{record}.geometry", value.get("geometry"))
    elif kind in ("FeatureCollection", "GeometryCollection"):
        member = "features" if kind == "FeatureCollection" else "geometries"
        if not isinstance(value.get(member), list):
            yield f"{record}.{member}", "must be a list", value.get(member)
        for place, part in _parts(value, f"{member}[]", f"{record}."):
            yield from _geometry_faults(place, part)
    elif not isinstance(kind, str) or kind not in _GEOMETRIES:
        yield f"{record}.type", f"must be one of {', '.join(_GEOMETRIES)} and collections of them", kind
    elif fault := _position_fault(value.get("coordinates"), _GEOMETRIES[kind], closed="Polygon" in kind):
        yield f"{record}.coordinates", fault, value.get("coordinates")


def _position_fault(value: Any, depth: int, *, closed: bool) -> str:
    """Return the fault of positions that are nested in ``depth`` lists; empty if they are good."""
    if not isinstance(value, list) or not value:
        return "must be a list of longitude and latitude"
    if depth == 0:
        if len(value) < 2 or not all(type(number) in (int, float) and math.isfinite(number) for number in value):
            return "must have longitude and latitude as numbers"
        return (
            "" if abs(value[0]) <= 180 and abs(value[1]) <= 90 else "longitude must be -180 to 180, latitude -90 to 90"
        )
    if depth == 1 and closed and (len(value) < 4 or value[0] != value[-1]):
        return "a ring must have at least four positions, and end where it begins"
    return next((fault for part in value if (fault := _position_fault(part, depth - 1, closed=closed))), "")
