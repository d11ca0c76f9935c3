"""Results of a run: answers with their candidates and consensus, and failures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bioclip_core.classify import Candidate
from bioclip_plugin.items.media import MediaItem, Region

DETECT_STAGE = "detect"
"""The stage of failures of the detector."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Reason why an item does not have an answer."""

    stage: str
    """``list``, ``read``, ``open``, ``decode``, ``detect``, ``encode``, ``classify`` or ``store``."""
    reason: str
    """A sentence for the user."""


@dataclass(frozen=True, slots=True)
class RegionAnswer:
    """The answer for one region (None: the whole image)."""

    region: Region | None
    candidates: tuple[Candidate, ...]
    """Most probable first, at the rank that was asked for."""
    consensus: Candidate | None
    """The most specific taxon whose summed probability reaches the threshold; None if none does."""
    flags: tuple[str, ...] = ()
    """``prior_ignored`` if every candidate was impossible at the item's place."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Result of one item: one answer per region, or a failure."""

    item: MediaItem
    regions: tuple[RegionAnswer, ...] = ()
    failure: Failure | None = None

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """The first region's candidates, most probable first; empty for a failure."""
        return self.regions[0].candidates if self.regions else ()

    @property
    def consensus(self) -> Candidate | None:
        """The first region's consensus."""
        return self.regions[0].consensus if self.regions else None

    @property
    def best(self) -> Candidate | None:
        """The most probable candidate of the first region; None for a failure."""
        return self.candidates[0] if self.candidates else None

    def as_dicts(self) -> list[dict[str, Any]]:
        """Return the objects that ``--json`` prints: one per region, or one for the failure."""
        named = {"uri": self.item.uri, "frame": self.item.frame}
        if self.failure is not None:
            return [{**named, "failure": {"stage": self.failure.stage, "reason": self.failure.reason}}]
        return [
            {
                **named,
                "region": region.region.xywh if region.region else None,
                "candidates": [candidate.as_dict() for candidate in region.candidates],
                "consensus": region.consensus.as_dict() if region.consensus else None,
            }
            for region in self.regions
        ]
