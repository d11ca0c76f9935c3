"""The files of a label set, checked before they are used: bytes by their hash, and the numbers in them."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import LabelSetError, raise_if_of_host
from bioclip_core.identity import (
    LFS_REMEDY,
    is_lfs_pointer,
    is_worth_keeping,
    keep_checked,
    keep_sha256,
    kept_sha256,
    settings_id,
    was_checked,
)
from bioclip_core.labels.manifest import EMBEDDINGS, MANIFEST, TAXA, Manifest, id_of, is_sha256
from bioclip_core.tables.parquet_limits import check_whole

log = logging.getLogger("bioclip_plugin.labels")

ROWS_PER_CHUNK = 8192
"""Rows of a large label set in memory at once."""

_NORM_TOLERANCE = 0.02
"""Rounding to float16 moves the norm of a row by less than a thousandth."""
_NAMES_BYTES, _NAMES_BYTES_PER_LABEL = 1 << 20, 4096
"""Limit of the names, a hundred times the usual size."""
_MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 10_000
_MANY_NAMES = 100_000
"""Labels from which names that were checked before are known by their hash."""
_LARGE = 1 << 30
"""Bytes from which a check takes seconds and is announced."""


class Unfit(Exception):
    """A fault of a file, without the name of its label set."""


def open_embeddings(folder: Path, manifest: Manifest) -> tuple[NDArray[np.float16], str]:
    """Return the embeddings as a memory map, and the sha256 of their file, after a check of bytes and numbers.

    The check and the map use the same open file, so that a file that is replaced in the meantime changes nothing.

    Raises:
        Unfit: if they are not what the manifest says, or cannot be label embeddings.
        OSError: if the file cannot be read.
    """
    with _opened(folder / EMBEDDINGS) as file:
        offset = _start_of_rows(file, manifest.count, manifest.dimension)
        digest = _check_contents(file, offset, manifest)
        rows_ND = _mapped(file, offset, (manifest.count, manifest.dimension), "c")  # "c": torch wants writable memory
        return rows_ND, digest


def mapped_anew(folder: Path, shape: tuple[int, int]) -> NDArray[np.float16]:
    """Return checked embeddings in a new memory map, whose pages are released with it."""
    with _opened(folder / EMBEDDINGS) as file:
        return _mapped(file, _start_of_rows(file, *shape), shape, "r")


def read_taxa(folder: Path, manifest: Manifest, columns: tuple[str, ...]) -> tuple[Any, str]:
    """Return the columns of names as a pyarrow table with one row per label, and the sha256 of their file.

    Raises:
        Unfit: if they are not what the manifest says.
        OSError: if the file cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    most = _NAMES_BYTES + _NAMES_BYTES_PER_LABEL * manifest.count
    with _opened(folder / TAXA) as opened:
        data = opened.read(most + 1)
    if len(data) > most:
        raise Unfit(f"{TAXA} has more than {most:,} bytes, too many for the names of {manifest.count} labels")
    digest = hashlib.sha256(data).hexdigest()
    _compare(TAXA, digest, manifest)
    try:
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            rows, schema = file.metadata.num_rows, file.schema_arrow
        if rows != manifest.count:
            raise Unfit(f"{MANIFEST} says {manifest.count} labels, but {TAXA} has {rows} rows")
        for name in columns:
            if name not in schema.names:
                raise Unfit(f"{TAXA} has no column {name}")
            kind = schema.field(name).type
            kind = kind.value_type if pa.types.is_dictionary(kind) else kind
            if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
                raise Unfit(f"{TAXA} has {kind} in the column {name}, where text is needed")
        if not was_checked(f"names {digest}"):
            check_whole(pa.BufferReader(data))
        table = pq.read_table(pa.BufferReader(data), columns=list(columns), read_dictionary=list(columns))
    except Unfit:
        raise
    except Exception as error:  # for damaged bytes pyarrow raises its own, Python's and those of its parts
        raise_if_of_host(error)
        raise Unfit(f"{TAXA} cannot be read: {' '.join(str(error).split())[:200]}") from None
    for name in columns:
        if empty := table.column(name).null_count:
            raise Unfit(
                f"{TAXA} has {empty} cells without a value in the column {name}; a missing name is an empty text"
            )
    _keep_names(f"names {digest}", rows)
    return table, digest


