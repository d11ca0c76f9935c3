"""The SpeciesNet source: predictions of 4.x and 5.x, each image with its boxes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from bioclip_core.errors import SourceError, UsageError
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.shared.detections import Entry, name_in
from bioclip_plugin.formats.shared.paths import located
from bioclip_plugin.formats.shared.streamed_json import beginning, kind_of, members
from bioclip_plugin.formats.speciesnet.read_images import ImageReader
from bioclip_plugin.formats.speciesnet.schema import Survey, check_version, is_speciesnet, survey
from bioclip_plugin.items.media import MediaItem, Unlisted, path_of, uri_of


class SpeciesNetSource:
    """Lists the images of a SpeciesNet file with their boxes, in the file's order.

    Boxes at or above ``options.detection_threshold`` are classified, unless they are of people or vehicles; all others are
    kept. SpeciesNet's own answers are kept as metadata. Images whose detector failed are carried over as failures; if only
    the classifier or the geolocation failed, the boxes are used. The file is read twice: first for its version, for files
    that are named twice, and to report broken JSON before any work.
    """

    name = "SpeciesNet predictions (.json)"

    def takes(self, address: str) -> bool:
        path = path_of(address)
        return path.is_file() and is_speciesnet(beginning(path))

    def items(self, address: str, options: ListingOptions) -> Iterator[MediaItem | Unlisted]:
        path, shown = path_of(address), uri_of(address)
        found = survey(path)
        _check(found, shown)
        reader = ImageReader(shown, options.detection_threshold)
        folder = options.base_folder if options.base_folder is not None else path.parent
        # SpeciesNet mostly writes absolute paths, which must be compared with an absolute folder.
        places = (options, replace(options, base_folder=folder.absolute()))
        for number, record in members(path, "predictions"):
            try:
                name = name_in(record, number, "filepath", "predictions", found.duplicates)
                uri, image = located(name, path.parent, places[name.startswith("/")])
            except UsageError as error:
                yield Unlisted(f"{shown}#predictions[{number}]", f"predictions[{number}]: {error}")
                continue
            yield from reader.items(Entry(number, name, uri, image, record))


def _check(found: Survey, shown: str) -> None:
    listed = found.head.get("predictions")
    if "predictions" not in found.head:
        raise SourceError(f"{shown} lacks predictions: a SpeciesNet file has an array of that name")
    if not isinstance(listed, list):
        raise SourceError(f"{shown}: predictions is {kind_of(listed)}; it must be an array")
    try:
        check_version(found.head)
    except UsageError as error:
        raise SourceError(f"{shown}: {error}") from error
