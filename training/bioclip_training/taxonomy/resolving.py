"""Resolving of a taxon as a source wrote it to the accepted one: only where it is certain, and always with the reason."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

from bioclip_core.names import WrittenName, folded, parse_name, same_authorship
from bioclip_core.naming.words import AGGREGATE
from bioclip_core.taxonomy import RANKS, Rank, Taxon, kingdom_named
from bioclip_training.taxonomy.index import TaxonomyFile
from bioclip_training.taxonomy.matching import NameCandidate, find_candidates, places_of
from bioclip_training.taxonomy.near import Outcome
from bioclip_training.taxonomy.rows import ACCEPTED, DOUBTFUL

_ANSWERS_REMEMBERED = 20_000  # a catalog asks for the same name once per image
_SURE_WORD = 7
"""Letters from which a misspelt name of one word is corrected without an agreeing rank above it."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """Answer of a taxonomy to one taxon."""

    taxon: Taxon | None
    """The accepted taxon, its ranks filled; None if it is not certain."""
    outcome: Outcome
    reason: str
    """One sentence for the trace of a catalog."""
    taxon_id: str = ""
    """``checklist:id`` of the accepted taxon; empty without one."""
    candidates: tuple[NameCandidate, ...] = ()
    """Everything that the name may mean, best first."""
    ambiguous: bool = False
    """True if the name may be several accepted taxa that nothing given tells apart."""

    @property
    def resolved(self) -> bool:
        return self.taxon is not None


class TaxonomyIndex(TaxonomyFile):
    """An open taxonomy file that says what names mean. It may be used from several threads at once.

    Open it with :meth:`open`; make one with :func:`bioclip_training.taxonomy.build_taxonomy`.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._resolve = lru_cache(_ANSWERS_REMEMBERED)(partial(_resolve, self))

    def candidates(
        self, name: str, *, kingdom: str = "", rank: Rank | None = None, authorship: str = ""
    ) -> list[NameCandidate]:
        """Return every taxon that a name may mean, best first, each with the reason; never empty, since "none" is an answer too.

        Args:
            name: as written, with authors, marks and doubts.
            kingdom: if given, names in another kingdom are homonyms.
            rank: if given, names of another rank are wrong.
            authorship: if given, names by the same author come first; the name may hold it as well.
        """
        return find_candidates(self, parse_name(name), kingdom=kingdom, rank=rank, authorship=authorship)

    def resolve(self, taxon: Taxon, verbatim: str = "", *, rank: Rank | None = None) -> Resolution:
        """Return the accepted name of a taxon with its ranks filled, or none if it is not certain, with the reason.

        Args:
            taxon: the known ranks; those above the name tell homonyms apart. Its common name is kept.
            verbatim: the name as the source wrote it, for all that a taxon cannot hold: authors, "cf.", subspecies. With an empty
                taxon it is the name.
            rank: of the name, if the taxon holds only ranks above it.
        """
        return self._resolve(taxon, verbatim, rank)


def _resolve(index: TaxonomyFile, given: Taxon, verbatim: str, rank: Rank | None) -> Resolution:
    written = parse_name(verbatim)
    if given.genus:
        whole = given.scientific_name
        name = _with_verbatim(parse_name(whole), written) if verbatim != whole else written
        return _decide(index, given, name, Rank.SPECIES if given.species or name.epithet else Rank.GENUS)
    if given.species and folded(written.epithet) != folded(given.species.removeprefix("× ")):
        return Resolution(None, Outcome.NONE, f"{given.species} is an epithet without its genus, which names nothing")
    if written.text and (not written.genus or folded(written.genus) != folded(given.scientific_name)):
        found = _decide(index, given, written, rank or (Rank.SPECIES if written.epithet else None))
        if found.resolved or given.species or given.rank in (None, Rank.KINGDOM):
            return found
        own = _decide(index, given, parse_name(given.scientific_name), given.rank)
        outcome = Outcome.HIGHER_RANK if own.resolved else found.outcome
        return replace(own, outcome=outcome, reason=f"{found.reason}; {own.reason}", candidates=found.candidates)
    if given.rank is None:
        return Resolution(None, Outcome.NONE, "no name was given")
    return _decide(index, given, parse_name(given.scientific_name), given.rank)


