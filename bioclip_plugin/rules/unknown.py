"""Rule ``unknown``: an answer that is too unsure, or too general, becomes unknown."""

from __future__ import annotations

from dataclasses import dataclass, field

from bioclip_core.taxonomy import RANKS, Rank
from bioclip_plugin.contracts.rule import Rule, Ruling, Subject

_RANKS = tuple(rank.value for rank in RANKS)


@dataclass(frozen=True, slots=True)
class UnknownSettings:
    """Limits below which an answer becomes unknown."""

    below: float | None = field(
        default=None,
        metadata={"what": "Probability below which an answer is unknown; without it the run's threshold.", "above": 0, "high": 1},
    )  # fmt: skip
    rank: str = field(
        default="kingdom", metadata={"what": "The most general rank that still is an answer.", "choices": _RANKS}
    )


class Unknown(Rule):
    """Decides unknown, with the best guess in the trail, for an answer that is too unsure or too general."""

    name = "unknown"
    description = "Below a probability, or above a rank, the answer is unknown; the best guess stays in the trail."
    order = 90
    settings_type = UnknownSettings

    def decide(self, subject: Subject) -> Ruling | None:
        decided = subject.decided
        if not subject.classified or decided.verdict not in ("taxon", "unknown"):
            return None
        needed, found = self.settings.below or subject.threshold, decided.candidate
        if found is None:
            why = f"nothing reaches {needed:g}"
        elif found.probability < needed:
            why = f"{found.probability:.3f} is below {needed:g}"
        elif found.rank in _RANKS and Rank(found.rank).depth < Rank(self.settings.rank).depth:
            why = f"{found.rank} is more general than {self.settings.rank}"
        else:
            return None
        best = subject.candidates[0] if subject.candidates else None
        guess = {"best": best.name, "probability": round(best.probability, 4)} if best else {}
        return Ruling("unknown", None, "made unknown", why, guess)
