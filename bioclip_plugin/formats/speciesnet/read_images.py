"""One image of a SpeciesNet file as a media item: its boxes as regions, its place, and SpeciesNet's answers as metadata."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from bioclip_core.cells import json_value, position_of
from bioclip_core.errors import UsageError
from bioclip_plugin.formats.shared.detections import NOT_NAMED, Entry, box_of, confidence_of, is_number
from bioclip_plugin.formats.shared.streamed_json import kind_of
from bioclip_plugin.formats.speciesnet.schema import FAILED, LABELS, WHOLE_IMAGE
from bioclip_plugin.items.media import MediaItem, Place, Region, Unlisted

_REASONS = 3  # reported for an image without a usable box
_WORDS = {"human": "person"}
_FIELDS = frozenset({"filepath", "failures", "detections", "country", "admin1_region", "latitude", "longitude",
                     "classifications", "prediction", "prediction_score", "prediction_source"})  # fmt: skip


class ImageReader:
    """Turns the entries of one file into items."""

    def __init__(self, shown: str, threshold: float) -> None:
        """Set up.

        Args:
            shown: the file's name in messages.
            threshold: confidence from which a box is classified.
        """
        self._shown = shown
        self._threshold = threshold

    def items(self, entry: Entry) -> Iterator[MediaItem | Unlisted]:
        """Yield the item of one entry, or its failure, and a message for each unusable box."""
        record = entry.record
        failures, listed = _failures(record.get("failures")), record.get("detections")
        place, rest = _place(record)
        known = MediaItem(entry.uri, entry.path, place=place)
        if failures and (listed is None or "DETECTOR" in failures):
            known = replace(known, metadata=_metadata(record, rest, [], failures))
            yield Unlisted(entry.uri, f"{FAILED}{', '.join(failures)}", known=known)
            return
        if listed is not None and not isinstance(listed, list):
            yield self._trouble(entry, "", f"detections is {kind_of(listed)}; an array is needed")
            return
        regions, said, dropped = self._detections(entry, listed or [])
        if dropped and not regions:  # without boxes it would look like an image in which the detector found nothing
            why = "; ".join(trouble.reason for trouble in dropped[:_REASONS])
            more = f"; and {len(dropped) - _REASONS} more" if len(dropped) > _REASONS else ""
            known = replace(known, metadata=_metadata(record, rest, [], failures))
            yield Unlisted(entry.uri, f"none of its boxes can be used: {why}{more}", known=known)
            return
        yield from dropped
        whole = listed is None or any(_is_whole_image(one) for one in listed)
        yield replace(
            known,
            regions=tuple(regions),
            detected=bool(regions) or not whole,
            metadata=_metadata(record, rest, said, failures),
        )

    def _detections(self, entry: Entry, listed: list[Any]) -> tuple[list[Region], list[dict[str, Any]], list[Unlisted]]:
        """Return the boxes, SpeciesNet's answers, and a message for each unusable box."""
        regions: list[Region] = []
        said: list[dict[str, Any]] = []
        dropped: list[Unlisted] = []
        taken: set[tuple[tuple[int, int, int, int], str]] = set()
        for place, detection in enumerate(listed):
            try:
                if not _is_whole_image(detection):
                    region = self._region(detection, str(entry.record.get("model_version") or ""))
                    if len(listed) > 1:  # most images have one box
                        key = (region.box, region.category)
                        if key in taken:
                            raise UsageError(f"duplicate bbox {region.xywh} of {region.category}")
                        taken.add(key)
                    regions.append(region)
            except UsageError as error:
                dropped.append(self._trouble(entry, f".detections[{place}]", str(error)))
                continue
            said += _said(detection)
        return regions, said, dropped

    def _region(self, detection: Any, version: str) -> Region:
        if not isinstance(detection, dict):
            raise UsageError(f"it is {kind_of(detection)}; an object with category, conf and bbox is needed")
        word = word_of(detection.get("category"), detection.get("label"))
        confidence = confidence_of(detection.get("conf"))
        x, y, w, h = box_of(detection.get("bbox"))
        named = word.lower() not in NOT_NAMED and confidence >= self._threshold
        return Region(x, y, w, h, "SpeciesNet", version, word, confidence, named)

    def _trouble(self, entry: Entry, part: str, why: str) -> Unlisted:
        place = f"predictions[{entry.number}]"
        return Unlisted(
            f"{self._shown}#{place}{part}", f"{place} {entry.name!r}{part and ' '}{part.lstrip('.')}: {why}"
        )


def word_of(category: Any, label: Any) -> str:
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


def _failures(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value] if value else []
    return [str(one) for one in value] if isinstance(value, list) else []


def _said(detection: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the answers of classifier and ensemble for one box, which are kept as metadata."""
    one: dict[str, Any] = {"bbox": json_value(detection.get("bbox"))}
    classes = _classes(detection.get("raw_classifications"))
    if classes:
        one["classes"] = classes
    if isinstance(detection.get("processed_classification"), dict):
        one["processed"] = json_value(detection["processed_classification"])
    return [one] if len(one) > 1 else []


def _classes(value: Any) -> list[list[Any]]:
    classes, scores = (value.get("classes"), value.get("scores")) if isinstance(value, dict) else (None, None)
    if not isinstance(classes, list) or not isinstance(scores, list):
        return []
    pairs = zip(classes, scores, strict=False)
    return [[label, float(score)] for label, score in pairs if isinstance(label, str) and is_number(score)]


def _place(record: Mapping[str, Any]) -> tuple[Place, dict[str, Any]]:
    """Return the place of an image, and its unusable parts for the metadata."""
    country, region = record.get("country"), record.get("admin1_region")
    known = isinstance(country, str) and country.isascii() and country.isalpha() and len(country) in (2, 3)
    latitude, longitude = position_of(record.get("latitude"), record.get("longitude"))
    place = Place(
        country.upper() if known and isinstance(country, str) else None,
        region.strip() if isinstance(region, str) and region.strip() else None,
        latitude,
        longitude,
    )
    rest = {} if known or country is None else {"country": json_value(country)}
    if latitude is None:
        rest |= {name: json_value(record[name]) for name in ("latitude", "longitude") if record.get(name) is not None}
    return place, rest


def _metadata(
    record: Mapping[str, Any], rest: dict[str, Any], said: list[dict[str, Any]], failures: list[str]
) -> dict[str, Any]:
    """Return all but boxes and place. The 4.x shape has one prediction per image, which is kept as that of the whole image."""
    classes = _classes(record.get("classifications"))
    prediction = {
        name: json_value(record[field])
        for name, field in (("class", "prediction"), ("score", "prediction_score"), ("source", "prediction_source"))
        if record.get(field) is not None
    }
    if classes or prediction:
        whole: dict[str, Any] = {"bbox": [0.0, 0.0, 1.0, 1.0]}
        said = [
            whole | ({"classes": classes} if classes else {}) | ({"processed": prediction} if prediction else {}),
            *said,
        ]
    others = {name: json_value(value) for name, value in record.items() if name not in _FIELDS and value is not None}
    return {
        **others,
        **rest,
        **({"classifications": said} if said else {}),
        **({"failures": failures} if failures else {}),
    }
