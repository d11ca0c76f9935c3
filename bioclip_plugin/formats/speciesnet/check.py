"""Checks of SpeciesNet predictions (5.x): faults that its own programs refuse, and those that they accept and get wrong.

speciesnet itself only checks for fields of the old shape; its converter to MegaDetector's format checks lengths and order of
scores. A file is read as a stream, twice.
"""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bioclip_core.cells import degrees_of
from bioclip_core.errors import SourceError, UsageError
from bioclip_core.files.streamed_json import kind_of, members
from bioclip_plugin.contracts.problem import Problem, Severity
from bioclip_plugin.formats.shared.counted_warnings import counted_warnings
from bioclip_plugin.formats.shared.detections import Duplicates, is_number
from bioclip_plugin.formats.speciesnet.read import (
    FAILURES,
    FORMAT_VERSION,
    LABELS,
    WHOLE_IMAGE,
    Survey,
    check_version,
    survey,
)

_SOURCE = re.compile(
    r"detector|classifier(\+rollup_to_(species|genus|family|order|class|kingdom))?"
    r"|classifier\+geofence\+rollup_(failed|to_(family|order|class|kingdom))"
)
_ROUNDING = 1e-3  # the sum of numbers with four decimals may differ by this much
_Found = tuple[str, str, Any, Severity]  # part of the record, message, value, severity


def check_speciesnet(path: Path) -> Iterator[Problem]:
    """Yield the problems of a predictions file of SpeciesNet 5.x; a warning about many detections is given once."""
    return counted_warnings(_problems(path))


def _problems(path: Path) -> Iterator[Problem]:
    name = path.name
    try:
        found = survey(path)
        if "predictions" not in found.head:
            yield Problem(name, "", "it lacks predictions: an array with one object per image is needed")
            return
        yield from _head_problems(name, found)
        for number, record in members(path, "predictions"):
            file = record.get("filepath") if isinstance(record, dict) else None
            shown = f" {file}" if isinstance(file, str) else ""
            for part, message, value, severity in _record_problems(number, record, found.duplicates):
                yield Problem(
                    name,
                    f"predictions[{number}]{shown}{part and ' '}{part}",
                    message,
                    "" if value is None else reprlib.repr(value),
                    severity,
                )
    except SourceError as error:
        yield Problem(name, "", str(error))


def _head_problems(name: str, found: Survey) -> Iterator[Problem]:
    head = found.head
    if found.old_field is not None:
        number, field = found.old_field
        yield Problem(
            name,
            f"predictions[{number}] {field}",
            f"this is the shape of SpeciesNet 4.x (one prediction per image), which 5.x refuses: {FORMAT_VERSION} has "
            "raw_classifications and processed_classification in each detection",
        )
    elif "info" not in head:
        yield Problem(name, "info", f"info.format_version is missing: {FORMAT_VERSION!r} is needed")
    try:
        check_version(head)
    except UsageError as error:
        yield Problem(name, "info.format_version", str(error))
        return
    if isinstance(head.get("info"), dict) and not isinstance(head["info"]["format_version"], str):
        yield Problem(name, "info.format_version", "it must be a text, in quotes", str(head["info"]["format_version"]))


def _record_problems(number: int, record: Any, duplicates: Duplicates) -> Iterator[_Found]:
    if not isinstance(record, dict):
        yield "", f"it is {kind_of(record)}; an object with filepath and detections is needed", None, "error"
        return
    name = record.get("filepath")
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        yield "filepath", "the name of an image is needed", name, "error"
    elif (first := duplicates.earlier(name, number)) is not None:
        yield "filepath", f"duplicate file; predictions[{first}] has the same one", name, "error"
    yield from _failure_problems(record)
    yield from _place_problems(record)
    detections = record.get("detections")
    if detections is None:
        if not record.get("failures"):
            yield "detections", "it is missing, without failures", None, "error"
    elif not isinstance(detections, list):
        yield "detections", f"it is {kind_of(detections)}; an array is needed", None, "error"
    else:
        yield from _detections_problems(detections)
        if "model_version" not in record and any(
            "processed_classification" in one for one in detections if isinstance(one, dict)
        ):
            yield "model_version", "it is missing, and there is a processed_classification", None, "warning"


def _failure_problems(record: Mapping[str, Any]) -> Iterator[_Found]:
    failures = record.get("failures")
    if "failures" in record and (not isinstance(failures, list) or not failures):
        yield "failures", "a list of the failed parts is needed; leave it out if nothing failed", failures, "error"
        return
    allowed = f"allowed are {', '.join(FAILURES)}"
    yield from (("failures", allowed, one, "error") for one in failures or () if one not in FAILURES)


def _place_problems(record: Mapping[str, Any]) -> Iterator[_Found]:
    for name, pattern, needed in (
        ("country", "[A-Z]{3}", "three capital letters of ISO 3166-1 are needed; the geofence stops at others"),
        ("admin1_region", "[A-Z0-9]{2}", "two characters, the second half of ISO 3166-2, are needed"),
    ):
        code = record.get(name)
        if code is not None and not (isinstance(code, str) and re.fullmatch(pattern, code)):
            yield name, needed, code, "error"
    for name, limit in (("latitude", 90), ("longitude", 180)):
        value = record.get(name)
        if value is not None and (isinstance(value, str) or degrees_of(value, limit) is None):
            yield name, f"degrees from -{limit} to {limit} are needed", value, "error"
    if (record.get("latitude") is None) != (record.get("longitude") is None):
        yield "latitude", "latitude and longitude must be given together, or neither", None, "error"


