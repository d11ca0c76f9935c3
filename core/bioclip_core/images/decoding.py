"""Decoding of image files to the model's input: RGB crops, upright, within a pixel budget."""

from __future__ import annotations

import io
import os
import stat
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bioclip_core.errors import ImageError
from bioclip_core.files.moved import windows_hint
from bioclip_core.files.near_names import near_hint
from bioclip_core.images.boxes import Box
from bioclip_core.images.budget import (
    BYTES_PER_PIXEL,
    MAX_DECODED_PIXELS,
    MAX_FILE_BYTES,
    MAX_LISTED_PIXELS,
    check_sides,
    over_budget,
)
from bioclip_core.images.colours import resizable
from bioclip_core.images.crops import Deferred, Picture, checked, turned_upright, upright
from bioclip_core.images.decoded import Decoded
from bioclip_core.images.jpeg2000 import is_jpeg2000, opened_jpeg2000
from bioclip_core.images.memory import image_memory, take_memory
from bioclip_core.images.needs import conversion_bytes, decoding_bytes, resize_bytes
from bioclip_core.images.netpbm import is_netpbm, opened_netpbm
from bioclip_core.images.pillow_files import JpegFile, TiffFile, opened
from bioclip_core.images.readers import reopened
from bioclip_core.images.reasons import reasons
from bioclip_core.images.tiff import is_tiff, opened_tiff
from bioclip_core.preprocessing import Preprocessing

_HEADER_BYTES = 1 << 18  # in which the header of nearly any photo ends
_JPEG_SCALES = (8, 4, 2, 1)
"""Fractions that the decoder offers."""
_OVERSAMPLING = 2
"""Size of a region that is decoded at a fraction, in multiples of the model's size."""


def read_bytes(path: str | os.PathLike[str], span: tuple[int, int] | None = None) -> bytes:
    """Return the bytes of a file. They belong to the memory of the image that this thread decodes, if it has begun one.

    Args:
        path: the file.
        span: offset and length of a part; None is the whole file.

    Raises:
        ImageError: with stage ``read``, if the file is missing, empty, not a regular file, not readable, too large, or shorter
            than the part.
    """
    path = Path(path)
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ImageError("it is a folder, not a file", stage="read")
        if not stat.S_ISREG(status.st_mode):  # reading a pipe could wait for ever
            raise ImageError("it is a device or a pipe, not a file", stage="read")
        offset, size = span or (0, status.st_size)
        if size > MAX_FILE_BYTES:
            raise ImageError(f"the file has {size:,} bytes; up to {MAX_FILE_BYTES:,} are read", stage="read")
        take_memory(size)
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(-1 if span is None else size)
    except FileNotFoundError:
        raise ImageError(
            f"the file does not exist (any more){near_hint(path) or windows_hint(path)}", stage="read"
        ) from None
    except PermissionError:
        raise ImageError("no permission to read the file", stage="read") from None
    except OSError as error:
        raise ImageError(f"the file cannot be read: {error.strerror or error}", stage="read") from error
    except ValueError as error:
        raise ImageError(f"this cannot be the name of a file: {error}", stage="read") from error
    except MemoryError as error:
        raise ImageError("there is not enough memory to read it", stage="read") from error
    if span is not None and len(data) < size:
        raise ImageError(
            f"the file that holds it is truncated: {len(data):,} of {size:,} bytes are there", stage="read"
        )
    if not data:
        raise ImageError("the file is empty (0 bytes)", stage="read")
    return data


def decode_regions(
    data: bytes,
    boxes: Sequence[Box | None],
    preprocessing: Preprocessing,
    *,
    frame: int = 0,
    max_pixels: int = MAX_DECODED_PIXELS,
) -> list[NDArray[np.uint8]]:
    """Return the regions of an image file as the model's input before normalisation: one size×size×3 RGB array per box.

    If ``preprocessing.decode`` is ``reduced``, JPEG and JPEG 2000 files are decoded at a fraction at which the smallest region
    keeps at least twice ``size`` on each side (if it has that).

    Args:
        data: the file's bytes.
        boxes: normalised x, y, width, height of the EXIF-upright image; None is the whole image.
        preprocessing: preprocessing of the model.
        frame: frame or page, from 0.
        max_pixels: limit of the decoded image.

    Raises:
        ImageError: if the image cannot be decoded, with the reason.
        UsageError: if a box is outside the image.
    """
    wanted = [checked(box) for box in boxes]
    with reasons(data), image_memory():
        return decoded_file(data, wanted, preprocessing, frame=frame, max_pixels=max_pixels).crops(
            wanted, preprocessing
        )


