"""What kind of file a medium is, by its name, and what its camera wrote, as cells of the media table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from bioclip_plugin.formats.camtrap_dp.cells import is_json_object

# Not from the computer's own list, which differs from one to the next.
_TYPES = {
    "jpg": "image/jpeg", "jpeg": "image/jpeg", "jpe": "image/jpeg", "jp2": "image/jp2", "png": "image/png", "gif": "image/gif",
    "bmp": "image/bmp", "webp": "image/webp", "tif": "image/tiff", "tiff": "image/tiff", "heic": "image/heic", "heif": "image/heif",
    "avif": "image/avif", "dng": "image/x-adobe-dng", "nef": "image/x-nikon-nef", "cr2": "image/x-canon-cr2", "cr3": "image/x-canon-cr3",
    "arw": "image/x-sony-arw", "mp4": "video/mp4", "m4v": "video/mp4", "mov": "video/quicktime", "avi": "video/x-msvideo",
    "mkv": "video/x-matroska", "webm": "video/webm", "mpg": "video/mpeg", "mpeg": "video/mpeg", "3gp": "video/3gpp",
    "wmv": "video/x-ms-wmv", "mts": "video/mp2t",
}  # fmt: skip
_WRITTEN_BY_THE_CAMERA = (
    "camera_make", "camera_model", "camera_serial_number", "sequence_number", "sequence_length", "event_number", "temperature_c",
    "moon_phase",
)  # fmt: skip


def mediatype_of(path: str, stated: str = "") -> str:
    """The media type of a file: as stated where that is one, else by its suffix."""
    if stated.startswith(("image/", "video/", "audio/")) and len(stated) > len("image/"):
        return stated
    return _TYPES.get(PurePosixPath(path).suffix.lower().removeprefix("."), "image/unknown")


def exif_cell(stated: str, metadata: Mapping[str, Any], *, hide_places: bool = False) -> str:
    """``exifData``: as stated where that is JSON, else what our reader found in the file, which has no place in it.

    Args:
        hide_places: never as stated, since a camera's GPS may be in it while the deployment's place is rounded.
    """
    if stated and not hide_places and is_json_object(stated):
        return stated
    found = {name: metadata[name] for name in _WRITTEN_BY_THE_CAMERA if name in metadata}
    return json.dumps(found, ensure_ascii=False, sort_keys=True) if found else ""
