"""Decoding of image files to the model's input: RGB crops, upright, within a pixel budget."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
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
)
from bioclip_core.images.crops import Deferred, Picture, checked, turned_upright, upright
from bioclip_core.images.decoded import Decoded
from bioclip_core.images.loading import check_pixels, opened_file, picture_of
from bioclip_core.images.memory import image_memory, take_memory
from bioclip_core.images.needs import conversion_bytes, decoding_bytes, resize_bytes
from bioclip_core.images.orientation import orientation_of, stored_orientation
from bioclip_core.images.readers import reopened
from bioclip_core.images.reasons import reasons
from bioclip_core.images.regions_alone import regions_alone
from bioclip_core.preprocessing import Preprocessing

__all__ = [
    "decode_regions", "decoded_file", "decoded_image", "orientation_of", "prepare", "read_bytes", "right_pixels", "sized_regions",
    "stored_size", "upright_size",
]  # fmt: skip

_HEADER_BYTES = 1 << 18  # in which the header of nearly any photo ends


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
    keeps at least twice ``size`` on each side (if it has that). Of a pyramid TIFF, each region comes from the smallest level at which
    it does, and of a tiled TIFF only the tiles under the regions are decoded.

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
    return _decoded_regions(data, boxes, preprocessing, frame=frame, max_pixels=max_pixels)[0]


def sized_regions(
    data: bytes, boxes: Sequence[Box | None], preprocessing: Preprocessing
) -> tuple[list[NDArray[np.uint8]], tuple[int, int]]:
    """Return the regions as :func:`decode_regions` does, with its errors, and width and height of the upright image in pixels."""
    crops, size = _decoded_regions(data, boxes, preprocessing, frame=0, max_pixels=MAX_DECODED_PIXELS)
    return crops, size or upright_size(data)


def _decoded_regions(
    data: bytes, boxes: Sequence[Box | None], preprocessing: Preprocessing, *, frame: int, max_pixels: int
) -> tuple[list[NDArray[np.uint8]], tuple[int, int] | None]:
    """Return the regions, and the size of the upright image unless only parts of it were opened."""
    wanted = [checked(box) for box in boxes]
    with reasons(data), image_memory():
        if preprocessing.decode == "reduced":
            found = regions_alone(data, wanted, preprocessing, frame=frame, max_pixels=max_pixels)
            if found is not None:
                parts = zip(found, wanted, strict=True)
                return [part.crops([box], preprocessing)[0] for part, box in parts], None
        decoded = decoded_file(data, wanted, preprocessing, frame=frame, max_pixels=max_pixels)
        picture = decoded.picture
        width, height = upright(picture.width, picture.height, picture.orientation)
        return decoded.crops(wanted, preprocessing), (int(width), int(height))


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
        image = opened_file(data, frame)
        profile = image.profile if isinstance(image, Deferred) else image.info.get("icc_profile")
        return Decoded.of(picture_of(image, boxes, preprocessing, max_pixels, frame), profile)


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
        orientation = stored_orientation(image)
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
                check_pixels(image.size, image.width * image.height, MAX_DECODED_PIXELS)
                take_memory(decoding_bytes(image, 0))
            image.load()
            return image
        size = (deferred.width, deferred.height)
        check_pixels(size, size[0] * size[1], MAX_DECODED_PIXELS)
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
        image = opened_file(data, frame)
        width, height = upright(image.width, image.height, stored_orientation(image))
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
            image = opened_file(read_bytes(path, (0, _HEADER_BYTES)), 0)
            return image.width, image.height, stored_orientation(image)
    data = read_bytes(path)
    with reasons(data):
        image = opened_file(data, 0)
        return image.width, image.height, stored_orientation(image)
