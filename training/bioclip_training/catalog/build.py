"""Building of a catalog: sources surveyed, rows labelled, images fingerprinted, duplicates and splits decided, one file written."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioclip_core.errors import SourceError
from bioclip_training.catalog.fingerprints import Look, check_library
from bioclip_training.catalog.finishing import finish
from bioclip_training.catalog.labelling import LICENCES, SOURCE_IDS, Labeller, first_cell
from bioclip_training.catalog.ledger import Ledger
from bioclip_training.catalog.options import FOLDER, IMAGE, BuildOptions
from bioclip_training.catalog.reading import Read, read
from bioclip_training.catalog.rows import CatalogRow
from bioclip_training.catalog.sources import LabelledSource, SkippedRow
from bioclip_training.catalog.splits import split_word
from bioclip_training.catalog.survey import Survey, group_of, survey
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
    facts: dict[str, Any]
    """Content of the catalog's metadata."""


def build_catalog(
    sources: Sequence[LabelledSource],
    folder: Path,
    work: Path,
    options: BuildOptions,
    *,
    resolver: TaxonomyIndex | None = None,
    started: Callable[[int], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Built:
    """Build a catalog of labelled sources.

    Rows are kept in the order of the sources. The same sources and options give the same bytes. Memory holds about 150 bytes
    per row, and each distinct name and group once; everything else is streamed.

    Args:
        folder: the future folder of the catalog, since its uris are relative to it.
        work: an empty folder on the same disk; the files of the result are made in it.
        resolver: an open taxonomy.
        started: called with the number of rows before the first image is read.
        progress: called with the number of further rows that were read.

    Raises:
        SourceError: if no row can be used.
        UsageError: if the options do not fit the sources (no column says which images belong together).
    """
    if options.near_distance:
        check_library()
    labeller, ledger = Labeller(resolver), Ledger()
    known = survey(sources, labeller, options)
    if started is not None:
        started(known.rows)
    counts = Counter(rows_read=0, names_changed=0, rows_in_bursts=0)
    left_out: Counter[str] = Counter()
    first: dict[str, str] = {}  # the first skipped row of each kind
    with (
        DraftWriter(work / "draft.parquet") as draft,
        (work / "removed.csv").open("w", encoding="utf-8", newline="") as out,
    ):
        removed = csv.writer(out)
        removed.writerow(REMOVED_COLUMNS)
        for found in _rows(sources, known, labeller, options, folder):
            counts["rows_read"] += 1
            if isinstance(found, SkippedRow):
                left_out[found.kind] += 1
                first.setdefault(found.kind, f"{found.uri}: {found.reason}")
                removed.writerow([escaped(found.uri), found.source, found.kind, found.reason, found.name, ""])
            else:
                row, look, burst = found
                counts["names_changed"] += bool(row.changes)
                counts["rows_in_bursts"] += bool(burst)
                ledger.add(row, look)
                draft.add(row)
            if progress is not None:
                progress(1)
    if not len(ledger):
        raise SourceError(_nothing_left(counts["rows_read"], left_out, first))
    facts = {**known.facts(), **options.as_facts(), **counts, **labeller.facts()}
    duplicates, facts = finish(work, ledger, options, known, facts, left_out)
    return Built(
        work / "catalog.parquet", work / "removed.csv" if facts["left_out"] else None, _unresolved(work, labeller), duplicates, facts
    )  # fmt: skip


def _rows(
    sources: Sequence[LabelledSource], known: Survey, labeller: Labeller, options: BuildOptions, folder: Path
) -> Iterator[SkippedRow | tuple[CatalogRow, Look, str]]:
    """Yield every row of every source in order, with its look and its burst if it has a usable image."""
    uris = RelativeUris(folder)
    for source in sources:
        columns = known.group_columns[source.name]
        for found in read(source, labeller, options, bursts=columns[0] not in (IMAGE, FOLDER)):
            if isinstance(found, SkippedRow):
                yield found
            else:
                group = group_of(columns, found.labelled.cells, found.labelled.item, source.root) or found.burst
                row = _catalog_row(found, uris, group or f"image {found.sha256[:16]}")
                yield row, found.look, found.burst


def _catalog_row(found: Read, uris: RelativeUris, group: str) -> CatalogRow:
    item, label, cells = found.labelled.item, found.labelled.label, found.labelled.cells
    return CatalogRow(
        uri=uris.of(found.labelled.path),
        taxon=label.taxon,
        verbatim_name=label.verbatim,
        source=item.source,
        source_id=first_cell(cells, SOURCE_IDS),
        taxon_id=label.taxon_id,
        licence=first_cell(cells, LICENCES),
        group=group,
        split=split_word(cells.get("split")),
        sha256=found.sha256,
        phash=found.look.hashed.hex(),
        frame=item.frame,
        box=item.box,
        changes=label.changes,
    )


def _nothing_left(rows: int, left_out: Counter[str], first: dict[str, str]) -> str:
    if not rows:
        return "the sources have no rows: give a table with images and names, a folder tree named by taxon, or a store with reviews"
    counts = ", ".join(f"{count} {kind}" for kind, count in left_out.most_common())
    return f"none of {rows} rows can be used ({counts}); the first of each kind: {'; '.join(first.values())}"


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
