"""The layout of a file of detections: its array, its keys, and the meaning of its boxes and categories."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal, NamedTuple

from bioclip_core.errors import SourceError, UsageError
from bioclip_core.files.streamed_json import Beginning, kind_of, walk
from bioclip_plugin.formats.shared.detections import Duplicates, is_number, shown

BoxMeaning = Literal["corners in pixels", "corners", "sides"]
"""Left, top, right, bottom in pixels or as fractions; or x, y, width, height as fractions."""

ANNOTATIONS = "annotations"
"""The array of PyTorch-Wildlife's own files; a plain list has the empty name."""
FILE_KEYS = ("img_id", "file", "image_path", "filepath", "image")
"""Keys under which an element names its file."""
CATEGORY_TABLES = ("categories", "det_categories")
CLASS_TABLE = "clf_categories"

_LISTS = (("bbox", "category", "confidence"), ("bbox", "det_category", "det_confidence"))
_ROUNDING = 1e-3  # by which a fraction may exceed 1
# Ids of MegaDetector's own files, whose confidence is called conf. In PyTorch-Wildlife 0 is an animal and 1 a person.
_MEGADETECTOR_IDS = {"1": "animal", "2": "person", "3": "vehicle"}


class Detection(NamedTuple):
    """One box as a file has it."""

    box: Any
    category: Any
    confidence: Any


@dataclass
class Layout:
    """Results of the first of two readings of a file."""

    array: str = ""
    categories: Mapping[str, str] = field(default_factory=dict)
    """Names of categories by id, as text."""
    classes: Mapping[str, str] = field(default_factory=dict)
    """Names of another classifier by id."""
    boxes: BoxMeaning = "corners in pixels"
    duplicates: Duplicates = field(default_factory=Duplicates)


def is_layout(seen: Beginning) -> bool:
    """True if a file with this beginning holds detections in one of the layouts that are read here."""
    listed = seen.members.get(ANNOTATIONS if ANNOTATIONS in seen.members else "")
    if not isinstance(listed, list):
        return False
    if not listed:  # the first element is longer than the beginning
        return '"img_id"' in seen.text and ANNOTATIONS in seen.members
    records = [one for one in listed if isinstance(one, dict)]
    if ANNOTATIONS in seen.members:
        return any("img_id" in one for one in records)  # COCO has image_id
    return any(name_key(one) and ("detections" in one or "bbox" in one) for one in records)


def name_key(record: Mapping[str, Any]) -> str:
    """Return the key under which an element names its file; empty without one."""
    return next((key for key in FILE_KEYS if isinstance(record.get(key), str)), "")


def detections_in(record: Mapping[str, Any]) -> list[Detection] | None:
    """Return the boxes of an element; None if it does not have any list of boxes.

    Raises:
        UsageError: if its lists have different lengths.
    """
    listed = record.get("detections")
    if isinstance(listed, list):
        return [_detection(one) for one in listed]
    boxes = record.get("bbox")
    if not isinstance(boxes, list):
        return None
    keys = next((keys for keys in _LISTS if all(isinstance(record.get(key), list) for key in keys)), None)
    if keys is None or len({len(record[key]) for key in keys}) > 1:
        raise UsageError("bbox, category and confidence must be lists of the same length")
    return [Detection(*parts) for parts in zip_longest(*(record[key] for key in keys))]


def _detection(one: Any) -> Detection:
    if not isinstance(one, dict):
        return Detection(None, None, None)
    is_megadetectors = "conf" in one and "confidence" not in one
    category = one.get("category", one.get("label"))
    if is_megadetectors and isinstance(category, str):
        category = _MEGADETECTOR_IDS.get(category, category)
    return Detection(one.get("bbox"), category, one.get("conf") if is_megadetectors else one.get("confidence"))


