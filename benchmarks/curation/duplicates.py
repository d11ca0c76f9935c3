"""Duplicates: pairs of equal bytes and of near images that are found, left, and falsely found."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import combinations

from benchmarks.curation.joined import Joined, Told

_EXAMPLES = 5


@dataclass(slots=True)
class Pairs:
    """Counts of pairs of records."""

    planted: int = 0
    found: int = 0
    false: int = 0
    """Pairs that are found, and are not of one picture."""
    examples: list[str] = field(default_factory=list)
    """The first planted pairs that are not found."""

    @property
    def recall(self) -> float:
        return self.found / self.planted if self.planted else 1.0

    @property
    def precision(self) -> float:
        return self.found / (self.found + self.false) if self.found + self.false else 1.0


def exact(joined: Joined) -> Pairs:
    """Count pairs of equal bytes. A found pair of equal pictures that a format stores as pixels is not a mistake."""
    return _pairs(_readable(joined), lambda one: one.true["sha256"], "exact_group")


def near(joined: Joined) -> Pairs:
    """Count pairs of records whose images were made of one picture, equal ones included."""
    return _pairs(_readable(joined), lambda one: one.true["original"], "near_group")


def near_by_kind(joined: Joined) -> dict[str, Pairs]:
    """Count the pairs of an original with each kind of changed copy."""
    found: dict[str, Pairs] = {}
    groups = _groups(_readable(joined), lambda one: one.true["original"])
    for members in groups.values():
        for one, other in combinations(members, 2):
            if one.true["sha256"] == other.true["sha256"]:
                continue
            for kind in _reasons(one) | _reasons(other):
                pairs = found.setdefault(kind, Pairs())
                pairs.planted += 1
                pairs.found += _said(one, "near_group") == _said(other, "near_group")
    return dict(sorted(found.items()))


def _reasons(one: Told) -> set[str]:
    return {kind for kind in one.kinds if kind.startswith("near_")} or {
        kind for kind in one.kinds if kind in ("copy_across_sources", "leak_near", "leak_image", "conflicting_labels")
    }


def false_drops(joined: Joined) -> list[Told]:
    """Return the records that were left out in favour of another picture."""
    return [
        one
        for one in joined.known()
        if (kept := joined.by_key.get(_said(one, "duplicate_of"))) is not None
        and kept.true["original"] != one.true["original"]
    ]


def left(joined: Joined) -> int:
    """Return how many records are in a split beside another one of the same picture, beyond the first of each."""
    counts = Counter(one.true["original"] for one in joined.known() if one.is_kept and one.true["state"] == "whole")
    return sum(number - 1 for number in counts.values())


def _readable(joined: Joined) -> list[Told]:
    return [one for one in joined.known() if one.true["state"] in ("whole", "unlisted")]


def _said(one: Told, column: str) -> str:
    return (one.said or {}).get(column) or ""


def _groups(told: Iterable[Told], of: Callable[[Told], object]) -> dict[object, list[Told]]:
    groups: dict[object, list[Told]] = defaultdict(list)
    for one in told:
        groups[of(one)].append(one)
    return groups


def _pairs(told: list[Told], of: Callable[[Told], object], column: str) -> Pairs:
    pairs = Pairs()
    for members in _groups(told, of).values():
        for one, other in combinations(members, 2):
            pairs.planted += 1
            if _said(one, column) and _said(one, column) == _said(other, column):
                pairs.found += 1
            elif len(pairs.examples) < _EXAMPLES:
                pairs.examples.append(
                    " and ".join(f"{each.true['source']}/{each.true['uri']}" for each in (one, other))
                )
    for group, members in _groups(told, lambda one: _said(one, column)).items():
        if group:
            same = Counter(one.true["original"] for one in members)
            pairs.false += _choose(len(members)) - sum(_choose(number) for number in same.values())
    return pairs


def _choose(number: int) -> int:
    return number * (number - 1) // 2
