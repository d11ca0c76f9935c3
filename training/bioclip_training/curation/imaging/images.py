"""Stage ``images``: every image read once, with hashes of its bytes and looks, its size, or the reason why it cannot be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from bioclip_core.files.whole import replacing_file
from bioclip_core.identity import settings_id
from bioclip_core.progress import Progress
from bioclip_training.catalog.ahead import in_order
from bioclip_training.catalog.fingerprints import COLOUR_SIDE, HASH_SIDE, INNER_MARGINS, LOOK_AT, check_library
from bioclip_training.catalog.recorded import is_hash
from bioclip_training.curation.columns import IMAGES
from bioclip_training.curation.configuration import Curation
from bioclip_training.curation.database import opened, parts_in, streamed
from bioclip_training.curation.imaging.looking import SeenImage, seen
from bioclip_training.curation.imaging.openers import UNPACKED, Openers
from bioclip_training.curation.imaging.tasks import TASK_COLUMNS, ImageTask, Piece, WantedRegion, pieces_of, tasks_of
from bioclip_training.curation.manifests import part_file
from bioclip_training.curation.output_places import KEPT_FOLDER
from bioclip_training.curation.sorted_runs import Runs, bucket_name, write_runs
from bioclip_training.curation.stages import StageWork
from bioclip_training.curation.tallies import Tally

NO_FILE = "its file is not on this machine: the source only states an address"
NO_IMAGE = "the source states neither a file nor an address"
PIECES = "pieces"
_AHEAD = 8  # images per thread
_MD5_LENGTH = 32


@dataclass(frozen=True)
class ImagesStage:
    """Read all images."""

    name: str = "images"
    version: int = 2
    needs: tuple[str, ...] = ("records",)

    def settings(self, config: Curation) -> dict[str, Any]:  # noqa: ARG002
        return {"looks": looks_id()}

    def inputs(self, config: Curation) -> Mapping[str, Path]:
        return {f"source {name}": source.path for name, source in config.sources.items()}

    def check(self, config: Curation) -> None:  # noqa: ARG002
        check_library()

    def run(self, work: StageWork) -> None:
        with opened_sources(work.config) as openers:
            names = _examine_records(work, openers)
        runs = work.temporary / "runs"
        runs.mkdir()
        for _ in write_runs(_rows_of(names, work.kept / PIECES), runs, IMAGES):
            pass
        with Runs([runs], IMAGES) as sorted_rows:
            for bucket in range(sorted_rows.buckets):
                if not work.is_finished(bucket_name(bucket)):
                    with work.part(bucket_name(bucket), IMAGES) as part:
                        rows = sorted_rows.bucket(bucket)
                        part.write(rows)
                        _count(rows, part.tally, work.before["records"] / part_file(bucket_name(bucket)))


def looks_id() -> str:
    """Return the identity of the way in which images are looked at: pieces of another way are not used."""
    return settings_id(
        {
            "hash": HASH_SIDE, "colours": COLOUR_SIDE, "inner": list(INNER_MARGINS), "size": LOOK_AT.size,
            "interpolation": LOOK_AT.interpolation, "format": 1,
        }
    )  # fmt: skip


def opened_sources(config: Curation) -> Openers:
    """Return the images of all sources; compressed tars must have been unpacked by the stage ``images``."""
    unpacked = config.output / KEPT_FOLDER / "images" / UNPACKED
    return Openers({name: source.path for name, source in config.sources.items()}, unpacked)


def examine(
    batches: Iterable[Any], openers: Openers, folder: Path, *, images: int, threads: int, progress: Progress
) -> list[str]:
    """Examine the images of records, piece by piece; pieces that are in the folder already are not read again.

    Args:
        batches: record batches with ``TASK_COLUMNS``, sorted by source, uri and key.
        openers: the images of the sources.
        folder: folder of the pieces, which is made.
        images: number of images, for the progress.
        threads: number of threads that read and decode.
        progress: called with finished and all images.

    Returns:
        The names of the pieces. Piece NAME is the file ``NAME.parquet`` with the columns of ``IMAGES``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names: list[str] = []
    done = 0

    def left() -> Iterator[tuple[Piece, ImageTask]]:
        nonlocal done
        for piece in pieces_of(tasks_of(batches), openers):
            names.append(piece.name)
            if (folder / f"{piece.name}.parquet").exists():
                done += len(piece.tasks)
            else:
                yield from ((piece, task) for task in piece.tasks)

    def work(item: tuple[Piece, ImageTask]) -> tuple[Piece, ImageTask, SeenImage]:
        return *item, _seen(item[1], openers)

    rows: list[dict[str, Any]] = []
    finished = 0  # tasks of the piece
    for piece, task, image in in_order(work, left(), threads, threads * _AHEAD, name="bioclip-images"):
        rows += _rows(task, image, openers)
        finished += 1
        done += 1
        if finished == len(piece.tasks):
            table = pa.Table.from_pylist(rows, IMAGES)
            with replacing_file(folder / f"{piece.name}.parquet") as draft:
                parquet.write_table(table.sort_by("key"), draft, compression="zstd")
            rows, finished = [], 0
        progress(done, images)
    return names


