"""What the camera wrote: EXIF to the fields of a media item, and the maker notes of Reconyx trail cameras.

``with_metadata`` adds these keys to ``MediaItem.metadata`` where the file has them and the source did not:
``camera_make``, ``camera_model``, ``camera_serial_number``, ``sequence_number`` and ``sequence_length`` (this is image 2
of 5 of a burst), ``event_number``, ``temperature_c``, ``moon_phase``.
"""

from __future__ import annotations

import io
import logging
import re
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from types import MappingProxyType
from typing import Any

from bioclip_core.cells import moment_of, position_of
from bioclip_plugin.items.media import MediaItem


@dataclass(frozen=True, slots=True)
class CameraMetadata:
    """What one image file says about its making; None where it says nothing that can be used."""

    captured_at: datetime | None = None
    """Aware where the camera said its offset, else naive."""
    latitude: float | None = None
    """Degrees north; None together with the longitude."""
    longitude: float | None = None
    """Degrees east."""
    camera_make: str | None = None
    camera_model: str | None = None
    camera_serial_number: str | None = None
    sequence_number: int | None = None
    """Place in the burst, from 1."""
    sequence_length: int | None = None
    event_number: int | None = None
    """The camera's own count of bursts."""
    temperature_c: int | None = None
    """Degrees Celsius in the housing."""
    moon_phase: str | None = None

    def extras(self) -> dict[str, Any]:
        """What has no field of its own in a media item, as plain JSON values."""
        return {name: getattr(self, name) for name in _EXTRAS if getattr(self, name) is not None}


_EXTRAS = (
    "camera_make", "camera_model", "camera_serial_number", "sequence_number", "sequence_length", "event_number",
    "temperature_c", "moon_phase",
)  # fmt: skip


def read_metadata(data: bytes) -> CameraMetadata:
    """What an image file's EXIF says; nothing, and never an error, where there is none or it is rubbish."""
    import exifread

    # exifread takes milliseconds for maker notes, and knows those of trail cameras only as raw bytes.
    trail_camera = any(data.find(mark, 0, _HEAD) >= 0 for mark in _RECONYX)
    with _quiet():
        for with_notes in (True, False) if trail_camera else (False,):
            try:
                return _from_tags(exifread.process_file(_Bounded(data), details=with_notes, extract_thumbnail=False))
            except Exception:  # whatever a damaged block does to the reader, the image is what counts
                continue
    return CameraMetadata()


class _Bounded(io.BytesIO):
    """A file that ends the reading of a damaged block: exifread believes a count of four thousand million values."""

    reads_left = 20_000  # a trail camera's file with its maker note takes about 2,500

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads_left -= 1
        if self.reads_left < 0:
            raise ValueError("the EXIF block announces more values than any camera writes")
        return super().read(size)


def with_metadata(item: MediaItem, data: bytes) -> MediaItem:
    """The item with what its file says about itself; what the source said wins."""
    camera = read_metadata(data)
    captured_at = item.captured_at or camera.captured_at
    place = item.place
    if place.latitude is None and place.longitude is None:
        place = replace(place, latitude=camera.latitude, longitude=camera.longitude)
    if place.month is None and captured_at is not None:
        place = replace(place, month=captured_at.month)
    metadata = {**camera.extras(), **item.metadata}
    return replace(item, captured_at=captured_at, place=place, metadata=MappingProxyType(metadata))


def _from_tags(tags: Mapping[str, Any]) -> CameraMetadata:
    latitude, longitude = _position(tags)
    found = CameraMetadata(
        captured_at=_captured_at(tags),
        latitude=latitude,
        longitude=longitude,
        camera_make=_text(tags, "Image Make"),
        camera_model=_text(tags, "Image Model"),
        camera_serial_number=_text(tags, "EXIF BodySerialNumber"),
    )
    note = tags.get("EXIF MakerNote")
    return _with_reconyx(found, bytes(note.values)) if note is not None else found


def _text(tags: Mapping[str, Any], name: str) -> str | None:
    values = getattr(tags.get(name), "values", None)
    text = values.split("\x00")[0].strip() if isinstance(values, str) else ""
    return text if text.isprintable() and text else None


