"""Inputs of a run: a media item, its regions, and the place and time at which it was taken."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote_from_bytes, unquote_to_bytes

from bioclip_core.errors import UsageError
from bioclip_core.files.drives import name_of_bytes
from bioclip_core.files.present import exists
from bioclip_core.process import system
from bioclip_plugin.items.deployments import Membership

if TYPE_CHECKING:
    from PIL import Image

BOX_UNIT = 10_000  # stored boxes are whole numbers of 1/10,000 of the upright image
WHOLE_BOX = (0, 0, BOX_UNIT, BOX_UNIT)


@dataclass(frozen=True, slots=True)
class Place:
    """Place and month in which an image was taken; each part None if unknown."""

    country: str | None = None
    """ISO 3166-1 code of the country, two or three letters."""
    region: str | None = None
    """State or province, as the collection writes it."""
    latitude: float | None = None
    """Degrees north, -90 to 90."""
    longitude: float | None = None
    """Degrees east, -180 to 180."""
    month: int | None = None
    """1 to 12, from ``captured_at``."""

    def __bool__(self) -> bool:
        return any(part is not None for part in (self.country, self.region, self.latitude, self.longitude))


@dataclass(frozen=True, slots=True)
class Region:
    """A box in the EXIF-upright image: normalised x, y, width, height, origin at the top left."""

    x: float
    y: float
    w: float
    h: float
    detector: str = ""
    detector_version: str = ""
    category: str = ""
    """The detector's category: ``animal``, ``person``, ``vehicle``, or a word of its own."""
    confidence: float | None = None
    classified: bool = True
    """False for a region that is kept and not classified: a person, a vehicle, a box below the threshold."""

    def __post_init__(self) -> None:
        x, y, w, h = box = (self.x, self.y, self.w, self.h)
        # NaN is in no range. Written out, since millions of boxes are checked here.
        try:
            inside = -1e-6 <= x <= 1 + 1e-6 and -1e-6 <= y <= 1 + 1e-6 and 0 < w <= 1 + 1e-6 and 0 < h <= 1 + 1e-6
            inside = inside and x + w <= 1 + 1e-4 and y + h <= 1 + 1e-4
        except (TypeError, ValueError):  # texts, arrays
            inside = False
        if not inside:
            raise UsageError(
                f"region {box}: a box is x, y, width, height between 0 and 1 of the upright image, with width and height above 0"
            )

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The box in 1/10,000 of the upright image, at least one unit wide and high; the key of its features."""
        # Written out, since millions of boxes are asked for it.
        x, y = round(self.x * BOX_UNIT), round(self.y * BOX_UNIT)
        x, y = x if x < BOX_UNIT else BOX_UNIT - 1, y if y < BOX_UNIT else BOX_UNIT - 1
        w, h = round(self.w * BOX_UNIT), round(self.h * BOX_UNIT)
        w, h = w if w <= BOX_UNIT - x else BOX_UNIT - x, h if h <= BOX_UNIT - y else BOX_UNIT - y
        return x, y, w or 1, h or 1

    @property
    def xywh(self) -> list[float]:
        """``[x, y, w, h]``, as ``--json`` prints it."""
        return [self.x, self.y, self.w, self.h]


@dataclass(frozen=True, slots=True)
class MediaItem:
    """One listed image. ``uri`` is its name everywhere; ``path`` is its file, if it has one."""

    uri: str
    path: Path | None = None
    frame: int = 0
    captured_at: datetime | None = None
    """Aware if the camera wrote its offset, else naive (wall-clock time of an unknown zone)."""
    place: Place = Place()
    deployment: str | None = None
    sequence: str | None = None
    regions: tuple[Region, ...] = ()
    """Empty for the whole image, unless ``detected``."""
    metadata: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """All other values of the source and the camera; plain JSON values."""
    data: bytes | None = field(default=None, repr=False, compare=False)
    """The file's bytes, if they are already in memory."""
    span: tuple[int, int] | None = field(default=None, compare=False)
    """Offset and length of the item's bytes in the file at ``path``; None for the whole file."""
    image: Image.Image | None = field(default=None, repr=False, compare=False)
    """The decoded image, if there is one instead of a file."""
    detected: bool = False
    """True if a detector has processed the image, so that no regions mean that it found nothing."""
    is_part: bool = field(default=False, compare=False)
    """True for one frame or page of its file: it is not split into all frames or pages."""
    unread: frozenset[Literal["captured_at", "position", "country"]] = field(default=frozenset(), compare=False)
    """Fields that the source states in a form that cannot be read: the camera's value never replaces them."""
    within: tuple[date, date] | None = field(default=None, compare=False)
    """First and last day of the time that the source states, if that is a day, a month or a year: a time of the camera
    completes it if it lies within, and never replaces it."""
    absent: frozenset[str] = field(default=frozenset(), compare=False)
    """Columns of the source that are not in ``metadata``: empty, or read as a field. Values that an earlier run stored under
    their names are out of date."""
    membership: Membership | None = field(default=None, compare=False)
    """The deployment that it belongs to, with the reason; set where a run as a whole is read: by rules, exports and reports."""

    @property
    def is_in_memory(self) -> bool:
        """True if the item has its bytes or its image with it, instead of a file."""
        return self.data is not None or self.image is not None

    def __reduce__(self) -> tuple[Any, ...]:
        """Let the item be pickled and copied, which its mapping proxy cannot."""
        values = [getattr(self, name) for name in _FIELDS]
        values[_METADATA] = dict(self.metadata)
        return _unpickled, (type(self), *values)

    def admits(self, moment: datetime) -> bool:
        """True if a time of the camera, or of an earlier run, agrees with the source's statements."""
        if "captured_at" in self.unread:
            return False
        if self.within is None:
            return True
        # In UTC, as in videos, a time may be of a neighbouring day; its local day is not known.
        spare = timedelta(days=1) if moment.utcoffset() == timedelta() else timedelta()
        return self.within[0] - spare <= moment.date() <= self.within[1] + spare


