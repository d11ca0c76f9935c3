"""Building a catalog: sources surveyed, rows labelled, images fingerprinted, duplicates and splits decided, one file written."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bioclip_core.errors import SourceError
from bioclip_training.catalog.fingerprints import check_library
from bioclip_training.catalog.finishing import finish
from bioclip_training.catalog.labelling import Labeller, Resolver, given_split, licence, source_id
from bioclip_training.catalog.ledger import Ledger
from bioclip_training.catalog.options import FOLDER, IMAGE, BuildOptions
from bioclip_training.catalog.reading import Read, read
from bioclip_training.catalog.rows import CatalogRow
from bioclip_training.catalog.sources import LabelledSource, LeftOut
from bioclip_training.catalog.survey import Survey, group_of, survey
from bioclip_training.catalog.uris import RelativeUris, escaped
from bioclip_training.catalog.writing import DraftWriter

REMOVED_COLUMNS = ("uri", "source", "kind", "reason", "name", "split")
UNRESOLVED_COLUMNS = ("verbatim_name", "name", "outcome", "reason", "rows")


@dataclass(frozen=True, slots=True)
class Built:
    """A finished catalog, in the folder that was given for the work."""

    catalog: Path
    removed: Path | None
    """CSV of every row that is not in the catalog; None where all are."""
    unresolved: Path | None
    """CSV of the names that the taxonomy could not resolve."""
    duplicates: Path | None
    """CSV of pairs of equal and near regions."""
    facts: dict[str, Any]
    """What the catalog's metadata hold."""


@dataclass(slots=True)
class _Tally:
    """What is counted on the way."""

    rows: int = 0
    changed: int = 0
    in_bursts: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)
    """The first row that was left out, by kind."""


def build_catalog(
    sources: Sequence[LabelledSource],
    folder: Path,
    work: Path,
    options: BuildOptions,
    *,
    resolver: Resolver | None = None,
    started: Callable[[int], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Built:
    """Make a catalog of labelled sources.

    Rows are kept in the order of the sources. The same sources and options give the same bytes. In memory are some 150 bytes
    a row and each distinct name and group once; everything else is streamed.

    Args:
        folder: where the catalog will lie, since its uris are relative to it.
        work: an empty folder on the same disk; the files of the result are made in it.
        resolver: an open taxonomy.
        started: told how many rows there are, before the first image is read.
        progress: told how many more rows were read.

    Raises:
        SourceError: if no row can be used.
        UsageError: if the options do not fit the sources (no column that says what belongs together).
    """
    if options.near_distance:
        check_library()
    labeller = Labeller(resolver)
    known = survey(sources, labeller, options)
    if started is not None:
        started(known.rows)
    ledger, tally = Ledger(), _Tally()
    with ExitStack() as stack:
        draft = stack.enter_context(DraftWriter(work / "draft.parquet"))
        listed = csv.writer(stack.enter_context((work / "removed.csv").open("w", encoding="utf-8", newline="")))
        listed.writerow(REMOVED_COLUMNS)
        for row in _rows(sources, known, labeller, options, RelativeUris(folder), ledger, tally):
            if isinstance(row, LeftOut):
                _note(row, tally, listed)
            else:
                draft.add(row)
            if progress is not None:
                progress(1)
    if not len(ledger):
        raise SourceError(_nothing_left(tally))
    counts = {"rows_read": tally.rows, "names_changed": tally.changed, "rows_in_bursts": tally.in_bursts}
    facts = {**known.facts(), **options.as_facts(), **counts, **labeller.facts()}
    done = finish(work, ledger, options, known, facts, tally.left_out)
    removed = work / "removed.csv" if sum(done.facts["left_out"].values()) else None
    return Built(done.catalog, removed, _unresolved(work, labeller), done.duplicates, done.facts)


def _rows(
    sources: Sequence[LabelledSource],
    known: Survey,
    labeller: Labeller,
    options: BuildOptions,
    uris: RelativeUris,
    ledger: Ledger,
    tally: _Tally,
) -> Iterator[CatalogRow | LeftOut]:
    """Every row of every source in order, those of the catalog entered into the ledger."""
    for source in sources:
        columns = known.group_columns[source.name]
        for found in read(source, labeller, options, bursts=columns[0] not in (IMAGE, FOLDER)):
            tally.rows += 1
            if isinstance(found, LeftOut):
                yield found
                continue
            tally.in_bursts += bool(found.burst)
            group = group_of(columns, found.labelled.cells, found.labelled.item, source.root) or found.burst
            row = _catalog_row(found, uris, group or f"image {found.sha256[:16]}")
            tally.changed += bool(row.changes)
            ledger.add(row.taxon, row.group, row.split, row.sha256, row.frame, row.box, found.look)
            yield row


def _catalog_row(found: Read, uris: RelativeUris, group: str) -> CatalogRow:
    item, label, cells = found.labelled.item, found.labelled.label, found.labelled.cells
    assert item.path is not None
    return CatalogRow(
        uri=uris.of(item.path),
        taxon=label.taxon,
        verbatim_name=label.verbatim,
        source=item.source,
        source_id=source_id(cells),
        taxon_id=label.taxon_id,
        licence=licence(cells),
        group=group,
        split=given_split(cells),
        sha256=found.sha256,
        phash=found.look.hashed.hex(),
        frame=item.frame,
        box=item.box,
        changes=label.changes,
    )


# -- lists -------------------------------------------------------------------------------------------------------------


def _note(row: LeftOut, tally: _Tally, listed: Any) -> None:
    tally.left_out[row.kind] += 1
    tally.first.setdefault(row.kind, f"{row.uri}: {row.reason}")
    listed.writerow([escaped(row.uri), row.source, row.kind, row.reason, row.name, ""])


def _nothing_left(tally: _Tally) -> str:
    if not tally.rows:
        return "the sources have no rows: give a table with images and names, a folder tree named by taxon, or a store with reviews"
    counts = ", ".join(f"{count} {kind}" for kind, count in tally.left_out.most_common())
    return (
        f"none of {tally.rows} rows can be used ({counts}); the first of each kind: {'; '.join(tally.first.values())}"
    )


def _unresolved(work: Path, labeller: Labeller) -> Path | None:
    if not labeller.unresolved:
        return None
    file = work / "unresolved.csv"
    with file.open("w", encoding="utf-8", newline="") as out:
        table = csv.writer(out)
        table.writerow(UNRESOLVED_COLUMNS)
        for label, rows in sorted(labeller.unresolved.items(), key=lambda one: (-one[1], one[0].verbatim)):
            table.writerow([label.verbatim, label.taxon.scientific_name, label.outcome, label.unresolved, rows])
    return file
