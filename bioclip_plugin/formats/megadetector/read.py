"""The MegaDetector source: batch results of format 1.0 to 1.6, each image with its boxes."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from bioclip_core.cells import is_unknown
from bioclip_core.errors import SourceError, UsageError
from bioclip_core.files.present import is_file
from bioclip_core.files.streamed_json import (
    AtOnce,
    Beginning,
    Several,
    beginning,
    elements,
    kind_of,
    members,
)
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.megadetector.plain import PlainDetection, PlainImage, are_apart, in_range, well_formed
from bioclip_plugin.formats.shared.detections import (
    LARGEST_INTEGER,
    STATED_FAILURE,
    Boxes,
    Duplicates,
    Entry,
    box_of,
    check_new,
    confidence_of,
    is_number,
    message_of,
    name_in,
    shown,
    without_boxes,
)
from bioclip_plugin.formats.shared.frame_names import located_frame
from bioclip_plugin.formats.shared.paths import located
from bioclip_plugin.formats.shared.pixel_boxes import header_of, turned_reason, upright_region
from bioclip_plugin.formats.shared.stated_values import StatedValues
from bioclip_plugin.items.categories import is_named
from bioclip_plugin.items.media import WHOLE_BOX, MediaItem, Region, Unlisted, path_of, uri_of
from bioclip_plugin.items.time_zones import in_zone

VERSIONS = ("1.0", "1.1", "1.2", "1.3", "1.4", "1.5", "1.6")
"""Versions of the format that are read; the last one is written."""

_OWN_MEMBERS = ("detection_categories", "classification_categories", "classification_category_descriptions")
VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mpeg", ".mpg", ".mov", ".mkv", ".flv"})
"""Files that readers of the format treat as videos, which need a frame rate and the frames that were processed."""

_VIDEO_ENDINGS = tuple(VIDEO_SUFFIXES)

OWN_INFO = "bioclip_plugin"
"""Member of ``info`` that our export writes."""

_WORDS = ("animal", "person", "vehicle")
_FIELDS = frozenset({"file", "detections", "failure"})
_EXIF, _EXIF_TIME = "exif_metadata", "DateTimeOriginal"
_COLUMNS = {
    "captured_at": ("datetime", _EXIF_TIME),
    "latitude": ("latitude",),
    "longitude": ("longitude",),
    "country": ("country",),
    "deployment": ("location",),
}
"""The members of an entry that fill the fields of an item."""
log = logging.getLogger(__name__)


class MegaDetectorSource:
    """Lists the images of a MegaDetector file with their boxes, in the file's order.

    Boxes at or above ``options.detection_threshold`` are classified, unless they are of persons or vehicles; all others
    are kept. Files that the detector failed on are kept with its own words. The file is read twice: first for members
    behind the images, for duplicate files, and so that broken JSON is reported before any work.
    """

    name = "MegaDetector results (.json)"

    def takes(self, address: str) -> bool:
        path = path_of(address)
        return is_file(path) and is_megadetector(beginning(path))

    def items(self, address: str, options: ListingOptions) -> Iterator[MediaItem | Unlisted]:
        path, listed = path_of(address), uri_of(address)
        duplicates = Duplicates()
        values = StatedValues(listed, options, partial(_cells, path), clock="camera", has_codes=True)
        reader = ImageReader(listed, _survey(path, listed, duplicates, options), options, values)
        locate = lambda file: located(file, path.parent, options)  # noqa: E731
        for first, several in members(path, "images", AtOnce("images", "file", in_range)):
            records = several if type(several) is Several else (several,)
            for number, record in enumerate(records, first):
                is_plain = type(record) is PlainImage
                try:
                    name = record.file if is_plain else name_in(record, number, "file", "images", duplicates)
                    if is_plain:
                        check_new(name, number, "file", "images", duplicates)
                    uri, file, frame = located_frame(name, locate)
                    if is_plain and (item := reader.plain_item(uri, file, frame, record.detections)) is not None:
                        yield item
                        continue
                    record = record.as_record() if is_plain else record
                    items = list(reader.items(Entry(number, name, uri, file, record, frame)))
                except (UsageError, RecursionError) as error:
                    items = [Unlisted(f"{listed}#images[{number}]", f"images[{number}]: {error}")]
                yield from items


def _cells(path: Path, name: str) -> Iterator[tuple[str, object]]:
    """Yield a member of each entry, for the order of its dates."""
    for number, record in members(path, "images"):
        if isinstance(record, dict):
            yield f"images[{number}]", _time_in_exif(record) if name == _EXIF_TIME else record.get(name)


def _time_in_exif(record: Mapping[str, Any]) -> object:
    """Return the time in the camera's metadata that the detector copied."""
    written = record.get(_EXIF)
    return written.get(_EXIF_TIME) if isinstance(written, dict) else None


