"""Camera RAW files as images, developed by LibRaw (rawpy): the camera's white balance, sRGB, 8 bits, upright."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from PIL import Image

from bioclip_core.errors import ImageError
from bioclip_core.images.budget import MAX_METADATA_BYTES
from bioclip_core.images.decoding import read_bytes
from bioclip_core.images.tiff_header import directories, value_bytes
from bioclip_core.process.quiet import quiet
from bioclip_plugin.items.media import MediaItem
from bioclip_plugin.opening.raw_messages import silence
from bioclip_plugin.opening.refusals import check_size, not_installed

SUFFIXES = frozenset(
    ".3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .fff .iiq .kdc .mef .mos .mrw .nef .nrw .orf .pef .raf .rw2 .rwl .sr2 .srf .srw .x3f".split()
)

_PIXEL_BYTES = 24
"""The sensor's values (2), four channels of 16 bits (8), the working space of the interpolation and the developed picture (3 + 4)."""

# EXIF tags to keep: time, camera, and the blocks of exposure and place. The orientation is applied, so it is left out.
_MAIN_TAGS = (0x010F, 0x0110, 0x0132)
_EXIF_BLOCK, _GPS_BLOCK = 0x8769, 0x8825
_EXIF_TAGS = (0x9003, 0x9004, 0x9010, 0x9011, 0x9012, 0x9290, 0x9291, 0x9292, 0xA431)
_TIFF = (b"II*\x00", b"MM\x00*")
_CUT_OFF = ("Input/output error", "Unsupported file format or not RAW file", "Data error")  # texts of LibRaw


def open_raw(item: MediaItem, path: Path) -> Image.Image | None:
    """Develop a RAW file, upright; None for a file of another kind.

    Raises:
        ImageError: if it cannot be developed, or rawpy is not installed.
    """
    if path.suffix.lower() not in SUFFIXES:
        return None
    try:
        with quiet():
            import rawpy
    except ImportError:
        raise not_installed("RAW photograph", "rawpy", "raw") from None
    data = item.data if item.data is not None else read_bytes(path)
    try:
        with quiet(), rawpy.imread(io.BytesIO(data)) as raw:
            silence(raw)
            check_size(raw.sizes.width, raw.sizes.height, pixel_bytes=_PIXEL_BYTES)
            image = Image.fromarray(raw.postprocess(use_camera_wb=True, output_bps=8))
            exif = _exif_of(data) or _exif_of(_preview(raw))
    except ImageError:
        raise
    except Exception as error:  # rawpy has one class per error number of LibRaw
        raise ImageError(f"the RAW file cannot be developed: {_reason_of(error)}") from error
    if exif:
        image.info["exif"] = exif
    return image


def _preview(raw: Any) -> bytes:
    """Return the embedded JPEG, which has the camera's EXIF where the RAW format has none in TIFF's form."""
    try:
        preview = raw.extract_thumb().data
    except Exception:  # there is none, or LibRaw cannot find it
        return b""
    return preview if isinstance(preview, bytes) else b""


def _exif_of(data: bytes) -> bytes:
    """Return the time, place and camera in the EXIF of a TIFF or JPEG, as a block of their own."""
    found, kept = Image.Exif(), Image.Exif()
    try:
        if data.startswith(_TIFF):
            first = next(directories(io.BytesIO(data)))
            if value_bytes(first) > MAX_METADATA_BYTES:
                return b""
            found.load(b"Exif\x00\x00" + data)
        elif data.startswith(b"\xff\xd8\xff"):
            with Image.open(io.BytesIO(data), formats=("JPEG",)) as preview:
                found.load(preview.info.get("exif", b""))
        kept.update({tag: found[tag] for tag in _MAIN_TAGS if tag in found})
        if exposure := found.get_ifd(_EXIF_BLOCK):
            kept[_EXIF_BLOCK] = {tag: exposure[tag] for tag in _EXIF_TAGS if tag in exposure}
        if place := found.get_ifd(_GPS_BLOCK):
            kept[_GPS_BLOCK] = dict(place)
        return kept.tobytes() if len(kept) else b""
    except Exception:  # damaged metadata do not cost the picture
        return b""


def _reason_of(error: Exception) -> str:
    text = error.args[0] if error.args else ""
    text = (text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)).strip()
    if text in _CUT_OFF:
        return f"it is truncated, or not a RAW file that LibRaw knows ({text})"
    return text or type(error).__name__
