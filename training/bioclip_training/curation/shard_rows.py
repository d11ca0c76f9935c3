"""Rows of a curated catalog in the order of its shards, sorted on disk, so that memory does not grow with their number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from bioclip_core.images.regions import EncodedRegion
from bioclip_core.taxonomy import Taxon
from bioclip_training.catalog.first_look import look_first, spread
from bioclip_training.catalog.recorded import verified
from bioclip_training.catalog.rows import Catalog
from bioclip_training.curation.columns import KEY, RANK_COLUMNS
from bioclip_training.curation.database import opened, parts_in, quoted
from bioclip_training.curation.imaging.openers import Openers
from bioclip_training.curation.sorted_runs import Runs, write_runs
from bioclip_training.curation.stages import StageWork
from bioclip_training.shards.ordered import OrderedRows, sample_name

_BOX = ("bboxX", "bboxY", "bboxWidth", "bboxHeight")
_TEXTS = ("verbatim_name", "source", "taxon_id", "licence", "group", "split", "sha256")
_COLUMNS = (
    KEY, "uri", *RANK_COLUMNS, "common", *_TEXTS, "record_id", "phash", "changes", *_BOX, "image_kind", "basis_of_record",
)  # fmt: skip
_RECORD = "record"
"""Key of the record, while the name of the sample is the key that rows are sorted by."""
_BATCH = 16_384
_NAMES = "names"


class CuratedCatalog(Catalog):
    """Some records of a curation that are in a split, with their images in the published collections."""

    made_again = "repeat curate"

    def __init__(self, folder: Path, table: pa.Table, openers: Openers) -> None:
        """Take the rows.

        Args:
            folder: of the stage ``catalog``.
            table: of :func:`as_catalog`.
            openers: images of the sources.
        """
        super().__init__(folder, table)
        self._openers = openers

    def _source_and_uri(self, row: int) -> tuple[str, str]:
        source = self._columns["source"][row].as_py()
        return source, self._columns["uri"][row].as_py()[len(source) + 1 :]

    def path(self, row: int) -> Path:
        """Return the file that holds the row's image."""
        source, uri = self._source_and_uri(row)
        return self._openers.place(source, uri).path or Path(uri)

    def encoded(self, row: int) -> EncodedRegion:
        """Return the bytes of the row's image with its region, compared with the sha256 that the stage ``images`` recorded.

        Raises:
            ImageError: if they cannot be read, or are other bytes.
        """
        data = self._openers.read(*self._source_and_uri(row))
        whole = verified(data, self._columns["sha256"][row].as_py(), since="in the stage images")
        return EncodedRegion(whole, self.box(row), self.frame(row))


