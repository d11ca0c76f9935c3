"""Image files to the model's input: read, held to a pixel budget, decoded at a fraction, upright, cropped, RGB."""

from __future__ import annotations

import io
import os
import stat
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from bioclip_core.errors import BioclipError, ImageError
from bioclip_core.images.colours import resizable, rgb
from bioclip_core.images.crops import Box, Picture, checked, padded, resized, upright

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bioclip_core.preprocessing import Preprocessing

MAX_FILE_BYTES = 2 * 1024**3
"""A larger file is not read into memory; 250 megapixels of uncompressed 16-bit RGB are 1.5 GB."""
MAX_DECODED_PIXELS = 256_000_000
"""Pixels that one image may have once decoded: 1 GB as RGB. A TIFF of 250 megapixels passes, a PNG of 300 does not."""
MAX_LISTED_PIXELS = 1_000_000_000
"""Pixels that a header may announce where the image is decoded at a fraction (JPEG, JPEG 2000): seconds, not memory."""

# Formats that Pillow decodes itself. Left out on purpose: those that start another program (EPS), that only name a
# file type (HDF5, GRIB), and those without a signature. HEIF is there where the host has registered a plugin for it.
FORMATS = ("JPEG", "PNG", "TIFF", "GIF", "BMP", "WEBP", "JPEG2000", "PPM", "AVIF", "HEIF", "PSD", "QOI")

_JPEG_SCALES = (8, 4, 2, 1)  # that the decoder offers
_OVERSAMPLING = 2  # a region decoded at a fraction keeps this many times the model's size on each side


def read_bytes(path: str | os.PathLike[str], span: tuple[int, int] | None = None) -> bytes:
    """The bytes of a file.

    Args:
        path: the file.
        span: offset and length of the part that is wanted; None is the whole file.

    Raises:
        ImageError: with stage ``read``, if it is gone, empty, no file, not ours to read, too large, or ends before the part does.
    """
    path = Path(path)
    try:
        about = path.stat()
        if stat.S_ISDIR(about.st_mode):
            raise ImageError("it is a folder, not a file", stage="read")
        if not stat.S_ISREG(about.st_mode):  # reading a pipe would wait for ever
            raise ImageError("it is a device or a pipe, not a file", stage="read")
        offset, size = span or (0, about.st_size)
        if size > MAX_FILE_BYTES:
            raise ImageError(f"the file has {size:,} bytes; up to {MAX_FILE_BYTES:,} are read", stage="read")
        if span is None:
            data = path.read_bytes()
        else:
            with path.open("rb") as file:
                file.seek(offset)
                data = file.read(size)
    except FileNotFoundError:
        raise ImageError("the file does not exist (any more)", stage="read") from None
    except PermissionError:
        raise ImageError("no permission to read the file", stage="read") from None
    except OSError as error:
        raise ImageError(f"the file cannot be read: {error.strerror or error}", stage="read") from error
    except ValueError as error:
        raise ImageError(f"this cannot be the name of a file: {error}", stage="read") from error
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
    """Each region of an image file as the model's input before normalisation: one size×size×3 array of RGB a box.

    JPEG and JPEG 2000 files are decoded at a fraction where ``preprocessing.decode`` is ``reduced``, such that the
    smallest region keeps at least twice ``size`` on each side (where it has that).

    Args:
        data: the file's bytes.
        boxes: normalised x, y, width, height of the EXIF-upright image; None is the whole image.
        frame: frame or page, from 0.
        max_pixels: budget for the decoded image.

    Raises:
        ImageError: if the image cannot be decoded, with the reason.
        UsageError: if a box lies outside the image.
    """
    wanted = [checked(box) for box in boxes]
    with _reasons(data):
        image = _opened(data, frame)
        picture = _loaded(image, wanted, preprocessing, max_pixels)
        return _crops(picture, wanted, preprocessing, image.info.get("icc_profile"))


def prepare(image: Image.Image, boxes: Sequence[Box | None], preprocessing: Preprocessing) -> list[NDArray[np.uint8]]:
    """The same for an image in memory, decoded fully; its EXIF orientation, where it has one, is applied.

    Raises:
        ImageError: if its pixels cannot be had.
        UsageError: if a box lies outside the image.
    """
    wanted = [checked(box) for box in boxes]
    with _reasons(b""):
        orientation = _orientation(image)
        image.load()
        if image.mode not in ("P", "PA") and "transparency" in image.info:
            image = image.copy()  # not ours to change
            del image.info["transparency"]
        picture = Picture(image, image.width, image.height, orientation)
        return _crops(picture, wanted, preprocessing, image.info.get("icc_profile"))


