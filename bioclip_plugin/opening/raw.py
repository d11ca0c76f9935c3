"""Camera RAW files as images, developed by LibRaw (rawpy): the camera's white balance, sRGB, 8 bits, upright."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from PIL import Image

from bioclip_core.errors import ImageError
from bioclip_core.images.decoding import MAX_DECODED_PIXELS, read_bytes
from bioclip_plugin.items.media import MediaItem

SUFFIXES = frozenset(
    ".3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .fff .iiq .kdc .mef .mos .mrw .nef .nrw .orf .pef .raf .rw2 .rwl .sr2 .srf .srw .x3f".split()
)

# The EXIF that is kept: time, camera, and the blocks of exposure and place. The orientation is applied, and left out.
_MAIN_TAGS = (0x010F, 0x0110, 0x0132)
_EXIF_BLOCK, _GPS_BLOCK = 0x8769, 0x8825
_EXIF_TAGS = (0x9003, 0x9004, 0x9010, 0x9011, 0x9012, 0x9290, 0x9291, 0x9292, 0xA431)
_TIFF = (b"II*\x00", b"MM\x00*")


def open_raw(item: MediaItem, path: Path) -> Image.Image | None:
    """The picture of a RAW file, upright; None for a file of another kind.

    Raises:
        ImageError: if it cannot be developed, or rawpy is not installed.
    """
    if path.suffix.lower() not in SUFFIXES:
        return None
    try:
        import rawpy
    except ImportError:
        raise ImageError(
            "this is a RAW photograph, and rawpy, which reads them, is not installed: pip install 'bioclip-plugin[raw]'",
            stage="open",
        ) from None
    data = item.data if item.data is not None else read_bytes(path)
    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            width, height = raw.sizes.width, raw.sizes.height
            if width * height > MAX_DECODED_PIXELS:
                raise ImageError(
                    f"its header announces {width:,} × {height:,} pixels, over the budget of {MAX_DECODED_PIXELS / 1e6:,.0f} megapixels"
                )
            image = Image.fromarray(raw.postprocess(use_camera_wb=True, output_bps=8))
            exif = _exif_of(data) or _exif_of(_preview(raw))
    except ImageError:
        raise
    except Exception as error:  # rawpy has a class of its own for each of LibRaw's numbers
        raise ImageError(f"the RAW file cannot be developed: {_text(error)}") from error
    if exif:
        image.info["exif"] = exif
    return image


def _preview(raw: Any) -> bytes:
    """The JPEG that the camera put in; it has the camera's EXIF where the RAW format has none of TIFF's kind."""
    try:
        preview = raw.extract_thumb().data
    except Exception:  # there is none, or none that LibRaw can find
        return b""
    return preview if isinstance(preview, bytes) else b""


def _exif_of(data: bytes) -> bytes:
    """The parts of a TIFF's or JPEG's EXIF that say when, where and with what, as a block of their own."""
    try:
        found = Image.Exif()
        if data.startswith(_TIFF):
            found.load(b"Exif\x00\x00" + data)
        elif data.startswith(b"\xff\xd8\xff"):
            with Image.open(io.BytesIO(data), formats=("JPEG",)) as preview:
                found.load(preview.info.get("exif", b""))
        exposure, place = found.get_ifd(_EXIF_BLOCK), found.get_ifd(_GPS_BLOCK)
        kept = Image.Exif()
        for tag in _MAIN_TAGS:
            if tag in found:
                kept[tag] = found[tag]
        if exposure:
            kept[_EXIF_BLOCK] = {tag: exposure[tag] for tag in _EXIF_TAGS if tag in exposure}
        if place:
            kept[_GPS_BLOCK] = dict(place)
        return kept.tobytes() if len(kept) else b""
    except Exception:  # rubbish in a block of metadata is no reason to lose the picture
        return b""


def _text(error: Exception) -> str:
    text = error.args[0] if error.args else ""
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    if text.strip() in (
        "Input/output error",
        "Unsupported file format or not RAW file",
        "Data error",
    ):  # LibRaw's words
        return f"it is truncated, or no RAW file that LibRaw knows ({text.strip()})"
    return text.strip() or type(error).__name__
