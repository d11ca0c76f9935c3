"""Headers of TIFF and BigTIFF files: the pages of a file, and the layout of a page's samples, read without its pixels."""

from __future__ import annotations

import os
import struct
import threading
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import ImageError

MAGIC = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+", b"II\x00*", b"MM*\x00")
"""Beginnings of a TIFF; the last two have the wrong byte order in their version, and are read by all programs."""

# TIFF 6.0 and its technical notes.
SUBFILE, OLD_SUBFILE = 254, 255
WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIPS, ORIENTATION, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES, MAX_SAMPLE, PLANAR = 273, 274, 277, 278, 279, 281, 284
PREDICTOR, PALETTE, TILE_WIDTH, TILE_LENGTH, TILES, TILE_BYTES = 317, 320, 322, 323, 324, 325
INK_SET, EXTRA_SAMPLES, SAMPLE_FORMAT, S_MAX_SAMPLE, SUBSAMPLING = 332, 338, 339, 341, 530
DEPTH, PROFILE = 32997, 34675

# Types of values: their letter for struct, and their size in bytes.
INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_HEADERS = ("H", "HHI4s", "I"), ("Q", "HHQ8s", "Q")
"""Number of entries, entry and offset of the next header, of a TIFF and of a BigTIFF."""
_MOST_PAGES = 100_000  # a longer chain of pages is damaged
_MOST_HEADER_BYTES = 32 << 20  # of all pages; a file whose headers overlap could announce terabytes
_MOST_PADDING = 1 << 24  # pixels of the last tiles beyond the image
_MOST_BITS = 128
_MOST_SAMPLES = 64  # more are the bands of an instrument, not a photograph
_WHITES = frozenset(2**bits - 1 for bits in range(9, 16))
_REDUCED, _MASK = 1, 4  # bits of NewSubfileType
_OLD_REDUCED = 2


_MOST_KEPT = 8
_kept: dict[tuple[int, int, int, int], tuple[Sequence[int], str]] = {}
_kept_lock = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_kept_lock.acquire, after_in_parent=_kept_lock.release, after_in_child=_kept_lock.release
    )


class DamagedChain(Exception):
    """The chain of page headers breaks off."""


Entry = tuple[int, int, bytes]
"""Type and count of a tag's values, and the four or eight bytes that hold them or their offset."""


@dataclass(frozen=True, slots=True)
class Directory:
    """The header of one page: its tags as they are written."""

    offset: int
    order: Literal["<", ">"]
    big: bool
    is_first: bool
    entries: Mapping[int, Entry] = field(compare=False)
    places: Mapping[int, int] = field(compare=False)
    """Number of the entry of each tag."""

    def size(self, tag: int) -> int:
        """Return the bytes of a tag's values outside its entry, 0 if the entry holds them."""
        kind, count, raw = self.entries[tag]
        size = SIZES.get(kind, 0) * count
        return size if size > len(raw) else 0

    def place(self, tag: int) -> int:
        """Return the offset of a tag's values in the file, 0 if its entry holds them."""
        raw = self.entries[tag][2]
        return int(struct.unpack(self.order + ("Q" if self.big else "I"), raw)[0]) if self.size(tag) else 0

    def number(self, tag: int, default: int = 0) -> int:
        """Return the only value of a tag, which its entry holds; the default for another tag."""
        kind, count, raw = self.entries.get(tag, (0, 0, b""))
        if count != 1 or kind not in INTEGERS or SIZES[kind] > len(raw):
            return default
        return int(struct.unpack_from(self.order + INTEGERS[kind], raw)[0])

    def data(self, file: BinaryIO, tag: int, most: int) -> bytes | None:
        """Return the bytes of a tag's first ``most`` values; None without the tag or without all of these bytes in the file."""
        kind, count, raw = self.entries.get(tag, (0, 0, b""))
        if kind not in SIZES or not count:
            return None
        wanted = SIZES[kind] * min(count, most)
        if self.size(tag):
            file.seek(min(self.place(tag), 2**62))
            raw = file.read(wanted)
        return raw[:wanted] if len(raw) >= wanted else None

    def numbers(self, file: BinaryIO, tag: int, most: int = _MOST_SAMPLES) -> tuple[int, ...]:
        """Return the values of a tag, at most ``most`` of them; none without the tag.

        Raises:
            ImageError: if they are outside the file or are not whole numbers.
        """
        if tag not in self.entries or not self.entries[tag][1]:
            return ()
        data, kind = self.data(file, tag, most), self.entries[tag][0]
        if data is None or kind not in INTEGERS:
            raise ImageError(f"the file is damaged: the values of tag {tag} of its header cannot be read")
        return struct.unpack(f"{self.order}{len(data) // SIZES[kind]}{INTEGERS[kind]}", data)

    def array(self, file: BinaryIO, tag: int, most: int) -> NDArray[Any]:
        """Return the values of a tag as :meth:`numbers` does, for tags with many."""
        data, kind = self.data(file, tag, most), self.entries.get(tag, (0, 0, b""))[0]
        if data is None or kind not in INTEGERS:
            return np.empty(0, np.int64) if tag not in self.entries else np.array(self.numbers(file, tag, most))
        return np.frombuffer(data, np.dtype(INTEGERS[kind]).newbyteorder(self.order))

    def is_reduced(self) -> bool:
        """True for an overview or a thumbnail of another page, or a mask, as its tags say."""
        marked = self.number(SUBFILE) & (_REDUCED | _MASK)
        return bool(marked) or self.number(OLD_SUBFILE) == _OLD_REDUCED


