"""Files as Pillow opens them: the format by its signature, without Pillow's own limits, warnings and metadata."""

from __future__ import annotations

import io
from contextlib import suppress
from importlib import import_module

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from bioclip_core.errors import ImageError
from bioclip_core.images.budget import check_frame, check_sides
from bioclip_core.images.jpeg_structure import JpegStructure, jpeg_structure
from bioclip_core.images.png_chunks import SIGNATURE, sound_png
from bioclip_core.images.structure import check_structure
from bioclip_core.process.quiet import quiet

# Formats that Pillow decodes itself. Missing on purpose: formats that start another program (EPS), that Pillow only
# recognises (HDF5, GRIB), and those without a signature. HEIF works if the host has registered a plugin for it.
FORMATS = ("JPEG", "PNG", "TIFF", "GIF", "BMP", "WEBP", "JPEG2000", "PPM", "AVIF", "HEIF", "PSD", "QOI")
_MODULES = {
    "JPEG": "Jpeg", "PNG": "Png", "TIFF": "Tiff", "GIF": "Gif", "BMP": "Bmp", "WEBP": "WebP", "JPEG2000": "Jpeg2K", "PPM": "Ppm",
    "AVIF": "Avif", "PSD": "Psd", "QOI": "Qoi",
}  # fmt: skip
"""Pillow's own modules, imported one by one: ``Image.init`` would register every format that Pillow knows for the host."""

_JPEG = b"\xff\xd8\xff"

# Image.open warns above 89 megapixels and refuses above 179; these limits apply to the whole process, so they belong to the
# host. Calling the format's own reader does not need them, and the budget of the caller applies instead.


class JpegFile(JpegImageFile):
    """A JPEG without the resolution from its EXIF block: Pillow would report a damaged block on standard error."""

    structure = JpegStructure()
    """Its scans and their work."""

    def _read_dpi_from_exif(self) -> None:
        return


class TiffFile(TiffImageFile):
    """A TIFF without Pillow's own pixel limit, and without its camera metadata, which may be damaged."""

    if_it_fails = ""
    """Reason for which its pixels may not be loaded, other than damage."""
    piece_bytes = 0
    """Size of a strip or tile without compression, 0 for a file without compression."""
    is_turned = False
    """True if its orientation is another than 1."""

    def load(self) -> Image.core.PixelAccess | None:  # type: ignore[name-defined]
        try:
            return super().load()
        except OSError as error:
            if not self.if_it_fails:
                raise
            raise ImageError(f"{self.if_it_fails} ({error})", stage="open") from error

    def load_prepare(self) -> None:
        size = getattr(self, "_tile_size", None)
        if size is not None and getattr(self, "_im", None) is None:
            self.im = Image.core.new(self.mode, size)  # type: ignore[attr-defined]
        super().load_prepare()

    def load_end(self) -> None:
        ImageOps.exif_transpose(self, in_place=True)
        self.tag_v2.pop(ExifTags.Base.Orientation, None)


def opened(data: bytes, frame: int) -> Image.Image:
    """Return a file of any other format than TIFF as an image after reading its header, without its pixels.

    Args:
        data: the file's bytes.
        frame: number of the frame, from 0.

    Raises:
        UnidentifiedImageError: if it is not an image.
        ImageError: if there is no such frame.
    """
    if data.startswith(_JPEG):
        structure = _checked_jpeg(data)
        if frame == 0:
            jpeg = JpegFile(io.BytesIO(data))  # Pillow's factory would search for the further frames of an MPO
            jpeg.structure = structure
            return jpeg
    if data.startswith(SIGNATURE):
        return _png(data, frame)
    check_structure(data, frame)
    return _at_frame(_by_signature(data), data, frame)


def _at_frame(image: Image.Image, data: bytes, frame: int) -> Image.Image:
    if frame:
        check_sides(*image.size)
        check_frame(*image.size, frame)
        if (offset := _mpo_offset(image, frame)) is not None:
            _checked_jpeg(data, offset)
        try:
            image.seek(frame)
        except EOFError:
            # A reader that went too far counts wrongly.
            count = getattr(_by_signature(data), "n_frames", 1)
            raise ImageError(f"there is no frame {frame}: the file has {count}, counted from 0") from None
    return image


def _checked_jpeg(data: bytes, start: int = 0) -> JpegStructure:
    structure = jpeg_structure(data, start)
    structure.check()
    return structure


def _mpo_offset(image: Image.Image, frame: int) -> int | None:
    """Return the offset of a frame of an MPO; None for another file or a frame that it does not list."""
    offsets: list[int] = getattr(image, "_MpoImageFile__mpoffsets", [])
    return offsets[frame] if 0 < frame < len(offsets) else None


def _png(data: bytes, frame: int) -> Image.Image:
    file, profile = sound_png(data)
    image = _at_frame(PngImageFile(file, ""), data, frame)  # type: ignore[arg-type] # it reads, seeks and tells
    if profile is not None:
        image.info["icc_profile"] = profile
    return image


def _by_signature(data: bytes) -> Image.Image:
    prefix = data[:16]
    for name in FORMATS:
        if name not in Image.OPEN and name in _MODULES:
            with quiet(), suppress(ImportError):  # Pillow may be built without a library
                import_module(f"PIL.{_MODULES[name]}ImagePlugin")
        factory, accepts = Image.OPEN.get(name, (None, None))
        if factory is not None and accepts is not None and accepts(prefix) is True:
            return factory(io.BytesIO(data), "")
    raise UnidentifiedImageError