def _with_verbatim(name: WrittenName, written: WrittenName) -> WrittenName:
    """Add to a taxon's name what the source wrote beside it, if the source means the same genus."""
    if folded(written.genus) != folded(name.genus):
        return name
    if not name.epithet:
        says_more = written.epithet or written.reading or written.doubt
        return written if says_more else replace(name, authorship=written.authorship)
    if written.doubt and folded(written.doubted) in ("", folded(name.epithet)):
        return written
    if folded(written.epithet) != folded(name.epithet):
        return name
    return replace(
        name, infraspecific=written.infraspecific, authorship=written.authorship, hybrid=name.hybrid or written.hybrid,
        doubt_below=written.doubt_below, text=written.text,
    )  # fmt: skip


def _decide(index: TaxonomyFile, given: Taxon, name: WrittenName, rank: Rank | None) -> Resolution:
    asked_rank = None if name.infraspecific or name.in_doubt or name.reading else rank
    candidates = tuple(find_candidates(index, name, kingdom=given.kingdom, rank=asked_rank))

    def undecided(outcome: Outcome, reason: str) -> Resolution:
        return Resolution(None, outcome, reason, "", candidates)

    usable = [c for c in candidates if c.accepted is not None and c.taxon_id and _may_answer(c, name)]
    if not usable:
        first = candidates[0]  # the genus of a species that is not listed is not an answer
        return undecided(Outcome.NONE if first.outcome is Outcome.HIGHER_RANK else first.outcome, first.reason)
    agreeing = [c for c in usable if not _contradicts(given, c, name)]
    if not agreeing:
        elsewhere = all(Rank.KINGDOM in _split_ranks(given, c)[1] for c in usable)
        above = " ".join(filter(None, given.lineage[:5])) or "lineage"
        reason = f"{name.canonical} is listed only as {places_of(usable)}, which contradicts the given {above}"
        return undecided(
            Outcome.HOMONYM, f"{reason}: a homonym{' in another kingdom' if elsewhere else ''} ({index.label})"
        )
    chosen = _best(given, name, agreeing) if len(agreeing) > 1 else agreeing
    best = chosen[0]
    if len({c.taxon_id for c in chosen}) > 1:
        outcome = Outcome.HOMONYM if best.outcome is Outcome.EXACT else best.outcome
        reason = f"{name.canonical} is ambiguous: it may be {places_of(chosen)} ({index.label})"
        return replace(undecided(outcome, reason), ambiguous=True)
    # A misspelt name of two words is corrected; of one word only if it is long or a given rank above it agrees.
    is_long = name.epithet or name.reading or len(name.genus) >= _SURE_WORD
    if best.outcome is Outcome.FUZZY and not is_long and not _split_ranks(given, best)[0]:
        return undecided(
            Outcome.FUZZY, f"{best.reason}; a word this short is not corrected without a rank above it that agrees"
        )
    return _resolved(index, given, name, best, usable, candidates)


