"""One lineage per taxon over all sources: missing ranks filled, contradictions decided or kept apart, homonyms without a place refused."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bioclip_core.lineages import Lineage, added_ranks, compatible, join_lineages
from bioclip_core.taxonomy import RANKS, Rank, Taxon
from bioclip_training.curation.naming.combinations import Reading
from bioclip_training.curation.naming.reading import AMBIGUOUS, UNLISTED

_TIMES_AS_OFTEN = 4
"""A lineage is taken for that of the taxon if it has as many times the records of all that contradict it."""
_TURNS = 6
"""Two are the rule."""
_TAXONOMY = "the taxonomy"


@dataclass(frozen=True, slots=True)
class KeptApart:
    """A name whose contradictory lineages nothing decides."""

    name: str
    rank: Rank
    lineages: tuple[Lineage, ...]

    def __str__(self) -> str:
        shown = " or ".join(" ".join(filter(None, lineage)) for lineage in self.lineages[:3])
        return f"{self.rank} {self.name}: {shown}{' or others' if len(self.lineages) > 3 else ''}"


def settle(readings: Sequence[Reading], precedence: Sequence[str]) -> list[KeptApart]:
    """Give each taxon one lineage, in place, and refuse names that may be of two kingdoms.

    Args:
        readings: of all combinations.
        precedence: sources in the order in which their lineages count, if the user stated one.

    Returns:
        Names that stay several taxa of one kingdom, since nothing decides between their lineages.
    """
    labelled = [reading for reading in readings if reading.taxon.rank is not None]
    weights = _weights(labelled)
    lineages = _Lineages(weights, precedence)
    lineages.settle()
    for reading in labelled:
        _apply(reading, lineages)
    _refuse_ambiguous(labelled)
    for reading in labelled:
        if reading.unplaced and not any(reading.taxon.lineage[:5]):
            reading.refuse(UNLISTED, reading.unplaced)
    return lineages.apart


class _Weight:
    """Records of a lineage by source, and whether a taxonomy states it."""

    __slots__ = ("is_listed", "rows")

    def __init__(self) -> None:
        self.rows: Counter[str] = Counter()
        self.is_listed = False


def _weights(readings: Iterable[Reading]) -> dict[Lineage, _Weight]:
    """Return the lineages that no taxonomy decided, and the others that share a name with one of them."""
    weights: dict[Lineage, _Weight] = defaultdict(_Weight)
    names: set[str] = set()
    listed: list[Reading] = []
    for reading in readings:
        if reading.taxon_id:
            listed.append(reading)
            continue
        lineage = reading.taxon.lineage
        weights[lineage].rows.update(dict(reading.rows))
        names.update(lineage[1:6])
    names.discard("")
    for reading in listed if weights else ():
        lineage = reading.taxon.lineage
        if lineage in weights or not names.isdisjoint(lineage[1:6]):
            weights[lineage].rows.update(dict(reading.rows))
            weights[lineage].is_listed = True
    return weights


class _Lineages:
    """The lineages of all names, while they become one per taxon."""

    def __init__(self, weights: Mapping[Lineage, _Weight], precedence: Sequence[str]) -> None:
        self.weights = weights
        self._order = {source: place for place, source in enumerate(precedence)}
        self.of: dict[Lineage, Lineage] = {lineage: lineage for lineage in weights}
        self.why: dict[Lineage, list[str]] = {}
        self.apart: list[KeptApart] = []

    def settle(self) -> None:
        """Join and decide in turns, since a filled rank may contradict others, and a decided one may fill others."""
        for _ in range(_TURNS):
            before = dict(self.of)
            self.join()
            self.apart = []
            self.decide()
            if self.of == before:
                break

    def join(self) -> None:
        """Fill missing ranks from other lineages of the same taxon."""
        joined = join_lineages(self.of.values()).of
        for given, lineage in self.of.items():
            if (whole := joined[lineage]) != lineage:
                self.of[given] = whole
                self.why.setdefault(given, []).append(f"completed from other records: {added_ranks(lineage, whole)}")

    def decide(self) -> None:
        """Decide contradictions within a kingdom, the highest ranks first, so that what is below follows."""
        for depth in range(2, len(RANKS)):
            groups: dict[tuple[str, ...], dict[Lineage, _Weight]] = {}
            for given, lineage in self.of.items():
                if not lineage[depth]:
                    continue
                name = lineage[5:7] if depth == Rank.SPECIES.depth else lineage[depth : depth + 1]
                prefixes = groups.setdefault((lineage[0], *name), {})
                weight = prefixes.setdefault(lineage[: depth + 1], _Weight())
                weight.rows.update(self.weights[given].rows)
                weight.is_listed |= self.weights[given].is_listed
            replaced: dict[Lineage, tuple[Lineage, str]] = {}
            for key, prefixes in sorted(groups.items()):
                if key[0] and len(prefixes) > 1:
                    replaced.update(self._decided(RANKS[depth], " ".join(key[1:]), prefixes))
            self._replace(depth, replaced)

    def _decided(
        self, rank: Rank, name: str, prefixes: Mapping[Lineage, _Weight]
    ) -> dict[Lineage, tuple[Lineage, str]]:
        """Return the lineage and the reason for each one that another one of the same name replaces."""
        contradictory = sorted(one for one in prefixes if any(not compatible(one, other) for other in prefixes))
        if not contradictory:
            return {}
        chosen, why = self._choice({one: prefixes[one] for one in contradictory})
        if chosen is None:
            self.apart.append(KeptApart(name, rank, tuple(contradictory)))
            return {}
        return {
            one: (chosen, f"{_differences(one, chosen)}, as {why}")
            for one in contradictory
            if not compatible(one, chosen)
        }

    def _choice(self, prefixes: Mapping[Lineage, _Weight]) -> tuple[Lineage | None, str]:
        """Return the lineage that counts, and who says so; None if nothing decides."""
        if listed := [one for one in prefixes if prefixes[one].is_listed]:
            return (listed[0], f"{_TAXONOMY} has it") if len(listed) == 1 else (None, "")
        if self._order:
            first = min(self._order.get(source, len(self._order)) for one in prefixes.values() for source in one.rows)
            stated = [one for one in prefixes if any(self._order.get(source) == first for source in prefixes[one].rows)]
            if len(stated) == 1:
                source = next(name for name, place in self._order.items() if place == first)
                return stated[0], f"{source} has it, which comes first"
        rows = {one: prefixes[one].rows.total() for one in prefixes}
        most = max(rows, key=lambda one: (rows[one], one))
        against = sum(rows[one] for one in prefixes if not compatible(one, most))
        if rows[most] >= _TIMES_AS_OFTEN * against:
            return most, f"{rows[most]} records have it, and {against} another one"
        return None, ""

    def _replace(self, depth: int, replaced: Mapping[Lineage, tuple[Lineage, str]]) -> None:
        if not replaced:
            return
        for given, lineage in self.of.items():
            if found := replaced.get(lineage[: depth + 1]):
                prefix, reason = found
                self.of[given] = prefix + lineage[depth + 1 :]
                self.why.setdefault(given, []).append(reason)


def _differences(one: Lineage, chosen: Lineage) -> str:
    """Return the ranks that differ, for a message: "family Aidae became Bidae"."""
    pairs = zip(RANKS, one, chosen, strict=False)
    return ", ".join(f"{rank} {old} became {new}" for rank, old, new in pairs if old and new and old != new)


def _apply(reading: Reading, lineages: _Lineages) -> None:
    given = reading.taxon.lineage
    lineage = lineages.of.get(given, given)
    if lineage == given:
        return
    reading.taxon = Taxon.of(lineage)
    reading.changes += lineages.why.get(given, [])


def _refuse_ambiguous(readings: Sequence[Reading]) -> None:
    """Refuse names without any rank above the genus that are names in several kingdoms.

    The taxonomy has decided between the kingdoms that it lists, perhaps by the author, so that only a kingdom that it does not
    list for a binomial speaks against it. For a name that it does not have, the genus must be of one kingdom.
    """
    listed: dict[tuple[str, ...], set[str]] = defaultdict(set)
    unlisted: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for reading in readings:
        lineage = reading.taxon.lineage
        if lineage[0] and lineage[5]:
            for key in (lineage[5:7], (lineage[5], "")):
                (listed if reading.taxon_id else unlisted)[key].add(lineage[0])
    for reading in readings:
        lineage = reading.taxon.lineage
        if reading.says_place or not lineage[5]:
            continue
        if reading.taxon_id:
            key, found = lineage[5:7], unlisted.get(lineage[5:7], set()) | {lineage[0]}
        else:
            key = (lineage[5], "")
            found = unlisted.get(key, set()) | listed.get(key, set())
        if len(found) > 1:
            name = " ".join(filter(None, key))
            kingdoms = " and in ".join(sorted(found))
            reading.refuse(AMBIGUOUS, f"{name} is a name in {kingdoms}, and the record says no kingdom")
