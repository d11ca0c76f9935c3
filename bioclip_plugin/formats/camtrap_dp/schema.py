"""What the tables of Camtrap DP 1.0.2 have: columns in order, types, what is required, what is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "number", "integer", "boolean", "datetime", "any"]

PROFILE_VERSION = "1.0.2"
READ_VERSIONS = ("1.0", "1.0.1", "1.0.2")
"""Versions whose tables have the same columns."""
HOME = "https://raw.githubusercontent.com/tdwg/camtrap-dp"
PROFILE_URL = f"{HOME}/{PROFILE_VERSION}/camtrap-dp-profile.json"
MISSING = frozenset({"", "NA", "NaN", "nan"})
"""Cells that say nothing."""
RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species", "subspecies")
ROLES = ("contact", "principalInvestigator", "rightsHolder", "publisher", "contributor")
SAMPLING_DESIGNS = (
    "simpleRandom", "systematicRandom", "clusteredRandom", "experimental", "targeted", "opportunistic",
)  # fmt: skip
CAPTURE_METHODS = ("activityDetection", "timeLapse")
LEVELS = ("media", "event")
OBSERVATION_TYPES = ("animal", "human", "vehicle", "blank", "unknown", "unclassified")
BOX = ("bboxX", "bboxY", "bboxWidth", "bboxHeight")


def table_schema_url(name: str) -> str:
    """The address that stands for the schema of one of the three tables."""
    return f"{HOME}/{PROFILE_VERSION}/{name}-table-schema.json"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its type and what its cells may be."""

    name: str
    kind: Kind = "text"
    required: bool = False
    least: float | None = None
    most: float | None = None
    allowed: tuple[str, ...] = ()


def _needed(name: str, kind: Kind = "text", *allowed: str) -> Column:
    return Column(name, kind, required=True, allowed=allowed)


_SMALLEST = 1e-15  # what the schema has for "above 0"

DEPLOYMENTS = (
    _needed("deploymentID"),
    Column("locationID"),
    Column("locationName"),
    Column("latitude", "number", True, -90, 90),
    Column("longitude", "number", True, -180, 180),
    Column("coordinateUncertainty", "integer", least=1),
    _needed("deploymentStart", "datetime"),
    _needed("deploymentEnd", "datetime"),
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
)  # fmt: skip

MEDIA = (
    _needed("mediaID"),
    _needed("deploymentID"),
    Column("captureMethod", allowed=CAPTURE_METHODS),
    _needed("timestamp", "datetime"),
    _needed("filePath"),
    _needed("filePublic", "boolean"),
    Column("fileName"),
    _needed("fileMediatype"),
    Column("exifData", "any"),
    Column("favorite", "boolean"),
    Column("mediaComments"),
)

OBSERVATIONS = (
    _needed("observationID"),
    _needed("deploymentID"),
    Column("mediaID"),
    Column("eventID"),
    _needed("eventStart", "datetime"),
    _needed("eventEnd", "datetime"),
    _needed("observationLevel", "text", *LEVELS),
    _needed("observationType", "text", *OBSERVATION_TYPES),
    Column("cameraSetupType", allowed=("setup", "calibration")),
    Column("scientificName"),
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
)

TABLES: Mapping[str, tuple[Column, ...]] = {"deployments": DEPLOYMENTS, "media": MEDIA, "observations": OBSERVATIONS}
"""By the names that their resources must have."""


def names_of(table: str) -> tuple[str, ...]:
    """The names of a table's columns, in their order."""
    return tuple(column.name for column in TABLES[table])
