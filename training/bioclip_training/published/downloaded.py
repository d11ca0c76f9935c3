"""Parquet files of distributed-downloader, with which TreeOfLife-200M was fetched: images in rows, and tables of errors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from bioclip_core.errors import SourceError, first_line
from bioclip_core.tables.rows import shown_path
from bioclip_training.published.hashes import hashes_in
from bioclip_training.published.layout import BATCH_ROWS, ReadOptions, Recognition, check_settings
from bioclip_training.published.reading.folders import folders_below
from bioclip_training.published.records import batch_of

_COLUMNS = ("uuid", "identifier", "image")
_DEPTH = 6
_ERRORS = "errors.parquet"
_HASHES = ("hashsum_original", "hashsum_resized")
STORED = ("uuid", "source_id", "identifier", "license", "source", *_HASHES)
"""Columns of an image file that records use; a file may lack all but uuid and identifier. ``hashsum_original`` is the md5 of the
file that was fetched, ``hashsum_resized`` that of the pixels in the row."""
DAMAGED = "Parquet files are truncated or damaged and are not read"
NO_IMAGE = "rows without image bytes"
_MOST_NAMED = 5


def image_files(path: Path) -> list[Path]:
    """Return the Parquet files with images of distributed-downloader below a folder, sorted; the file itself if it is one.

    Files that cannot be read are among them if others are of this kind, so that they are reported.
    """
    folders = folders_below(path, _DEPTH) if path.is_dir() else ()
    files = [file for folder in folders for file in sorted(folder.glob("*.parquet")) if file.name != _ERRORS]
    found = {file: _is_of_images(file) for file in ([path] if path.is_file() else files)}
    return sorted(file for file, is_ours in found.items() if is_ours is not False) if True in found.values() else []


def stored_rows(root: Path, files: list[Path], options: ReadOptions) -> Iterator[pa.RecordBatch]:
    """Yield the rows of image files: the columns STORED as text, and ``uri`` (FILE#ROW); images are not read.

    Args:
        root: folder that uris are relative to.
        files: as of :func:`image_files`.
        options: for files that cannot be read.
    """
    from pyarrow import parquet

    for done, file in enumerate(files):
        options.progress(done, len(files))
        name = file.relative_to(root).as_posix()
        try:
            with parquet.ParquetFile(file) as opened:
                present = [column for column in STORED if column in opened.schema_arrow.names]
                row = 0
                for batch in opened.iter_batches(BATCH_ROWS, columns=present, use_threads=False):
                    yield _named(batch, present, name, row, options)
                    row += batch.num_rows
        except (OSError, pa.ArrowException) as error:
            options.skip(DAMAGED, f"{name}: {first_line(error)}")
    options.progress(len(files), len(files))


def _named(batch: pa.RecordBatch, present: list[str], name: str, first: int, options: ReadOptions) -> pa.RecordBatch:
    numbers = pa.array(range(first, first + batch.num_rows), pa.int64()).cast(pa.string())
    columns = {
        column: pc.fill_null(batch.column(column).cast(pa.string()), "")
        if column in present
        else pa.repeat("", batch.num_rows)
        for column in STORED
    }
    columns |= {column: hashes_in(columns[column], "md5", options.findings) for column in _HASHES}
    return pa.RecordBatch.from_pydict({**columns, "uri": pc.binary_join_element_wise(f"{name}#", numbers, "")})


class DistributedDownloader:
    """The output of distributed-downloader: ``server_name=HOST/partition_id=N/successes.parquet`` with ``errors.parquet``."""

    name = "distributed-downloader"
    title = "the output of distributed-downloader"
    needs = "Parquet files with the columns uuid, identifier and image, such as server_name=HOST/partition_id=N/successes.parquet"
    options = ()

    def recognise(self, path: Path) -> Recognition | None:
        # With its catalog it is TreeOfLife-200M itself, and not what was fetched for it.
        if path.is_dir() and any(True for folder in folders_below(path, 1) for _ in folder.glob("catalog.parquet")):
            return None
        files = image_files(path)
        if not files:
            return None
        return Recognition(
            layout=self.name,
            taken=(
                (
                    files[0].name,
                    "images: one per row, a file or height × width × 3 bytes in the order blue, green, red",
                ),
                ("uuid", "id of the record"),
                ("source_id", "occurrence at the source"),
                ("identifier", "address of the image"),
                ("license, source", "licence and rights holder"),
                ("hashsum_original, hashsum_resized", "md5 of the file that was fetched, and of the pixels in the row"),
            ),
            confidence="its Parquet files have the columns uuid, identifier and image",
            missing=("names: the files have none; join them with a catalog",),
            files=tuple(files),
        )

    def read(self, path: Path, options: ReadOptions) -> Iterator[pa.RecordBatch]:
        check_settings(self, options)
        files = image_files(path)
        if not files:
            raise SourceError(f"{shown_path(path)} is not {self.title}: needed is {self.needs}")
        root = path if path.is_dir() else path.parent
        count = 0
        for batch in stored_rows(root, files, options):
            count += batch.num_rows
            column = batch.column
            yield batch_of(
                batch.num_rows,
                {
                    "record_id": column("uuid"), "uri": column("uri"), "url": column("identifier"), "observation_id": column("source_id"),
                    "licence": column("license"), "rights_holder": column("source"),
                    "published_original_md5": column("hashsum_original"), "published_md5": column("hashsum_resized"),
                },
            )  # fmt: skip
        options.count("records", count)
        _count_errors(path, options)


def _count_errors(path: Path, options: ReadOptions) -> None:
    """Report the addresses that were not fetched, by the downloader's own tables."""
    from pyarrow import parquet

    folders = folders_below(path, _DEPTH) if path.is_dir() else iter((path.parent,))
    for folder in folders:
        file = folder / _ERRORS
        if not file.is_file():
            continue
        try:
            table = parquet.read_table(file, columns=["uuid", "error_code"])
        except (OSError, pa.ArrowException) as error:
            options.findings.add("tables errors.parquet cannot be read", f"{folder.name}: {first_line(error)}")
            continue
        counts: Any = table.group_by("error_code").aggregate([("uuid", "count"), ("uuid", "min")]).sort_by("error_code")
        for row in counts.to_pylist():
            options.count(f"addresses not fetched (error {row['error_code']})", row["uuid_count"])


def _is_of_images(file: Path) -> bool | None:
    """True if a file has the columns of distributed-downloader; None if it is truncated or damaged."""
    from pyarrow import ArrowException, parquet

    try:
        names = parquet.read_schema(file).names
    except (OSError, ArrowException):
        return None
    return set(_COLUMNS) <= set(names)
