"""Pixels of TIFF pages that Pillow misreads or refuses, as 8-bit images: scaled, without alpha, in the file's colour space."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bioclip_core.errors import ImageError
from bioclip_core.images.colours import SampleKind, Scale, scale_of
from bioclip_core.images.tiff_header import INK_SET, PALETTE, STRIP_BYTES, SUBSAMPLING, PageLayout
from bioclip_core.images.tiff_samples import COMPRESSIONS, LOSSLESS, NONE, Samples

_KINDS: dict[int, SampleKind] = {1: "unsigned", 2: "signed", 3: "float"}
_COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3, 9: 3}
"""Number of colour samples per photometric interpretation that is read here; the samples behind them are extra."""
_INTERPRETATIONS = {
    0: "grey", 1: "grey", 2: "RGB", 3: "palette", 4: "mask", 5: "CMYK", 6: "YCbCr", 8: "CIELab", 9: "ICCLab", 10: "ITULab",
    32803: "camera RAW (colour filter array)", 32844: "LogL", 32845: "LogLuv", 34892: "camera RAW (linear)",
}  # fmt: skip


def described(page: PageLayout) -> str:
    """Return what kind of TIFF a page is, for a message: "16-bit planar RGB TIFF with LZW compression"."""
    bits = f"{page.bits}-bit" if page.bits else "mixed-depth"
    kind = {1: "", 2: " signed", 3: " floating-point", 5: " complex", 6: " complex"}.get(page.sample_format, " mixed")
    colours = _INTERPRETATIONS.get(page.photometric, f"photometric {page.photometric}")
    more = page.samples - _COLOURS.get(page.photometric, page.samples)
    extra = f" and {more} extra sample{'s' if more > 1 else ''}" if more > 0 else ""
    coded = COMPRESSIONS.get(page.compression, f"type {page.compression}")
    compression = f" with {coded} compression" if page.compression != NONE else ""
    volume = " of several slices" if page.volume else ""
    return f"{bits}{kind}{' planar' if page.planar else ''} {colours}{extra} TIFF{volume}{compression}"


def check_supported(file: BinaryIO, page: PageLayout) -> None:
    """Refuse a kind of page that cannot be read here.

    Raises:
        ImageError: with the kind and the reason.
    """
    allowed = {1: range(1, 65), 2: (8, 16, 32, 64), 3: (16, 32, 64)}.get(page.sample_format, ())
    if page.photometric in (8, 9):
        allowed = (8, 16)
    colours = _COLOURS.get(page.photometric, 0)
    reason = ""
    if page.photometric in (32803, 34892):
        reason = "it is developed if its name has the suffix .dng and the extra raw is installed"
    elif not colours or page.volume:
        reason = "save it as grey or RGB"
    elif page.bits not in allowed or (page.bits > 16 and page.bits not in (32, 64)):
        reason = "save it with 8 or 16 bits per sample"
    elif page.compression != NONE and page.compression not in LOSSLESS:
        reason = "save it without compression or with LZW"
    elif page.samples < colours or page.samples > 64:
        reason = f"its header announces {page.samples} samples per pixel"
    elif page.predictor not in (1, 2, 3) or (page.predictor == 2 and page.bits not in (8, 16, 32, 64)):
        reason = f"predictor {page.predictor} is unknown for it"
    elif page.predictor == 3 and page.sample_format != 3:
        reason = "its predictor is for floating-point samples"
    elif page.photometric == 5 and page.directory.number(INK_SET, 1) != 1:
        reason = "its inks are not cyan, magenta, yellow and black"
    elif page.photometric == 6 and _is_subsampled(file, page):
        reason = "its chroma is subsampled; save it as RGB"
    elif page.photometric == 3 and (page.bits > 16 or page.sample_format != 1):
        reason = "a palette has at most 65,536 colours"
    if reason:
        raise ImageError(f"not supported: {described(page)}; {reason}", stage="open")


def _is_subsampled(file: BinaryIO, page: PageLayout) -> bool:
    """True for chroma of fewer samples. Without the tag the definition says so, but some programs just leave it out."""
    stated = page.directory.numbers(file, SUBSAMPLING)
    sizes = page.directory.array(file, STRIP_BYTES, page.height)
    is_whole = page.compression == NONE and int(sizes.sum()) == page.samples * page.width * page.height * page.bits // 8
    return stated != (1, 1) and not (not stated and is_whole)


def read(file: BinaryIO, page: PageLayout, most_bytes: int) -> Image.Image:
    """Return a page as an image of 8 bits, as it is stored: not turned upright, without alpha and other extra samples.

    Args:
        file: the TIFF.
        page: the layout of the page.
        most_bytes: limit of the uncompressed samples.

    Raises:
        ImageError: if this kind of page cannot be read, is over the limit, or is damaged.
    """
    check_supported(file, page)
    colours = _COLOURS[page.photometric]
    alpha = _associated_alpha(page, colours)
    samples = Samples.of(file, page, [*range(colours), *([alpha] if alpha else [])], most_bytes)
    if page.photometric == 3:
        return Image.fromarray(_filled(samples, _palette(file, page).__getitem__)[:, :, 0])
    if page.photometric in (8, 9):
        return _image("LAB", _filled(samples, lambda values: _lab(values, page.photometric)))
    scale = _scale(page, samples, colours)
    grey = (lambda values: _without_alpha(values, scale)) if alpha else scale.grey
    pixels = _filled(samples, lambda values: _finite(grey(values), values[..., :colours], page.photometric == 0))
    if page.photometric in (5, 6):
        return _image("CMYK" if page.photometric == 5 else "YCbCr", pixels)
    return Image.fromarray(pixels if colours == 3 else pixels[..., 0])


# -- samples to 8 bits -------------------------------------------------------------------------------------------------


def _associated_alpha(page: PageLayout, colours: int) -> int | None:
    """Return the number of the sample by which the colours were multiplied; None without one."""
    if page.photometric not in (1, 2) or 1 not in page.extra:
        return None
    alpha = colours + page.extra.index(1)
    return alpha if alpha < page.samples else None


def _filled(samples: Samples, grey: Callable[[NDArray[Any]], NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return the page as 8 bits, converted band by band."""
    pixels: NDArray[np.uint8] | None = None
    for start, values in samples.bands():
        band = grey(values)
        if pixels is None:
            pixels = np.empty((samples.page.height, *band.shape[1:]), np.uint8)
        pixels[start : start + len(band)] = band
    assert pixels is not None
    return pixels


