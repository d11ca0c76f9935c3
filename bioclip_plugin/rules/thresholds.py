"""Rule ``thresholds``: the probability that an answer needs, rank by rank."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from bioclip_core.taxonomy import RANKS
from bioclip_plugin.contracts.rule import Rule, Ruling, Subject
from bioclip_plugin.rules.settings import check_probability

_MOST_SPECIFIC_FIRST = ("label", "group", *reversed([rank.value for rank in RANKS]))


@dataclass(frozen=True, slots=True)
class ThresholdSettings:
    """A rank that is not given needs the run's own threshold."""

    species: float | None = field(default=None, metadata={"what": "Probability that a species needs."})
    genus: float | None = field(default=None, metadata={"what": "Probability that a genus needs."})
    family: float | None = field(default=None, metadata={"what": "Probability that a family needs."})
    order: float | None = field(default=None, metadata={"what": "Probability that an order needs."})
    class_: float | None = field(default=None, metadata={"what": "Probability that a class needs."})
    phylum: float | None = field(default=None, metadata={"what": "Probability that a phylum needs."})
    kingdom: float | None = field(default=None, metadata={"what": "Probability that a kingdom needs."})
    label: float | None = field(default=None, metadata={"what": "Probability that a label of your own needs."})
    group: float | None = field(default=None, metadata={"what": "Probability that a group of your own labels needs."})

    def __post_init__(self) -> None:
        for one in fields(self):
            check_probability(f"rule thresholds: {one.name}", getattr(self, one.name))


class Thresholds(Rule):
    """The most specific rank whose best candidate reaches what that rank needs; unknown where none does."""

    name = "thresholds"
    description = "A probability a rank: the most specific rank that reaches its own is the answer, else unknown."
    order = 10
    settings_type = ThresholdSettings

    def __init__(self, settings: ThresholdSettings) -> None:
        super().__init__(settings)
        self._needed = [
            (rank, getattr(settings, "class_" if rank == "class" else rank)) for rank in _MOST_SPECIFIC_FIRST
        ]

    def decide(self, subject: Subject) -> Ruling | None:
        if not subject.classified:
            return None
        for rank, own in self._needed:
            needed = subject.threshold if own is None else own
            best = next((one for one in subject.by_rank.get(rank, ()) if one.rank == rank), None)
            if best is not None and best.probability >= needed:
                if subject.decided.candidate is best or subject.decided.candidate == best:
                    return None
                return Ruling("taxon", best, "answered at its rank", f"{rank} needs {needed:g}")
        if subject.decided.verdict == "unknown":
            return None
        return Ruling("unknown", None, "made unknown", "no rank reaches its own threshold")
