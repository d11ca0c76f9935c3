"""Files as Pillow opens them: the format by its signature, without Pillow's own limits, warnings and metadata."""

from __future__ import annotations

import io

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from bioclip_core.errors import ImageError
from bioclip_core.quiet import quiet

# Formats that Pillow decodes itself. Missing on purpose: formats that start another program (EPS), that Pillow only
# recognises (HDF5, GRIB), and those without a signature. HEIF works if the host has registered a plugin for it.
FORMATS = ("JPEG", "PNG", "TIFF", "GIF", "BMP", "WEBP", "JPEG2000", "PPM", "AVIF", "HEIF", "PSD", "QOI")

# Image.open warns above 89 megapixels and refuses above 179; these limits apply to the whole process, so they belong to the
# host. Calling the format's own reader does not need them, and the budget of the caller applies instead.


class JpegFile(JpegImageFile):
    """A JPEG without the resolution from its EXIF block: Pillow would report a damaged block on standard error."""

    def _read_dpi_from_exif(self) -> None:
        return


class TiffFile(TiffImageFile):
    """A TIFF without Pillow's own pixel limit, and without its camera metadata, which may be damaged."""

    if_it_fails = ""
    """Reason for which its pixels may not be loaded, other than damage."""

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
    if data.startswith(b"\xff\xd8\xff") and frame == 0:
        return JpegFile(io.BytesIO(data))  # Pillow's factory would search for the further frames of an MPO
    image = _by_signature(data)
    if frame:
        try:
            image.seek(frame)
        except EOFError:
            # A reader that went too far counts wrongly.
            count = getattr(_by_signature(data), "n_frames", 1)
            raise ImageError(f"there is no frame {frame}: the file has {count}, counted from 0") from None
    return image


def _by_signature(data: bytes) -> Image.Image:
    prefix = data[:16]
    for name in FORMATS:
        if name not in Image.OPEN:
            with quiet():
                Image.init()
        factory, accepts = Image.OPEN.get(name, (None, None))
        if factory is not None and accepts is not None and accepts(prefix) is True:
            return factory(io.BytesIO(data), "")
    raise UnidentifiedImageError
