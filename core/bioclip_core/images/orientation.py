"""The EXIF orientation of an image, read by hand."""

from __future__ import annotations

import struct
from contextlib import suppress

from PIL import Image

from bioclip_core.images.crops import Deferred
from bioclip_core.images.pillow_files import TiffFile


def stored_orientation(image: Image.Image | Deferred) -> int:
    """Return the EXIF orientation, 1 for an image without one or with a damaged block."""
    if isinstance(image, Deferred):
        return image.orientation
    if isinstance(image, TiffFile):
        return 1  # Pillow rotates a TIFF upright while loading it
    if image.format == "PNG" and "exif" not in image.info:
        image.load()  # its EXIF may come after the pixels
    block = image.info.get("exif")
    return orientation_of(block) if isinstance(block, bytes) else 1


def orientation_of(exif: bytes) -> int:
    """Return the orientation (1 to 8) in an EXIF block; 1 if it has none or cannot be parsed.

    Parsed by hand, since Pillow reports a damaged block through ``warnings``, which belong to the host.
    """
    start = 6 if exif.startswith(b"Exif\x00\x00") else 0
    order = {b"II": "<", b"MM": ">"}.get(exif[start : start + 2])
    if order is None:
        return 1
    with suppress(struct.error):
        (ifd,) = struct.unpack_from(order + "I", exif, start + 4)
        (count,) = struct.unpack_from(order + "H", exif, start + ifd)
        for entry in range(count):
            tag, _type, _count, value = struct.unpack_from(order + "HHIH", exif, start + ifd + 2 + 12 * entry)
            if tag == 0x0112:
                return int(value) if 1 <= value <= 8 else 1
    return 1