def _keep_names(what: str, rows: int) -> None:
    """Remember a check of many names, which takes longer than their hash."""
    if rows >= _MANY_NAMES and not was_checked(what):
        keep_checked(what)


def check_id(written: Mapping[str, Any], manifest: Manifest, digests: Mapping[str, str]) -> bool:
    """Return True if the id of a label set proves its files, for a manifest without their hashes.

    An id that this software made covers the hashes. One of another form comes from another program and proves nothing.

    Raises:
        Unfit: if the id has our form and belongs to other files.
    """
    if manifest.id == id_of({**written, "sha256": digests}):
        return True
    if is_sha256(manifest.id):
        raise Unfit(f"the id in {MANIFEST} does not fit {EMBEDDINGS} and {TAXA}")
    return False


def check_order(table: Any, keys: tuple[str, ...], digest: str) -> None:
    """Refuse names that are not in taxonomic order: a taxon would be several spans, each with a part of its probability.

    Args:
        table: the names, every column dictionary-encoded in one chunk.
        keys: the columns that sort it.
        digest: sha256 of their file.

    Raises:
        Unfit: with the first row that is in the wrong place.
    """
    import pyarrow.compute as pc

    if was_checked(f"order of names {digest}"):
        return
    rows = table.num_rows - 1
    is_later, is_earlier = (np.zeros(rows, dtype=bool) for _ in range(2))
    for name in keys:
        column = table.column(name).chunk(0)
        place = np.empty(len(column.dictionary), dtype=np.int64)
        place[pc.sort_indices(column.dictionary).to_numpy()] = np.arange(len(place))
        step = np.diff(place[column.indices.to_numpy()])
        open_yet = ~(is_later | is_earlier)
        is_later |= open_yet & (step > 0)
        is_earlier |= open_yet & (step < 0)
    if is_earlier.any():
        raise Unfit(
            f"{TAXA} is not in taxonomic order: row {int(is_earlier.argmax()) + 1} sorts before the row above it"
        )
    _keep_names(f"order of names {digest}", table.num_rows)


def _start_of_rows(file: IO[bytes], count: int, dimension: int) -> int:
    """Return the place of the first row behind the header of an open .npy file.

    The header is not given to numpy, which evaluates it as Python and warns about headers of old versions.
    """
    start = file.read(len(_MAGIC) + 2)
    if start[:6] != _MAGIC or len(start) < 8 or start[6] not in (1, 2, 3):
        raise Unfit(f"{EMBEDDINGS} is not a .npy file")
    size = 2 if start[6] == 1 else 4
    length = int.from_bytes(file.read(size), "little")
    header = file.read(min(length, _LONGEST_HEADER))
    if length > _LONGEST_HEADER or len(header) < length:
        raise Unfit(f"{EMBEDDINGS} has a header of {length:,} bytes, which is more than the file or a header can have")
    stated = [
        re.search(rb"'" + name + rb"'\s*:\s*" + value, header)
        for name, value in (
            (b"descr", rb"'([^']{1,40})'"),
            (b"fortran_order", rb"(True|False)"),
            (b"shape", rb"\(([0-9L, ]*)\)"),
        )
    ]
    if not all(stated):
        raise Unfit(f"{EMBEDDINGS} has a header that does not state one array of numbers")
    kind, order, numbers = (found[1].decode("ascii", "replace") for found in stated if found)
    shape = [int(number) for number in re.findall(r"\d+", numbers)]
    if kind != "<f2" or order != "False" or shape != [count, dimension]:
        held = {"<f4": "float32", "<f8": "float64", "<f2": "float16", "|O": "objects"}.get(kind, f"type {kind}")
        raise Unfit(
            f"{MANIFEST} says {count} labels of {dimension} numbers in float16, but {EMBEDDINGS} has {held} of shape "
            f"{'x'.join(map(str, shape))[:80]}{'' if order == 'False' else ' in Fortran order'}"
        )
    offset, whole = file.tell(), os.fstat(file.fileno()).st_size
    if whole != offset + 2 * count * dimension:
        raise Unfit(
            f"{EMBEDDINGS} has {whole:,} bytes, but {offset + 2 * count * dimension:,} are needed for {count} labels of "
            f"{dimension} numbers"
        )
    return offset


