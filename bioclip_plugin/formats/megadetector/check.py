"""Checks of MegaDetector batch results: what the format's own validator checks, and what it accepts in silence."""

from __future__ import annotations

import posixpath
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bioclip_core.errors import SourceError, UsageError
from bioclip_plugin.contracts.problem import Problem, Severity
from bioclip_plugin.formats.megadetector.check_names import Categories, header_problems
from bioclip_plugin.formats.megadetector.read import VERSIONS, version_of
from bioclip_plugin.formats.megadetector.read_images import VIDEO_SUFFIXES, box_of, is_number
from bioclip_plugin.formats.shared.streamed_json import ARRAY_BEGINS, kind_of, members, walk

MOST = 1_000
"""Whoever made more problems has made one mistake in all records: the rest are counted."""

_FAILURES = ("image access failure", "inference failure")
_MISSING_TOLD = 20  # images that are not there, by name
_HOSTS_KEEP = 5  # classifications a detection


def problems_of(path: Path, base_folder: Path | None = None) -> Iterator[Problem]:
    """What is wrong with a file, in the order in which it stands there; of errors and of warnings at most :data:`MOST`.

    Args:
        path: the file.
        base_folder: where its images are; None: whether they exist is not looked at.
    """
    told: Counter[Severity] = Counter()
    for problem in _problems(path, base_folder):
        told[problem.severity] += 1
        if told[problem.severity] <= MOST:
            yield problem
    for severity, count in told.items():
        if count > MOST:
            yield Problem(path.name, "", f"{count - MOST:,} more {severity}s, of {count:,}", severity=severity)


def _problems(path: Path, base_folder: Path | None) -> Iterator[Problem]:
    images = _Images(path.name, base_folder)
    head: dict[str, Any] = {}
    try:
        for event in walk(path):
            if event.name == "images" and event.number is not None:
                if event.number == ARRAY_BEGINS:
                    head["images"] = []
                else:
                    yield from images.problems(event.number, event.value)
            elif event.number is None or event.number == ARRAY_BEGINS:
                head[event.name] = [] if event.number == ARRAY_BEGINS else event.value
    except SourceError as error:
        yield Problem(path.name, "", str(error))
        return
    yield from header_problems(path.name, head, images.categories)
    yield from images.problems_behind(_version(head))
    yield from _repeated(path, images.hashes)


def _version(head: Mapping[str, Any]) -> str:
    try:
        return version_of(head.get("info"))
    except UsageError:
        return VERSIONS[-1]


