"""Deployments: one camera at one place for a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


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


def stamp(moment: datetime) -> str:
    """Return an aware moment in ISO 8601 with its offset and without fractions of a second."""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
