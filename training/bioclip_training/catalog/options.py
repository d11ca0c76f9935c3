"""What decides a catalog beside its sources, as one frozen record that is stored with it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from bioclip_core.errors import UsageError
from bioclip_training.catalog.duplicates import NEAR_DISTANCE

IMAGE, FOLDER, BURST = "image", "folder", "burst"
"""What ``group_by`` takes beside a column's name; ``burst`` is what folder trees and reviews have where nothing is said: the
images of one folder and camera that were taken shortly after each other."""


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How splits are drawn and duplicates are treated."""

    val: float = 0.15
    """Share of the groups that becomes ``val``, of the rows that have no split of their own."""
    group_by: str | None = None
    """The column whose equal values belong together; or ``image`` (each file alone), ``folder`` (its files); None: chosen a source."""
    holdout_share: float = 0.0
    """Share of the species that is kept unseen, chosen by hash of the lineage."""
    holdout_names: tuple[str, ...] = ()
    """Species or higher taxa that are kept unseen."""
    near_distance: int = NEAR_DISTANCE
    """Bits of 144 in which two near duplicates may differ; 0 looks at equal files only."""
    keep_duplicates: bool = False
    """Leave duplicates on both sides of a split (they are reported)."""
    only_resolved: bool = False
    """Leave out rows whose name the taxonomy could not resolve."""
    workers: int = 0
    """Reading threads; 0 is one a core, at most 16."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("val", 0, 0.9),
            ("holdout_share", 0, 0.9),
            ("near_distance", 0, 32),
            ("workers", 0, 1024),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise UsageError(f"{name} {value}: allowed is {low} to {high}")

    @property
    def threads(self) -> int:
        return self.workers or min(16, os.cpu_count() or 1)

    def as_facts(self) -> dict[str, Any]:
        """What is stored with the catalog; not the number of threads, which changes nothing."""
        return {
            "val": self.val,
            "group_by": self.group_by,
            "holdout_share": self.holdout_share,
            "holdout_names": list(self.holdout_names),
            "near_distance": self.near_distance,
            "keep_duplicates": self.keep_duplicates,
            "only_resolved": self.only_resolved,
        }
