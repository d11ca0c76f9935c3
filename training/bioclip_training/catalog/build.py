"""Building a catalog: sources surveyed, rows labelled, images fingerprinted, duplicates and splits decided, one file written."""

from __future__ import annotations

import csv
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from bioclip_core.errors import BioclipError, SourceError
from bioclip_core.taxonomy import Taxon
from bioclip_training.catalog.fingerprints import Fingerprint, check_library, fingerprint
from bioclip_training.catalog.finishing import Finished, finish
from bioclip_training.catalog.labelling import Label, Labeller, Resolver, given_split, licence, source_id
from bioclip_training.catalog.ledger import Ledger
from bioclip_training.catalog.names import plain_cells
from bioclip_training.catalog.options import BuildOptions
from bioclip_training.catalog.rows import CatalogRow, LabelledItem
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
    left_out: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)
    unresolved: dict[tuple[str, str, str, str], int] = field(default_factory=dict)
    resolved: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class _Labelled:
    """An item on its way: its label, and what its source's cells said."""

    item: LabelledItem
    label: Label
    cells: dict[str, Any]


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
    a row and each distinct name, group and licence once; everything else is streamed.

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
    removed = work / "removed.csv"
    with ExitStack() as stack:
        draft = stack.enter_context(DraftWriter(work / "draft.parquet"))
        listed = csv.writer(stack.enter_context(removed.open("w", encoding="utf-8", newline="")))
        listed.writerow(REMOVED_COLUMNS)
        for row in _rows(sources, known, labeller, options, ledger, tally, RelativeUris(folder)):
            if isinstance(row, LeftOut):
                _note(row, tally, listed)
            else:
                draft.add(row)
            if progress is not None:
                progress(1)
    if not len(ledger):
        raise SourceError(_nothing_left(tally))
    facts = {**known.facts(), **options.as_facts(), "rows_read": tally.rows, "names_changed": tally.changed}
    done = finish(work, ledger, options, known, facts, tally.left_out)
    return _built(work, done, tally)


def _rows(
    sources: Sequence[LabelledSource],
    known: Survey,
    labeller: Labeller,
    options: BuildOptions,
    ledger: Ledger,
    tally: _Tally,
    uris: RelativeUris,
) -> Iterator[CatalogRow | LeftOut]:
    """Every row of every source in order, as a row of the catalog or with the reason why it is none."""
    for source in sources:
        labelled = _labelled(source, labeller, options, tally)
        for one, print_ in _fingerprinted(labelled, options):
            if isinstance(one, LeftOut) or isinstance(print_, LeftOut):
                yield one if isinstance(one, LeftOut) else print_  # type: ignore[misc]
                continue
            sha256, look = print_
            item = one.item
            assert item.path is not None
            group = group_of(known.group_columns[source.name], one.cells, item) or f"image {sha256[:16]}"
            row = _catalog_row(one, uris.of(item.path), group, sha256, look.hashed.hex())
            ledger.add(row.taxon, group, row.split, sha256, item.frame, item.box, look)
            tally.changed += bool(row.changes)
            yield row


def _catalog_row(one: _Labelled, uri: str, group: str, sha256: str, phash: str) -> CatalogRow:
    return CatalogRow(
        uri=uri,
        taxon=one.label.taxon,
        verbatim_name=one.label.verbatim,
        source=one.item.source,
        source_id=source_id(one.cells),
        taxon_id=one.label.taxon_id,
        licence=licence(one.cells),
        group=group,
        split=given_split(one.cells),
        sha256=sha256,
        phash=phash,
        frame=one.item.frame,
        box=one.item.box,
        changes=one.label.changes,
    )


# -- names -------------------------------------------------------------------------------------------------------------


