"""The taxa that a written name may mean: looked up, and each with the reason why it is or is not the one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from bioclip_core.names import WrittenName, folded, key_of, kingdom_named, literal_key, same_authorship
from bioclip_core.taxonomy import Rank, Taxon
from bioclip_training.taxonomy.rows import ACCEPTED, DOUBTFUL, MISAPPLIED, PRO_PARTE, NameRow
from bioclip_training.taxonomy.spelling import MOST_EDITS, distance, edits_allowed, equal_endings

if TYPE_CHECKING:
    from bioclip_training.taxonomy.index import TaxonomyIndex

_SEVEN = frozenset(rank.value for rank in Rank)
_ANY_RANK = frozenset(("", "unranked", "other", "unknown", "supraspecific name", "infragenericname"))


class Outcome(StrEnum):
    """What a candidate is to the name that was asked for, best first."""

    EXACT = "exact"
    SYNONYM = "synonym"
    DOUBTFUL = "doubtful"
    PRO_PARTE = "pro parte"
    HOMONYM = "homonym"
    FUZZY = "fuzzy"
    HIGHER_RANK = "higher rank"
    MISAPPLIED = "misapplied"
    WRONG_RANK = "wrong rank"
    NONE = "none"


_OF_STATUS = {
    ACCEPTED: Outcome.EXACT, DOUBTFUL: Outcome.DOUBTFUL, PRO_PARTE: Outcome.PRO_PARTE, MISAPPLIED: Outcome.MISAPPLIED,
}  # fmt: skip
_ORDER = {outcome: place for place, outcome in enumerate(Outcome)}


@dataclass(frozen=True, slots=True)
class NameCandidate:
    """One taxon that a name may mean."""

    name: str
    """As the checklist has it, with hybrid marks, without authorship."""
    authorship: str
    rank: str
    """The checklist's word, in English and small letters: also "subspecies", "tribe" …"""
    status: str
    """``accepted``, ``doubtful``, ``synonym``, ``pro parte``, ``misapplied``; empty where nothing was found."""
    accepted: Taxon | None
    """The accepted taxon with its lineage; None where the checklist leads to none."""
    taxon_id: str
    """``checklist:id`` of the accepted taxon."""
    outcome: Outcome
    reason: str
    """One sentence for people."""
    distance: int = 0
    """Letters between this spelling and the one asked for."""


class _Hit(NamedTuple):
    row: NameRow
    how: Outcome
    """``exact`` where the key is the name's own; else ``fuzzy``, ``higher rank`` or ``wrong rank``."""
    distance: int = 0
    note: str = ""


def find_candidates(
    index: TaxonomyIndex, name: WrittenName, *, kingdom: str = "", rank: Rank | None = None, authorship: str = ""
) -> list[NameCandidate]:
    """Every taxon that a name may mean, best first; one with the outcome "none" where there is not any."""
    if name.epithet_alone and rank not in (None, Rank.SPECIES):  # said to be no epithet
        name = replace(name, genus=name.text.capitalize(), epithet_alone=False)
    authorship = authorship or name.authorship
    found = [_candidate(index, name, hit, rank) for hit in _hits(index, name, rank, authorship)]
    if not found:
        return [_nothing(index, name)]
    kingdom = kingdom_named(kingdom)
    found = _told_apart(found, kingdom)
    if len(found) == 1:
        return found

    def order(candidate: NameCandidate) -> tuple[int, bool, int, bool, bool, str]:
        other_mark = ("× " in candidate.name) != (name.hybrid or name.hybrid_genus)
        other_author = bool(authorship) and not same_authorship(candidate.authorship, authorship)
        elsewhere = not _in_kingdom(candidate, kingdom)
        return (_ORDER[candidate.outcome], elsewhere, candidate.distance, other_author, other_mark, candidate.taxon_id)

    return sorted(found, key=order)


def _hits(index: TaxonomyIndex, name: WrittenName, rank: Rank | None, authorship: str) -> list[_Hit]:
    genus_key = key_of(name.genus)
    if name.epithet_alone:
        note = f"{name.text} is written as an epithet, which names nothing without its genus"
        return [_Hit(row, Outcome.WRONG_RANK, note=note) for row in index.rows(folded(name.text))]
    if name.doubt:
        listed = index.rows(literal_key(name.text))  # a few checklists hold hybrid formulas and "sp. 3"
        note = f"{name.text} names nothing below {name.genus} for certain"
        above = [_Hit(row, Outcome.HIGHER_RANK, note=note) for row in index.rows(genus_key)]
        return [_Hit(row, Outcome.EXACT) for row in listed] or above or _near_words(index, genus_key)
    if name.reading:
        return _hits_of_capitalised(index, name, rank, authorship)
    rows = index.rows(name.key)
    if rows:
        return [_Hit(row, Outcome.EXACT) for row in rows]
    if name.infraspecific:
        rows = index.rows(key_of(name.genus, name.epithet))
        if rows:
            note = f"{name.canonical} is not listed; {name.genus} {name.epithet} is its species"
            return [_Hit(row, Outcome.HIGHER_RANK, note=note) for row in rows]
    if not name.genus:
        return []
    near = _near_binomials(index, name) if name.epithet else _near_words(index, genus_key)
    note = f"{name.canonical} is not listed; {name.genus} is its genus"
    genus = _genus_hits(index, genus_key, note) if name.epithet else []
    return [*near, *genus]


