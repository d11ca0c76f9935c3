"""Misspelt names: corrected where it is certain what is meant, and otherwise without a label, with the proposal."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from bioclip_core.taxonomy import Taxon
from bioclip_training.catalog.naming.labelling import resolving_changes
from bioclip_training.catalog.naming.likeness import Spellings
from bioclip_training.curation.naming.combinations import Reading
from bioclip_training.curation.naming.reading import MISSPELT
from bioclip_training.taxonomy.spelling import distance

_TIMES_AS_OFTEN = 20
"""Without a taxonomy that has it, a name is corrected to a near one of its genus or family that is this many times as frequent."""


def correct(readings: Iterable[Reading]) -> None:
    """Correct the misspelt names that a taxonomy, or far more frequent names, make certain; the others lose their label."""
    readings = list(readings)
    _correct_by_taxonomy([reading for reading in readings if reading.proposal is not None], _counted(readings))
    _correct_by_frequency(readings)


class _Uses:
    """How often and by which sources a name is used."""

    __slots__ = ("rows", "sources")

    def __init__(self) -> None:
        self.rows = 0
        self.sources: set[str] = set()

    def add(self, reading: Reading) -> None:
        for source, rows in reading.rows:
            self.rows += rows
            self.sources.add(source)


def _counted(readings: Iterable[Reading]) -> Mapping[Taxon, _Uses]:
    """Return the uses of each taxon that is written as the taxonomy has it."""
    uses: dict[Taxon, _Uses] = defaultdict(_Uses)
    for reading in readings:
        if reading.proposal is None and reading.taxon_id:
            uses[reading.taxon].add(reading)
    return uses


def _correct_by_taxonomy(readings: list[Reading], known: Mapping[Taxon, _Uses]) -> None:
    """Correct names that the taxonomy does not have, but one near name.

    A name that several sources have, more often than the near one, is rather a species that the taxonomy lacks.
    """
    written: dict[tuple[str, Taxon], _Uses] = defaultdict(_Uses)
    for reading in readings:
        assert reading.proposal is not None
        written[reading.taxon.scientific_name, reading.proposal].add(reading)
    nobody = _Uses()
    for reading in readings:
        given, meant = reading.taxon, reading.proposal
        assert meant is not None
        uses, others = written[given.scientific_name, meant], known.get(meant, nobody)
        if len(uses.sources) > 1 and uses.rows > others.rows:
            reading.refuse(
                MISSPELT,
                f"{reading.proposal_reason}, but {len(uses.sources)} sources write {given.scientific_name}, in {uses.rows} records, and "
                f"{meant.scientific_name} has {others.rows}",
            )
            continue
        reading.taxon, reading.taxon_id = meant, reading.proposal_id
        changes = resolving_changes(given, meant, reading.proposal_reason)
        if (
            not changes or changes[0] != reading.proposal_reason
        ):  # the letters that differ are not among the ranks: "gron…"
            changes.insert(0, reading.proposal_reason)
        reading.changes += changes


def _correct_by_frequency(readings: list[Reading]) -> None:
    """Correct names that no taxonomy decided to near ones that are far more frequent, or propose these."""
    open_names = [reading for reading in readings if reading.taxon.rank is not None and not reading.taxon_id]
    if not open_names:
        return
    spellings, rows = Spellings(), Counter[str]()
    decided = set()
    for reading in readings:
        if reading.taxon.rank is not None:
            name = reading.taxon.scientific_name
            if reading.taxon_id:
                decided.add(name)
            for source, count in reading.rows:
                spellings.add(name, source, rows=count)
                rows[name] += count
    suspects = spellings.suspects(decided.__contains__)
    meant_taxa = _most_frequent(readings, set(suspects.values()))
    for reading in open_names:
        name = reading.taxon.scientific_name
        if (meant := suspects.get(name)) is None:
            continue
        reason = f"{name} is within two letters of {meant}, which has {rows[meant]} records, not {rows[name]}"
        if not _is_certain(reading.taxon, meant_taxa[meant], rows[name], rows[meant]):
            reading.proposal = meant_taxa[meant]
            reading.refuse(MISSPELT, reason)
            continue
        given, named = reading.taxon, meant_taxa[meant]
        reading.taxon = Taxon.of((*given.lineage[:5], *named.lineage[5:])) if named.genus else named
        reading.changes.append(reason)


def _is_certain(given: Taxon, meant: Taxon, rows: int, rows_meant: int) -> bool:
    """True if a name is far rarer than a near one and one letter away from it, in the same genus or family."""
    if rows_meant < _TIMES_AS_OFTEN * rows:
        return False
    if distance(given.scientific_name.lower(), meant.scientific_name.lower(), 1) > 1:
        return False
    return given.genus == meant.genus or (bool(given.family) and given.family == meant.family)


def _most_frequent(readings: Iterable[Reading], names: set[str]) -> dict[str, Taxon]:
    """Return the most frequent taxon of each name."""
    found: dict[str, Counter[Taxon]] = defaultdict(Counter)
    for reading in readings:
        if (name := reading.taxon.scientific_name) in names:
            found[name][reading.taxon] += sum(count for _, count in reading.rows)
    return {name: max(taxa, key=lambda taxon: (taxa[taxon], taxon.lineage)) for name, taxa in found.items()}