def is_megadetector(seen: Beginning) -> bool:
    """True if a file with this beginning is one of MegaDetector's."""
    names = seen.members
    if not names or "" in names or "annotations" in names:
        return False
    if any(name in names for name in _OWN_MEMBERS):
        return True
    images = names.get("images")
    if not isinstance(images, list):
        return False
    if not images:  # empty, or the first one is longer than the beginning
        return '"info"' in seen.text or '"file"' in seen.text  # COCO has file_name
    return any(isinstance(one, dict) and "file" in one and ("detections" in one or "failure" in one) for one in images)


def version_of(info: Any) -> str:
    """Return the version of the format that ``info`` states.

    Raises:
        UsageError: if it does not state a known one.
    """
    supported = f"supported are versions {', '.join(VERSIONS)}"
    given = info.get("format_version") if isinstance(info, dict) else None
    if given is None:
        raise UsageError(f"info.format_version is missing: {supported}")
    is_number = isinstance(given, (int, float)) and not isinstance(given, bool)
    version = f"{float(given):.1f}" if is_number else given if isinstance(given, str) else ""
    if version not in VERSIONS:
        raise UsageError(f"format_version {given!r} is unknown: {supported}; convert the file with megadetector-utils")
    return version


def _survey(path: Path, listed: str, duplicates: Duplicates, options: ListingOptions) -> Header:
    """Read the members beside the images, and note the files of these."""
    head: dict[str, Any] = {}
    for _, image in elements(path, "images", head, AtOnce("images", "file", well_formed)):
        if type(image) is Several:
            for plain in image:
                duplicates.note(plain.file)
        elif isinstance(image, dict) and isinstance(image.get("file"), str):
            duplicates.note(image["file"])
    if "images" not in head:
        raise SourceError(f"{listed} lacks images: a MegaDetector file has an array of that name")
    if not isinstance(head["images"], list):
        raise SourceError(f"{listed}: images is {kind_of(head['images'])}; it must be an array")
    info = head["info"] if isinstance(head.get("info"), dict) else {}
    version, metadata = info.get("format_version"), info.get("detector_metadata")
    try:
        if version is not None:
            version_of(info)
        categories = _names_in(head, _OWN_MEMBERS[0])
        classes = {} if head.get(_OWN_MEMBERS[1]) is None else _names_in(head, _OWN_MEMBERS[1])
    except UsageError as error:
        raise SourceError(f"{listed}: {error}") from error
    if version is None:
        options.findings.add(
            "files of MegaDetector's format do not state its version; they are read by their shape", listed
        )
    elif not isinstance(version, str):
        log.warning("%s: format_version %s is a number; it is read as the text %r", listed, version, str(version))
    detector_version = metadata.get("megadetector_version") if isinstance(metadata, dict) else None
    descriptions = head[_OWN_MEMBERS[2]] if isinstance(head.get(_OWN_MEMBERS[2]), dict) else {}
    return Header(
        categories,
        classes,
        str(info.get("detector") or ""),
        str(detector_version or ""),
        {key: text for key, text in descriptions.items() if isinstance(text, str)},
        # PyTorch-Wildlife does not state a version, and counts from 0, which elsewhere means empty.
        is_ours=isinstance(info.get(OWN_INFO), dict),
        may_be_turned=version is None and categories.get("0", "").strip().lower() == "animal",
    )