@dataclass(frozen=True)
class CuratedRows:
    """The records of a curation that are in a split, as shards are written from them."""

    work: StageWork
    """Of the stage ``shards``."""
    identity: str
    """Identity of the result of the stage ``catalog``."""
    openers: Openers
    leakage: Mapping[str, Any]
    """What was found of each evaluation set."""

    @property
    def _folder(self) -> Path:
        return self.work.before["catalog"]

    @cached_property
    def _counts_of_parts(self) -> list[Counter[str]]:
        return [Counter(_rows_of(path, ["split"])["split"].to_pylist()) for path in self.work.parts_of("catalog")]

    @cached_property
    def counts(self) -> Mapping[str, int]:
        """Number of rows of each split."""
        return sum(self._counts_of_parts, Counter[str]())

    @property
    def shown(self) -> tuple[str, str]:
        parts = ", ".join(f"{split} {count}" for split, count in sorted(self.counts.items()))
        return f"the catalog {self._folder}", parts or "no rows"

    @cached_property
    def taxa(self) -> tuple[Taxon, ...]:
        """Lineages of all rows, sorted; each with the first common name in its rows."""
        ranks = ", ".join(f'"{name}"' for name in RANK_COLUMNS)
        with opened(self.work) as database:
            found = database.execute(
                f"SELECT {ranks}, arg_min(common, {KEY}) FILTER (common <> '') FROM {parts_in(self._folder)} WHERE excluded = '' "
                f"GROUP BY {ranks}"
            ).fetchall()
        return tuple(Taxon.of(tuple(row[:-1]), row[-1] or "") for row in sorted(found, key=lambda row: row[:-1]))

    def look_first(self, splits: Sequence[str]) -> list[str]:
        """Read a few images, evenly spread over the rows of some splits."""
        counts = [sum(found[split] for split in splits) for found in self._counts_of_parts]
        starts = np.cumsum([0, *counts])
        wanted = np.array(spread(np.arange(starts[-1])), dtype=np.int64)
        tables = []
        for number, path in enumerate(self.work.parts_of("catalog")):
            mine = wanted[(wanted >= starts[number]) & (wanted < starts[number + 1])] - starts[number]
            if len(mine):
                tables.append(_rows_of(path, _COLUMNS, splits).take(pa.array(mine)))
        some = self._catalog(as_catalog(pa.concat_tables(tables)))
        return look_first(some, np.arange(len(some)))

    def ordered(self, split: str, start: int = 0) -> Iterator[OrderedRows]:
        """Yield the rows of a split in their order, from a place on."""
        folder = self._sorted(split)
        at = 0
        with Runs([folder], self._schema) as runs:
            for bucket in range(runs.buckets):
                table = runs.bucket(bucket)
                for first in range(max(0, start - at), table.num_rows, _BATCH):
                    some = table.slice(first, _BATCH)
                    yield OrderedRows(
                        self._catalog(_with_record_keys(some)), some[KEY].to_pylist(), range(some.num_rows), at + first
                    )
                at += table.num_rows

    @cached_property
    def _schema(self) -> pa.Schema:
        """Columns of the sorted rows."""
        rows = as_catalog(_rows_of(self.work.parts_of("catalog")[0], _COLUMNS).slice(0, 0))
        return _named_rows(rows, []).schema

    def _catalog(self, table: pa.Table) -> CuratedCatalog:
        return CuratedCatalog(self._folder, table.combine_chunks(), self.openers)

    def _sorted(self, split: str) -> Path:
        """Return the folder of the rows of a split, sorted by the names of their samples."""
        folder = self.work.temporary / f"rows-{sorted(self.counts).index(split)}"
        if not folder.exists():
            folder.mkdir()
            batches = (batch for path in self.work.parts_of("catalog") for batch in self._named(path, split))
            for _ in write_runs(batches, folder, self._schema):
                pass
        return folder

    def _named(self, path: Path, split: str) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a part that are in a split, with the names of their samples as keys."""
        rows = as_catalog(_rows_of(path, _COLUMNS, [split]))
        names = [
            sample_name(text, self._repeated[record]) if record in self._repeated else name
            for text, record, name in zip(*self._names_of(rows), strict=True)
        ]
        yield from _named_rows(rows, names).combine_chunks().to_batches()

    def _names_of(self, rows: pa.Table) -> tuple[list[str], list[str], list[str]]:
        """Return the name of the region, the key and the name of the sample of each row."""
        catalog = self._catalog(rows)
        texts = [catalog.key(row) for row in range(len(catalog))]
        return texts, rows[KEY].to_pylist(), list(map(sample_name, texts))

    @cached_property
    def _repeated(self) -> Mapping[str, int]:
        """Return the number of rows before each one that has the region of another one in its split; by the keys of the records."""
        folder = self.work.temporary / _NAMES
        folder.mkdir()
        for path in self.work.parts_of("catalog"):
            rows = as_catalog(_rows_of(path, _COLUMNS))
            _, keys, names = self._names_of(rows)
            table = pa.table(
                {KEY: pa.array(keys, pa.string()), "name": pa.array(names, pa.string()), "split": rows["split"]}
            )
            parquet.write_table(table, folder / path.name, compression="lz4")
        found = f"read_parquet({quoted(folder / '*.parquet')})"
        with opened(self.work) as database:
            return dict(
                database.execute(
                    f"SELECT {KEY}, again FROM (SELECT {KEY}, row_number() OVER (PARTITION BY split, name ORDER BY {KEY}) - 1 AS again "
                    f"FROM {found} SEMI JOIN (SELECT split, name FROM {found} GROUP BY ALL HAVING count(*) > 1) USING (split, name)) "
                    "WHERE again > 0"
                ).fetchall()
            )


def as_catalog(rows: pa.Table) -> pa.Table:
    """Return rows with the columns of a catalog for training; a uri begins with the name of its source."""
    uris = [f"{source}/{uri}" for source, uri in zip(rows["source"].to_pylist(), rows["uri"].to_pylist(), strict=True)]
    texts = {
        "uri": pa.array(uris, pa.string()),
        **{name: rows[name] for name in RANK_COLUMNS},
        "common_name": rows["common"],
        "verbatim_name": rows["verbatim_name"],
        "source": rows["source"],
        "source_id": rows["record_id"],
        **{name: rows[name] for name in ("taxon_id", "licence", "group", "split", "sha256")},
        "phash": pa.array([(entry or b"").hex() for entry in rows["phash"].to_pylist()], pa.string()),
    }
    others = {name: rows[name] for name in (*_BOX, "changes", KEY, "image_kind", "basis_of_record")}
    return pa.table({**texts, "frame": pa.array([0] * rows.num_rows, pa.int32()), **others})


def _rows_of(path: Path, columns: Iterable[str], splits: Sequence[str] = ()) -> pa.Table:
    """Return columns of the rows of a part that are in a split; in one of some splits if they are given."""
    table = parquet.read_table(path, columns=list(dict.fromkeys([*columns, "split", "excluded"])))
    is_wanted = pc.equal(table["excluded"], "")
    if splits:
        is_wanted = pc.and_(is_wanted, pc.is_in(table["split"], pa.array(splits, pa.string())))
    return table.filter(is_wanted)


def _named_rows(rows: pa.Table, names: Sequence[str]) -> pa.Table:
    """Return rows with the names of their samples as keys."""
    table = rows.rename_columns([_RECORD if name == KEY else name for name in rows.column_names])
    return table.append_column(KEY, pa.array(names, pa.string()))


def _with_record_keys(table: pa.Table) -> pa.Table:
    """Return rows with the keys of their records as key, as the catalog has them."""
    plain = table.drop_columns([KEY])
    return plain.rename_columns([KEY if name == _RECORD else name for name in plain.column_names])
