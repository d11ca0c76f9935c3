"""The MegaDetector source: batch results of format 1.3 to 1.6, each image with the boxes that were found in it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioclip_core.errors import SourceError, UsageError
from bioclip_plugin.formats.megadetector.read_images import Entry, Header, ImageReader
from bioclip_plugin.formats.shared.duplicates import Duplicates
from bioclip_plugin.formats.shared.paths import located
from bioclip_plugin.formats.shared.streamed_json import ARRAY_BEGINS, Beginning, beginning, kind_of, members, walk
from bioclip_plugin.items.media import MediaItem, Unlisted, path_of, uri_of

if TYPE_CHECKING:
    from bioclip_plugin.contracts.source import ListingOptions

VERSIONS = ("1.3", "1.4", "1.5", "1.6")
"""Versions of the format that are read; the last one is written."""

_OWN_MEMBERS = ("detection_categories", "classification_categories", "classification_category_descriptions")
log = logging.getLogger(__name__)


class MegaDetectorSource:
    """Lists the images of a MegaDetector file with their boxes, in the file's order.

    Boxes at or above ``options.detection_threshold`` are classified, unless they are of persons or vehicles; all others
    are kept. Files that the detector failed on are carried over with its own words. The file is read twice: first for what
    stands behind the images, for files that are named twice, and so that broken JSON is heard of before any work.
    """

    name = "MegaDetector results (.json)"

    def takes(self, address: str) -> bool:
        path = path_of(address)
        return path.is_file() and is_megadetector(beginning(path))

    def items(self, address: str, options: ListingOptions) -> Iterator[MediaItem | Unlisted]:
        path, shown = path_of(address), uri_of(address)
        header, duplicates = _survey(path, shown)
        reader = ImageReader(shown, header, options.detection_threshold, options.time_zone)
        for number, record in members(path, "images"):
            try:
                items = list(reader.items(_entry(number, record, path.parent, options, duplicates)))
            except (UsageError, RecursionError) as error:
                items = [Unlisted(f"{shown}#images[{number}]", f"images[{number}]: {error}")]
            yield from items


def is_megadetector(seen: Beginning) -> bool:
    """Whether a file that begins like this is one of MegaDetector's."""
    names = seen.members
    if not names or "" in names or "annotations" in names:
        return False
    if any(name in names for name in _OWN_MEMBERS):
        return True
    images = names.get("images")
    if not isinstance(images, list):
        return False
    if not images:  # none at all, or the first one is longer than what was looked at
        return '"info"' in seen.text or '"file"' in seen.text  # COCO has file_name
    return any(isinstance(one, dict) and "file" in one and ("detections" in one or "failure" in one) for one in images)


def version_of(info: Any) -> str:
    """The version of the format that ``info`` states.

    Raises:
        UsageError: if it states none that is known.
    """
    allowed = f"versions {', '.join(VERSIONS)} are read"
    if not isinstance(info, dict) or info.get("format_version") is None:
        raise UsageError(f"info.format_version is missing: {allowed}")
    given = info["format_version"]
    version = str(given) if isinstance(given, (str, float)) else ""
    if version not in VERSIONS:
        raise UsageError(f"format_version {given!r} is not known: {allowed}; convert the file with megadetector-utils")
    return version


def names_by_id(value: Any, member: str) -> Mapping[str, str]:
    """A table of category names.

    Raises:
        UsageError: if it is none.
    """
    if not isinstance(value, dict):
        raise UsageError(
            f"{member} is {'missing' if value is None else kind_of(value)}: an object of id and name is needed"
        )
    for key, name in value.items():
        if not isinstance(name, str) or not name.strip():
            raise UsageError(f"{member}[{key!r}] is {name!r}: a name is needed")
    return value


def _survey(path: Path, shown: str) -> tuple[Header, Duplicates]:
    """What stands beside the images, and which files are named twice."""
    head: dict[str, Any] = {}
    duplicates = Duplicates()
    for event in walk(path):
        if event.name != "images":
            if event.number is None or event.number == ARRAY_BEGINS:
                head[event.name] = [] if event.number == ARRAY_BEGINS else event.value
        elif event.number is None:
            raise SourceError(f"{shown}: images is {kind_of(event.value)}; it must be an array")
        elif event.number == ARRAY_BEGINS:
            head["images"] = True
        elif isinstance(event.value, dict) and isinstance(event.value.get("file"), str):
            duplicates.note(event.value["file"])
    if "images" not in head:
        raise SourceError(f"{shown} has no images: a MegaDetector file has an array of that name")
    try:
        header = _header(head)
    except UsageError as error:
        raise SourceError(f"{shown}: {error}") from error
    version = head["info"]["format_version"]
    if not isinstance(version, str):
        log.warning("%s: format_version %s is a number; it is read as the text %r", shown, version, str(version))
    return header, duplicates


def _header(head: Mapping[str, Any]) -> Header:
    info = head.get("info")
    version_of(info)
    assert isinstance(info, dict)
    described = info.get("detector_metadata")
    detector_version = described.get("megadetector_version") if isinstance(described, dict) else None
    classes = head.get("classification_categories")
    return Header(
        names_by_id(head.get("detection_categories"), "detection_categories"),
        {} if classes is None else names_by_id(classes, "classification_categories"),
        str(info.get("detector") or ""),
        str(detector_version or ""),
    )


def _entry(number: int, record: Any, folder: Path, options: ListingOptions, duplicates: Duplicates) -> Entry:
    if not isinstance(record, dict):
        raise UsageError(f"it is {kind_of(record)}; an object with file and detections is needed")
    name = record.get("file")
    if not isinstance(name, str):
        raise UsageError(f"file is {kind_of(name)}; the name of an image is needed")
    earlier = duplicates.earlier(name, number)
    if earlier is not None:
        raise UsageError(f"{name!r} stands there again: images[{earlier}] counts")
    uri, path = located(name, folder, options)
    return Entry(number, name, uri, path, record)
