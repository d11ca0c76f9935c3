"""Content filters of curation that read a MegaDetector file: empty frames, and people."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioclip_core.errors import SourceError, UsageError
from bioclip_core.files.present import is_file
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.megadetector.read import MegaDetectorSource
from bioclip_plugin.items.media import MediaItem, Region
from bioclip_training.curation.content_filters import FilterOptions, FilterRecord, known_names

_NOT_ANIMALS = ("person", "vehicle")
_BATCH = 4096


class _DetectionsFilter:
    """A filter by the boxes that a detector found in each image, out of its file."""

    name = ""
    description = ""

    def identity(self, options: FilterOptions) -> Mapping[str, Any]:
        known_names(options.files, ("detections", "base"), f"files of the filter {self.name}")
        known_names(options.values, (), f"options of the filter {self.name}")
        if "detections" not in options.files:
            raise UsageError(
                f"the filter {self.name} needs the file of a detector: files: {{detections: FILE.json}}, and base: FOLDER if its names "
                "begin in another folder than its own"
            )
        _check_file(options.files["detections"])
        return {"version": 1}

    def open(self, options: FilterOptions) -> DetectionScores:
        """Read the file.

        Raises:
            SourceError: if it is not a MegaDetector file.
        """
        file, source = options.files["detections"], MegaDetectorSource()
        _check_file(file)
        base = options.files.get("base")
        listing = ListingOptions(base_folder=base, detection_threshold=0.0, turned_boxes="upright", allow_outside=True)
        by_path: dict[str, float] = {}
        for item in source.items(str(file), listing):
            if isinstance(item, MediaItem) and item.path is not None and not item.frame:
                by_path[os.path.abspath(item.path)] = self.score_of(item.regions)  # noqa: PTH100  links stay as they are
        return DetectionScores(by_path, os.path.abspath(base or file.parent))  # noqa: PTH100

    def score_of(self, regions: Iterable[Region]) -> float:
        """Return the score of an image with these boxes."""
        raise NotImplementedError


def _check_file(file: Path) -> None:
    """Refuse a file by its beginning; that one is missing is found elsewhere."""
    if is_file(file) and not MegaDetectorSource().takes(str(file)):
        raise SourceError(f"{file} is not a MegaDetector file (JSON with images and their detections)")


class EmptyFramesFilter(_DetectionsFilter):
    """Scores images by how sure the detector is that no animal is in them: 1 less the highest confidence of an animal's box."""

    name = "empty-frames"
    description = "images without an animal, by a MegaDetector file"

    def score_of(self, regions: Iterable[Region]) -> float:
        return 1 - max((one.confidence or 0.0 for one in regions if one.category not in _NOT_ANIMALS), default=0.0)


class PeopleFilter(_DetectionsFilter):
    """Scores images by the highest confidence of a person's box."""

    name = "people"
    description = "images with people, by a MegaDetector file"

    def score_of(self, regions: Iterable[Region]) -> float:
        return max((one.confidence or 0.0 for one in regions if one.category == "person"), default=0.0)


@dataclass(frozen=True)
class DetectionScores:
    """Scores of the images of one file. An image that it does not list, or that the detector failed on, has none."""

    by_path: Mapping[str, float]
    base: str
    preprocessing: None = None
    batch_size: int = _BATCH

    def score(self, records: Sequence[FilterRecord]) -> list[float | None]:
        return [self._score(record) for record in records]

    def _score(self, record: FilterRecord) -> float | None:
        """Return the score of a file by its path, and of a member of an archive by its name below the base folder."""
        place = record.path if record.path is not None else Path(self.base) / record.uri.partition("#")[2]
        return self.by_path.get(os.path.abspath(place))  # noqa: PTH100
