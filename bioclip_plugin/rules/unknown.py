"""Rule ``unknown``: what is too unsure, or too general, is said to be unknown."""

from __future__ import annotations

from dataclasses import dataclass, field

from bioclip_core.errors import UsageError
from bioclip_core.taxonomy import RANKS, Rank
from bioclip_plugin.contracts.rule import Rule, Ruling, Subject
from bioclip_plugin.rules.settings import check_probability

_RANKS = tuple(rank.value for rank in RANKS)


@dataclass(frozen=True, slots=True)
class UnknownSettings:
    """When an answer is none."""

    below: float | None = field(
        default=None, metadata={"what": "Probability below which an answer is unknown; without it the run's threshold."}
    )
    rank: str = field(default="kingdom", metadata={"what": "The most general rank that still is an answer."})

    def __post_init__(self) -> None:
        check_probability("rule unknown: below", self.below)
        if self.rank not in _RANKS:
            raise UsageError(f"rule unknown: rank={self.rank}: allowed are {', '.join(_RANKS)}")


class Unknown(Rule):
    """Says unknown, with the best guess in the trail, where the answer is too unsure or too general."""

    name = "unknown"
    description = "Below a probability, or above a rank, the answer is unknown; the best guess stands in the trail."
    order = 90
    settings_type = UnknownSettings

    def decide(self, subject: Subject) -> Ruling | None:
        decided = subject.decided
        if not subject.classified or decided.verdict not in ("taxon", "unknown"):
            return None
        needed = self.settings.below or subject.threshold
        found = decided.candidate
        if found is not None and found.probability < needed:
            return self._unknown(subject, f"{found.probability:.3f} is below {needed:g}")
        if found is not None and found.rank in _RANKS and Rank(found.rank).depth < Rank(self.settings.rank).depth:
            return self._unknown(subject, f"{found.rank} is more general than {self.settings.rank}")
        if found is None:
            return self._unknown(subject, f"nothing reaches {needed:g}")
        return None

    def _unknown(self, subject: Subject, why: str) -> Ruling:
        best = subject.candidates[0] if subject.candidates else None
        guess = {"best": best.name, "probability": round(best.probability, 4)} if best else {}
        return Ruling("unknown", None, "made unknown", why, guess)
