"""TIFF files: what Pillow reads right is opened by Pillow, other pages by our own reader, and the rest is refused."""

from __future__ import annotations

import io
import struct
from collections import Counter
from dataclasses import replace
from typing import BinaryIO

from PIL import Image

from bioclip_core.errors import ImageError
from bioclip_core.images import tiff_header as header
from bioclip_core.images.budget import MAX_METADATA_BYTES, MAX_TIFF_PIECES, MAX_TIFF_VALUES, over_budget
from bioclip_core.images.crops import Deferred
from bioclip_core.images.jpeg_structure import jpeg_structure
from bioclip_core.images.pillow_files import TiffFile
from bioclip_core.images.tiff_header import Directory, PageLayout, layout_at
from bioclip_core.images.tiff_pixels import check_supported, described, read
from bioclip_core.images.tiff_samples import PERHAPS, piece_bytes, piece_count, uncompressed_bytes

_COPIES = 3
"""Times that the samples are in memory while they are decompressed, joined and unpacked."""


def is_tiff(data: bytes) -> bool:
    """True if a file begins as a TIFF."""
    return data.startswith(header.MAGIC)


def opened_tiff(file: BinaryIO, number: int = 0) -> TiffFile | Deferred:
    """Return a page of a TIFF after reading its header, without its pixels.

    Args:
        file: the TIFF; it stays open until the pixels are loaded.
        number: number of the page, from 0.

    Raises:
        ImageError: if there is no such page, or it is damaged or of a kind that cannot be read.
    """
    return opened_page(file, layout_at(file, number))


def opened_page(file: BinaryIO, page: PageLayout) -> TiffFile | Deferred:
    """Return a page of a TIFF, whose layout is known, without its pixels.

    Raises:
        ImageError: if it is damaged or of a kind that cannot be read.
    """
    size = file.seek(0, io.SEEK_END)
    if needed := (_NEEDED - _OPTIONAL).intersection(_outside(page.directory, size)):
        raise ImageError(f"the file is damaged: the values of tag {min(needed)} of its header lie behind its end")
    _check_pieces(file, page)
    if is_read_right_by_pillow(file, page):
        try:
            return _opened_by_pillow(file, page, size)
        except SyntaxError as error:  # an older Pillow knows fewer kinds
            if "pixel mode" not in str(error):
                raise
    check_supported(file, page)
    profile = page.directory.data(file, header.PROFILE, 1 << 24)
    samples = uncompressed_bytes(page)
    memory = min(size, samples) + _COPIES * samples + 8 * page.width * page.height
    return Deferred(
        page.width, page.height, page.orientation, profile, lambda most_bytes: read(file, page, most_bytes), memory
    )


def _check_pieces(file: BinaryIO, page: PageLayout) -> None:
    """Refuse a page of more strips, tiles, values or scans than are read within seconds.

    Raises:
        ImageError: with the announced number and the limit.
    """
    places, sizes = (header.TILES, header.TILE_BYTES) if page.is_tiled else (header.STRIPS, header.STRIP_BYTES)
    listed = {tag: page.directory.entries[tag][1] for tag in (_NEEDED - _SCALARS) & page.directory.entries.keys()}
    pieces = max(piece_count(page), listed.pop(places, 0), listed.pop(sizes, 0))
    if pieces > MAX_TIFF_PIECES:
        raise over_budget(f"its header announces {pieces:,} strips or tiles", f"{MAX_TIFF_PIECES:,}")
    listed.pop(header.PROFILE, None)
    if listed and max(listed.values()) > MAX_TIFF_VALUES:
        tag = max(listed, key=listed.__getitem__)
        raise over_budget(f"its header announces {listed[tag]:,} values of tag {tag}", f"{MAX_TIFF_VALUES:,}")
    if page.compression in _JPEG:
        _check_scans(file, page, places, sizes)


def _check_scans(file: BinaryIO, page: PageLayout, places: int, sizes: int) -> None:
    offsets, lengths = (page.directory.array(file, tag, MAX_TIFF_PIECES) for tag in (places, sizes))
    pieces = Counter(zip(offsets.tolist(), lengths.tolist(), strict=False))  # several may lie in one place
    if whole := page.directory.number(_OLD_JPEG):
        pieces[whole, page.directory.number(_OLD_JPEG + 1)] += 1
    visits = 0
    for (offset, length), count in pieces.items():
        file.seek(min(max(offset, 0), 2**62))
        structure = jpeg_structure(file.read(max(length, 0)))
        visits += structure.block_visits * count
        replace(structure, block_visits=visits).check()


def _opened_by_pillow(file: BinaryIO, page: PageLayout, file_size: int) -> TiffFile:
    _check_whole(file, page, file_size)
    patches = _repairs(file, page.directory, file_size)
    if not page.directory.is_first:
        patches.append(_beginning(page.directory))
    file.seek(0)
    image = TiffFile(_Patched(file, patches) if patches else file)  # type: ignore[arg-type] # reads, seeks and tells
    image.piece_bytes = piece_bytes(page)
    image.is_turned = page.orientation > 1
    if page.compression in _PERHAPS:
        image.if_it_fails = f"not supported, or damaged: {described(page)}"
    return image


