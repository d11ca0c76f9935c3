"""One card of the report's gallery."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bioclip_core.classify import Candidate
from bioclip_plugin.items.media import Region
from bioclip_plugin.report.decisions import Decided
from bioclip_plugin.store.records import Review

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, slots=True)
class Entry:
    """One card of the gallery: a region, or an image in which a detector found nothing."""

    region: Region | None
    answer: Decided
    candidates: tuple[Candidate, ...]
    """The model's own best few, most probable first."""
    flags: tuple[str, ...] = ()
    event: str | None = None
    reviews: tuple[Review, ...] = ()
    """What people said of it: of its event, its image, the region itself; the last one counts."""
    agreement: str = ""

    @property
    def probability(self) -> float | None:
        """Of the taxon that was decided on, else of the best candidate."""
        best = self.answer.candidate or (self.candidates[0] if self.candidates else None)
        return best.probability if best else None
