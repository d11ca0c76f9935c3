"""Options of a plan."""

from __future__ import annotations

from dataclasses import dataclass, field

from bioclip_core.options import check_options


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """What is measured before a long run."""

    plan: bool = False
    """Work on a sample of the images, say how long the run would take, how much space it needs and what holds it up, and store
    nothing."""
    plan_images: int = field(default=100, metadata={"low": 1, "high": 100_000})
    """Images in the sample of --plan."""

    def __post_init__(self) -> None:
        check_options(self)
