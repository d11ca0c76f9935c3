"""Fingerprints of images and regions: the sha256 of a file, and a perceptual hash and colours of each region."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bioclip_core.errors import BioclipError
from bioclip_core.images.decoding import decode_regions, read_bytes
from bioclip_core.images.memory import image_memory
from bioclip_core.images.unexpected import contained
from bioclip_core.preprocessing import Preprocessing
from bioclip_core.process.quiet import importing
from bioclip_training.catalog.rows import Box

HASH_SIDE = 12
"""The hash holds the 12 × 12 lowest frequencies. With 8 × 8, the library's default, silhouettes of leaves of different species have
equal hashes; with 16 × 16, copies of smooth images differ as much as other images do."""
HASH_BYTES = HASH_SIDE * HASH_SIDE // 8
COLOUR_SIDE = 4
"""Cells on each side of the grid of mean colours, since the perceptual hash ignores colour."""
COLOUR_BYTES = COLOUR_SIDE * COLOUR_SIDE * 3
INNER_MARGINS = (0.02, 0.04)
"""Margins of each side, as shares of it, that inner hashes leave out: the hash of a copy that lost its border is that of the inner part."""
LOOK_AT = Preprocessing(size=HASH_SIDE * 4, interpolation="bilinear", resize_mode="squash")
"""The pixels that looks are made of."""
_FLAT = 2.0  # grey levels of 255; below this deviation the lowest frequencies are noise


@dataclass(frozen=True, slots=True)
class Look:
    """Perceptual hash and colours of a region. Empty for a region of one colour, of which only equal bytes are duplicates."""

    hashed: bytes = b""
    colours: bytes = b""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Fingerprint of an image file: its sha256 (hex) and the look of each region."""

    sha256: str
    looks: tuple[Look, ...]
    moment: tuple[str, float] | None = None
    """Camera and time in seconds; None if not asked for or not in the file."""
    is_missing: bool = False
    """True for an image that only its sha256 is known of."""


def fingerprint(
    file: Path,
    boxes: Sequence[Box | None],
    frame: int,
    *,
    perceptual: bool,
    moment_of: Callable[[bytes], tuple[str, float] | None] | None = None,
) -> Fingerprint:
    """Read and decode an image once. Every region is decoded, so that a damaged one is found now and not in training.

    Raises:
        ImageError: if the file cannot be read or decoded.
        UsageError: if a box lies outside the image.
    """
    with contained(str(file)):
        with image_memory():
            data = read_bytes(file)
            crops = decode_regions(data, boxes, LOOK_AT, frame=frame)
        looks = tuple(look_of(crop) for crop in crops) if perceptual else (Look(),) * len(crops)
        return Fingerprint(hashlib.sha256(data).hexdigest(), looks, moment_of(data) if moment_of else None)


def check_library() -> None:
    """Check that ImageHash is installed, before any work is done.

    Raises:
        BioclipError: with what to install.
    """
    try:
        with importing():
            import imagehash  # noqa: F401
    except ImportError:
        raise BioclipError(
            "near duplicates are found with ImageHash, which is not installed: pip install 'bioclip-plugin[train]', "
            "or look for identical files only with --near-distance 0"
        ) from None


def look_of(crop_HWC: NDArray[np.uint8]) -> Look:
    """Return the look of a region, from its pixels at the size of ``LOOK_AT``."""
    return _look_of(crop_HWC, ())[0]


def whole_look_of(crop_HWC: NDArray[np.uint8]) -> tuple[Look, bytes]:
    """Return the look of a region, and its perceptual hashes without margins, one for each of ``INNER_MARGINS``.

    Args:
        crop_HWC: pixels of the region at the size of ``LOOK_AT``.
    """
    return _look_of(crop_HWC, INNER_MARGINS)


def _look_of(crop_HWC: NDArray[np.uint8], margins: Sequence[float]) -> tuple[Look, bytes]:
    image = Image.fromarray(crop_HWC)
    grey = image.convert("L")
    if float(np.asarray(grey).std()) < _FLAT:
        return Look(), b""
    colours = image.resize((COLOUR_SIDE, COLOUR_SIDE), Image.Resampling.BOX)
    width, height = grey.size
    inner = [
        grey.resize(
            grey.size, Image.Resampling.BICUBIC,
            box=(width * margin, height * margin, width * (1 - margin), height * (1 - margin)),
        )
        for margin in margins
    ]  # fmt: skip
    return Look(_perceptual_hash(grey), np.asarray(colours).tobytes()), b"".join(map(_perceptual_hash, inner))


def _perceptual_hash(grey: Image.Image) -> bytes:
    import imagehash

    return np.packbits(imagehash.phash(grey, hash_size=HASH_SIDE).hash).tobytes()
