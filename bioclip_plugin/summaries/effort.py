"""Effort: the time that each camera was at work, from its deployment or from its images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.findings import Findings
from bioclip_plugin.summaries.sightings import (
    BLANK,
    DAY_S,
    KINDS,
    NO_TIME,
    PERSON,
    TAXON,
    UNKNOWN,
    VEHICLE,
    Sightings,
    different_pairs,
)

BOTH, STARTED, ENDED, IMAGES = "deployment", "deployment start, last image", "first image, deployment end", "images"
"""Origins of an effort; empty for a camera of unknown effort."""
_SILENT_DAYS = 30
"""Days without an image after which a camera may have been broken, full or without power."""
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Stated:
    """Start and end of a deployment as stated, in seconds since 1970 on the wall clock of its place; each None if unknown."""

    start: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True)
class CameraEffort:
    """One camera with its effort."""

    camera: str
    days: float
    """Camera-days; NaN if unknown."""
    known_by: str
    """BOTH, STARTED, ENDED, IMAGES or empty."""
    first_day: int | None
    """Days since 1970."""
    last_day: int | None
    images: int
    counts: Mapping[str, int]
    """Images by kind of result; an image with several kinds counts for each."""

    @property
    def is_known(self) -> bool:
        """True if its effort is known."""
        return self.known_by != ""


def effort_of(sightings: Sightings, stated: Mapping[str, Stated], findings: Findings) -> list[CameraEffort]:
    """Return the effort of each camera of the run and of each stated deployment, also of one without any image.

    With both ends stated, it is the exact time between them in days of 24 hours. An end that is not stated is replaced by the first or last
    image, and then every calendar day counts as a whole one, from the first to the last.

    Args:
        sightings: all regions and images of the run, whatever they show.
        stated: start and end by the name of the camera.
        findings: collects doubts about the effort.
    """
    names = [*sightings.cameras, *(name for name in stated if name not in set(sightings.cameras))]
    timed_N = (sightings.moment_N != NO_TIME) & (sightings.camera_N >= 0)
    order = np.flatnonzero(timed_N)
    order = order[np.lexsort((sightings.moment_N[order], sightings.camera_N[order]))]
    moments, cameras = sightings.moment_N[order], sightings.camera_N[order]
    bounds = np.searchsorted(cameras, np.arange(len(names) + 1))
    counted = _counts(sightings)
    found = []
    for place, name in enumerate(names):
        of_camera = moments[bounds[place] : bounds[place + 1]]
        one = _effort(name, of_camera, stated.get(name, Stated()), counted.get(place, {}))
        _doubt(one, of_camera, findings)
        found.append(one)
    return found


def _effort(name: str, moments: NDArray[np.int64], stated: Stated, counts: Mapping[str, int]) -> CameraEffort:
    first = int(moments[0]) if len(moments) else None
    last = int(moments[-1]) if len(moments) else None
    start, end = stated.start if stated.start is not None else first, stated.end if stated.end is not None else last
    images = counts.get("images", 0)
    kinds = {kind: count for kind, count in counts.items() if kind != "images"}
    if start is None or end is None or end < start:
        return CameraEffort(name, float("nan"), "", None, None, images, kinds)
    first_day, last_day = start // DAY_S, end // DAY_S
    has_both = stated.start is not None and stated.end is not None
    # The last second of a day, which a date without a time stands for, is the end of the day.
    days = (end - start + (end % DAY_S == DAY_S - 1)) / DAY_S if has_both else float(last_day - first_day + 1)
    origin = {(True, True): BOTH, (True, False): STARTED, (False, True): ENDED, (False, False): IMAGES}
    known_by = origin[stated.start is not None, stated.end is not None]
    return CameraEffort(name, days, known_by if days > 0 else "", first_day, last_day, images, kinds)


def _doubt(one: CameraEffort, moments: NDArray[np.int64], findings: Findings) -> None:
    """Report a camera whose effort may be too high, or is not known."""
    if not one.is_known or one.last_day is None:
        findings.add(
            "cameras have no known effort (no image with a time, no dates of a deployment) and are in no rate",
            one.camera,
        )
        return
    if not len(moments):
        findings.add("cameras have no image with a time; their effort is that of their deployment", one.camera)
        return
    pauses = np.diff(moments) // DAY_S
    if len(pauses) and (pause := int(pauses.max())) >= _SILENT_DAYS:
        findings.add(
            f"cameras have no image for {_SILENT_DAYS} days or more between two images; if they did not work then, or a clock was wrong, "
            "their effort is too high",
            f"{one.camera}: {pause} days from {shown_day(int(moments[int(pauses.argmax())]) // DAY_S)}",
        )
    last = int(moments[-1]) // DAY_S
    if one.known_by in (BOTH, ENDED) and one.last_day - last >= _SILENT_DAYS:
        findings.add(
            f"cameras have no image in the last {_SILENT_DAYS} days of their deployment or longer; if they stopped, give the day as "
            "deploymentEnd",
            f"{one.camera}: last image on {shown_day(last)}, deployment until {shown_day(one.last_day)}",
        )


def _counts(sightings: Sightings) -> dict[int, dict[str, int]]:
    """Return by camera the images of each kind of result, and all of its images."""
    known = sightings.camera_N >= 0
    camera, kind, media = sightings.camera_N[known], sightings.kind_N[known], sightings.media_N[known]
    found: dict[int, dict[str, int]] = {}
    for name, group in (("images", camera), ("", camera.astype(np.int64) * len(KINDS) + kind)):
        numbers, counts = np.unique(different_pairs(group, media)[0], return_counts=True)
        for group_number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            place, of = (group_number, 0) if name else divmod(group_number, len(KINDS))
            found.setdefault(place, {})[name or KINDS[of]] = count
    return found


@dataclass(frozen=True, slots=True)
class EffortTable:
    """Cameras with their effort, first those that worked longest."""

    cameras: Sequence[CameraEffort]

    columns = (
        "camera", "camera_days", "effort_known_by", "first_day", "last_day", "images", "images_with_taxa", "images_unnamed", "images_blank",
        "images_with_people", "images_with_vehicles",
    )  # fmt: skip

    def rows(self) -> list[dict[str, Any]]:
        """Return one row per camera."""
        return [dict(zip(self.columns, self._cells(one), strict=True)) for one in self.cameras]

    def _cells(self, one: CameraEffort) -> tuple[Any, ...]:
        counts = (one.counts.get(KINDS[kind], 0) for kind in (TAXON, UNKNOWN, BLANK, PERSON, VEHICLE))
        days = shown_day(one.first_day), shown_day(one.last_day)
        return one.camera, number(one.days), one.known_by or "unknown", *days, one.images, *counts


def shown_day(day: int | None) -> str:
    """Return a number of days since 1970 as a date; empty for None."""
    return "" if day is None else (_EPOCH + timedelta(days=int(day))).isoformat()


def number(value: float, digits: int = 4) -> float | str:
    """Return a number for a table, rounded; empty if it is not one."""
    return round(float(value), digits) if np.isfinite(value) else ""
