"""The tables of Camtrap DP 1.0.2: columns in order, their types and constraints, and the check of a single cell.

Reader, writer and checker all work from these tables; a test compares them with the schemas of the standard.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Literal
from unicodedata import category

from bioclip_core.errors import DataError
from bioclip_core.files.documents import parse_document

Kind = Literal["string", "number", "integer", "boolean", "datetime", "any"]

PROFILE_VERSION = "1.0.2"
READ_VERSIONS = ("1.0", "1.0.1", "1.0.2")
"""Versions whose tables have the same columns."""
HOME = "https://raw.githubusercontent.com/tdwg/camtrap-dp"
PROFILE_URL = f"{HOME}/{PROFILE_VERSION}/camtrap-dp-profile.json"
MISSING = frozenset({"", "NA", "NaN", "nan"})
"""Cells without a value."""
BOX = ("bboxX", "bboxY", "bboxWidth", "bboxHeight")
_SMALLEST = 1e-15  # the standard's way of saying "above 0"

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\Z", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d+\Z", re.ASCII)
_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)\Z", re.IGNORECASE)
_BOOLEAN = frozenset({"true", "True", "TRUE", "1", "false", "False", "FALSE", "0"})
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)([.,]\d+)?(Z|[+-]\d\d:?\d\d)?\Z", re.ASCII)
_MEDIATYPE = re.compile(r"(image|video|audio)/.+\Z")
_WEB = re.compile(r"https?://[^\s/]+", re.IGNORECASE)
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_NOT_IN_PATHS = (
    ("^[A-Za-z]:", "the path names a drive of one computer; give a path relative to the package, or a web address"),
    (r"^[./~\\]", "must be a relative path that does not begin with '.', '/', '\\' or '~'"),
    (r"\.\.", "'..' is not allowed in a path"),
    (r"\\", "must have forward slashes between folders"),
)
_ABBREVIATED = re.compile(r"(^|\s)[^\W\d_]{1,3}\.(\s|$)")
_QUALIFIED = re.compile(r"\s(cf|aff|sp|spp|indet|nr)\.?(\s|$)", re.IGNORECASE)


def path_fault(cell: str) -> str:
    """Return why a cell is not a file path (relative, forward slashes) or a web address; empty if it is one."""
    if SCHEME.match(cell):
        return "" if _WEB.match(cell) and ".." not in cell else "an address must begin with http:// or https://"
    for pattern, fault in _NOT_IN_PATHS:
        if re.search(pattern, cell):
            return fault
    has_controls = not cell.isprintable() and any(category(letter) in ("Cc", "Cs") for letter in cell)
    return "the path contains a control character" if has_controls else ""


def name_fault(cell: str) -> str:
    """Return why a cell is not a complete scientific name and nothing else; empty if it is one."""
    if _QUALIFIED.search(cell):
        return "the name has a qualifier; give the name of the rank that is certain"
    if _ABBREVIATED.search(cell) and not re.search(r"\s(subsp|ssp|var|f)\.\s", cell):
        return "the name is abbreviated; give the full name"
    return "" if cell == " ".join(cell.split()) else "the name has superfluous white space"


def is_json_object(cell: str) -> bool:
    """True if a cell is a JSON object, as ``exifData`` must be."""
    try:
        parse_document(cell, dict[str, Any], name="")
    except DataError:
        return False
    return True


def _identifier_fault(cell: str) -> str:
    return "" if cell == cell.strip() else "an identifier must not begin or end with white space"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its type and constraints."""

    name: str
    kind: Kind = "string"
    required: bool = False
    least: float | None = None
    most: float | None = None
    allowed: tuple[str, ...] = ()
    check: Callable[[str], str] | None = None
    """Further check of a text: returns the fault, or an empty text."""


_required = partial(Column, required=True)


def _table(*columns: Column) -> Mapping[str, Column]:
    return {column.name: column for column in columns}


