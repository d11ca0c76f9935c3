"""Rule ``thresholds``: the probability that an answer needs, rank by rank."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bioclip_core.classify import is_plain_label
from bioclip_core.labels.label_set import LABEL
from bioclip_core.taxonomy import RANKS
from bioclip_plugin.contracts.rule import Rule, Ruling, Subject

_MOST_SPECIFIC_FIRST = ("label", "group", *reversed([rank.value for rank in RANKS]))


def _needed(what: str) -> Any:
    return field(default=None, metadata={"what": f"Probability that {what} needs.", "above": 0, "high": 1})


@dataclass(frozen=True, slots=True)
class ThresholdSettings:
    """Probabilities by rank; a rank without one needs the threshold of the run."""

    species: float | None = _needed("a species")
    genus: float | None = _needed("a genus")
    family: float | None = _needed("a family")
    order: float | None = _needed("an order")
    class_: float | None = _needed("a class")
    phylum: float | None = _needed("a phylum")
    kingdom: float | None = _needed("a kingdom")
    label: float | None = _needed("a label of your own")
    group: float | None = _needed("a group of your own labels")


class Thresholds(Rule):
    """Answers with the most specific rank whose best candidate reaches the probability of that rank, else with unknown."""

    name = "thresholds"
    description = "A probability per rank: the most specific rank that reaches its own is the answer, else unknown."
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
            best = next(
                (one for one in subject.by_rank.get(rank, ()) if one.rank == rank or is_plain_label(one, rank)), None
            )
            if best is not None and best.rank == LABEL != rank:  # a plain label stands at the level of species
                needed = subject.threshold if self.settings.label is None else self.settings.label
            if best is not None and best.probability >= needed:
                if subject.decided.candidate == best:
                    return None
                return Ruling("taxon", best, "answered at its rank", f"{best.rank} needs {needed:g}")
        if subject.decided.verdict == "unknown":
            return None
        return Ruling("unknown", None, "made unknown", "no rank reaches its own threshold")