def _examine_records(work: StageWork, openers: Openers) -> list[str]:
    parts = parts_in(work.before["records"])
    with opened(work) as database:
        holders = database.execute(
            f"SELECT DISTINCT source, split_part(uri, '#', 1) AS file FROM {parts} WHERE contains(uri, '#') ORDER BY ALL"
        ).fetchall()
        openers.unpack(holders, work.tally, work.progress)
        [(images,)] = database.execute(
            f"SELECT count(*) FILTER (uri = '') + count(DISTINCT (source, uri)) FILTER (uri <> '') FROM {parts}"
        ).fetchall()
        columns = ", ".join(f'"{name}"' for name in TASK_COLUMNS)
        batches = streamed(database, f"SELECT {columns} FROM {parts} ORDER BY source, uri, key", 4096)
        return examine(
            batches, openers, work.kept / PIECES, images=images, threads=work.threads, progress=work.progress
        )


def _rows_of(names: Iterable[str], folder: Path) -> Iterator[pa.RecordBatch]:
    for name in names:
        yield from parquet.read_table(folder / f"{name}.parquet", schema=IMAGES).to_batches()


def _seen(task: ImageTask, openers: Openers) -> SeenImage:
    boxes = [region.box for region in task.regions]
    if not task.uri:
        return SeenImage.unread(NO_FILE if task.url else NO_IMAGE, len(boxes))
    return seen(lambda: openers.stored(task.source, task.uri), boxes, task.uri)


def _rows(task: ImageTask, image: SeenImage, openers: Openers) -> Iterator[dict[str, Any]]:
    for wanted, region in zip(task.regions, image.regions, strict=True):
        yield {
            "key": wanted.key, "sha256": image.sha256, "md5": image.md5,
            "unreadable": openers.shown(task.source, region.unreadable) if task.uri else region.unreadable,
            "hash_mismatch": _mismatch(wanted, image), "phash": region.look.hashed, "phash_inner": region.inner,
            "colours": region.look.colours, "width": image.width, "height": image.height, "bytes": image.bytes,
        }  # fmt: skip


def _mismatch(wanted: WantedRegion, image: SeenImage) -> str:
    """Return how a published hash differs from that of the bytes; empty if it does not, or if nothing can be compared."""
    if not image.sha256:
        return ""
    for name, published, found in (
        ("sha256", wanted.published_sha256.strip().lower(), image.sha256),
        ("md5", wanted.published_md5.strip().lower(), image.stored_md5 or image.md5),
    ):
        usable = is_hash(published) if name == "sha256" else len(published) == _MD5_LENGTH
        if usable and published != found:
            return f"published {name} {published[:12]}…, that of the bytes {found[:12]}…"
    return ""


def _count(rows: pa.Table, tally: Tally, records: Path) -> None:
    """Count images that cannot be read, and those with other bytes than were published, each with an example from the records."""
    is_unread = pc.not_equal(rows["unreadable"], "")
    is_elsewhere = pc.is_in(rows["unreadable"], pa.array([NO_FILE, NO_IMAGE]))
    for reason, chosen, is_failure in (
        ("without a file on this machine", is_elsewhere, False),
        ("whose image cannot be read", pc.and_not(is_unread, is_elsewhere), True),
    ):
        found = rows.filter(chosen)
        if found.num_rows:
            example = _example(found["key"][0].as_py(), found["unreadable"][0].as_py(), records)
            tally.drop(reason, found.num_rows, example, is_failure=is_failure)
    changed = rows.filter(pc.not_equal(rows["hash_mismatch"], ""))
    if changed.num_rows:
        tally.count("images with other bytes than were published (column hash_mismatch)", changed.num_rows)
    tally.count("regions of images that were read", rows.num_rows - int(pc.sum(is_unread).as_py() or 0))


def _example(key: str, reason: str, records: Path) -> str:
    [row] = parquet.read_table(records, columns=["source", "record_id"], filters=[("key", "=", key)]).to_pylist()
    return f"{row['source']}: {row['record_id']}: {reason}"
