"""From a taxon as a source wrote it to the accepted one: decided only where it is certain, and always with the reason."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bioclip_core.names import WrittenName, folded, kingdom_named, parse_name, same_authorship
from bioclip_core.taxonomy import RANKS, Rank, Taxon
from bioclip_training.taxonomy.matching import NameCandidate, Outcome, find_candidates, places_of
from bioclip_training.taxonomy.rows import ACCEPTED, DOUBTFUL

if TYPE_CHECKING:
    from bioclip_training.taxonomy.index import TaxonomyIndex

_SURE_WORD = 7
"""Letters from which a misspelt name of one word is believed without a rank above it that agrees."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a taxonomy says of one taxon."""

    taxon: Taxon | None
    """The accepted taxon, its ranks filled; None where it is not certain."""
    outcome: Outcome
    reason: str
    """One sentence for the trace of a catalog."""
    taxon_id: str = ""
    """``checklist:id`` of the accepted taxon; empty where there is none."""
    candidates: tuple[NameCandidate, ...] = ()
    """Everything that the name may mean, best first."""

    @property
    def resolved(self) -> bool:
        return self.taxon is not None


def resolve(index: TaxonomyIndex, given: Taxon, verbatim: str = "", rank: Rank | None = None) -> Resolution:
    """The accepted taxon of a given one; see :meth:`TaxonomyIndex.resolve`."""
    written = parse_name(verbatim)
    if given.genus:
        whole = given.scientific_name
        name = _with_verbatim(parse_name(whole), written) if verbatim != whole else written
        return _decided(index, given, name, Rank.SPECIES if given.species or name.epithet else Rank.GENUS)
    if given.species and folded(written.epithet) != folded(given.species.removeprefix("× ")):
        reason = f"{given.species} is an epithet without its genus, which names nothing"
        return Resolution(None, Outcome.NONE, reason)
    if written.text and (not written.genus or folded(written.genus) != folded(given.scientific_name)):
        found = _decided(index, given, written, rank or (Rank.SPECIES if written.epithet else None))
        if found.resolved or given.species or given.rank in (None, Rank.KINGDOM):
            return found
        own = _decided(index, given, parse_name(given.scientific_name), given.rank)
        outcome = Outcome.HIGHER_RANK if own.resolved else found.outcome
        return replace(own, outcome=outcome, reason=f"{found.reason}; {own.reason}", candidates=found.candidates)
    if given.rank is None:
        return Resolution(None, Outcome.NONE, "no name was given")
    return _decided(index, given, parse_name(given.scientific_name), given.rank)


def _with_verbatim(name: WrittenName, written: WrittenName) -> WrittenName:
    """A taxon's name with what the source wrote beside it, where the source means the same genus."""
    if folded(written.genus) != folded(name.genus):
        return name
    if not name.epithet:
        return (
            written
            if written.epithet or written.reading or written.doubt
            else replace(name, authorship=written.authorship)
        )
    if folded(written.epithet) != folded(name.epithet):
        return name
    return replace(
        name, infraspecific=written.infraspecific, authorship=written.authorship, hybrid=name.hybrid or written.hybrid
    )


def _decided(index: TaxonomyIndex, given: Taxon, name: WrittenName, rank: Rank | None) -> Resolution:
    asked_rank = None if name.infraspecific or name.doubt or name.reading else rank
    candidates = tuple(find_candidates(index, name, kingdom=given.kingdom, rank=asked_rank))
    usable = [c for c in candidates if c.accepted is not None and c.taxon_id and _counts(c, name)]
    if not usable:
        first = candidates[0]
        outcome: Outcome = (
            Outcome.NONE if first.outcome is Outcome.HIGHER_RANK else first.outcome
        )  # the genus is no answer
        return Resolution(None, outcome, first.reason, "", candidates)
    agreeing = [c for c in usable if not _contradicts(given, c.accepted or Taxon(), name)]
    if not agreeing:
        elsewhere = all(Rank.KINGDOM in _different(given, c.accepted or Taxon()) for c in usable)
        reason = f"{name.canonical} is listed only as {places_of(usable)}, which contradicts the given {_above(given)}"
        reason += f": a homonym{' in another kingdom' if elsewhere else ''} ({index.label})"
        return Resolution(None, Outcome.HOMONYM, reason, "", candidates)
    chosen = _chosen(given, name, agreeing) if len(agreeing) > 1 else agreeing
    if len({c.taxon_id for c in chosen}) > 1:
        first = chosen[0]
        outcome = Outcome.HOMONYM if first.outcome is Outcome.EXACT else first.outcome
        reason = f"{name.canonical} is ambiguous: it may be {places_of(chosen)} ({index.label})"
        return Resolution(None, outcome, reason, "", candidates)
    best = chosen[0]
    if best.outcome is Outcome.FUZZY and not _is_believed(given, best, name):
        reason = f"{best.reason}; a word this short is not corrected without a rank above it that agrees"
        return Resolution(None, Outcome.FUZZY, reason, "", candidates)
    return _resolved(index, given, name, best, usable, candidates)


