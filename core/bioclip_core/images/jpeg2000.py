"""JPEG 2000 files and codestreams: what Pillow reads right is left to it, other kinds are read by OpenJPEG through imagecodecs.

Pillow shifts the samples of colour images to 8 bits with a rounding that turns the brightest into black, and scales those of
fewer than 8 bits too low (measured with 13.0).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from mmap import mmap

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bioclip_core.errors import ImageError
from bioclip_core.images.colours import Scale
from bioclip_core.images.crops import Deferred
from bioclip_core.images.jpeg2000_structure import check_codestream

Buffer = bytes | mmap
"""The bytes of a file, in memory or mapped: a header may lie anywhere in it."""

_CODESTREAM = b"\xff\x4f\xff\x51"
_SIGNATURE = b"\x00\x00\x00\x0cjP  \x0d\x0a\x87\x0a"
_MOST_BOXES = 1000
_MOST_COMPONENTS = 64  # more are the bands of an instrument, not a photograph
_BYTES_PER_SAMPLE = 4  # of OpenJPEG while it decodes
_PEAK_PER_SAMPLE = 14  # with the copies until 8 bits are left

# Enumerated colour spaces, ISO/IEC 15444-1 and 15444-2.
_BILEVEL, _CMYK, _SRGB, _GREY, _SYCC, _BILEVEL_2, _ROMM = 0, 12, 16, 17, 18, 15, 21
_PROFILES = {b"CMYK": 12, b"GRAY": 17, b"Lab ": 14}
"""Colour spaces by the signature in a profile, apart from RGB."""
_OTHER_SPACES = {
    1: "YCbCr", 3: "YCbCr", 4: "YCbCr", 9: "PhotoYCC", 11: "CMY", 13: "YCCK", 14: "CIELab", 19: "CIEJab", 20: "e-sRGB",
    22: "YPbPr", 24: "e-sYCC",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Component:
    bits: int
    signed: bool
    steps: tuple[int, int]
    """Columns and rows of the image per sample."""


@dataclass(frozen=True, slots=True)
class _Header:
    width: int
    height: int
    components: tuple[_Component, ...]
    space: int | None = None
    """Enumerated colour space; None for a profile and for a bare codestream."""
    stated_bits: int | None = None
    """Of the components, as the file's own header says; None if they differ and for a bare codestream."""
    palette: tuple[int, ...] = ()
    """Bits of each column of the palette."""
    is_direct: bool = True
    """True if the palette's columns and the channels are in the order of the colours."""

    @property
    def colours(self) -> int:
        """Number of the channels that are colours; those behind them are opacity and other channels."""
        channels = len(self.palette) or len(self.components)
        if self.space == _CMYK and channels >= 4:
            return 4
        return 1 if channels < 3 or self.space in (_BILEVEL, _BILEVEL_2, _GREY) else 3

    def described(self) -> str:
        """Return what kind of JPEG 2000 it is, for a message: "12-bit RGB JPEG 2000"."""
        bits = sorted({component.bits for component in self.components})
        depth = " and ".join(map(str, bits))
        signed = " signed" if any(component.signed for component in self.components) else ""
        named = {1: "grey", 3: "RGB", 4: "CMYK"}[self.colours]
        colours = _OTHER_SPACES.get(self.space, "sYCC" if self.space == _SYCC else named) if self.space else named
        more = len(self.components) - self.colours
        extra = f" and {more} more channel{'s' if more > 1 else ''}" if more > 0 and not self.palette else ""
        palette = " with a palette" if self.palette else ""
        subsampled = " with subsampled components" if self.is_subsampled else ""
        return f"{depth}-bit{signed} {colours}{extra} JPEG 2000{palette}{subsampled}"

    @property
    def is_subsampled(self) -> bool:
        """True if a component has fewer samples than the image has pixels."""
        return any(component.steps != (1, 1) for component in self.components)

    @property
    def has_subsampled_chroma(self) -> bool:
        """True for the usual form of subsampling: that of the two chroma components of a YCbCr image."""
        steps = [component.steps for component in self.components]
        return len(steps) == 3 and steps[0] == (1, 1) and steps[1] == steps[2] and self.space in (None, _SYCC)


def is_jpeg2000(start: bytes) -> bool:
    """True if a file begins as a JPEG 2000 file or codestream."""
    return start.startswith((_SIGNATURE, _CODESTREAM))


