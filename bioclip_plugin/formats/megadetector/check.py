"""Checks of MegaDetector batch results: those of the format's own validator, and mistakes that it accepts silently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from bioclip_core.errors import SourceError, UsageError
from bioclip_core.files.present import is_file
from bioclip_core.files.streamed_json import elements, kind_of, members
from bioclip_plugin.contracts.problem import Problem, Severity
from bioclip_plugin.formats.megadetector.read import VERSIONS, VIDEO_SUFFIXES, version_of
from bioclip_plugin.formats.shared.detections import Duplicates, box_of, is_number

MOST = 1_000
"""Number of errors, and of warnings, that are reported; a file with more has one mistake in all records."""

_FAILURES = ("image access failure", "inference failure")
_MISSING_SHOWN = 20  # missing images that are named
_OLDEST_CHECKED = 1.3  # by megadetector-utils
_HOSTS_KEEP = 5  # classifications per detection
_DESCRIPTIONS = "classification_category_descriptions"
_MEMBERS = frozenset(("info", "images", "detection_categories", "classification_categories", _DESCRIPTIONS))
_PARTS = "id;class;order;family;genus;species;common name"
_KINGDOMS = frozenset("animalia plantae fungi chromista protozoa bacteria archaea".split())


class Fault(NamedTuple):
    """A fault in a part of a file."""

    record: str
    message: str
    value: str = ""
    severity: Severity = "error"


def problems_of(path: Path, base_folder: Path | None = None) -> Iterator[Problem]:
    """Yield the problems of a file in its order; at most :data:`MOST` errors and as many warnings.

    Args:
        path: the file.
        base_folder: folder of its images; None: whether they exist is not checked.
    """
    counts: Counter[Severity] = Counter()
    for fault in _faults(path, base_folder):
        counts[fault.severity] += 1
        if counts[fault.severity] <= MOST:
            yield Problem(path.name, *fault)
    yield from (
        Problem(path.name, "", f"{count - MOST:,} more {severity}s, of {count:,}", severity=severity)
        for severity, count in counts.items()
        if count > MOST
    )


def _faults(path: Path, base_folder: Path | None) -> Iterator[Fault]:
    images = _Images(base_folder)
    head: dict[str, Any] = {}
    try:
        for number, image in elements(path, "images", head):
            yield from images.faults(number, image)
    except SourceError as error:
        yield Fault("", str(error))
        return
    yield from _header_faults(head, images.detected, images.classified)
    try:
        version = version_of(head.get("info"))
    except UsageError:
        version = VERSIONS[-1]
    yield from images.faults_at_end(version)
    for number, image in members(path, "images") if images.duplicates.repeated else ():
        name = image.get("file") if isinstance(image, dict) else None
        first = images.duplicates.earlier(name, number) if isinstance(name, str) else None
        if first is not None:
            yield Fault(f"images[{number}] {name}", f"duplicate file, first used by images[{first}]")


class _Images:
    """Checks one image after the other, and keeps what can be checked only at the end."""

    def __init__(self, base_folder: Path | None) -> None:
        self.detected: dict[str, str] = {}
        """Ids of detections in use, with the first record that uses each."""
        self.classified: dict[str, str] = {}
        """Ids of classifications in use, with the first record that uses each."""
        self.duplicates = Duplicates()
        self._base = base_folder
        self._seen = self._missing = 0
        self._incomplete: dict[str, tuple[str, str]] = {}  # by key: the first video without it, and its version

    def faults(self, number: int, image: Any) -> Iterator[Fault]:
        """Yield the faults of one image."""
        if not isinstance(image, dict):
            yield Fault(f"images[{number}]", "must be an object", kind_of(image))
            return
        name = image.get("file")
        if not isinstance(name, str) or not name.strip():
            yield Fault(f"images[{number}]", "file must be the name of an image", repr(name))
            return
        record = f"images[{number}] {name}"
        self.duplicates.note(name)
        yield from self._name_faults(record, name)
        failure, detections = image.get("failure"), image.get("detections")
        if failure is not None:
            yield from _failure_faults(record, failure, detections)
        elif not isinstance(detections, list):
            yield Fault(record, "detections must be an array, empty if nothing was found", kind_of(detections))
        is_video = name[name.rfind(".") :].lower() in VIDEO_SUFFIXES
        for place, detection in enumerate(detections if isinstance(detections, list) else ()):
            yield from self._detection_faults(f"{record} detections[{place}]", detection, is_video)
        if is_video:
            yield from self._video_faults(record, image)

    def faults_at_end(self, version: str) -> Iterator[Fault]:
        """Yield the faults that depend on the header, which may be behind the images, or on the number of images."""
        yield from (
            Fault(record, f"a video needs {key} since version {since}")
            for key, (record, since) in self._incomplete.items()
            if version >= since
        )
        if self._missing > _MISSING_SHOWN:
            yield Fault("", f"{self._missing:,} of {self._seen:,} files are not in {self._base}", severity="warning")

    def _name_faults(self, record: str, name: str) -> Iterator[Fault]:
        if "\0" in name:
            yield Fault(record, "file must not contain a NUL", repr(name))
            return
        if "\\" in name:
            yield Fault(record, "file should have forward slashes", name, "warning")
        plain = name.replace("\\", "/")
        if plain.startswith("/") or name[1:2] == ":":
            yield Fault(record, "file is an absolute path, which exists on one computer only", name, "warning")
        elif ".." in plain.split("/"):
            yield Fault(record, "file leaves its base folder by '..'", name, "warning")
        if self._base is not None:
            self._seen += 1
            if not is_file(self._base / plain) and not is_file(self._base / name):
                self._missing += 1
                if self._missing <= _MISSING_SHOWN:
                    yield Fault(record, f"the file does not exist in {self._base}", name, "warning")

    def _video_faults(self, record: str, image: Mapping[str, Any]) -> Iterator[Fault]:
        for key, since in (("frame_rate", "1.4"), ("frames_processed", "1.5")):
            if key not in image:
                self._incomplete.setdefault(key, (record, since))
        rate, frames = image.get("frame_rate"), image.get("frames_processed")
        if rate is not None and not is_number(rate):
            yield Fault(record, "frame_rate must be a number above 0", repr(rate))
        elif rate is not None and rate <= 0 and image.get("failure") is None:
            if rate < 0:
                yield Fault(record, "frame_rate must be above 0", repr(rate))
            else:
                yield Fault(record, "frame_rate is 0, which means unknown", repr(rate), "warning")
        if frames is not None and not (isinstance(frames, list) and all(map(_is_frame, frames))):
            yield Fault(record, "frames_processed must be whole numbers from 0", repr(frames)[:80])

    def _detection_faults(self, record: str, detection: Any, is_video: bool) -> Iterator[Fault]:
        if not isinstance(detection, dict):
            yield Fault(record, "must be an object", kind_of(detection))
            return
        category, confidence = detection.get("category"), detection.get("conf")
        if isinstance(category, str):
            self.detected.setdefault(category, record)
        else:
            yield Fault(record, "category must be an id of detection_categories, as text", repr(category))
        if not is_number(confidence) or not 0 <= confidence <= 1:
            yield Fault(record, "conf must be a number from 0 to 1", repr(confidence))
        elif not isinstance(confidence, float):
            yield Fault(record, "conf must be written with a point, such as 1.0", repr(confidence))
        try:
            if list(box_of(detection.get("bbox"))) != detection["bbox"]:
                yield Fault(record, "bbox leaves the image by rounding", repr(detection["bbox"]), "warning")
        except UsageError as error:
            yield Fault(record, str(error))
        frame, pairs = detection.get("frame_number"), detection.get("classifications")
        if is_video and frame is None:
            self._incomplete.setdefault("frame_number in each detection", (record, "1.4"))
        if frame is not None and not _is_frame(frame):
            yield Fault(record, "frame_number must be a whole number from 0", repr(frame))
        if isinstance(pairs, list):
            yield from self._pair_faults(record, pairs)
        elif pairs is not None:
            yield Fault(record, "classifications must be an array of [id, confidence]", kind_of(pairs))

    def _pair_faults(self, record: str, pairs: list[Any]) -> Iterator[Fault]:
        before = 1.0
        for pair in pairs:
            if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[0], str):
                yield Fault(record, "a classification must be [id, confidence], the id as text", repr(pair)[:80])
                continue
            self.classified.setdefault(pair[0], record)
            if not is_number(pair[1]) or not 0 <= pair[1] <= 1:
                yield Fault(record, "a classification's confidence must be a number from 0 to 1", repr(pair)[:80])
            elif pair[1] > before:
                yield Fault(record, "classifications must be in descending order", repr(pairs)[:80])
                return
            else:
                before = pair[1]
        if len(pairs) > _HOSTS_KEEP:
            yield Fault(
                record,
                f"{len(pairs)} classifications: hosts keep {_HOSTS_KEEP}, more make very large files",
                severity="warning",
            )


def _failure_faults(record: str, failure: Any, detections: Any) -> Iterator[Fault]:
    if not isinstance(failure, str) or not failure.strip():
        yield Fault(record, "failure must be a text with the reason", repr(failure))
    elif not failure.lower().startswith(_FAILURES):
        yield Fault(
            record,
            f"failure does not begin with {' or '.join(map(repr, _FAILURES))}, which readers know",
            failure,
            "warning",
        )
    if detections is not None:
        yield Fault(record, "detections must be null if there is a failure", kind_of(detections))


def _is_frame(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


# -- header: version, categories, and the taxonomy of classifications ---------------------------------------------------


def _header_faults(
    head: Mapping[str, Any], detected: Mapping[str, str], classified: Mapping[str, str]
) -> Iterator[Fault]:
    """Yield the faults of all members but the elements of ``images``.

    Args:
        head: the members.
        detected: ids of detections that images use, with the first record that uses each.
        classified: the same for classifications.
    """
    yield from _info_faults(head.get("info"))
    if not isinstance(head.get("images"), list):
        yield Fault("images", "must be an array of images", kind_of(head.get("images")))
    yield from _table_faults("detection_categories", head.get("detection_categories"), detected)
    if classified or head.get("classification_categories") is not None:
        yield from _table_faults("classification_categories", head.get("classification_categories"), classified)
    yield from _description_faults(head.get(_DESCRIPTIONS), head.get("classification_categories"))
    yield from (
        Fault(name, "this member is not part of the format", severity="warning")
        for name in sorted(set(head) - _MEMBERS)
    )


def _info_faults(info: Any) -> Iterator[Fault]:
    try:
        version_of(info)
    except UsageError as error:
        yield Fault("info", str(error))
        return
    given = info["format_version"]
    if float(given) < _OLDEST_CHECKED:
        yield Fault("info", "readers of the format need version 1.3 or later", repr(given), "warning")
    if not isinstance(given, str):
        severity: Severity = "warning" if given < 1.6 else "error"
        yield Fault("info", 'format_version must be a text, such as "1.6"', repr(given), severity)
    if "detector" not in info:
        yield Fault("info", "detector is missing: readers guess thresholds from it", severity="warning")


def _table_faults(member: str, table: Any, used: Mapping[str, str]) -> Iterator[Fault]:
    """Yield the faults of an object of ids and names, and the ids in use that it lacks."""
    if not isinstance(table, dict):
        yield Fault(
            member, "must be an object with the name of each id", "missing" if table is None else kind_of(table)
        )
        return
    for key, name in table.items():
        if not key.isascii() or not key.isdigit():
            yield Fault(member, "an id must be a whole number from 0, as text", key)
        if not isinstance(name, str) or not name.strip():
            yield Fault(member, f"the name of {key} must not be blank", repr(name))
    yield from (
        Fault(record, f"its category is not in {member}", key) for key, record in used.items() if key not in table
    )
    if member == "detection_categories":
        if "0" in table:
            yield Fault(member, 'id "0" means empty to readers: begin with "1"', str(table["0"]), "warning")
        if "animal" not in table.values():
            yield Fault(member, "no category is called animal, which readers look for", severity="warning")


def _description_faults(table: Any, classes: Any) -> Iterator[Fault]:
    if table is None:
        return
    if not isinstance(table, dict) or not isinstance(classes, dict):
        yield Fault(
            _DESCRIPTIONS, "must be an object with a text for each id, beside classification_categories", kind_of(table)
        )
        return
    yield from (
        Fault(_DESCRIPTIONS, "must have the same ids as classification_categories", key)
        for key in sorted(set(table) ^ set(classes))
    )
    for key, text in table.items():
        for alternative in text.split("|") if isinstance(text, str) else [text]:  # readers split at this mark
            yield from _taxonomy_faults(f"{_DESCRIPTIONS}[{key}]", alternative)


def _taxonomy_faults(record: str, text: Any) -> Iterator[Fault]:
    parts = text.split(";") if isinstance(text, str) else []
    if len(parts) != 7:
        yield Fault(record, f"must have 7 parts: {_PARTS}; readers fail otherwise", repr(text))
        return
    first, genus, species = parts[0].strip(), parts[4].strip(), parts[5].strip()
    checks: tuple[tuple[bool, str, Severity], ...] = (
        (text != text.lower(), "must be in lower case", "error"),
        (first in _KINGDOMS, "the first part must be an id, not a kingdom: the ranks begin with class", "error"),
        (" " in species, "the species must be the epithet alone; readers take two words for a subspecies", "error"),
        (bool(species) and not genus, "a species without its genus", "warning"),
    )
    yield from (Fault(record, message, text, severity) for is_wrong, message, severity in checks if is_wrong)
