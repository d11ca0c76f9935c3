"""Metadata that the camera wrote: EXIF as fields of a media item, and the maker notes of Reconyx trail cameras.

``with_metadata`` adds these keys to ``MediaItem.metadata`` if the file has them and the source did not state them:
``camera_make``, ``camera_model``, ``camera_serial_number``, ``sequence_number`` and ``sequence_length`` (image 2 of 5 of one
trigger), ``event_number``, ``temperature_c``, ``moon_phase``, ``capture_method`` (activityDetection or timeLapse).
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any

from bioclip_core.cells import column_name, moment_of, position_of
from bioclip_core.process.quiet import quiet
from bioclip_plugin.items.media import MediaItem

_OWN_FIELDS = ("captured_at", "latitude", "longitude")  # those that a media item has too


@dataclass(frozen=True, slots=True)
class CameraMetadata:
    """Metadata of one image file; None for missing and for unusable values."""

    captured_at: datetime | None = None
    """Aware if the camera wrote its offset, else naive."""
    latitude: float | None = None
    """Degrees north; None together with the longitude."""
    longitude: float | None = None
    """Degrees east."""
    camera_make: str | None = None
    camera_model: str | None = None
    camera_serial_number: str | None = None
    sequence_number: int | None = None
    """Place in the sequence, from 1."""
    sequence_length: int | None = None
    event_number: int | None = None
    """The camera's own count of sequences."""
    temperature_c: int | None = None
    """Degrees Celsius in the housing."""
    moon_phase: str | None = None
    capture_method: str | None = None
    """Reason of the exposure, as Camtrap DP names it: activityDetection or timeLapse."""

    def extras(self) -> dict[str, Any]:
        """Return the values for which a media item does not have a field, as plain JSON values."""
        named = ((field.name, getattr(self, field.name)) for field in fields(self) if field.name not in _OWN_FIELDS)
        return {name: value for name, value in named if value is not None}


CAMERA_NAMES = frozenset(field.name for field in fields(CameraMetadata)) - frozenset(_OWN_FIELDS)
"""The keys of the camera's values in the metadata of an item."""


def read_metadata(data: bytes) -> CameraMetadata:
    """Return the metadata in an image file's EXIF; empty, and never an error, if it is missing or damaged."""
    with quiet():
        import exifread

    # exifread takes milliseconds for maker notes, and returns those of trail cameras as raw bytes only.
    trail_camera = any(data.find(mark, 0, _HEAD) >= 0 for mark in _RECONYX)
    with quiet():
        for with_notes in (True, False) if trail_camera else (False,):
            # Any error that a damaged block causes in exifread: the image counts, not its metadata.
            with suppress(Exception):
                return _from_tags(exifread.process_file(_Bounded(data), details=with_notes, extract_thumbnail=False))
    return CameraMetadata()


class _Bounded(io.BytesIO):
    """A file that stops the reading of a damaged block: exifread believes a count of four thousand million values."""

    reads_left = 20_000  # a trail camera's file with its maker note takes about 2,500
    bytes_left = 64 << 20  # thousands of texts may lie in one place, each as long as the file

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads_left -= 1
        data = super().read(size)
        self.bytes_left -= len(data)
        if min(self.reads_left, self.bytes_left) < 0:
            raise ValueError("the EXIF block announces more values than any camera writes")
        return data


def with_metadata(item: MediaItem, data: bytes) -> MediaItem:
    """Return the item with the metadata of its file; values of the source take precedence, also those that cannot be read."""
    camera = read_metadata(data)
    captured_at = item.captured_at
    if captured_at is None and camera.captured_at is not None and item.admits(camera.captured_at):
        captured_at = camera.captured_at
    place = item.place
    if place.latitude is None and place.longitude is None and "position" not in item.unread:
        place = replace(place, latitude=camera.latitude, longitude=camera.longitude)
    if place.month is None and captured_at is not None:
        place = replace(place, month=captured_at.month)
    metadata = MappingProxyType({**camera.extras(), **item.metadata})
    return replace(item, captured_at=captured_at, place=place, metadata=metadata)


def capture_method_of(item: MediaItem) -> str:
    """Return the reason of the exposure, as a source or the camera states it; empty if none does."""
    package = item.metadata.get("camtrap_media")
    stated = package.get("captureMethod") if isinstance(package, Mapping) else None
    return str(stated or item.metadata.get("captureMethod") or item.metadata.get("capture_method") or "")


def is_time_lapse(item: MediaItem) -> bool:
    """True for an image that the camera took at a set time and not of an animal that came by."""
    return column_name(capture_method_of(item)) == "timelapse"


