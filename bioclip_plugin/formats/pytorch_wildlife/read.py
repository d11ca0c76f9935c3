"""The source of PyTorch-Wildlife's detections and of plain lists of detections, whose boxes are corners in pixels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bioclip_core.cells import json_value
from bioclip_core.errors import UsageError
from bioclip_core.files.present import is_file
from bioclip_core.files.streamed_json import beginning, members
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.pytorch_wildlife.layout import (
    Detection,
    Layout,
    category_of,
    detections_in,
    is_layout,
    layout_of,
    name_key,
)
from bioclip_plugin.formats.shared.detections import (
    STATED_FAILURE,
    Boxes,
    Entry,
    box_of,
    confidence_of,
    is_number,
    message_of,
    name_in,
    shown,
    without_boxes,
)
from bioclip_plugin.formats.shared.paths import located
from bioclip_plugin.formats.shared.pixel_boxes import Box, Corners, boxes_in, header_of
from bioclip_plugin.items.categories import is_named
from bioclip_plugin.items.media import MediaItem, Region, Unlisted, path_of, uri_of

_WORDS = {"human": "person", "people": "person"}
_NOT_METADATA = frozenset(
    {"detections", "bbox", "category", "confidence", "det_category", "det_confidence", "failure", "error"}
)


class PytorchWildlifeSource:
    """Lists the images of a file of detections with their boxes, in the file's order.

    Boxes are left, top, right and bottom in pixels, so that the header of each image is read for its size. Fractions are read
    where the boxes of the file allow one meaning only. Boxes at or above ``options.detection_threshold`` are classified,
    unless they are of persons or vehicles; all others are kept. The file is read twice.
    """

    name = "PyTorch-Wildlife detections (.json)"

    def takes(self, address: str) -> bool:
        path = path_of(address)
        return is_file(path) and is_layout(beginning(path))

    def items(self, address: str, options: ListingOptions) -> Iterator[MediaItem | Unlisted]:
        path, listed = path_of(address), uri_of(address)
        layout = layout_of(path, listed, beginning(path))
        reader = ImageReader(listed, layout, options)
        for number, record in members(path, layout.array):
            place = f"{layout.array}[{number}]"
            try:
                key = name_key(record) if isinstance(record, dict) else ""
                name = name_in(record, number, key or "file", layout.array, layout.duplicates)
                uri, file = located(name, path.parent, options)
            except UsageError as error:
                yield Unlisted(f"{listed}#{place}", f"{place}: {error}")
                continue
            yield from reader.items(Entry(number, name, uri, file, record))


@dataclass(frozen=True, slots=True)
class ImageReader:
    """Turns the elements of one file into items."""

    file: str
    """The file's name in messages."""
    layout: Layout
    options: ListingOptions

    def items(self, entry: Entry) -> Iterator[MediaItem | Unlisted]:
        """Yield the item of one element, or its failure, and a message for each unusable box."""
        known = MediaItem(entry.uri, entry.path, metadata=self._metadata(entry.record))
        failure = entry.record.get("failure") or entry.record.get("error")
        try:
            found = detections_in(entry.record)
            if failure:
                stated = replace(known, metadata={**known.metadata, STATED_FAILURE: str(failure)})
                yield Unlisted(entry.uri, str(failure), known=stated)
                return
            if found is None:
                yield Unlisted(entry.uri, "the entry has neither detections nor a failure", known=known)
                return
            regions, dropped = self._regions(entry, found)
        except UsageError as error:
            yield Unlisted(entry.uri, str(error), known=known)
            return
        if dropped and not regions:
            yield without_boxes(known, dropped)
            return
        yield from dropped
        yield MediaItem(entry.uri, entry.path, regions=tuple(regions), metadata=known.metadata, detected=True)

    def _regions(self, entry: Entry, found: Sequence[Detection]) -> tuple[list[Region], list[Unlisted]]:
        regions: list[Region] = []
        dropped: list[Unlisted] = []
        usable: list[tuple[int, list[float], str, float]] = []
        for place, one in enumerate(found):
            try:
                usable.append(
                    (
                        place,
                        self._numbers(one.box),
                        category_of(one.category, self.layout),
                        confidence_of(one.confidence),
                    )
                )
            except UsageError as error:
                dropped.append(self._message(entry, place, error))
        boxes = self._boxes(entry, [box for _, box, _, _ in usable]) if usable else []
        seen = Boxes(usable)
        for (place, _, category, confidence), box in zip(usable, boxes, strict=True):
            word = _WORDS.get(category.lower(), category)
            classified = is_named(word) and confidence >= self.options.detection_threshold
            try:
                region = Region(*box, "PyTorch-Wildlife", "", word, confidence, classified)
                seen.add(region)
                regions.append(region)
            except UsageError as error:
                dropped.append(self._message(entry, place, error))
        return regions, dropped

    def _numbers(self, box: Any) -> list[float]:
        if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
            raise UsageError(f"bbox {shown(box)}: four numbers are needed")
        numbers = [float(value) for value in box]
        if self.layout.boxes != "sides" and (numbers[2] <= numbers[0] or numbers[3] <= numbers[1]):
            raise UsageError(f"bbox {box}: right must be greater than left, and bottom than top")
        return numbers

    def _boxes(self, entry: Entry, boxes: Sequence[Sequence[float]]) -> list[Box]:
        """Return x, y, width and height of each box, as fractions of the upright image."""
        if self.layout.boxes == "corners in pixels":
            corners: list[Corners] = [(a, b, c, d) for a, b, c, d in boxes]
            return boxes_in(header_of(entry.path), corners, self.options.turned_boxes)
        if self.layout.boxes == "corners":
            return [box_of([a, b, c - a, d - b]) for a, b, c, d in boxes]
        return [box_of(list(box)) for box in boxes]

    def _metadata(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return the other values of an element, with the answers of another classifier by name."""
        rest = {
            name: json_value(value)
            for name, value in record.items()
            if name not in _NOT_METADATA and name != name_key(record) and value is not None
        }
        ids, scores = rest.get("clf_category"), rest.get("clf_confidence")
        if isinstance(ids, list) and isinstance(scores, list) and ids:
            del rest["clf_category"], rest["clf_confidence"]
            pairs = zip(ids, scores, strict=False)
            rest["classifications"] = [{"classes": [[self.layout.classes.get(str(i), str(i)), s]]} for i, s in pairs]
        return rest

    def _message(self, entry: Entry, place: int, error: UsageError) -> Unlisted:
        return message_of(self.file, f"{self.layout.array}[{entry.number}]", entry, f".detections[{place}]", str(error))
