"""The SpeciesNet source: predictions of 4.x and 5.x, each image with its boxes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bioclip_core.cells import json_value
from bioclip_core.errors import SourceError, UsageError
from bioclip_core.files.present import is_file
from bioclip_core.files.streamed_json import Beginning, beginning, elements, kind_of, members
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.shared.detections import (
    Boxes,
    Duplicates,
    Entry,
    box_of,
    confidence_of,
    is_number,
    message_of,
    name_in,
    without_boxes,
)
from bioclip_plugin.formats.shared.frame_names import located_frame
from bioclip_plugin.formats.shared.paths import located
from bioclip_plugin.formats.shared.stated_values import StatedValues
from bioclip_plugin.items.categories import is_named
from bioclip_plugin.items.media import MediaItem, Region, Unlisted, path_of, uri_of

FORMAT_VERSION = "20261015"
"""The version of speciesnet 5.x, which is written; it is read beside the 4.x shape, which does not state a version."""
WHOLE_IMAGE = "0"
"""Category of the box of a whole image that was classified."""
LABELS: Mapping[str, str] = {WHOLE_IMAGE: "whole_image_classification", "1": "animal", "2": "human", "3": "vehicle"}
"""The ``label`` of each ``category``."""
FAILURES = ("CLASSIFIER", "DETECTOR", "GEOLOCATION")
FAILED = "SpeciesNet failed: "
"""Beginning of the reason of a failure that a file states; the names of the failed parts follow."""
OLD_FIELDS = ("classifications", "classifications_list", "prediction", "processed_classifications")
"""Fields of an image in files before 5.x; speciesnet 5.0.6 refuses a file with one of them."""

_WORDS = {"human": "person"}
_PREDICTION = {"class": "prediction", "score": "prediction_score", "source": "prediction_source"}
_REGION = "admin1_region"
_FIELDS = frozenset(
    {"filepath", "failures", "detections", _REGION, "classifications", *_PREDICTION.values()}
)  # fmt: skip
_COLUMNS = {"latitude": ("latitude",), "longitude": ("longitude",), "country": ("country",), "region": (_REGION,)}
"""The fields of a prediction that fill the fields of an item."""


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
        return is_file(path) and is_speciesnet(beginning(path))

    def items(self, address: str, options: ListingOptions) -> Iterator[MediaItem | Unlisted]:
        path, shown = path_of(address), uri_of(address)
        found = survey(path)
        _check(found, shown)
        reader = ImageReader(
            shown, options.detection_threshold, StatedValues(shown, options, clock="camera", has_codes=True)
        )
        folder = options.base_folder if options.base_folder is not None else path.parent
        # SpeciesNet mostly writes absolute paths, which must be compared with an absolute folder.
        places = (options, replace(options, base_folder=folder.absolute()))
        for number, record in members(path, "predictions"):
            try:
                name = name_in(record, number, "filepath", "predictions", found.duplicates)
                uri, image, frame = located_frame(
                    name, lambda file: located(file, path.parent, places[file.startswith("/")])
                )
            except UsageError as error:
                yield Unlisted(f"{shown}#predictions[{number}]", f"predictions[{number}]: {error}")
                continue
            yield from reader.items(Entry(number, name, uri, image, record, frame))


@dataclass
class Survey:
    """Results of the first of two readings of a file."""

    head: dict[str, Any] = field(default_factory=dict)
    """Top-level members; an empty list for an array."""
    duplicates: Duplicates = field(default_factory=Duplicates)
    """Files that are named twice."""
    old_field: tuple[int, str] | None = None
    """Number of the first image with one of OLD_FIELDS, and that field."""


def survey(path: Path) -> Survey:
    """Read a file once, which also finds broken JSON before any image is listed.

    Raises:
        SourceError: if it cannot be read, or is not JSON.
    """
    found = Survey()
    for number, record in elements(path, "predictions", found.head):
        if isinstance(record, dict):
            if isinstance(record.get("filepath"), str):
                found.duplicates.note(record["filepath"])
            if found.old_field is None:
                found.old_field = next(((number, field) for field in OLD_FIELDS if field in record), None)
    return found


def is_speciesnet(seen: Beginning) -> bool:
    """True if a file with this beginning holds SpeciesNet's predictions."""
    listed = seen.members.get("predictions")
    if not isinstance(listed, list):
        return False
    if not listed:  # an empty array, or the first element is longer than the beginning
        return '"filepath"' in seen.text or '"format_version"' in seen.text
    return any(isinstance(one, dict) and "filepath" in one for one in listed)


def check_version(head: Mapping[str, Any]) -> None:
    """Refuse unknown versions of the format; files of 4.x do not state one.

    Raises:
        UsageError: if there is an ``info`` that does not state the version that is read.
    """
    allowed = f"{FORMAT_VERSION!r} (speciesnet 5.x) and files without info (4.x) are read"
    if "info" not in head:
        return
    info = head["info"]
    version = info.get("format_version") if isinstance(info, dict) else None
    if version is None:
        raise UsageError(f"info.format_version is missing: {allowed}")
    if str(version) != FORMAT_VERSION or isinstance(version, bool):
        raise UsageError(f"format_version {version!r} is not known: {allowed}")


def _check(found: Survey, shown: str) -> None:
    if "predictions" not in found.head:
        raise SourceError(f"{shown} lacks predictions: a SpeciesNet file has an array of that name")
    if not isinstance(found.head["predictions"], list):
        raise SourceError(f"{shown}: predictions is {kind_of(found.head['predictions'])}; it must be an array")
    try:
        check_version(found.head)
    except UsageError as error:
        raise SourceError(f"{shown}: {error}") from error