def _genus_hits(index: TaxonomyIndex, genus_key: str, note: str) -> list[_Hit]:
    return [
        _Hit(row, Outcome.HIGHER_RANK, note=note) for row in index.rows(genus_key) if row.rank in ("genus", *_ANY_RANK)
    ]


def _hits_of_capitalised(index: TaxonomyIndex, name: WrittenName, rank: Rank | None, authorship: str) -> list[_Hit]:
    """ "Acer Rubrum": an epithet with a capital if there is such a species, or nearly; else the genus with its author."""
    binomial = name.read_as_binomial()
    rows = index.rows(binomial.key)
    if rows and rank in (None, Rank.SPECIES, Rank.GENUS):
        return [_Hit(row, Outcome.EXACT) for row in rows]
    own = index.rows(key_of(name.genus))
    if any(row.authorship and same_authorship(row.authorship, authorship) for row in own):
        return [_Hit(row, Outcome.EXACT) for row in own]
    near = _near_binomials(index, binomial)
    if near:
        return near
    note = f"{binomial.canonical} is not listed; {name.genus} is its genus, if {name.authorship} is no author"
    return [_Hit(row, Outcome.HIGHER_RANK, note=note) for row in own] or _near_words(index, key_of(name.genus))


def _near_binomials(index: TaxonomyIndex, name: WrittenName) -> list[_Hit]:
    """Names of two words that are nearest: other endings of the epithet first, then errors in either word."""
    genus, epithet = key_of(name.genus), key_of(name.epithet)
    hits = [
        _Hit(row, Outcome.FUZZY, 0, f"{name.canonical} is not listed; {row.name} has another ending")
        for other in equal_endings(epithet)
        for row in index.rows(f"{genus} {other}")
    ]
    if hits:
        return hits
    # A genus that is listed is taken to be right; only where it has nothing near may the genus itself be misspelt.
    found = _near_under(index, epithet, [(genus, 0)])
    if not found:
        found = _near_under(index, epithet, index.words_near(genus, edits_allowed(genus))[1:])
    return list(_nearest(index, name.canonical, found))


def _near_under(index: TaxonomyIndex, epithet: str, genera: list[tuple[str, int]]) -> dict[str, int]:
    """Keys of names under genera, each of which is some letters away, whose epithet is near, with the errors of the whole."""
    found: dict[str, int] = {}
    for word, away in genera:
        for key in index.keys_under(word):
            total = _errors(epithet, key.partition(" ")[2], away)
            if total is not None:
                found[key] = total
    return found


def _errors(epithet: str, other: str, away: int) -> int | None:
    """Errors of a whole name whose genus is ``away`` already, at most two; None where the epithet is too far."""
    if other[:1] != epithet[:1]:
        return None
    most = min(edits_allowed(epithet), MOST_EDITS - away)
    between = distance(epithet, other, most)
    if between <= most:
        return away + between
    return (
        away + 1 if away == 1 and other in equal_endings(epithet) else None
    )  # the genus is misspelt, and its gender with it


def _near_words(index: TaxonomyIndex, word: str) -> list[_Hit]:
    near = dict(index.words_near(word, edits_allowed(word))[1:])
    return list(_nearest(index, word.capitalize(), near))


def _nearest(index: TaxonomyIndex, asked: str, found: dict[str, int]) -> Iterator[_Hit]:
    """The names of the nearest keys; those a letter farther are no better candidates than any other word."""
    for key, away in sorted(found.items(), key=lambda item: (item[1], item[0])):
        if away <= min(found.values()):
            for row in index.rows(key):
                note = f"{asked} is not listed; {row.name} is {away} letter{'s' * (away > 1)} away"
                yield _Hit(row, Outcome.FUZZY, away, note)


def _candidate(index: TaxonomyIndex, name: WrittenName, hit: _Hit, rank: Rank | None) -> NameCandidate:
    row = hit.row
    accepted_row = index.accepted_row(row)
    accepted, taxon_id = index.placed(accepted_row) if accepted_row is not None else (None, "")
    outcome, reason = hit.how, hit.note
    standing = _standing(row, accepted_row, accepted)
    if hit.how is Outcome.EXACT:
        if rank is not None and not _is_rank(row, rank, name):
            outcome, reason = Outcome.WRONG_RANK, f"{row.name} is listed as {row.rank or 'a name'}, not as {rank}"
        else:
            outcome, reason = _outcome_of(row), standing
    elif row.status not in (ACCEPTED,):
        reason = f"{reason}, and {standing.removeprefix(row.name + ' ')}"
    if row.status == MISAPPLIED:
        outcome = Outcome.MISAPPLIED
    if hit.how is Outcome.EXACT and "×" in row.name and not (name.hybrid or name.hybrid_genus):
        reason = f"{reason}; it is a hybrid, asked for without its mark"
    of = f"{index.checklist}:{taxon_id}" if taxon_id else ""
    reason = f"{reason} ({index.label})"
    return NameCandidate(row.name, row.authorship, row.rank, row.status, accepted, of, outcome, reason, hit.distance)


