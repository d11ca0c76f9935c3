"""What img2dataset records beside a shard, compared with its images: numbers in ``_stats.json``, and a Parquet row per address."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from bioclip_core.errors import DataError, first_line
from bioclip_core.files.documents import read_document
from bioclip_core.findings import Findings
from bioclip_core.nouns import number_of
from bioclip_training.published.held import HeldSample, Holder

NO_IMAGE_ROW = "rows without an image"
UNFINISHED = "shards lack the _stats.json that img2dataset writes at the end: they may be unfinished"
MISMATCH = "shards have another number of images than their _stats.json states"
NOT_FETCHED = "addresses have no image, say the _stats.json of their shards"
UNREADABLE_STATS = "files _stats.json cannot be read"
UNREADABLE_TABLE = "tables of addresses beside shards cannot be read"
LOST = "images were fetched, says the table beside their shard, and are not in the shard: copy it again"
UNLISTED = "images are in a shard, and the table beside it has no row of them that was fetched"
_SUCCESS = "success"
_ROWS = 65_536


def no_image(status: str) -> str:
    """Return the reason of rows without an image, with the status that img2dataset gave them."""
    return f"{NO_IMAGE_ROW} ({status})" if status else NO_IMAGE_ROW


def stats_of(folder: Path, holder: Holder) -> Path:
    """Return the file of numbers beside a shard."""
    return folder / f"{_stem(holder)}_stats.json"


class Recorded:
    """The records beside one shard, and the images that were seen in it."""

    def __init__(self, folder: Path, holder: Holder, findings: Findings, skipped: Findings) -> None:
        self._folder, self._holder, self._findings, self._skipped = folder, holder, findings, skipped
        table = folder / f"{_stem(holder)}.parquet"
        self._table = table if holder.kind in ("tar", "files") and table.is_file() else None
        self._count = 0
        self._keys: list[str] = []

    def add(self, sample: HeldSample) -> None:
        """Count an image of the shard."""
        self._count += 1
        if self._table is not None:
            self._keys.append(PurePosixPath(sample.key).name)

    def compare(self) -> None:
        """Report what the records say otherwise, after the last image, and rows that were not fetched by their status."""
        self._compare_stats()
        if self._table is not None:
            self._compare_table(self._table)

    def _compare_stats(self) -> None:
        stats, name = stats_of(self._folder, self._holder), _stem(self._holder)
        if not stats.is_file():
            if re.fullmatch(r"\d{5,}", PurePosixPath(name).name) and any(stats.parent.glob("*_stats.json")):
                self._findings.add(UNFINISHED, self._holder.name)
            return
        try:
            numbers = read_document(stats, dict[str, Any], name="")
        except DataError as error:
            self._findings.add(UNREADABLE_STATS, f"{stats.name}:{error}")
            return
        stated, addresses = numbers.get("successes"), numbers.get("count")
        if not (isinstance(stated, int) and isinstance(addresses, int)):
            return
        if (
            addresses > stated and self._table is None and self._holder.kind != "parquet"
        ):  # tables say it by their status
            self._findings.add(NOT_FETCHED, f"{self._holder.name}{_statuses(numbers)}", addresses - stated)
        if stated != self._count:
            has = number_of(self._count, "image")
            self._findings.add(MISMATCH, f"{self._holder.name} has {has}, and {stats.name} says {stated}")

    def _compare_table(self, table: Path) -> None:
        import pyarrow as pa
        from pyarrow import compute

        seen = pa.array(self._keys, pa.string())
        fetched: list[Any] = []
        try:
            for batch in _rows_of(table):
                is_fetched = compute.equal(batch["status"], _SUCCESS)
                fetched.append(batch["key"].filter(is_fetched))
                self._skip(batch.filter(compute.invert(is_fetched)))
        except (OSError, pa.ArrowException) as error:
            self._findings.add(UNREADABLE_TABLE, f"{table.name}: {first_line(error)}")
            return
        if not fetched:  # a table of something else
            return
        keys = pa.chunked_array(fetched, pa.string()).combine_chunks()
        for text, ours, others in ((LOST, keys, seen), (UNLISTED, seen, keys)):
            left = ours.filter(compute.invert(compute.is_in(ours, others)))
            if len(left):
                self._findings.add(text, f"{self._holder.name}, {left[0].as_py()}", len(left))

    def _skip(self, rows: Any) -> None:
        firsts: dict[str, int] = {}
        counts = Counter(rows["status"].to_pylist())
        for at, status in enumerate(rows["status"].to_pylist()):
            firsts.setdefault(status, at)
        for status, at in firsts.items():
            error = rows["error"][at].as_py()
            example = f"{self._holder.name}, {rows['key'][at]}" + (f": {error}" if error else "")
            self._skipped.add(no_image(status), example, counts[status])


def _statuses(numbers: dict[str, Any]) -> str:
    """Return the most frequent failure with its number."""
    counts = numbers.get("status_dict")
    stated = counts.items() if isinstance(counts, dict) else ()
    failures = {text: count for text, count in stated if text != _SUCCESS and isinstance(count, int)}
    most = max(failures, key=lambda text: failures[text], default="")
    return f": {most} ({failures[most]})" if most else ""


def _rows_of(table: Path) -> Iterator[Any]:
    """Yield the rows of img2dataset's table as texts: ``key``, ``status`` and ``error``; nothing for another table."""
    import pyarrow as pa
    from pyarrow import compute, parquet

    with parquet.ParquetFile(table) as file:
        names = file.schema_arrow.names
        if not {"key", "status"} <= set(names):
            return
        chosen = [name for name in ("key", "status", "error_message") if name in names]
        for batch in file.iter_batches(_ROWS, columns=chosen, use_threads=False):
            texts = {name: compute.fill_null(batch.column(name).cast(pa.string()), "") for name in chosen}
            error = texts.get("error_message", pa.repeat("", batch.num_rows))
            yield pa.RecordBatch.from_pydict({"key": texts["key"], "status": texts["status"], "error": error})


def _stem(holder: Holder) -> str:
    return holder.name if holder.kind == "files" else holder.name.rpartition(".")[0]