def layout_of(path: Path, listed: str, seen: Beginning) -> Layout:
    """Read a file once, which also finds broken JSON before any image is listed.

    Raises:
        SourceError: if it cannot be read, or its boxes or categories have more than one meaning.
    """
    layout = Layout(ANNOTATIONS if ANNOTATIONS in seen.members else "")
    head: dict[str, Any] = {}
    boxes = _Boxes()
    has_dots = False
    for event in walk(path):
        if event.name in (*CATEGORY_TABLES, CLASS_TABLE):
            event.add_to(head)
        elif event.name == layout.array and isinstance(record := event.value, dict):
            if key := name_key(record):
                layout.duplicates.note(record[key])
            has_dots = has_dots or "dot" in record
            boxes.add(event.number or 0, record)
    if has_dots and not boxes.count:
        raise SourceError(f"{listed} holds points and no boxes; save the detections with save_detection_json")
    layout.boxes = boxes.meaning(listed)
    layout.classes = _names(head.get(CLASS_TABLE))
    tables = [head[name] for name in CATEGORY_TABLES if name in head]
    layout.categories = _names(tables[0]) if tables else {}
    if layout.array and boxes.count and not layout.categories:
        raise SourceError(
            f"{listed}: categories is {kind_of(tables[0]) if tables else 'missing'}, and the ids of the boxes mean other things with "
            'other detectors; write their names into the file, such as "categories": {"0": "animal", "1": "person", "2": "vehicle"}'
        )
    return layout


class _Boxes:
    """Evidence of what the four numbers of a file's boxes mean."""

    def __init__(self) -> None:
        self.count = 0
        self._in_pixels = self._conf = False
        self._not_corners = self._not_sides = ""

    def add(self, number: int, record: Mapping[str, Any]) -> None:
        """Take the boxes of one element into account; unusable ones are reported when they are read."""
        try:
            found = detections_in(record) or []
        except UsageError:
            return
        for place, (box, *_) in enumerate(found):
            if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
                continue
            self.count += 1
            a, b, c, d = box
            self._in_pixels = self._in_pixels or max(box) > 1 + _ROUNDING
            if not self._not_corners and (c < a or d < b):
                self._not_corners = f"element {number}, box {place}: {box}"
            if not self._not_sides and (a + c > 1 + _ROUNDING or b + d > 1 + _ROUNDING):
                self._not_sides = f"element {number}, box {place}: {box}"
        listed = record.get("detections")
        self._conf = self._conf or (
            isinstance(listed, list) and any(isinstance(o, dict) and "conf" in o for o in listed)
        )

    def meaning(self, listed: str) -> BoxMeaning:
        """Return the one meaning that all boxes allow.

        Raises:
            SourceError: if there is none, or several.
        """
        if self._in_pixels:
            if self._not_corners:
                raise SourceError(
                    f"{listed}: boxes in pixels are read as left, top, right, bottom, which {self._not_corners} is not; "
                    "convert the file to MegaDetector's format"
                )
            return "corners in pixels"
        if self._conf and not self._not_sides:
            return "sides"
        if self._not_corners and not self._not_sides:
            return "sides"
        if self._not_sides and not self._not_corners:
            return "corners"
        if not self.count:
            return "corners in pixels"
        raise SourceError(
            f"{listed}: its boxes are fractions that may be x, y, width, height as well as left, top, right, bottom; "
            "convert the file to MegaDetector's format"
        )


def _names(table: Any) -> dict[str, str]:
    """Return names by id, from an object or a list."""
    pairs: Iterable[tuple[Any, Any]] = ()
    if isinstance(table, dict):
        pairs = table.items()
    elif isinstance(table, list):
        pairs = enumerate(table)
    return {str(key): name.strip() for key, name in pairs if isinstance(name, str) and name.strip()}


def category_of(value: Any, layout: Layout) -> str:
    """Return the name of a box's category.

    Raises:
        UsageError: for an id without a name.
    """
    key = str(value).strip() if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    if key in layout.categories:
        return layout.categories[key]
    if layout.categories:
        raise UsageError(f"category {shown(value)} is not in categories, which has {', '.join(layout.categories)}")
    if not key or key.isdigit():
        raise UsageError(
            f"category {shown(value)}: a name such as animal is needed, since 1 is an animal in MegaDetector's files and a "
            "person in those of PyTorch-Wildlife"
        )
    return key
