"""PBM, PGM and PPM files (P1 to P6), binary and plain text, with any largest value.

Pillow reads plain text, and values whose largest is not 255, number by number in Python. The pixels here are the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bioclip_core.errors import ImageError
from bioclip_core.images.budget import MAX_PLAIN_SAMPLES, over_budget
from bioclip_core.images.crops import Deferred

_HEADER_BYTES = 1 << 16  # comments are rarely longer than a line
_SPACE = rb"(?:[ \t-\r]|#[^\r\n]*[\r\n])+"
_MAGIC = re.compile(rb"P[1-6](?=[ \t-\r])")
_NUMBER = re.compile(_SPACE + rb"(\d{1,10})(?=[ \t-\r]|\Z)")
_GAP = re.compile(rb"[ \t-\r]|\Z")
_COMMENT = re.compile(rb"#[^\r\n]*")
_WHITESPACE = b" \t\n\x0b\x0c\r"
_PLAIN_BYTES, _BINARY_BYTES = 5, 2  # per sample
_BLOCK = 1 << 20  # bytes of text that are converted at once
_TRUNCATED = "the file is truncated: its data end before the image does"


@dataclass(frozen=True, slots=True)
class _Header:
    kind: int
    width: int
    height: int
    largest: int
    """Largest value, 1 for a bitmap."""
    start: int
    """Offset of the pixels."""

    @property
    def channels(self) -> int:
        return 3 if self.kind in (3, 6) else 1

    @property
    def samples(self) -> int:
        return self.width * self.height * self.channels


def is_netpbm(start: bytes) -> bool:
    """True if a file begins as a PBM, PGM or PPM."""
    return _MAGIC.match(start) is not None


def opened_netpbm(data: bytes) -> Deferred:
    """Return a file after reading its header.

    Raises:
        ImageError: if the header is damaged, or announces more plain text than is read.
    """
    header = _header(data)
    if header.kind in (2, 3) and header.samples > MAX_PLAIN_SAMPLES:
        raise over_budget(
            f"its header announces {header.width:,} × {header.height:,} pixels in plain text, {header.samples:,} numbers",
            f"{MAX_PLAIN_SAMPLES:,} numbers",
        )
    needed = header.samples * (_PLAIN_BYTES if header.kind <= 3 else _BINARY_BYTES) + 4 * header.width * header.height
    return Deferred(header.width, header.height, 1, None, partial(_decoded, data, header), needed)


def _header(data: bytes) -> _Header:
    kind, at = data[1] - ord("0"), 2
    numbers = []
    for _ in range(2 if kind in (1, 4) else 3):
        found = _NUMBER.match(data, at, at + _HEADER_BYTES)
        if found is None:
            raise ImageError(
                "the file is damaged: its header lacks a number, or has a comment of more than 65,536 bytes"
            )
        numbers.append(int(found[1]))
        at = found.end()
    width, height, largest = numbers if len(numbers) == 3 else (*numbers, 1)
    if not (width and height and 0 < largest < 65536):
        raise ImageError(
            f"the file is damaged: it announces {width:,} × {height:,} pixels with values of up to {largest:,}"
        )
    return _Header(kind, width, height, largest, at + 1)


def _decoded(data: bytes, header: _Header, _most_bytes: int) -> Image.Image:
    """Return the pixels, 8 bits each.

    Raises:
        ImageError: if the file is truncated or damaged.
    """
    shape = (header.height, header.width, header.channels)
    if header.kind in (1, 4):
        bits = _plain_bits(data, header) if header.kind == 1 else _packed_bits(data, header)
        return Image.fromarray((1 - bits) * np.uint8(255))
    values = _plain(data, header) if header.kind in (2, 3) else _binary(data, header)
    greys = values if header.largest == 255 and header.kind > 3 else _greys(header.largest, header.channels)[values]
    pixels = greys.reshape(shape)
    return Image.fromarray(pixels[..., 0] if header.channels == 1 else pixels)


@lru_cache(maxsize=8)
def _greys(largest: int, channels: int) -> NDArray[np.uint8]:
    """Return the grey of each value. Values of grey images of more than 8 bits are scaled to 16 bits first, as by Pillow."""
    top = 65535 if channels == 1 and largest > 255 else 255
    values = np.arange(65536 if largest > 255 else 256)
    scaled = np.minimum(np.rint(values / largest * top), top).astype(np.uint32)
    return ((scaled * 255 + top // 2) // top).astype(np.uint8)


def _binary(data: bytes, header: _Header) -> NDArray[np.generic]:
    kind = np.dtype(np.uint8 if header.largest < 256 else ">u2")
    if len(data) - header.start < header.samples * kind.itemsize:
        raise ImageError(_TRUNCATED)
    return np.frombuffer(data, kind, header.samples, header.start)


def _packed_bits(data: bytes, header: _Header) -> NDArray[np.uint8]:
    row = -(-header.width // 8)
    if len(data) - header.start < row * header.height:
        raise ImageError(_TRUNCATED)
    rows = np.frombuffer(data, np.uint8, row * header.height, header.start).reshape(header.height, row)
    return np.unpackbits(rows, axis=1, count=header.width)


def _plain_bits(data: bytes, header: _Header) -> NDArray[np.uint8]:
    """Return the bits of a plain bitmap, which need no space between them."""
    parts: list[NDArray[np.uint8]] = []
    missing = header.samples
    for text in _texts(data, header.start):
        digits = np.frombuffer(text.translate(None, _WHITESPACE), np.uint8)[:missing] - np.uint8(ord("0"))
        if digits.size and digits.max() > 1:
            raise ImageError("the file is damaged: a bitmap in plain text has another letter than 0 and 1")
        parts.append(digits)
        missing -= len(digits)
        if not missing:
            return np.concatenate(parts).reshape(header.height, header.width)
    raise ImageError(_TRUNCATED)


def _plain(data: bytes, header: _Header) -> NDArray[np.uint16]:
    tokens = chain.from_iterable(text.split() for text in _texts(data, header.start))
    values = np.empty(header.samples, np.uint16)
    try:
        for start in range(0, header.samples, _BLOCK):
            stop = min(start + _BLOCK, header.samples)
            # A count that is not reached raises a ValueError, as a token does that is not a number.
            part = np.fromiter((int(token) for _, token in zip(range(stop - start), tokens, strict=False)), np.int64)
            if len(part) < stop - start:
                raise ImageError(_TRUNCATED)
            if part.min() < 0 or part.max() > header.largest:
                raise ImageError(
                    f"the file is damaged: a value is not within 0 to {header.largest:,}, as its header announces"
                )
            values[start:stop] = part
    except (ValueError, OverflowError):
        raise ImageError("the file is damaged: its plain text has something else than numbers") from None
    return values


def _texts(data: bytes, start: int) -> Iterator[bytes]:
    """Yield the text behind the header in blocks without comments, cut between two numbers."""
    while start < len(data):
        gap = _GAP.search(data, min(len(data), start + _BLOCK))
        stop = gap.start() if gap else len(data)
        mark = data.rfind(b"#", start, stop)
        if mark >= 0 and (comment := _COMMENT.match(data, mark)):  # it may reach beyond the block
            stop = max(stop, comment.end())
        yield _COMMENT.sub(b"", data[start:stop]) if mark >= 0 else data[start:stop]
        start = stop
