"""The structure of a JPEG file: its frame and its scans, counted before anything is decoded."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bioclip_core.images.budget import (
    JPEG_BLOCKS_PER_SCAN,
    MAX_JPEG_BLOCK_VISITS,
    MAX_JPEG_FILL,
    MAX_JPEG_METADATA_BYTES,
    MAX_JPEG_SEGMENTS,
    over_budget,
)

_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_EXIF, _PHOTOSHOP = 0xE1, 0xED
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset((0xC2, 0xC6, 0xCA, 0xCE))
_WITHOUT_LENGTH = frozenset((0x01, _SOI, *range(0xD0, 0xD8)))
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""A marker behind compressed data, in which 0xFF is followed by 0x00 or by a restart marker."""
_COEFFICIENT_BYTES = 2


@dataclass(frozen=True, slots=True)
class JpegStructure:
    """The frame of a JPEG and the work of its scans."""

    width: int = 0
    height: int = 0
    scans: int = 0
    block_visits: int = 0
    """Blocks of 8×8 samples of all scans: each scan reads or refines those of its components."""
    coefficient_bytes: int = 0
    """Memory that the decoder needs for all coefficients if they come in several scans, else 0."""

    def check(self) -> None:
        """Refuse more scans than the decoder can read within seconds.

        Raises:
            ImageError: if the scans visit too many blocks.
        """
        if self.block_visits > MAX_JPEG_BLOCK_VISITS:
            raise over_budget(
                f"it has {self.scans:,} scans of up to {self.width:,} × {self.height:,} pixels, {self.block_visits:,} blocks in all",
                f"{MAX_JPEG_BLOCK_VISITS:,} blocks",
            )


def jpeg_structure(data: bytes, start: int = 0) -> JpegStructure:
    """Return the structure of a JPEG, as far as it can be followed; damage is left to the decoder.

    Compressed data are searched only if there may be several scans.

    Args:
        data: the bytes of the file.
        start: offset of the JPEG.

    Raises:
        ImageError: if there are more segments, or bytes between them, than are read.
    """
    components: dict[int, tuple[int, int]] = {}
    width = height = scans = visits = segments = fill = metadata = 0
    is_progressive = False
    at = start + 2
    while at + 4 <= len(data):
        if data[at] != 0xFF or data[at + 1] in (0x00, 0xFF):
            found = _MARKER.search(data, at)
            skipped = (found.start() if found else len(data)) - at
            fill += skipped
            at += skipped
            if not scans:
                _check(fill, MAX_JPEG_FILL, "bytes between the segments of its header", "bytes")
            continue
        marker = data[at + 1]
        if marker == _EOI:
            break
        segments += marker != _SOS
        if segments > MAX_JPEG_SEGMENTS:
            raise over_budget(
                f"it has more than {MAX_JPEG_SEGMENTS:,} segments beside its scans", f"{MAX_JPEG_SEGMENTS:,}"
            )
        if marker in _WITHOUT_LENGTH:
            at += 2
        else:
            size = int.from_bytes(data[at + 2 : at + 4], "big")
            if marker in _FRAMES and not components:
                width, height, components = _frame_header(data, at)
                is_progressive = marker in _PROGRESSIVE
            elif marker == _PHOTOSHOP or (marker == _EXIF and data[at + 4 : at + 8] == b"Exif"):
                metadata += size
                _check(metadata, MAX_JPEG_METADATA_BYTES, "bytes in segments of EXIF and Photoshop", "bytes")
            elif marker == _SOS:
                scans += 1
                count = data[at + 4] if at + 4 < len(data) else 0
                parts = [components[part] for part in data[at + 5 : at + 5 + 2 * count : 2] if part in components]
                if scans * JPEG_BLOCKS_PER_SCAN > 2 * MAX_JPEG_BLOCK_VISITS:
                    break
                visits += JPEG_BLOCKS_PER_SCAN + _blocks(width, height, list(components.values()), parts)
                if scans == 1 and not is_progressive and len(parts) == len(components):
                    return JpegStructure(width, height, scans, visits)
            at += 2 + max(size, 2)
        if scans:
            found = _MARKER.search(data, at)
            at = found.start() if found else len(data)
    kept = _blocks(width, height, list(components.values()), list(components.values())) * 64 * _COEFFICIENT_BYTES
    return JpegStructure(width, height, scans, visits, kept)


def _check(number: int, limit: int, what: str, unit: str) -> None:
    if number > limit:
        raise over_budget(f"it has {number:,} {what}", f"{limit:,} {unit}")


def _frame_header(data: bytes, at: int) -> tuple[int, int, dict[int, tuple[int, int]]]:
    """Return width, height, and the sampling factors of each component by its number."""
    height, width = (int.from_bytes(data[at + n : at + n + 2], "big") for n in (5, 7))
    count = data[at + 9] if at + 9 < len(data) else 0
    rows = (data[at + 10 + 3 * n : at + 13 + 3 * n] for n in range(count))
    return width, height, {row[0]: (row[1] >> 4 or 1, row[1] & 15 or 1) for row in rows if len(row) == 3}


def _blocks(width: int, height: int, components: list[tuple[int, int]], parts: list[tuple[int, int]]) -> int:
    """Return the blocks of the components of a scan."""
    if not components:
        return 0
    across, down = (max(part[side] for part in components) for side in (0, 1))
    return sum(-(-width * h // (8 * across)) * -(-height * v // (8 * down)) for h, v in parts)
