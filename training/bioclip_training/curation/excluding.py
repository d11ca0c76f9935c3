"""Reasons for which a record is in no split, from the results of the stages before, part by part."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from bioclip_training.curation.columns import KEY
from bioclip_training.curation.configuration import Curation
from bioclip_training.curation.stages import StageWork

_BATCH = 65_536
LEAK_KINDS = ("image", "near", "observation", "taxon")


def aligned(work: StageWork, part: Path, columns: Mapping[str, Sequence[str]]) -> pa.Table:
    """Return columns of several stages for the records of one part, side by side.

    All stages with a row per record have the same keys in the parts of one name.

    Args:
        work: of the stage that reads them.
        part: the part of ``records``.
        columns: names of columns by stage; stages that were not run are left out.
    """
    found: dict[str, pa.ChunkedArray] = {}
    for stage, names in columns.items():
        if stage not in work.before:
            continue
        table = parquet.read_table(work.before[stage] / part.name, columns=list(dict.fromkeys([KEY, *names])))
        assert KEY not in found or table[KEY].equals(found[KEY]), f"{stage} has other keys than records in {part.name}"
        found.update({name: table[name] for name in table.column_names})
    return pa.table(found)


def filter_columns(work: StageWork) -> list[str]:
    """Return the columns with scores that the stage ``filters`` wrote."""
    if "filters" not in work.before:
        return []
    names = parquet.read_schema(work.parts_of("filters")[0]).names
    return [name for name in names if name != KEY]


def leaks_by_key(work: StageWork) -> pa.Table:
    """Return one row per record that leaks: the key, ``evaluation_set`` and ``kind`` of its first leak that excludes it.

    Of several leaks the first by kind (image, near, observation, taxon) counts, then by set. Leaks by taxon exclude a record
    only from the sets whose ``taxa`` is ``exclude``.
    """
    empty = pa.table({name: pa.array([], pa.string()) for name in (KEY, "evaluation_set", "kind")})
    if "leakage" not in work.before:
        return empty
    sets = work.config.evaluation_sets
    excluding = pa.array([name for name, entry in sorted(sets.items()) if entry.taxa == "exclude"], pa.string())
    tables = [empty]
    for path in work.parts_of("leakage"):
        part = parquet.read_table(path, columns=empty.column_names)
        counts = pc.or_(pc.not_equal(part["kind"], "taxon"), pc.is_in(part["evaluation_set"], excluding))
        tables.append(part.filter(counts))
    leaks = pa.concat_tables(tables)
    order = pc.index_in(leaks["kind"], pa.array(LEAK_KINDS))
    keyed = leaks.append_column("order", order).sort_by(
        [(KEY, "ascending"), ("order", "ascending"), ("evaluation_set", "ascending")]
    )
    keys = keyed[KEY].combine_chunks()
    is_first = (
        pa.concat_arrays([pa.array([True]), pc.not_equal(keys[1:], keys[:-1])])
        if len(keys)
        else pa.array([], pa.bool_())
    )
    return keyed.filter(is_first).drop_columns(["order"])


class LeaksInOrder:
    """The rows of the stage ``leakage``, read in the order of their keys, as many as are asked for."""

    def __init__(self, work: StageWork) -> None:
        files = work.parts_of("leakage") if "leakage" in work.before else []
        self._batches = (batch for file in files for batch in parquet.ParquetFile(file).iter_batches(_BATCH))
        self._waiting: list[dict[str, Any]] = []

    def until(self, key: str) -> list[dict[str, Any]]:
        """Return the rows that were not returned yet, up to those of a key."""
        while not self._waiting or self._waiting[-1][KEY] <= key:
            batch = next(self._batches, None)
            if batch is None:
                break
            self._waiting += batch.to_pylist()
        at = bisect_right(self._waiting, key, key=itemgetter(KEY))
        found, self._waiting = self._waiting[:at], self._waiting[at:]
        return found


def reasons(table: pa.Table, config: Curation, filters: Sequence[str], leaks: pa.Table) -> tuple[pa.Array, pa.Array]:
    """Return for each record the reason why it is in no split, empty if there is none, and the reason as it is counted.

    Args:
        table: columns of :func:`aligned`.
        config: kinds and scores that exclude a record.
        filters: columns of ``table`` with scores.
        leaks: of :func:`leaks_by_key`.
    """
    cases = list(_cases(table, config, filters, leaks))
    if not cases:
        nothing = pa.array([""] * table.num_rows, pa.string())
        return nothing, nothing
    fits = pa.StructArray.from_arrays(
        [_whole(pc.fill_null(condition, False)) for condition, _, _ in cases], [str(n) for n in range(len(cases))]
    )
    return tuple(_whole(pc.case_when(fits, *(case[at] for case in cases), pa.scalar(""))) for at in (1, 2))


Case = tuple[pa.ChunkedArray, pa.ChunkedArray | pa.Scalar, pa.ChunkedArray | pa.Scalar]


def _cases(table: pa.Table, config: Curation, filters: Sequence[str], leaks: pa.Table) -> Iterator[Case]:
    """Yield condition, reason and counted reason; the first condition that fits decides."""
    names = set(table.column_names)
    if "unresolved" in names:
        why = pc.binary_join_element_wise("without a label", table["unresolved"], ": ")
        yield pc.not_equal(table["unresolved"], ""), why, pa.scalar("without a label")
    if "unreadable" in names:
        text = pa.scalar("without a readable image")
        yield pc.not_equal(table["unreadable"], ""), text, text
    if "image_kind" in names and config.kinds.exclude:
        why = pc.binary_join_element_wise("image kind", table["image_kind"], ": ")
        yield pc.is_in(table["image_kind"], pa.array(config.kinds.exclude)), why, why
    for name in filters:
        limit = config.filters[name].exclude_from if name in config.filters else None
        if limit is not None:
            text = pa.scalar(f"filter {name}")
            yield pc.greater_equal(table[name], limit), text, text
    if leaks.num_rows:
        at = pc.index_in(table[KEY], leaks[KEY].combine_chunks())
        why = pc.binary_join_element_wise(
            "leaks into ", pc.take(leaks["evaluation_set"], at), " by ", pc.take(leaks["kind"], at), ""
        )
        yield pc.is_valid(at), why, why
    if "conflict" in names:
        why = pc.binary_join_element_wise("contradicting labels", table["conflict"], ": ")
        yield pc.not_equal(table["conflict"], ""), why, pa.scalar("contradicting labels of equal images")
    if "duplicate_of" in names:
        why = pc.binary_join_element_wise("duplicate of", table["duplicate_of"], " ")
        yield pc.not_equal(table["duplicate_of"], ""), why, pa.scalar("duplicate of another record")


def _whole(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