def _resolved(
    index: TaxonomyFile,
    given: Taxon,
    name: WrittenName,
    best: NameCandidate,
    usable: list[NameCandidate],
    candidates: tuple[NameCandidate, ...],
) -> Resolution:
    accepted = best.accepted or Taxon()
    notes = [best.reason]
    if (
        name.authorship
        and best.authorship
        and not name.in_doubt
        and not same_authorship(best.authorship, name.authorship)
    ):
        notes.append(f"its author there is {best.authorship}, not {name.authorship} as written")
    outcome: Outcome = best.outcome
    if outcome is Outcome.HOMONYM:  # told apart by a rank below the kingdom
        outcome = Outcome.DOUBTFUL if best.status == DOUBTFUL else Outcome.EXACT
    if name.infraspecific and outcome is Outcome.EXACT:
        outcome = Outcome.HIGHER_RANK
    if _is_aggregate(name):
        notes.append("it is written as a group of species, which is wider")
    if others := [c for c in usable if c.taxon_id != best.taxon_id]:
        notes.append(f"not {places_of(others)}")
    notes += [
        f"the given {rank} {given.lineage[rank.depth]} is {accepted.lineage[rank.depth]} there"
        for rank in _split_ranks(given, best)[1]
    ]
    # A rank that the checklist never has is not a statement of it; a rank that it leaves out only here is one.
    lineage = [
        there if there or rank.value in index.ranks else here
        for rank, here, there in zip(RANKS, given.lineage, accepted.lineage, strict=True)
    ]
    common = given.common_name or index.vernacular(best.taxon_id.removeprefix(f"{index.checklist}:"))
    return Resolution(Taxon.of(lineage, common, given.source_id), outcome, "; ".join(notes), best.taxon_id, candidates)


def _is_aggregate(name: WrittenName) -> bool:
    """Return True for "Rosa canina agg." and the like."""
    return bool(name.epithet) and not AGGREGATE.isdisjoint(
        name.text.lower().replace(".", "").replace("-", " ").split()[2:]
    )


def _may_answer(candidate: NameCandidate, name: WrittenName) -> bool:
    if candidate.outcome is Outcome.HIGHER_RANK:
        return bool(name.in_doubt or name.infraspecific or name.reading)
    return candidate.outcome not in (Outcome.WRONG_RANK, Outcome.MISAPPLIED, Outcome.NONE)


def _best(given: Taxon, name: WrittenName, usable: list[NameCandidate]) -> list[NameCandidate]:
    """Return the candidates that no other one beats: by closeness, author, the ranks above, status and hybrid mark."""
    literal = [c for c in usable if c.outcome not in (Outcome.FUZZY, Outcome.HIGHER_RANK)]
    left = literal or [c for c in usable if c.outcome is Outcome.FUZZY] or usable
    nearest = min(c.distance for c in left)
    left = [c for c in left if c.distance == nearest]
    if name.authorship:
        left = [c for c in left if c.authorship and same_authorship(c.authorship, name.authorship)] or left
    if len({c.taxon_id for c in left}) > 1:
        scores = [len(same) - len(different) for same, different in (_split_ranks(given, c) for c in left)]
        left = [c for c, score in zip(left, scores, strict=True) if score == max(scores)]
    with_status = {status: [c for c in left if c.status == status] for status in (ACCEPTED, DOUBTFUL)}
    left = with_status[ACCEPTED] or with_status[DOUBTFUL] or left
    return [c for c in left if ("×" in c.name) == (name.hybrid or name.hybrid_genus)] or left


def _split_ranks(given: Taxon, candidate: NameCandidate) -> tuple[list[Rank], list[Rank]]:
    """Return the ranks from kingdom to family, above the name itself, on which a taxon and a candidate agree and disagree."""
    there = candidate.accepted or Taxon()
    agrees = {
        rank: one == other or kingdom_named(one).lower() == other.lower()
        for rank, one, other in zip(RANKS[:5], given.lineage, there.lineage, strict=False)
        if one and other and rank is not there.rank
    }
    return [rank for rank in agrees if agrees[rank]], [rank for rank in agrees if not agrees[rank]]


def _contradicts(given: Taxon, candidate: NameCandidate, name: WrittenName) -> bool:
    """Return True if the given ranks above the name say that the candidate is another taxon.

    Another kingdom always does. Checklists differ in classes and families, so these count only if nothing below the kingdom
    agrees and the phylum or class differs: one such rank for a name of one word, two for a species.
    """
    same, different = _split_ranks(given, candidate)
    if Rank.KINGDOM in different:
        return True
    if any(rank is not Rank.KINGDOM for rank in same) or not {Rank.PHYLUM, Rank.CLASS} & set(different):
        return False
    return len(different) >= (2 if name.epithet or name.reading else 1)
