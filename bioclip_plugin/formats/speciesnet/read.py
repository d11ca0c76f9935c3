"""The SpeciesNet source: predictions of 4.x and 5.x, each image with the boxes that were found in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioclip_core.errors import SourceError, UsageError
from bioclip_plugin.formats.megadetector.read_images import Entry
from bioclip_plugin.formats.shared.duplicates import Duplicates
from bioclip_plugin.formats.shared.paths import located
from bioclip_plugin.formats.shared.streamed_json import ARRAY_BEGINS, Beginning, beginning, kind_of, members, walk
from bioclip_plugin.formats.speciesnet.read_images import ImageReader
from bioclip_plugin.items.media import MediaItem, Unlisted, path_of, uri_of

if TYPE_CHECKING:
    from bioclip_plugin.contracts.source import ListingOptions

FORMAT_VERSION = "20261015"
"""Of speciesnet 5.x: what is read beside the 4.x shape, which states none, and what is written."""


class SpeciesNetSource:
    """Lists the images of a SpeciesNet file with their boxes, in the file's order.

    Boxes at or above ``options.detection_threshold`` are classified, unless they are of people or vehicles; all others are
    kept. What SpeciesNet itself said is kept as metadata. Images whose detector failed are carried over as failures; where
    only its classifier or its geolocation failed, the boxes are there and are taken. The file is read twice: first for its
    version, for files that are named twice, and so that broken JSON is heard of before any work.
    """

    name = "SpeciesNet predictions (.json)"

    def takes(self, address: str) -> bool:
        path = path_of(address)
        return path.is_file() and is_speciesnet(beginning(path))

    def items(self, address: str, options: ListingOptions) -> Iterator[MediaItem | Unlisted]:
        path, shown = path_of(address), uri_of(address)
        duplicates = _survey(path, shown)
        reader = ImageReader(shown, options.detection_threshold)
        folder = options.base_folder if options.base_folder is not None else path.parent
        places = (options, replace(options, base_folder=folder.absolute()))
        for number, record in members(path, "predictions"):
            try:
                entry = _entry(number, record, path.parent, places, duplicates)
            except UsageError as error:
                yield Unlisted(f"{shown}#predictions[{number}]", f"predictions[{number}]: {error}")
                continue
            yield from reader.items(entry)


def is_speciesnet(seen: Beginning) -> bool:
    """Whether a file that begins like this holds SpeciesNet's predictions."""
    listed = seen.members.get("predictions")
    if not isinstance(listed, list):
        return False
    if not listed:  # none at all, or the first one is longer than what was looked at
        return '"filepath"' in seen.text or '"format_version"' in seen.text
    return any(isinstance(one, dict) and "filepath" in one for one in listed)


def check_version(content: Mapping[str, Any]) -> None:
    """Refuse versions of the format that are not known; 4.x states none.

    Raises:
        UsageError: if ``info`` stands there and does not state the version that is read.
    """
    allowed = f"{FORMAT_VERSION!r} (speciesnet 5.x) and files without info (4.x) are read"
    if "info" not in content:
        return
    info = content["info"]
    version = info.get("format_version") if isinstance(info, dict) else None
    if version is None:
        raise UsageError(f"info.format_version is missing: {allowed}")
    if str(version) != FORMAT_VERSION or isinstance(version, bool):
        raise UsageError(f"format_version {version!r} is not known: {allowed}")


def _survey(path: Path, shown: str) -> Duplicates:
    """Read the file once, for what must be known before its first image is listed."""
    head: dict[str, Any] = {}
    duplicates = Duplicates()
    for name, number, value in walk(path):
        if name != "predictions":
            if number is None or number == ARRAY_BEGINS:
                head[name] = value
        elif number is None:
            raise SourceError(f"{shown}: predictions is {kind_of(value)}; it must be an array")
        elif number == ARRAY_BEGINS:
            head[name] = True
        elif isinstance(value, dict) and isinstance(value.get("filepath"), str):
            duplicates.note(value["filepath"])
    if "predictions" not in head:
        raise SourceError(f"{shown} has no predictions: a SpeciesNet file has an array of that name")
    try:
        check_version(head)
    except UsageError as error:
        raise SourceError(f"{shown}: {error}") from error
    return duplicates


def _entry(
    number: int, record: Any, folder: Path, places: tuple[ListingOptions, ListingOptions], duplicates: Duplicates
) -> Entry:
    """The entry of one element. ``places``: how relative, and how absolute paths are found; SpeciesNet mostly writes the latter.

    Raises:
        UsageError: if it is none, or names a file that may not be read.
    """
    if not isinstance(record, dict):
        raise UsageError(f"it is {kind_of(record)}; an object with filepath and detections is needed")
    name = record.get("filepath")
    if not isinstance(name, str):
        raise UsageError(f"filepath is {kind_of(name)}; the name of an image is needed")
    first = duplicates.earlier(name, number)
    if first is not None:
        raise UsageError(f"{name!r} stands there again: predictions[{first}] counts")
    uri, path = located(name, folder, places[name.startswith("/")])
    return Entry(number, name, uri, path, record)
