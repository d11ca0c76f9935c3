"""Stage ``names``: a label for each record, or the reason why it has none."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyarrow import parquet

from bioclip_core.errors import DataError, UsageError
from bioclip_core.findings import Findings
from bioclip_core.listed_names import did_you_mean, listed
from bioclip_core.taxonomy import RANKS, Taxon
from bioclip_training.curation import database
from bioclip_training.curation.columns import LABELS
from bioclip_training.curation.configuration import Curation
from bioclip_training.curation.naming.combinations import Reading
from bioclip_training.curation.naming.common_names import TAXONOMY, CommonNames
from bioclip_training.curation.naming.common_tables import read_common_names
from bioclip_training.curation.naming.labels import labels_table, summarise
from bioclip_training.curation.naming.meant import read_common_names_as_names
from bioclip_training.curation.naming.misspelt import correct
from bioclip_training.curation.naming.queries import RecordNames
from bioclip_training.curation.naming.settling import settle
from bioclip_training.curation.naming.tables import CommonTables
from bioclip_training.curation.naming.vernaculars import language_of
from bioclip_training.curation.naming.workers import read_all
from bioclip_training.curation.stages import StageWork
from bioclip_training.taxonomy.near import Outcome
from bioclip_training.taxonomy.resolving import TaxonomyIndex

if TYPE_CHECKING:
    import pyarrow as pa

_PROCESS_BYTES = 400_000_000
"""Memory of a process that reads names."""


@dataclass(frozen=True)
class NamesStage:
    """Label the records."""

    name: str = "names"
    version: int = 2
    needs: tuple[str, ...] = ("records",)

    def settings(self, config: Curation) -> dict[str, Any]:
        _check_given(config)
        return {
            "languages": list(_languages(config)),
            "common_names.precedence": list(_order(config)),
            "precedence": list(config.precedence),
            "unlisted": config.names.unlisted,
            "taxonomy_version": config.names.taxonomy_version,
        }

    def inputs(self, config: Curation) -> Mapping[str, Path]:
        tables = {f"common names {table.name}": table for table in config.names.common_names}
        return tables if config.taxonomy is None else {"taxonomy": config.taxonomy, **tables}

    def check(self, config: Curation) -> None:
        with ExitStack() as stack:
            _opened_taxonomy(config, stack)
        for table in config.names.common_names:
            next(read_common_names(table, Findings()), None)

    def run(self, work: StageWork) -> None:
        with ExitStack() as stack:
            taxonomy = _opened_taxonomy(work.config, stack)
            records = RecordNames(stack.enter_context(database.opened(work)), work.before["records"])
            tables = CommonTables(work.config.names.common_names, taxonomy, work.tally)
            readings = _readings(records, work, taxonomy)
            read_common_names_as_names(readings, taxonomy, tables)
            correct(readings)
            apart = settle(readings, work.config.precedence)
            summarise(readings, apart, work.tally)
            common = _common_names(readings, records, tables, work, taxonomy)
            labels = labels_table(readings, common)
            del readings
            _write_parts(labels, records, work)


def _order(config: Curation) -> tuple[str, ...]:
    """Return the tables, the taxonomy and the sources in the order in which their common names count.

    Raises:
        UsageError: if the configuration names something else.
    """
    tables = [table.name for table in config.names.common_names]
    known = [*tables, TAXONOMY, *sorted(config.sources)]
    for name in config.names.precedence:
        if name not in known:
            raise UsageError(
                f"names.precedence has {name!r}, which is neither a table of common names nor a source nor {TAXONOMY}; "
                f"these are {listed(known)}{did_you_mean(name, known)}"
            )
    return config.names.precedence or (*tables, TAXONOMY)


def _check_given(config: Curation) -> None:
    """Refuse a version of no taxonomy."""
    if config.taxonomy is None and config.names.taxonomy_version:
        raise UsageError(
            f"names.taxonomy_version is {config.names.taxonomy_version}, but no taxonomy is given: name its file as taxonomy"
        )


def _languages(config: Curation) -> tuple[str, ...]:
    """Return the tags of the languages that common names may have, as sources' languages are compared with them."""
    tags = {}
    for stated in config.names.languages:
        tag = language_of(stated)
        if not re.fullmatch("[a-z]{2,3}", tag):
            raise UsageError(
                f"names.languages {stated!r} is not a language that is known: give its tag, such as en or de"
            )
        tags[tag] = stated
    return tuple(tags)