def is_misread_by_pillow(data: Buffer) -> bool:
    """True for a file that :func:`opened_jpeg2000` does not leave to Pillow."""
    header = _header(data)
    return header is not None and not _is_read_right_by_pillow(header)


def opened_jpeg2000(data: bytes) -> Deferred | None:
    """Return a file after reading its header; None for one that Pillow reads right, or whose damage it reports.

    Raises:
        ImageError: if it is damaged, or of a kind that cannot be read.
    """
    header = _header(data)
    if (start := data.find(_CODESTREAM)) >= 0:
        check_codestream(data, start)
    if header is None or _is_read_right_by_pillow(header):
        return None
    reason = ""
    if header.space in _OTHER_SPACES:
        reason = "save it as RGB"
    elif header.is_subsampled and not header.has_subsampled_chroma:
        reason = "save it without subsampling"
    elif len(header.components) > _MOST_COMPONENTS or max(component.bits for component in header.components) > 26:
        reason = "save it as RGB with 8 or 16 bits"
    if reason:
        raise ImageError(f"not supported: {header.described()}; {reason}", stage="open")
    needed = header.width * header.height * (len(header.components) * _PEAK_PER_SAMPLE + 4)
    return Deferred(header.width, header.height, 1, None, partial(_decoded, data, header), needed)


def _is_read_right_by_pillow(header: _Header) -> bool:
    components, colours = header.components, header.colours
    if len(components) > 4 or not header.is_direct or header.space in _OTHER_SPACES:
        return False
    if header.is_subsampled and not header.has_subsampled_chroma:
        return False
    depths = {component.bits for component in components[:colours]}
    if len(components) == 1 and not header.palette and depths <= set(range(10, 17)):
        # Of a file Pillow reads the depth in the box, of a codestream that of the component.
        return header.stated_bits in (None, *depths)
    if header.palette and (len(components) > 1 or set(header.palette) != {8} or len(header.palette) not in (3, 4)):
        return False
    return depths == {8} and all(component.bits <= 8 for component in components)


# -- headers -----------------------------------------------------------------------------------------------------------


def _header(data: Buffer) -> _Header | None:
    """Return the header of a file or codestream; None if it is incomplete.

    Raises:
        ImageError: if the file's header and its codestream contradict each other.
    """
    with suppress(struct.error, ValueError, IndexError):
        return _of_codestream(data, 0) if data[:4] == _CODESTREAM else _of_boxes(data)
    return None


def _of_codestream(data: Buffer, at: int) -> _Header:
    """Return the header in the SIZ marker at the beginning of a codestream."""
    if data[at : at + 4] != _CODESTREAM:
        raise ValueError("not a codestream")
    right, bottom, left, top = struct.unpack_from(">IIII", data, at + 8)
    (count,) = struct.unpack_from(">H", data, at + 40)
    parts = struct.iter_unpack(">BBB", data[at + 42 : at + 42 + 3 * count])
    components = tuple(_Component((size & 0x7F) + 1, size > 0x7F, (across, down)) for size, across, down in parts)
    if len(components) < count or not components or right <= left or bottom <= top:
        raise ValueError("an incomplete codestream")
    return _Header(right - left, bottom - top, components)


def _of_boxes(data: Buffer) -> _Header:
    boxes = dict(reversed(list(_boxes(data, 0, len(data)))))  # the first of each kind counts
    inner: dict[bytes, tuple[int, int]] = {}
    for kind, place in _boxes(data, *boxes.get(b"jp2h", (0, 0))):
        inner.setdefault(kind, place)
    height, width, _, depth = struct.unpack_from(">IIHB", data, inner[b"ihdr"][0]) if b"ihdr" in inner else (0, 0, 0, 0)
    if b"jp2c" not in boxes or not height:
        raise ValueError("an incomplete file")
    stream = _of_codestream(data, boxes[b"jp2c"][0])
    if (width, height) != (stream.width, stream.height):
        raise ImageError(
            f"the file is damaged: its header announces {width:,} × {height:,} pixels and its codestream "
            f"{stream.width:,} × {stream.height:,}"
        )
    space, is_direct = None, True
    if b"colr" in inner:
        colour = inner[b"colr"][0]
        if data[colour] == 1:
            (space,) = struct.unpack_from(">I", data, colour + 3)
        elif (signature := bytes(data[colour + 19 : colour + 23])) in _PROFILES:  # Pillow does not read the profile
            space, is_direct = _PROFILES[signature], signature == b"GRAY"
    palette: tuple[int, ...] = ()
    if b"pclr" in inner and b"cmap" in inner and space not in (_BILEVEL, _BILEVEL_2, _GREY):
        start = inner[b"pclr"][0] + 2
        palette = tuple((size & 0x7F) + 1 for size in data[start + 1 : start + 1 + data[start]])
    stated = None if depth == 255 else (depth & 0x7F) + 1
    found = _Header(width, height, stream.components, space, stated, palette)
    return replace(found, is_direct=is_direct and _is_direct(data, inner, found))