def _opened(path: Path) -> IO[bytes]:
    if path.exists() and not path.is_file():  # opening a pipe would wait for its writer
        raise Unfit(f"{path.name} is not a file")
    if path.exists() and is_lfs_pointer(path):
        raise Unfit(f"{path.name} {LFS_REMEDY}")
    return path.open("rb")


def _mapped(file: IO[bytes], offset: int, shape: tuple[int, int], mode: Any) -> NDArray[np.float16]:
    rows_ND: NDArray[np.float16] = np.memmap(file, dtype=np.dtype("<f2"), mode=mode, offset=offset, shape=shape)
    return rows_ND


def _check_contents(file: IO[bytes], offset: int, manifest: Manifest) -> str:
    """Check hash and numbers in one pass, and return the hash; a large file that was checked before and is unchanged is not read again."""
    expected, mask = manifest.sha256.get(EMBEDDINGS), settings_id({"masked": manifest.masked})
    known = kept_sha256(file)
    if known is not None and known == (expected or known) and was_checked(f"rows {known} {mask}"):
        return known
    if os.fstat(file.fileno()).st_size >= _LARGE:
        log.info("Checking the label set %s; an unchanged one is not checked again", file.name)
    masked_N = np.zeros(manifest.count, dtype=bool)
    masked_N[manifest.masked] = True
    digest, fault = hashlib.sha256(), ""
    for start, data in _chunks(file, offset, 2 * manifest.dimension * ROWS_PER_CHUNK):
        digest.update(data)
        if start >= 0 and not fault:
            first = start // (2 * manifest.dimension)
            fault = _fault_of_rows(np.frombuffer(data, "<f2").reshape(-1, manifest.dimension), first, masked_N)
    found = digest.hexdigest()
    _compare(EMBEDDINGS, found, manifest)
    if fault:
        raise Unfit(fault)
    if is_worth_keeping(file):
        keep_sha256(file, found)
        keep_checked(f"rows {found} {mask}")
    return found


def _chunks(file: IO[bytes], offset: int, size: int) -> Iterator[tuple[int, bytes]]:
    """Yield the header with the place -1, then whole rows with their place behind it."""
    file.seek(0)
    yield -1, file.read(offset)
    place = 0
    while data := file.read(size):
        yield place, data
        place += len(data)


def _fault_of_rows(rows_RD: NDArray[np.float16], first: int, masked_N: NDArray[np.bool_]) -> str:
    """Return the fault of the first row that cannot be compared with a feature and is not masked; empty without one."""
    with np.errstate(all="ignore"):
        wide_RD = rows_RD.astype(np.float32)
        norms_R = np.sqrt(np.einsum("rd,rd->r", wide_RD, wide_RD))
        is_unit_R = np.abs(norms_R - 1) <= _NORM_TOLERANCE  # False for NaN
    bad = np.flatnonzero(~is_unit_R & ~masked_N[first : first + len(rows_RD)])
    if not len(bad):
        return ""
    norm = float(norms_R[bad[0]])
    held = "numbers that are not finite" if not np.isfinite(norm) else f"the length {norm:.3g} instead of 1"
    return f"{EMBEDDINGS} has a vector with {held} in row {first + int(bad[0])}, which {MANIFEST} does not mask"


def _compare(name: str, found: str, manifest: Manifest) -> None:
    expected = manifest.sha256.get(name)
    if expected is not None and expected != found:
        raise Unfit(
            f"{name} is not the file that was made (its sha256 is {found[:12]}..., {MANIFEST} says {expected[:12]}...)"
        )


def damaged(folder: Path | None, fault: Exception | str) -> LabelSetError:
    """Return the error for a label set whose files cannot be used."""
    text = (
        f"its {Path(fault.filename).name} is missing"
        if isinstance(fault, FileNotFoundError) and fault.filename
        else str(fault)
    )
    return LabelSetError(
        f"label set {folder or '(in memory)'} is damaged: {' '.join(text.split())[:400]}; build or import it again"
    )