def upright_size(data: bytes, *, frame: int = 0) -> tuple[int, int]:
    """Width and height of an image file in pixels, once its EXIF orientation is applied.

    Raises:
        ImageError: if it is no image.
    """
    with _reasons(data):
        image = _opened(data, frame)
        width, height = upright(image.width, image.height, _orientation(image))
        return int(width), int(height)


def _crops(
    picture: Picture, boxes: Sequence[Box], preprocessing: Preprocessing, profile: Any
) -> list[NDArray[np.uint8]]:
    picture = replace(picture, image=resizable(picture.image))
    icc = profile if isinstance(profile, bytes) else None
    return [np.array(padded(rgb(resized(picture, box, preprocessing), icc), preprocessing)) for box in boxes]


# -- opening, within a pixel budget of our own -------------------------------------------------------------------------
#
# Image.open warns above 89 megapixels and refuses above 179, by limits of the whole process that belong to the host.
# Asking the format's own reader leaves them alone and takes the budget from here.


class _Jpeg(JpegImageFile):
    """A JPEG whose EXIF is not asked for a resolution: a block of rubbish would be reported on standard error."""

    def _read_dpi_from_exif(self) -> None:
        return


class _Tiff(TiffImageFile):
    """A TIFF that is loaded without Pillow's own limit; ours was checked before."""

    def load_prepare(self) -> None:
        size = getattr(self, "_tile_size", None)
        if size is not None and getattr(self, "_im", None) is None:
            self.im = Image.core.new(self.mode, size)  # type: ignore[attr-defined]
        super().load_prepare()


