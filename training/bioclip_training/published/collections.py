"""Samples of a folder of published shards: tars, Parquet files with images, and loose files with texts beside them."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from itertools import accumulate, islice
from pathlib import Path, PurePosixPath
from typing import Any

from bioclip_core.errors import SourceError, first_line
from bioclip_core.findings import Findings
from bioclip_training.catalog.uris import escaped
from bioclip_training.published.caption_tables import is_caption_table, of_caption_table
from bioclip_training.published.held import HeldSample, Holder, Kind
from bioclip_training.published.img2dataset_tables import Recorded, no_image
from bioclip_training.published.parquet_images import image_column, is_parquet
from bioclip_training.published.sample_texts import described, described_cells
from bioclip_training.published.samples import IMAGE_SUFFIXES, samples_of, split_name

INDEX_FOLDER = "bioclip_index"
"""Folder beside published shards that holds their index."""
_TAR = ".tar"
COMPRESSED_TARS = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_MOST_TEXT_BYTES = 1 << 20
_BATCH_ROWS = 1024
LOOKED_AT = 20_000
"""Names that are looked at to recognise shards: in folders of millions of photographs no further ones are."""
COMPRESSED = "tars are compressed and are not read: unpack them first"
NOT_UTF_8 = "tars and Parquet files have names that are not UTF-8 and are not read: rename them"
NOT_SHARDS = "files cannot be read as shards"


def root_of(address: Path) -> Path:
    """Return the folder that the names of a collection's files are relative to."""
    return address if address.is_dir() else address.parent


def holders_in(address: Path, findings: Findings) -> list[Holder]:
    """Return the files and folders with samples below a folder, sorted by name; no file is opened but Parquet footers.

    Args:
        address: folder of the collection; or a single tar, Parquet file with images, or table of images with captions.
        findings: for files that look like shards and are not read.
    """
    if address.is_dir():
        return sorted(_walked(address, findings, None), key=lambda holder: holder.name)
    if not address.is_file():
        return []
    if address.suffix.lower() == _TAR:
        return [_holder(address, address.name, "tar")]
    if _has_images(address):
        return [_holder(address, address.name, "parquet")]
    return [_holder(address, address.name, "table")] if is_caption_table(address) else []


def first_holders(folder: Path, *, most: int | None = None) -> list[Holder]:
    """Return the first file or folder with samples below a folder, if there is one.

    Args:
        folder: of the collection.
        most: names after which no further folder is looked into.
    """
    return list(islice(_walked(folder, Findings(), most), 1))


def _walked(folder: Path, findings: Findings, most: int | None) -> Iterator[Holder]:
    """Yield holders, folder by folder; with ``most`` no further folder after so many names."""
    seen = 0
    for parent, folders, files in os.walk(folder, onerror=_ignored):
        if most is not None and seen > most:
            return
        folders[:] = sorted(name for name in folders if name != INDEX_FOLDER and not name.startswith("."))
        seen += len(files) + len(folders)
        relative = Path(parent).relative_to(folder).as_posix()
        prefix = "" if relative == "." else f"{relative}/"
        for name in sorted(files):
            if name.startswith("."):
                continue
            path = Path(parent) / name
            lower = name.lower()
            if lower.endswith((_TAR, ".parquet")) and escaped(prefix + name) != prefix + name:
                findings.add(NOT_UTF_8, escaped(prefix + name))
                continue
            if lower.endswith(_TAR):
                yield _holder(path, prefix + name, "tar")
            elif lower.endswith(COMPRESSED_TARS):
                findings.add(COMPRESSED, prefix + name)
            elif lower.endswith(".parquet") and _has_images(path):
                yield _holder(path, prefix + name, "parquet")
        if prefix and _has_loose_samples(files):
            yield _holder(Path(parent), relative, "files")


def samples_in(folder: Path, holder: Holder, findings: Findings, skipped: Findings) -> Iterator[HeldSample]:
    """Yield the samples of one holder, and compare them with what img2dataset recorded beside it.

    Raises:
        SourceError: if it cannot be read.
    """
    read = {"tar": _of_tar, "parquet": _of_parquet, "files": _of_files, "table": of_caption_table}[holder.kind]
    recorded = Recorded(folder, holder, findings, skipped)
    for sample in read(folder, holder, findings, skipped):
        recorded.add(sample)
        yield sample
    recorded.compare()


def _ignored(_: OSError) -> None:
    """Leave out a folder that cannot be listed."""


