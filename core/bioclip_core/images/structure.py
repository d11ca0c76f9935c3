"""Structure of files that Pillow opens, compared with the budget before Pillow reads them: GIF, WebP, BMP, QOI, Photoshop."""

from __future__ import annotations

import re
import struct
from contextlib import suppress

from bioclip_core.images.budget import (
    MAX_GIF_BLOCKS,
    MAX_GIF_COMMENT_BYTES,
    MAX_GIF_DATA_BLOCKS,
    MAX_PSD_RESOURCES,
    MAX_QOI_BYTES,
    MAX_QOI_PIXELS,
    MAX_RLE_BYTES,
    MAX_RLE_PIXELS,
    MAX_WEBP_PIXELS,
    check_frame,
    over_budget,
)

_GIF_BLOCK = re.compile(rb"[!,;]")


def check_structure(data: bytes, frame: int) -> None:
    """Refuse a file that costs more work before or while it is decoded than its pixels do.

    Args:
        data: the bytes of the file; damage is left to the decoder.
        frame: number of the wanted frame, from 0.

    Raises:
        ImageError: with the announced amount and the limit.
    """
    with suppress(struct.error, IndexError):
        if data.startswith((b"GIF87a", b"GIF89a")):
            _check_gif(data, frame)
        elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            _check_webp(data, frame)
        elif data.startswith(b"BM"):
            _check_bmp(data)
        elif data.startswith(b"qoif"):
            _check_qoi(data)
        elif data.startswith(b"8BPS"):
            _check_psd(data, frame)


class _GifWalk:
    """A way through the blocks of a GIF, up to a frame."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 13 + self._palette(data[10])
        self.junk = self.blocks = self.data_blocks = self.comment = 0

    @staticmethod
    def _palette(flags: int) -> int:
        return 3 << (flags & 7) + 1 if flags & 0x80 else 0

    def to_frame(self, number: int) -> tuple[int, int]:
        """Return width and height of the largest frame up to this one, as far as the file goes."""
        width, height = struct.unpack_from("<HH", self.data, 6)
        while (found := _GIF_BLOCK.search(self.data, self.at)) and found[0] != b";":
            self.junk += found.start() - self.at
            self.at = found.start() + 1
            if self.data[found.start()] == ord("!"):
                self._extension()
            else:
                left, top, columns, rows, flags = struct.unpack_from("<HHHHB", self.data, self.at)
                width, height = max(width, left + columns), max(height, top + rows)
                if not number:
                    self._check()
                    break
                number -= 1
                self.at += 10 + self._palette(flags)
                self.data_blocks += self._sub_blocks()[0]
            self._check()
        return width, height

    def _extension(self) -> None:
        is_comment = self.data[self.at] == 0xFE
        self.at += 1
        blocks, size = self._sub_blocks()
        self.blocks += blocks + 1
        self.comment += size if is_comment else 0

    def _sub_blocks(self) -> tuple[int, int]:
        """Skip data blocks; return their number and their bytes."""
        blocks = total = 0
        while size := self.data[self.at]:
            self.at += 1 + size
            blocks, total = blocks + 1, total + size
        self.at += 1
        return blocks, total

    def _check(self) -> None:
        for number, limit, name in (
            (self.blocks, MAX_GIF_BLOCKS, "blocks of comments and extensions"),
            (self.comment, MAX_GIF_COMMENT_BYTES, "bytes of comments"),
            (self.junk, MAX_GIF_COMMENT_BYTES, "bytes between its blocks"),
            (self.data_blocks, MAX_GIF_DATA_BLOCKS, "blocks of earlier frames"),
        ):
            if number > limit:
                raise over_budget(f"it has {number:,} {name}", f"{limit:,}")


def _check_gif(data: bytes, frame: int) -> None:
    walk = _GifWalk(data)
    check_frame(*walk.to_frame(frame), frame)


def _check_webp(data: bytes, frame: int) -> None:
    width, height = _webp_size(data)
    _check_pixels("WebP", width, height, MAX_WEBP_PIXELS)
    check_frame(width, height, frame)


def _webp_size(data: bytes) -> tuple[int, int]:
    """Return the size that the first chunk states: extended, lossless or lossy; 0 × 0 for any other, which nothing decodes."""
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return 0, 0


def _check_pixels(kind: str, width: int, height: int, most: int) -> None:
    if width * height > most:
        raise over_budget(
            f"its header announces {width:,} × {height:,} pixels of a {kind} file",
            f"{most / 1e6:,.0f} megapixels; convert it to JPEG or TIFF",
        )


def _check_bmp(data: bytes) -> None:
    size, width, height, _, _, compression = struct.unpack_from("<IiiHHI", data, 14)
    if size < 40 or compression not in (1, 2):
        return
    if abs(width * height) > MAX_RLE_PIXELS:
        raise over_budget(
            f"its header announces {abs(width):,} × {abs(height):,} pixels with run-length encoding",
            f"{MAX_RLE_PIXELS / 1e6:,.0f} megapixels",
        )
    if len(data) > MAX_RLE_BYTES:
        raise over_budget(f"it has {len(data):,} bytes with run-length encoding", f"{MAX_RLE_BYTES:,} bytes")


def _check_qoi(data: bytes) -> None:
    width, height = struct.unpack_from(">II", data, 4)
    _check_pixels("QOI", width, height, MAX_QOI_PIXELS)
    if len(data) > MAX_QOI_BYTES:
        raise over_budget(f"it is a QOI file of {len(data):,} bytes", f"{MAX_QOI_BYTES:,} bytes; convert it to PNG")


def _check_psd(data: bytes, frame: int) -> None:
    height, width = struct.unpack_from(">II", data, 14)
    check_frame(width, height, frame)
    at = 26 + 4 + int.from_bytes(data[26:30], "big")
    end = min(len(data), at + 4 + int.from_bytes(data[at : at + 4], "big"))
    at += 4
    resources = 0
    while at < end:
        resources += 1
        if resources > MAX_PSD_RESOURCES:
            raise over_budget(f"it has more than {MAX_PSD_RESOURCES:,} image resources", f"{MAX_PSD_RESOURCES:,}")
        name = data[at + 6]
        at += 7 + name + (1 - name % 2)
        (size,) = struct.unpack_from(">I", data, at)
        at += 4 + size + size % 2