def _opened_taxonomy(config: Curation, stack: ExitStack) -> TaxonomyIndex | None:
    """Open the taxonomy.

    Raises:
        DataError: if it has another version than the configuration states.
    """
    _check_given(config)
    if config.taxonomy is None:
        return None
    taxonomy = stack.enter_context(TaxonomyIndex.open(config.taxonomy))
    wanted = config.names.taxonomy_version
    if wanted and wanted not in (taxonomy.version, taxonomy.label):
        raise DataError(
            f"the taxonomy {config.taxonomy} is {taxonomy.label}, and the configuration states version {wanted}: give the file of that "
            f"version, or state taxonomy_version: {taxonomy.version!r}"
        )
    return taxonomy


def _readings(records: RecordNames, work: StageWork, taxonomy: TaxonomyIndex | None) -> list[Reading]:
    combinations = records.combinations()
    total = len(combinations)
    processes = max(1, min(work.threads, work.memory // (4 * _PROCESS_BYTES)))
    shared: dict[Taxon, Taxon] = {}
    readings = []
    for reading in read_all(
        combinations,
        taxonomy.path if taxonomy is not None else None,
        work.config.names.unlisted,
        processes,
        lambda done: work.progress(done, total),
    ):
        reading.taxon = shared.setdefault(reading.taxon, reading.taxon)
        reading.outcome = sys.intern(reading.outcome)
        readings.append(reading)
    work.tally.count("distinct combinations of written names", total)
    if taxonomy is None:
        work.tally.note("no taxonomy is given: names are cleaned and compared with each other, synonyms stay")
    return readings


def _common_names(
    readings: list[Reading],
    records: RecordNames,
    tables: CommonTables,
    work: StageWork,
    taxonomy: TaxonomyIndex | None,
) -> dict[Taxon, tuple[str, str]]:
    names = CommonNames(_languages(work.config), _order(work.config), work.tally, taxonomy)
    taxa = {reading.taxon: reading.taxon_id for reading in readings if reading.taxon.rank is not None}
    if taxonomy is not None:
        for taxon, taxon_id in taxa.items():
            if name := taxonomy.vernacular(taxon_id.removeprefix(f"{taxonomy.checklist}:")):
                names.add(taxon, name, "en", TAXONOMY)
        _add_higher(names, taxa, taxonomy)
    tables.add_to(names, taxa, lambda: _of_pages(readings, records))
    for number, written, language, source, rows in records.common_names():
        reading = readings[number]
        if reading.outcome != Outcome.HIGHER_RANK or reading.taxon.species:
            names.add(reading.taxon, written, language, source, rows)
    return names.chosen()


def _add_higher(names: CommonNames, taxa: Iterable[Taxon], taxonomy: TaxonomyIndex) -> None:
    """Add the common names that the taxonomy has for families and above."""
    for rank in RANKS[:5]:
        for name in {taxon.lineage[rank.depth] for taxon in taxa} - {""}:
            for row in taxonomy.rows(name.lower()):
                if row.rank == rank.value and (common := taxonomy.vernacular(row.id)):
                    names.add_higher(name, common)


def _of_pages(readings: list[Reading], records: RecordNames) -> dict[str, Taxon]:
    """Return the taxon of each EOL page; pages whose records have several taxa are left out."""
    found: dict[str, Taxon | None] = {}
    for number, page in records.pages():
        if (taxon := readings[number].taxon).rank is not None:
            found[page] = taxon if found.get(page, taxon) == taxon else None
    return {page: taxon for page, taxon in found.items() if taxon is not None}


def _write_parts(labels: pa.Table, records: RecordNames, work: StageWork) -> None:
    """Write the label of each record, in the parts of the records."""
    parts = work.parts_of("records")
    numbered = records.numbered([parquet.read_metadata(part).num_rows for part in parts])
    for at, (part, rows) in enumerate(zip(parts, numbered, strict=True)):
        work.progress(at, len(parts))
        name = part.stem.removeprefix("part-")
        if work.is_finished(name):
            continue
        with work.part(name, LABELS) as out:
            for batch in _batches(rows):
                found = labels.take(batch["number"])
                out.write(found.append_column("key", batch["key"]))
    work.progress(len(parts), len(parts))


def _batches(rows: pa.Table) -> Iterator[pa.Table]:
    for start in range(0, rows.num_rows, 65_536):
        yield rows.slice(start, 65_536)