@dataclass(frozen=True, slots=True)
class PageLayout:
    """The layout of the samples of one page."""

    directory: Directory
    width: int
    height: int
    samples: int
    """Number of samples per pixel, with alpha and other extra samples."""
    bits: int
    """Bits of each sample; 0 if the samples have different numbers of bits."""
    sample_format: int
    """1: unsigned integers, 2: signed integers, 3: floating point; 0: different formats; others as in the specification."""
    photometric: int
    compression: int
    predictor: int
    planar: bool
    """True if each sample has a plane of its own."""
    extra: tuple[int, ...]
    """ExtraSamples: 0 unspecified, 1 associated alpha, 2 unassociated alpha."""
    fill_order: int
    states_photometric: bool
    white: int
    """Largest value that a sample can have, if it is an unsigned integer: of 12 bits in 16, a tag may say so."""
    orientation: int
    volume: bool
    """True for a stack of slices."""

    @property
    def is_tiled(self) -> bool:
        """True for tiles, False for strips."""
        return TILE_WIDTH in self.directory.entries or TILES in self.directory.entries


def directories(file: BinaryIO) -> Iterator[Directory]:
    """Yield the headers of the pages of a TIFF or BigTIFF in the order of the file; nothing for another kind of file.

    Raises:
        DamagedChain: where a header lies outside the file or is repeated.
    """
    order, big = _layout(file)
    for number, at in enumerate(offsets(file)):
        yield _directory(file, at, order, big, is_first=not number)[0]


def offsets(file: BinaryIO) -> Iterator[int]:
    """Yield the offset of each page's header, of which only the length and the offset of the next one are read.

    Raises:
        DamagedChain: where a header lies outside the file or is repeated.
    """
    file.seek(0)
    start = file.read(16)
    if start[:4] not in MAGIC:
        return
    order, big = byte_layout(start)
    counter, entry, offset = _HEADERS[big]
    before, each, behind = (struct.calcsize(order + part) for part in (counter, entry, offset))
    (at,) = _unpacked(order + offset, start[8:16] if big else start[4:8])
    seen: set[int] = set()
    header_bytes = 0
    while at:
        if at in seen or len(seen) >= _MOST_PAGES or header_bytes > _MOST_HEADER_BYTES:
            raise DamagedChain("a page follows that was there before" if at in seen else "there is no end to them")
        seen.add(at)
        file.seek(min(at, 2**62))
        count = _count(at, _unpacked(order + counter, file.read(before))[0])
        file.seek(min(at + before + count * each, 2**62))
        (following,) = _unpacked(order + offset, file.read(behind))
        header_bytes += before + count * each + behind
        yield at
        at = following


