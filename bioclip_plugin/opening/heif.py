"""HEIF photographs (.heic, .heif, .hif) as images, through pillow-heif's own interface: nothing is registered with the host's Pillow."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from bioclip_core.errors import ImageError
from bioclip_core.images.decoding import MAX_DECODED_PIXELS, read_bytes
from bioclip_plugin.items.media import MediaItem

SUFFIXES = frozenset((".heic", ".heif", ".hif"))

# ISO/IEC 23008-12: HEVC images and sequences, and the general brands. AVIF has its own, and Pillow reads it.
_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"mif2", b"msf1"))


def open_heif(item: MediaItem, path: Path) -> Image.Image | None:
    """The main picture of a HEIF file, upright; None for anything else, such as a JPEG that is only called .heic.

    The file's own rotation and mirroring are applied by the decoder; its EXIF orientation says the same once more, and is
    removed.

    Raises:
        ImageError: if it cannot be decoded, or pillow-heif is not installed.
    """
    if item.data is None and path.suffix.lower() not in SUFFIXES:
        return None
    if not _is_heif(item.data if item.data is not None else _beginning(path)):
        return None
    try:
        from pillow_heif import open_heif as opened
    except ImportError:
        raise ImageError(
            "this is a HEIF photograph, and pillow-heif, which reads them, is not installed: pip install 'bioclip-plugin[heif]'",
            stage="open",
        ) from None
    data = item.data if item.data is not None else read_bytes(path)
    try:
        file = opened(data)
        width, height = file.size
        if width * height > MAX_DECODED_PIXELS:
            raise ImageError(
                f"its header announces {width:,} × {height:,} pixels, over the budget of {MAX_DECODED_PIXELS / 1e6:,.0f} megapixels"
            )
        image = file.to_pillow()
    except ImageError:
        raise
    except Exception as error:  # libheif's errors come as whatever fits, with text of its own
        raise ImageError(f"the HEIF file is damaged: {str(error).strip() or type(error).__name__}") from error
    image.info = {name: value for name, value in image.info.items() if name in ("exif", "icc_profile") and value}
    return image


def _is_heif(start: bytes) -> bool:
    """Whether the file type box names a brand of HEIF, as its own or among those that it is compatible with."""
    if start[4:8] != b"ftyp":
        return False
    if start[8:12] == b"avif":
        return False
    size = int.from_bytes(start[:4], "big")
    brands = start[8:12] + start[16 : min(size, 64)]
    return any(brands[at : at + 4] in _BRANDS for at in range(0, len(brands), 4))


def _beginning(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(64)
    except OSError:
        return b""  # said when it is read
