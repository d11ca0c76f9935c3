"""Candidates for a written name: every taxon that it may mean, each with the reason for or against it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from bioclip_core.names import (
    HYBRID_FORMULA,
    PLACEHOLDER,
    NameKind,
    WrittenName,
    folded,
    judge_name,
    key_of,
    literal_key,
    same_authorship,
)
from bioclip_core.taxonomy import Rank, Taxon, kingdom_named
from bioclip_training.taxonomy.index import TaxonomyFile
from bioclip_training.taxonomy.near import Hit, Outcome, hits_of_damaged, near_binomials, near_words, run_together
from bioclip_training.taxonomy.rows import ACCEPTED, DOUBTFUL, MISAPPLIED, PRO_PARTE, NameRow

_SEVEN = frozenset(rank.value for rank in Rank)
_ANY_RANK = frozenset(("", "unranked", "other", "unknown", "supraspecific name", "infragenericname"))


_OF_STATUS = {
    ACCEPTED: Outcome.EXACT, DOUBTFUL: Outcome.DOUBTFUL, PRO_PARTE: Outcome.PRO_PARTE, MISAPPLIED: Outcome.MISAPPLIED,
}  # fmt: skip
_ORDER = {outcome: place for place, outcome in enumerate(Outcome)}


@dataclass(frozen=True, slots=True)
class NameCandidate:
    """One taxon that a name may mean."""

    name: str
    """As in the checklist, with hybrid marks, without authorship."""
    authorship: str
    rank: str
    """The checklist's word in English and lower case, also for example "subspecies" or "tribe"."""
    status: str
    """``accepted``, ``doubtful``, ``synonym``, ``pro parte`` or ``misapplied``; empty if nothing was found."""
    accepted: Taxon | None
    """The accepted taxon with its lineage; None if the checklist does not lead to one."""
    taxon_id: str
    """``checklist:id`` of the accepted taxon."""
    outcome: Outcome
    reason: str
    """One sentence for the reader of a report."""
    distance: int = 0
    """Letters between this spelling and the one that was asked for."""


def find_candidates(
    index: TaxonomyFile, name: WrittenName, *, kingdom: str = "", rank: Rank | None = None, authorship: str = ""
) -> list[NameCandidate]:
    """Return every taxon that a name may mean, best first; a single candidate with the outcome "none" if nothing is found."""
    if name.epithet_alone and rank not in (None, Rank.SPECIES):  # the caller knows that it is not an epithet
        name = replace(name, genus=name.text.capitalize(), epithet_alone=False)
    if judge_name(name.text).kind is NameKind.SEVERAL:
        return [_nothing(index, name)]
    authorship = authorship or name.authorship
    found = [_candidate(index, name, hit, rank) for hit in _hits(index, name, rank, authorship)]
    if not found:
        return [_nothing(index, name)]
    kingdom = kingdom_named(kingdom)

    def order(candidate: NameCandidate) -> tuple[int, bool, int, bool, bool, str]:
        other_mark = ("× " in candidate.name) != (name.hybrid or name.hybrid_genus)
        other_author = bool(authorship) and not same_authorship(candidate.authorship, authorship)
        return (
            _ORDER[candidate.outcome], not _in_kingdom(candidate, kingdom), candidate.distance, other_author, other_mark,
            candidate.taxon_id,
        )  # fmt: skip

    return sorted(_with_homonyms(found, kingdom), key=order)


