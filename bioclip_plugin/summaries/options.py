"""Options of the figures of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from bioclip_core.errors import UsageError
from bioclip_core.options import check_options, options_of
from bioclip_core.taxonomy import Rank
from bioclip_plugin.items.deployment_options import DeploymentOptions

FIGURES = ("hours", "dates", "cameras", "effort", "rates", "accumulation", "reviewers")
FORMATS = ("csv", "png", "svg")
DEFAULT_GAP = 30.0
"""Minutes, as most camera-trap studies take it since O'Brien et al. (2003)."""


@dataclass(frozen=True, slots=True)
class FigureOptions:
    """Everything that decides the figures of a run."""

    figures: tuple[str, ...] = field(
        default=(), metadata={"flag": "--figure", "choices": FIGURES, "automatic": "all of them"}
    )
    """Figure to write."""
    formats: tuple[str, ...] = field(
        default=(), metadata={"flag": "--format", "choices": FORMATS, "automatic": "csv, png and svg"}
    )
    """Kind of file to write; csv alone needs no matplotlib."""
    theme: Literal["light", "dark", "both"] = "both"
    """Variant of the pictures."""
    rank: Literal["kingdom", "phylum", "class", "order", "family", "genus", "species"] = "species"
    """Rank of the counted taxa; answers above it are not counted as taxa."""
    events: Literal["gap", "run"] = "gap"
    """Independent events: images of one taxon and camera without a long pause, or the events that the run's rules made."""
    event_gap: float | None = field(
        default=None, metadata={"low": 0, "automatic": f"{DEFAULT_GAP:g}", "metavar": "MINUTES"}
    )
    """Longest pause between two images of one taxon and camera within one event."""
    permutations: int = field(default=200, metadata={"low": 20, "high": 10_000})
    """Number of random orders of camera-days for the accumulation curve."""
    seed: int = field(default=0, metadata={"low": 0})
    """Random seed of these orders."""
    deployments: DeploymentOptions = field(default_factory=DeploymentOptions)
    """Options that say which deployment an image belongs to."""

    def __post_init__(self) -> None:
        check_options(self)
        kind: type = self.__class__
        for option in options_of(kind):
            for value in getattr(self, option.name) if option.multiple else ():
                option.check(value)
        if self.events == "run" and self.event_gap is not None:
            raise UsageError(
                f"event_gap {self.event_gap:g}: the run's own events have their own pause; leave it out, or leave out --events run"
            )

    @property
    def gap_s(self) -> float | None:
        """Longest pause within an event in seconds; None for the run's own events."""
        return None if self.events == "run" else 60 * (DEFAULT_GAP if self.event_gap is None else self.event_gap)

    @property
    def wanted(self) -> tuple[str, ...]:
        """Names of the figures to write, in the order of FIGURES."""
        return tuple(name for name in FIGURES if not self.figures or name in self.figures)

    @property
    def endings(self) -> tuple[str, ...]:
        """Endings of the files to write."""
        return tuple(ending for ending in FORMATS if not self.formats or ending in self.formats)

    @property
    def themes(self) -> tuple[str, ...]:
        """Names of the variants to draw."""
        return ("light", "dark") if self.theme == "both" else (self.theme,)

    @property
    def level(self) -> Rank:
        """The rank of the counted taxa."""
        return Rank(self.rank)

    @property
    def rule_of_events(self) -> str:
        """How images become events, as a sentence for readers."""
        if self.gap_s is None:
            return "Events are those of the run's rules."
        return (
            f"A pause of more than {self.gap_s / 60:g} min between images of one taxon and camera begins a new event."
        )