def _holder(path: Path, name: str, kind: Kind) -> Holder:
    status = path.stat()
    size = status.st_size if kind != "files" else sum(1 for _ in os.scandir(path))
    return Holder(name, kind, size, status.st_mtime_ns)


def _has_images(path: Path) -> bool:
    from pyarrow import ArrowException, parquet

    try:
        if is_parquet(path):
            image_column(parquet.read_schema(path))
            return True
    except (OSError, ArrowException, SourceError):
        pass
    return False


def _has_loose_samples(files: list[str]) -> bool:
    stems = {name.rpartition(".")[0] for name in files if name.lower().endswith(".json")}
    return any(
        PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES and name.rpartition(".")[0] in stems for name in files
    )


def _of_tar(folder: Path, holder: Holder, findings: Findings, skipped: Findings) -> Iterator[HeldSample]:
    for sample in samples_of(folder / holder.name, findings, skipped):
        for member, (offset, size) in sample.images.items():
            about = described(sample.texts_of(member), f"{holder.name}#{sample.key}", findings)
            yield HeldSample(sample.key, holder.name, member, offset, size, about)


def _of_parquet(folder: Path, holder: Holder, findings: Findings, skipped: Findings) -> Iterator[HeldSample]:
    """Yield the rows of a Parquet file with an image; images themselves are read for their presence only, in small batches."""
    import pyarrow as pa
    from pyarrow import compute, parquet

    path = folder / holder.name
    try:
        with parquet.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as file:
            image, _ = image_column(file.schema_arrow)
            others = [name for name in file.schema_arrow.names if name != image]
            groups = range(file.metadata.num_row_groups)
            ends = list(accumulate(file.metadata.row_group(number).num_rows for number in groups))
            row = 0
            batches = (
                zip(
                    file.iter_batches(_BATCH_ROWS, columns=others, use_threads=False),
                    _present(file, image, compute),
                    strict=True,
                )
                if others
                else ()
            )
            for batch, present in batches:
                for cells, is_there in zip(batch.to_pylist(), present, strict=True):
                    where = f"{holder.name}#{row}"
                    if is_there:
                        about = described_cells(cells, where, findings)
                        key = str(cells.get("key") or cells.get("uuid") or cells.get("id") or row)
                        yield HeldSample(key, holder.name, str(row), row, 0, about, bisect_right(ends, row))
                    else:
                        message = cells.get("error_message")
                        skipped.add(no_image(cells.get("status") or ""), f"{where}: {message}" if message else where)
                    row += 1
    except (OSError, pa.ArrowException) as error:
        raise SourceError(f"{path} is truncated or damaged: {first_line(error)}; copy it again") from error


def _present(file: Any, image: str, compute: Any) -> Iterator[list[bool]]:
    """Yield for each batch of rows whether each has an image."""
    waiting: list[bool] = []
    for batch in file.iter_batches(32, columns=[image], use_threads=False):
        waiting += compute.is_valid(batch.column(0)).to_pylist()
        while len(waiting) >= _BATCH_ROWS:
            yield waiting[:_BATCH_ROWS]
            waiting = waiting[_BATCH_ROWS:]
    if waiting:
        yield waiting


def _of_files(folder: Path, holder: Holder, findings: Findings, skipped: Findings) -> Iterator[HeldSample]:
    """Yield the samples of img2dataset's output format ``files``: KEY.jpg, KEY.txt and KEY.json in one folder."""
    texts: dict[str, dict[str, Path]] = {}
    images: list[tuple[str, Path]] = []
    for path in sorted((folder / holder.name).iterdir()):
        key, extension = split_name(path.name)
        if not key or not path.is_file():
            continue
        if path.suffix.lower() in IMAGE_SUFFIXES:
            images.append((key, path))
        else:
            texts.setdefault(key, {})[extension.lower()] = path
    for key, path in images:
        where = f"{holder.name}/{path.name}"
        size = path.stat().st_size
        if not size:
            skipped.add("images of zero bytes", where)
            continue
        about = described(_contents(texts.pop(key, {}), where, findings), where, findings)
        yield HeldSample(key, where, "", 0, size, about)
    if texts:
        skipped.add("samples without an image", f"{holder.name}/{next(iter(texts))}", len(texts))


def _contents(texts: Mapping[str, Path], where: str, findings: Findings) -> dict[str, str]:
    found = {}
    for extension, path in texts.items():
        try:
            with path.open("rb") as file:
                found[extension] = file.read(_MOST_TEXT_BYTES).decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            findings.add("texts are not UTF-8 and are not used", where)
    return found
