"""Pixels of parts of TIFF pages, and levels that show something else than their page, found by a few of their pixels.

Tags and shape do not suffice: a file that has all its pictures first and then a thumbnail of each marks them like the levels of its
last picture.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import ImageError
from bioclip_core.images.boxes import Box
from bioclip_core.images.budget import MAX_DECODED_PIXELS
from bioclip_core.images.crops import turned, upright
from bioclip_core.images.decoded import Decoded
from bioclip_core.images.loading import OVERSAMPLING, picture_of
from bioclip_core.images.memory import take_memory
from bioclip_core.images.pyramids import Level, Part, part_in, parts_for
from bioclip_core.images.reasons import reasons
from bioclip_core.images.tiff import opened_tiff
from bioclip_core.preprocessing import Preprocessing

_PLACES = (0.25, 0.5, 0.75)
"""Places of the compared windows on the diagonal, as fractions."""
_SIDES = (16, 64)
"""Least and most pixels of a level on each side of a window."""
_PAGE_SIDE = 512
"""Pixels of the page on each side of a window, unless the least of the level needs more."""
_MOST_PIXELS = 1 << 22
"""Pixels of the tiles or strips under a window above which it is not compared."""
_COMPARED = Preprocessing(size=8, resize_mode="squash", interpolation="bilinear")
_NOISE = 16.0
"""Root mean square difference in grey levels of 255 that resampling, sharpening and compression may cause."""
_SHARE = 0.75
"""The same as a share of the contrast: an unrelated picture differs by its contrast or more, a copy by less than a quarter."""


def parts_of_levels(
    file: BinaryIO, levels: Sequence[Level], boxes: Sequence[Box], preprocessing: Preprocessing
) -> tuple[list[Part], bytes | None] | None:
    """Return what each region needs of a page, out of levels that show what the page shows.

    Args:
        file: the TIFF.
        levels: the sizes of the page, the page itself first; those that are used are compared with it.
        boxes: regions of the upright picture.
        preprocessing: size and kind of the resize.

    Returns:
        One part per region, and the page's colour profile; None if the whole page is to be decoded.

    Raises:
        ImageError: if its header is damaged.
    """
    page, *smaller = levels
    compared: set[int] = set()
    while (found := parts_for(file, [page, *smaller], boxes, preprocessing, OVERSAMPLING)) is not None:
        used = {part.level.page.directory.offset: part.level for part in found[0] if part.level is not page}
        new = [level for offset, level in used.items() if offset not in compared]
        compared |= used.keys()
        others = [level for level in new if not _shows_the_page(file, page, level)]
        if not others:
            break
        smaller = [level for level in smaller if level not in others]
    return found


def decoded_part(part: Part, profile: bytes | None, preprocessing: Preprocessing, max_pixels: int) -> Decoded:
    """Return the pixels of a part.

    Raises:
        ImageError: if they cannot be decoded, with the reason.
    """
    take_memory(len(part.tiff))
    image = picture_of(opened_tiff(io.BytesIO(part.tiff)), [], preprocessing, max_pixels, 0).image
    picture = replace(part.picture, image=image)
    return Decoded.of(turned(picture) if part.is_turned_first else picture, profile)


def _shows_the_page(file: BinaryIO, page: Level, level: Level) -> bool:
    """True unless most of the windows that can be compared show something else in a level than in its page."""
    width, height = upright(level.page.width, level.page.height, page.page.orientation)
    side = max(_SIDES[0], min(_SIDES[1], _PAGE_SIDE / level.scale))
    w, h = min(1.0, side / width), min(1.0, side / height)
    alike = []
    for place in _PLACES:
        box = (place * (1 - w), place * (1 - h), w, h)
        small = [_window(file, page, one, box) for one in (page, level)]
        if small[0] is not None and small[1] is not None:
            alike.append(_are_alike(small[0], small[1]))
    return 2 * sum(alike) >= len(alike)


def _window(file: BinaryIO, page: Level, level: Level, box: Box) -> NDArray[np.float32] | None:
    """Return a small picture of a region in a level; None if it is damaged, or too large to be looked at."""
    try:
        part = part_in(file, page.page, level, box, _COMPARED)
        if part is None:
            return None
        with reasons(part.tiff):
            image = opened_tiff(io.BytesIO(part.tiff))
            if image.width * image.height > _MOST_PIXELS:
                return None
            return decoded_part(part, None, _COMPARED, MAX_DECODED_PIXELS).crops([box], _COMPARED)[0].astype(np.float32)
    except ImageError:  # if a region needs these pixels, that is reported
        return None


def _are_alike(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    contrast = max(float(part.std(axis=(0, 1)).mean()) for part in (one, other))
    return float(np.sqrt(((one - other) ** 2).mean())) <= max(_NOISE, _SHARE * contrast)
