"""Pixels of opened image files, within the budget, at the smallest size that suffices."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

from PIL import Image

from bioclip_core.images.boxes import Box
from bioclip_core.images.budget import BYTES_PER_PIXEL, MAX_LISTED_PIXELS, check_sides, over_budget
from bioclip_core.images.colours import resizable
from bioclip_core.images.crops import Deferred, Picture, upright
from bioclip_core.images.jpeg2000 import is_jpeg2000, opened_jpeg2000
from bioclip_core.images.memory import take_memory
from bioclip_core.images.needs import decoding_bytes, resize_bytes
from bioclip_core.images.netpbm import is_netpbm, opened_netpbm
from bioclip_core.images.orientation import stored_orientation
from bioclip_core.images.pillow_files import JpegFile, opened
from bioclip_core.images.tiff import is_tiff, opened_tiff
from bioclip_core.preprocessing import Preprocessing

JPEG_SCALES = (8, 4, 2, 1)
"""Fractions that the decoder offers."""
OVERSAMPLING = 2
"""Size of a region that is decoded at a fraction, in multiples of the model's size."""


def opened_file(data: bytes, frame: int) -> Image.Image | Deferred:
    """Return the image after reading its header, without its pixels."""
    if is_tiff(data):
        return opened_tiff(io.BytesIO(data), frame)
    if is_jpeg2000(data) and (deferred := opened_jpeg2000(data)) is not None:
        return deferred
    if frame == 0 and is_netpbm(data[:16]):
        return opened_netpbm(data)
    return opened(data, frame)


def picture_of(
    image: Image.Image | Deferred, boxes: Sequence[Box], preprocessing: Preprocessing, limit: int, frame: int
) -> Picture:
    """Return an opened image with its pixels, at the smallest size that suffices for the smallest box.

    Args:
        image: the image after reading its header.
        boxes: regions of the upright image.
        preprocessing: preprocessing of the model.
        limit: limit of the decoded pixels.
        frame: number of the frame.

    Raises:
        ImageError: if it is over the limit, or cannot be decoded.
    """
    if not isinstance(image, Deferred):
        return _loaded(image, boxes, preprocessing, limit, frame)
    size = (image.width, image.height)
    check_pixels(size, size[0] * size[1], limit)
    take_memory(image.needed_bytes + resize_bytes(*size, image.orientation, preprocessing))
    return Picture(image.load(BYTES_PER_PIXEL * limit), *size, image.orientation)


def _loaded(
    image: Image.Image, boxes: Sequence[Box], preprocessing: Preprocessing, max_pixels: int, frame: int
) -> Picture:
    """Return the picture with its pixels, decoded at the smallest size that suffices for the smallest box."""
    size = image.size
    max_pixels //= 2 if image.mode in ("I", "F") else 1  # they take longer, and more memory
    if preprocessing.decode == "full" or image.format not in ("JPEG", "JPEG2000"):
        check_pixels(size, size[0] * size[1], max_pixels)
        resize = resize_bytes(*size, 1, preprocessing)
        take_memory(decoding_bytes(image, frame) + kept_bytes(image) + resize)
        image.load()
        if image.mode not in ("P", "PA"):
            image.info.pop("transparency", None)  # unused, and Pillow warns about some values
        return Picture(image, image.width, image.height, stored_orientation(image))
    orientation = stored_orientation(image)
    scale = _reduce(image, most_scale(upright(*size, orientation), boxes, preprocessing))
    # A JPEG of several scans keeps every coefficient until its last one, whatever the fraction.
    kept = kept_bytes(image)
    check_pixels(size, size[0] * size[1] // (1 if kept else scale**2), max_pixels)
    take_memory(decoding_bytes(image, frame) + kept + resize_bytes(*image.size, orientation, preprocessing))
    image.load()
    picture = Picture(image, size[0] / scale, size[1] / scale, orientation)
    if image.format == "JPEG" or scale == 1:
        return picture
    # JPEG averages scale×scale pixels, but JPEG 2000 keeps every scale-th sample of its low-pass: sample i belongs to the
    # middle of pixel i·scale, so everything is further to the right and bottom in the reduced grid.
    return replace(picture, image=_edges_repeated(resizable(image)), shift=0.5 - 0.5 / scale)


def most_scale(size: tuple[float, float], boxes: Sequence[Box], preprocessing: Preprocessing) -> int:
    """Return the largest whole number by which an upright image may be reduced, so that its smallest box keeps enough pixels."""
    width, height = size
    smallest = min((min(w * width, h * height) for _, _, w, h in boxes), default=min(size))
    return max(1, int(smallest / (OVERSAMPLING * preprocessing.size)))


def kept_bytes(image: Image.Image) -> int:
    """Return the memory of the coefficients that a JPEG of several scans keeps."""
    return image.structure.coefficient_bytes if isinstance(image, JpegFile) else 0


def _edges_repeated(image: Image.Image) -> Image.Image:
    """Return the image with its last column and row repeated, for content that a shift moves beyond them."""
    larger = Image.new(image.mode, (image.width + 1, image.height + 1))
    for shift in ((1, 1), (1, 0), (0, 1), (0, 0)):  # the last covers all but one column and row of the earlier ones
        larger.paste(image, shift)
    return larger


def _reduce(image: Image.Image, scale: int) -> int:
    """Set the decoder to 1/scale or the next larger fraction that it offers, and return its scale."""
    if scale < 2:
        return 1
    if image.format == "JPEG2000":
        level = min(scale.bit_length() - 1, _wavelet_levels(image))
        power = 1 << level
        # Pillow rounds the reduced size to the nearest pixel, but the decoder rounds up, so that Pillow would call the file
        # broken. A size that divides without remainder needs no rounding.
        image._size = (-(-image.width // power) * power, -(-image.height // power) * power)
        image.reduce = level  # type: ignore[method-assign, assignment]
        return power
    taken = next(offered for offered in JPEG_SCALES if offered <= scale)
    done = image.draft(None, (image.width // taken, image.height // taken))
    return taken if done else 1


def _wavelet_levels(image: Image.Image) -> int:
    """Return the decomposition levels of a JPEG 2000 codestream (its COD marker), the most that can be skipped."""
    data = image.fp.getvalue()  # type: ignore[attr-defined]
    at: int = data.find(b"\xff\x4f\xff\x51") + 2
    while 2 <= at < len(data) - 12 and data[at] == 0xFF:
        if data[at + 1] == 0x52:
            return int(data[at + 9])
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return 0


def check_pixels(size: tuple[int, int], decoded: int, max_pixels: int) -> None:
    """Refuse an image over the budget.

    Args:
        size: width and height of the whole image.
        decoded: pixels that are to be decoded.
        max_pixels: their limit.

    Raises:
        ImageError: if there are more, or the image is larger than any that is read.
    """
    check_sides(*size)
    for pixels, allowed in ((decoded, max_pixels), (size[0] * size[1], MAX_LISTED_PIXELS)):
        if pixels > allowed:
            raise over_budget(
                f"its header announces {size[0]:,} × {size[1]:,} pixels",
                f"{allowed / 1e6:,.0f} megapixels for this kind of file",
            )