def _opened(data: bytes, frame: int) -> Image.Image:
    """The image with its header read and its pixels not."""
    stream = io.BytesIO(data)
    if data.startswith(b"\xff\xd8\xff") and frame == 0:
        return _Jpeg(stream)  # not by way of Pillow's factory, which looks for the further frames of an MPO
    if data.startswith((b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")):
        image: Image.Image = _Tiff(stream)
    else:
        image = _by_signature(stream, data[:16])
    if frame:
        try:
            image.seek(frame)
        except EOFError:
            fresh = _by_signature(io.BytesIO(data), data[:16])  # a reader that went too far miscounts
            count = getattr(fresh, "n_frames", 1)
            raise ImageError(f"there is no frame {frame}: the file has {count}, counted from 0") from None
    return image


def _by_signature(stream: io.BytesIO, prefix: bytes) -> Image.Image:
    for name in FORMATS:
        if name not in Image.OPEN:
            Image.init()
        factory, accepts = Image.OPEN.get(name, (None, None))
        if factory is not None and accepts is not None and accepts(prefix) is True:
            stream.seek(0)
            return factory(stream, "")
    raise UnidentifiedImageError


def _loaded(image: Image.Image, boxes: Sequence[Box], preprocessing: Preprocessing, max_pixels: int) -> Picture:
    """The picture with its pixels, decoded at the largest fraction that serves the smallest box."""
    size = image.size
    if preprocessing.decode == "full" or image.format not in ("JPEG", "JPEG2000"):
        _check_budget(size, size[0] * size[1], max_pixels)
        image.load()
        if image.mode not in ("P", "PA"):
            image.info.pop("transparency", None)  # of no use, and Pillow warns about some of them
        return Picture(image, image.width, image.height, _orientation(image))
    orientation = _orientation(image)
    width, height = upright(*size, orientation)
    smallest = min((min(w * width, h * height) for _, _, w, h in boxes), default=min(size))
    scale = _reduce(image, max(1, int(smallest / (_OVERSAMPLING * preprocessing.size))))
    # A progressive JPEG keeps every coefficient until its last scan, at whatever fraction it is decoded.
    decoded = size[0] * size[1] // (1 if image.info.get("progressive") else scale**2)
    _check_budget(size, decoded, max_pixels)
    image.load()
    picture = Picture(image, size[0] / scale, size[1] / scale, orientation)
    if image.format == "JPEG" or scale == 1:
        return picture
    # Of JPEG 2000's low-pass every scale-th sample is kept, where JPEG averages scale×scale pixels: sample i stands for
    # the middle of pixel i·scale, so that everything lies further to the right and bottom in the reduced grid.
    return replace(picture, image=_edges_repeated(resizable(image)), shift=0.5 - 0.5 / scale)


def _edges_repeated(image: Image.Image) -> Image.Image:
    """The image with its last column and row once more, for what a shift moves beyond them."""
    width, height = image.size
    larger = Image.new(image.mode, (width + 1, height + 1))
    for at, strip, size in (
        ((0, 0), (0, 0, width, height), (width, height)),
        ((width, 0), (width - 1, 0, width, height), (1, height)),
        ((0, height), (0, height - 1, width, height), (width, 1)),
        ((width, height), (width - 1, height - 1, width, height), (1, 1)),
    ):
        larger.paste(image.resize(size, Image.Resampling.NEAREST, box=strip), at)
    return larger


def _reduce(image: Image.Image, scale: int) -> int:
    """Set the decoder to 1/scale or the next larger fraction that it offers; returns the scale taken."""
    if scale < 2:
        return 1
    if image.format == "JPEG2000":
        level = min(scale.bit_length() - 1, _wavelet_levels(image))
        power = 1 << level
        # Pillow rounds the reduced size to the nearest pixel where the decoder rounds up, and then calls the file
        # broken: a size that divides without rest leaves nothing to round.
        image._size = (-(-image.width // power) * power, -(-image.height // power) * power)
        image.reduce = level  # type: ignore[method-assign, assignment]
        return power
    taken = next(offered for offered in _JPEG_SCALES if offered <= scale)
    done = image.draft(None, (image.width // taken, image.height // taken))
    return taken if done else 1


def _wavelet_levels(image: Image.Image) -> int:
    """Decomposition levels of a JPEG 2000 codestream, of which no more can be left out (its COD marker)."""
    data = image.fp.getvalue()  # type: ignore[attr-defined]
    at: int = data.find(b"\xff\x4f\xff\x51") + 2
    while 2 <= at < len(data) - 12 and data[at] == 0xFF:
        if data[at + 1] == 0x52:
            return int(data[at + 9])
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return 0


def _check_budget(size: tuple[int, int], decoded: int, max_pixels: int) -> None:
    listed = size[0] * size[1]
    if decoded > max_pixels or listed > MAX_LISTED_PIXELS:
        allowed = max_pixels if decoded > max_pixels else MAX_LISTED_PIXELS
        raise ImageError(
            f"its header announces {size[0]:,} × {size[1]:,} pixels, which is over the budget of "
            f"{allowed / 1e6:,.0f} megapixels for this kind of file"
        )


# -- EXIF orientation --------------------------------------------------------------------------------------------------


def _orientation(image: Image.Image) -> int:
    """EXIF's orientation, 1 where there is none or where the block is rubbish."""
    if isinstance(image, _Tiff):
        return 1  # Pillow turns a TIFF upright while loading it
    if image.format == "PNG" and "exif" not in image.info:
        image.load()  # its EXIF may come after the pixels
    block = image.info.get("exif")
    return orientation_of(block) if isinstance(block, bytes) else 1


def orientation_of(exif: bytes) -> int:
    """The orientation (1 to 8) that an EXIF block states; 1 where it states none or cannot be understood.

    Read by hand, since Pillow reports a damaged block through ``warnings``, which are the host's.
    """
    start = 6 if exif.startswith(b"Exif\x00\x00") else 0
    order = {b"II": "<", b"MM": ">"}.get(exif[start : start + 2])
    if order is None:
        return 1
    try:
        (ifd,) = struct.unpack_from(order + "I", exif, start + 4)
        (count,) = struct.unpack_from(order + "H", exif, start + ifd)
        for entry in range(count):
            tag, _type, _count, value = struct.unpack_from(order + "HHIH", exif, start + ifd + 2 + 12 * entry)
            if tag == 0x0112:
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


# -- reasons -----------------------------------------------------------------------------------------------------------


@contextmanager
def _reasons(data: bytes) -> Iterator[None]:
    """Turn whatever a decoder raises into an ImageError that a person understands."""
    try:
        yield
    except BioclipError:
        raise
    except UnidentifiedImageError:
        raise ImageError(f"not an image that can be read (starts with {_beginning(data)})") from None
    except MemoryError as error:
        raise ImageError("there is not enough memory to decode it") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"it is larger than this kind of file may be: {error}") from error
    except Exception as error:  # damaged files make Pillow's readers raise nearly anything
        raise ImageError(_damage(error)) from error


def _damage(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    lowered = text.lower()
    if isinstance(error, EOFError) or "truncated" in lowered or "eof" in lowered.split():
        return f"the file is truncated: its data end before the image does ({text})"
    return f"the file is damaged: {text}"


def _beginning(data: bytes) -> str:
    start = data[:16]
    if start.isascii() and all(byte >= 32 or byte in b"\t\r\n" for byte in start):
        return f'the text "{" ".join(start.decode("ascii").split())}"'
    return f"the bytes {start[:8].hex(' ')}"
