"""Features to names: probabilities over a label set, reduced to the best candidates at every rank and a consensus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bioclip_core.taxonomy import Taxon


@dataclass(frozen=True, slots=True)
class Candidate:
    """One taxon and the probability that its labels add up to."""

    taxon: Taxon
    rank: str
    """The taxon's own rank; ``label`` or ``group`` for custom labels."""
    probability: float

    @property
    def name(self) -> str:
        """The scientific name, or a custom label's own words."""
        return self.taxon.scientific_name or self.taxon.common_name

    def as_dict(self) -> dict[str, Any]:
        """``scientific_name``, ``rank``, ``probability``, the seven ranks and ``common_name``."""
        return {"scientific_name": self.name, "rank": self.rank, "probability": self.probability, **self.taxon.as_dict()}