# -- time --------------------------------------------------------------------------------------------------------------

# The moment of exposure, of digitization, of the last change: each with its own offset and fractions of a second.
_DATES = (
    ("EXIF DateTimeOriginal", "EXIF OffsetTimeOriginal", "EXIF SubSecTimeOriginal"),
    ("EXIF DateTimeDigitized", "EXIF OffsetTimeDigitized", "EXIF SubSecTimeDigitized"),
    ("Image DateTime", "EXIF OffsetTime", "EXIF SubSecTime"),
)
_OFFSET = re.compile(r"([+-])(\d{2}):?(\d{2})$")


def _captured_at(tags: Mapping[str, Any]) -> datetime | None:
    for date, offset, fraction in _DATES:
        moment = moment_of(_text(tags, date))
        if moment is None:  # 0000:00:00, a month 13
            continue
        digits = _text(tags, fraction) or ""
        if digits.isascii() and digits.isdecimal():
            moment = moment.replace(microsecond=int(digits[:6].ljust(6, "0")))
        return moment.replace(tzinfo=moment.tzinfo or _zone(_text(tags, offset) or ""))
    return None


def _zone(text: str) -> timezone | None:
    if text == "Z":
        return UTC
    match = _OFFSET.match(text)
    if match is None:
        return None
    sign, hours, minutes = match.groups()
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    if offset > timedelta(hours=15):
        return None
    return timezone(-offset if sign == "-" else offset)


# -- place -------------------------------------------------------------------------------------------------------------


def _position(tags: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Degrees north and east; none without hemispheres, out of range, or at 0, 0, which cameras write without a fix."""
    return position_of(
        _degrees(tags, "GPS GPSLatitude", {"N": 1, "S": -1}), _degrees(tags, "GPS GPSLongitude", {"E": 1, "W": -1})
    )


def _degrees(tags: Mapping[str, Any], name: str, signs: Mapping[str, int]) -> float | None:
    sign = signs.get((_text(tags, name + "Ref") or "").upper()[:1])
    values = getattr(tags.get(name), "values", None)
    if sign is None or not isinstance(values, list) or not 1 <= len(values) <= 3:
        return None
    try:
        parts = [value.num / value.den for value in values]
    except (AttributeError, ZeroDivisionError):
        return None
    degrees = sum(part / 60**power for power, part in enumerate(parts))
    return sign * degrees if degrees >= 0 else None


# -- Reconyx -----------------------------------------------------------------------------------------------------------

_HEAD = 65_536  # bytes: an EXIF segment of a JPEG is no longer
_HYPERFIRE = (b"\x01\xf1\x02\x00", b"\x01\xf1\x03\x00", b"\x01\xf1\x04\x00")
_HYPERFIRE_2 = b"RECONYXH2\x00"
_RECONYX = (*_HYPERFIRE, b"RECONYX")
_MOON = (
    "new moon", "waxing crescent", "first quarter", "waxing gibbous", "full moon", "waning gibbous", "last quarter",
    "waning crescent",
)  # fmt: skip


def _with_reconyx(found: CameraMetadata, note: bytes) -> CameraMetadata:
    """Add what a HyperFire or HyperFire 2 wrote into its maker note; their fields are the same from the trigger on.

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
    number, length = words[1], words[2]
    burst = 1 <= number <= length
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
        sequence_number=number if burst else None,
        sequence_length=length if burst else None,
        event_number=words[3] << 16 | words[4],
        temperature_c=celsius if -90 <= celsius <= 90 else None,
        moon_phase=_MOON[words[12]] if words[12] < len(_MOON) else None,
    )


# -- quiet -------------------------------------------------------------------------------------------------------------

_reading: ContextVar[bool] = ContextVar("_reading", default=False)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep exifread's warnings about our files to ourselves: a file without EXIF is no news, and rubbish is said elsewhere.

    A filter that drops only what is logged from in here; what a host logs with the same library stays.
    """
    _filter_once()
    token = _reading.set(True)
    try:
        yield
    finally:
        _reading.reset(token)


@cache
def _filter_once() -> None:
    logging.getLogger("exifread").addFilter(lambda _record: not _reading.get())