def metadata_of(file: BinaryIO, directory: Directory) -> bytes:
    """Return a page's own camera metadata as an EXIF block without the orientation; nothing if it is damaged or without any.

    Args:
        file: the TIFF.
        directory: the header of the page.
    """
    size = file.seek(0, io.SEEK_END)
    inner = [directory.number(tag) for tag in (_EXIF, _GPS)]
    try:
        if header.value_bytes(directory) > MAX_METADATA_BYTES or any(
            _outside(part, size) for part in (directory, *(header.inner(file, directory, at) for at in inner if at))
        ):
            return b""
        exif = Image.Exif()
        exif.endian, exif.bigtiff = directory.order, directory.big
        exif.load_from_fp(file, directory.offset)
        if header.ORIENTATION in exif:
            del exif[header.ORIENTATION]
        return exif.tobytes() if exif.get_ifd(_EXIF) or _MOMENT in exif else b""
    except Exception:  # damaged metadata do not cost the page
        return b""


# -- what Pillow reads right -------------------------------------------------------------------------------------------

_COMPRESSIONS = frozenset((1, 2, 3, 4, 5, 6, 7, 8, 32773, 32809, 32946, 34925, 50000, 50001))
_JPEG = (6, 7)
_OLD_JPEG = 513  # place of a whole JPEG; the next tag is its size
_MOMENT, _EXIF, _GPS = 306, 34665, 34853
_PERHAPS = (6, *PERHAPS, 50001)
"""Old-style JPEG, of which libtiff reads some kinds, and compression without which Pillow's libtiff may be built (WebP)."""


def is_read_right_by_pillow(file: BinaryIO, page: PageLayout) -> bool:
    """True for a kind of page whose colours Pillow was measured to read right, within rounding.

    Among others it is not: 16-bit planes without compression (scrambled), white as the smallest value at 16 bits or in floats
    (a negative), packed 10 to 15 bits (refused or dark), compressed floats of the other byte order (noise), unsigned 32 bits,
    palettes of 8-bit values (black), and a BigTIFF whose bytes are in the other order (refused).
    """
    is_big_endian = page.directory.order == ">"
    if page.volume or page.compression not in _COMPRESSIONS or page.bits == 0 or (is_big_endian and page.directory.big):
        return False
    if not page.states_photometric and page.photometric not in (0, 6):  # Pillow takes a missing one for 0
        return False
    if page.fill_order != 1 and not _is_right_in_reverse(page):
        return False
    if page.compression in _JPEG and page.bits not in (1, 8):
        return False
    if page.sample_format in (2, 3):
        is_swapped = is_big_endian and page.compression != 1
        return (page.photometric, page.bits, page.samples, page.fill_order, is_swapped) == (1, 32, 1, 1, False)
    if page.sample_format != 1 or page.white != 2**page.bits - 1:
        return False
    if page.photometric in (0, 1):
        return _is_grey_right(page)
    if page.photometric == 2:
        return _is_rgb_right(page)
    if page.photometric == 3:
        return _is_palette_right(file, page)
    if page.photometric == 5:
        return _is_cmyk_right(page)
    if page.photometric == 6:
        return _is_ycbcr_right(page)
    return page.photometric == 8 and (page.bits, page.samples, page.planar) == (8, 3, False)


def _is_right_in_reverse(page: PageLayout) -> bool:
    """True for a kind of page that Pillow knows with the bits of each byte in reverse order."""
    if page.photometric == 0 and page.bits == 8 and page.compression == 1:
        return False
    return (page.photometric in (0, 1, 3) and page.samples == 1 and page.bits <= 8) or (
        page.photometric == 2 and (page.bits, page.samples) == (8, 3)
    )


def _is_grey_right(page: PageLayout) -> bool:
    if page.samples == 1:
        return page.bits in (1, 2, 4, 8) or (page.bits == 16 and page.photometric == 1)
    is_plain = page.photometric == 1 and page.samples == 2 and page.bits == 8 and not page.planar
    return is_plain and page.extra in ((0,), (2,))


def _is_rgb_right(page: PageLayout) -> bool:
    if page.bits not in (8, 16) or (page.planar and (page.extra or (page.bits == 16 and page.compression == 1))):
        return False
    if page.bits == 16:
        if page.extra == (0,) and page.compression != 1:  # refused by older versions
            return False
        return (page.samples, page.extra) in ((3, ()), (4, ()), (4, (0,)), (4, (1,)), (4, (2,)))
    if page.samples <= 4:
        return (page.samples, page.extra) in ((3, ()), (4, ()), (4, (0,)), (4, (1,)), (4, (2,)), (4, (999,)))
    return page.samples <= 6 and len(page.extra) == page.samples - 3 and not any(page.extra[1:]) and page.extra[0] <= 2


def _is_palette_right(file: BinaryIO, page: PageLayout) -> bool:
    if page.bits not in (1, 2, 4, 8) or page.samples > 2 or page.planar:
        return False
    if page.samples == 2 and (page.bits != 8 or page.extra not in ((0,), (2,))):
        return False
    values = page.directory.numbers(file, header.PALETTE, 3 * 2**page.bits)
    return len(values) == 3 * 2**page.bits and max(values) > 255


