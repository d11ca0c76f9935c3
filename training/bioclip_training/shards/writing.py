"""Writing the shards of a catalog: each is whole or not there, and the same command goes on where it was."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bioclip_core.errors import ImageError, SourceError, UsageError
from bioclip_core.images.decoding import read_bytes
from bioclip_core.options import check_options
from bioclip_core.progress import Progress
from bioclip_training.batches.regions import EncodedRegion
from bioclip_training.catalog.rows import Catalog
from bioclip_training.shards.encoding import image_member, json_member
from bioclip_training.shards.journal import Journal, Member, ShardRecord
from bioclip_training.shards.manifest import Manifest
from bioclip_training.shards.tar import ShardFile, writing_shard

"""Called with how many rows are done, and how many there are."""


@dataclass(frozen=True, slots=True)
class ShardOptions:
    """Options of writing shards."""

    splits: tuple[str, ...] = field(default=(), metadata={"flag": "--split"})
    """Only rows with this word in the split column."""
    samples_per_shard: int | None = field(default=1000, metadata={"low": 1, "high": 10**7, "automatic": "1000"})
    """Number of samples in one tar.

    None where ``shard_bytes`` decides.
    """
    shard_bytes: int | None = field(default=None, metadata={"low": 1, "high": 10**12})
    """Size at which a tar is closed."""
    max_side: int = field(default=512, metadata={"low": 16, "high": 16384})
    """Longest side of a stored image in pixels; smaller images keep their size."""
    quality: int = field(default=92, metadata={"low": 1, "high": 95})
    """JPEG quality of images that must be encoded: reduced ones and cut-out regions."""
    workers: int | None = field(default=None, metadata={"low": 1, "automatic": "one per core, at most 16"})
    """Number of threads that read and encode."""

    def __post_init__(self) -> None:
        if (self.samples_per_shard is None) == (self.shard_bytes is None):
            raise UsageError(
                "a shard ends by its samples or by its size: give one of --samples-per-shard and --size-mb"
            )
        check_options(self)

    def settings(self, catalog: Catalog) -> dict[str, Any]:
        """What decides the bytes of the shards, as plain JSON values."""
        return {
            "catalog": catalog.identity,
            "splits": sorted(self.splits) or sorted(set(catalog.column("split"))),
            "samples_per_shard": self.samples_per_shard,
            "shard_bytes": self.shard_bytes,
            "max_side": self.max_side,
            "quality": self.quality,
        }


@dataclass(frozen=True, slots=True)
class Written:
    """What :func:`write_shards` left in the folder."""

    manifest: Manifest
    skipped: tuple[tuple[str, str], ...]
    """Key and reason of rows whose image could not be read."""
    resumed_at: int
    """Rows that an earlier call had done; all of them where nothing was to do."""


@dataclass(frozen=True, slots=True)
class _Encoded:
    """One row's members, or why there are none."""

    row: int
    name: str
    extension: str = ""
    image: bytes = b""
    text: bytes = b""
    reason: str = ""


def write_shards(
    catalog: Catalog, folder: Path, options: ShardOptions, *, force: bool = False, progress: Progress | None = None
) -> Written:
    """Write a catalog's images and names as WebDataset tars, one split a shard, samples in the order of a hash.

    Args:
        force: replace shards of other settings that the folder holds.
        progress: called after each row.

    Raises:
        SourceError: if the catalog has nothing of a split, or the folder cannot be written.
        UsageError: if the folder holds something else, or shards of other settings.
    """
    settings = options.settings(catalog)
    _check_splits(catalog, settings["splits"])
    journal = Journal(folder)
    if finished := journal.begin(settings, force=force):
        return Written(finished, journal.skipped(catalog), sum(_rows_of_splits(catalog, settings["splits"]).values()))
    try:
        resumed_at = _write_all(catalog, journal, options, settings, progress)
        manifest = journal.finish(catalog, settings)
    except OSError as error:
        raise SourceError(
            f"shards in {folder} cannot be written: {error.strerror or error}; the same command goes on where it was"
        ) from error
    return Written(manifest, journal.skipped(catalog), resumed_at)


def _write_all(
    catalog: Catalog, journal: Journal, options: ShardOptions, settings: dict[str, Any], progress: Progress | None
) -> int:
    """Write every shard that is not done; how many rows were done before."""
    stems = _stems(settings["splits"])
    reached = {split: journal.reached(stems[split]) for split in settings["splits"]}
    resumed_at = sum(at for _, at in reached.values())
    tick = _Ticking(progress, resumed_at, sum(_rows_of_splits(catalog, settings["splits"]).values()))
    workers = options.workers or min(16, os.cpu_count() or 1)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="bioclip-shards")
    try:
        for split, (number, at) in reached.items():
            ordered = _ordered(catalog, split)
            samples = tick.passing(_in_order(pool, workers, catalog, ordered[at:], options))
            while at < len(ordered):
                record = _write_one(journal.folder, stems[split], number, split, at, samples, options)
                journal.add(record)
                number, at = number + 1, record.end
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return resumed_at