def _boxes(data: Buffer, start: int, stop: int) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """Yield the kind of each box, and where its content starts and stops."""
    for _ in range(_MOST_BOXES):
        if start + 8 > stop:
            return
        size, kind = struct.unpack_from(">I4s", data, start)
        content = start + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, content)
            content += 8
        end = stop if size == 0 else min(start + size, stop)
        if end < content:
            return
        yield kind, (content, end)
        start = end


def _is_direct(data: Buffer, inner: dict[bytes, tuple[int, int]], header: _Header) -> bool:
    """True if no box puts the channels into another order than that of the colours."""
    if header.palette:
        place = inner[b"cmap"]
        mapped = list(struct.iter_unpack(">HBB", data[place[0] : place[1]]))
        if mapped != [(0, 1, column) for column in range(len(header.palette))]:
            return False
    if b"cdef" not in inner:
        return True
    place = inner[b"cdef"]
    channels = {
        channel: (kind, colour) for channel, kind, colour in struct.iter_unpack(">HHH", data[place[0] + 2 : place[1]])
    }
    # A colour of 0 is the whole image, as grey may state it.
    return all(channels.get(number, (0, 0)) in ((0, number + 1), (0, 0)) for number in range(header.colours))


# -- pixels ------------------------------------------------------------------------------------------------------------


def _decoded(data: bytes, header: _Header, most_bytes: int) -> Image.Image:
    """Return the pixels as 8 bits, without opacity.

    Raises:
        ImageError: if imagecodecs is not installed, or the file is over the limit or damaged.
    """
    size = header.width * header.height * len(header.components) * _BYTES_PER_SAMPLE
    if size > most_bytes:
        raise ImageError(
            f"its header announces {header.width:,} × {header.height:,} pixels of {len(header.components)} components, "
            f"{size:,} bytes while it is decoded, which is over the budget of {most_bytes:,} bytes"
        )
    try:
        import imagecodecs
    except ImportError:
        raise ImageError(
            f"not supported: {header.described()}; imagecodecs, which reads it, is not installed: "
            "pip install 'bioclip-plugin[tiff]'",
            stage="open",
        ) from None
    try:
        samples = imagecodecs.jpeg2k_decode(data)
    except (NotImplementedError, ValueError) as error:
        raise ImageError(f"not supported: {header.described()} ({error})", stage="open") from error
    samples = samples[..., None] if samples.ndim == 2 else samples
    if samples.shape[:2] != (header.height, header.width) or samples.shape[2] < header.colours:
        raise ImageError("the file is damaged: its pixels are not those that its header announces")
    depths = header.palette or tuple(component.bits for component in header.components)
    channels = [_grey(samples[..., number], depths[min(number, len(depths) - 1)]) for number in range(header.colours)]
    pixels = np.stack(channels, axis=-1)
    if header.space == _BILEVEL:
        pixels = 255 - pixels
    if header.colours == 4:
        return Image.frombytes("CMYK", (header.width, header.height), pixels.tobytes())
    return Image.fromarray(pixels[..., 0] if header.colours == 1 else pixels)


def _grey(samples: NDArray[np.generic], bits: int) -> NDArray[np.uint8]:
    """Return one channel as 0 to 255; signed samples have an offset of half their range."""
    if samples.dtype.kind == "i":
        samples = (samples.astype(np.int32) + 2 ** (bits - 1)).clip(0, None).astype(np.uint32)
    return Scale(0, 2**bits - 1).grey(samples)
