"""HEIF photographs (.heic, .heif, .hif) as images, through pillow-heif's own interface: the host's Pillow stays as it is."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from bioclip_core.errors import ImageError
from bioclip_core.images.decoding import read_bytes
from bioclip_core.process.quiet import quiet
from bioclip_plugin.items.media import MediaItem
from bioclip_plugin.opening.refusals import check_size, not_installed, reason_of

SUFFIXES = frozenset((".heic", ".heif", ".hif"))

_PIXEL_BYTES = 8  # measured: 7.5 while it is decoded
# ISO/IEC 23008-12: HEVC images and sequences, and the general brands. AVIF has a brand of its own, and Pillow reads it.
_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"mif2", b"msf1"))


def open_heif(item: MediaItem, path: Path) -> Image.Image | None:
    """Open the main picture of a HEIF file, upright; None for anything else, such as a JPEG named .heic.

    The decoder applies the file's own rotation and mirroring. The EXIF orientation repeats them, so it is removed.

    Raises:
        ImageError: if it cannot be decoded, or pillow-heif is not installed.
    """
    is_named_so = item.data is not None or path.suffix.lower() in SUFFIXES
    if not is_named_so or not _is_heif(item.data if item.data is not None else _beginning(path)):
        return None
    try:
        with quiet():
            import pillow_heif
    except ImportError:
        raise not_installed("HEIF photograph", "pillow-heif", "heif") from None
    data = item.data if item.data is not None else read_bytes(path)
    try:
        with quiet():
            file = pillow_heif.open_heif(data)
            check_size(*file.size, pixel_bytes=_PIXEL_BYTES)
            image: Image.Image = file.to_pillow()
    except ImageError:
        raise
    except Exception as error:  # libheif raises errors of many types, with a text of its own
        raise ImageError(f"the HEIF file is damaged: {reason_of(error)}") from error
    image.info = {name: value for name, value in image.info.items() if name in ("exif", "icc_profile") and value}
    return image


def _is_heif(start: bytes) -> bool:
    """True if the file type box has a brand of HEIF, as its own or among its compatible brands."""
    if start[4:8] != b"ftyp" or start[8:12] == b"avif":
        return False
    brands = start[8:12] + start[16 : min(int.from_bytes(start[:4], "big"), 64)]
    return any(brands[at : at + 4] in _BRANDS for at in range(0, len(brands), 4))


def _beginning(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(64)
    except OSError:
        return b""  # reported when the file is read
