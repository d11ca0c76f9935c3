"""One taxon, one lineage: partial lineages of one name are joined where they agree, and kept apart where they contradict each other."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from bioclip_core.taxonomy import RANKS, Rank, Taxon

Lineage = tuple[str, ...]
"""The seven names of a taxon, kingdom first, or the first of them; unknown ones are empty."""

_SHOWN = 3
_MOST_ALIKE = 500
"""Different lineages of one name that are compared with each other; of more, none is joined."""
_PASSES = 20
"""Each pass fills ranks from the ones before it; two are the rule."""


@dataclass(frozen=True, slots=True)
class Apart:
    """A name with lineages that cannot all be those of one taxon."""

    rank: Rank
    name: str
    lineages: tuple[Lineage, ...]
    """Sorted, each down to ``rank``."""
    ambiguous: frozenset[Lineage]
    """Lineages that fit several others which contradict each other."""
    is_label: bool
    """True if at least two labels have the name; otherwise it is that of a higher taxon of labels."""

    @property
    def differs_at(self) -> tuple[Rank, ...]:
        """The ranks above the name with several names."""
        columns = zip(RANKS, zip(*self.lineages, strict=True), strict=False)
        return tuple(rank for rank, names in columns if len({*names} - {""}) > 1)

    def __str__(self) -> str:
        written = " or ".join(" ".join(filter(None, lineage)) for lineage in self.lineages[:3])
        return f"{self.rank} {self.name}: {written}{' or others' if len(self.lineages) > 3 else ''}"


@dataclass(frozen=True, slots=True)
class JoinedLineages:
    """Lineages with one for each taxon."""

    of: dict[Lineage, Lineage]
    """The joined lineage of each given one."""
    apart: tuple[Apart, ...]
    """Names that stay several taxa, in the order of their ranks and names."""

    @property
    def joined(self) -> list[tuple[Lineage, Lineage]]:
        """The lineages that others made more complete, each with its joined one, sorted."""
        return sorted((given, joined) for given, joined in self.of.items() if given != joined)

    def lines(self, advice: str) -> list[str]:
        """Return what is to be said of the labels: which were joined, and which names stay several, with advice."""
        lines = []
        if completed := sorted({Taxon.of(joined).scientific_name for _, joined in self.joined}):
            lines.append(
                f"taxa that are written with ranks missing somewhere, and are one label each: {len(completed)} ({_first_of(completed)})"
            )
        if apart := [str(found) for found in self.apart if found.is_label]:
            lines.append(
                "names with contradictory lineages, which stay several labels and share the probability: "
                f"{len(apart)} ({_first_of(apart)}); {advice}"
            )
        return lines


def compatible(one: Sequence[str], other: Sequence[str]) -> bool:
    """Return True if two lineages can both be true: equal at every rank that both have (a family and its species)."""
    return all(a == b or not a or not b for a, b in zip(one, other, strict=True))


def join_lineages(lineages: Iterable[Lineage], *, unsure: Collection[Lineage] = ()) -> JoinedLineages:
    """Give every taxon one lineage.

    Lineages are of one taxon if rank and name (genus and epithet for a species) are equal and no rank has two names; the joined
    one has the ranks of all. This holds for the higher taxa in them too: the order that one species states for its family is
    that of the family's other species. One that fits several lineages which contradict each other is ambiguous and stays as
    it is. A genus without any rank above it says nothing of other species, since kingdoms share names of genera: it is joined
    with rows of the same name only. The result does not depend on the order.

    Args:
        lineages: seven names each; equal ones count once.
        unsure: lineages that stay as they are, because a taxonomy cannot decide between taxa of their name.
    """
    of = {tuple(lineage): tuple(lineage) for lineage in lineages}
    kept = frozenset(unsure)
    for _ in range(_PASSES):
        before = dict(of)
        for depth in range(1, len(RANKS)):
            _join_at(depth, of, kept)
        if of == before:
            break
    return JoinedLineages(of, tuple(_apart(of, kept)))


def join_taxa(taxa: Sequence[Taxon]) -> tuple[list[Taxon], JoinedLineages]:
    """Return taxa with joined lineages, in their order, and how they were joined; equal ones are not removed."""
    joined = join_lineages(taxon.lineage for taxon in taxa)
    if all(given == lineage for given, lineage in joined.of.items()):
        return list(taxa), joined
    return [with_lineage(taxon, joined.of[taxon.lineage]) for taxon in taxa], joined


def with_lineage(taxon: Taxon, lineage: Lineage) -> Taxon:
    """Return a taxon with another lineage and its own common name and id."""
    if taxon.lineage == lineage:
        return taxon
    return Taxon.of(lineage, taxon.common_name, taxon.source_id)


def _first_of(names: Sequence[str]) -> str:
    return "; ".join(names[:_SHOWN]) + (f"; and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def added_ranks(given: Lineage, joined: Lineage) -> str:
    """Return the ranks that joining added, for a message: "class Magnoliopsida, order Fagales"."""
    return ", ".join(f"{rank} {name}" for rank, old, name in zip(RANKS, given, joined, strict=True) if name and not old)


def _join_at(depth: int, of: dict[Lineage, Lineage], unsure: frozenset[Lineage]) -> None:
    """Join the taxa of one rank, in place, and fill the ranks of every lineage below them."""
    joined: dict[Lineage, Lineage] = {}
    for prefixes in _named(depth, of, unsure).values():
        if len(prefixes) > 1:
            joined.update(_joined(sorted(prefixes)))
    if not joined:
        return
    for given, lineage in of.items():
        prefix = lineage[: depth + 1]
        if prefix in joined and given not in unsure and not _says_nothing(lineage, depth):
            of[given] = joined[prefix] + lineage[depth + 1 :]


def _named(depth: int, of: dict[Lineage, Lineage], unsure: frozenset[Lineage]) -> dict[Lineage, set[Lineage]]:
    """Return the lineages of every name at a rank, down to this rank."""
    found: dict[Lineage, set[Lineage]] = {}
    first = depth - 1 if RANKS[depth] is Rank.SPECIES else depth
    for given, lineage in of.items():
        if lineage[depth] and given not in unsure and not _says_nothing(lineage, depth):
            found.setdefault(lineage[first : depth + 1], set()).add(lineage[: depth + 1])
    return found


def _says_nothing(lineage: Lineage, depth: int) -> bool:
    """Return True for a species that has nothing above its genus, as one of the genus."""
    return RANKS[depth] is Rank.GENUS and bool(lineage[depth + 1]) and not any(lineage[:depth])


def _joined(prefixes: Sequence[Lineage]) -> dict[Lineage, Lineage]:
    """Return the joined lineage of each lineage that is not ambiguous."""
    if _is_one(prefixes):
        whole = _union(prefixes)
        return dict.fromkeys(prefixes, whole)
    if len(prefixes) > _MOST_ALIKE:
        return {}
    # Without the ambiguous ones, compatibility is transitive: what fits one of a set fits all of it.
    unclear = _ambiguous(prefixes)
    sure = [one for one in prefixes if one not in unclear]
    return {one: _union(other for other in sure if compatible(one, other)) for one in sure}


def _ambiguous(prefixes: Sequence[Lineage]) -> frozenset[Lineage]:
    """Return the lineages that fit several others which contradict each other; of too many, none is said to be."""
    if len(prefixes) > _MOST_ALIKE:
        return frozenset()
    return frozenset(one for one in prefixes if not _is_one(other for other in prefixes if compatible(one, other)))


def _is_one(lineages: Iterable[Lineage]) -> bool:
    """Return True if no rank has two names."""
    return all(len({*names} - {""}) <= 1 for names in zip(*lineages, strict=True))


def _union(lineages: Iterable[Lineage]) -> Lineage:
    return tuple(max(names) for names in zip(*lineages, strict=True))


def _apart(of: dict[Lineage, Lineage], unsure: frozenset[Lineage]) -> list[Apart]:
    """Return the names that stay apart: those of labels, and those of higher taxa that no other name of the list explains."""
    present = frozenset(of.values())
    ambiguous_labels = frozenset(of[given] for given in unsure if given in of)
    labels: list[Apart] = []
    higher: list[Apart] = []
    for depth in range(1, len(RANKS)):
        rest = ("",) * (len(RANKS) - 1 - depth)
        for key, prefixes in _named(depth, of, frozenset()).items():
            if len(prefixes) > 1:
                ordered = tuple(sorted(prefixes))
                is_label = sum(prefix + rest in present for prefix in ordered) > 1
                unclear = frozenset(one for one in ordered if one + rest in ambiguous_labels) | _ambiguous(ordered)
                found = Apart(RANKS[depth], " ".join(key), ordered, unclear, is_label)
                (labels if is_label else higher).append(found)
    explained = {lineage[: rank.depth + 1] for apart in labels for lineage in apart.lineages for rank in RANKS}
    others = [apart for apart in higher if not explained.issuperset(apart.lineages) and not _follows(apart)]
    return sorted([*labels, *others], key=lambda apart: (apart.rank.depth, apart.name))


def _follows(apart: Apart) -> bool:
    """Return True if all lineages name the same taxon above, which has several lineages itself."""
    return any(
        len({lineage[rank.depth] for lineage in apart.lineages}) == 1
        and apart.lineages[0][rank.depth]
        and len({lineage[: rank.depth + 1] for lineage in apart.lineages}) > 1
        for rank in RANKS[: apart.rank.depth]
    )