class _Ticking:
    """Tells of every row that passes."""

    def __init__(self, progress: Progress | None, done: int, total: int) -> None:
        self._progress, self._done, self._total = progress or (lambda _done, _total: None), done, total
        self._progress(done, total)

    def passing(self, samples: Iterator[_Encoded]) -> Iterator[_Encoded]:
        for sample in samples:
            self._done += 1
            self._progress(self._done, self._total)
            yield sample


def _write_one(
    folder: Path, stem: str, number: int, split: str, start: int, samples: Iterator[_Encoded], options: ShardOptions
) -> ShardRecord:
    """Write one shard from as many samples as it takes."""
    members: list[Member] = []
    skipped: list[tuple[int, str]] = []
    end = start
    shard: ShardFile | None = None
    with ExitStack() as stack:
        for sample in samples:
            end += 1
            if sample.reason:
                skipped.append((sample.row, sample.reason))
                continue
            if shard is None:  # there is no file without a member
                shard = stack.enter_context(writing_shard(folder / f"{stem}-{number:06d}.tar"))
            stored = shard.add(f"{sample.name}.{sample.extension}", sample.image)
            shard.add(f"{sample.name}.json", sample.text)
            members.append(Member(sample.row, f"{sample.name}.{sample.extension}", stored.offset, stored.bytes))
            if len(members) == options.samples_per_shard or shard.size >= (options.shard_bytes or math.inf):
                break
    size, digest = (shard.size, shard.sha256) if shard else (0, "")
    return ShardRecord(stem, number, split, start, end, size, digest, tuple(members), tuple(skipped))


def _in_order(
    pool: ThreadPoolExecutor,
    workers: int,
    catalog: Catalog,
    named_rows: Sequence[tuple[str, int]],
    options: ShardOptions,
) -> Iterator[_Encoded]:
    """Rows read and encoded, in their order; a few are encoded ahead."""
    waiting: deque[Future[_Encoded]] = deque()
    for name, row in named_rows:
        waiting.append(pool.submit(_encode, catalog, name, row, options))
        if len(waiting) > 4 * workers:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _encode(catalog: Catalog, name: str, row: int, options: ShardOptions) -> _Encoded:
    try:
        region = EncodedRegion(read_bytes(catalog.path(row)), catalog.box(row), catalog.frame(row))
        extension, data = image_member(region, max_side=options.max_side, quality=options.quality)
    except ImageError as error:
        return _Encoded(row, name, reason=str(error))
    return _Encoded(row, name, extension, data, json_member(catalog, row))


def _ordered(catalog: Catalog, split: str) -> list[tuple[str, int]]:
    """The rows of a split by their names in the shards: hashes, so that taxa and groups are mixed everywhere the same."""
    seen: Counter[str] = Counter()
    named = []
    for row, word in enumerate(catalog.column("split")):
        if word != split:
            continue
        key = catalog.key(row)
        repeated = f" {seen[key]}" if seen[key] else ""  # one region may be listed twice
        seen[key] += 1
        digest = hashlib.sha256((key + repeated).encode()).hexdigest()
        named.append((digest[:20], row))
    return sorted(named)


def _rows_of_splits(catalog: Catalog, splits: Sequence[str]) -> dict[str, int]:
    counts = Counter(catalog.column("split"))
    return {split: counts[split] for split in splits}


def _check_splits(catalog: Catalog, splits: Sequence[str]) -> None:
    there = Counter(catalog.column("split"))
    missing = [split for split in splits if not there[split]]
    if missing or not there:
        known = (
            ", ".join(f"{word or '(no split)'} ({count})" for word, count in sorted(there.items())) or "no rows at all"
        )
        raise SourceError(f"the catalog {catalog.file} has no split {', '.join(missing)}: there are {known}")


def _stems(splits: Sequence[str]) -> dict[str, str]:
    """The beginning of each split's file names: its word, in characters that any system takes."""
    stems: dict[str, str] = {}
    for split in splits:
        plain = re.sub(r"[^A-Za-z0-9_]+", "_", split).strip("_") or "samples"
        taken = set(stems.values())
        stems[split] = next(stem for n in range(len(splits) + 1) if (stem := f"{plain}{n or ''}") not in taken)
    return stems
