"""Naive detection rates: events per 100 camera-days, and the share of cameras that saw a taxon."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.findings import Findings
from bioclip_plugin.summaries.activity import most_frequent
from bioclip_plugin.summaries.effort import CameraEffort, number, shown_day
from bioclip_plugin.summaries.sightings import Events, different_pairs, names_of
from bioclip_training.evidence.intervals import Interval, binomial_interval


@dataclass(frozen=True, slots=True)
class TaxonRate:
    """Detections of one taxon over all cameras of known effort."""

    name: str
    rank: str
    events: int
    images: int
    reviewed: int
    """Events in which a reviewer named it."""
    cameras: int
    """Cameras that saw it."""
    occupancy_ci95: Interval
    """Clopper and Pearson's interval of the share of cameras, as if they were independent and a random sample."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Naive detection rates: they mix how common a taxon is with how likely a camera sees it."""

    taxa: tuple[TaxonRate, ...]
    """Most events first."""
    cameras: int
    """Cameras of known effort, also those that saw nothing."""
    camera_days: float

    columns = (
        "taxon", "rank", "events", "images", "events_with_a_review", "camera_days", "events_per_100_camera_days", "cameras_with_taxon",
        "cameras", "naive_occupancy", "naive_occupancy_low", "naive_occupancy_high",
    )  # fmt: skip

    def rows(self) -> list[dict[str, Any]]:
        """Return one row per taxon."""
        return [
            dict(
                zip(
                    self.columns,
                    (
                        one.name, one.rank, one.events, one.images, one.reviewed, number(self.camera_days),
                        number(self.per_100_days(one)), one.cameras, self.cameras, number(one.cameras / self.cameras),
                        *map(number, one.occupancy_ci95),
                    ),
                    strict=True,
                )
            )
            for one in self.taxa
        ]  # fmt: skip

    def per_100_days(self, one: TaxonRate) -> float:
        """Return the events of a taxon per 100 camera-days of all cameras."""
        return 100 * one.events / self.camera_days


def within_effort(events: Events, efforts: Sequence[CameraEffort], findings: Findings) -> Events:
    """Return the events that lie within the days of their camera's effort; the others are in no rate and are counted.

    Args:
        events: the events.
        efforts: the effort of every camera, those of ``events`` first.
        findings: collects the events that are left out, by reason.
    """
    known_C = np.array([one.is_known for one in efforts] + [False])
    first_C = np.array([one.first_day or 0 for one in efforts] + [0])
    last_C = np.array([one.last_day or 0 for one in efforts] + [0])
    camera_E, is_timed = events.camera_E, events.is_timed
    is_outside_E = (events.days < first_C[camera_E]) | (events.days > last_C[camera_E])
    reasons = (
        (
            "events of unknown cameras are in no rate; name the cameras with --deployments or --deployment-from",
            camera_E < 0,
        ),
        ("events of unknown time are in no rate and in no accumulation curve", ~is_timed),
        ("events of cameras without a known effort are in no rate", ~known_C[camera_E]),
        ("events outside the dates of their deployment are in no rate (is a clock wrong?)", is_outside_E),
    )
    kept_E = np.ones(len(camera_E), dtype=bool)
    for text, is_left_out_E in reasons:
        out_E = kept_E & is_left_out_E
        if out_E.any():
            findings.add(text, _example(events, int(np.flatnonzero(out_E)[0])), int(out_E.sum()))
        kept_E &= ~out_E
    return events.chosen(kept_E)


def rates_of(events: Events, efforts: Sequence[CameraEffort]) -> Rates | None:
    """Return detection rates over all cameras of known effort; None without any.

    Args:
        events: the events of :func:`within_effort`.
        efforts: the effort of every camera.
    """
    known = [one for one in efforts if one.is_known]
    if not known:
        return None
    names = names_of(events.taxa)
    pairs, _ = different_pairs(events.taxon_E, events.camera_E)
    count = len(events.taxa)
    events_T, cameras_T = np.bincount(events.taxon_E, minlength=count), np.bincount(pairs, minlength=count)
    images_T = _sums(events.taxon_E, events.images_E, count)
    reviewed_T = _sums(events.taxon_E, events.reviewed_E, count)
    taxa = tuple(
        TaxonRate(
            names[place],
            str(events.taxa[place].rank or "label") if not events.taxa[place].words else "label",
            int(events_T[place]),
            int(images_T[place]),
            int(reviewed_T[place]),
            int(cameras_T[place]),
            binomial_interval(float(cameras_T[place]), float(len(known))),
        )
        for place in most_frequent(events)
    )
    return Rates(taxa, len(known), float(sum(one.days for one in known)))


def _sums(taxon_E: NDArray[np.int32], values_E: NDArray[Any], count: int) -> NDArray[np.int64]:
    return np.bincount(taxon_E, weights=values_E, minlength=count).astype(np.int64)


def _example(events: Events, place: int) -> str:
    camera = int(events.camera_E[place])
    at = shown_day(int(events.days[place])) if events.is_timed[place] else ""
    parts = (names_of(events.taxa)[int(events.taxon_E[place])], events.cameras[camera] if camera >= 0 else "", at)
    return ", ".join(filter(None, parts))
