"""The reader that decodes a file, as part of the key under which its features are kept.

Features of files that Pillow reads right stay valid. Those of files that it misreads, which earlier versions left to it, must
not be used again: the key of such a file begins with a mark. So does that of a pyramid, of whose levels regions are decoded now:
features of whole pages, which earlier versions decoded, stay valid for the files whose results are stored, and are not mixed with new ones.
"""

from __future__ import annotations

import io
import mmap
from pathlib import Path
from typing import BinaryIO, cast

from PIL import Image

from bioclip_core.errors import ImageError
from bioclip_core.images.crops import Deferred
from bioclip_core.images.jpeg2000 import is_jpeg2000, is_misread_by_pillow, opened_jpeg2000
from bioclip_core.images.pyramids import has_levels
from bioclip_core.images.tiff import is_read_right_by_pillow, is_tiff, opened_tiff
from bioclip_core.images.tiff_header import layout_at

SUFFIXES = frozenset(".tif .tiff .jp2 .j2k .j2c .jpc .jpf .jpx".split())
"""Suffixes of the formats that have a reader of our own for some kinds of files."""

_MARKS = {(True, False): "00000001", (False, True): "00000002", (True, True): "00000003"}
"""Beginning of a marked key, in place of eight digits, for files of our own reader and for pyramids; few hashes begin so by chance."""
_MARK_DIGITS = 8


def content_key(sha256: str, by_own_reader: bool, is_pyramid: bool = False) -> str:
    """Return the key of a content with this hash (64 digits)."""
    mark = _MARKS.get((by_own_reader, is_pyramid))
    return sha256 if mark is None else mark + sha256[_MARK_DIGITS:]


def is_marked(key: str) -> bool:
    """True for the key of a content that our own reader decoded."""
    return key.startswith((_MARKS[True, False], _MARKS[True, True]))


def is_key_of(key: str, sha256: str) -> bool:
    """True if a key, marked or not, is that of the content with this hash."""
    return key[_MARK_DIGITS:] == sha256[_MARK_DIGITS:]


def has_smaller_levels(data: bytes, frame: int = 0) -> bool:
    """True for a pyramid TIFF, of whose levels regions are decoded unless every image is decoded in full.

    Args:
        data: the file's bytes; only its headers are read.
        frame: frame or page, from 0.
    """
    try:
        return is_tiff(data) and has_levels(io.BytesIO(data), frame)
    except ImageError:  # a damaged header
        return False


def is_read_by_us(data: bytes | mmap.mmap, frame: int = 0) -> bool:
    """True for a file that our own readers decode or refuse, and that Pillow would misread or refuse.

    Args:
        data: the file's bytes; only its header is read.
        frame: frame or page, from 0.
    """
    start = data[:16]
    try:
        if is_tiff(start):
            file = cast(BinaryIO, io.BytesIO(data) if isinstance(data, bytes) else data)
            return not is_read_right_by_pillow(file, layout_at(file, frame))
        return is_jpeg2000(start) and is_misread_by_pillow(data)
    except ImageError:  # a damaged header
        return False


def is_file_read_by_us(path: Path, frame: int = 0) -> bool:
    """Return the same for a file, of which only the headers are read; False if it cannot be opened."""
    try:
        if frame:  # a page, whose place is remembered for a file on disk
            with path.open("rb") as file:
                return is_tiff(file.read(4)) and not is_read_right_by_pillow(file, layout_at(file, frame))
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return is_read_by_us(data)
    except (OSError, ValueError, ImageError):
        return False


def reopened(image: Image.Image) -> Deferred | None:
    """Return an image that Pillow opened but has not decoded as our own reader decodes it; None if Pillow reads it right.

    Raises:
        ImageError: if it is of a kind that cannot be read.
    """
    file = getattr(image, "fp", None)
    if image.format not in ("TIFF", "JPEG2000") or file is None or not getattr(image, "tile", None):
        return None
    place = file.tell()
    try:
        file.seek(0)
        data = file.read()
    finally:
        file.seek(place)
    if not is_read_by_us(data, image.tell()):
        return None
    found = opened_tiff(io.BytesIO(data), image.tell()) if image.format == "TIFF" else opened_jpeg2000(data)
    return found if isinstance(found, Deferred) else None