def inner(file: BinaryIO, directory: Directory, at: int) -> Directory:
    """Return a header inside a page, such as that of the camera metadata.

    Raises:
        DamagedChain: if it lies outside the file.
    """
    return _directory(file, at, directory.order, directory.big)[0]


def value_bytes(directory: Directory) -> int:
    """Return the bytes of all values outside of a header; they may overlap, and be more than the file has."""
    return sum(directory.size(tag) for tag in directory.entries)


def byte_layout(start: bytes) -> tuple[Literal["<", ">"], bool]:
    """Return the byte order of a TIFF by its beginning, and whether its offsets are those of a BigTIFF."""
    return "<" if start[:2] == b"II" else ">", b"+" in start[2:4]


def layout_at(file: BinaryIO, number: int) -> PageLayout:
    """Return the layout of a page, numbered from 0.

    Raises:
        ImageError: if there is no such page, or its header is damaged.
    """
    found, trouble = _offsets_to(file, number)
    if number < len(found):
        try:
            directory, _ = _directory(file, found[number], *_layout(file), is_first=not number)
        except DamagedChain as error:  # the file has changed since its pages were found
            raise ImageError(f"the file is damaged: {error}") from error
        return layout_of(file, directory)
    if not found:
        raise ImageError(f"the file is damaged: {trouble or 'its header announces no page'}")
    behind = f"; those behind it cannot be found: {trouble}" if trouble else ""
    raise ImageError(f"there is no page {number + 1}: the file has {len(found)} page{'s' * (len(found) > 1)}{behind}")


def _offsets_to(file: BinaryIO, number: int) -> tuple[Sequence[int], str]:
    """Return the offsets of the pages up to this one, or of all, and the reason why there are no more.

    Those of a file on disk are kept, since its pages come one after the other, each behind all earlier ones.
    """
    try:
        status = os.fstat(file.fileno()) if number else None
    except (AttributeError, OSError):  # not a file on disk
        status = None
    if status is None:
        return _found(islice(offsets(file), number + 1))
    key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    with _kept_lock:
        kept = _kept.get(key)
    if kept is None:
        kept = _found(offsets(file))
        with _kept_lock:
            while len(_kept) >= _MOST_KEPT:
                del _kept[next(iter(_kept))]
            _kept[key] = kept
    return kept


def _found(chain: Iterator[int]) -> tuple[Sequence[int], str]:
    found = array("Q")
    try:
        found.extend(chain)  # keeps the pages before the damage
    except DamagedChain as error:
        return found, str(error)
    return found, ""


def layout_of(file: BinaryIO, directory: Directory) -> PageLayout:
    """Return the layout of a page.

    Raises:
        ImageError: if its header is damaged.
    """
    width, height = (_one(file, directory, tag, 0) for tag in (WIDTH, LENGTH))
    samples = _one(file, directory, SAMPLES, 1)
    if width < 1 or height < 1 or samples < 1:
        raise ImageError(f"the file is damaged: it announces {width:,} × {height:,} pixels of {samples:,} samples")
    _check_tiles(directory, width, height)
    bits = directory.numbers(file, BITS)[:samples] or (1,)
    if not all(1 <= number <= _MOST_BITS for number in bits):
        raise ImageError(f"the file is damaged: it announces samples of {', '.join(map(str, bits))} bits")
    formats = directory.numbers(file, SAMPLE_FORMAT)[:samples] or (1,)
    compression = _one(file, directory, COMPRESSION, 1)
    photometric = _one(file, directory, PHOTOMETRIC, -1)
    if compression == 6 and SAMPLES not in directory.entries:
        samples = 3  # of an old-style JPEG, which is YCbCr
    return PageLayout(
        directory=directory,
        width=width,
        height=height,
        samples=samples,
        bits=bits[0] if len(set(bits)) == 1 and len(bits) in (1, min(samples, _MOST_SAMPLES)) else 0,
        # 4 is "undefined", which programs take for unsigned.
        sample_format=(1 if formats[0] == 4 else formats[0]) if len(set(formats)) == 1 else 0,
        photometric=photometric if photometric >= 0 else _photometric_without_tag(samples, compression),
        compression=compression,
        predictor=_one(file, directory, PREDICTOR, 1),
        planar=samples > 1 and _one(file, directory, PLANAR, 1) == 2,
        extra=directory.numbers(file, EXTRA_SAMPLES),
        fill_order=_one(file, directory, FILL_ORDER, 1),
        states_photometric=photometric >= 0,
        white=_white(file, directory, bits[0]),
        orientation=orientation if 1 <= (orientation := directory.number(ORIENTATION, 1)) <= 8 else 1,
        volume=directory.number(DEPTH, 1) > 1,
    )


