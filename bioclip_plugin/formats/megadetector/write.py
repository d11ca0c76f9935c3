"""The MegaDetector exporter: batch results of format 1.6, with the boxes, names and failures of every file of a run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import groupby
from json.decoder import scanstring  # type: ignore[attr-defined]
from json.encoder import encode_basestring_ascii
from operator import attrgetter
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from bioclip_core.files.present import is_file
from bioclip_core.files.streamed_json import beginning
from bioclip_plugin.contracts.export import Export
from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.contracts.problem import Problem
from bioclip_plugin.formats.megadetector.read import OWN_INFO, VERSIONS, is_megadetector
from bioclip_plugin.formats.megadetector.write_entries import EntryWriter
from bioclip_plugin.formats.shared.detections import is_whole_file
from bioclip_plugin.formats.shared.relative_names import CommonFolder, NamesUnder, RelativeNames
from bioclip_plugin.items.deployment_options import DEPLOYMENT_SETTINGS
from bioclip_plugin.store.records import StoredItem, asked_level

_FILE = '{"file":"'  # how each entry begins, on a line of its own
_BETWEEN = ",\n"
_TYPICAL_DETECTION = 0.2  # confidence from which readers show boxes, if the run lacks a threshold
_URI = attrgetter("item.uri")


class MegaDetectorExporter:
    """One JSON file as MegaDetector itself writes it, with classifications; Timelapse and other programs read it.

    - An image that was classified as a whole has one detection of category animal all over it with confidence 1: nothing
      was detected, and the probability of a name is not the confidence of a detection.
    - If a rule decided, its decision is the only classification; else the model's own candidates are given.
    - A file that failed, or is still to do, has a ``failure`` and null detections.
    """

    name = "megadetector"
    description = "MegaDetector batch results 1.6 (JSON), for Timelapse and other camera-trap programs"
    folder = False
    options = frozenset({"base_folder", "top", *DEPLOYMENT_SETTINGS})

    def write(self, path: Path, export: Export) -> int:
        writer = EntryWriter(asked_level(export.run), export.options.top)
        with path.open("w", encoding="ascii", newline="\n") as file:
            file.write('{\n"images": [')
            if export.options.base_folder is not None:
                names: RelativeNames = NamesUnder(export.options.base_folder)
                count = _write_lines(file, (writer.entry(names(uri), items) for uri, items in _files(export, writer)))
            else:
                # The folder of all files is known once all are read, and reading the store is the slow part.
                with TemporaryFile("w+", dir=path.parent, encoding="ascii", newline="\n") as draft:
                    common = CommonFolder()
                    _write_lines(draft, _draft_lines(export, writer, common))
                    draft.seek(0)
                    names = common.names()
                    count = _write_lines(file, (_renamed(line, names) for line in draft if line.startswith(_FILE)))
            header = _header(export, writer, names.folder, count)
            members = (f"{json.dumps(name)}: {json.dumps(value, indent=1)}" for name, value in header.items())
            file.write(f"\n],\n{_BETWEEN.join(members)}\n}}\n")
        return count

    def recognises(self, path: Path) -> bool:
        return is_file(path) and is_megadetector(beginning(path))

    def check(self, path: Path, options: ExportOptions) -> Iterator[Problem]:
        from bioclip_plugin.formats.megadetector.check import problems_of

        return problems_of(path, options.base_folder)


def _files(export: Export, writer: EntryWriter) -> Iterator[tuple[str, list[StoredItem]]]:
    """Yield each file's uri with its items."""
    # Candidates of the other levels stay in the store, unless a selection may depend on them.
    for uri, group in groupby(export.items(None if export.selection else {writer.level}), key=_URI):
        items = list(group)
        writer.items += len(items)
        if is_whole_file(items[0]):
            yield uri, items


def _draft_lines(export: Export, writer: EntryWriter, common: CommonFolder) -> Iterator[str]:
    """Yield an entry per file, with its uri as its name."""
    for uri, items in _files(export, writer):
        common.add(uri)
        yield writer.entry(uri, items)


def _write_lines(file: IO[str], entries: Iterable[str]) -> int:
    count = 0
    for count, entry in enumerate(entries, start=1):
        file.write((_BETWEEN if count > 1 else "\n") + entry)
    return count


def _renamed(line: str, names: RelativeNames) -> str:
    """Return a line of the draft with the file's name instead of its uri."""
    uri, end = scanstring(line, len(_FILE))
    return f"{_FILE}{encode_basestring_ascii(names(uri))[1:]}{line[end:].rstrip(_BETWEEN)}"


def _header(export: Export, writer: EntryWriter, folder: str, files: int) -> dict[str, Any]:
    """Return the members behind the images."""
    run, categories = export.run, writer.categories
    header: dict[str, Any] = {"detection_categories": {number: name for name, number in categories.detections.items()}}
    if categories.names:
        header["classification_categories"] = {str(n): name for n, name in enumerate(categories.names)}
        header["classification_category_descriptions"] = {
            str(n): text for n, text in enumerate(categories.descriptions)
        }
    detector, version = writer.detector or run.detector or ("unknown", "")
    info: dict[str, Any] = {
        "format_version": VERSIONS[-1],
        "detector": detector,
        "detector_metadata": {
            **({"megadetector_version": version} if version else {}),
            "typical_detection_threshold": run.settings.get("detection_threshold", _TYPICAL_DETECTION),
        },
        "classifier": export.classified_by,
        "classification_completion_time": export.moment.strftime("%Y-%m-%d %H:%M:%S"),
    }
    if isinstance(run.settings.get("threshold"), float):
        info["classifier_metadata"] = {"typical_classification_threshold": run.settings["threshold"]}
    info[OWN_INFO] = {
        "run": run.id,
        "answer_id": run.answer_id,
        "rule_id": run.rule_id,
        "base_folder": folder,
        "items": writer.items,
        "files": files,
        "failures": writer.failures,
        "frames_left_out": writer.frames_left_out,
    }
    return {**header, "info": info}
