"""A measured number with its interval, its chance level, and what it was measured on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.nouns import number_of
from bioclip_training.evidence.intervals import Interval
from bioclip_training.evidence.minima import FEWEST_TO_CHOOSE

NOT_A_NUMBER = float("nan")
NO_INTERVAL: Interval = (NOT_A_NUMBER, NOT_A_NUMBER)


@dataclass(frozen=True, slots=True)
class Hits:
    """Observations whose mean is a number: the same ones of another model can be subtracted one by one."""

    values_P: NDArray[np.float64]
    """From 0 to 1; NaN is not an observation."""
    unit_P: NDArray[np.int64]
    weights_P: NDArray[np.float64] | None = None
    reach: float = 1.0
    """What a value of 1 stands for."""


@dataclass(frozen=True, slots=True)
class Replicates:
    """Values of a statistic without each block of units: those of another model can be subtracted block by block."""

    whole: float
    without_B: NDArray[np.float64]
    unit_P: NDArray[np.int64]
    """Unit of each point; equal ones are joined into equal blocks."""

    def times(self, factor: float) -> Replicates:
        return Replicates(factor * self.whole, factor * self.without_B, self.unit_P)


Sample = Hits | Replicates


@dataclass(frozen=True, slots=True)
class Measure:
    """One number about a feature space."""

    value: float
    """NaN if there is none; ``reason`` says why."""
    ci95: Interval = NO_INTERVAL
    """95% interval over independent units; NaN if there are too few of them."""
    chance: float = NOT_A_NUMBER
    """The value that features without the measured structure have; NaN if it has no such value."""
    p: float = NOT_A_NUMBER
    """One-sided p of a permutation test against chance; NaN if none was made."""
    n: int = 0
    """Number of things that the number is over: species, images or pairs, as ``of`` says."""
    of: str = "species"
    units: float = 0.0
    """Effective number of independent units behind the interval (Kish 1965)."""
    unit: str = "species"
    """Name of a unit: species, genus, family, group."""
    reason: str = ""
    """Why there is no value, or no interval, as a sentence; empty if there are both."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """Figures beside it, by name."""
    samples: Mapping[str, Sample] = field(default_factory=dict, compare=False, repr=False)
    """What differences of two models are made of: under an empty name of the value, else of a figure of ``more``."""

    @property
    def is_missing(self) -> bool:
        return math.isnan(self.value)

    @property
    def can_conclude(self) -> bool:
        """True if the units are enough to conclude anything: 20 effective ones, as for every choice in this project."""
        return not self.is_missing and not math.isnan(self.ci95[0]) and self.units >= FEWEST_TO_CHOOSE - 1e-6

    @property
    def differs_from_chance(self) -> bool | None:
        """True if the interval excludes chance; None if nothing can be concluded."""
        if not self.can_conclude or math.isnan(self.chance):
            return None
        return not self.ci95[0] <= self.chance <= self.ci95[1]

    @property
    def caution(self) -> str:
        """A sentence if nothing can be concluded from the number, else empty."""
        if self.is_missing:
            return self.reason
        if self.can_conclude:
            return ""
        units = number_of(round(self.units), self.unit, plural(self.unit))
        few = f"{units} count as independent, and a conclusion takes {FEWEST_TO_CHOOSE}"
        return f"no conclusion: {self.reason or few}"

    def without(self, reason: str) -> Measure:
        """Return it without its interval, for a reason."""
        return replace(self, ci95=NO_INTERVAL, reason=reason)

    def as_dict(self) -> dict[str, Any]:
        """Return nested values for JSON; NaN is left to the writer."""
        return {
            "value": self.value, "ci95": list(self.ci95), "chance": self.chance, "p": self.p, "n": self.n, "of": self.of,
            "units": self.units, "unit": self.unit, "can_conclude": self.can_conclude, "reason": self.reason, **self.more,
        }  # fmt: skip


def missing(reason: str, **known: Any) -> Measure:
    """Return a measure without a value, for a reason."""
    return Measure(NOT_A_NUMBER, reason=reason, **known)


def plural(unit: str) -> str:
    """Return the plural of a rank, or of another unit."""
    irregular = {"species": "species", "genus": "genera", "family": "families", "class": "classes", "phylum": "phyla"}
    return irregular.get(unit, f"{unit}s")