def _check_tiles(directory: Directory, width: int, height: int) -> None:
    """Refuse tiles that reach far beyond the image, since they are decompressed whole."""
    across, down = directory.number(TILE_WIDTH), directory.number(TILE_LENGTH)
    if across < 1 or down < 1:
        return
    padded = -(-width // across) * across * -(-height // down) * down
    if padded > 4 * width * height + _MOST_PADDING:
        raise ImageError(
            f"the file is damaged: it announces {width:,} × {height:,} pixels in tiles of {across:,} × {down:,}"
        )


def _photometric_without_tag(samples: int, compression: int) -> int:
    """Return the interpretation that libtiff assumes if the tag is missing."""
    if compression == 6:
        return 6
    if samples >= 3:
        return 2
    return 0 if compression in (2, 3, 4) else 1


def _white(file: BinaryIO, directory: Directory, bits: int) -> int:
    """Return the largest value of a sample; a stated one counts for 16-bit samples if it is that of 9 to 15 bits."""
    if bits == 16:
        for tag in (S_MAX_SAMPLE, MAX_SAMPLE):
            kind = directory.entries.get(tag, (0, 0, b""))[0]
            data = directory.data(file, tag, 1)
            if data is not None and kind in INTEGERS:
                (stated,) = struct.unpack(directory.order + INTEGERS[kind], data)
                if stated in _WHITES:
                    return int(stated)
    white: int = 2**bits - 1
    return white


def _one(file: BinaryIO, directory: Directory, tag: int, default: int) -> int:
    values = directory.numbers(file, tag, 1)
    return int(values[0]) if values else default


def _directory(
    file: BinaryIO, at: int, order: Literal["<", ">"], big: bool, *, is_first: bool = False
) -> tuple[Directory, int]:
    """Return the header at an offset, and the offset of the next one."""
    file.seek(min(at, 2**62))
    counter, entry, offset = _HEADERS[big]
    count = _count(at, _unpacked(order + counter, file.read(struct.calcsize(order + counter)))[0])
    size = count * struct.calcsize(order + entry)
    block = file.read(size + struct.calcsize(order + offset))
    (following,) = _unpacked(order + offset, block[size:])
    entries: dict[int, Entry] = {}
    places: dict[int, int] = {}
    for place, (tag, kind, number, raw) in enumerate(struct.iter_unpack(order + entry, block[:size])):
        if tag not in entries:  # of a repeated tag the first counts, as for Pillow
            entries[tag], places[tag] = (kind, number, raw), place
    return Directory(at, order, big, is_first, entries, places), following


def _layout(file: BinaryIO) -> tuple[Literal["<", ">"], bool]:
    file.seek(0)
    return byte_layout(file.read(4))


def _count(at: int, count: int) -> int:
    if not 1 <= count <= 65_535:
        raise DamagedChain(f"a header at byte {at:,} announces {count:,} entries")
    return count


def _unpacked(layout: str, data: bytes) -> tuple[int, ...]:
    try:
        return struct.unpack(layout, data)
    except struct.error:
        raise DamagedChain("the file ends before its header does") from None
