"""Reading of one combination of written names: cleaned by the parser, resolved by the taxonomy, or without a label and why."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from bioclip_core.names import NameKind, clean_name, parse_name
from bioclip_core.taxonomy import RANKS, Rank, Taxon
from bioclip_training.catalog.naming.labelling import resolving_changes
from bioclip_training.catalog.naming.name_decisions import NameDecisions, is_repaired
from bioclip_training.catalog.naming.names import Label, cleaned
from bioclip_training.curation.naming.combinations import Reading, Written
from bioclip_training.curation.naming.plain import listed_plainly
from bioclip_training.taxonomy.near import Outcome
from bioclip_training.taxonomy.resolving import Resolution, TaxonomyIndex

Unlisted = Literal["higher", "keep"]

AMBIGUOUS = "whose name several taxa have, with nothing to tell them apart"
MISSPELT = "whose name is probably misspelt"
UNLISTED = "whose name the taxonomy does not list, without any rank above it"
CONTRADICTORY = "whose name and ranks are those of different taxa"
UNNAMED = "without a name"
SEVERAL = "with several names"
COMMON = "with a common name that belongs to no single species"
NO_ORGANISM = "of no organism, or of one that was not identified"
NO_NAME = "with a code or words that are not a name"

_OF_FAULT = {
    NameKind.VERDICT: NO_ORGANISM, NameKind.SEVERAL: SEVERAL, NameKind.COMMON: COMMON, NameKind.MISSPELT: MISSPELT,
    NameKind.CODE: NO_NAME, NameKind.FOLDER: NO_NAME, NameKind.DOUBTFUL: NO_NAME,
}  # fmt: skip
_RANKS_AGAINST_KINGDOM = 2
"""Ranks between kingdom and genus that show that the kingdom of a record is wrong."""
_SINGLE = re.compile(r"(?:Candidatus |× )?[^\W\d_][^\W_]*(?:-[^\W_]+)*")
_NOT_MEANT = frozenset((Outcome.WRONG_RANK, Outcome.HIGHER_RANK, Outcome.MISAPPLIED, Outcome.NONE))
_SURE = frozenset((Outcome.EXACT, Outcome.SYNONYM, Outcome.DOUBTFUL))


class NameReader:
    """Reader of combinations; one per process, since it remembers names."""

    def __init__(self, taxonomy: TaxonomyIndex | None, unlisted: Unlisted = "higher") -> None:
        """Keep what names are read with.

        Args:
            taxonomy: names are resolved with it; None keeps them as the sources write them.
            unlisted: label of a name that the taxonomy does not list: the lowest listed rank above it, or the name as written.
        """
        self._taxonomy, self._unlisted = taxonomy, unlisted
        self._decisions = NameDecisions()

    def read(self, written: Written) -> Reading:
        """Return the label of a combination as far as its own cells tell."""
        if self._taxonomy is not None and (plain := listed_plainly(written, self._taxonomy)):
            return plain
        label = _with_single_names(self._decisions.read(written.cells, self._taxonomy))
        reading = Reading(written.number, label.verbatim, written.rows, changes=list(label.changes))
        reading.says_place = any(label.taxon.lineage[:5])
        if label.taxon.rank is None:
            self._without_taxon(reading, label, written)
        elif self._taxonomy is None:
            reading.taxon = _bare(label.taxon)
        else:
            self._resolve(reading, label)
        return reading

    def _without_taxon(self, reading: Reading, label: Label, written: Written) -> None:
        fault = label.fault
        if fault is None:
            reason = label.why_unread if clean_name(label.verbatim) else "no name in any column"
            reading.refuse(NO_NAME if clean_name(label.verbatim) else UNNAMED, reason)
            return
        if fault.kind is NameKind.MISSPELT and self._taxonomy is not None and self._repaired(reading, label, written):
            return
        if fault.kind in (NameKind.COMMON, NameKind.DOUBTFUL):
            reading.may_be_common = clean_name(label.verbatim)
        reading.refuse(_OF_FAULT[fault.kind], fault.reason)

    def _repaired(self, reading: Reading, label: Label, written: Written) -> bool:
        """Read a name with a capital or a digit inside a word ("vu1pes") as the listed name that is meant."""
        assert self._taxonomy is not None
        assert label.fault is not None
        above = {rank.value: written.cells.get(rank.value, "") for rank in RANKS[:5]}
        meant = cleaned({**above, "scientificname": label.fault.names[0]}, is_asserted=True)
        found = self._taxonomy.resolve(meant.taxon, meant.verbatim)
        if found.taxon is None or found.outcome not in _SURE:
            return False
        reading.changes.append(f"{label.verbatim!r} read as {meant.verbatim!r}: {label.fault.reason}")
        self._accept(reading, meant.taxon, found)
        return True

    def _resolve(self, reading: Reading, label: Label) -> None:
        assert self._taxonomy is not None
        given = _bare(label.taxon)
        found = self._of_older_genus(given, label.verbatim) or self._taxonomy.resolve(given, label.verbatim)
        reading.outcome = str(found.outcome)
        if found.taxon is not None and is_repaired(found):
            reading.taxon = given
            reading.proposal, reading.proposal_id = _bare(found.taxon), found.taxon_id
            reading.proposal_reason = found.reason
        elif found.taxon is not None:
            self._accept(reading, given, found)
        elif found.ambiguous:
            self._share(reading, given, found)
        elif found.outcome is Outcome.HOMONYM and self._is_of_other_kingdom(reading, given, label):
            pass
        elif found.outcome is Outcome.HOMONYM and given.rank is Rank.SPECIES:
            reading.refuse(CONTRADICTORY, found.reason)
        else:
            self._not_listed(reading, given, label, found)

    def _accept(self, reading: Reading, given: Taxon, found: Resolution) -> None:
        assert found.taxon is not None
        reading.taxon, reading.taxon_id, reading.outcome = _bare(found.taxon), found.taxon_id, str(found.outcome)
        reading.changes += resolving_changes(given, reading.taxon, found.reason)

    def _of_older_genus(self, given: Taxon, verbatim: str) -> Resolution | None:
        """Return what a binomial of another genus means if it is a synonym in the genus that the row states."""
        assert self._taxonomy is not None
        if given.rank is not Rank.GENUS or " " not in verbatim:
            return None
        written = parse_name(verbatim)
        if not written.epithet or written.doubt or written.genus == given.genus:
            return None
        found = self._taxonomy.resolve(Taxon.of(given.lineage[:5]), verbatim)
        is_of_genus = found.taxon is not None and found.taxon.genus == given.genus and not is_repaired(found)
        return found if is_of_genus else None

    def _is_of_other_kingdom(self, reading: Reading, given: Taxon, label: Label) -> bool:
        """Correct a kingdom that all other ranks of a row contradict; return False if they do not."""
        assert self._taxonomy is not None
        elsewhere = self._taxonomy.resolve(replace(given, kingdom=""), label.verbatim)
        if elsewhere.taxon is None or not given.kingdom or is_repaired(elsewhere):
            return False
        pairs = zip(given.lineage[1:5], elsewhere.taxon.lineage[1:5], strict=True)
        agreeing = [here == there for here, there in pairs if here]
        if len(agreeing) < _RANKS_AGAINST_KINGDOM or not all(agreeing):
            return False
        kingdom = elsewhere.taxon.kingdom
        reading.changes.append(f"kingdom {given.kingdom} became {kingdom}, to which the ranks below it belong")
        self._accept(reading, replace(given, kingdom=kingdom), elsewhere)
        return True

    def _share(self, reading: Reading, given: Taxon, found: Resolution) -> None:
        """Label a name of several taxa by the lowest rank that they share, below the kingdom.

        A checklist may list one name twice, with other authors: the label is the same.
        """
        taxa = [
            one.accepted for one in found.candidates
            if one.accepted is not None and one.taxon_id and one.outcome not in _NOT_MEANT
            and given.kingdom in ("", one.accepted.kingdom)
        ]  # fmt: skip
        shared = next((rank for rank in reversed(RANKS[1:]) if _is_shared(taxa, rank)), None)
        if shared is None:
            reading.refuse(AMBIGUOUS, found.reason)
            return
        above = taxa[0].truncated(shared)
        reading.changes.append(f"{found.reason}; labelled by what they share")
        reading.outcome = str(Outcome.HIGHER_RANK)
        assert self._taxonomy is not None
        ids = [one.taxon_id for one in found.candidates if one.accepted in taxa]
        own = self._taxonomy.resolve(above).taxon_id
        reading.taxon, reading.taxon_id = _bare(above), min(ids) if shared is Rank.SPECIES else own
        reading.changes += resolving_changes(given.truncated(shared), reading.taxon, "")

    def _not_listed(self, reading: Reading, given: Taxon, label: Label, found: Resolution) -> None:
        """Label a name that the taxonomy does not have, by a listed rank above it or as it is written."""
        above = self._listed_above(given)
        if above is not None and above.ambiguous:
            reading.refuse(AMBIGUOUS, f"{found.reason}; {above.reason}")
            return
        if above is None:
            reading.taxon = given  # of a part of life that the taxonomy does not cover
            if not reading.says_place:
                reading.unplaced, reading.may_be_common = found.reason, clean_name(label.verbatim)
            return
        assert above.taxon is not None
        rank, listed = above.taxon.rank, above.taxon
        assert rank is not None
        if self._unlisted == "keep":
            reading.taxon = Taxon.of((*listed.lineage[: rank.depth + 1], *given.lineage[rank.depth + 1 :]))
            reading.changes += resolving_changes(given, reading.taxon, above.reason)
            return
        reading.changes.append(f"{found.reason}; labelled by its {rank}")
        reading.outcome = str(Outcome.HIGHER_RANK)
        reading.taxon, reading.taxon_id = _bare(listed), above.taxon_id
        reading.changes += resolving_changes(given.truncated(rank), reading.taxon, above.reason)

    def _listed_above(self, given: Taxon) -> Resolution | None:
        """Return the lowest rank above a name that the taxonomy lists as it is written, also if it may be several taxa.

        The kingdom alone does not count.
        """
        assert self._taxonomy is not None
        assert given.rank is not None
        for rank in reversed(RANKS[1 : given.rank.depth]):
            if given.lineage[rank.depth]:
                found = self._taxonomy.resolve(given.truncated(rank))
                if found.ambiguous or (found.taxon is not None and not is_repaired(found)):
                    return found
        return None


def _with_single_names(label: Label) -> Label:
    """Return a label without names of several words, or with other signs than letters, digits and hyphens; no epithet without its genus."""
    odd = [rank for rank in RANKS if (name := label.taxon.lineage[rank.depth]) and not _SINGLE.fullmatch(name)]
    if not odd or label.taxon.is_plain:
        return label
    lineage = ["" if rank in odd else name for rank, name in zip(RANKS, label.taxon.lineage, strict=True)]
    if not lineage[5]:
        lineage[6] = ""
    notes = [f"{rank} {label.taxon.lineage[rank.depth]!r} left empty: it is not a single name" for rank in odd]
    taxon = Taxon.of(lineage, label.taxon.common_name)
    unread = label.unread or ("" if taxon.rank is not None else "no rank has a single name")
    return replace(label, taxon=taxon, changes=(*label.changes, *notes), unread=unread)


def _is_shared(taxa: Sequence[Taxon], rank: Rank) -> bool:
    """True if several taxa have the same names down to a rank, and one at this rank."""
    lineages = {taxon.lineage[: rank.depth + 1] for taxon in taxa}
    return len(lineages) == 1 and bool(next(iter(lineages))[-1])


def _bare(taxon: Taxon) -> Taxon:
    """Return a taxon without its common name and id, which are those of a record."""
    return Taxon.of(taxon.lineage)


def written_name(taxon: Taxon) -> str:
    """Return the key by which names of one taxon are compared, whatever marks they have."""
    return parse_name(taxon.scientific_name).key if taxon.rank in (Rank.GENUS, Rank.SPECIES) else taxon.scientific_name
