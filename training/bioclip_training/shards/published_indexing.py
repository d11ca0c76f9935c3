"""Index of published shards: made once from a part per file, written whole, and made again for files that changed."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bioclip_core.errors import DataError, SourceError, first_line
from bioclip_core.files.documents import parse_document, read_document
from bioclip_core.files.locks import lock
from bioclip_core.files.whole import replacing_file, write_whole
from bioclip_core.findings import Findings
from bioclip_core.identity import user_cache
from bioclip_core.nouns import number_of
from bioclip_core.progress import Progress, logged
from bioclip_core.taxonomy import RANKS
from bioclip_training.catalog.ahead import in_order, threads_for
from bioclip_training.published.caption_tables import caption_files, captions_by_id
from bioclip_training.published.collections import INDEX_FOLDER, NOT_SHARDS, holders_in, root_of
from bioclip_training.published.held import Holder
from bioclip_training.published.placing import KnownRanks
from bioclip_training.shards.published_parts import (
    FREE_CAPTION,
    RANKED,
    SCIENTIFIC,
    STATE,
    TAXONOMIC,
    VERSION,
    part_of,
    table_of,
)

log = logging.getLogger("bioclip_plugin.training")

_PARTS, _STATE_FILE = "parts", "index.json"
INDEX_FILE = "index.arrow"
"""The rows as an Arrow file, which is mapped into memory and not read."""
_ROWS = 16_384
"""Rows of a part that are encoded at a time."""
_WAIT_S = 0.5
_PLACED = "names without the ranks of all their words were placed by other lineages of the collection"
_UNPLACED = "names have words whose rank nothing states; these words are left out"
_REPEATED = "images have the name of one in another tar; each of them is used, and those of one name are in one group if it is a UUID"
_NO_SPLIT = (
    "images of which nothing states a split (no folder or file called train or val, no JSON) are taken for train"
)
_NO_TAXON = "images are without a taxon"


def current_index(address: Path, progress: Progress | None) -> tuple[Path, list[str]]:
    """Return the index of published shards, made if need be, and the lines that are to be said of it.

    Args:
        address: folder of the shards, with folders below it; or a single file of samples.
        progress: called with the number of files that are read, and their total.

    Raises:
        SourceError: if it holds no samples.
    """
    found = Findings()
    holders, folder = holders_in(address, found), root_of(address)
    if not holders:
        raise SourceError(f"{address} holds no shards: no tar, no Parquet file with images, no images with JSON")
    place = _place(folder, "" if address.is_dir() else address.name)
    file = place / INDEX_FILE
    captions = caption_files(folder) if address.is_dir() else []
    states = [list(holder.state) for holder in holders] + [_state(caption_file) for caption_file in captions]
    known = _known(place, states)
    if known is None:
        with _alone(place):
            known = _known(place, states)
            if known is None:
                report = progress or logged(log, f"reading the headers of shards in {folder}: %d of %d")
                table, notes = _made(folder, place, holders, captions, report)
                known = {"version": VERSION, "states": states, "notes": notes}
                _write(table, place, known)
    notes = [*found.lines(), *known["notes"]]
    if not place.is_relative_to(folder):
        notes.append(f"{folder} cannot be written, so its index is in {place}")
    return file, notes


def _place(folder: Path, name: str) -> Path:
    """Return the folder of the index of a folder, or of a file in it; it exists then."""
    beside = folder / INDEX_FOLDER / name
    try:
        beside.mkdir(parents=True, exist_ok=True)
        if os.access(beside, os.W_OK):
            return beside
    except OSError:
        pass
    digest = hashlib.sha256(os.fsencode(folder.absolute() / name)).hexdigest()[:16]
    elsewhere = user_cache() / "published" / digest
    elsewhere.mkdir(parents=True, exist_ok=True)
    return elsewhere


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Wait until no other program works on the index."""
    with (place / "lock").open("ab+") as file:
        while lock(file.fileno(), exclusive=True) is False:
            time.sleep(_WAIT_S)
        yield


def _about(file: Path) -> dict[str, Any] | None:
    """Return what the metadata of a part or an index say; None if it is missing or damaged."""
    from pyarrow import ArrowException, parquet

    try:
        stored = (parquet.read_schema(file).metadata or {}).get(STATE)
        about = parse_document(stored, dict[str, Any], name="the index") if stored else {}
    except (OSError, ArrowException, DataError):
        return None
    return about if about.get("version") == VERSION else None


