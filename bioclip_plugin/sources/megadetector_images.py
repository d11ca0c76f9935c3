"""One image of a MegaDetector file as media items: an item a frame, its boxes as regions, and a line for what cannot be used."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeGuard

from bioclip_core.errors import UsageError
from bioclip_plugin.media import MediaItem, Place, Region, Unlisted
from bioclip_plugin.sources.rows import plain
from bioclip_plugin.sources.streamed_json import kind_of
from bioclip_plugin.time_zones import in_zone

ROUNDING = 1e-3
"""By so much a box or a confidence may lie outside 0 to 1; it is clipped then."""
WORDS = ("animal", "person", "vehicle")
NOT_NAMED = frozenset({"person", "people", "human", "vehicle", "empty", "blank"})
"""Categories, in lower case, whose boxes are kept and not named by the model."""

_LARGEST = 2**31 - 1  # of whole numbers: what databases take for a frame
_REASONS = 3  # told of an image none of whose boxes can be used
_FIELDS = frozenset({"file", "detections", "failure"})
_MOMENTS = ("%Y:%m:%d %H:%M:%S", "%Y-%m-%d %H:%M:%S")

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
    """One element of ``images``, found to name a file that may be read."""

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
            yield Unlisted(entry.uri, str(failure))
            if listed:
                many = (
                    f"{len(listed)} detections"
                    if isinstance(listed, list)
                    else f"detections that are {kind_of(listed)}"
                )
                yield self._trouble(entry, "", f"it has a failure and {many}: these are left out")
            return
        if not isinstance(listed, list):
            yield Unlisted(entry.uri, f"{_named(entry)}: detections is {kind_of(listed)}, and there is no failure")
            return
        found, dropped = self._detections(entry, listed)
        if dropped and not found:  # to list it without boxes would say that the detector found nothing
            why = "; ".join(trouble.reason for trouble in dropped[:_REASONS])
            if len(dropped) > _REASONS:
                why += f"; and {len(dropped) - _REASONS} more"
            yield Unlisted(entry.uri, f"none of its boxes can be used: {why}")
            return
        yield from dropped
        if any(one.frame is None for one in found) and any(one.frame is not None for one in found):
            yield self._trouble(
                entry, "", "only some detections have a frame_number: the others are taken as of frame 0"
            )
        yield from self._by_frame(entry, found)

    def _by_frame(self, entry: Entry, found: list[_Detection]) -> Iterator[MediaItem]:
        frames: dict[int, list[_Detection]] = {}
        for one in found:
            frames.setdefault(one.frame or 0, []).append(one)
        about = _about(entry.record, self._time_zone)
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

    def _trouble(self, entry: Entry, part: str, why: str) -> Unlisted:
        place = f"images[{entry.number}]"
        return Unlisted(
            f"{self._shown}#{place}{part}", f"{place} {entry.name!r}{part and ' '}{part.lstrip('.')}: {why}"
        )


@dataclass(frozen=True, slots=True)
class _About:
    """What an entry says besides its boxes."""

    captured_at: datetime | None
    place: Place
    deployment: str | None
    metadata: dict[str, Any]

    def of_further_frame(self) -> _About:
        """Of a video's frames the first one keeps what the file says; only the frame rate is with each."""
        kept = {name: value for name, value in self.metadata.items() if name == "frame_rate"}
        return _About(self.captured_at, self.place, self.deployment, kept)


_NOTHING = _About(None, Place(), None, {})


def _about(record: Mapping[str, Any], time_zone: str | None) -> _About:
    rest = {name: value for name, value in record.items() if name not in _FIELDS}
    if not rest:
        return _NOTHING
    captured_at = moment_of(rest.get("datetime"))
    if captured_at is not None:
        captured_at = in_zone(captured_at, time_zone)
        del rest["datetime"]
    latitude, longitude = (_degrees(rest.get(name), limit) for name, limit in (("latitude", 90), ("longitude", 180)))
    if latitude is None or longitude is None:
        latitude = longitude = None
    else:
        del rest["latitude"], rest["longitude"]
    country, deployment = rest.get("country"), rest.get("location")
    if isinstance(country, str) and country.isascii() and country.isalpha() and len(country) in (2, 3):
        country = rest.pop("country").upper()
    else:
        country = None
    deployment = rest.pop("location") if isinstance(deployment, str) and deployment.strip() else None
    metadata = {name: plain(value) for name, value in rest.items() if value is not None}
    return _About(captured_at, Place(country, None, latitude, longitude), deployment, metadata)


def moment_of(value: Any) -> datetime | None:
    """A date and time as EXIF or ISO 8601 writes it; None for anything else."""
    if not isinstance(value, str):
        return None
    for form in _MOMENTS:
        try:
            return datetime.strptime(value.strip(), form)
        except ValueError:
            continue
    try:
        return datetime.fromisoformat(value.strip()) if len(value.strip()) > 10 else None
    except ValueError:
        return None


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


def _degrees(value: Any, limit: float) -> float | None:
    return float(value) if is_number(value) and abs(value) <= limit else None


def _named(entry: Entry) -> str:
    return f"images[{entry.number}] {entry.name!r}"


def _short(value: Any) -> str:
    """The value as it stands, cut where it is long."""
    return "missing" if value is None else reprlib.repr(value)
