"""The geometry of a region: its box in the upright image, its pixels in the decoded one, and its resize to the input."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from bioclip_core.errors import UsageError
from bioclip_core.images.boxes import Box
from bioclip_core.preprocessing import Preprocessing

WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
_SUPPORT = 2
"""Pixels on each side that the widest filter (bicubic) reads, of the source or of the result, whichever are larger."""
_ROUNDING = 1e-6  # pixels
_LEAST_WIDTH = 2
"""Width of a part in multiples of the result's longer side, at which Pillow resizes it in the same order as the whole picture."""
_MOST_STRETCH = 1.2
"""Ratio of the vertical to the horizontal scale up to which it does so."""

# For each EXIF orientation (Exif 2.32, tag 0x0112): the operation that makes it upright, and the position of an upright box
# in the stored image: x and y are swapped, then the stored x and y are counted from the other end.
_ORIENTATIONS: dict[int, tuple[Image.Transpose | None, bool, bool, bool]] = {
    1: (None, False, False, False),
    2: (Image.Transpose.FLIP_LEFT_RIGHT, False, True, False),
    3: (Image.Transpose.ROTATE_180, False, True, True),
    4: (Image.Transpose.FLIP_TOP_BOTTOM, False, False, True),
    5: (Image.Transpose.TRANSPOSE, True, False, False),
    6: (Image.Transpose.ROTATE_270, True, False, True),
    7: (Image.Transpose.TRANSVERSE, True, True, True),
    8: (Image.Transpose.ROTATE_90, True, True, False),
}


@dataclass(frozen=True, slots=True)
class Picture:
    """Decoded pixels as they are stored: not rotated upright, and perhaps decoded at a fraction of their size."""

    image: Image.Image
    width: float
    """Columns that the picture fills: not a whole number if, for example, 4,001 of them were decoded at one eighth."""
    height: float
    orientation: int = 1
    """EXIF's, 1 to 8."""
    shift: float = 0.0
    """Offset of the content to the right and bottom, in pixels of the picture, compared with averaging decoders."""
    corner: tuple[float, float] = (0, 0)
    """Column and row of the picture at which the pixels begin, if only a part of it was decoded."""

    @property
    def upright_size(self) -> tuple[float, float]:
        """Width and height of the upright picture."""
        return upright(self.width, self.height, self.orientation)


@dataclass(frozen=True, slots=True)
class Deferred:
    """An image that our own readers decode: its header is read, its pixels are not."""

    width: int
    """As it is stored, not turned upright."""
    height: int
    orientation: int
    """EXIF's, 1 to 8."""
    profile: bytes | None
    load: Callable[[int], Image.Image]
    """Returns the pixels as they are stored; its argument is the limit of the uncompressed samples in bytes."""
    needed_bytes: int
    """Estimate of the memory that loading takes."""


def upright(width: float, height: float, orientation: int) -> tuple[float, float]:
    """Return width and height of an image after its EXIF orientation is applied."""
    return (height, width) if orientation >= 5 else (width, height)


def upright_box(box: Box, orientation: int) -> Box:
    """Return a box of the stored image as a box of the upright one: fractions x, y, width, height of either."""
    _, swap, flip_x, flip_y = _ORIENTATIONS[orientation]
    x, y, w, h = box
    x = 1 - x - w if flip_x else x
    y = 1 - y - h if flip_y else y
    return (y, x, h, w) if swap else (x, y, w, h)


def turned_upright(image: Image.Image, orientation: int) -> Image.Image:
    """Return an image after its EXIF orientation is applied."""
    transpose = _ORIENTATIONS[orientation][0]
    return image if transpose is None else image.transpose(transpose)


def turned(picture: Picture) -> Picture:
    """Return a picture, or a part of one, with its pixels upright."""
    if picture.orientation == 1:
        return picture
    _, swap, flip_x, flip_y = _ORIENTATIONS[picture.orientation]
    left, top = picture.corner
    left = picture.width - left - picture.image.width if flip_x else left
    top = picture.height - top - picture.image.height if flip_y else top
    image = turned_upright(picture.image, picture.orientation)
    return Picture(image, *picture.upright_size, corner=(top, left) if swap else (left, top))


def stored_sides(sides: tuple[int, int, int, int], picture: Picture) -> tuple[int, int, int, int]:
    """Return left, upper, right, lower of the upright picture as those of the stored one, rounded to the outside."""
    width, height = picture.upright_size
    x, y = sides[0] / width, sides[1] / height
    box = _stored_box(picture, (x, y, sides[2] / width - x, sides[3] / height - y))
    left, upper = (max(0, math.floor(side + _ROUNDING)) for side in box[:2])
    right, lower = (math.ceil(side - _ROUNDING) for side in box[2:])
    return left, upper, max(left + 1, right), max(upper + 1, lower)


def checked(box: Box | None) -> Box:
    """Return the box, or that of the whole image for None.

    Raises:
        UsageError: if it does not overlap the image.
    """
    if box is None:
        return WHOLE
    x, y, w, h = box
    if not all(math.isfinite(v) for v in box) or w <= 0 or h <= 0 or x >= 1 or y >= 1 or x + w <= 0 or y + h <= 0:
        raise UsageError(
            f"box {box}: x, y, width, height are fractions of the upright image, with width and height above 0"
        )
    return box