def _from_tags(tags: Mapping[str, Any]) -> CameraMetadata:
    latitude, longitude = position_of(
        _degrees(tags, "GPS GPSLatitude", {"N": 1, "S": -1}), _degrees(tags, "GPS GPSLongitude", {"E": 1, "W": -1})
    )
    found = CameraMetadata(
        captured_at=_captured_at(tags),
        latitude=latitude,
        longitude=longitude,
        camera_make=_text(tags, "Image Make") or None,
        camera_model=_text(tags, "Image Model") or None,
        camera_serial_number=_text(tags, "EXIF BodySerialNumber") or None,
    )
    note = tags.get("EXIF MakerNote")
    return _with_reconyx(found, bytes(note.values)) if note is not None else found


def _text(tags: Mapping[str, Any], name: str) -> str:
    values = getattr(tags.get(name), "values", None)
    text = values.split("\x00")[0].strip() if isinstance(values, str) else ""
    return text if text.isprintable() else ""


# The moments of exposure, of digitization and of the last change: each with its own offset and fractions of a second.
_DATES = (
    ("EXIF DateTimeOriginal", "EXIF OffsetTimeOriginal", "EXIF SubSecTimeOriginal"),
    ("EXIF DateTimeDigitized", "EXIF OffsetTimeDigitized", "EXIF SubSecTimeDigitized"),
    ("Image DateTime", "EXIF OffsetTime", "EXIF SubSecTime"),
)
_OFFSET = re.compile(r"Z|[+-](0\d|1[0-5]):?\d{2}")


def _captured_at(tags: Mapping[str, Any]) -> datetime | None:
    for names in _DATES:
        date, offset, fraction = (_text(tags, name) for name in names)
        if fraction.isascii() and fraction.isdecimal():
            date += f".{fraction}"
        if moment := moment_of(date + offset if _OFFSET.fullmatch(offset) else date):  # None for 0000:00:00, a month 13
            return moment
    return None


def _degrees(tags: Mapping[str, Any], name: str, signs: Mapping[str, int]) -> float | None:
    """Return degrees with the sign of their hemisphere; None without one."""
    sign = signs.get(_text(tags, name + "Ref").upper()[:1])
    values = getattr(tags.get(name), "values", None)
    if sign is None or not isinstance(values, list) or not 1 <= len(values) <= 3:
        return None
    try:
        degrees = sum(value.num / value.den / 60**power for power, value in enumerate(values))
    except (AttributeError, ZeroDivisionError):
        return None
    return sign * degrees if degrees >= 0 else None


# -- Reconyx -----------------------------------------------------------------------------------------------------------

_HEAD = 65_536  # bytes: an EXIF segment of a JPEG is never longer
_HYPERFIRE = (b"\x01\xf1\x02\x00", b"\x01\xf1\x03\x00", b"\x01\xf1\x04\x00")
_HYPERFIRE_2 = b"RECONYXH2\x00"
_RECONYX = (*_HYPERFIRE, b"RECONYX")
_TRIGGERS = {
    "M": "activityDetection",
    "E": "activityDetection",
    "T": "timeLapse",
}  # motion, external sensor, time lapse
_MOON = (
    "new moon", "waxing crescent", "first quarter", "waxing gibbous", "full moon", "waning gibbous", "last quarter",
    "waning crescent",
)  # fmt: skip


def _with_reconyx(found: CameraMetadata, note: bytes) -> CameraMetadata:
    """Add the maker note of a HyperFire or HyperFire 2; their fields are the same from the trigger mode on.

    In words of two bytes from the trigger mode: sequence 1 of 2; event 3, 4 (high word first); second, minute, hour, month,
    day, year 5 to 10; moon phase 12; °F 13; °C 14. The serial number, up to 15 letters of UTF-16, has an offset of its own.
    """
    if note.startswith(_HYPERFIRE):
        start, serial = 12, 42
    elif note.startswith(_HYPERFIRE_2):
        start, serial = 52, 126
    else:
        return found
    try:
        words = struct.unpack_from("<14H", note, start)
        (celsius,) = struct.unpack_from("<h", note, start + 28)
    except struct.error:
        return found
    in_sequence = 1 <= words[1] <= words[2]
    text = note[serial : serial + 30].decode("utf-16-le", "replace").split("\x00")[0]
    second, minute, hour, month, day, year = words[5:11]
    try:
        clock = datetime(year, month, day, hour, minute, second)
    except ValueError:
        clock = None
    return replace(
        found,
        captured_at=found.captured_at or clock,
        camera_serial_number=found.camera_serial_number or (text if text.isalnum() and text.isascii() else None),
        sequence_number=words[1] if in_sequence else None,
        sequence_length=words[2] if in_sequence else None,
        event_number=words[3] << 16 | words[4],
        temperature_c=celsius if -90 <= celsius <= 90 else None,
        moon_phase=_MOON[words[12]] if words[12] < len(_MOON) else None,
        capture_method=_TRIGGERS.get(chr(words[0] & 0xFF)),
    )
