"""Entries of detectors' JSON files: the files that they name, also twice, their boxes and confidences."""

from __future__ import annotations

import math
import posixpath
import re
import reprlib
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

from bioclip_core.cells import number_of, share_of
from bioclip_core.errors import UsageError
from bioclip_core.files.streamed_json import kind_of
from bioclip_plugin.items.media import BOX_UNIT, MediaItem, Region, Unlisted
from bioclip_plugin.store.records import StoredItem

STATED_FAILURE = "failure"
"""Metadata of a failure that an input file states, with its own words, so that an export repeats them."""
LARGEST_INTEGER = 2**31 - 1
"""Largest number of a frame that databases take."""

_LIKE_A_FILE = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,4}$")
_RECORD = re.compile(r"#\w+(?:=|\[)[^/]*$")  # of a table's row, or an element of another program's JSON
_REASONS = 3  # of an image without any usable box
_ROUNDING = 1e-3  # by which a box or a confidence may lie outside 0 to 1; it is clipped then


class Entry(NamedTuple):
    """One element of MegaDetector's ``images`` or SpeciesNet's ``predictions`` whose file may be read."""

    number: int
    """From 0, as in ``images[0]``."""
    name: str
    """The file's name as it is written there."""
    uri: str
    path: Path
    record: Mapping[str, Any]
    frame: int | None = None
    """Frame of the file, where the name is that of a frame."""


