"""MegaDetector batch results, format 1.6: every file of a run with its boxes, names and failures."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from bioclip_plugin.exports.megadetector_entries import EntryWriter, described, is_file
from bioclip_plugin.exports.relative_names import NamesUnder, OutsideFolder, RelativeNames, common_names
from bioclip_plugin.exports.table import asked_level
from bioclip_plugin.sources.megadetector import VERSIONS, is_megadetector
from bioclip_plugin.sources.streamed_json import beginning

if TYPE_CHECKING:
    from bioclip_plugin.exports import ExportOptions
    from bioclip_plugin.exports.selection import Export
    from bioclip_plugin.store import StoredItem
    from bioclip_plugin.validation.problems import Problem

_LOOKED_AT = 2_000  # files whose common folder is tried for all, so that a run is mostly read once
_TYPICAL_DETECTION = 0.2  # what readers show boxes from, where the run says nothing else
_MOMENT = "%Y-%m-%d %H:%M:%S"


class MegaDetectorExporter:
    """One file of JSON: what MegaDetector itself writes, with classifications; Timelapse and other programs read it.

    - An image that was classified as a whole is one detection of category animal over all of it with confidence 1: nobody
      detected anything, and the probability of a name is no confidence of a detection.
    - Where a rule decided, its decision is the only classification; else the model's own candidates are given.
    - A file that failed, or is still to do, has a ``failure`` and null detections.
    """

    name = "megadetector"
    description = "MegaDetector batch results 1.6 (JSON), for Timelapse and other camera-trap programs"
    folder = False

    def write(self, path: Path, export: Export) -> int:
        if export.options.base_folder is not None:
            return _written(path, export, NamesUnder(export.options.base_folder))
        try:
            return _written(path, export, common_names(one.item.uri for one in islice(_files(export), _LOOKED_AT)))
        except OutsideFolder:  # the folder of the first ones does not hold all
            return _written(path, export, common_names(one.item.uri for one in _files(export)))

    def recognises(self, path: Path) -> bool:
        return path.is_file() and is_megadetector(beginning(path))

    def check(self, path: Path, options: ExportOptions) -> Iterator[Problem]:
        from bioclip_plugin.validation.megadetector import problems_of

        return problems_of(path, options.base_folder)


def _files(export: Export) -> Iterator[StoredItem]:
    return (stored for stored in _items(export, ()) if is_file(stored))


def _items(export: Export, ranks: Collection[str]) -> Iterator[StoredItem]:
    """Items with the candidates of these levels alone, unless it depends on candidates which items are meant."""
    return export.items(None if export.selection else ranks)


def _written(path: Path, export: Export, names: RelativeNames) -> int:
    """Write images as they are read and the header, which needs to have seen them, behind."""
    level = asked_level(export.run)
    writer = EntryWriter(level, export.options.top)
    listed = count = 0
    with path.open("w", encoding="ascii", newline="\n") as file:
        file.write('{\n"images": [')
        for uri, group in groupby(_items(export, {level}), key=lambda stored: stored.item.uri):
            items = list(group)
            listed += len(items)
            if is_file(items[0]):
                file.write(",\n" if count else "\n")
                file.write(writer.entry(names(uri), items))
                count += 1
        file.write("\n],\n")
        _write_header(file, export, writer, names.folder, {"items": listed, "files": count})
        file.write("}\n")
    return count


def _write_header(file: TextIO, export: Export, writer: EntryWriter, folder: str, counts: dict[str, int]) -> None:
    categories = writer.categories
    members: dict[str, Any] = {"detection_categories": {number: name for name, number in categories.detections.items()}}
    if names := categories.names():
        members["classification_categories"] = names
        members["classification_category_descriptions"] = categories.descriptions()
    members["info"] = _info(export, writer, folder, counts)
    file.write(",\n".join(f"{json.dumps(name)}: {json.dumps(value, indent=1)}" for name, value in members.items()))
    file.write("\n")


def _info(export: Export, writer: EntryWriter, folder: str, counts: dict[str, int]) -> dict[str, Any]:
    run = export.run
    detector, version = described(writer.detectors)
    threshold = run.settings.get("detection_threshold", _TYPICAL_DETECTION)
    metadata: dict[str, Any] = {"megadetector_version": version} if version else {}
    metadata["typical_detection_threshold"] = threshold
    info: dict[str, Any] = {
        "format_version": VERSIONS[-1],
        "detector": detector,
        "detector_metadata": metadata,
        "classifier": export.classified_by,
        "classification_completion_time": export.moment.strftime(_MOMENT),
    }
    if isinstance(run.settings.get("threshold"), float):
        info["classifier_metadata"] = {"typical_classification_threshold": run.settings["threshold"]}
    info["bioclip_plugin"] = {
        "run": run.id,
        "answer_id": run.answer_id,
        "rule_id": run.rule_id,
        "base_folder": folder,
        **counts,
        "failures": writer.failures,
        "frames_left_out": writer.frames_left_out,
    }
    return info
