"""Images in the rows of a Parquet file: read group by group and in small batches, with a window of rows in memory."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from bioclip_core.errors import ImageError, SourceError, first_line

WINDOW_BYTES = 64 << 20
"""Limit of the images of a file that stay in memory; the last batch stays in any case."""
_BATCH_ROWS = 32
_BUFFER_BYTES = 1 << 20  # a column chunk of gigabytes is read in parts
IMAGE_COLUMNS = ("image", "jpg", "jpeg", "png", "webp", "image_bytes", "img", "bytes", "content")
"""Names of columns with images: distributed-downloader's, img2dataset's, and those of tables on hubs."""
_SIZES = ("resized_size", "original_size")


class StoredImage(NamedTuple):
    """An image as a source holds it."""

    data: bytes
    """An image file."""
    cell: bytes
    """The bytes as they are stored: those of the file, or the pixels that ``data`` was made of."""


def is_parquet(path: Path) -> bool:
    """True if a file has the signature of Parquet."""
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def image_column(schema: Any) -> tuple[str, str]:
    """Return the column of a Parquet schema that holds images, and the field of it if it is a structure; else ``""``.

    Hubs store ``image`` as a structure of ``bytes`` and ``path``.

    Raises:
        SourceError: without one, or with several that could be meant.
    """
    import pyarrow as pa

    def is_binary(kind: Any) -> bool:
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))

    found = []
    for field in schema:
        if is_binary(field.type):
            found.append((field.name, ""))
        elif pa.types.is_struct(field.type) and any(
            part.name == "bytes" and is_binary(part.type) for part in field.type
        ):
            found.append((field.name, "bytes"))
    known = [column for column in found if column[0].lower() in IMAGE_COLUMNS]
    if len(known) == 1 or len(found) == 1:
        return (known or found)[0]
    names = ", ".join(name for name, _ in found)
    raise SourceError(
        f"several columns could hold its images ({names}): leave one of them in the file"
        if found
        else f"no column of it holds images; its columns are {', '.join(schema.names[:20])}"
    )


class ParquetImages:
    """The images of one Parquet file by row. Rows of a few groups at a time are quick; going back in a large group reads it again."""

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            SourceError: if it is truncated, damaged, or does not hold images.
        """
        import pyarrow as pa
        from pyarrow import parquet

        self._path = path
        try:
            self._file = parquet.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False)
        except (OSError, pa.ArrowException) as error:
            raise SourceError(f"{path} is truncated or damaged: {first_line(error)}; copy it again") from error
        try:
            self._column, self._field = image_column(self._file.schema_arrow)
        except SourceError as error:
            self._file.close()
            raise SourceError(f"{path}: {error}") from None
        names = self._file.schema_arrow.names
        self._sizes = next((name for name in _SIZES if name in names), "")
        groups = self._file.metadata.num_row_groups
        self._starts = np.cumsum([0, *(self._file.metadata.row_group(at).num_rows for at in range(groups))])
        self._lock = threading.Lock()
        self._groups: OrderedDict[int, _Group] = OrderedDict()
        """Row groups that are being read, the one that was asked last at the end."""

    def __len__(self) -> int:
        return int(self._starts[-1])

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._groups.clear()
            self._file.close()

    def stored(self, row: str) -> StoredImage:
        """Return the image of a row, counted from 0.

        Raises:
            ImageError: if there is no such row, or it has no image.
        """
        if not (row.isascii() and row.isdigit()) or int(row) >= len(self):
            raise ImageError(f"{self._path} has no row {row[:40]!r}: it has rows 0 to {len(self) - 1}", stage="read")
        cells = self._cells(int(row))
        data = cells[self._column]
        if self._field and data is not None:
            data = data[self._field]
        if not data:
            raise ImageError(f"{self._path}: row {row} has no image", stage="read")
        size = cells.get(self._sizes) if self._sizes else None
        return StoredImage(encoded_pixels(data, size) if size is not None else data, data)

    def _cells(self, row: int) -> Mapping[str, Any]:
        import pyarrow as pa

        with self._lock:
            try:
                batch, first = self._group_of(row).batch_of(row)
                self._drop_surplus()
                return dict(batch.slice(row - first, 1).to_pylist()[0])
            except (OSError, ValueError, pa.ArrowException) as error:
                self._groups.clear()
                raise ImageError(
                    f"{self._path}: row {row} cannot be read, the file is damaged: {first_line(error)}", stage="read"
                ) from error

    def _group_of(self, row: int) -> _Group:
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        if number not in self._groups or not self._groups[number].can_reach(row):
            wanted = [self._column, *([self._sizes] if self._sizes else [])]
            batches = self._file.iter_batches(_BATCH_ROWS, row_groups=[number], columns=wanted, use_threads=False)
            self._groups[number] = _Group(batches, int(self._starts[number]))
        self._groups.move_to_end(number)
        return self._groups[number]

    def _drop_surplus(self) -> None:
        """Forget batches until the others are within the limit: those of the groups that were asked longest ago first."""
        surplus = self.nbytes - WINDOW_BYTES
        for number in list(self._groups):
            group = self._groups[number]
            while surplus > 0 and len(group.batches) > 1:
                surplus -= group.batches.popleft()[1].nbytes
            if surplus > 0 and len(self._groups) > 1:
                surplus -= group.nbytes
                del self._groups[number]

    @property
    def nbytes(self) -> int:
        """Bytes of the rows in memory."""
        return sum(group.nbytes for group in self._groups.values())


class _Group:
    """A row group that is read in batches, of which the last ones stay in memory."""

    def __init__(self, ahead: Iterator[Any], first: int) -> None:
        self._ahead, self._next = ahead, first
        self.batches: deque[tuple[int, Any]] = deque()
        """First row and cells of each batch in memory, ascending."""

    @property
    def nbytes(self) -> int:
        return sum(batch.nbytes for _, batch in self.batches)

    def can_reach(self, row: int) -> bool:
        """True if a row is in memory, or still to be read."""
        return row >= self._next or bool(self.batches and row >= self.batches[0][0])

    def batch_of(self, row: int) -> tuple[Any, int]:
        """Return the batch with a row, and its first row."""
        for first, batch in self.batches:
            if first <= row < first + batch.num_rows:
                return batch, first
        for batch in self._ahead:
            first, self._next = self._next, self._next + batch.num_rows
            self.batches.append((first, batch))
            while len(self.batches) > 1 and self.nbytes > WINDOW_BYTES:
                self.batches.popleft()
            if row < self._next:
                return batch, first
        raise OSError("its last row group is shorter than the footer says")


def encoded_pixels(data: bytes, size: Any) -> bytes:
    """Return an image that is stored as pixels as a PNG file, and one that is stored as a file as it is.

    Args:
        data: the cell. distributed-downloader stores height × width × 3 bytes in the order of OpenCV: blue, green, red.
        size: height and width in pixels.
    """
    sides = [side for side in size or () if isinstance(side, int)]
    if len(sides) != 2 or min(sides) < 1 or len(data) != 3 * sides[0] * sides[1]:
        return data
    pixels_HWC = np.frombuffer(data, dtype=np.uint8).reshape(*sides, 3)[..., ::-1]
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels_HWC)).save(stream, "PNG", compress_level=1)
    return stream.getvalue()
