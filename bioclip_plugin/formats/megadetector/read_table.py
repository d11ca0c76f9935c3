"""The source of MegaDetector's tables: image_path, max_confidence and detections, as its first version and its converter write."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

from bioclip_core.cells import column_name
from bioclip_core.errors import DataError, UsageError
from bioclip_core.files.documents import parse_document
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.shared.detections import (
    STATED_FAILURE,
    Boxes,
    box_of,
    confidence_of,
    is_number,
    shown,
)
from bioclip_plugin.formats.shared.image_tables import IMAGE, PLACE, Cells, ImageTable, Located, Meaning, headings_of
from bioclip_plugin.formats.shared.paths import located
from bioclip_plugin.items.categories import is_named
from bioclip_plugin.items.media import MediaItem, Region, Unlisted

_NEEDED = ("image_path",)
_FIELDS = ("image_path", "max_confidence", "detections", "datetime")
_MEANING = Meaning({**PLACE, "captured_at": ("capturedat", "datetime")})
_CATEGORIES = {1: "animal", 2: "person", 3: "vehicle"}
_NUMBERS = (5, 6)  # of a box: without a category it is an animal
_NO_BOXES = "tables without the column detections do not have boxes; their images are classified as a whole"


class MegaDetectorTableSource:
    """Lists the images of a MegaDetector table with their boxes, in the order of the table.

    A box is ``[top, left, bottom, right, confidence, category]`` in fractions of the upright image. Boxes at or above
    ``options.detection_threshold`` are classified, unless they are of persons or vehicles; all others are kept.
    """

    name = "MegaDetector table"

    def takes(self, address: str) -> bool:
        return is_table(headings_of(address, _NEEDED))

    def items(self, address: str, options: ListingOptions) -> Iterator[MediaItem | Unlisted]:
        table = ImageTable(address, options, _MEANING, _NEEDED, _FIELDS)
        if "detections" not in table.columns:
            options.findings.add(_NO_BOXES, table.name)

        for found in table.by_image(lambda row: located(_name_of(row), table.base, options)):
            if isinstance(found, Unlisted):
                yield found
                continue
            (first, *others), earlier = found
            again = others if earlier is None else (first, *others)
            known = earlier or first.row.number
            yield from (table.skipped(one.row, f"duplicate image {one.uri!r}; row {known} is used") for one in again)
            if earlier is None:
                yield from _entries(first, table)


def is_table(header: Collection[str]) -> bool:
    """True if the columns of a table are those of MegaDetector's."""
    names = {column_name(name) for name in header}
    return "imagepath" in names and bool(names & {"detections", "maxconfidence"})


def _name_of(row: Cells) -> str:
    name = row.text(IMAGE, "imagepath")
    if not name:
        raise UsageError("column 'image_path' is empty; it must name the image")
    return name


def _entries(found: Located, table: ImageTable) -> Iterator[MediaItem | Unlisted]:
    """Yield the item of a row, or its failure, and a message for each box that cannot be used."""
    row = found.row
    fields = table.fields(row)
    cell = fields["metadata"].pop("detections", None)
    item = MediaItem(found.uri, found.path, **fields)
    if row.text("maxconfidence") == "failure":
        words = str(cell or "failure")
        yield Unlisted(found.uri, words, known=replace(item, metadata={**item.metadata, STATED_FAILURE: words}))
        return
    if cell is None:
        yield item
        return
    try:
        listed = parse_document(cell, list[Any], name="detections") if isinstance(cell, str) else cell
    except DataError:
        listed = None
    if not isinstance(listed, list):
        yield Unlisted(found.uri, f"row {row.number}: detections {shown(cell)}: a list of boxes is needed", known=item)
        return
    regions: list[Region] = []
    boxes = Boxes(listed)
    for place, one in enumerate(listed):
        try:
            region = _region(one, table.options.detection_threshold)
            boxes.add(region)
            regions.append(region)
        except UsageError as error:
            yield table.skipped(row, f"detections[{place}]: {error}")
    if regions or not listed:
        yield replace(item, regions=tuple(regions), detected=True)


def _region(one: Any, threshold: float) -> Region:
    """Return a box of a list.

    Raises:
        UsageError: if it cannot be used.
    """
    if not isinstance(one, list) or len(one) not in _NUMBERS or not all(map(is_number, one)):
        raise UsageError(f"{shown(one)}: top, left, bottom, right, confidence and category are needed")
    top, left, bottom, right, confidence, category = one if len(one) == max(_NUMBERS) else (*one, 1)
    word = _CATEGORIES.get(category)
    if word is None:
        raise UsageError(f"category {category}: 1 (animal), 2 (person) or 3 (vehicle) is needed")
    score = confidence_of(confidence)
    box = box_of([left, top, right - left, bottom - top])
    return Region(*box, "MegaDetector", "", word, score, is_named(word) and score >= threshold)