def _is_rank(row: NameRow, rank: Rank, name: WrittenName) -> bool:
    if rank is Rank.SPECIES:
        return bool(name.epithet or name.reading) and (row.rank not in _SEVEN or row.rank == Rank.SPECIES)
    if name.reading and row.rank == Rank.SPECIES:  # a genus with an author that turned out to be a species
        return rank is Rank.GENUS
    return row.rank == rank or row.rank in _ANY_RANK


def _outcome_of(row: NameRow) -> Outcome:
    return _OF_STATUS.get(row.status, Outcome.SYNONYM)


def _standing(row: NameRow, accepted_row: NameRow | None, accepted: Taxon | None) -> str:
    """What the checklist says of a name, as a sentence that begins with the name."""
    of = accepted_row.name if accepted_row is not None else ""
    where = f" of {of}" if of else f", and the name that it points to ({row.accepted or 'none'}) is not an accepted one"
    if row.status == ACCEPTED:
        above = accepted.scientific_name if accepted is not None else ""
        belongs = f"; it belongs to {above}" if above and above != row.name and row.rank not in _SEVEN else ""
        return f"{row.name} is an accepted name{belongs}"
    if row.status == DOUBTFUL:
        return f"{row.name} is a doubtful name"
    if row.status == PRO_PARTE:
        return f"{row.name} is in part a synonym{where}"
    if row.status == MISAPPLIED:
        return f"{row.name} was misapplied to {of or 'a name that is not listed'}"
    return f"{row.name} is a synonym{where}"


def _told_apart(found: list[NameCandidate], kingdom: str) -> list[NameCandidate]:
    """Mark homonyms: equal names of several accepted taxa, and names of another kingdom than the given one."""
    standing = (Outcome.EXACT, Outcome.DOUBTFUL)
    inside = [c for c in found if _in_kingdom(c, kingdom)]
    distinct = {c.taxon_id for c in inside if c.outcome in standing}
    everywhere = {c.taxon_id for c in found if c.outcome in standing}
    told = []
    for candidate in found:
        if not _in_kingdom(candidate, kingdom):
            there = candidate.accepted.kingdom if candidate.accepted else ""
            reason = f"{candidate.name} is a name in {there}, not in {kingdom} as given: a homonym in another kingdom"
            is_answer = candidate.outcome not in (Outcome.WRONG_RANK, Outcome.HIGHER_RANK, Outcome.MISAPPLIED)
            candidate = replace(candidate, outcome=Outcome.HOMONYM if is_answer else candidate.outcome, reason=reason)
        elif candidate.outcome in standing and len(distinct) > 1:
            reason = f"homonym ({len(distinct)}): {candidate.reason}; it stands in {_place(candidate)}"
            candidate = replace(candidate, outcome=Outcome.HOMONYM, reason=reason)
        elif candidate.outcome in standing and len(everywhere) > 1:
            candidate = replace(
                candidate, reason=f"{candidate.reason}; homonym ({len(everywhere)}), told apart by {kingdom}"
            )
        told.append(candidate)
    return told


def _in_kingdom(candidate: NameCandidate, kingdom: str) -> bool:
    there = candidate.accepted.kingdom if candidate.accepted else ""
    return not kingdom or not there or there.lower() == kingdom.lower()


def _place(candidate: NameCandidate) -> str:
    """The higher names by which a person tells homonyms apart."""
    taxon = candidate.accepted or Taxon()
    return " ".join(name for name in (taxon.kingdom, taxon.class_, taxon.family) if name) or "no named lineage"


def _nothing(index: TaxonomyIndex, name: WrittenName) -> NameCandidate:
    if not name.text:
        reason = "no name was given"
    elif name.epithet_alone:
        reason = f"{name.text} is an epithet without its genus, which names nothing"
    else:
        reason = f"{name.canonical or 'an empty name'} is not in {index.label}, nor is a name like it"
    return NameCandidate(name.canonical or name.text, "", "", "", None, "", Outcome.NONE, reason)


def places_of(candidates: Iterable[NameCandidate]) -> str:
    """Candidates on one line: "Ficus (Plantae Moraceae), Ficus (Animalia Ficidae)"."""
    seen = {c.taxon_id: f"{c.accepted.scientific_name if c.accepted else c.name} ({_place(c)})" for c in candidates}
    return ", ".join(list(seen.values())[:5])