def decoded_file(
    data: bytes,
    boxes: Sequence[Box],
    preprocessing: Preprocessing,
    *,
    frame: int = 0,
    max_pixels: int = MAX_DECODED_PIXELS,
) -> Decoded:
    """Return the pixels of an image file; the arguments and errors are those of :func:`decode_regions`."""
    with reasons(data), image_memory():
        image = _opened(data, frame)
        profile = image.profile if isinstance(image, Deferred) else image.info.get("icc_profile")
        return Decoded.of(_picture(image, boxes, preprocessing, max_pixels, frame), profile)


def prepare(image: Image.Image, boxes: Sequence[Box | None], preprocessing: Preprocessing) -> list[NDArray[np.uint8]]:
    """Return the regions of an image in memory, as :func:`decode_regions` does; its EXIF orientation is applied.

    Raises:
        ImageError: if its pixels cannot be loaded.
        UsageError: if a box is outside the image.
    """
    wanted = [checked(box) for box in boxes]
    with reasons(b""), image_memory():
        return decoded_image(image, preprocessing).crops(wanted, preprocessing)


def decoded_image(image: Image.Image, preprocessing: Preprocessing) -> Decoded:
    """Return the pixels of an image in memory.

    Raises:
        ImageError: if they cannot be loaded.
    """
    with reasons(b""), image_memory():
        image = right_pixels(image)
        orientation = _orientation(image)
        resize = resize_bytes(*image.size, orientation, preprocessing)
        take_memory(conversion_bytes(image.mode, *image.size) + resize)
        image.load()
        if image.mode not in ("P", "PA") and "transparency" in image.info:
            image = image.copy()  # the caller's image must not change
            del image.info["transparency"]
        picture = Picture(image, image.width, image.height, orientation)
        return Decoded.of(picture, image.info.get("icc_profile"))


def right_pixels(image: Image.Image) -> Image.Image:
    """Return an image with its pixels, upright as our own reader decodes it if Pillow opened its file and would misread it.

    Raises:
        ImageError: if it is of a kind that cannot be read, damaged, or over the budget.
    """
    with reasons(b""), image_memory():
        deferred = reopened(image)
        if deferred is None:
            if getattr(image, "tile", None):  # of a file that Pillow opened and did not decode yet
                _check_budget(image.size, image.width * image.height, MAX_DECODED_PIXELS)
                take_memory(decoding_bytes(image, 0))
            image.load()
            return image
        size = (deferred.width, deferred.height)
        _check_budget(size, size[0] * size[1], MAX_DECODED_PIXELS)
        take_memory(deferred.needed_bytes)
        decoded = turned_upright(deferred.load(BYTES_PER_PIXEL * MAX_DECODED_PIXELS), deferred.orientation)
        decoded.info = {"icc_profile": deferred.profile} if deferred.profile else {}
        return decoded


def upright_size(data: bytes, *, frame: int = 0) -> tuple[int, int]:
    """Return width and height of an image file in pixels, after its EXIF orientation is applied.

    Raises:
        ImageError: if it is not an image.
    """
    with reasons(data):
        image = _opened(data, frame)
        width, height = upright(image.width, image.height, _orientation(image))
        return int(width), int(height)


def stored_size(path: str | os.PathLike[str]) -> tuple[int, int, int]:
    """Return width and height of the pixels of an image file as they are stored, and the EXIF orientation.

    Of most files only the beginning is read.

    Raises:
        ImageError: if it cannot be read, or is not an image.
    """
    path = Path(path)
    size = path.stat().st_size if path.is_file() else 0
    if size > _HEADER_BYTES:
        # Anything may happen in a file that is cut here; what is wrong with the file itself is found below.
        with suppress(Exception):
            image = _opened(read_bytes(path, (0, _HEADER_BYTES)), 0)
            return image.width, image.height, _orientation(image)
    data = read_bytes(path)
    with reasons(data):
        image = _opened(data, 0)
        return image.width, image.height, _orientation(image)