def _names_in(head: Mapping[str, Any], member: str) -> Mapping[str, str]:
    names = head.get(member)
    if not isinstance(names, dict):
        raise UsageError(
            f"{member} is {'missing' if names is None else kind_of(names)}; it must be an object with the name of each id, "
            'such as {"1": "animal", "2": "person", "3": "vehicle"} for MegaDetector; PyTorch-Wildlife counts from 0'
        )
    for key, name in names.items():
        if not isinstance(name, str) or not name.strip():
            raise UsageError(f"{member}[{key!r}] is {name!r}; it must be a name")
    return names


# -- one image: an item per frame, with its boxes as regions -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Header:
    """The information of a MegaDetector file about all its images."""

    categories: Mapping[str, str]
    """Names of detections by id."""
    classes: Mapping[str, str]
    """Names of classifications by id; empty if no classifier has run."""
    detector: str
    detector_version: str
    descriptions: Mapping[str, str]
    """Taxonomy of classifications by id, where the file states it."""
    is_ours: bool = False
    """True for a file that our export wrote, in which a certain box all over an image is the whole image."""
    may_be_turned: bool = False
    """True for boxes that may be of the stored pixels where EXIF turns an image, as in files of PyTorch-Wildlife."""


class _Detection(NamedTuple):
    frame: int | None
    region: Region
    classes: list[tuple[str, float]]
    """Ids and probabilities from another classifier."""