def _is_cmyk_right(page: PageLayout) -> bool:
    if page.directory.number(header.INK_SET, 1) != 1:
        return False
    if page.samples == 4:
        return not page.extra and (page.bits == 8 or (page.bits == 16 and not (page.planar and page.compression == 1)))
    return page.bits == 8 and not page.planar and page.samples <= 6 and page.extra == (0,) * (page.samples - 4)


def _is_ycbcr_right(page: PageLayout) -> bool:
    if page.compression in _JPEG:
        return page.bits in (1, 8)  # an old-style JPEG need not state its bits
    # Without compression Pillow expects three bytes per pixel, whatever the subsampling, and older versions more.
    return page.compression != 1 and (page.bits, page.samples) == (8, 3)


# -- files that Pillow would warn of -----------------------------------------------------------------------------------
#
# Pillow reports metadata that it cannot read through ``warnings``, which belong to the host: an error for some hosts, and
# lines on standard error for others. It is given a file in which they are blank.

_SCALARS = frozenset((
    header.WIDTH, header.LENGTH, header.COMPRESSION, header.PHOTOMETRIC, header.FILL_ORDER, header.ORIENTATION,
    header.SAMPLES, header.ROWS_PER_STRIP, header.PLANAR, header.PREDICTOR, header.TILE_WIDTH, header.TILE_LENGTH,
    282, 283, 296,
))  # fmt: skip
_NEEDED = _SCALARS | frozenset((
    header.BITS, header.STRIPS, header.STRIP_BYTES, header.PALETTE, header.TILES, header.TILE_BYTES, header.EXTRA_SAMPLES,
    header.SAMPLE_FORMAT, header.SUBSAMPLING, header.PROFILE, header.INK_SET, 347, 512, 513, 514, 515, 519, 520, 521, 529, 531, 532,
))  # fmt: skip
"""Tags that the pixels need, and the profile."""
_OPTIONAL = frozenset((header.PROFILE, 282, 283))


def _repairs(file: BinaryIO, directory: Directory, file_size: int) -> list[tuple[int, bytes]]:
    """Return places and bytes that replace the entries of a header which Pillow would warn of."""
    outside = _outside(directory, file_size)
    total = sum(directory.size(tag) for tag in directory.entries)
    blank = {*outside, *(directory.entries.keys() - _NEEDED if total > file_size else ())}
    layout = directory.order + ("HHQ8s" if directory.big else "HHI4s")
    width = 8 if directory.big else 4
    repaired = {tag: (1, 1, bytes(width)) for tag in blank}
    for tag in _SCALARS.intersection(directory.entries) - blank:
        kind, count, _ = directory.entries[tag]
        if count > 1:
            first = directory.data(file, tag, 1) or b""
            repaired[tag] = (kind, 1, first.ljust(width, b"\0")) if len(first) <= width else (1, 1, bytes(width))
    first_entry = directory.offset + (8 if directory.big else 2)
    step = struct.calcsize(layout)
    return [
        (first_entry + directory.places[tag] * step, struct.pack(layout, tag, *entry))
        for tag, entry in repaired.items()
    ]


def _outside(directory: Directory, file_size: int) -> list[int]:
    """Return the tags whose values lie behind the end of the file."""
    return [tag for tag in directory.entries if directory.place(tag) + directory.size(tag) > file_size]


def _check_whole(file: BinaryIO, page: PageLayout, file_size: int) -> None:
    """Refuse a compressed page whose data end before they should: libtiff would report it on standard error.

    Raises:
        ImageError: if the file is truncated.
    """
    tags = (header.TILES, header.TILE_BYTES) if page.is_tiled else (header.STRIPS, header.STRIP_BYTES)
    if page.compression == 1 or not all(tag in page.directory.entries for tag in tags):
        return
    offsets, sizes = (page.directory.array(file, tag, 1 << 26).astype("u8") for tag in tags)
    if len(offsets) == len(sizes) and bool((offsets + sizes > file_size).any()):
        raise ImageError("the file is truncated: its data end before the image does")


def _beginning(directory: Directory) -> tuple[int, bytes]:
    """Return the place and the bytes that make a page the first: Pillow reads every header on its way to a later one."""
    if directory.big:
        return 8, struct.pack(directory.order + "Q", directory.offset)
    return 4, struct.pack(directory.order + "I", directory.offset)


class _Patched:
    """A file of which some bytes are replaced."""

    def __init__(self, file: BinaryIO, patches: list[tuple[int, bytes]]) -> None:
        self._file, self._patches = file, patches
        self.seek, self.tell, self.fileno, self.close = file.seek, file.tell, file.fileno, file.close

    def read(self, size: int = -1) -> bytes:
        at = self._file.tell()
        data = self._file.read(size)
        for place, patch in self._patches:
            if place < at + len(data) and at < place + len(patch):
                whole = bytearray(data)
                start, stop = max(place, at), min(place + len(patch), at + len(data))
                whole[start - at : stop - at] = patch[start - place : stop - place]
                data = bytes(whole)
        return data
