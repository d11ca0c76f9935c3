"""The MegaDetector source: batch results of format 1.3 to 1.6, each image with its boxes."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bioclip_core.errors import SourceError, UsageError
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.megadetector.read_images import Header, ImageReader
from bioclip_plugin.formats.shared.detections import Entry, name_in
from bioclip_plugin.formats.shared.duplicates import Duplicates
from bioclip_plugin.formats.shared.paths import located
from bioclip_plugin.formats.shared.streamed_json import ARRAY_BEGINS, Beginning, beginning, kind_of, members, walk
from bioclip_plugin.items.media import MediaItem, Unlisted, path_of, uri_of

VERSIONS = ("1.3", "1.4", "1.5", "1.6")
"""Versions of the format that are read; the last one is written."""

_OWN_MEMBERS = ("detection_categories", "classification_categories", "classification_category_descriptions")
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
        return path.is_file() and is_megadetector(beginning(path))

    def items(self, address: str, options: ListingOptions) -> Iterator[MediaItem | Unlisted]:
        path, shown = path_of(address), uri_of(address)
        duplicates = Duplicates()
        reader = ImageReader(shown, _survey(path, shown, duplicates), options.detection_threshold, options.time_zone)
        for number, record in members(path, "images"):
            try:
                name = name_in(record, number, "file", "images", duplicates)
                uri, file = located(name, path.parent, options)
                items = list(reader.items(Entry(number, name, uri, file, record)))
            except (UsageError, RecursionError) as error:
                items = [Unlisted(f"{shown}#images[{number}]", f"images[{number}]: {error}")]
            yield from items


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
    version = str(given) if isinstance(given, (str, float)) else ""
    if version not in VERSIONS:
        raise UsageError(f"format_version {given!r} is unknown: {supported}; convert the file with megadetector-utils")
    return version


def _survey(path: Path, shown: str, duplicates: Duplicates) -> Header:
    """Read the members beside the images, and note the files of these."""
    head: dict[str, Any] = {}
    for event in walk(path):
        if event.number is None or event.number == ARRAY_BEGINS:
            event.add_to(head)
        elif event.name == "images" and isinstance(event.value, dict) and isinstance(event.value.get("file"), str):
            duplicates.note(event.value["file"])
    if "images" not in head:
        raise SourceError(f"{shown} lacks images: a MegaDetector file has an array of that name")
    if not isinstance(head["images"], list):
        raise SourceError(f"{shown}: images is {kind_of(head['images'])}; it must be an array")
    try:
        version_of(head.get("info"))
        categories = _names_in(head, "detection_categories")
        classes = {} if head.get(_OWN_MEMBERS[1]) is None else _names_in(head, _OWN_MEMBERS[1])
    except UsageError as error:
        raise SourceError(f"{shown}: {error}") from error
    info = head["info"]
    version, metadata = info["format_version"], info.get("detector_metadata")
    if not isinstance(version, str):
        log.warning("%s: format_version %s is a number; it is read as the text %r", shown, version, str(version))
    detector_version = metadata.get("megadetector_version") if isinstance(metadata, dict) else None
    return Header(categories, classes, str(info.get("detector") or ""), str(detector_version or ""))


def _names_in(head: Mapping[str, Any], member: str) -> Mapping[str, str]:
    names = head.get(member)
    if not isinstance(names, dict):
        kind = "missing" if names is None else kind_of(names)
        raise UsageError(f"{member} is {kind}; it must be an object with the name of each id")
    for key, name in names.items():
        if not isinstance(name, str) or not name.strip():
            raise UsageError(f"{member}[{key!r}] is {name!r}; it must be a name")
    return names