class _Images:
    """The checks of one image after another, and what can be said only when all were seen."""

    def __init__(self, file: str, base_folder: Path | None) -> None:
        self.categories = Categories()
        self.hashes = array("q")
        self._file = file
        self._base = base_folder
        self._seen = self._missing = 0
        self._incomplete: dict[str, tuple[str, str]] = {}  # by key: the first video without it, and its name

    def problems(self, number: int, image: Any) -> Iterator[Problem]:
        record = f"images[{number}]"
        if not isinstance(image, dict):
            yield self._problem(record, "an object is needed", kind_of(image))
            return
        name = image.get("file")
        if not isinstance(name, str) or not name.strip():
            yield self._problem(record, "file must be the name of an image", repr(name))
            return
        record = f"{record} {name}"
        self.hashes.append(hash(_same(name)))
        yield from self._name(record, name)
        failure, detections = image.get("failure"), image.get("detections")
        if failure is not None:
            yield from self._failure(record, failure, image)
        elif not isinstance(detections, list):
            yield self._problem(
                record, "detections must be an array, empty where nothing was found", kind_of(detections)
            )
        if isinstance(detections, list):
            video = name[name.rfind(".") :].lower() in VIDEO_SUFFIXES
            for place, detection in enumerate(detections):
                yield from self._detection(f"{record} detections[{place}]", detection, video)
        if name[name.rfind(".") :].lower() in VIDEO_SUFFIXES:
            yield from self._video(record, image)

    def problems_behind(self, version: str) -> Iterator[Problem]:
        """What depends on the header, which may stand behind the images, and on the number of images."""
        for key, (record, since) in self._incomplete.items():
            if version >= since:
                yield self._problem(record, f"a video needs {key} since version {since}")
        if self._missing > _MISSING_TOLD:
            yield self._problem(
                "", f"{self._missing:,} of {self._seen:,} files are not in {self._base}", severity="warning"
            )

    def _problem(self, record: str, message: str, value: str = "", severity: Severity = "error") -> Problem:
        return Problem(self._file, record, message, value, severity)

    def _name(self, record: str, name: str) -> Iterator[Problem]:
        if "\0" in name:
            yield self._problem(record, "file holds a NUL", repr(name))
            return
        if "\\" in name:
            yield self._problem(record, "file should have forward slashes", name, "warning")
        plain = name.replace("\\", "/")
        if plain.startswith("/") or name[1:2] == ":":
            yield self._problem(record, "file is absolute: it is found on one machine only", name, "warning")
        elif ".." in plain.split("/"):
            yield self._problem(record, "file leaves its base folder by '..'", name, "warning")
        if self._base is not None:
            self._seen += 1
            if not (self._base / plain).is_file() and not (self._base / name).is_file():
                self._missing += 1
                if self._missing <= _MISSING_TOLD:
                    yield self._problem(record, f"there is no such file in {self._base}", name, "warning")

    def _failure(self, record: str, failure: Any, image: Mapping[str, Any]) -> Iterator[Problem]:
        if not isinstance(failure, str) or not failure.strip():
            yield self._problem(record, "failure must be a text that says why", repr(failure))
        elif not failure.lower().startswith(_FAILURES):
            known = " or ".join(repr(one) for one in _FAILURES)
            yield self._problem(record, f"failure does not begin with {known}, which readers know", failure, "warning")
        if image.get("detections") is not None:
            yield self._problem(
                record, "detections must be null where there is a failure", kind_of(image["detections"])
            )

    def _video(self, record: str, image: Mapping[str, Any]) -> Iterator[Problem]:
        for key, since in (("frame_rate", "1.4"), ("frames_processed", "1.5")):
            if key not in image:
                self._incomplete.setdefault(key, (record, since))
        rate, frames = image.get("frame_rate"), image.get("frames_processed")
        if rate is not None and not is_number(rate):
            yield self._problem(record, "frame_rate must be a number above 0", repr(rate))
        elif rate is not None and rate < 0 and image.get("failure") is None:
            yield self._problem(record, "frame_rate must be above 0", repr(rate))
        elif rate == 0 and image.get("failure") is None:
            yield self._problem(record, "frame_rate is 0: it is not known", repr(rate), "warning")
        if frames is not None and not (isinstance(frames, list) and all(_is_frame(one) for one in frames)):
            yield self._problem(record, "frames_processed must be whole numbers from 0", repr(frames)[:80])

    def _detection(self, record: str, detection: Any, video: bool) -> Iterator[Problem]:
        if not isinstance(detection, dict):
            yield self._problem(record, "an object is needed", kind_of(detection))
            return
        category = detection.get("category")
        if isinstance(category, str):
            self.categories.detected(category, record)
        else:
            yield self._problem(record, "category must be an id of detection_categories, as text", repr(category))
        confidence = detection.get("conf")
        if not is_number(confidence) or not 0 <= confidence <= 1:
            yield self._problem(record, "conf must be a number from 0 to 1", repr(confidence))
        elif not isinstance(confidence, float):
            yield self._problem(record, "conf must be written with a point, as 1.0", repr(confidence))
        try:
            x, y, w, h = box_of(detection.get("bbox"))
            if [x, y, w, h] != detection["bbox"]:
                yield self._problem(record, "bbox leaves the image by rounding", repr(detection["bbox"]), "warning")
        except UsageError as error:
            yield self._problem(record, str(error))
        frame = detection.get("frame_number")
        if video and frame is None:
            self._incomplete.setdefault("frame_number in each detection", (record, "1.4"))
        if frame is not None and not _is_frame(frame):
            yield self._problem(record, "frame_number must be a whole number from 0", repr(frame))
        if detection.get("classifications") is not None:
            yield from self._classifications(record, detection["classifications"])

    def _classifications(self, record: str, pairs: Any) -> Iterator[Problem]:
        if not isinstance(pairs, list):
            yield self._problem(record, "classifications must be an array of [id, confidence]", kind_of(pairs))
            return
        before = 1.0
        for pair in pairs:
            if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[0], str):
                yield self._problem(record, "a classification is [id, confidence], the id as text", repr(pair)[:80])
                continue
            self.categories.classified(pair[0], record)
            if not is_number(pair[1]) or not 0 <= pair[1] <= 1:
                yield self._problem(
                    record, "a classification's confidence must be a number from 0 to 1", repr(pair)[:80]
                )
            elif pair[1] > before:
                yield self._problem(record, "classifications must stand in descending order", repr(pairs)[:80])
                return
            else:
                before = pair[1]
        if len(pairs) > _HOSTS_KEEP:
            many = f"{len(pairs)} classifications: hosts keep {_HOSTS_KEEP}, more make very large files"
            yield self._problem(record, many, severity="warning")


def _repeated(path: Path, hashes: array[int]) -> Iterator[Problem]:
    """Files that are named twice: hashes say whether there may be some, a second reading says which."""
    import numpy as np

    ordered = np.sort(np.frombuffer(hashes, dtype=np.int64)) if hashes else np.empty(0, np.int64)
    suspected = frozenset(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
    first: dict[str, int] = {}
    for number, image in members(path, "images") if suspected else ():
        name = image.get("file") if isinstance(image, dict) else None
        if isinstance(name, str) and hash(_same(name)) in suspected:
            same = first.setdefault(_same(name), number)
            if same != number:
                yield Problem(
                    path.name, f"images[{number}] {name}", f"the file stands there twice, first as images[{same}]"
                )


def _same(name: str) -> str:
    return posixpath.normpath(name.replace("\\", "/"))


def _is_frame(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
