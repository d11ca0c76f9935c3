"""What flows in: a media item, its regions, and where and when it was taken."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

from bioclip_core.errors import UsageError

if TYPE_CHECKING:
    pass

if TYPE_CHECKING:
    from PIL import Image

BOX_UNIT = 10_000  # stored boxes are whole numbers of 1/10,000 of the upright image
WHOLE_BOX = (0, 0, BOX_UNIT, BOX_UNIT)


@dataclass(frozen=True, slots=True)
class Place:
    """Where, and in which month, an image was taken; each part None where it is not known."""

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
    """What the detector calls it: ``animal``, ``person``, ``vehicle``, or a word of its own."""
    confidence: float | None = None
    classified: bool = True
    """False: kept, and not named by the model: a person, a vehicle, a box below the threshold."""

    def __post_init__(self) -> None:
        x, y, w, h = box = (self.x, self.y, self.w, self.h)
        # What is no number is in no range. Written out, since millions of boxes pass here.
        inside = -1e-6 <= x <= 1 + 1e-6 and -1e-6 <= y <= 1 + 1e-6 and 0 < w <= 1 + 1e-6 and 0 < h <= 1 + 1e-6
        if not inside or x + w > 1 + 1e-4 or y + h > 1 + 1e-4:
            raise UsageError(
                f"region {box}: a box is x, y, width, height between 0 and 1 of the upright image, with width and height above 0"
            )

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The box in 1/10,000 of the upright image, at least one unit wide and high: the key of its features."""
        x, y = (min(round(v * BOX_UNIT), BOX_UNIT - 1) for v in (self.x, self.y))
        return (
            x,
            y,
            max(1, min(round(self.w * BOX_UNIT), BOX_UNIT - x)),
            max(1, min(round(self.h * BOX_UNIT), BOX_UNIT - y)),
        )

    @property
    def xywh(self) -> list[float]:
        """``[x, y, w, h]``, as ``--json`` prints it."""
        return [self.x, self.y, self.w, self.h]


@dataclass(frozen=True, slots=True)
class MediaItem:
    """One listed image. ``uri`` is its name everywhere; ``path`` is where its bytes are, where that is a file."""

    uri: str
    path: Path | None = None
    frame: int = 0
    captured_at: datetime | None = None
    """Aware where the camera said its offset, else naive (wall-clock time of an unknown zone)."""
    place: Place = Place()
    deployment: str | None = None
    sequence: str | None = None
    regions: tuple[Region, ...] = ()
    """Empty: the whole image, unless ``detected``."""
    metadata: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """Whatever else the source or the camera said; plain JSON values."""
    data: bytes | None = field(default=None, repr=False, compare=False)
    """The file's bytes, where they are at hand already."""
    span: tuple[int, int] | None = field(default=None, compare=False)
    """Offset and length of the item's bytes in the file at ``path``, where it is a part of that file; None: the whole file."""
    image: Image.Image | None = field(default=None, repr=False, compare=False)
    """The decoded image, where that is at hand instead of a file."""
    detected: bool = False
    """A detector looked at the image, so that no regions mean that it found nothing."""


# An escaped byte that is not UTF-8. A name that holds such characters itself gets its percent sign escaped, so that no two
# names have one uri.
_LOOKS_ESCAPED = re.compile(r"%(?=25|[89A-Fa-f][0-9A-Fa-f])")


def uri_of(path: str | os.PathLike[str]) -> str:
    """The path as listed; only bytes that are not UTF-8 are ``%``-escaped, and percent signs that look like such an escape.

    >>> uri_of("photos/ant 1.jpg"), uri_of("100% wool.jpg"), uri_of("x%E9.jpg")
    ('photos/ant 1.jpg', '100% wool.jpg', 'x%25E9.jpg')
    """
    text = os.fspath(path)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return quote_from_bytes(os.fsencode(text), safe="/ !#$&'()*+,:;=?@[]\\")
    return _LOOKS_ESCAPED.sub("%25", text)


def path_of(uri: str) -> Path:
    """The file that a uri names: its escapes undone where it has some and that file is there, else the path as it stands."""
    plain = Path(uri)
    if _LOOKS_ESCAPED.search(uri):
        unescaped = Path(os.fsdecode(unquote_to_bytes(uri)))
        if unescaped.exists() or not plain.exists():
            return unescaped
    return plain


def item_of(path: str | os.PathLike[str]) -> MediaItem:
    """A media item for one file."""
    return MediaItem(uri=uri_of(path), path=Path(path))


@dataclass(frozen=True, slots=True)
class Unlisted:
    """Something that a source met and could not list: an unreadable folder, a table row without an image."""

    uri: str
    reason: str
    frame: int = 0
    known: MediaItem | None = None
    """What the source says of it all the same: an image that is missing, with time, place and metadata."""

    @property
    def item(self) -> MediaItem:
        """The entry as an item under its uri and frame."""
        return replace(self.known or MediaItem(self.uri), uri=self.uri, frame=self.frame)


def place_of(item: MediaItem) -> Place:
    """Where and in which month the item was taken: what a prior may go by."""
    if item.place.month is None and item.captured_at is not None:
        return replace(item.place, month=item.captured_at.month)
    return item.place