TABLES: Mapping[str, Mapping[str, Column]] = {
    "deployments": _table(
        _required("deploymentID", check=_identifier_fault),
        Column("locationID"),
        Column("locationName"),
        Column("latitude", "number", True, -90, 90),
        Column("longitude", "number", True, -180, 180),
        Column("coordinateUncertainty", "integer", least=1),
        _required("deploymentStart", "datetime"),
        _required("deploymentEnd", "datetime"),
        Column("setupBy"),
        Column("cameraID"),
        Column("cameraModel"),
        Column("cameraDelay", "integer", least=0),
        Column("cameraHeight", "number", least=0),
        Column("cameraDepth", "number", least=0),
        Column("cameraTilt", "integer", least=-90, most=90),
        Column("cameraHeading", "integer", least=0, most=360),
        Column("detectionDistance", "number", least=0),
        Column("timestampIssues", "boolean"),
        Column("baitUse", "boolean"),
        Column("featureType", allowed=(
            "roadPaved", "roadDirt", "trailHiking", "trailGame", "roadUnderpass", "roadOverpass", "roadBridge", "culvert",
            "burrow", "nestSite", "carcass", "waterSource", "fruitingTree",
        )),
        Column("habitat"),
        Column("deploymentGroups"),
        Column("deploymentTags"),
        Column("deploymentComments"),
    ),
    "media": _table(
        _required("mediaID", check=_identifier_fault),
        _required("deploymentID", check=_identifier_fault),
        Column("captureMethod", allowed=("activityDetection", "timeLapse")),
        _required("timestamp", "datetime"),
        _required("filePath", check=path_fault),
        _required("filePublic", "boolean"),
        Column("fileName"),
        _required("fileMediatype", check=lambda cell: "" if _MEDIATYPE.match(cell)
                  else "must be the media type of an image, video or sound, such as image/jpeg"),
        Column("exifData", "any"),
        Column("favorite", "boolean"),
        Column("mediaComments"),
    ),
    "observations": _table(
        _required("observationID", check=_identifier_fault),
        _required("deploymentID", check=_identifier_fault),
        Column("mediaID", check=_identifier_fault),
        Column("eventID", check=_identifier_fault),
        _required("eventStart", "datetime"),
        _required("eventEnd", "datetime"),
        _required("observationLevel", allowed=("media", "event")),
        _required("observationType", allowed=("animal", "human", "vehicle", "blank", "unknown", "unclassified")),
        Column("cameraSetupType", allowed=("setup", "calibration")),
        Column("scientificName", check=name_fault),
        Column("count", "integer", least=1),
        Column("lifeStage", allowed=("adult", "subadult", "juvenile")),
        Column("sex", allowed=("female", "male")),
        Column("behavior"),
        Column("individualID"),
        Column("individualPositionRadius", "number", least=0),
        Column("individualPositionAngle", "number", least=-90, most=90),
        Column("individualSpeed", "number", least=0),
        Column("bboxX", "number", least=0, most=1),
        Column("bboxY", "number", least=0, most=1),
        Column("bboxWidth", "number", least=_SMALLEST, most=1),
        Column("bboxHeight", "number", least=_SMALLEST, most=1),
        Column("classificationMethod", allowed=("human", "machine")),
        Column("classifiedBy"),
        Column("classificationTimestamp", "datetime"),
        Column("classificationProbability", "number", least=0, most=1),
        Column("observationTags"),
        Column("observationComments"),
    ),
}  # fmt: skip
"""The three tables by the names of their resources: columns by name, in the standard's order."""


def table_schema_url(name: str) -> str:
    """Return the address by which a descriptor names the standard's schema of a table."""
    return f"{HOME}/{PROFILE_VERSION}/{name}-table-schema.json"


def fault_of(column: Column, cell: str) -> str:
    """Return the fault of a cell, empty if it is good.

    Stricter than the standard's schema, where a number written as NaN counts as a missing value.
    """
    is_numeric = column.kind in ("number", "integer")
    if is_numeric and _NOT_FINITE.match(cell.strip()):
        return "must be a finite number; leave the cell empty if the value is unknown"
    if cell in MISSING:
        return "the cell is required" if column.required else ""
    if column.allowed and cell not in column.allowed:
        return f"must be one of {', '.join(column.allowed)}"
    if is_numeric:
        return _number_fault(column, cell)
    if column.kind == "boolean":
        return "" if cell in _BOOLEAN else "must be true or false"
    if column.kind == "datetime":
        return _moment_fault(cell)
    return column.check(cell) if column.check else ""


def _number_fault(column: Column, cell: str) -> str:
    pattern, expected = (_NUMBER, "a number") if column.kind == "number" else (_INTEGER, "a whole number")
    if not pattern.match(cell) or not math.isfinite(float(cell)):
        return f"must be {expected}"
    if column.least is not None and float(cell) < column.least:
        return "must be more than 0" if column.least == _SMALLEST else f"must be {column.least:g} or more"
    if column.most is not None and float(cell) > column.most:
        return f"must be {column.most:g} or less"
    return ""


def _moment_fault(cell: str) -> str:
    match = _MOMENT.match(cell)
    if match is None:
        return "must be a date and time such as 2020-05-30T04:57:37+02:00"
    if match[3]:
        return "fractions of a second are not allowed"
    if match[4] is None:
        return "the offset from UTC is missing; add Z, or an offset such as +02:00"
    try:
        datetime.fromisoformat(cell)
    except ValueError as error:
        return f"this date and time does not exist ({error})"
    return ""
