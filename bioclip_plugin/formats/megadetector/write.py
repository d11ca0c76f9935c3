"""MegaDetector batch results, format 1.6: every file of a run with its boxes, names and failures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import groupby
from json.decoder import scanstring  # type: ignore[attr-defined]
from json.encoder import encode_basestring_ascii
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any

from bioclip_plugin.formats.megadetector.read import VERSIONS, is_megadetector
from bioclip_plugin.formats.megadetector.write_entries import EntryWriter, described, is_file
from bioclip_plugin.formats.shared.relative_names import CommonFolder, NamesUnder, RelativeNames
from bioclip_plugin.formats.shared.streamed_json import beginning
from bioclip_plugin.store.records import asked_level

if TYPE_CHECKING:
    from bioclip_plugin.contracts.export import Export
    from bioclip_plugin.contracts.export_options import ExportOptions
    from bioclip_plugin.contracts.problem import Problem
    from bioclip_plugin.store import StoredItem

_FILE = '{"file":"'  # how each entry begins, on a line of its own
_BETWEEN = ",\n"
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
        level = asked_level(export.run)
        writer = EntryWriter(level, export.options.top)
        with path.open("w", encoding="ascii", newline="\n") as file:
            file.write('{\n"images": [')
            if export.options.base_folder is not None:
                names: RelativeNames = NamesUnder(export.options.base_folder)
                count = _write_lines(file, _entries(export, writer, level, names))
            else:
                # Which folder holds all files is known when all were read, and reading the store is the slow part.
                with TemporaryFile("w+", dir=path.parent, encoding="ascii", newline="\n") as draft:
                    common = CommonFolder()
                    _write_lines(draft, _entries(export, writer, level, common))
                    draft.seek(0)
                    names = common.names()
                    count = _write_lines(file, (_renamed(line, names) for line in draft if line.startswith(_FILE)))
            file.write("\n],\n")
            _write_header(file, export, writer, names.folder, count)
            file.write("}\n")
        return count

    def recognises(self, path: Path) -> bool:
        return path.is_file() and is_megadetector(beginning(path))

    def check(self, path: Path, options: ExportOptions) -> Iterator[Problem]:
        from bioclip_plugin.formats.megadetector.check import problems_of

        return problems_of(path, options.base_folder)


def _entries(export: Export, writer: EntryWriter, level: str, names: RelativeNames | CommonFolder) -> Iterator[str]:
    """An entry a file; with its uri as name where the folder is still to be found."""
    # Candidates of the other levels are left in the store, unless it depends on them which items are meant.
    items = export.items(None if export.selection else {level})
    for uri, group in groupby(items, key=_uri):
        together = list(group)
        writer.items += len(together)
        if not is_file(together[0]):
            continue
        if isinstance(names, CommonFolder):
            names.add(uri)
            yield writer.entry(uri, together)
        else:
            yield writer.entry(names(uri), together)


def _uri(stored: StoredItem) -> str:
    return stored.item.uri


def _write_lines(file: IO[str], entries: Iterable[str]) -> int:
    count = 0
    for entry in entries:
        file.write(",\n" if count else "\n")
        file.write(entry)
        count += 1
    return count


def _renamed(line: str, names: RelativeNames) -> str:
    """A line of the draft with the file's name instead of its uri."""
    uri, end = scanstring(line, len(_FILE))
    return f"{_FILE}{encode_basestring_ascii(names(uri))[1:]}{line[end:].rstrip(_BETWEEN)}"


def _write_header(file: IO[str], export: Export, writer: EntryWriter, folder: str, files: int) -> None:
    categories = writer.categories
    members: dict[str, Any] = {"detection_categories": {number: name for name, number in categories.detections.items()}}
    if names := categories.names():
        members["classification_categories"] = names
        members["classification_category_descriptions"] = categories.descriptions()
    members["info"] = _info(export, writer, folder, files)
    file.write(",\n".join(f"{json.dumps(name)}: {json.dumps(value, indent=1)}" for name, value in members.items()))
    file.write("\n")


def _info(export: Export, writer: EntryWriter, folder: str, files: int) -> dict[str, Any]:
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
        "items": writer.items,
        "files": files,
        "failures": writer.failures,
        "frames_left_out": writer.frames_left_out,
    }
    return info
