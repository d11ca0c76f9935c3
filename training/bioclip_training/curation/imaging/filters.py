"""Stage ``filters``: a column of scores per filter of the configuration. Nothing is deleted: a threshold marks records as excluded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import parquet

from bioclip_core.errors import BioclipError, UsageError
from bioclip_core.files.whole import replacing_file
from bioclip_core.identity import settings_id
from bioclip_core.images.decoding import decode_regions
from bioclip_core.images.memory import image_memory
from bioclip_core.images.unexpected import contained
from bioclip_core.listed_names import did_you_mean
from bioclip_core.models import ModelEntry
from bioclip_core.preprocessing import Preprocessing
from bioclip_training.catalog.ahead import in_order
from bioclip_training.curation.columns import DUPLICATES, IMAGES, LABELS, RECORDS, SPLITS
from bioclip_training.curation.configuration import Curation
from bioclip_training.curation.content_filters import ContentFilter, FilterOptions, FilterRecord, OpenedFilter
from bioclip_training.curation.database import opened, parts_in, streamed
from bioclip_training.curation.imaging.images import opened_sources
from bioclip_training.curation.imaging.openers import Openers
from bioclip_training.curation.imaging.support_set import SupportSetFilter
from bioclip_training.curation.imaging.tasks import TASK_COLUMNS, ImageTask, Piece, pieces_of, tasks_of
from bioclip_training.curation.input_states import state_of
from bioclip_training.curation.sorted_runs import Runs, bucket_name, write_runs
from bioclip_training.curation.stages import Stage, StageWork
from bioclip_training.curation.tallies import Tally

_AHEAD = 8  # images per thread
_SCORES = pa.schema([("key", pa.string()), ("score", pa.float64())])
Pixels = NDArray[np.uint8]


def built_in_filters() -> dict[str, ContentFilter]:
    """Return the filters of this package, by name; the plugin adds those that read files of detectors, and those of other plugins."""
    return {SupportSetFilter.name: SupportSetFilter()}


@dataclass(frozen=True)
class FiltersStage(Stage):
    """Score the records."""

    filters: Mapping[str, ContentFilter] = field(default_factory=built_in_filters)
    models: Mapping[str, ModelEntry] = field(default_factory=dict)
    name: str = "filters"
    version: int = 1
    needs: tuple[str, ...] = ("records", "images")

    def settings(self, config: Curation) -> dict[str, Any]:
        taken = {column for schema in (RECORDS, LABELS, IMAGES, DUPLICATES, SPLITS) for column in schema.names}
        for name in config.filters:
            if name in taken:
                raise UsageError(
                    f"filters.{name}: {name} is a column of the catalog already; give the filter another name"
                )
        return {
            f"filters.{name}": {"kind": entry.kind, **self._filter(config, name).identity(self._options(config, name))}
            for name, entry in sorted(config.filters.items())
        }

    def inputs(self, config: Curation) -> Mapping[str, Path]:
        return {
            f"filter {name}, {word}": path
            for name, entry in config.filters.items()
            for word, path in entry.files.items()
        }

    def run(self, work: StageWork) -> None:
        names = sorted(work.config.filters)
        schema = pa.schema([("key", pa.string()), *((name, pa.float64()) for name in names)])
        runs = work.temporary / "runs"
        runs.mkdir()
        with opened_sources(work.config) as openers:
            scored = {name: self._scored(name, work, openers) for name in names}
        for _ in write_runs(_joined(work, scored, schema), runs, schema):
            pass
        with Runs([runs], schema) as rows:
            for bucket in range(rows.buckets):
                if not work.is_finished(bucket_name(bucket)):
                    with work.part(bucket_name(bucket), schema) as part:
                        found = rows.bucket(bucket)
                        part.write(found)
                        _count(found, work.config, part.tally)

    def _filter(self, config: Curation, name: str) -> ContentFilter:
        kind = config.filters[name].kind
        if kind not in self.filters:
            raise UsageError(
                f"filters.{name}: the kind {kind!r} is not known{did_you_mean(kind, self.filters)}; "
                f"known are {', '.join(sorted(self.filters))}"
            )
        return self.filters[kind]

    def _options(self, config: Curation, name: str) -> FilterOptions:
        entry = config.filters[name]
        return FilterOptions(entry.files, entry.options, self.models)

    def _scored(self, name: str, work: StageWork, openers: Openers) -> list[Path]:
        """Return the files with the scores of one filter, in the order of the pieces; finished ones are not made again."""
        content_filter, options = self._filter(work.config, name), self._options(work.config, name)
        identity = {
            "kind": work.config.filters[name].kind, **content_filter.identity(options),
            "files": {word: state_of(f"filter {name}, {word}", path) for word, path in sorted(options.files.items())},
        }  # fmt: skip
        folder = work.kept / settings_id(identity)[:32]
        folder.mkdir(parents=True, exist_ok=True)
        files: list[Path] = []
        records = parts_in(work.before["records"])
        with opened(work) as database:
            [(images,)] = database.execute(f"SELECT count(*) FROM {records}").fetchall()
            columns = ", ".join(f'"{column}"' for column in TASK_COLUMNS)
            batches = streamed(database, f"SELECT {columns} FROM {records} ORDER BY source, uri, key", 4096)
            scorer = _Scorer(content_filter, options, work, openers)
            done = 0
            for piece in pieces_of(tasks_of(batches), openers):
                files.append(folder / f"{piece.name}.parquet")
                if not files[-1].exists():
                    scorer.write(piece, files[-1])
                done += sum(len(task.regions) for task in piece.tasks)
                work.progress(done, images)
        return files


def _count(rows: pa.Table, config: Curation, tally: Tally) -> None:
    for name, entry in sorted(config.filters.items()):
        scores = rows[name]
        tally.count(f"records that the filter {name} scored", len(scores) - scores.null_count)
        tally.count(f"records without a score of the filter {name}", scores.null_count)
        if entry.exclude_from is not None:
            above = pc.sum(pc.greater_equal(scores, entry.exclude_from)).as_py() or 0
            tally.count(f"records with {entry.exclude_from:g} or more from the filter {name}", above)


class _Scorer:
    """A filter that is opened when the first piece needs it."""

    def __init__(
        self, content_filter: ContentFilter, options: FilterOptions, work: StageWork, openers: Openers
    ) -> None:
        self._filter, self._options, self._work, self._openers = content_filter, options, work, openers
        self._opened: OpenedFilter | None = None

    def write(self, piece: Piece, file: Path) -> None:
        """Score a piece, and write its scores sorted by key."""
        if self._opened is None:
            self._opened = self._filter.open(self._options)
        opened_filter = self._opened
        keys: list[str] = []
        scores: list[float | None] = []
        waiting: list[tuple[int, FilterRecord]] = []

        def score() -> None:
            for (place, _), found in zip(waiting, opened_filter.score([record for _, record in waiting]), strict=True):
                scores[place] = found
            waiting.clear()

        for key, record in self._records(piece, opened_filter.preprocessing):
            keys.append(key)
            scores.append(None)
            if record is not None:
                waiting.append((len(keys) - 1, record))
            if len(waiting) >= max(1, opened_filter.batch_size):
                score()
        if waiting:
            score()
        table = pa.table({"key": keys, "score": scores}, _SCORES).sort_by("key")
        with replacing_file(file) as draft:
            parquet.write_table(table, draft, compression="zstd")

    def _records(self, piece: Piece, preprocessing: Preprocessing | None) -> Iterator[tuple[str, FilterRecord | None]]:
        """Yield the key of each record of a piece with the record, None for one whose pixels are asked for and cannot be read."""
        decode = partial(_decoded, self._openers, preprocessing)
        threads = self._work.threads if preprocessing is not None else 1
        for task, crops in in_order(decode, piece.tasks, threads, threads * _AHEAD, name="bioclip-filters"):
            place = self._openers.place(task.source, task.uri).path if task.uri and "#" not in task.uri else None
            pixels: Sequence[Pixels | None] = crops or [None] * len(task.regions)
            for region, crop in zip(task.regions, pixels, strict=True):
                record = FilterRecord(task.source, task.uri, place, region.box, crop)
                yield region.key, None if preprocessing is not None and crop is None else record


def _decoded(
    openers: Openers, preprocessing: Preprocessing | None, task: ImageTask
) -> tuple[ImageTask, Sequence[Pixels] | None]:
    if preprocessing is None or not task.uri:
        return task, None
    try:
        with contained(task.uri), image_memory():
            data = openers.read(task.source, task.uri)
            return task, decode_regions(data, [region.box for region in task.regions], preprocessing)
    except BioclipError:  # the stage ``images`` has the reason
        return task, None


def _joined(work: StageWork, scored: Mapping[str, Sequence[Path]], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the scores of all filters side by side; without filters, the keys alone."""
    if not scored:
        for part in work.parts_of("records"):
            yield from parquet.read_table(part, columns=["key"]).to_batches()
        return
    found = dict.fromkeys(scored, 0)
    for files in zip(*scored.values(), strict=True):
        tables = [parquet.read_table(file, schema=_SCORES) for file in files]
        columns = {
            "key": tables[0]["key"],
            **{name: table["score"] for name, table in zip(scored, tables, strict=True)},
        }
        for name, table in zip(scored, tables, strict=True):
            found[name] += table.num_rows - table["score"].null_count
        yield from pa.table(columns, schema).to_batches()
    for name, count in found.items():
        if not count:
            work.tally.note(
                f"the filter {name} scored no record: see that its files are about the images of the sources, and under their names"
            )
