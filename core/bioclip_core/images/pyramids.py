"""Levels of pyramid TIFFs: smaller versions of a page in pages behind it or inside it, and what a region needs of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import BinaryIO

from PIL import Image

from bioclip_core.errors import ImageError
from bioclip_core.images import tiff_header as header
from bioclip_core.images.boxes import Box
from bioclip_core.images.budget import MAX_PROFILE_BYTES, MAX_TIFF_PAGES
from bioclip_core.images.crops import Picture, needed_part, stored_sides, upright
from bioclip_core.images.tiff import is_read_right_by_pillow
from bioclip_core.images.tiff_header import DamagedChain, Directory, PageLayout, directories, layout_at, layout_of
from bioclip_core.images.tiff_parts import part_of
from bioclip_core.preprocessing import Preprocessing

_SUB_PAGES, _DESCRIPTION = 330, 270
_MOST_SUB_PAGES = 64
_APERIO = b"Aperio"
"""Beginning of the description of each page of an SVS file, whose levels are not marked as such."""
_OTHERS = (b"label ", b"macro ")
"""In the description of the pages of an SVS file that show something else: the slide's label, the whole slide."""
_DESCRIPTION_BYTES = 4096
_COLOUR = frozenset((2, 6))  # RGB and YCbCr: a level may have the other one
_MOST_WHOLE = 64  # whole numbers between the ratios of the two sides that are tried
_LEAST_SHARE = 2
"""A part of a page is decoded instead of the page if it has at most a half of its pixels."""


@dataclass(frozen=True, slots=True)
class Level:
    """One size of a picture."""

    page: PageLayout
    scale: float
    """Pixels of the picture per pixel of the level, 1 for the picture itself."""

    def picture(self, full: PageLayout) -> Picture:
        """Return the geometry of the level, without pixels."""
        size = (full.width / self.scale, full.height / self.scale)
        return Picture(_NO_PIXELS, *size, full.orientation)


@dataclass(frozen=True, slots=True)
class Part:
    """Tiles or strips of a level as a TIFF of their own, and their place in the level."""

    tiff: bytes
    level: Level
    picture: Picture
    """The geometry; its image is to be replaced by the pixels of the TIFF."""
    is_turned_first: bool
    """True if it is resized upright, as the whole page is, since the order of the two directions changes the result a little."""


_NO_PIXELS = Image.new("L", (1, 1))


def has_levels(file: BinaryIO, number: int = 0) -> bool:
    """True for a page with smaller versions, of which regions are decoded if they suffice.

    Raises:
        ImageError: if there is no such page, or its header is damaged.
    """
    return len(levels_of(file, number)) > 1


def levels_of(file: BinaryIO, number: int = 0) -> list[Level]:
    """Return the sizes of a page, the page itself first.

    A level is a page inside this one (SubIFDs, as OME-TIFF has them) or behind it that is marked as a reduced version (as in a
    cloud-optimized GeoTIFF), or any tiled page of an SVS file. It must have the page's shape and kind of samples, since thumbnails of
    something else are marked in the same way. Only headers are read: ``level_pixels.py`` compares the pixels of levels in use.

    Raises:
        ImageError: if there is no such page, or its header is damaged.
    """
    full = layout_at(file, number)
    if not _has_defined_white(full):  # the scale of other samples depends on the pixels that are read
        return [Level(full, 1.0)]
    found: list[Level] = []
    with suppress(DamagedChain):
        for directory in _candidates(file, full, number):
            if (level := _level_of(file, directory, full)) is not None:
                found.append(level)
    return [Level(full, 1.0), *sorted(found, key=lambda level: level.scale)]


def unmarked_copies(file: BinaryIO) -> set[int]:
    """Return the offsets of the pages of an SVS file that are smaller versions of its first page without saying so: levels, thumbnail.

    Only headers are read, since the first page may be too large to be compared with. Nothing for another kind of file.
    """
    try:
        full = layout_at(file, 0)
        if not _description(file, full.directory).startswith(_APERIO):
            return set()
        pages = [layout_of(file, directory) for directory in islice(directories(file), 1, MAX_TIFF_PAGES)]
    except (DamagedChain, ImageError):
        return set()
    return {
        page.directory.offset
        for page in pages
        if _description(file, page.directory).startswith(_APERIO) and _scale(full, page) is not None
    }


def parts_for(
    file: BinaryIO,
    levels: Sequence[Level],
    boxes: Sequence[Box],
    preprocessing: Preprocessing,
    oversampling: int,
) -> tuple[list[Part], bytes | None] | None:
    """Return what each region needs of a page: tiles of the smallest level at which it keeps enough pixels.

    Args:
        file: the TIFF.
        levels: the sizes of the page, the page itself first.
        boxes: regions of the upright picture.
        preprocessing: size and kind of the resize.
        oversampling: pixels that a region keeps on each side, in multiples of the model's.

    Returns:
        One part per region, and the page's colour profile; None if the whole page is to be decoded.

    Raises:
        ImageError: if its header is damaged.
    """
    full = levels[0].page
    if not boxes or not _has_defined_white(full):
        return None
    width, height = upright(full.width, full.height, full.orientation)
    is_turned_first = is_read_right_by_pillow(file, full)
    chosen: list[tuple[Level, tuple[int, int, int, int]]] = []
    for box in boxes:
        most = min(box[2] * width, box[3] * height) / (oversampling * preprocessing.size)
        level = next(level for level in reversed(levels) if level.scale <= max(1.0, most))
        chosen.append((level, _sides(level.picture(full), box, preprocessing, is_turned_first)))
    pixels = sum((right - left) * (lower - upper) for _, (left, upper, right, lower) in chosen)
    if pixels * _LEAST_SHARE > full.width * full.height:
        return None
    cut: dict[tuple[int, tuple[int, int, int, int]], Part] = {}
    parts: list[Part] = []
    for level, sides in _joined(chosen):
        key = (level.page.directory.offset, sides)
        if key not in cut:
            part = _part(file, full, level, sides, is_turned_first)
            if part is None:
                return None
            cut[key] = part
        parts.append(cut[key])
    return parts, full.directory.data(file, header.PROFILE, MAX_PROFILE_BYTES + 1)


