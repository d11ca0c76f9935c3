"""Samples of TIFF pages: strips and tiles found, decompressed and unpacked, in bounded memory.

libtiff, by way of Pillow, undoes LZW, PackBits, LZMA and Zstandard: it is given the compressed bytes as a grey image of as
many columns as a row has bytes.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import ImageError
from bioclip_core.images import tiff_header as header
from bioclip_core.images.pillow_files import TiffFile
from bioclip_core.images.tiff_header import PageLayout

NONE = 1
LOSSLESS = frozenset((5, 8, 32773, 32946, 34925, 50000))
"""Lossless compression of bytes: LZW, Deflate, PackBits, LZMA, Zstandard."""
PERHAPS = (34925, 50000)
"""Those without which Pillow's libtiff may be built."""
_DEFLATE = (8, 32946)
_PREDICTED = LOSSLESS - {32773}
"""Compression after which a predictor is undone; libtiff ignores it with the others."""
_BAND = 1 << 20  # samples that are converted at once
_REVERSED = np.array([int(f"{byte:08b}"[::-1], 2) for byte in range(256)], np.uint8)
COMPRESSIONS = {
    2: "CCITT", 3: "CCITT Group 3", 4: "CCITT Group 4", 5: "LZW", 6: "old-style JPEG", 7: "JPEG", 8: "Deflate",
    9: "JBIG", 10: "JBIG", 32773: "PackBits", 32809: "ThunderScan", 32908: "PixarFilm", 32909: "PixarLog",
    33003: "JPEG 2000", 33005: "JPEG 2000", 34661: "JBIG", 34676: "SGILog", 34677: "SGILog24", 34712: "JPEG 2000",
    34887: "LERC", 34892: "lossy JPEG", 34925: "LZMA", 32946: "Deflate", 34933: "PNG", 34934: "JPEG XR", 22610: "JPEG XR",
    50000: "Zstandard", 50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Samples:
    """The samples of a page that are wanted, in memory without compression, unpacked band by band."""

    page: PageLayout
    planes: list[NDArray[np.uint8]]
    """Rows × tiles per row × bytes per row of a tile: one plane for all samples, or one per wanted sample."""
    columns: int
    """Columns of a tile or strip."""
    stored_bits: int
    wanted: list[int]

    @classmethod
    def of(cls, file: BinaryIO, page: PageLayout, wanted: list[int], most_bytes: int) -> Samples:
        """Read and decompress the planes that hold the wanted samples."""
        grid = grid_of(page)
        size = grid.rows * grid.across * grid.row_bytes(page.bits) * (len(wanted) if page.planar else 1)
        most_bytes //= _slowness(page)
        if size > most_bytes:
            raise ImageError(
                f"its header announces {page.width:,} × {page.height:,} pixels of {page.samples} samples, {size:,} bytes "
                f"without compression, which is over the budget of {most_bytes:,} bytes"
            )
        planes, stored_bits = [], page.bits
        for number in wanted if page.planar else [0]:
            pieces, stored_bits = grid.pieces(file, number)
            planes.append(grid.joined(pieces, stored_bits))
        return cls(page, planes, grid.columns, stored_bits, wanted)

    def bands(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield the first row of each band, and its samples as rows × columns × wanted samples."""
        page = self.page
        step = max(1, _BAND // (page.width * page.samples))
        for start in range(0, page.height, step):
            stop = min(page.height, start + step)
            parts = [self._unpacked(plane[start:stop])[:, : page.width] for plane in self.planes]
            yield start, np.concatenate(parts, axis=-1) if page.planar else parts[0][..., self.wanted]

    def _unpacked(self, block: NDArray[np.uint8]) -> NDArray[Any]:
        """Return rows × columns × samples of a block of rows."""
        page, bits = self.page, self.stored_bits
        samples = 1 if page.planar else page.samples
        rows, across, _ = block.shape
        shape = (rows, across, self.columns, samples)
        if bits not in (8, 16, 32, 64):
            return _unpacked_bits(block, bits, shape).reshape(rows, across * self.columns, samples)
        size = bits // 8
        kind = {2: "i", 3: "f"}.get(page.sample_format, "u")
        predictor = page.predictor if page.compression in _PREDICTED else 1
        if predictor == 3:
            sums = block.reshape(rows, across, self.columns * size, samples).cumsum(axis=2, dtype=np.uint8)
            planes = sums.reshape(rows, across, size, self.columns * samples)
            values = np.ascontiguousarray(planes.swapaxes(2, 3)).view(f">{kind}{size}").astype(f"{kind}{size}")
        else:
            order = page.directory.order
            values = np.ascontiguousarray(block).view(f"{order}u{size}").astype(f"u{size}", copy=False)
            if predictor == 2:
                values = values.reshape(shape).cumsum(axis=2, dtype=f"u{size}")
            values = values.view(f"{kind}{size}")
        return values.reshape(rows, across * self.columns, samples)


def _slowness(page: PageLayout) -> int:
    """Return the time per byte that a kind of samples takes, as a multiple of that of 16-bit RGB (2.7 ns)."""
    if page.predictor == 3:
        return 4
    return 2 if page.sample_format == 3 or page.bits > 32 or page.samples > 8 else 1


def uncompressed_bytes(page: PageLayout) -> int:
    """Return the size of all samples of a page without compression, with those that fill the last tiles."""
    grid = grid_of(page)
    return grid.rows * grid.across * grid.row_bytes(page.bits) * (page.samples if page.planar else 1)


def piece_count(page: PageLayout) -> int:
    """Return the number of strips or tiles of a page."""
    grid = grid_of(page)
    return grid.across * grid.down * (page.samples if page.planar else 1)


def piece_bytes(page: PageLayout) -> int:
    """Return the size of a strip or tile without compression, 0 for a page without compression."""
    grid = grid_of(page)
    return 0 if page.compression == NONE else grid.height * grid.row_bytes(page.bits)


def grid_of(page: PageLayout) -> Grid:
    """Return the strips or tiles of a page.

    Raises:
        ImageError: if its tiles have no pixels.
    """
    tag = page.directory.number
    if page.is_tiled:
        columns, height = tag(header.TILE_WIDTH), tag(header.TILE_LENGTH)
        if columns < 1 or height < 1:
            raise ImageError(f"the file is damaged: its tiles have {columns} × {height} pixels")
    else:
        columns, height = page.width, min(tag(header.ROWS_PER_STRIP) or page.height, page.height)
    return Grid(page, columns, height, -(-page.width // columns), -(-page.height // height))


@dataclass(frozen=True, slots=True)
class Grid:
    """The strips or tiles of a plane."""

    page: PageLayout
    columns: int
    """Columns of a tile or strip."""
    height: int
    """Rows of a tile or strip; the last strip may have fewer."""
    across: int
    down: int

    @property
    def rows(self) -> int:
        """Rows of the plane, with those that fill the last tiles."""
        return self.down * self.height if self.page.is_tiled else self.page.height

    def row_bytes(self, bits: int) -> int:
        """Return the bytes of one row of a tile or strip."""
        return -(-self.columns * (1 if self.page.planar else self.page.samples) * bits // 8)

    @property
    def _tags(self) -> tuple[int, int]:
        """Tags of the places and sizes."""
        if self.page.is_tiled:
            return header.TILES, header.TILE_BYTES
        return header.STRIPS, header.STRIP_BYTES

    def _heights(self) -> list[int]:
        """Return the rows of each strip or tile."""
        if self.page.is_tiled:
            return [self.height] * (self.across * self.down)
        return [min(self.height, self.page.height - start) for start in range(0, self.page.height, self.height)]

    def pieces(self, file: BinaryIO, plane: int) -> tuple[list[bytes], int]:
        """Return the bytes of each strip or tile of a plane as they are in the file, and the bits of a sample in them."""
        page, count = self.page, self.across * self.down
        first = plane * count
        offsets, sizes = (page.directory.array(file, tag, first + count)[first:] for tag in self._tags)
        if len(offsets) < count or (len(sizes) < count and page.compression != NONE):
            what = "tiles" if page.is_tiled else "strips"
            raise ImageError(f"the file is damaged: its header lists {min(len(offsets), len(sizes))} of {count} {what}")
        if not offsets.all():
            raise ImageError(
                f"not supported: {np.count_nonzero(offsets == 0)} of its strips or tiles are left out", stage="open"
            )
        if count == 1 and page.compression != NONE and not sizes[0]:
            sizes = np.array(
                [max(0, file.seek(0, io.SEEK_END) - int(offsets[0]))]
            )  # not stated: up to the end of the file
        heights = self._heights()
        stored = next(size for size in (8, 16, 32, 64) if page.bits <= size)
        padded = np.array([height * self.row_bytes(stored) for height in heights])
        bits = page.bits
        if page.compression == NONE:
            if bits % 8 and np.array_equal(sizes, padded):  # 12 bits, for example, each in two bytes
                bits = stored
            sizes = np.array([height * self.row_bytes(bits) for height in heights])
        pieces = [_piece(file, int(offset), int(size)) for offset, size in zip(offsets, sizes, strict=True)]
        if page.compression in _DEFLATE:
            starts = [_inflated(piece, int(most), page.fill_order) for piece, most in zip(pieces, padded, strict=True)]
            if bits % 8 and all(len(start) == most for start, most in zip(starts, padded, strict=True)):
                bits = stored
            needed = [height * self.row_bytes(bits) for height in heights]
            if any(len(start) < size for start, size in zip(starts, needed, strict=True)):
                raise ImageError("the file is damaged: its Deflate data end before the image does")
            pieces = [start[:size] for start, size in zip(starts, needed, strict=True)]
        return pieces, bits

    def joined(self, pieces: list[bytes], bits: int) -> NDArray[np.uint8]:
        """Return the plane without compression: rows × tiles per row × bytes per row of a tile."""
        row_bytes = self.row_bytes(bits)
        if self.page.compression not in (NONE, *_DEFLATE):
            return self._decompressed(pieces, row_bytes).reshape(self.rows, self.across, row_bytes)
        data = np.frombuffer(b"".join(pieces) if len(pieces) > 1 else pieces[0], np.uint8)
        if self.page.is_tiled:
            tiles = data.reshape(self.down, self.across, self.height, row_bytes)
            data = tiles.swapaxes(1, 2)
        rows = data.reshape(self.rows, self.across, row_bytes)
        return _REVERSED[rows] if self.page.fill_order == 2 and self.page.compression == NONE else rows

    def _decompressed(self, pieces: list[bytes], row_bytes: int) -> NDArray[np.uint8]:
        """Return rows × bytes of the plane, by way of libtiff: as a grey image whose pixels are the bytes."""
        page = self.page
        starts = np.cumsum([0, *(len(piece) for piece in pieces)])[:-1]
        tags: dict[int, list[int]] = {
            header.WIDTH: [self.across * row_bytes],
            header.LENGTH: [self.rows],
            header.BITS: [8],
            header.COMPRESSION: [page.compression],
            header.PHOTOMETRIC: [1],
            header.FILL_ORDER: [page.fill_order],
            header.SAMPLES: [1],
        }
        if page.is_tiled:
            tags |= {header.TILE_WIDTH: [row_bytes], header.TILE_LENGTH: [self.height]}
        else:
            tags[header.ROWS_PER_STRIP] = [self.height]
        places, sizes = self._tags
        image = TiffFile(io.BytesIO(_tiff(tags, places, sizes, starts.tolist(), pieces)))
        try:
            image.load()
        except OSError:
            what = "not supported by this Pillow, or damaged" if page.compression in PERHAPS else "the file is damaged"
            name = COMPRESSIONS[page.compression]
            raise ImageError(f"{what}: its {name} data cannot be decompressed") from None
        return np.asarray(image)


def _piece(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(min(offset, 2**62))
    data = file.read(size)
    if len(data) < size:
        raise ImageError("the file is truncated: its data end before the image does")
    return data


def _inflated(piece: bytes, most: int, fill_order: int) -> bytes:
    """Return at most this many bytes of Deflate data. libtiff would report damage on standard error."""
    if fill_order == 2:
        piece = _REVERSED[np.frombuffer(piece, np.uint8)].tobytes()
    stream = zlib.decompressobj()
    try:
        data = stream.decompress(piece, most)
        if not stream.eof:
            stream.decompress(stream.unconsumed_tail, 1)  # compares the checksum, if the data end here
        return data
    except zlib.error as error:
        raise ImageError(f"the file is damaged: its Deflate data cannot be decompressed ({error})") from None


def _unpacked_bits(block: NDArray[np.uint8], bits: int, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return packed unsigned integers of 1 to 16 bits."""
    columns, samples = shape[2:]
    single = np.unpackbits(block, axis=-1)[..., : columns * samples * bits].reshape(*shape, bits)
    values = np.zeros(shape, np.uint8 if bits <= 8 else np.uint16)
    for place in range(bits):
        np.left_shift(values, 1, out=values)
        np.bitwise_or(values, single[..., place], out=values)
    return values


def _tiff(tags: dict[int, list[int]], places: int, sizes: int, starts: list[int], pieces: list[bytes]) -> bytes:
    """Return a little-endian TIFF of one page with these tags and strips or tiles."""
    entries = sorted([*tags, places, sizes])
    behind = 8 + 2 + 12 * len(entries) + 4
    # The lists of places and sizes follow the header unless they are a single number; then come the pieces.
    lists = 0 if len(pieces) == 1 else 4 * len(pieces)
    first = behind + 2 * lists
    values = {**tags, places: [first + start for start in starts], sizes: [len(piece) for piece in pieces]}
    head, body = struct.pack("<2sHIH", b"II", 42, 8, len(entries)), b""
    for tag in entries:
        numbers = struct.pack(f"<{len(values[tag])}I", *values[tag])
        if len(numbers) > 4:
            numbers, body = struct.pack("<I", behind + len(body)), body + numbers
        head += struct.pack("<HHI", tag, 4, len(values[tag])) + numbers
    return b"".join([head, bytes(4), body, *pieces])
