"""The plan: time, space and bottleneck of a run, computed from what a sample of it took."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FETCH, READ, DECODE = "fetch", "read", "decode"
"""Stages that are measured alone, as is the store; the others are those of the pipeline's clock."""

_CONFIDENCE = 1.96  # of a normal distribution, 95%
_FEWEST_COMMITS = 3
"""Commits from which the time between them tells something."""
_NOISE = 0.05
"""Least share by which a rate is uncertain: two runs on a quiet machine differ by as much."""
POSTGRESQL_PER_SQLITE = 3.8
"""Bytes in PostgreSQL per byte in SQLite, features apart, which take the same: measured with 5,000 images, before a vacuum."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures of the sampled images."""

    images: int
    """Images that were worked on while the time ran."""
    steady_s: float
    """Seconds per image of the whole pipeline while every stage is at work."""
    regions: int
    """Regions with features, of all of them."""
    failed: int
    """Images that cannot be used, those that only warmed up included."""
    first_failure: str
    bytes: int
    """Bytes that were read; 0 if that is not known, as for videos."""
    stage_s: Mapping[str, float]
    """Seconds per image of each stage, if nothing else held it up: with all threads that it has."""
    work: Sequence[float]
    """Seconds of work of single images, by which they differ."""
    opening_s: float
    """Time until the first image could be worked on: model, labels, detector."""
    stored_bytes: float
    """Bytes per image in an SQLite store, features included."""
    feature_bytes: int
    """Bytes of one region's features."""
    warmed: int = 0
    """Images of the sample that were worked on before the time ran."""

    @property
    def sampled(self) -> int:
        """Images of the sample, those that only warmed up included."""
        return self.warmed + self.images

    @property
    def per_image_s(self) -> float:
        """Seconds per image of the whole run: no faster than its slowest stage, which the sample may have met rested."""
        return max(self.steady_s, *self.stage_s.values())

    @property
    def bottleneck(self) -> str:
        """The stage that takes longest per image."""
        return max(self.stage_s, key=lambda stage: self.stage_s[stage])

    def spread(self, population: int | None) -> float:
        """Return the share by which the rate may be off, since images differ and only some were measured.

        Args:
            population: images of the run; None if unknown.
        """
        import statistics  # not needed for --help

        count = len(self.work)
        if count < 2 or not any(self.work):
            return 1.0  # one image says next to nothing about others
        error = statistics.stdev(self.work) / statistics.fmean(self.work) / math.sqrt(count)
        if population is not None and population > count:
            error *= math.sqrt(1 - count / population)
        elif population is not None:
            error = 0.0
        return min(math.hypot(_CONFIDENCE * error, _NOISE), 1.0)


def steady_s(commits: Sequence[tuple[float, int]], seconds: float, processor_s: float) -> float:
    """Return the seconds per image of a long run, without the time in which the pipeline fills.

    That is the time between commits. Images that were decoded ahead before the first one make it too short where stages share
    the processor, whose time per image is another limit.

    Args:
        commits: moment and images of each commit, in their order.
        seconds: wall time from the first image to the last.
        processor_s: time of one core for all images, divided by the cores.
    """
    images = sum(count for _, count in commits)
    if not images:
        return seconds
    (first_at, first), (last_at, _) = commits[0], commits[-1]
    if len(commits) < _FEWEST_COMMITS or first > images / 2:
        return seconds / images
    return max((last_at - first_at) / (images - first), processor_s / images)


@dataclass(frozen=True, slots=True)
class Estimate:
    """The plan of a run."""

    measured: Measured
    images: int
    """Images of the listing, as far as it was followed."""
    is_complete: bool
    """True if these are all."""
    done: int = 0
    """Images that the store has done already."""

    @property
    def to_do(self) -> int:
        """Images that the time is for."""
        return max(0, self.images - self.done)

    @property
    def spread(self) -> float:
        """Share by which the rate may be off."""
        return self.measured.spread(self.images if self.is_complete else None)

    @property
    def rates(self) -> tuple[float, float, float]:
        """Images per second: the lowest that is likely, the estimate, and the highest."""
        rate, off = 1 / self.measured.per_image_s, self.spread
        return rate / (1 + off), rate, rate * (1 + off)

    def seconds(self, images: int) -> tuple[float, float, float]:
        """Return the time for some images: the shortest that is likely, the estimate, and the longest."""
        low, rate, high = self.rates
        opening_s = self.measured.opening_s
        return opening_s + images / high, opening_s + images / rate, opening_s + images / low

    def store_bytes(self, images: int) -> dict[str, int]:
        """Return the bytes of some images in each database."""
        sqlite = self.measured.stored_bytes * images
        features = min(self.features_bytes(images), sqlite)
        return {"sqlite": round(sqlite), "postgresql": round(features + (sqlite - features) * POSTGRESQL_PER_SQLITE)}

    def features_bytes(self, images: int) -> int:
        """Return the bytes of the features of some images, which are part of a store."""
        measured = self.measured
        return round(measured.feature_bytes * measured.regions / measured.images * images)

    def read_bytes(self, images: int) -> int:
        """Return the bytes of some images' files."""
        return round(self.measured.bytes / self.measured.images * images)

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as plain JSON values."""
        measured, (low, rate, high) = self.measured, self.rates
        shortest, likely, longest = (seconds / 3600 for seconds in self.seconds(self.to_do))
        return {
            "images": self.images,
            "images_are_all": self.is_complete,
            "images_done": self.done,
            "images_to_do": self.to_do,
            "sampled": measured.sampled,
            "failed": measured.failed,
            "first_failure": measured.first_failure or None,
            "regions_per_image": measured.regions / measured.images,
            "images_per_second": {"estimate": rate, "low": low, "high": high},
            "hours": {"estimate": likely, "low": shortest, "high": longest},
            "opening_seconds": measured.opening_s,
            "bytes": {
                "read": self.read_bytes(self.to_do) if measured.bytes else None,
                "store": self.store_bytes(self.to_do),
                "features": self.features_bytes(self.to_do),
            },
            "bottleneck": measured.bottleneck,
            "stages": {
                stage: {"seconds_per_image": seconds, "images_per_second": 1 / seconds if seconds else None}
                for stage, seconds in measured.stage_s.items()
            },
        }
