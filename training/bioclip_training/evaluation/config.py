"""Everything that decides an evaluation, as one frozen record that is stored with its figures."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from bioclip_core.captions import Caption
from bioclip_core.errors import UsageError
from bioclip_core.taxonomy import RANKS
from bioclip_training.catalog.rows import TEXT_COLUMNS

SHOTS = (1, 5)
"""Support images a taxon in few-shot classification, as in the BioCLIP papers."""


@dataclass(frozen=True, slots=True)
class EvaluationConfig:
    """An evaluation. The same settings, catalog and weights give the same figures."""

    data: str
    """A catalog (``.parquet``)."""
    model: str
    """A registered name, ``hf-hub:ORG/NAME``, ``local-dir:FOLDER``, or a weight file."""
    output: str
    """The report's folder; written whole or not at all."""
    splits: tuple[str, ...] = ("val",)
    """Parts of the catalog, together: words of its ``split`` column, ``dev``, or ``all``."""
    labels: str | None = None
    """A label set's folder; None is every taxon of the catalog, all splits."""
    words: tuple[str, ...] = ()
    """Custom labels instead of taxa."""
    groups: tuple[str, ...] = ()
    """The group of each custom label; none where there are no groups."""
    truth_column: str = "common_name"
    """The catalog's column that says which custom label is right."""
    caption: str = Caption.TAXONOMIC.value
    """What the text tower reads where the labels are made of the catalog."""
    device: str = "auto"
    precision: str = "auto"
    batch_size: int | None = None
    """Regions encoded at once; None: 16 on a CPU, 128 on a GPU."""
    workers: int | None = None
    """Decoding threads; None: one a core, at most 16."""
    few_shot: bool = True
    """Also classify by 1 and by 5 example images of each taxon."""
    draws: int = 5
    """How often the example images are drawn anew."""
    threshold: float = 0.65
    """The summed probability that a consensus needs."""
    resamples: int = 1000
    """Bootstrap resamples behind each interval."""
    seed: int = 0
    """Of the resamples and the draws."""
    compare: str | None = None
    """The folder of another evaluation, compared image by image."""
    force: bool = False
    """Replace ``output`` if it exists."""

    def __post_init__(self) -> None:
        if not self.splits:
            raise UsageError("split: give at least one part of the catalog, for example val")
        if self.labels and self.words:
            raise UsageError("labels and words of your own were both given; an evaluation has one kind of label")
        if not (math.isfinite(self.threshold) and 0 < self.threshold <= 1):
            raise UsageError(f"threshold {self.threshold}: allowed is a probability above 0 and at most 1")
        if self.caption not in {kind.value for kind in Caption}:
            raise UsageError(f"caption {self.caption!r}: allowed are {', '.join(kind.value for kind in Caption)}")
        allowed = (*(rank.value for rank in RANKS), *TEXT_COLUMNS[8:])
        if self.truth_column not in allowed:
            raise UsageError(f"truth column {self.truth_column!r}: allowed are {', '.join(allowed)}")
        for name, least in (("draws", 1), ("resamples", 100), ("batch_size", 1), ("workers", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UsageError(f"{name} {value}: allowed are whole numbers from {least}")

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