def resized(picture: Picture, box: Box, preprocessing: Preprocessing) -> Image.Image:
    """Return one region at the model's size, upright, in the mode of the picture.

    The region is resized out of the stored pixels with a fractional box, and only the small result is rotated: rotating a
    12-megapixel photo first costs more than everything else here.
    """
    seen, out = _seen(picture, box, preprocessing)
    small = picture.image.resize(
        (out[1], out[0]) if picture.orientation >= 5 else out,
        Image.Resampling[preprocessing.interpolation.upper()],
        box=_clipped(_stored_box(picture, seen), picture),
    )
    return turned_upright(small, picture.orientation)


def needed_part(picture: Picture, box: Box, preprocessing: Preprocessing) -> tuple[int, int, int, int]:
    """Return the pixels of a picture that the resize of a region reads: left, upper, right, lower.

    Args:
        picture: the size of the pixels and their geometry; its image is not used.
        box: the region.
        preprocessing: size and kind of the resize.
    """
    seen, out = _seen(picture, box, preprocessing)
    out = (out[1], out[0]) if picture.orientation >= 5 else out
    limits = (picture.width, picture.height)
    width, height = map(math.ceil, limits)
    sides = [min(max(side, 0.0), limits[n % 2]) for n, side in enumerate(_stored_box(picture, seen))]
    scales = [(sides[n + 2] - sides[n]) / out[n] for n in (0, 1)]
    margins = [2 + _SUPPORT * max(1.0, scale) for scale in scales]
    left, upper = (math.floor(sides[n] - margins[n]) for n in (0, 1))
    right, lower = (math.ceil(sides[n + 2] + margins[n]) for n in (0, 1))
    # Pillow resizes columns before rows or rows before columns by the width of an image, with results of up to 20 levels apart.
    if scales[1] > _MOST_STRETCH * scales[0]:
        left, right = 0, width
    right = max(right, left + _LEAST_WIDTH * max(out))
    left = max(0, min(left, right - _LEAST_WIDTH * max(out), width - _LEAST_WIDTH * max(out), width - 1))
    upper = max(0, min(upper, height - 1))
    return left, upper, max(left + 1, min(width, right)), max(upper + 1, min(height, lower))


def padded(image: Image.Image, preprocessing: Preprocessing) -> Image.Image:
    """Return an RGB image in the middle of a size×size canvas with the fill colour; one of that size is unchanged."""
    size = preprocessing.size
    if image.size == (size, size):
        return image
    canvas = Image.new("RGB", (size, size), (preprocessing.fill,) * 3)
    canvas.paste(image, ((size - image.width) // 2, (size - image.height) // 2))
    return canvas


def _window(width: float, height: float, preprocessing: Preprocessing) -> tuple[Box, tuple[int, int]]:
    """Return the part of a width×height region that the model sees (x, y, width, height in pixels), and its new size.

    The rounding is that of open_clip's transforms, so that the same pixels are cropped.
    """
    size = preprocessing.size
    if preprocessing.resize_mode == "squash":
        return (0.0, 0.0, width, height), (size, size)
    if preprocessing.resize_mode == "longest":
        ratio = max(width, height) / size
        return (0.0, 0.0, width, height), (max(1, round(width / ratio)), max(1, round(height / ratio)))
    scaled = (size, int(size * height / width)) if width <= height else (int(size * width / height), size)
    step_x, step_y = width / scaled[0], height / scaled[1]
    left, top = round((scaled[0] - size) / 2), round((scaled[1] - size) / 2)
    return (left * step_x, top * step_y, size * step_x, size * step_y), (size, size)


def _seen(picture: Picture, box: Box, preprocessing: Preprocessing) -> tuple[Box, tuple[int, int]]:
    """Return the part of the upright picture that the model sees of a region, and its new size."""
    width, height = picture.upright_size
    x, y, w, h = box
    part, out = _window(w * width, h * height, preprocessing)
    sides = (x * width + part[0], y * height + part[1], part[2], part[3])
    return (sides[0] / width, sides[1] / height, sides[2] / width, sides[3] / height), out


def _stored_box(picture: Picture, box: Box) -> tuple[float, float, float, float]:
    """Return a box of the upright image as left, upper, right, lower in the stored picture, which may lie outside of it."""
    _, swap, flip_x, flip_y = _ORIENTATIONS[picture.orientation]
    x, y, w, h = (box[1], box[0], box[3], box[2]) if swap else box
    x = 1 - x - w if flip_x else x
    y = 1 - y - h if flip_y else y
    left, right = (v * picture.width + picture.shift for v in (x, x + w))
    upper, lower = (v * picture.height + picture.shift for v in (y, y + h))
    return left, upper, right, lower


def _clipped(sides: tuple[float, float, float, float], picture: Picture) -> tuple[float, float, float, float]:
    """Return sides in the picture as sides in its pixels, clipped to them."""
    (left, top), image = picture.corner, picture.image
    columns = [min(max(side - left, 0.0), image.width) for side in sides[::2]]
    rows = [min(max(side - top, 0.0), image.height) for side in sides[1::2]]
    return columns[0], rows[0], columns[1], rows[1]
