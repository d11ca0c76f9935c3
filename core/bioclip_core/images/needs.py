"""Estimates of the memory that an image takes while it is decoded and converted, by its format, mode and size.

The factors were measured with files of 25 and 36 megapixels (Pillow 13, peak of resident memory).
"""

from __future__ import annotations

import io

from PIL import Image

from bioclip_core.images.crops import upright
from bioclip_core.images.pillow_files import TiffFile
from bioclip_core.preprocessing import Preprocessing

_ROW_BYTES = 8  # a pointer per row
_PIXEL_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
"""Bytes of a pixel in Pillow's memory; 4 for other modes, RGB among them."""
_DECODING = {"WEBP": 12, "AVIF": 6, "HEIF": 6, "QOI": 8, "JPEG2000": 4}
"""Bytes per pixel that a format's decoder takes beside the image; JPEG 2000 takes as many per channel again."""
_WEBP_COPIES = 2
"""Times that the bytes of a WebP are in memory beside the file: noise without loss has 3 per pixel."""
_CONVERSION = {"1": 1, "P": 4, "PA": 8, "RGBA": 4, "RGBa": 8, "LA": 1, "La": 1, "I": 20, "F": 22, "RGBX": 4}
"""Bytes per pixel of the conversion to a mode that can be resized."""
_CONVERSION_16_BIT = 4


def pillow_bytes(mode: str, width: int, height: int) -> int:
    """Return the memory of an image in Pillow; rows begin at multiples of 4 bytes."""
    return height * (_ROW_BYTES + -(-width * _PIXEL_BYTES.get(mode, 4) // 4) * 4)


def conversion_bytes(mode: str, width: int, height: int) -> int:
    """Return the memory of the steps from a decoded image to one that can be resized."""
    return width * height * _CONVERSION.get(mode, _CONVERSION_16_BIT if mode.startswith("I;16") else 0)


def resize_bytes(width: float, height: float, orientation: int, preprocessing: Preprocessing) -> int:
    """Return the memory between the two steps of a resize: as many rows as before, of the new width."""
    if preprocessing.resize_mode == "shortest":  # of a long image a square is cut out first
        return 4 * preprocessing.size * int(min(width, height))
    return 4 * preprocessing.size * int(upright(width, height, orientation)[0 if orientation >= 5 else 1])


def decoding_bytes(image: Image.Image, frame: int = 0) -> int:
    """Return the memory for the pixels of an image that is opened and not loaded, and for their conversion.

    Args:
        image: an image at the size at which it will be decoded.
        frame: number of the frame; a later one of an animation is put together from earlier ones.
    """
    width, height = image.size
    beside = _DECODING.get(image.format or "", 0)
    if image.format == "JPEG2000":
        beside += 4 * len(image.getbands())
    file = image.fp if image.format == "WEBP" and hasattr(image, "fp") else None
    compressed = file.getbuffer().nbytes if isinstance(file, io.BytesIO) else 0
    copies = 3 if frame and image.format != "TIFF" else 1
    if isinstance(image, TiffFile):
        copies += image.is_turned
    return (
        _WEBP_COPIES * compressed
        + (image.piece_bytes if isinstance(image, TiffFile) else 0)
        + copies * pillow_bytes(image.mode, width, height)
        + width * height * beside
        + conversion_bytes(image.mode, width, height)
    )
