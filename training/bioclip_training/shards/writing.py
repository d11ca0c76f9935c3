"""Writing of a catalog's shards: each is whole or absent, and the same command continues where an earlier call stopped."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bioclip_core.errors import ImageError, SourceError
from bioclip_core.files.replacing import reason_of
from bioclip_core.images.unexpected import contained
from bioclip_core.progress import Progress, silent
from bioclip_training.catalog.ahead import in_order, threads_for
from bioclip_training.catalog.rows import Catalog
from bioclip_training.shards.encoding import image_member, json_member
from bioclip_training.shards.journal import Journal, Member, ShardRecord
from bioclip_training.shards.manifest import Manifest
from bioclip_training.shards.options import ShardOptions
from bioclip_training.shards.ordered import CatalogRows, OrderedRows, ShardRows
from bioclip_training.shards.tar import ShardFile, writing_shard


@dataclass(frozen=True, slots=True)
class Written:
    """Result of :func:`write_shards`."""

    manifest: Manifest
    skipped: tuple[tuple[str, str], ...]
    """Key and reason of rows with an unreadable image."""
    resumed_at: int
    """Rows that an earlier call had finished; all of them if nothing was left to do."""
    notes: tuple[str, ...] = ()
    """Findings of the first look at the images."""


@dataclass(frozen=True, slots=True)
class _Encoded:
    """Members of one row, or the reason why it has none."""

    place: int
    """In the order of its split."""
    name: str
    key: str = ""
    """Of a row without members."""
    extension: str = ""
    image: bytes = b""
    text: bytes = b""
    reason: str = ""


def write_shards(
    catalog: Catalog | ShardRows,
    folder: Path,
    options: ShardOptions,
    *,
    force: bool = False,
    progress: Progress = silent,
) -> Written:
    """Write a catalog's images and names as WebDataset tars, one split per shard, samples in the order of a hash.

    Args:
        catalog: the catalog, or its rows in batches.
        folder: folder of the shards.
        options: of the shards.
        force: replace shards of other settings in the folder.
        progress: called before the first row and after each row.

    Raises:
        SourceError: if a split is empty, the folder cannot be written, or most images are not those that the catalog recorded.
        UsageError: if the folder holds other files, or shards of other settings.
    """
    rows = CatalogRows(catalog) if isinstance(catalog, Catalog) else catalog
    settings = options.settings(rows)
    splits: list[str] = settings["splits"]
    total = _rows_of(rows, splits)
    journal = Journal(folder)
    if finished := journal.begin(settings, force=force):
        return Written(finished, journal.skipped(), total)
    notes = rows.look_first(splits)
    try:
        resumed_at = _write_all(rows, journal, options, splits, total, progress)
        manifest = journal.finish(rows, settings)
    except OSError as error:
        raise SourceError(
            f"shards in {folder} cannot be written: {reason_of(error, folder)}; repeat the command to continue where it stopped"
        ) from error
    return Written(manifest, journal.skipped(), resumed_at, tuple(notes))


def _write_all(
    rows: ShardRows,
    journal: Journal,
    options: ShardOptions,
    splits: Sequence[str],
    total: int,
    progress: Progress,
) -> int:
    """Write every shard that is not finished; return the number of rows that were finished before."""
    stems = _stems(splits)
    reached = {split: journal.reached(stems[split]) for split in splits}
    done = resumed_at = sum(at for _, at in reached.values())
    progress(done, total)

    def counted(samples: Iterator[_Encoded]) -> Iterator[_Encoded]:
        nonlocal done
        for sample in samples:
            done += 1
            progress(done, total)
            yield sample

    threads = threads_for(options.workers)
    for split, (number, at) in reached.items():
        left = _samples(rows.ordered(split, at))
        with closing(in_order(partial(_encode, options), left, threads, 4 * threads, name="bioclip-shards")) as encoded:
            samples = counted(encoded)
            while at < rows.counts[split]:
                record = _write_one(journal.folder, stems[split], number, split, at, samples, options)
                journal.add(record)
                number, at = number + 1, record.end
    return resumed_at


def _write_one(
    folder: Path, stem: str, number: int, split: str, start: int, samples: Iterator[_Encoded], options: ShardOptions
) -> ShardRecord:
    """Write one shard from as many samples as it takes."""
    members: list[Member] = []
    skipped: list[tuple[str, str]] = []
    end = start
    shard: ShardFile | None = None
    with ExitStack() as stack:
        for sample in samples:
            end += 1
            if sample.reason:
                skipped.append((sample.key, sample.reason))
                continue
            if shard is None:  # a shard without a member is not a file
                shard = stack.enter_context(writing_shard(folder / f"{stem}-{number:06d}.tar"))
            image = f"{sample.name}.{sample.extension}"
            offset, digest = shard.add(image, sample.image), hashlib.sha256(sample.image).hexdigest()
            members.append(Member(sample.place, image, offset, len(sample.image), digest))
            shard.add(f"{sample.name}.json", sample.text)
            if len(members) == options.samples_per_shard or shard.size >= (options.shard_bytes or math.inf):
                break
    size, whole = (shard.size, shard.sha256) if shard else (0, "")
    return ShardRecord(stem, number, split, start, end, size, whole, tuple(members), tuple(skipped))


def _samples(batches: Iterable[OrderedRows]) -> Iterator[tuple[Catalog, int, str, int]]:
    """Yield catalog, row, name and place of each sample."""
    for batch in batches:
        for number, (name, row) in enumerate(zip(batch.names, batch.rows, strict=True)):
            yield batch.catalog, row, name, batch.start + number


def _encode(options: ShardOptions, sample: tuple[Catalog, int, str, int]) -> _Encoded:
    catalog, row, name, place = sample
    try:
        with contained(name):
            extension, data = image_member(catalog.encoded(row), max_side=options.max_side, quality=options.quality)
    except ImageError as error:
        return _Encoded(place, name, catalog.key(row), reason=str(error))
    return _Encoded(place, name, "", extension, data, json_member(catalog, row))


def _rows_of(rows: ShardRows, splits: Sequence[str]) -> int:
    """Return the number of rows in some splits, each of which must have at least one."""
    missing = [split for split in splits if not rows.counts.get(split)]
    if missing or not rows.counts:
        name, parts = rows.shown
        raise SourceError(f"{name} has no split {', '.join(missing)}; it has {parts}")
    return sum(rows.counts[split] for split in splits)


def _stems(splits: Sequence[str]) -> dict[str, str]:
    """Return the beginning of each split's file names: its word, in characters that any system allows."""
    stems: dict[str, str] = {}
    for split in splits:
        plain = re.sub(r"[^A-Za-z0-9_]+", "_", split).strip("_") or "samples"
        numbered = (f"{plain}{number or ''}" for number in range(len(splits) + 1))
        stems[split] = next(stem for stem in numbered if stem not in stems.values())
    return stems
