"""Labels of a source's rows: names cleaned and resolved, and the ids, licence and split that the source states."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from bioclip_core.names import clean_name, parse_name
from bioclip_core.taxonomy import RANKS, Taxon
from bioclip_training.catalog.naming.likeness import Spellings
from bioclip_training.catalog.naming.name_decisions import PLAIN_COLUMNS, NameDecisions, is_repaired, misspelt
from bioclip_training.catalog.naming.names import NAME_COLUMNS, Label
from bioclip_training.catalog.naming.one_taxon import OneTaxon
from bioclip_training.taxonomy.resolving import TaxonomyIndex

SOURCE_IDS = (
    "occurrenceid", "treeoflifeid", "eolcontentid", "bioscanfilename", "inat21filename", "gbifid", "catalognumber", "sourceid", "id",
)  # fmt: skip
"""Columns with the source's own id of the occurrence or image, the best first (by their plain names)."""
LICENCES = ("license", "licence", "rights")
_REMEMBERED = 200_000  # distinct names kept cleaned; about 200 MB at most


class Labeller:
    """Cleaner and resolver of names, which treats equal names once."""

    def __init__(self, resolver: TaxonomyIndex | None = None, names: NameDecisions | None = None) -> None:
        self._resolver = resolver
        self.names = names or NameDecisions()
        """Decisions about names that are not scientific ones."""
        self._meant: dict[str, str] = {}  # suspected misspellings
        self._known: dict[tuple[tuple[str, str], ...], Label] = {}
        self._one_taxon: OneTaxon | None = None
        self.outcomes: Counter[str] = Counter()
        """Rows by the outcome of resolving their names."""
        self.unresolved: Counter[Label] = Counter()
        """Rows of each label without an accepted name."""

    def label(self, cells: Mapping[str, Any], *, count: bool = False) -> Label:
        """Return the label of a row with cells from :func:`~bioclip_core.cells.plain_cells`; ``count`` counts the row."""
        columns = NAME_COLUMNS.union(PLAIN_COLUMNS) if self.names.options.plain_labels else NAME_COLUMNS
        key = tuple((name, str(value)) for name, value in cells.items() if name in columns)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._resolved(cells)
            if (meant := self._meant.get(known.taxon.scientific_name)) and not known.is_decided:
                known = misspelt(known, meant, f"not known, and within two letters of {meant}, which is more frequent")
            known = self._known[key] = (
                self._one_taxon.applied(known) if self._one_taxon and not known.taxon.is_plain else known
            )
        if count and known.outcome:
            self.outcomes[known.outcome] += 1
        if count and known.unresolved:
            self.unresolved[known] += 1
        return known

    def join(self, taxa: OneTaxon) -> None:
        """Give every further label the lineage and common name of its taxon in all sources."""
        self._one_taxon = taxa
        self._known.clear()

    def suspect(self, spellings: Spellings) -> None:
        """Leave out names that are probably misspelt, from here on: no other source and no taxonomy knows them.

        Raises:
            DataError: if the map of names has such a name.
        """
        self.names.check_map(spellings, self._is_listed)
        self._meant = spellings.suspects(self._is_listed)
        self.names.near_names = [pair for pair in spellings.near_pairs(self._is_listed) if pair[0] not in self._meant]
        self.names.near_letters = spellings.letters_compared
        self._known.clear()

    def is_suspect(self, taxon: Taxon) -> bool:
        """True for a name that is left out as a misspelling."""
        return taxon.scientific_name in self._meant

    def _is_listed(self, name: str) -> bool:
        return self._resolver is not None and bool(self._resolver.rows(parse_name(name).key))

    def facts(self) -> dict[str, Any]:
        """Return what is stored with the catalog; empty without a taxonomy and options about names."""
        decided = self.names.facts()
        if self._resolver is None:
            return decided
        unresolved = {"names": len(self.unresolved), "rows": self.unresolved.total()}
        return {**decided, "resolved": dict(sorted(self.outcomes.items())), "unresolved": unresolved}

    def _resolved(self, cells: Mapping[str, Any]) -> Label:
        label = self.names.read(cells, self._resolver)
        if label.taxon.is_plain or label.fault is not None:
            return label
        label = replace(label, taxon=replace(label.taxon, source_id=""))
        if self._resolver is None or (label.taxon.rank is None and not clean_name(label.verbatim)):
            return label
        found = self._resolver.resolve(label.taxon, label.verbatim)
        label = replace(label, outcome=str(found.outcome))
        if is_repaired(found) and found.taxon is not None and not label.is_decided:
            return misspelt(label, found.taxon.scientific_name, found.reason)
        if found.taxon is None:
            return replace(label, unresolved=found.reason or label.outcome, ambiguous=found.ambiguous)
        taxon = replace(found.taxon, common_name=label.taxon.common_name or found.taxon.common_name, source_id="")
        changes = (*label.changes, *resolving_changes(label.taxon, taxon, found.reason))
        return replace(label, taxon=taxon, changes=changes, taxon_id=found.taxon_id)


def resolving_changes(before: Taxon, after: Taxon, reason: str) -> list[str]:
    """Return the changes that a taxonomy made: of names with its reason, and the ranks that it filled."""
    pairs = list(zip(RANKS, before.lineage, after.lineage, strict=True))
    changes = [reason] if any(old and old != new for _, old, new in pairs) or before.rank != after.rank else []
    if filled := [f"{rank.value} {new}" for rank, old, new in pairs if new and not old]:
        changes.append(f"filled in: {', '.join(filled)}")
    return changes


def first_cell(cells: Mapping[str, Any], columns: Iterable[str]) -> str:
    """Return the first cell with a value in these columns as text, underscores and all; empty without one."""
    return next((str(cells[name]).strip() for name in columns if clean_name(cells.get(name))), "")


def occurrence_of(cells: Mapping[str, Any]) -> str:
    """Return the id of a row's occurrence as its source states it, by which sources are joined; empty without one."""
    if occurrence := first_cell(cells, ("occurrenceid",)):
        return occurrence
    return f"GBIF {gbif}" if (gbif := first_cell(cells, ("gbifid",))) else ""
