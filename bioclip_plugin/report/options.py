"""What a report is asked for."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from bioclip_core.errors import UsageError
from bioclip_plugin.contracts.export import Selection

DEFAULT_LIMIT = 10_000
SMALLEST, LARGEST = 48, 1024  # pixels of a thumbnail's longer side
FINEST_COORDINATES = 7  # decimals of a degree: a centimetre


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """Everything that decides what a report holds."""

    selection: Selection = field(default_factory=Selection)
    """Which images and regions; nothing set means all."""
    limit: int = DEFAULT_LIMIT
    """At most so many regions in the gallery; the figures are of all."""
    thumbnail_size: int | None = None
    """Pixels of a thumbnail's longer side; None: 400 to 200, the fewer images the larger."""
    show_people: bool = False
    """Leave people as they are instead of blurring them."""
    coordinate_precision: int | None = None
    """Decimals of a degree that coordinates are rounded to; None: as they are."""
    names: Path | None = None
    """A table of common names: scientificName, language, vernacularName."""
    language: str | None = None
    """Whose common names are shown, as ``names`` writes it."""
    base_folder: Path | None = None
    """Where relative names of images begin; None: the working directory."""
    workers: int | None = None
    """Threads that make thumbnails; None: one a core, at most 8."""

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise UsageError(f"limit {self.limit}: allowed are whole numbers from 1")
        if self.thumbnail_size is not None and not SMALLEST <= self.thumbnail_size <= LARGEST:
            raise UsageError(f"thumbnail_size {self.thumbnail_size}: allowed are {SMALLEST} to {LARGEST} pixels")
        precision = self.coordinate_precision
        if precision is not None and not 0 <= precision <= FINEST_COORDINATES:
            raise UsageError(f"coordinate_precision {precision}: allowed are 0 to {FINEST_COORDINATES} decimals")
        if self.language and self.names is None:
            raise UsageError(
                f"language {self.language!r}: a label set has one common name a taxon and does not say in which language; "
                "give a table of names with --names FILE.csv (scientificName, language, vernacularName)"
            )
        if self.base_folder is not None and not self.base_folder.is_dir():
            raise UsageError(f"base_folder {self.base_folder}: there is no such folder")

    def size_for(self, images: int) -> int:
        """Pixels of a thumbnail's longer side in a report of so many images."""
        if self.thumbnail_size is not None:
            return self.thumbnail_size
        return 400 if images <= 500 else 300 if images <= 2000 else 200

    @property
    def threads(self) -> int:
        """Threads that make thumbnails."""
        return self.workers or min(8, os.cpu_count() or 1)