def _known(place: Path, states: list[Any]) -> dict[str, Any] | None:
    """Return what is said of a finished index, if it is that of these files as they are now."""
    try:
        about = read_document(place / _STATE_FILE, dict[str, Any], name="the state of the index")
    except DataError:
        return None
    file = place / INDEX_FILE
    is_whole = file.is_file() and file.stat().st_size == about.get("bytes")
    return about if is_whole and about.get("version") == VERSION and about.get("states") == states else None


def _state(file: Path) -> list[Any]:
    status = file.stat()
    return [file.name, "captions", status.st_size, status.st_mtime_ns]


def _write(table: Any, place: Path, known: dict[str, Any]) -> None:
    """Write an index, and then its state: the bytes of the index do not depend on times of files."""
    from pyarrow import ipc

    whole = table.replace_schema_metadata(None).combine_chunks()  # columns in one piece need no copy when they are used
    with replacing_file(place / INDEX_FILE) as draft, ipc.new_file(draft, whole.schema) as file:
        file.write_table(whole)
    write_whole(place / _STATE_FILE, json.dumps({**known, "bytes": (place / INDEX_FILE).stat().st_size}))


def index_table(file: Path) -> Any:
    """Return the rows of an index. They stay in the file: memory holds the pages that are in use.

    Raises:
        SourceError: if it is damaged.
    """
    import pyarrow as pa

    try:
        with pa.memory_map(str(file)) as mapped:
            return pa.ipc.open_file(mapped).read_all()
    except (OSError, pa.ArrowException) as error:
        raise SourceError(
            f"the index {file} cannot be read: {first_line(error)}; delete its folder, and it is made again"
        ) from error


def _made(
    folder: Path, place: Path, holders: Sequence[Holder], captions: Sequence[Path], progress: Progress
) -> tuple[Any, list[str]]:
    """Return the index, from the parts that exist after the others are made, and what is to be said of it."""
    from pyarrow import parquet

    parts = place / _PARTS
    parts.mkdir(exist_ok=True)
    files = {holder: parts / f"{hashlib.sha256(holder.name.encode()).hexdigest()[:20]}.parquet" for holder in holders}
    missing = [holder for holder in holders if (_about(files[holder]) or {}).get("state") != list(holder.state)]
    done = len(holders) - len(missing)
    progress(done, len(holders))
    for _ in _written(folder, missing, files):
        done += 1
        progress(done, len(holders))
    tables = [parquet.read_table(files[holder]) for holder in holders]
    findings, skipped = Findings(), Findings()
    for holder in holders:
        about = _about(files[holder]) or {}
        for into, name in ((findings, "findings"), (skipped, "skipped")):
            for text, count, example in about.get(name, []):
                into.add(text, example, count)
    table = _finished(tables, findings)
    if not table.num_rows:
        raise SourceError(
            f"the shards in {folder} hold no usable sample: {'; '.join([*findings.lines(), *skipped.lines()])}"
        )
    if captions:
        table = _captioned(table, captions, findings)
    return table, [
        *_summary(folder, table, holders),
        *findings.lines(),
        *(f"skipped: {line}" for line in skipped.lines()),
    ]


def _captioned(table: Any, files: Sequence[Path], findings: Findings) -> Any:
    """Fill the captions of images that have none of their own from tables by their ids."""
    from pyarrow import compute

    own = table.column(FREE_CAPTION).combine_chunks()
    given = captions_by_id(files, table.column("source_id"))
    filled = compute.if_else(compute.equal(own, ""), given, own)
    count = int(compute.sum(compute.and_(compute.equal(own, ""), compute.not_equal(given, ""))).as_py() or 0)
    findings.add(f"captions are taken from {', '.join(file.name for file in files)} by the ids of images", count=count)
    return table.set_column(table.column_names.index(FREE_CAPTION), FREE_CAPTION, filled)


def _written(folder: Path, holders: Sequence[Holder], files: dict[Holder, Path]) -> Iterator[None]:
    """Write the parts of some files; each is whole or absent."""
    from pyarrow import parquet

    def read(holder: Holder) -> None:
        try:
            part = part_of(folder, holder, f"{folder.absolute().name}/{holder.name}")
        except SourceError as error:
            about = {
                "version": VERSION,
                "state": list(holder.state),
                "findings": [],
                "skipped": [[NOT_SHARDS, 1, str(error)]],
            }
            part = table_of([]).replace_schema_metadata({STATE: json.dumps(about).encode()})
        with replacing_file(files[holder]) as draft:
            parquet.write_table(part, draft, row_group_size=_ROWS)

    threads = threads_for(None)
    with closing(in_order(read, holders, threads, 2 * threads, name="bioclip-index")) as results:
        yield from results