class Duplicates:
    """File names that a list repeats, found with eight bytes per file: noted in a first pass, queried in a second.

    The names of two million files themselves would take a third of a gigabyte."""

    def __init__(self) -> None:
        self._hashes = array("q")
        self._repeated: frozenset[int] | None = None
        self._first: dict[str, int] = {}

    def note(self, name: str) -> None:
        """Note a name in the first pass."""
        self._hashes.append(hash(_same_file(name)))

    @property
    def repeated(self) -> frozenset[int]:
        """Hashes that occurred more than once; after the first pass."""
        if self._repeated is None:
            import numpy as np

            ordered = np.sort(np.frombuffer(self._hashes, dtype=np.int64)) if self._hashes else np.empty(0, np.int64)
            self._repeated = frozenset(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
            self._hashes = array("q")
        return self._repeated

    def earlier(self, name: str, number: int) -> int | None:
        """Return the number under which the second pass asked for the same file before, None for a new file."""
        same = _same_file(name)
        if hash(same) not in self.repeated:
            return None
        first = self._first.setdefault(same, number)
        return first if first != number else None


def _same_file(name: str) -> str:
    r"""Return one spelling for a file, so that ``cam\a.jpg`` and ``cam//a.jpg`` are the same."""
    name = name.replace("\\", "/")
    return posixpath.normpath(name) if "//" in name or "./" in name else name


def name_in(record: Any, number: int, key: str, listed_in: str, duplicates: Duplicates) -> str:
    """Return the file that an element of an array names.

    Raises:
        UsageError: if it does not name one, or an earlier element names it.
    """
    if not isinstance(record, dict):
        raise UsageError(f"it is {kind_of(record)}; it must be an object with {key} and detections")
    name = record.get(key)
    if not isinstance(name, str):
        raise UsageError(f"{key} is {kind_of(name)}; it must be the name of an image")
    check_new(name, number, key, listed_in, duplicates)
    return name


def check_new(name: str, number: int, key: str, listed_in: str, duplicates: Duplicates) -> None:
    """Refuse a file that an earlier element of an array names.

    Raises:
        UsageError: if one does.
    """
    earlier = duplicates.earlier(name, number)
    if earlier is not None:
        raise UsageError(f"duplicate {key} {name!r}; {listed_in}[{earlier}] is used")


def is_number(value: Any) -> TypeGuard[float]:
    """True if a JSON value is a finite number."""
    if type(value) is float:
        return math.isfinite(value)
    return type(value) is int and -LARGEST_INTEGER <= value <= LARGEST_INTEGER


def confidence_of(value: Any) -> float:
    """Return a confidence from 0 to 1, clipped if it is outside by rounding; text such as "0,93" or "93%" is read.

    Raises:
        UsageError: for anything else.
    """
    if type(value) is float and 0 <= value <= 1:
        return value
    share = share_of(value) if is_number(value) or isinstance(value, str) else None
    if share is None:
        raise UsageError(f"conf {shown(value)}: must be a number from 0 to 1")
    return share


def box_of(value: Any) -> tuple[float, float, float, float]:
    """Return x, y, width and height within 0 to 1, clipped if they are outside by rounding.

    Raises:
        UsageError: for anything else.
    """
    if type(value) is list and len(value) == 4:  # nearly all of millions
        x, y, w, h = value
        if (
            type(x) is type(y) is type(w) is type(h) is float
            and x >= 0
            and y >= 0
            and 0 < w <= 1 - x
            and 0 < h <= 1 - y
            and x + w <= 1
            and y + h <= 1
        ):
            return x, y, w, h
    given = value
    if isinstance(value, list) and any(isinstance(one, str) for one in value):
        value = [number_of(one) if isinstance(one, str) else one for one in value]
    if not isinstance(value, list) or len(value) != 4 or not all(map(is_number, value)):
        raise UsageError(f"bbox {shown(given)}: must be four numbers: x, y, width, height from 0 to 1")
    x, y, w, h = map(float, value)
    if x >= 0 and y >= 0 and w > 0 and h > 0 and x + w <= 1 and y + h <= 1:
        return x, y, w, h
    low, high = -_ROUNDING, 1 + _ROUNDING
    if not (low <= x <= high and low <= y <= high and x + w <= high and y + h <= high):
        raise UsageError(f"bbox {value}: it leaves the image, which is 0 to 1 wide and high (pixels are not allowed)")
    if x < 0 or x + w > 1:
        x, w = max(x, 0.0), min(x + w, 1.0) - max(x, 0.0)
    if y < 0 or y + h > 1:
        y, h = max(y, 0.0), min(y + h, 1.0) - max(y, 0.0)
    if w <= 0 or h <= 0:
        raise UsageError(f"bbox {value}: width and height must be above 0")
    return x, y, w, h


class Boxes:
    """The boxes of one image, to find duplicates."""

    def __init__(self, listed: Sequence[Any]) -> None:
        self._several = len(listed) > 1  # most images have one box, which need not be stored
        self._seen: dict[tuple[int | None, int, int], list[Region]] = {}  # by frame and corner, which few share

    def add(self, region: Region, frame: int | None = None) -> None:
        """Add a box.

        Raises:
            UsageError: if the same box of the same category was added before.
        """
        if not self._several:
            return
        corner = (frame, min(round(region.x * BOX_UNIT), BOX_UNIT - 1), min(round(region.y * BOX_UNIT), BOX_UNIT - 1))
        there = self._seen.setdefault(corner, [])
        if there and any(one.category == region.category and one.box == region.box for one in there):
            raise UsageError(f"duplicate bbox {region.xywh} of category {region.category}")
        there.append(region)


def message_of(file: str, place: str, entry: Entry, part: str, why: str) -> Unlisted:
    """Return a message on a part of an entry, such as ``.detections[2]``; empty for the whole entry."""
    return Unlisted(f"{file}#{place}{part}", f"{place} {entry.name!r}{part.replace('.', ' ')}: {why}")


def without_boxes(known: MediaItem, dropped: Sequence[Unlisted]) -> Unlisted:
    """Return an image without any usable box: as an item it would mean that the detector found nothing."""
    why = "; ".join(message.reason for message in dropped[:_REASONS])
    more = f"; and {len(dropped) - _REASONS} more" if len(dropped) > _REASONS else ""
    return Unlisted(known.uri, f"none of its boxes can be used: {why}{more}", known.frame, known)


def shown(value: Any) -> str:
    """Return a value for a message, shortened if it is long."""
    return "missing" if value is None else reprlib.repr(value)


def is_whole_file(stored: StoredItem) -> bool:
    """True if an item is a file: the failure of a table's row, or of a folder that could not be listed, is not."""
    if stored.failure is None or stored.failure.stage != "list":
        return True
    return bool(_LIKE_A_FILE.search(stored.item.uri)) and not _RECORD.search(stored.item.uri)
