"""One image of a MegaDetector file as media items: an item a frame, its boxes as regions, and a line for what cannot be used."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeGuard

from bioclip_core.errors import UsageError
from bioclip_plugin.formats.megadetector.read_about import about_of
from bioclip_plugin.formats.shared.streamed_json import kind_of
from bioclip_plugin.items.media import MediaItem, Region, Unlisted

ROUNDING = 1e-3
"""By so much a box or a confidence may lie outside 0 to 1; it is clipped then."""
VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mpeg", ".mpg", ".mov", ".mkv", ".flv"})
"""Files that the format's readers take for videos, which need a frame rate and the frames that were looked at."""
WORDS = ("animal", "person", "vehicle")
NOT_NAMED = frozenset({"person", "people", "human", "vehicle", "empty", "blank"})
"""Categories, in lower case, whose boxes are kept and not named by the model."""

_LARGEST = 2**31 - 1  # of whole numbers: what databases take for a frame
_REASONS = 3  # told of an image none of whose boxes can be used

Classifications = list[tuple[str, float]]


@dataclass(frozen=True, slots=True)
class Header:
    """What a MegaDetector file says of all its images."""

    categories: Mapping[str, str]
    """Names of detections by id."""
    classes: Mapping[str, str]
    """Names of classifications by id; none where no classifier has run."""
    detector: str
    detector_version: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One element of ``images`` (or of SpeciesNet's ``predictions``), found to name a file that may be read."""

    number: int
    """From 0, as in ``images[0]``."""
    name: str
    """The file as it stands there."""
    uri: str
    path: Path
    record: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Detection:
    frame: int | None
    region: Region
    classifications: Classifications


class ImageReader:
    """Turns the entries of one file into items."""

    def __init__(self, shown: str, header: Header, threshold: float, time_zone: str | None = None) -> None:
        """Set up.

        Args:
            shown: the file's name in messages.
            header: what the file says of all its images.
            threshold: confidence from which a box is classified.
            time_zone: of times that state none.
        """
        self._shown = shown
        self._header = header
        self._threshold = threshold
        self._time_zone = time_zone

    def items(self, entry: Entry) -> Iterator[MediaItem | Unlisted]:
        """The items of one entry: one, or one a frame that has boxes; and a message for each box that is dropped."""
        failure, listed = entry.record.get("failure"), entry.record.get("detections")
        if failure:
            # What the detector's own program said stands alone, so that an export can give it back word for word.
            yield self._failed(entry, str(failure))
            if listed:
                many = (
                    f"{len(listed)} detections"
                    if isinstance(listed, list)
                    else f"detections that are {kind_of(listed)}"
                )
                yield self._trouble(entry, "", f"it has a failure and {many}: these are left out")
            return
        if not isinstance(listed, list):
            yield self._failed(entry, f"{_named(entry)}: detections is {kind_of(listed)}, and there is no failure")
            return
        found, dropped = self._detections(entry, listed)
        if dropped and not found:  # to list it without boxes would say that the detector found nothing
            why = "; ".join(trouble.reason for trouble in dropped[:_REASONS])
            if len(dropped) > _REASONS:
                why += f"; and {len(dropped) - _REASONS} more"
            yield self._failed(entry, f"none of its boxes can be used: {why}")
            return
        yield from dropped
        unplaced = sum(one.frame is None for one in found)
        if unplaced and entry.path.suffix.lower() in VIDEO_SUFFIXES:
            why = (
                f"{unplaced} of {len(found)} detections have no frame_number: they are kept with frame 0, and not named"
            )
            yield self._trouble(entry, "", why)
            found = [one if one.frame is not None else _not_named(one) for one in found]
        yield from self._by_frame(entry, found)

    def _by_frame(self, entry: Entry, found: list[_Detection]) -> Iterator[MediaItem]:
        frames: dict[int, list[_Detection]] = {}
        for one in found:
            frames.setdefault(one.frame or 0, []).append(one)
        about = about_of(entry.record, self._time_zone)
        for frame in sorted(frames) or [0]:
            detections = frames.get(frame, [])
            said = [
                {"bbox": one.region.xywh, "classes": [list(pair) for pair in one.classifications]}
                for one in detections
                if one.classifications
            ]
            metadata = {**about.metadata, **({"classifications": said} if said else {})}
            yield MediaItem(
                uri=entry.uri,
                path=entry.path,
                frame=frame,
                captured_at=about.captured_at,
                place=about.place,
                deployment=about.deployment,
                regions=tuple(one.region for one in detections),
                detected=True,
                metadata=metadata,
            )
            about = about.of_further_frame()

    def _detections(self, entry: Entry, listed: list[Any]) -> tuple[list[_Detection], list[Unlisted]]:
        found: list[_Detection] = []
        dropped: list[Unlisted] = []
        taken: set[tuple[int | None, tuple[int, int, int, int], str]] = set()
        for place, detection in enumerate(listed):
            try:
                one = self._detection(detection)
                if len(listed) > 1:
                    key = (one.frame, one.region.box, one.region.category)
                    if key in taken:
                        raise UsageError(
                            f"bbox {_short(detection['bbox'])} stands there twice as {one.region.category}"
                        )
                    taken.add(key)
            except UsageError as error:
                dropped.append(self._trouble(entry, f".detections[{place}]", str(error)))
                continue
            found.append(one)
        return found, dropped

    def _detection(self, detection: Any) -> _Detection:
        if not isinstance(detection, dict):
            raise UsageError(f"it is {kind_of(detection)}; an object with category, conf and bbox is needed")
        category = detection.get("category")
        if isinstance(category, int) and not isinstance(category, bool):
            category = str(category)
        name = self._header.categories.get(category) if isinstance(category, str) else None
        if name is None:
            ids = ", ".join(self._header.categories)
            raise UsageError(f"category {_short(category)} is not in detection_categories, which has {ids}")
        confidence = confidence_of(detection.get("conf"))
        frame = detection.get("frame_number")
        if frame is not None and (type(frame) is not int or not 0 <= frame <= _LARGEST):
            raise UsageError(f"frame_number {_short(frame)}: a whole number from 0 is needed")
        word = name.strip().lower()
        x, y, w, h = box_of(detection.get("bbox"))
        region = Region(
            x,
            y,
            w,
            h,
            self._header.detector,
            self._header.detector_version,
            word if word in WORDS else name.strip(),
            confidence,
            word not in NOT_NAMED and confidence >= self._threshold,
        )
        return _Detection(frame, region, self._classifications(detection.get("classifications")))

    def _classifications(self, listed: Any) -> Classifications:
        """What another classifier said, by name; what is not well formed is left out, since it is only kept to look at."""
        pairs = listed if isinstance(listed, list) else []
        return [
            (self._header.classes.get(str(pair[0]), str(pair[0])), pair[1])
            for pair in pairs
            if isinstance(pair, list) and len(pair) == 2 and is_number(pair[1])
        ]

    def _failed(self, entry: Entry, reason: str) -> Unlisted:
        """An image without boxes, with what the file says of it all the same."""
        about = about_of(entry.record, self._time_zone)
        known = MediaItem(
            entry.uri,
            entry.path,
            captured_at=about.captured_at,
            place=about.place,
            deployment=about.deployment,
            metadata=about.metadata,
        )
        return Unlisted(entry.uri, reason, known=known)

    def _trouble(self, entry: Entry, part: str, why: str) -> Unlisted:
        place = f"images[{entry.number}]"
        return Unlisted(
            f"{self._shown}#{place}{part}", f"{place} {entry.name!r}{part and ' '}{part.lstrip('.')}: {why}"
        )


def _not_named(one: _Detection) -> _Detection:
    return replace(one, region=replace(one.region, classified=False))


def confidence_of(value: Any) -> float:
    """A confidence from 0 to 1, clipped where it is rounded.

    Raises:
        UsageError: for anything else.
    """
    if type(value) is float and 0 <= value <= 1:
        return value
    if not is_number(value) or not -ROUNDING <= value <= 1 + ROUNDING:
        raise UsageError(f"conf {_short(value)}: a number from 0 to 1 is needed")
    return min(max(float(value), 0.0), 1.0)


def box_of(value: Any) -> tuple[float, float, float, float]:
    """x, y, width and height within 0 to 1, clipped where they are rounded.

    Raises:
        UsageError: for anything else.
    """
    if not isinstance(value, list) or len(value) != 4 or not all(map(is_number, value)):
        raise UsageError(f"bbox {_short(value)}: four numbers are needed: x, y, width, height from 0 to 1")
    x, y, w, h = map(float, value)
    if x >= 0 and y >= 0 and w > 0 and h > 0 and x + w <= 1 and y + h <= 1:
        return x, y, w, h
    low, high = -ROUNDING, 1 + ROUNDING
    if not (low <= x <= high and low <= y <= high and x + w <= high and y + h <= high):
        raise UsageError(f"bbox {value}: it leaves the image, which is 0 to 1 wide and high (pixels are not allowed)")
    if x < 0 or x + w > 1:
        x, w = max(x, 0.0), min(x + w, 1.0) - max(x, 0.0)
    if y < 0 or y + h > 1:
        y, h = max(y, 0.0), min(y + h, 1.0) - max(y, 0.0)
    if w <= 0 or h <= 0:
        raise UsageError(f"bbox {value}: width and height must be above 0")
    return x, y, w, h


def is_number(value: Any) -> TypeGuard[float]:
    """Whether JSON gave a finite number."""
    return (type(value) is float and math.isfinite(value)) or (type(value) is int and -_LARGEST <= value <= _LARGEST)


def _named(entry: Entry) -> str:
    return f"images[{entry.number}] {entry.name!r}"


def _short(value: Any) -> str:
    """The value as it stands, cut where it is long."""
    return "missing" if value is None else reprlib.repr(value)
