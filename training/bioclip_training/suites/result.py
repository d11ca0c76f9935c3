"""Result of one evaluation set: figures as published and corrected, with intervals, and what was odd."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bioclip_training.evaluation.figures import plain
from bioclip_training.evidence.intervals import Interval

MEASURED, MISSING, FAILED = "measured", "missing", "failed"
_NONE: Interval = (float("nan"), float("nan"))
NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Figure:
    """One measure of a set."""

    name: str
    """What is measured: "zero-shot top-1"."""
    published: float = NAN
    """As the published code computes it, defects included, from 0 to 1; NaN if that code gives none."""
    published_ci95: Interval = _NONE
    corrected: float = NAN
    corrected_ci95: Interval = _NONE
    n: int = 0
    """Images, or answers of tasks, behind it."""
    groups: int = 0
    spread: float = NAN
    """Standard deviation of the published figure over folds or runs."""
    unit: str = "images"
    published_as: str = ""
    """How the published code computes it, if a reader could take it for something else."""
    corrected_as: str = ""
    """What is corrected."""
    note: str = ""
    """Reason for a figure that is missing."""


@dataclass(frozen=True, slots=True)
class SetResult:
    """Outcome of one evaluation set."""

    name: str
    title: str
    status: str
    reason: str = ""
    """Why a set is missing or failed, and what to do."""
    folder: str = ""
    images: int = 0
    failed: int = 0
    classes: int = 0
    groups: int = 0
    grouped_by: str = "image"
    comparable: bool = True
    """False for another size or split than the published set, or other settings: the figures cannot stand beside the papers'."""
    data_id: str = ""
    """sha256 of what was asked: names, classes, parts, targets and bytes of the images."""
    figures: Sequence[Figure] = ()
    findings: Sequence[str] = ()
    """What is odd about its files and settings, with counts and first examples."""
    failures: Sequence[dict[str, Any]] = ()
    """Images that could not be used by stage: ``stage``, ``images``, ``first``."""
    details: dict[str, Any] = field(default_factory=dict)
    """Figures of tasks, attributes or parts."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Options of this set's protocol as used."""

    def figure(self, name: str) -> Figure | None:
        """Return the figure of a name; None without one."""
        return next((figure for figure in self.figures if figure.name == name), None)

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values; NaN becomes null."""
        found: dict[str, Any] = plain(asdict(self))
        return found

    @classmethod
    def from_json(cls, held: dict[str, Any]) -> SetResult:
        """Return a result that :meth:`as_json` gave."""
        figures = tuple(_figure(figure) for figure in held["figures"])
        return cls(**{**held, "figures": figures})


def _figure(held: dict[str, Any]) -> Figure:
    values: dict[str, Any] = {
        name: tuple(NAN if end is None else end for end in value) if isinstance(value, list) else NAN if value is None else value
        for name, value in held.items()
    }  # fmt: skip
    return Figure(**values)
