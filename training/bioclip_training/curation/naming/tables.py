"""The tables of common names of a configuration, with their rows joined to taxa."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from bioclip_core.findings import Findings
from bioclip_core.names import parse_name
from bioclip_core.taxonomy import Taxon
from bioclip_training.curation.naming.common_names import CommonNames
from bioclip_training.curation.naming.common_tables import CommonName, read_common_names
from bioclip_training.curation.tallies import Tally
from bioclip_training.taxonomy.resolving import TaxonomyIndex

_PREFERRED_ROWS = 1000
"""Weight of a name that a table prefers, against others of the same taxon in it."""


class CommonTables:
    """Tables of common names."""

    def __init__(self, paths: Sequence[Path], taxonomy: TaxonomyIndex | None, tally: Tally) -> None:
        self._paths, self._taxonomy, self._tally = paths, taxonomy, tally

    def taxa_by_common(self, names: Collection[str]) -> dict[str, dict[Taxon, str]]:
        """Return the taxa that the taxonomy accepts for common names (in small letters), each with its id."""
        found: dict[str, dict[Taxon, str]] = {}
        if self._taxonomy is None:
            return found
        for path in self._paths:
            for row in read_common_names(path, Findings()):
                key = " ".join(row.name.split()).casefold()
                if key in names and (resolved := self._accepted(row)) is not None:
                    found.setdefault(key, {})[resolved[0]] = resolved[1]
        return found

    def _accepted(self, row: CommonName) -> tuple[Taxon, str] | None:
        assert self._taxonomy is not None
        if row.scientific_name:
            found = self._taxonomy.resolve(Taxon(), row.scientific_name)
            return (Taxon.of(found.taxon.lineage), found.taxon_id) if found.taxon is not None else None
        if row.is_of_eol or (listed := self._taxonomy.row(row.taxon_id)) is None:
            return None
        accepted = self._taxonomy.accepted_row(listed)
        if accepted is None:
            return None
        taxon, taxon_id = self._taxonomy.placed(accepted)
        return taxon, f"{self._taxonomy.checklist}:{taxon_id}"

    def add_to(
        self, names: CommonNames, taxa: Mapping[Taxon, str], of_pages: Callable[[], Mapping[str, Taxon]]
    ) -> None:
        """Add the rows of all tables that name one of some taxa.

        Args:
            names: what they are added to.
            taxa: the taxa with their ids; empty without one.
            of_pages: returns the taxa of EOL's pages; it is called only for a table with pages and no names.
        """
        if not self._paths:
            return
        by_key: dict[str, list[Taxon]] = {}
        by_id: dict[str, Taxon] = {}
        for taxon, taxon_id in taxa.items():
            by_key.setdefault(_key(taxon.scientific_name), []).append(taxon)
            if taxon_id:
                by_id[taxon_id.partition(":")[2]] = taxon
        for path in self._paths:
            findings = Findings()
            rows = joined = 0
            pages: Mapping[str, Taxon] | None = None
            for row in read_common_names(path, findings):
                rows += 1
                if row.is_of_eol and not row.scientific_name and pages is None:
                    pages = of_pages()
                for taxon in self._taxa_of(row, by_key, by_id, pages or {}):
                    joined += 1
                    names.add(taxon, row.name, row.language, path.name, _PREFERRED_ROWS if row.is_preferred else 1)
            self._report(path, rows, joined, findings)

    def _taxa_of(
        self, row: CommonName, by_key: Mapping[str, list[Taxon]], by_id: Mapping[str, Taxon], pages: Mapping[str, Taxon]
    ) -> Iterator[Taxon]:
        """Yield the taxon of a row; a name that several kingdoms have says nothing of any of them."""
        if row.scientific_name:
            found = by_key.get(_key(row.scientific_name), [])
            yield from found if len(found) == 1 else ()
            return
        if (taxon := (pages if row.is_of_eol else by_id).get(row.taxon_id)) is not None:
            yield taxon

    def _report(self, path: Path, rows: int, joined: int, findings: Findings) -> None:
        self._tally.count(f"rows of {path.name} whose taxon has records", joined)
        for line in findings.lines():
            self._tally.note(f"{path.name}: {line}")
        if rows and not joined:
            self._tally.note(
                f"{path.name} has {rows} common names, and none of them is of a taxon with records: are its names or ids those of another "
                "checklist?"
            )


def _key(name: str) -> str:
    return parse_name(name).key
