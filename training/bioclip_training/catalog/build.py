"""Building of a catalog: sources surveyed, rows labelled, images fingerprinted, duplicates and splits decided, one file written."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from bioclip_core.errors import SourceError, UsageError
from bioclip_core.progress import silent
from bioclip_training.catalog.fingerprints import Look, check_library
from bioclip_training.catalog.finishing import finish
from bioclip_training.catalog.ledger import Ledger
from bioclip_training.catalog.naming.labelling import Labeller
from bioclip_training.catalog.naming.name_decisions import NameDecisions
from bioclip_training.catalog.options import BuildOptions
from bioclip_training.catalog.reading import read
from bioclip_training.catalog.rows import CatalogRow
from bioclip_training.catalog.skipped import Skipped
from bioclip_training.catalog.sources import LabelledSource, SkippedRow
from bioclip_training.catalog.survey import survey
from bioclip_training.catalog.uris import RelativeUris, escaped
from bioclip_training.catalog.writing import DraftWriter
from bioclip_training.taxonomy.resolving import TaxonomyIndex

REMOVED_COLUMNS = ("uri", "source", "kind", "reason", "name", "split")
UNRESOLVED_COLUMNS = ("verbatim_name", "name", "outcome", "reason", "rows")


@dataclass(frozen=True, slots=True)
class Built:
    """A finished catalog, in the folder that was given for the work."""

    catalog: Path
    removed: Path | None
    """CSV of every row that is not in the catalog; None if all are."""
    unresolved: Path | None
    """CSV of the names that the taxonomy could not resolve."""
    duplicates: Path | None
    """CSV of pairs of equal and near regions."""
    apart: Path | None
    """CSV of names with contradictory lineages, which stay several labels."""
    merged: Path | None
    """CSV of the labels of other rows of an image: those that were replaced, and those that could not be decided between."""
    facts: dict[str, Any]
    """Content of the catalog's metadata."""


def build_catalog(
    sources: Sequence[LabelledSource],
    folder: Path,
    work: Path,
    options: BuildOptions,
    *,
    resolver: TaxonomyIndex | None = None,
    names: NameDecisions | None = None,
    started: Callable[[int], None] = silent,
    progress: Callable[[int], None] = silent,
) -> Built:
    """Build a catalog of labelled sources.

    Each image has one label, whatever sources have it (:mod:`~bioclip_training.catalog.merging.deciding`), and the order of the sources
    decides on the order of the rows only. The same sources and options give the same bytes. Memory holds about 150 bytes
    per row, and each distinct name and group once; everything else is streamed.

    Args:
        folder: the future folder of the catalog, since its uris are relative to it.
        work: an empty folder on the same disk; the files of the result are made in it.
        resolver: an open taxonomy.
        names: decisions about names that are not scientific ones; it holds the undecided ones at the end, also after an error.
        started: called with the number of rows before the first image is read.
        progress: called with the number of further rows that were read.

    Raises:
        SourceError: if no row can be used.
        UsageError: if the options do not fit the sources (no column says which images belong together, no such source to prefer).
    """
    if options.near_distance:
        check_library()
    _check_preferred(sources, options)
    labeller, ledger, uris = Labeller(resolver, names), Ledger(), RelativeUris(folder)
    known = survey(sources, labeller, options)
    started(known.rows)
    rows = (read(source, known, labeller, options, uris) for source in sources)
    skipped = _write_draft(chain.from_iterable(rows), ledger, work, progress)
    facts = {**known.facts(), **options.as_facts(), **skipped.facts(), **labeller.facts()}
    lists, facts = finish(work, ledger, options, known, facts, skipped)
    removed = work / "removed.csv" if facts["left_out"] else None
    return Built(
        work / "catalog.parquet", removed, _unresolved(work, labeller), lists.duplicates,
        known.taxa.write(work / "apart.csv"), lists.merged, facts,
    )  # fmt: skip


def _check_preferred(sources: Sequence[LabelledSource], options: BuildOptions) -> None:
    names = [source.name for source in sources]
    if unknown := [name for name in options.prefer if name not in names]:
        raise UsageError(f"--prefer {unknown[0]}: this is not a source of this catalog; there are {', '.join(names)}")


def _write_draft(
    rows: Iterable[tuple[CatalogRow, Look, bool] | SkippedRow],
    ledger: Ledger,
    work: Path,
    progress: Callable[[int], None],
) -> Skipped:
    """Write the usable rows as a draft and list the skipped ones."""
    skipped = Skipped(Counter(rows_read=0, names_changed=0, rows_in_bursts=0))
    with (
        DraftWriter(work / "draft.parquet") as draft,
        (work / "removed.csv").open("w", encoding="utf-8", newline="") as out,
    ):
        removed = csv.writer(out)
        removed.writerow(REMOVED_COLUMNS)
        for found in rows:
            skipped.counts["rows_read"] += 1
            if isinstance(found, SkippedRow):
                skipped.add(found.kind, found.uri, found.reason)
                removed.writerow([escaped(found.uri), found.source, found.kind, found.reason, found.name, ""])
            else:
                row, look, in_burst = found
                skipped.counts["names_changed"] += bool(row.changes)
                skipped.counts["rows_in_bursts"] += in_burst
                ledger.add(row, look)
                draft.add(row)
            progress(1)
    if not skipped.counts["rows_read"]:
        raise SourceError(
            "the sources have no rows: give a table with images and names, a folder tree named by taxon, or a store with reviews"
        )
    if not len(ledger):
        raise skipped.nothing_left()
    return skipped


def _unresolved(work: Path, labeller: Labeller) -> Path | None:
    if not labeller.unresolved:
        return None
    file = work / "unresolved.csv"
    with file.open("w", encoding="utf-8", newline="") as out:
        table = csv.writer(out)
        table.writerow(UNRESOLVED_COLUMNS)
        for label, rows in sorted(labeller.unresolved.items(), key=lambda item: (-item[1], item[0].verbatim)):
            table.writerow([label.verbatim, label.taxon.scientific_name, label.outcome, label.unresolved, rows])
    return file
