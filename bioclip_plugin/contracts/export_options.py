"""Options of an export in any format."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bioclip_core.options import check_options
from bioclip_plugin.items.deployment_options import DeploymentOptions
from bioclip_plugin.items.time_zones import zone_of

RowUnit = Literal["region", "image", "event"]
"""The subject of one row of a table."""
FolderUnit = Literal["taxon", "kingdom", "phylum", "class", "order", "family", "genus", "species"]
"""The name of a folder of images: the decided taxon, or its name at a rank."""
LinkKind = Literal["symlink", "hardlink", "copy"]
"""The way in which a folder has an image."""


@dataclass(frozen=True, slots=True)
class ExportOptions(DeploymentOptions):
    """Options of ``export``; those that a format does not use are reported or refused."""

    time_zone: str | None = field(default=None, metadata={"check": zone_of})
    """Time zone of capture times without an offset: Europe/Brussels, or +02:00."""
    coordinate_precision: int | None = field(default=None, metadata={"low": 0, "high": 7})
    """Decimals of a degree that coordinates are rounded to: 1 is about 11 km, 2 about 1 km."""
    language: str | None = None
    """Language of common names, such as en.

    None: the common names of the label set.
    """
    base_folder: Path | None = field(default=None, metadata={"automatic": "the deepest common folder"})
    """Folder that the names of files are relative to."""
    title: str | None = None
    """Title of a package."""
    contributor: str | None = None
    """Contributor of a package: a person or an institution."""
    licence: str | None = None
    """Licence of the data and media in a package, such as CC-BY-4.0.

    An SPDX identifier or an address.
    """
    show_people: bool = False
    """Do not mark images of people as not public."""
    top: int = field(default=5, metadata={"low": 1})
    """Number of candidates per region."""
    per: RowUnit = "region"
    """Subject of one row of a table: a region, an image, or an event."""
    keep_columns: tuple[str, ...] = field(default=(), metadata={"metavar": "NAME,..."})
    """Columns of the source that a table has too; * keeps all of them."""
    folders_by: FolderUnit = "taxon"
    """Name of the folders of `folders`: the decided taxon, or its name at a rank."""
    link: LinkKind = "symlink"
    """Links of `folders` to the images, or copies of them; originals are never moved."""
    ledger: Path | None = None
    """File that remembers what was exported, so that only changes are written."""

    def __post_init__(self) -> None:
        check_options(self)
