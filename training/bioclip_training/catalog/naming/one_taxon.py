"""One label per taxon: the lineages and common names of all sources compared, before any row is written."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bioclip_core.lineages import JoinedLineages, Lineage, added_ranks, join_lineages, with_lineage
from bioclip_core.taxonomy import RANKS, Taxon
from bioclip_training.catalog.naming.names import Label

APART_COLUMNS = ("name", "rank", "kind", "differs_at", *(rank.value for rank in RANKS), "rows", "sources", "first")
"""Columns of the list of names that stay several labels."""
_SOURCES_SHOWN = 5


@dataclass(slots=True)
class _Written:
    """Rows with one lineage, as their sources write it."""

    first: str
    rows: int = 0
    sources: dict[str, None] = field(default_factory=dict)
    common: Counter[str] = field(default_factory=Counter)


class WrittenTaxa:
    """Every lineage that the sources write, with its rows: memory for each distinct one, and none for a row."""

    def __init__(self) -> None:
        self._written: dict[Lineage, _Written] = {}
        self._unsure: set[Lineage] = set()

    def add(self, label: Label, source: str, uri: str) -> None:
        """Count a row; one without a usable name does not count."""
        if label.taxon.rank is None:
            return
        lineage = label.taxon.lineage
        if (found := self._written.get(lineage)) is None:
            found = self._written[lineage] = _Written(uri)
        found.rows += 1
        if len(found.sources) < _SOURCES_SHOWN:
            found.sources[source] = None
        if label.taxon.common_name:
            found.common[label.taxon.common_name] += 1
        if label.ambiguous:
            self._unsure.add(lineage)

    def joined(self) -> OneTaxon:
        """Join what is one taxon, and choose a common name for each."""
        joined = join_lineages(self._written, unsure=self._unsure)
        common: dict[Lineage, Counter[str]] = {}
        for given, lineage in joined.of.items():
            common.setdefault(lineage, Counter()).update(self._written[given].common)
        # most_common keeps the order of equal counts, which is that of the sources.
        chosen = {lineage: names.most_common(1)[0][0] for lineage, names in common.items() if names}
        return OneTaxon(joined, chosen, self._written)


@dataclass(frozen=True, slots=True)
class OneTaxon:
    """The lineage and the common name of each taxon, whatever a row calls it."""

    joined: JoinedLineages
    common_names: Mapping[Lineage, str]
    """The most frequent one of each joined lineage; of equally frequent ones the first."""
    _written: Mapping[Lineage, _Written]

    @property
    def taxa(self) -> list[Taxon]:
        """All taxa, in the order of the sources."""
        lineages = dict.fromkeys(self.joined.of.values())
        return [Taxon.of(lineage, self.common_names.get(lineage, "")) for lineage in lineages]

    def applied(self, label: Label) -> Label:
        """Return a row's label with the lineage and common name of its taxon, and a sentence for each change."""
        given, common = label.taxon.lineage, label.taxon.common_name
        lineage = self.joined.of.get(given, given)
        taxon, changes = with_lineage(label.taxon, lineage), list(label.changes)
        if lineage != given:
            changes.append(f"completed from other rows: {added_ranks(given, lineage)}")
        chosen = self.common_names.get(lineage, common) if common else ""
        if chosen != common:
            taxon = replace(taxon, common_name=chosen)
            changes.append(f"common name {common!r} became {chosen!r}, the most frequent")
        return label if taxon == label.taxon else replace(label, taxon=taxon, changes=tuple(changes))

    def facts(self) -> dict[str, Any]:
        """Return what is stored with the catalog."""
        apart = self.joined.apart
        return {
            "taxa_joined": len({lineage for _, lineage in self.joined.joined}),
            "names_apart": {"names": len(apart), "first": str(apart[0])} if apart else {"names": 0},
        }

    def write(self, file: Path) -> Path | None:
        """List the names that stay apart, one line per lineage; return None if there are none."""
        if not self.joined.apart:
            return None
        with file.open("w", encoding="utf-8", newline="") as out:
            table = csv.writer(out)
            table.writerow(APART_COLUMNS)
            counted = self._counted()
            for apart in self.joined.apart:
                for lineage in apart.lineages:
                    rows, sources, first = counted[lineage]
                    table.writerow([
                        apart.name, apart.rank.value, "ambiguous" if lineage in apart.ambiguous else "contradictory",
                        " ".join(apart.differs_at), *lineage, *[""] * (len(RANKS) - len(lineage)), rows, "; ".join(sources), first,
                    ])  # fmt: skip
        return file

    def _counted(self) -> dict[Lineage, tuple[int, dict[str, None], str]]:
        """Return rows, sources and first row of each listed lineage."""
        wanted = {lineage for apart in self.joined.apart for lineage in apart.lineages}
        depths = {len(lineage) for lineage in wanted}
        found: dict[Lineage, tuple[int, dict[str, None], str]] = {}
        for given, written in self._written.items():
            for depth in depths:
                prefix = self.joined.of[given][:depth]
                if prefix in wanted:
                    rows, sources, first = found.get(prefix, (0, {}, written.first))
                    found[prefix] = rows + written.rows, {**sources, **written.sources}, first
        return found