def _image(mode: str, pixels: NDArray[np.uint8]) -> Image.Image:
    return Image.frombytes(mode, (pixels.shape[1], pixels.shape[0]), pixels.tobytes())


def _scale(page: PageLayout, samples: Samples, colours: int) -> Scale:
    """Return the scale of the colour samples; the pixels are read for it where the format does not define it."""
    kind = _KINDS[page.sample_format]
    if kind == "unsigned" and page.bits <= 16 and page.white == 2**page.bits - 1:
        return Scale(0, page.white)
    low, high = np.inf, -np.inf
    for _, values in samples.bands():
        of_colours = values[..., :colours]
        finite = of_colours[np.isfinite(of_colours)] if of_colours.dtype.kind == "f" else of_colours
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    if kind == "unsigned" and page.bits <= 16:
        return Scale(0, page.white if high <= page.white else 2**page.bits - 1)
    return scale_of(kind, page.bits, low, high) if low <= high else Scale(0, 1)


def _without_alpha(values: NDArray[Any], scale: Scale) -> NDArray[np.uint8]:
    """Return colours that were multiplied by the last sample as they were before."""
    fractions = scale.fractions(values)
    opacity = fractions[..., -1:]
    colours = fractions[..., :-1] / np.where(opacity > 0, opacity, np.float32(1))
    return (colours.clip(0, 1) * np.float32(255)).round().astype(np.uint8)


def _lab(values: NDArray[Any], photometric: int) -> NDArray[np.uint8]:
    """Return lightness as 0 to 255, and the signed opponent colours as bytes."""
    if values.dtype.itemsize == 1:
        light, opponents = values[..., :1], values[..., 1:]
    elif photometric == 8:
        light = _as_bytes(values[..., :1])
        opponents = ((values[..., 1:].astype(np.int32) ^ 0x8000) + 128 >> 8).clip(0, 255).astype(np.uint8) ^ 0x80
    else:  # ICCLab: white is 0xFF00, the opponent colours have an offset
        light, opponents = (values[..., :1] >> 8).astype(np.uint8), (values[..., 1:] >> 8).astype(np.uint8)
    if photometric == 9:
        opponents = opponents ^ 0x80
    return np.concatenate([light, opponents], axis=-1).astype(np.uint8)


def _palette(file: BinaryIO, page: PageLayout) -> NDArray[np.uint8]:
    """Return the colours of a palette, N×3."""
    count = 2**page.bits
    values = np.array(page.directory.numbers(file, PALETTE, 3 * count), np.uint16)
    if len(values) < 3 * count:
        raise ImageError(f"the file is damaged: its palette has {len(values):,} of {3 * count:,} values")
    values = values.reshape(3, count).T
    # The values have 16 bits by definition, but many programs write 8.
    return np.ascontiguousarray(values.astype(np.uint8) if values.max() < 256 else _as_bytes(values))


def _as_bytes(values: NDArray[np.uint16]) -> NDArray[np.uint8]:
    return Scale(0, 65535).grey(values)


def _finite(greys: NDArray[np.uint8], values: NDArray[Any], inverted: bool) -> NDArray[np.uint8]:
    """Return the greys, inverted if white is the smallest value, and black where a float is not a number."""
    greys = 255 - greys[..., : values.shape[-1]] if inverted else greys[..., : values.shape[-1]]
    if values.dtype.kind == "f":
        greys[~np.isfinite(values)] = 0
    return greys
