"""PNG files without the chunks that no pixel needs: text, which may unpack to gigabytes, and the profile, unpacked in bounds."""

from __future__ import annotations

import io
import struct
import zlib
from bisect import bisect_right
from collections.abc import Iterator

from bioclip_core.images.budget import MAX_DECODED_PIXELS, MAX_PNG_BYTES, MAX_PNG_CHUNKS, MAX_PROFILE_BYTES, over_budget

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples per pixel of each colour type."""
_KEPT = frozenset((b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf", b"acTL", b"fcTL", b"fdAT"))
_PROFILE = b"iCCP"


def sound_png(data: bytes) -> tuple[io.BufferedIOBase, bytes | None]:
    """Return a PNG as a file with only the chunks that Pillow needs, and its colour profile.

    Damage, such as a chunk that reaches beyond the end, is left in it for the decoder.

    Args:
        data: the bytes of the file.

    Raises:
        ImageError: if it has more chunks, samples or a larger profile than are read.
    """
    spans: list[tuple[int, int]] = [(0, len(SIGNATURE))]
    profile: bytes | None = None
    for number, (kind, start, stop) in enumerate(_chunks(data)):
        if number >= MAX_PNG_CHUNKS:
            raise over_budget(f"it has more than {MAX_PNG_CHUNKS:,} chunks", f"{MAX_PNG_CHUNKS:,}")
        if kind == b"IHDR" and stop - start == 25:
            _check_samples(*struct.unpack_from(">IIBB", data, start + 8))
        is_profile = kind == _PROFILE and _is_whole(data, start, stop)
        if is_profile and profile is None:
            profile = _unpacked_profile(data[start + 8 : stop - 4])
        # Critical chunks that are unknown, a damaged profile, and bytes that are no chunk are left for the decoder to report.
        if kind in _KEPT or kind[:1].isupper() or not kind.isalpha() or (kind == _PROFILE and not is_profile):
            if spans[-1][1] == start:
                spans[-1] = (spans[-1][0], stop)
            else:
                spans.append((start, stop))
    return (io.BytesIO(data) if len(spans) == 1 and spans[0][1] == len(data) else _Spans(data, spans)), profile


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind of each chunk, and where it starts and stops with its length and checksum."""
    at = len(SIGNATURE)
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        stop = min(at + 12 + size, len(data))
        yield kind, at, stop
        if kind == b"IEND":
            return
        at = stop
    if at < len(data):
        yield b"", at, len(data)


def _is_whole(data: bytes, start: int, stop: int) -> bool:
    """True if the checksum of a chunk fits."""
    return data[stop - 4 : stop] == zlib.crc32(memoryview(data)[start + 4 : stop - 4]).to_bytes(4, "big")


def _unpacked_profile(content: bytes) -> bytes | None:
    """Return the profile of an iCCP chunk: a name, a zero, the method 0, and Deflate data; None for a damaged one."""
    end = content.find(b"\0", 0, 81)
    if end < 0 or content[end + 1 : end + 2] != b"\0":
        return None
    stream = zlib.decompressobj()
    try:
        profile = stream.decompress(content[end + 2 :], MAX_PROFILE_BYTES)
        if not stream.eof and stream.decompress(stream.unconsumed_tail, 1):
            raise over_budget("its colour profile has more bytes", f"{MAX_PROFILE_BYTES:,} bytes")
    except zlib.error:
        return None
    return profile or None


def _check_samples(width: int, height: int, bits: int, colours: int) -> None:
    size = -(-width * _CHANNELS.get(colours, 1) * bits // 8) * height
    if size > MAX_PNG_BYTES and width * height <= MAX_DECODED_PIXELS:  # more pixels are refused as such
        raise over_budget(
            f"its header announces {width:,} × {height:,} pixels, {size:,} bytes without compression",
            f"{MAX_PNG_BYTES:,} bytes for a PNG",
        )


class _Spans(io.BufferedIOBase):
    """Parts of a file as a file; only what is read is copied."""

    def __init__(self, data: bytes, spans: list[tuple[int, int]]) -> None:
        self._data, self._spans, self._at = data, spans, 0
        self._starts = [0]
        for start, stop in spans:
            self._starts.append(self._starts[-1] + stop - start)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._starts[-1]}[whence]
        self._at = max(0, base + offset)
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(0, self._starts[-1] - self._at)
        left = left if size is None or size < 0 else min(left, size)
        parts = []
        number = bisect_right(self._starts, self._at) - 1
        while left and number < len(self._spans):
            start, stop = self._spans[number]
            start += self._at - self._starts[number]
            part = self._data[start : min(stop, start + left)]
            parts.append(part)
            left -= len(part)
            self._at += len(part)
            number += 1
        return parts[0] if len(parts) == 1 else b"".join(parts)