def part_in(file: BinaryIO, full: PageLayout, level: Level, box: Box, preprocessing: Preprocessing) -> Part | None:
    """Return what one region needs of one level; None if it cannot be cut out."""
    is_turned_first = is_read_right_by_pillow(file, full)
    sides = _sides(level.picture(full), box, preprocessing, is_turned_first)
    return _part(file, full, level, sides, is_turned_first)


def _part(
    file: BinaryIO, full: PageLayout, level: Level, sides: tuple[int, int, int, int], is_turned_first: bool
) -> Part | None:
    found = part_of(file, level.page, sides)
    if found is None:
        return None
    return Part(found[0], level, replace(level.picture(full), corner=found[1]), is_turned_first)


def _sides(
    picture: Picture, box: Box, preprocessing: Preprocessing, is_turned_first: bool
) -> tuple[int, int, int, int]:
    if not is_turned_first:
        return needed_part(picture, box, preprocessing)
    return stored_sides(needed_part(Picture(_NO_PIXELS, *picture.upright_size), box, preprocessing), picture)


def _joined(
    chosen: list[tuple[Level, tuple[int, int, int, int]]],
) -> list[tuple[Level, tuple[int, int, int, int]]]:
    """Return the parts with those of a level put together if that is not more to decode: boxes often overlap."""
    joined = list(chosen)
    for offset in {level.page.directory.offset for level, _ in chosen}:
        members = [number for number, (level, _) in enumerate(chosen) if level.page.directory.offset == offset]
        sides = [chosen[number][1] for number in members]
        around = (
            min(side[0] for side in sides), min(side[1] for side in sides),
            max(side[2] for side in sides), max(side[3] for side in sides),
        )  # fmt: skip
        if _area(around) <= sum(map(_area, sides)):
            for number in members:
                joined[number] = (chosen[number][0], around)
    return joined


def _area(sides: tuple[int, int, int, int]) -> int:
    return (sides[2] - sides[0]) * (sides[3] - sides[1])


# -- levels ------------------------------------------------------------------------------------------------------------


def _has_defined_white(page: PageLayout) -> bool:
    """True for samples whose largest value is white by definition: that of a level or a part is the same."""
    is_plain = page.sample_format == 1 and 1 <= page.bits <= 16 and page.white == 2**page.bits - 1
    return is_plain and not page.volume


def _candidates(file: BinaryIO, full: PageLayout, number: int) -> Iterator[Directory]:
    """Yield the headers that may be those of levels."""
    inside = full.directory.numbers(file, _SUB_PAGES, _MOST_SUB_PAGES) if _SUB_PAGES in full.directory.entries else ()
    for at in inside:
        directory = header.inner(file, full.directory, at)
        if directory.number(header.SUBFILE) & 1:
            yield directory
    is_aperio = _description(file, full.directory).startswith(_APERIO)
    for directory in islice(directories(file), number + 1, MAX_TIFF_PAGES):
        if is_aperio and not directory.is_reduced():
            if header.TILE_WIDTH in directory.entries and _description(file, directory).startswith(_APERIO):
                yield directory
        elif directory.is_reduced():
            if not any(word in _description(file, directory) for word in _OTHERS):
                yield directory
        else:  # the next picture
            return


def _description(file: BinaryIO, directory: Directory) -> bytes:
    return directory.data(file, _DESCRIPTION, _DESCRIPTION_BYTES) or b""


def _level_of(file: BinaryIO, directory: Directory, full: PageLayout) -> Level | None:
    """Return a page as a level; None if it is something else, or damaged."""
    try:
        page = layout_of(file, directory)
    except ImageError:
        return None
    if directory.number(header.SUBFILE) & ~1:  # a mask, or one page of several
        return None
    colours = {page.photometric, full.photometric}
    if len(colours) > 1 and not colours <= _COLOUR:
        return None
    same = ("samples", "bits", "sample_format", "white", "extra", "volume")
    if any(getattr(page, name) != getattr(full, name) for name in same):
        return None
    scale = _scale(full, page)
    return None if scale is None else Level(page, scale)


def _scale(full: PageLayout, page: PageLayout) -> float | None:
    """Return the pixels of the picture per pixel of a smaller version of it; None for one of another shape.

    Sides may be rounded in either direction, also twice: at each level of those before.
    """
    ratios = sorted((full.width / page.width, full.height / page.height))
    whole = range(math.floor(ratios[0]), min(math.ceil(ratios[1]), math.floor(ratios[0]) + _MOST_WHOLE) + 1)
    longer = full.width / page.width if full.width >= full.height else full.height / page.height
    for scale in (*sorted(whole, key=lambda scale: (scale.bit_count() != 1, abs(scale - longer))), longer):
        if scale > 1 and abs(page.width - full.width / scale) <= 1 and abs(page.height - full.height / scale) <= 1:
            return float(scale)
    return None
