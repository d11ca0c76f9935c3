"""The SpeciesNet exporter, format 5.x: every file of a run with its boxes, classes and failures."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from bioclip_plugin.contracts.export import Export
from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.contracts.problem import Problem
from bioclip_plugin.formats.shared.detections import is_file
from bioclip_plugin.formats.shared.relative_names import NamesUnder, OutsideFolder, RelativeNames
from bioclip_plugin.formats.shared.streamed_json import beginning
from bioclip_plugin.formats.speciesnet.check import check_speciesnet
from bioclip_plugin.formats.speciesnet.schema import FORMAT_VERSION, is_speciesnet
from bioclip_plugin.formats.speciesnet.write_entries import EntryWriter
from bioclip_plugin.store.records import asked_level


class SpeciesNetExporter:
    """One file of JSON, as SpeciesNet's ``run_model`` writes it.

    - Files have their listed names, or names relative to ``base_folder``; a frame of a video, or a page, is
      ``FILE/frame000012.jpg``.
    - An image that was classified as a whole is a detection of category 0, as with SpeciesNet's whole-image classifier.
    - The model's answers are the raw classifications, the decision of the rules is the processed one. A region that was
      kept and not classified has neither.
    - A file that is still to do is left out, so that SpeciesNet's own programs treat it as not processed.
    """

    name = "speciesnet"
    description = "SpeciesNet 5 predictions (JSON), for SpeciesNet's and Wildlife Insights' tools"
    folder = False

    def write(self, path: Path, export: Export) -> int:
        count = 0
        with path.open("w", encoding="ascii", newline="\n") as file:
            file.write(f'{{\n"info": {json.dumps({"format_version": FORMAT_VERSION})},\n"predictions": [')
            for entry in _entries(export):
                file.write(",\n" if count else "\n")
                file.write(json.dumps(entry, separators=(",", ":"), allow_nan=False))
                count += 1
            file.write("\n]\n}\n")
        return count

    def recognises(self, path: Path) -> bool:
        return path.is_file() and is_speciesnet(beginning(path))

    def check(self, path: Path, options: ExportOptions) -> Iterator[Problem]:  # noqa: ARG002 - the same for all options
        return check_speciesnet(path)


def _entries(export: Export) -> Iterator[dict[str, Any]]:
    options, level = export.options, asked_level(export.run)
    name_of: Callable[[str], str] = NamesUnder(options.base_folder) if options.base_folder is not None else _listed_name
    writer = EntryWriter(level, options.top, options.coordinate_precision, export.classified_by)
    # A selection may depend on candidates of any level.
    items = export.items(None if export.selection else {level})
    for uri, group in groupby(items, key=lambda stored: stored.item.uri):
        frames = list(group)
        if not is_file(frames[0]):
            continue
        name = name_of(uri)
        several = len(frames) > 1 or frames[0].item.frame > 0
        for stored in frames:
            if stored.status != "todo":
                yield writer.entry(f"{name}/frame{stored.item.frame:06}.jpg" if several else name, stored)


def _listed_name(uri: str) -> str:
    """Return the name of an item's file, relative or absolute as it was listed, with forward slashes."""
    try:
        return RelativeNames("")(uri)
    except OutsideFolder:
        return f"/{RelativeNames('/')(uri)}" if uri.startswith("/") else uri.replace("\\", "/")
