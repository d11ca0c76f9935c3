"""Labels: precision and recall at the rank of species, over all records and per kind of dirt."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from benchmarks.curation.joined import RANKS, Joined, Told

_EXAMPLES = 5


@dataclass(slots=True)
class Labels:
    """Counts of the labels of some records."""

    records: int = 0
    given: int = 0
    """Records with a label at the rank of species."""
    right: int = 0
    """Of these, those with the true species."""
    lineages: int = 0
    """Of the right ones, those with every rank as the taxonomy has it."""
    common: int = 0
    """Of the right ones, those with the taxonomy's English common name, or without one where it has none."""
    examples: list[str] = field(default_factory=list)
    """The first ones that are wrong or have no label: written name, label, truth."""

    @property
    def precision(self) -> float:
        return self.right / self.given if self.given else 1.0

    @property
    def recall(self) -> float:
        return self.right / self.records if self.records else 1.0

    def add(self, one: Told) -> None:
        self.records += 1
        said, true = one.said_species, one.true_species
        self.given += bool(said)
        if said == true and said:
            self.right += 1
            assert one.said is not None
            self.common += (one.said["common"] or "") == one.true["common_name"]
            self.lineages += all((one.said[rank] or "") == one.true[rank] for rank in RANKS[:6])
        elif len(self.examples) < _EXAMPLES:
            place = f"{one.true['source']}/{one.true['uri']}"
            self.examples.append(
                f"{one.true['written']!r} → {said or _lowest(one) or 'no label'!r}, true {true!r} ({place})"
            )


def _lowest(one: Told) -> str:
    if one.said is None:
        return "not in the catalog"
    return next((f"{rank} {one.said[rank]}" for rank in reversed(RANKS) if one.said[rank]), "")


def count(told: Iterable[Told], when: Callable[[Told], bool] = lambda _: True) -> Labels:
    """Count the labels of the records for which a condition holds."""
    labels = Labels()
    for one in told:
        if when(one):
            labels.add(one)
    return labels


def recoverable(joined: Joined) -> Labels:
    """Count the records whose species can be told by design."""
    return count(joined.told, lambda one: one.true["recoverable"])


def by_kind(joined: Joined) -> dict[str, Labels]:
    """Count the recoverable records of each kind of dirt, and those without any."""
    found: dict[str, Labels] = {}
    for one in joined.told:
        if one.true["recoverable"]:
            for kind in one.kinds or ["no dirt"]:
                found.setdefault(kind, Labels()).add(one)
    return dict(sorted(found.items()))


def by_source(joined: Joined) -> dict[str, Labels]:
    """Count the recoverable records of each source."""
    found: dict[str, Labels] = {}
    for one in joined.told:
        if one.true["recoverable"]:
            found.setdefault(one.true["source"], Labels()).add(one)
    return dict(sorted(found.items()))


def unrecoverable(joined: Joined) -> dict[str, Labels]:
    """Count what is said of records whose species cannot be told, by kind: labels that are given there are guesses."""
    found: dict[str, Labels] = {}
    for one in joined.known():
        if not one.true["recoverable"]:
            for kind in one.kinds:
                found.setdefault(kind, Labels()).add(one)
    return dict(sorted(found.items()))


def hemihomonyms(joined: Joined) -> Labels:
    """Count the recoverable records of genera that two kingdoms share."""
    return count(joined.told, lambda one: one.true["recoverable"] and "hemihomonym" in one.kinds)