def _hits(index: TaxonomyFile, name: WrittenName, rank: Rank | None, authorship: str) -> list[Hit]:
    genus_key = key_of(name.genus)
    if name.epithet_alone:
        note = f"{name.text} is written as an epithet, which names nothing without its genus"
        return [Hit(row, Outcome.WRONG_RANK, note=note) for row in index.rows(folded(name.text))]
    if name.unread == PLACEHOLDER:
        return []
    if name.doubt:
        return _hits_in_doubt(index, name)
    if name.reading:
        return _hits_of_capitalised(index, name, rank, authorship)
    if rows := index.rows(name.key):
        if not name.doubt_below:
            return [Hit(row) for row in rows]
        note = f"{name.text} names nothing below {name.canonical} for certain ({name.doubt_below})"
        return _higher(index, name.key, note)
    if name.infraspecific:
        note = f"{name.canonical} is not listed; {name.genus} {name.epithet} is its species"
        if hits := _higher(index, key_of(name.genus, name.epithet), note):
            return hits
    if not name.genus:
        return []
    if not name.epithet:
        return run_together(index, genus_key) or near_words(index, genus_key)
    genus = _higher(index, genus_key, f"{name.canonical} is not listed; {name.genus} is its genus")
    return [*near_binomials(index, name), *(hit for hit in genus if hit.row.rank in ("genus", *_ANY_RANK))]


def _hits_in_doubt(index: TaxonomyFile, name: WrittenName) -> list[Hit]:
    """Look up what is certain of a name: its genus, or its species if only a lower name is in doubt."""
    if name.damaged and (hits := hits_of_damaged(index, name)):
        return hits
    if name.doubt in (HYBRID_FORMULA, "sp.") and (listed := index.rows(literal_key(name.text))):
        return [Hit(row) for row in listed]  # a few checklists hold hybrid formulas and "sp. 3"
    if not name.genus:
        return []
    certain = " ".join(filter(None, (name.genus, name.epithet)))
    note = f"{name.text} names nothing below {certain} for certain ({name.doubt})"
    above = _higher(index, key_of(name.genus, name.epithet), note)
    return above or (near_binomials(index, name) if name.epithet else near_words(index, key_of(name.genus)))


def _higher(index: TaxonomyFile, key: str, note: str) -> list[Hit]:
    return [Hit(row, Outcome.HIGHER_RANK, note=note) for row in index.rows(key)]


def _hits_of_capitalised(index: TaxonomyFile, name: WrittenName, rank: Rank | None, authorship: str) -> list[Hit]:
    """Look up "Acer Rubrum": a species if one is listed under this name or nearly so; else the genus with its author."""
    binomial, genus_key = name.read_as_binomial(), key_of(name.genus)
    rows = index.rows(binomial.key)
    if rows and rank in (None, Rank.SPECIES, Rank.GENUS):
        return [Hit(row) for row in rows]
    own = index.rows(genus_key)
    if any(row.authorship and same_authorship(row.authorship, authorship) for row in own):
        return [Hit(row) for row in own]
    note = f"{binomial.canonical} is not listed; {name.genus} is its genus, unless {name.authorship} is an author"
    return near_binomials(index, binomial) or _higher(index, genus_key, note) or near_words(index, genus_key)


def _candidate(index: TaxonomyFile, name: WrittenName, hit: Hit, rank: Rank | None) -> NameCandidate:
    row = hit.row
    accepted_row = index.accepted_row(row)
    accepted, taxon_id = index.placed(accepted_row) if accepted_row is not None else (None, "")
    outcome, reason = hit.how, hit.note
    standing = _standing(row, accepted_row, accepted)
    if hit.how is Outcome.EXACT:
        if rank is not None and not _is_rank(row, rank, name):
            outcome, reason = Outcome.WRONG_RANK, f"{row.name} is listed as {row.rank or 'a name'}, not as {rank}"
        else:
            outcome, reason = _OF_STATUS.get(row.status, Outcome.SYNONYM), standing
        if "×" in row.name and not (name.hybrid or name.hybrid_genus):
            reason = f"{reason}; it is a hybrid, asked for without its mark"
    elif row.status != ACCEPTED:
        reason = f"{reason}, and {standing.removeprefix(row.name + ' ')}"
    if row.status == MISAPPLIED:
        outcome = Outcome.MISAPPLIED
    return NameCandidate(
        row.name, row.authorship, row.rank, row.status, accepted, f"{index.checklist}:{taxon_id}" if taxon_id else "", outcome,
        f"{reason} ({index.label})", hit.distance,
    )  # fmt: skip