@dataclass(frozen=True, slots=True)
class ImageReader:
    """Turns the entries of one file into items."""

    file: str
    """The file's name in messages."""
    header: Header
    """Its information about all images."""
    options: ListingOptions
    values: StatedValues
    """Reads times and places."""
    _categories: dict[str, tuple[str, bool]] = field(default_factory=dict, init=False, repr=False, compare=False)
    """By id what :meth:`_category` found: a file of millions of boxes has a few."""

    def items(self, entry: Entry) -> Iterator[MediaItem | Unlisted]:
        """Yield the items of one entry, one or one per frame with boxes, and a message for each box that is dropped."""
        failure, listed = entry.record.get("failure"), entry.record.get("detections")
        if failure:
            # The detector's own words stand alone, so that an export can write them unchanged.
            known = self._item_of(entry)
            known = replace(known, metadata={**known.metadata, STATED_FAILURE: str(failure)})
            yield Unlisted(entry.uri, str(failure), known.frame, known)
            if listed:
                many = f"{len(listed)} detections" if isinstance(listed, list) else f"detections ({kind_of(listed)})"
                yield self._message(entry, "", f"it has a failure and {many}; the detections are skipped")
            return
        if not isinstance(listed, list):
            reason = f"images[{entry.number}] {entry.name!r}: detections is {kind_of(listed)}, and there is no failure"
            yield Unlisted(entry.uri, reason, entry.frame or 0, self._item_of(entry))
            return
        found, dropped = self._detections(entry, listed)
        if found and self.header.may_be_turned:
            try:
                found = self._upright(entry, found)
            except UsageError as error:
                reason = f"images[{entry.number}] {entry.name!r}: {error}"
                yield Unlisted(entry.uri, reason, entry.frame or 0, self._item_of(entry))
                return
        if dropped and not found:  # an item without boxes would mean that the detector found nothing
            yield without_boxes(self._item_of(entry), dropped)
            return
        yield from dropped
        is_video = entry.frame is None and entry.uri[-5:].lower().endswith(_VIDEO_ENDINGS)
        if is_video and (frameless := sum(detection.frame is None for detection in found)):
            why = f"{frameless} of {len(found)} detections have no frame_number: they are kept with frame 0, and not named"
            yield self._message(entry, "", why)
            found = [
                one if one.frame is not None else one._replace(region=replace(one.region, classified=False))
                for one in found
            ]
        yield from self._by_frame(entry, found)

    def plain_item(self, uri: str, path: Path, frame: int | None, boxes: list[PlainDetection]) -> MediaItem | None:
        """Return the item of a plain entry, of which a file has millions, as :meth:`items` would; None if it has to look."""
        header, least = self.header, self.options.detection_threshold
        if frame is not None or header.is_ours or header.may_be_turned or uri[-5:].lower().endswith(_VIDEO_ENDINGS):
            return None
        if len(boxes) > 1 and not are_apart(boxes):
            return None
        regions = []
        for box in boxes:
            known = self._categories.get(box.category)
            if known is None:
                return None  # the first time, or not explained by the file
            word, is_to_name = known
            x, y, w, h = box.bbox
            regions.append(
                Region(
                    x,
                    y,
                    w,
                    h,
                    header.detector,
                    header.detector_version,
                    word,
                    box.conf,
                    is_to_name and box.conf >= least,
                )
            )
        return MediaItem(uri, path, regions=tuple(regions), detected=True)

    def _item_of(self, entry: Entry) -> MediaItem:
        return MediaItem(entry.uri, entry.path, entry.frame or 0, is_part=entry.frame is not None, **self._facts(entry))

    def _upright(self, entry: Entry, found: list[_Detection]) -> list[_Detection]:
        """Return the boxes of an image that EXIF turns as boxes of the upright image.

        Raises:
            UsageError: if the user has not stated what they mean.
        """
        try:
            orientation = header_of(entry.path).orientation
        except UsageError:  # a video, or a file that cannot be read: reading it reports that
            return found
        if orientation == 1 or self.options.turned_boxes == "upright":
            return found
        if self.options.turned_boxes == "refuse":
            raise UsageError(turned_reason(orientation))
        return [one._replace(region=upright_region(one.region, orientation)) for one in found]

    def _by_frame(self, entry: Entry, found: list[_Detection]) -> Iterator[MediaItem]:
        """Yield one item per frame. The first one keeps all metadata; the others have only the frame rate."""
        facts = self._facts(entry)
        if not facts and entry.frame is None and all(one.frame is None and not one.classes for one in found):
            regions = tuple([one.region for one in found])  # as for nearly all of millions
            is_whole = self.header.is_ours and len(regions) == 1 and _is_whole_image(regions[0])
            yield MediaItem(entry.uri, entry.path, regions=() if is_whole else regions, detected=not is_whole)
            return
        frames: dict[int, list[_Detection]] = {}
        for detection in found:
            frames.setdefault(detection.frame or entry.frame or 0, []).append(detection)
        metadata = facts.get("metadata", {})
        is_part = entry.frame is not None or any(one.frame is not None for one in found)
        for frame in sorted(frames) or [entry.frame or 0]:
            detections = frames.get(frame, [])
            classes = [self._classes(one) for one in detections if one.classes]
            facts["metadata"] = {**metadata, "classifications": classes} if classes else metadata
            regions = tuple(one.region for one in detections)
            is_whole = self.header.is_ours and len(regions) == 1 and _is_whole_image(regions[0])
            yield MediaItem(
                entry.uri,
                entry.path,
                frame,
                regions=() if is_whole else regions,
                detected=not is_whole,
                is_part=is_part,
                **facts,
            )
            metadata = {name: value for name, value in metadata.items() if name == "frame_rate"}

    def _classes(self, one: _Detection) -> dict[str, Any]:
        """Return another classifier's answer for one box, with the taxonomy that the file states."""
        answer: dict[str, Any] = {
            "bbox": one.region.xywh,
            "classes": [[self.header.classes.get(key, key), score] for key, score in one.classes],
        }
        taxa = {
            self.header.classes.get(key, key): self.header.descriptions[key]
            for key, _ in one.classes
            if key in self.header.descriptions
        }
        return answer | ({"descriptions": taxa} if taxa else {})

    def _facts(self, entry: Entry) -> dict[str, Any]:
        """Return the fields of an item that an entry states besides its boxes; values that fit no field are metadata."""
        if entry.record.keys() <= _FIELDS:
            return {}
        rest = {name: value for name, value in entry.record.items() if name not in _FIELDS}
        if is_unknown(rest.get("datetime")) and (written := _time_in_exif(rest)) is not None:
            rest[_EXIF_TIME] = written
        rest = {name: value for name, value in rest.items() if value is not None}
        facts = self.values.item_fields(rest, _COLUMNS, f"images[{entry.number}] {entry.name!r}")
        if facts["captured_at"] is not None:
            facts["captured_at"] = in_zone(facts["captured_at"], self.options.time_zone)
        return facts

    def _detections(self, entry: Entry, listed: list[Any]) -> tuple[list[_Detection], list[Unlisted]]:
        """Return the detections of an entry, and messages for those that cannot be used."""
        found: list[_Detection] = []
        dropped: list[Unlisted] = []
        boxes = Boxes(listed)
        for place, detection in enumerate(listed):
            try:
                one = self._detection(detection)
                boxes.add(one.region, one.frame)
                found.append(one)
            except UsageError as error:
                dropped.append(self._message(entry, f".detections[{place}]", str(error)))
        return found, dropped

    def _detection(self, detection: Any) -> _Detection:
        if not isinstance(detection, dict):
            raise UsageError(f"it is {kind_of(detection)}; it must be an object with category, conf and bbox")
        category = detection.get("category")
        known = self._categories.get(category) if type(category) is str else None
        word, is_to_name = known or self._category(category)
        confidence = confidence_of(detection.get("conf"))
        frame = detection.get("frame_number")
        if frame is not None and (type(frame) is not int or not 0 <= frame <= LARGEST_INTEGER):
            raise UsageError(f"frame_number {shown(frame)}: must be a whole number from 0")
        x, y, w, h = box_of(detection.get("bbox"))
        is_named_here = is_to_name and confidence >= self.options.detection_threshold
        region = Region(x, y, w, h, self.header.detector, self.header.detector_version, word, confidence, is_named_here)
        pairs = detection.get("classifications")
        return _Detection(frame, region, _kept_classes(pairs) if pairs else [])

    def _category(self, category: Any) -> tuple[str, bool]:
        """Return the name of a category by its id, and whether its boxes are named.

        Raises:
            UsageError: for an id that the file does not explain.
        """
        if isinstance(category, int) and not isinstance(category, bool):
            category = str(category)
        name = self.header.categories.get(category) if isinstance(category, str) else None
        if name is None:
            raise UsageError(
                f"category {shown(category)} is not in detection_categories, which has {', '.join(self.header.categories)}"
            )
        word = name.strip().lower()
        self._categories[category] = known = (word if word in _WORDS else name.strip(), is_named(word))
        return known

    def _message(self, entry: Entry, part: str, why: str) -> Unlisted:
        return message_of(self.file, f"images[{entry.number}]", entry, part, why)


def _kept_classes(pairs: Any) -> list[tuple[str, float]]:
    """Return the pairs that are an id and a number; malformed ones are skipped, since they are only kept to look at."""
    return [
        (str(pair[0]), pair[1])
        for pair in (pairs if isinstance(pairs, list) else ())
        if isinstance(pair, list) and len(pair) == 2 and is_number(pair[1])
    ]


def _is_whole_image(region: Region) -> bool:
    """True for the box by which our export stands for an image that no detector has seen."""
    return region.box == WHOLE_BOX and region.confidence == 1 and region.category == "animal"
