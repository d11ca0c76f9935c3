"""Deployments: one camera at one place for a time, the table that describes them, and the one that an image belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from bioclip_plugin.items.clock_shifts import ClockShift

KnownBy = Literal["column", "table", "pattern", "camera", "folder", ""]
"""Reason why an image belongs to a deployment: stated with it, a row of the table of deployments, a pattern, the serial number
of the camera beside others in one folder, or the folder; empty for none."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """One camera at one place for a time."""

    name: str
    latitude: float
    longitude: float
    starts: datetime
    """Aware."""
    ends: datetime
    """Aware."""
    cells: Mapping[str, str]
    """The row of its table, under the column names of Camtrap DP; unknown values are left out."""


@dataclass(frozen=True, slots=True)
class DeploymentRow:
    """One row of a table of deployments."""

    name: str
    line: int
    folders: tuple[str, ...]
    """Names that its folder may have."""
    latitude: float | None = None
    longitude: float | None = None
    starts: datetime | None = None
    """Naive if the table states no offset."""
    ends: datetime | None = None
    zone: str | None = None
    """Time zone of its camera's clock."""
    shift: ClockShift | None = None
    """Correction that is added to its camera's times."""
    cells: Mapping[str, str] | None = None
    """Its cells under the comparable names of their columns."""


@dataclass(frozen=True, slots=True)
class Membership:
    """The deployment that an image belongs to."""

    deployment: str
    """Its name; empty if the image belongs to none."""
    known_by: KnownBy
    group: tuple[str, ...]
    """The stream of images of one camera of the deployment; empty for an image that belongs to no stream."""
    row: DeploymentRow | None = None
    problem: str = ""
    """Reason why a table or a pattern does not decide, in the plural, to be counted."""

    @property
    def is_named(self) -> bool:
        """True if a column, a table or a pattern names the deployment; False if camera and folder stand for it."""
        return self.known_by in ("column", "table", "pattern")


def stamp(moment: datetime) -> str:
    """Return an aware moment in ISO 8601 with its offset and without fractions of a second."""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