def _resolved(
    index: TaxonomyIndex,
    given: Taxon,
    name: WrittenName,
    best: NameCandidate,
    usable: list[NameCandidate],
    candidates: tuple[NameCandidate, ...],
) -> Resolution:
    accepted = best.accepted
    assert accepted is not None
    notes = [best.reason]
    outcome: Outcome = best.outcome
    if outcome is Outcome.HOMONYM:  # told apart by a rank below the kingdom
        outcome = Outcome.DOUBTFUL if best.status == DOUBTFUL else Outcome.EXACT
    if name.infraspecific and outcome is Outcome.EXACT:
        outcome = Outcome.HIGHER_RANK
    others = {c.taxon_id: c for c in usable if c is not best and c.taxon_id != best.taxon_id}
    if others:
        notes.append(f"not {places_of(others.values())}")
    for rank in _different(given, accepted):
        notes.append(f"the given {rank} {given.lineage[rank.depth]} is {accepted.lineage[rank.depth]} there")
    # A rank that the checklist has nowhere is no statement of it; one that it leaves out here is.
    pairs = zip(RANKS, given.lineage, accepted.lineage, strict=True)
    lineage = [there if there or rank.value in index.ranks else here for rank, here, there in pairs]
    common = given.common_name or index.vernacular(best.taxon_id.removeprefix(f"{index.checklist}:"))
    return Resolution(Taxon.of(lineage, common, given.source_id), outcome, "; ".join(notes), best.taxon_id, candidates)


def _counts(candidate: NameCandidate, name: WrittenName) -> bool:
    """Whether a candidate can be the answer: the genus of a species that is not listed is none."""
    if candidate.outcome is Outcome.HIGHER_RANK:
        return bool(name.doubt or name.infraspecific or name.reading)
    return candidate.outcome not in (Outcome.WRONG_RANK, Outcome.MISAPPLIED, Outcome.NONE)


def _chosen(given: Taxon, name: WrittenName, usable: list[NameCandidate]) -> list[NameCandidate]:
    """Those that are left when better ones outdo them: by closeness, author, the ranks above, and standing."""
    literal = [c for c in usable if c.outcome not in (Outcome.FUZZY, Outcome.HIGHER_RANK)]
    left = literal or [c for c in usable if c.outcome is Outcome.FUZZY] or usable
    nearest = min(c.distance for c in left)
    left = [c for c in left if c.distance == nearest]
    if name.authorship:
        left = [c for c in left if c.authorship and same_authorship(c.authorship, name.authorship)] or left
    scores = [_score(given, c.accepted or Taxon()) for c in left]
    if len({c.taxon_id for c in left}) > 1 and max(scores) > min(scores):
        left = [c for c, score in zip(left, scores, strict=True) if score == max(scores)]
    for status in (ACCEPTED, DOUBTFUL):
        if any(c.status == status for c in left):
            left = [c for c in left if c.status == status]
            break
    marked = [c for c in left if ("×" in c.name) == (name.hybrid or name.hybrid_genus)]
    return marked or left


def _is_believed(given: Taxon, candidate: NameCandidate, name: WrittenName) -> bool:
    """A misspelt name of two words is corrected; of one word, where it is long or a given rank above it agrees."""
    if name.epithet or name.reading:
        return True
    return len(name.genus) >= _SURE_WORD or bool(_same(given, candidate.accepted or Taxon()))


def _above(given: Taxon) -> str:
    return " ".join(given.lineage[rank.depth] for rank in RANKS[:5] if given.lineage[rank.depth]) or "lineage"


def _both(given: Taxon, there: Taxon) -> list[tuple[Rank, bool]]:
    """The ranks from kingdom to family that both have, above the name itself, and whether they agree."""
    pairs = zip(RANKS[:5], given.lineage, there.lineage, strict=False)
    return [
        (rank, one == other or kingdom_named(one).lower() == other.lower())
        for rank, one, other in pairs
        if one and other and rank is not there.rank
    ]


def _same(given: Taxon, there: Taxon) -> list[Rank]:
    return [rank for rank, agree in _both(given, there) if agree]


def _different(given: Taxon, there: Taxon) -> list[Rank]:
    return [rank for rank, agree in _both(given, there) if not agree]


def _score(given: Taxon, there: Taxon) -> int:
    return len(_same(given, there)) - len(_different(given, there))


def _contradicts(given: Taxon, there: Taxon, name: WrittenName) -> bool:
    """Whether the ranks above say that it is something else.

    Another kingdom always does. Checklists differ in classes and families, so that these count only where nothing below the
    kingdom agrees and the phylum or class is another: one such rank for a name of one word, two for a species.
    """
    different, same = _different(given, there), _same(given, there)
    if Rank.KINGDOM in different:
        return True
    if any(rank is not Rank.KINGDOM for rank in same) or not {Rank.PHYLUM, Rank.CLASS} & set(different):
        return False
    return len(different) >= (2 if name.epithet or name.reading else 1)