def _in_one_piece(tables: list[Any]) -> Any:
    """Join tables, which are forgotten, column by column: two copies of all rows are never in memory."""
    import pyarrow as pa

    table = pa.concat_tables(tables).unify_dictionaries()
    tables.clear()
    schema, columns = table.schema, []
    while table.num_columns:
        columns.append(table.select([0]).combine_chunks().column(0))
        table = table.remove_column(0)
    return pa.Table.from_arrays(columns, schema=schema)


def _finished(tables: list[Any], findings: Findings) -> Any:
    """Return all rows, with ranks for names that are written without them, and ``train`` as the split if none is stated.

    The list is empty afterwards.
    """
    import pyarrow as pa
    from pyarrow import compute

    table = _placed(_in_one_piece(tables), findings)
    _count_repeated(table, findings)
    splits = table.column("split")
    if table.num_rows and not compute.any(compute.not_equal(splits, "")).as_py():
        findings.add(_NO_SPLIT, count=table.num_rows)
        table = table.set_column(table.column_names.index("split"), "split", pa.repeat("train", table.num_rows))
    return table


def _count_repeated(table: Any, findings: Findings) -> None:
    """Count samples whose member has the name of one in another tar, as when shards were written twice."""
    from pyarrow import compute

    in_tars = compute.and_(compute.greater(table.column("bytes"), 0), compute.not_equal(table.column("member"), ""))
    members = table.column("member").filter(in_tars)
    surplus = len(members) - compute.count_distinct(members).as_py()
    if surplus:
        counts = members.value_counts()
        first = counts.field("values")[compute.index(compute.greater(counts.field("counts"), 1), True).as_py()]
        findings.add(_REPEATED, first.as_py(), surplus)


def _placed(table: Any, findings: Findings) -> Any:
    """Fill the ranks of rows whose names are written in a row."""
    import pyarrow as pa
    from pyarrow import compute

    open_mask = compute.invert(table.column(RANKED))
    names = table.select([TAXONOMIC, SCIENTIFIC]).filter(open_mask)
    if not names.num_rows:
        return table
    uppers = [rank.value for rank in RANKS[:5]]
    stated = table.filter(table.column(RANKED)).group_by(uppers).aggregate([]).to_pylist()
    known = KnownRanks(tuple(row[rank] for rank in uppers) for row in stated)
    codes = [names.column(name).combine_chunks() for name in (TAXONOMIC, SCIENTIFIC)]
    texts = [code.dictionary.to_pylist() for code in codes]
    pairs_M2 = np.stack([code.indices.to_numpy(zero_copy_only=False) for code in codes], axis=1)
    distinct, place_M, counts = np.unique(pairs_M2, axis=0, return_inverse=True, return_counts=True)
    lineages = []
    for (taxonomic, scientific), count in zip(distinct.tolist(), counts.tolist(), strict=True):
        name = texts[0][taxonomic], texts[1][scientific]
        lineage, is_sure = known.placed(*name)
        lineages.append(lineage)
        findings.add(_PLACED if is_sure else _UNPLACED, next(filter(None, name), ""), count)
    mask = open_mask.combine_chunks()
    for rank in RANKS:
        column = table.column(rank.value).combine_chunks()
        filled = pa.array([lineage[rank.depth] for lineage in lineages], pa.string()).take(pa.array(place_M.ravel()))
        place = table.column_names.index(rank.value)
        table = table.set_column(place, rank.value, compute.replace_with_mask(column, mask, filled))
    return table


def _summary(folder: Path, table: Any, holders: Sequence[Holder]) -> Iterator[str]:
    """Yield what the shards are taken for."""
    from pyarrow import compute

    names = [table.column(rank.value) for rank in RANKS]
    has_name = None
    for column in names:
        found = compute.not_equal(column, "")
        has_name = found if has_name is None else compute.or_(has_name, found)
    count = int(compute.sum(has_name).as_py() or 0)
    stated = sorted({split or "(no split)" for split in table.column("split").unique().to_pylist()})
    yield (
        f"{folder}: read as published shards: {number_of(table.num_rows, 'image')} in {number_of(len(holders), 'file')}, "
        f"{count} with a taxon, split {', '.join(stated)}"
    )
    if count < table.num_rows:
        yield f"{_NO_TAXON}: {table.num_rows - count}; they can be replayed by their captions, not labelled"
