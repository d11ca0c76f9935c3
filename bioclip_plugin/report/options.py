"""Options of a report."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from bioclip_core.errors import DataError, UsageError
from bioclip_core.files.near_names import near_hint
from bioclip_core.files.present import is_folder
from bioclip_core.findings import Findings
from bioclip_core.tables.options import TableOptions
from bioclip_plugin.contracts.export import Selection
from bioclip_plugin.items.deployment_options import DeploymentOptions


@dataclass(frozen=True, slots=True)
class ReportOptions(TableOptions):
    """Everything that decides the content of a report."""

    selection: Selection = field(default_factory=Selection)
    """Images and regions of the report; without a condition all of them."""
    deployments: DeploymentOptions = field(default_factory=DeploymentOptions)
    """Options that say which deployment an image belongs to."""
    limit: int = field(default=10_000, metadata={"low": 1})
    """Largest number of regions in the gallery; figures are always of all."""
    thumbnail_size: int | None = field(
        default=None,
        metadata={
            "low": 48,
            "high": 1024,
            "metavar": "PIXELS",
            "automatic": "400 up to 500 images, 300 up to 2000, then 200",
        },
    )
    """Longer side of thumbnails."""
    show_people: bool = False
    """Leave people as they are instead of blurring them."""
    coordinate_precision: int | None = field(default=None, metadata={"low": 0, "high": 7, "metavar": "DECIMALS"})
    """Decimals of a degree that coordinates are rounded to: 1 is about 11 km, 2 about 1 km."""
    names: Path | None = None
    """Table of common names, with the columns scientificName, language and vernacularName."""
    language: str | None = None
    """Language of the common names to take from --names, for example de."""
    base_folder: Path | None = field(
        default=None, metadata={"automatic": "the working directory of classify, else the present one"}
    )
    """Folder where relative names of images begin."""
    findings: Findings = field(default_factory=Findings, repr=False, compare=False)
    """What is wrong with the table of names; the command prints it at its end."""
    workers: int | None = field(default=None, metadata={"low": 1, "automatic": "one per core, at most 8"})
    """Number of threads that make thumbnails."""

    def __post_init__(self) -> None:
        TableOptions.__post_init__(self)
        if self.language and self.names is None:
            raise UsageError(
                f"language {self.language!r}: a label set has one common name per taxon in an unstated language; "
                "give a table of names with --names FILE.csv (scientificName, language, vernacularName)"
            )
        if self.base_folder is not None and not is_folder(self.base_folder):
            raise DataError(f"base_folder {self.base_folder}: this folder does not exist{near_hint(self.base_folder)}")

    def size_for(self, images: int) -> int:
        """Return the pixels of a thumbnail's longer side in a report of this number of images."""
        if self.thumbnail_size is not None:
            return self.thumbnail_size
        return 400 if images <= 500 else 300 if images <= 2000 else 200

    @property
    def threads(self) -> int:
        """Number of threads that make thumbnails."""
        return self.workers or min(8, os.cpu_count() or 1)