def _is_rank(row: NameRow, rank: Rank, name: WrittenName) -> bool:
    if rank is Rank.SPECIES:
        return bool(name.epithet or name.reading) and (row.rank not in _SEVEN or row.rank == Rank.SPECIES)
    if name.reading and row.rank == Rank.SPECIES:  # a genus with an author that turned out to be a species
        return rank is Rank.GENUS
    return row.rank == rank or row.rank in _ANY_RANK


def _standing(row: NameRow, accepted_row: NameRow | None, accepted: Taxon | None) -> str:
    """Return the status of a name in the checklist as a sentence that begins with the name."""
    if row.status == ACCEPTED:
        above = accepted.scientific_name if accepted is not None else ""
        belongs = f"; it belongs to {above}" if above and above != row.name and row.rank not in _SEVEN else ""
        return f"{row.name} is an accepted name{belongs}"
    if row.status == DOUBTFUL:
        return f"{row.name} is a doubtful name"
    if row.status == MISAPPLIED:
        return f"{row.name} was misapplied to {accepted_row.name if accepted_row else 'a name that is not listed'}"
    kind = "in part a synonym" if row.status == PRO_PARTE else "a synonym"
    if accepted_row is not None:
        return f"{row.name} is {kind} of {accepted_row.name}"
    return f"{row.name} is {kind}, and the name that it points to ({row.accepted or 'none'}) is not an accepted one"


def _with_homonyms(found: list[NameCandidate], kingdom: str) -> Iterator[NameCandidate]:
    """Mark homonyms: equal names of several accepted taxa, and names in another kingdom than the given one."""
    standing = (Outcome.EXACT, Outcome.DOUBTFUL)
    named = [c for c in found if c.outcome in standing]
    everywhere = {c.taxon_id for c in named}
    inside = {c.taxon_id for c in named if _in_kingdom(c, kingdom)}
    for candidate in found:
        outcome, reason = candidate.outcome, candidate.reason
        if not _in_kingdom(candidate, kingdom):
            there = candidate.accepted.kingdom if candidate.accepted else ""
            reason = f"{candidate.name} is a name in {there}, not in {kingdom} as given: a homonym in another kingdom"
            if outcome not in (Outcome.WRONG_RANK, Outcome.HIGHER_RANK, Outcome.MISAPPLIED):
                outcome = Outcome.HOMONYM
        elif outcome in standing and len(inside) > 1:
            outcome, reason = Outcome.HOMONYM, f"homonym ({len(inside)}): {reason}; it stands in {_place(candidate)}"
        elif outcome in standing and len(everywhere) > 1:
            reason = f"{reason}; homonym ({len(everywhere)}), told apart by {kingdom}"
        yield replace(candidate, outcome=outcome, reason=reason)


def _in_kingdom(candidate: NameCandidate, kingdom: str) -> bool:
    there = candidate.accepted.kingdom if candidate.accepted else ""
    return not kingdom or not there or there.lower() == kingdom.lower()


def _place(candidate: NameCandidate) -> str:
    """Return the higher names by which a reader tells homonyms apart."""
    taxon = candidate.accepted or Taxon()
    return " ".join(name for name in (taxon.kingdom, taxon.class_, taxon.family) if name) or "no named lineage"


def _nothing(index: TaxonomyFile, name: WrittenName) -> NameCandidate:
    if not name.text:
        reason = "no name was given"
    elif name.epithet_alone:
        reason = f"{name.text} is an epithet without its genus, which names nothing"
    elif name.unread == PLACEHOLDER:
        reason = f"{name.text}: {name.unread}"
    elif reason := judge_name(name.text).reason or name.unread:
        reason = f"{name.text}: {reason}"
    else:
        reason = f"{name.canonical or 'an empty name'} is not in {index.label}, nor is a name like it"
    return NameCandidate(name.canonical or name.text, "", "", "", None, "", Outcome.NONE, reason)


def places_of(candidates: Iterable[NameCandidate]) -> str:
    """Return candidates on one line: "Ficus (Plantae Moraceae), Ficus (Animalia Ficidae)"."""
    seen = {c.taxon_id: f"{c.accepted.scientific_name if c.accepted else c.name} ({_place(c)})" for c in candidates}
    return ", ".join(list(seen.values())[:5])