@dataclass(frozen=True, slots=True)
class ImageReader:
    """Turns the entries of one file into items."""

    file: str
    """The file's name in messages."""
    threshold: float
    """Confidence from which a box is classified."""
    values: StatedValues
    """Reads places."""

    def items(self, entry: Entry) -> Iterator[MediaItem | Unlisted]:
        """Yield the item of one entry, or its failure, and a message for each unusable box."""
        known = _item_of(entry, self.values)
        failures, listed = known.metadata.get("failures", ()), entry.record.get("detections")
        if failures and (listed is None or "DETECTOR" in failures):
            yield Unlisted(entry.uri, f"{FAILED}{', '.join(failures)}", known.frame, known)
            return
        if listed is not None and not isinstance(listed, list):
            yield self._message(entry, "", f"detections is {kind_of(listed)}; it must be an array")
            return
        regions, answers, dropped = self._detections(entry, listed or [])
        if dropped and not regions:
            yield without_boxes(known, dropped)
            return
        yield from dropped
        whole = listed is None or any(map(_is_whole_image, listed))
        answers = [*known.metadata.get("classifications", ()), *answers]
        yield replace(
            known,
            regions=tuple(regions),
            detected=bool(regions) or not whole,
            metadata={**known.metadata, "classifications": answers} if answers else known.metadata,
        )

    def _detections(self, entry: Entry, listed: list[Any]) -> tuple[list[Region], list[dict[str, Any]], list[Unlisted]]:
        """Return the boxes, SpeciesNet's answers, and a message for each unusable box."""
        regions: list[Region] = []
        answers: list[dict[str, Any]] = []
        dropped: list[Unlisted] = []
        boxes = Boxes(listed)
        for place, detection in enumerate(listed):
            try:
                if not _is_whole_image(detection):
                    region = self._region(detection, str(entry.record.get("model_version") or ""))
                    boxes.add(region)
                    regions.append(region)
                answers += _answers(detection)
            except UsageError as error:
                dropped.append(self._message(entry, f".detections[{place}]", str(error)))
        return regions, answers, dropped

    def _region(self, detection: Any, version: str) -> Region:
        if not isinstance(detection, dict):
            raise UsageError(f"it is {kind_of(detection)}; it must be an object with category, conf and bbox")
        word = _word_of(detection.get("category"), detection.get("label"))
        confidence = confidence_of(detection.get("conf"))
        named = is_named(word) and confidence >= self.threshold
        return Region(*box_of(detection.get("bbox")), "SpeciesNet", version, word, confidence, named)

    def _message(self, entry: Entry, part: str, why: str) -> Unlisted:
        return message_of(self.file, f"predictions[{entry.number}]", entry, part, why)


def _word_of(category: Any, label: Any) -> str:
    """Return a region's word for a detection: that of its category, or the label of a category that SpeciesNet does not have.

    Raises:
        UsageError: if it has neither.
    """
    key = str(category) if isinstance(category, (str, int)) and not isinstance(category, bool) else ""
    word = LABELS.get(key, label.strip() if isinstance(label, str) else "")
    if word and key != WHOLE_IMAGE:
        return _WORDS.get(word.lower(), word)
    raise UsageError(
        f"category {category!r}: '1' (animal), '2' (human) or '3' (vehicle) is needed, or a label that names the object"
    )


def _is_whole_image(detection: Any) -> bool:
    return isinstance(detection, dict) and str(detection.get("category")) == WHOLE_IMAGE


def _answers(detection: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the answers of classifier and ensemble for one box, which are kept as metadata."""
    answer: dict[str, Any] = {"bbox": json_value(detection.get("bbox"))}
    if classes := _classes(detection.get("raw_classifications")):
        answer["classes"] = classes
    if isinstance(detection.get("processed_classification"), dict):
        answer["processed"] = json_value(detection["processed_classification"])
    return [answer] if len(answer) > 1 else []


def _classes(value: Any) -> list[list[Any]]:
    classes, scores = (value.get("classes"), value.get("scores")) if isinstance(value, dict) else (None, None)
    if not isinstance(classes, list) or not isinstance(scores, list):
        return []
    return [
        [label, float(score)]
        for label, score in zip(classes, scores, strict=False)
        if isinstance(label, str) and is_number(score)
    ]


def _item_of(entry: Entry, values: StatedValues) -> MediaItem:
    """Return an item with everything but the boxes.

    The 4.x shape has one prediction per image, which is kept as an answer for the whole image.
    """
    record = entry.record
    rest = {name: value for name, value in record.items() if name not in _FIELDS and value is not None}
    if isinstance(region := record.get(_REGION), str):
        rest[_REGION] = region.strip()
    facts = values.item_fields(rest, _COLUMNS, f"predictions[{entry.number}] {entry.name!r}")
    metadata = facts["metadata"]
    prediction = {name: json_value(record[key]) for name, key in _PREDICTION.items() if record.get(key) is not None}
    whole = {"raw_classifications": record.get("classifications"), "bbox": [0.0, 0.0, 1.0, 1.0]}
    if answers := _answers(whole | ({"processed_classification": prediction} if prediction else {})):
        metadata["classifications"] = answers
    failures = record.get("failures")
    if isinstance(failures, (str, list)) and failures:
        metadata["failures"] = [failures] if isinstance(failures, str) else [str(one) for one in failures]
    return MediaItem(entry.uri, entry.path, entry.frame or 0, is_part=entry.frame is not None, **facts)
