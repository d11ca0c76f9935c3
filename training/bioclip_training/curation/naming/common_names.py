"""One common name per taxon: by the order of languages and of tables, taxonomy and sources, without names of other ranks."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bioclip_core.taxonomy import Rank, Taxon
from bioclip_training.curation.naming.vernaculars import (
    OTHER_SCRIPT,
    SCIENTIFIC,
    cleaned_common,
    is_latin_script,
    is_scientific,
)
from bioclip_training.curation.tallies import Tally
from bioclip_training.taxonomy.index import TaxonomyFile

TAXONOMY = "taxonomy"
"""Name of the taxonomy's common names in ``names.precedence``."""
OF_SEVERAL = "common names of a group, since species of several genera have them"
OF_HIGHER = "common names of a higher taxon"
OTHER_LANGUAGE = "common names in languages that are not asked for"
_GROUP_SPECIES, _GROUP_GENERA = 3, 2
"""Species, and genera of them, from which a common name is that of a group."""
_LATIN_LANGUAGES = frozenset(
    "en de fr es pt it nl sv no nb nn da fi pl cs ro hr sl sk et lv lt is hu tr id ms vi af ca eu ga".split()
)


@dataclass(slots=True)
class _Candidate:
    """One common name of a taxon, in the spellings that differ in case."""

    origin: int
    """Place of its table, of the taxonomy or of its source in the order that counts."""
    language: int
    """Place of its language; that of an unknown one is behind all."""
    tag: str
    """The language itself."""
    rows: Counter[str] = field(default_factory=Counter)


class CommonNames:
    """Common names from all places, and the choice among them."""

    def __init__(
        self, languages: Sequence[str], order: Sequence[str], tally: Tally, taxonomy: TaxonomyFile | None = None
    ) -> None:
        """Keep by what is chosen.

        Args:
            languages: tags of two letters, the preferred one first.
            order: tables, ``taxonomy`` and sources; those that are not in it are equal and come last.
            tally: for names that are not used.
            taxonomy: knows scientific names in the place of common ones.
        """
        self._languages = {tag: place for place, tag in enumerate(languages)}
        self._is_latin = all(tag in _LATIN_LANGUAGES for tag in languages)
        self._order = {origin: place for place, origin in enumerate(order)}
        self._tally, self._taxonomy = tally, taxonomy
        self._of: dict[Taxon, dict[tuple[int, int, str], _Candidate]] = defaultdict(dict)
        self._of_higher: dict[str, set[str]] = defaultdict(set)

    def add(self, taxon: Taxon, written: str, language: str, origin: str, rows: int = 1) -> None:
        """Add a common name of a taxon, as written by so many records or rows of a table.

        Args:
            taxon: without common name and id.
            written: the cell.
            language: tag of two letters; empty if unknown.
            origin: a table, ``taxonomy`` or a source.
            rows: number of records.
        """
        if taxon.rank is None:
            return
        name, notes = cleaned_common(written)
        for note in notes:
            self._tally.count(note, rows)
        if not name:
            return
        place = self._languages.get(language, len(self._languages)) if language else len(self._languages)
        if language and language not in self._languages:
            self._tally.count(OTHER_LANGUAGE, rows)
            return
        if not language and self._is_latin and not is_latin_script(name):
            self._tally.count(OTHER_SCRIPT, rows)
            return
        if is_scientific(name, taxon, self._taxonomy):
            self._tally.count(SCIENTIFIC, rows)
            return
        if taxon.rank.depth < Rank.GENUS.depth:
            self.add_higher(taxon.scientific_name, name)
        key = (place, self._order.get(origin, len(self._order)), name.casefold())
        candidate = self._of[taxon].get(key)
        if candidate is None:
            candidate = self._of[taxon][key] = _Candidate(key[1], place, language)
        candidate.rows[name] += rows

    def add_higher(self, scientific_name: str, written: str) -> None:
        """Note the common name of a taxon above the genus, which is not that of its species."""
        self._of_higher[scientific_name].add(cleaned_common(written)[0].casefold())

    def chosen(self) -> dict[Taxon, tuple[str, str]]:
        """Return the common name of each taxon that has one, with its language."""
        groups = self._groups()
        found = {}
        for taxon, candidates in self._of.items():
            usable = [candidate for candidate in candidates.values() if self._is_of(taxon, candidate, groups)]
            if usable:
                best = min(usable, key=lambda one: (one.language, one.origin, -one.rows.total(), _first(one.rows)))
                found[taxon] = (_first(best.rows), best.tag)
        return found

    def _groups(self) -> frozenset[str]:
        """Return the names that species of several genera have: "beetle" is the name of none of them."""
        species: Mapping[str, set[Taxon]] = defaultdict(set)
        for taxon, candidates in self._of.items():
            if taxon.rank is Rank.SPECIES:
                for _, _, key in candidates:
                    species[key].add(taxon)
        return frozenset(
            key
            for key, taxa in species.items()
            if len(taxa) >= _GROUP_SPECIES and len({taxon.genus for taxon in taxa}) >= _GROUP_GENERA
        )

    def _is_of(self, taxon: Taxon, candidate: _Candidate, groups: frozenset[str]) -> bool:
        if taxon.rank is not Rank.SPECIES:
            return True
        key = next(iter(candidate.rows)).casefold()
        if any(key in self._of_higher.get(name, ()) for name in taxon.lineage[:5] if name):
            self._tally.count(OF_HIGHER, candidate.rows.total())
            return False
        if key in groups:
            self._tally.count(OF_SEVERAL, candidate.rows.total())
            return False
        return True


def _first(spellings: Counter[str]) -> str:
    """Return the most frequent spelling, of equally frequent ones the one with fewest capitals, then the first."""
    return min(spellings, key=lambda name: (-spellings[name], sum(map(str.isupper, name)), name))


def by_name(taxa: Iterable[Taxon]) -> dict[str, Taxon | None]:
    """Return taxa by their scientific names in small letters; None for a name of several."""
    found: dict[str, Taxon | None] = {}
    for taxon in taxa:
        key = taxon.scientific_name.casefold()
        found[key] = taxon if found.get(key, taxon) == taxon else None
    return found
