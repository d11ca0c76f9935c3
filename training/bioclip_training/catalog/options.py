"""Options of a catalog's build, as one frozen record that is stored with the catalog."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from bioclip_core.options import check_options

IMAGE, FOLDER, BURST = "image", "folder", "burst"
"""Groups that are not of a column. ``burst`` cannot be chosen: it is the default of folder trees and reviews without such a
column, the images of one folder and camera that were taken shortly after each other."""

REFUSE, HELD_OUT, KEEP = "refuse", "held-out", "keep"
"""Decisions about images that one collection trains on and another one holds out."""
ClashingSplits = Literal["refuse", "held-out", "keep"]

DEV_FRACTION = 0.1
"""Share of the groups of ``train`` that becomes ``dev``, for choosing the best step, interpolation and temperature."""
NEAR_DISTANCE = 8
"""Of the 144 bits of a hash. Measured on 990 scans of leaves and 1,302 crops of reef fish: no two scans are within 8 bits (two pairs
within 10) and only frames of one track are, while of copies saved as JPEG of quality 50, at half the size or a tenth brighter nine in ten
differ in 0 to 6 bits, of copies cropped by 1% on each side in 8 to 10."""


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """Options of drawing splits and treating duplicates."""

    val: float = field(default=0.15, metadata={"low": 0, "high": 0.9})
    """Share of the groups that becomes val, among the rows without a split of their own."""
    group_by: str | None = field(
        default=None,
        metadata={
            "metavar": "COLUMN",
            "automatic": "individual, event, occurrence or deployment, the first that a table has",
        },
    )
    """Column whose equal values stay on one side of a split; image: each file alone; folder: the files of a folder."""
    holdout_share: float = field(default=0.0, metadata={"low": 0, "high": 0.9})
    """Share of the species to keep unseen, chosen by a hash of the lineage."""
    holdout_names: tuple[str, ...] = ()
    """Species or higher taxa to keep unseen."""
    near_distance: int = field(default=NEAR_DISTANCE, metadata={"low": 0, "high": 32})
    """Number of bits of 144 in which two near duplicates may differ; 0 finds equal files only."""
    keep_duplicates: bool = False
    """Leave duplicates on both sides of a split; they are only reported."""
    clashing_splits: ClashingSplits = "refuse"
    """Groups in train of one source and held out in another: held-out takes them out of train, keep leaves them as they are."""
    only_resolved: bool = False
    """Skip rows with a name that the taxonomy could not resolve."""
    prefer: tuple[str, ...] = field(default=(), metadata={"metavar": "TABLE"})
    """Source whose labels count before those of others that have equal evidence, the first given before the second."""
    workers: int | None = field(
        default=None, metadata={"low": 1, "high": 1024, "automatic": "one per core, at most 16"}
    )
    """Number of reading threads."""

    def __post_init__(self) -> None:
        check_options(self)

    def as_facts(self) -> dict[str, Any]:
        """Return what is stored with the catalog: all but the number of threads, which changes nothing."""
        return {name: value for name, value in asdict(self).items() if name != "workers"}