_FIELDS = tuple(entry.name for entry in fields(MediaItem))
_METADATA = _FIELDS.index("metadata")


def _unpickled(kind: type[MediaItem], *values: Any) -> MediaItem:
    named = dict(zip(_FIELDS, values, strict=True))
    return kind(**{**named, "metadata": MappingProxyType(named["metadata"])})


# An escaped byte that is not UTF-8. In a name that itself holds such characters the percent sign is escaped, so that two names
# never share a uri.
_LOOKS_ESCAPED = re.compile(r"%(?=25|[89A-Fa-f][0-9A-Fa-f])")


def uri_of(path: str | os.PathLike[str]) -> str:
    """Return the path as listed, with ``%`` escapes only for bytes that are not UTF-8 and for percent signs that look like one.

    Folders end with ``/`` on every system.

    >>> uri_of("photos/ant 1.jpg"), uri_of("100% wool.jpg"), uri_of("x%E9.jpg")
    ('photos/ant 1.jpg', '100% wool.jpg', 'x%25E9.jpg')
    """
    text = os.fspath(path)
    if system.is_windows() and not text.startswith("\\\\?"):  # the store and its exports may be read elsewhere
        text = text.replace("\\", "/")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return quote_from_bytes(os.fsencode(text), safe="/ !#$&'()*+,:;=?@[]\\")
    return _LOOKS_ESCAPED.sub("%25", text)


def path_of(uri: str) -> Path:
    """Return the file that a uri names: without its escapes if that file exists, else the path as written."""
    plain = Path(uri)
    if _LOOKS_ESCAPED.search(uri):
        unescaped = Path(name_of_bytes(unquote_to_bytes(uri)))
        if exists(unescaped) or not exists(plain):
            return unescaped
    return plain


def item_of(path: str | os.PathLike[str]) -> MediaItem:
    """Return a media item for one file."""
    return MediaItem(uri=uri_of(path), path=Path(path))


@dataclass(frozen=True, slots=True)
class Unlisted:
    """Something that a source could not list: an unreadable folder, a table row without an image."""

    uri: str
    reason: str
    frame: int = 0
    known: MediaItem | None = None
    """The source's data on it: a missing image, with time, place and metadata."""

    @property
    def item(self) -> MediaItem:
        """The entry as an item under its uri and frame."""
        return replace(self.known or MediaItem(self.uri), uri=self.uri, frame=self.frame)


def place_of(item: MediaItem) -> Place:
    """Return the place and month in which the item was taken, on which a prior may depend."""
    if item.place.month is None and item.captured_at is not None:
        return replace(item.place, month=item.captured_at.month)
    return item.place