# -- opening, within our own pixel budget ------------------------------------------------------------------------------


def _opened(data: bytes, frame: int) -> Image.Image | Deferred:
    """Return the image after reading its header, without its pixels."""
    if is_tiff(data):
        return opened_tiff(io.BytesIO(data), frame)
    if is_jpeg2000(data) and (deferred := opened_jpeg2000(data)) is not None:
        return deferred
    if frame == 0 and is_netpbm(data[:16]):
        return opened_netpbm(data)
    return opened(data, frame)


def _picture(
    image: Image.Image | Deferred, boxes: Sequence[Box], preprocessing: Preprocessing, limit: int, frame: int
) -> Picture:
    if not isinstance(image, Deferred):
        return _loaded(image, boxes, preprocessing, limit, frame)
    size = (image.width, image.height)
    _check_budget(size, size[0] * size[1], limit)
    take_memory(image.needed_bytes + resize_bytes(*size, image.orientation, preprocessing))
    return Picture(image.load(BYTES_PER_PIXEL * limit), *size, image.orientation)


def _loaded(
    image: Image.Image, boxes: Sequence[Box], preprocessing: Preprocessing, max_pixels: int, frame: int
) -> Picture:
    """Return the picture with its pixels, decoded at the smallest size that suffices for the smallest box."""
    size = image.size
    max_pixels //= 2 if image.mode in ("I", "F") else 1  # they take longer, and more memory
    if preprocessing.decode == "full" or image.format not in ("JPEG", "JPEG2000"):
        _check_budget(size, size[0] * size[1], max_pixels)
        resize = resize_bytes(*size, 1, preprocessing)
        take_memory(decoding_bytes(image, frame) + _kept_bytes(image) + resize)
        image.load()
        if image.mode not in ("P", "PA"):
            image.info.pop("transparency", None)  # unused, and Pillow warns about some values
        return Picture(image, image.width, image.height, _orientation(image))
    orientation = _orientation(image)
    width, height = upright(*size, orientation)
    smallest = min((min(w * width, h * height) for _, _, w, h in boxes), default=min(size))
    scale = _reduce(image, max(1, int(smallest / (_OVERSAMPLING * preprocessing.size))))
    # A JPEG of several scans keeps every coefficient until its last one, whatever the fraction.
    kept = _kept_bytes(image)
    _check_budget(size, size[0] * size[1] // (1 if kept else scale**2), max_pixels)
    take_memory(decoding_bytes(image, frame) + kept + resize_bytes(*image.size, orientation, preprocessing))
    image.load()
    picture = Picture(image, size[0] / scale, size[1] / scale, orientation)
    if image.format == "JPEG" or scale == 1:
        return picture
    # JPEG averages scale×scale pixels, but JPEG 2000 keeps every scale-th sample of its low-pass: sample i belongs to the
    # middle of pixel i·scale, so everything is further to the right and bottom in the reduced grid.
    return replace(picture, image=_edges_repeated(resizable(image)), shift=0.5 - 0.5 / scale)


def _kept_bytes(image: Image.Image) -> int:
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
    taken = next(offered for offered in _JPEG_SCALES if offered <= scale)
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


def _check_budget(size: tuple[int, int], decoded: int, max_pixels: int) -> None:
    check_sides(*size)
    for pixels, allowed in ((decoded, max_pixels), (size[0] * size[1], MAX_LISTED_PIXELS)):
        if pixels > allowed:
            raise over_budget(
                f"its header announces {size[0]:,} × {size[1]:,} pixels",
                f"{allowed / 1e6:,.0f} megapixels for this kind of file",
            )


# -- EXIF orientation --------------------------------------------------------------------------------------------------


def _orientation(image: Image.Image | Deferred) -> int:
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