def _detections_problems(detections: list[Any]) -> Iterator[_Found]:
    earlier = math.inf
    for place, one in enumerate(detections):
        part = f"detections[{place}]"
        if not isinstance(one, dict):
            yield part, f"it is {kind_of(one)}; an object with category, label, conf and bbox is needed", None, "error"
            continue
        yield from ((f"{part}.{field}", *found) for field, *found in _detection_problems(one))
        confidence: Any = one.get("conf")
        if one.get("category") == WHOLE_IMAGE:
            if place:
                yield part, "the whole image must come first, and once", None, "error"
        elif is_number(confidence):
            if confidence > earlier:
                yield (
                    f"{part}.conf",
                    "boxes must be in falling order of conf: the first one is taken for the best",
                    confidence,
                    "error",
                )
            earlier = confidence


def _detection_problems(one: Mapping[str, Any]) -> Iterator[_Found]:
    category, label = one.get("category"), one.get("label")
    if not isinstance(category, str) or not category.isdecimal():
        yield "category", "'0' (whole image), '1' (animal), '2' (human) or '3' (vehicle) is needed", category, "error"
    elif category not in LABELS:
        yield "category", "SpeciesNet has '0' to '3' only; it ignores others", category, "warning"
    elif label != LABELS[category]:
        yield "label", f"category {category} is {LABELS[category]!r}", label, "error"
    if not isinstance(label, str) or not label.strip():
        yield "label", "a word is needed", label, "error"
    yield from _score_problems("conf", one.get("conf"))
    yield from _box_problems(one.get("bbox"))
    if "raw_classifications" in one:
        yield from _raw_problems(one["raw_classifications"])
    if "processed_classification" in one:
        yield from _processed_problems(one["processed_classification"])


def _box_problems(box: Any) -> Iterator[_Found]:
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
        yield "bbox", "four numbers are needed: x, y, width, height from 0 to 1", box, "error"
        return
    x, y, w, h = box
    if w <= 0 or h <= 0:
        yield "bbox", "width and height must be above 0", box, "error"
    if x < 0 or y < 0 or x + w > 1 + _ROUNDING or y + h > 1 + _ROUNDING:
        yield "bbox", "it leaves the image, which is 0 to 1 wide and high", box, "error"


def _raw_problems(raw: Any) -> Iterator[_Found]:
    classes, scores = (raw.get("classes"), raw.get("scores")) if isinstance(raw, dict) else (None, None)
    if not isinstance(classes, list) or not isinstance(scores, list) or not classes:
        yield "raw_classifications", "lists classes and scores are needed, with one class at least", raw, "error"
        return
    if len(classes) != len(scores):
        yield (
            "raw_classifications",
            f"{len(classes)} classes and {len(scores)} scores: one score per class is needed",
            None,
            "error",
        )
    for place, label in enumerate(classes):
        yield from _label_problems(f"raw_classifications.classes[{place}]", label)
    for place, score in enumerate(scores):
        yield from _score_problems(f"raw_classifications.scores[{place}]", score)
    numbers = [score for score in scores if is_number(score)]
    if numbers != sorted(numbers, reverse=True):
        yield "raw_classifications.scores", "scores must be in falling order", scores, "error"
    duplicates = {label for label in classes if isinstance(label, str) and classes.count(label) > 1}
    yield from (("raw_classifications.classes", "duplicate class", label, "error") for label in sorted(duplicates))


def _processed_problems(processed: Any) -> Iterator[_Found]:
    name = "processed_classification"
    if not isinstance(processed, dict):
        yield name, f"it is {kind_of(processed)}; an object with class, score and source is needed", None, "error"
        return
    yield from _label_problems(f"{name}.class", processed.get("class"))
    yield from _score_problems(f"{name}.score", processed.get("score"))
    source = processed.get("source")
    if not isinstance(source, str) or not source.strip():
        yield (
            f"{name}.source",
            "the origin of the class is needed: classifier, detector, classifier+rollup_to_genus...",
            source,
            "error",
        )
    elif not _SOURCE.fullmatch(source):
        yield f"{name}.source", "SpeciesNet's own ensemble does not have this source", source, "warning"


def _label_problems(part: str, label: Any) -> Iterator[_Found]:
    if not isinstance(label, str) or label.count(";") != 6:
        yield part, "seven parts are needed: uuid;class;order;family;genus;species;common name", label, "error"
    elif label != label.lower():
        yield part, "a label must be in lower case", label, "error"
    elif not label.split(";")[0] or not label.split(";", 1)[1].strip("; "):
        yield part, "a label needs an id and at least one name", label, "error"


def _score_problems(part: str, value: Any) -> Iterator[_Found]:
    if not is_number(value) or not 0 <= value <= 1:
        yield part, "a number from 0 to 1 is needed", value, "error"
