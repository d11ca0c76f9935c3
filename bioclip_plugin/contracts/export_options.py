"""What an export is told, whatever its format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bioclip_core.errors import UsageError


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """The options of ``export``; a format that has no use for one leaves it alone."""

    time_zone: str | None = None
    """Of capture times without an offset: a name such as ``Europe/Brussels``, or ``+02:00``."""
    coordinate_precision: int | None = None
    """Decimals of a degree that places are rounded to; None: as they are."""
    language: str | None = None
    """Of common names, as ``en``; None: those of the label set."""
    deployments: Path | None = None
    """A table of deployments: ``deploymentID``, ``latitude``, ``longitude``, ``deploymentStart``, ``deploymentEnd`` and more."""
    base_folder: Path | None = None
    """The folder that the names of files are relative to; None: the deepest one that holds them all."""
    title: str | None = None
    contributor: str | None = None
    licence: str | None = None
    """Of data and media, as an SPDX identifier or an address."""
    show_people: bool = False
    """False marks images of people as not public."""
    top: int = 5
    """Candidates a region."""
    ledger: Path | None = None
    """A file that remembers what was exported before, so that only changes go out."""

    def __post_init__(self) -> None:
        if self.coordinate_precision is not None and not 0 <= self.coordinate_precision <= 7:
            raise UsageError(
                f"coordinate_precision {self.coordinate_precision}: allowed are 0 to 7 decimals of a degree"
            )
        if self.top < 1:
            raise UsageError(f"top {self.top}: allowed are whole numbers from 1")