def _labelled(
    source: LabelledSource, labeller: Labeller, options: BuildOptions, tally: _Tally
) -> Iterator[_Labelled | LeftOut]:
    for item in source.items():
        tally.rows += 1
        if isinstance(item, LeftOut):
            yield item
            continue
        cells = plain_cells(item.cells)
        label = labeller.label(cells)
        if label.outcome:
            tally.resolved[label.outcome] += 1
        if label.unresolved:
            key = (label.verbatim, label.taxon.scientific_name, label.outcome, label.unresolved)
            tally.unresolved[key] = tally.unresolved.get(key, 0) + 1
        if label.taxon.rank is None:
            said = (
                f"it has no name that can be used ({label.verbatim!r})"
                if label.verbatim
                else "it has no name at any rank"
            )
            yield LeftOut(item.uri, item.source, "no name", said)
        elif label.unresolved and options.only_resolved:
            yield LeftOut(item.uri, item.source, "not resolved", label.unresolved, label.taxon.scientific_name)
        elif item.path is None:
            yield LeftOut(
                item.uri, item.source, "no file", "its image is no file on this machine", label.taxon.scientific_name
            )
        else:
            yield _Labelled(item, label, cells)


# -- images ------------------------------------------------------------------------------------------------------------

_Print = tuple[str, Any]


def _fingerprinted(
    labelled: Iterator[_Labelled | LeftOut], options: BuildOptions
) -> Iterator[tuple[_Labelled | LeftOut, _Print | LeftOut]]:
    """Each row with its image's sha256 and how its region looks, in order; rows of one image that stand together read it once."""
    waiting: deque[tuple[list[_Labelled | LeftOut], Future[Fingerprint] | None]] = deque()
    with ThreadPoolExecutor(options.threads, thread_name_prefix="bioclip-catalog") as pool:
        try:
            for path, together in groupby(labelled, key=_image_of):
                rows = list(together)
                future = None if path is None else pool.submit(_fingerprint_of, rows, options.near_distance > 0)
                waiting.append((rows, future))
                if len(waiting) > options.threads * 8:
                    yield from _taken(*waiting.popleft())
            while waiting:
                yield from _taken(*waiting.popleft())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _image_of(row: _Labelled | LeftOut) -> tuple[Path, int] | None:
    return None if isinstance(row, LeftOut) or row.item.path is None else (row.item.path, row.item.frame)


def _fingerprint_of(rows: Sequence[Any], perceptual: bool) -> Fingerprint:
    first = rows[0].item
    return fingerprint(first.path, [row.item.box for row in rows], first.frame, perceptual=perceptual)


def _taken(
    rows: Sequence[_Labelled | LeftOut], future: Future[Fingerprint] | None
) -> Iterator[tuple[_Labelled | LeftOut, _Print | LeftOut]]:
    if future is None:
        yield from ((row, row) for row in rows if isinstance(row, LeftOut))
        return
    try:
        found = future.result()
    except BioclipError as error:
        for row in rows:
            assert isinstance(row, _Labelled)
            kind = "missing image" if getattr(error, "stage", "") == "read" else "broken image"
            yield row, LeftOut(row.item.uri, row.item.source, kind, str(error), row.label.taxon.scientific_name)
        return
    for row, look in zip(rows, found.looks, strict=True):
        yield row, (found.sha256, look)


# -- lists -------------------------------------------------------------------------------------------------------------


def _note(row: LeftOut, tally: _Tally, listed: Any) -> None:
    tally.left_out[row.kind] += 1
    tally.first.setdefault(row.kind, f"{row.uri}: {row.reason}")
    listed.writerow([escaped(row.uri), row.source, row.kind, row.reason, row.name, ""])


def _nothing_left(tally: _Tally) -> str:
    if not tally.rows:
        return "the sources have no rows: give a table with images and names, a folder tree named by taxon, or a store with reviews"
    counts = ", ".join(f"{count} {kind}" for kind, count in tally.left_out.most_common())
    first = "; ".join(tally.first.values())
    return f"none of {tally.rows} rows can be used ({counts}); the first of each kind: {first}"


def _built(work: Path, done: Finished, tally: _Tally) -> Built:
    facts = done.facts
    unresolved = None
    if tally.unresolved:
        unresolved = work / "unresolved.csv"
        with unresolved.open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(UNRESOLVED_COLUMNS)
            table.writerows((*key, rows) for key, rows in sorted(tally.unresolved.items()))
    return Built(
        done.catalog,
        work / "removed.csv" if sum(facts["left_out"].values()) else None,
        unresolved,
        done.duplicates,
        facts,
    )


def labels_of(rows: Sequence[CatalogRow]) -> list[Taxon]:
    """The taxa of rows, without their sources' ids."""
    return [replace(row.taxon, source_id="") for row in rows]
