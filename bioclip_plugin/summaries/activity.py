"""Independent events of each taxon by hour of the day, by date, and by camera."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_plugin.summaries.effort import CameraEffort, number, shown_day
from bioclip_plugin.summaries.sightings import DAY_S, Events, names_of

HOURS = 24
_MOST_BINS = 62
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class ByHour:
    """T taxa by the hour of the camera's clock in which their events began; most frequent taxa first."""

    names: tuple[str, ...]
    counts_TH: NDArray[np.int64]
    """Events, T×24."""
    untimed_T: NDArray[np.int64]
    """Events of unknown time."""

    columns = ("taxon", "hour", "events", "share_of_timed_events")

    def rows(self) -> list[dict[str, Any]]:
        """Return one row per taxon and hour, and one with an empty hour for events of unknown time."""
        found: list[dict[str, Any]] = []
        for name, counts, untimed in zip(self.names, self.counts_TH.tolist(), self.untimed_T.tolist(), strict=True):
            timed = sum(counts)
            found += (
                {
                    "taxon": name,
                    "hour": hour,
                    "events": count,
                    "share_of_timed_events": number(count / timed) if timed else "",
                }
                for hour, count in enumerate(counts)
            )
            if untimed:
                found.append({"taxon": name, "hour": "", "events": untimed, "share_of_timed_events": ""})
        return found


@dataclass(frozen=True, slots=True)
class ByDate:
    """T taxa by B periods of equal kind in which their events began; most frequent taxa first."""

    names: tuple[str, ...]
    period: str
    """``day``, ``week`` (from Monday), ``month`` or ``year``: the shortest with which the picture stays readable."""
    starts: tuple[int, ...]
    """First day of each period, in days since 1970."""
    counts_TB: NDArray[np.int64]
    cameras_B: NDArray[np.int64]
    """Cameras that were at work in the period, at least for a part of it."""
    untimed_T: NDArray[np.int64]

    columns = ("taxon", "period", "begins", "events", "cameras_at_work")

    def rows(self) -> list[dict[str, Any]]:
        """Return one row per taxon and period, and one with an empty period for events of unknown time."""
        found: list[dict[str, Any]] = []
        for name, counts, untimed in zip(self.names, self.counts_TB.tolist(), self.untimed_T.tolist(), strict=True):
            found += (
                {
                    "taxon": name,
                    "period": self.period,
                    "begins": shown_day(start),
                    "events": count,
                    "cameras_at_work": cameras,
                }
                for start, count, cameras in zip(self.starts, counts, self.cameras_B.tolist(), strict=True)
            )
            if untimed:
                found.append({"taxon": name, "period": "", "begins": "", "events": untimed, "cameras_at_work": ""})
        return found


@dataclass(frozen=True, slots=True)
class ByCamera:
    """Events by camera and taxon, without the pairs that have none; every camera is in the table of effort."""

    names: tuple[str, ...]
    """Taxa, most frequent first."""
    cameras: tuple[CameraEffort, ...]
    """In the order of their names."""
    counts_CT: NDArray[np.int64]
    """Events, cameras × taxa."""
    elsewhere_T: NDArray[np.int64]
    """Events of unknown cameras."""

    columns = ("camera", "taxon", "events", "camera_days", "effort_known_by", "events_per_100_camera_days")

    def rows(self) -> list[dict[str, Any]]:
        """Return one row per camera and taxon with events, and those of unknown cameras with an empty camera."""
        found = []
        for place, taxon in zip(*(axis.tolist() for axis in np.nonzero(self.counts_CT)), strict=True):
            camera, events = self.cameras[place], int(self.counts_CT[place, taxon])
            rate = number(100 * events / camera.days) if camera.is_known else ""
            cells = (camera.camera, self.names[taxon], events, number(camera.days), camera.known_by or "unknown", rate)
            found.append(dict(zip(self.columns, cells, strict=True)))
        for name, events in zip(self.names, self.elsewhere_T.tolist(), strict=True):
            if events:
                found.append(dict(zip(self.columns, ("", name, events, "", "unknown", ""), strict=True)))
        return found


def by_hour(events: Events) -> ByHour:
    """Count events by hour of the day on the camera's own clock."""
    order = most_frequent(events)
    is_timed = events.is_timed
    hours = (events.moment_E[is_timed] % DAY_S) // 3600
    counts = _table(events.taxon_E[is_timed], hours, len(events.taxa), HOURS)
    return ByHour(_named(events, order), counts[order], _of_each(events, ~is_timed)[order])


def by_date(events: Events, efforts: Sequence[CameraEffort]) -> ByDate:
    """Count events by day, week, month or year, with the number of cameras that were at work.

    Args:
        events: the events.
        efforts: the effort of every camera.
    """
    order, is_timed = most_frequent(events), events.is_timed
    days = events.days[is_timed]
    spans = [(one.first_day, one.last_day) for one in efforts if one.first_day is not None and one.last_day is not None]
    ends = [*(day for span in spans for day in span), *([int(days.min()), int(days.max())] if len(days) else [])]
    period, starts = periods(min(ends), max(ends)) if ends else ("day", ())
    bins = np.searchsorted(np.array(starts, dtype=np.int64), days, side="right") - 1
    changes = np.zeros(len(starts) + 1, dtype=np.int64)
    for first, last in (
        np.searchsorted(np.array(starts, dtype=np.int64), np.array(spans).reshape(-1, 2), side="right") - 1
    ):
        changes[first] += 1
        changes[last + 1] -= 1
    counts = _table(events.taxon_E[is_timed], bins, len(events.taxa), len(starts))
    untimed = _of_each(events, ~is_timed)[order]
    return ByDate(_named(events, order), period, tuple(starts), counts[order], np.cumsum(changes)[:-1], untimed)


def by_camera(events: Events, efforts: Sequence[CameraEffort]) -> ByCamera:
    """Count events by camera and taxon.

    Args:
        events: the events; their cameras are the first ones of ``efforts``.
        efforts: the effort of every camera.
    """
    order, known_E = most_frequent(events), events.camera_E >= 0
    counts = _table(events.camera_E[known_E], events.taxon_E[known_E], len(efforts), len(events.taxa))
    by_name = sorted(range(len(efforts)), key=lambda place: natural(efforts[place].camera))
    cameras = tuple(efforts[place] for place in by_name)
    return ByCamera(_named(events, order), cameras, counts[by_name][:, order], _of_each(events, ~known_E)[order])


def most_frequent(events: Events) -> NDArray[np.int64]:
    """Return the places of the taxa that have events, those with most events first, equal ones by name."""
    counts = np.bincount(events.taxon_E, minlength=len(events.taxa))
    order = np.argsort(-counts, kind="stable")
    return order[counts[order] > 0]


def periods(first: int, last: int) -> tuple[str, list[int]]:
    """Return the shortest period that divides some days into few enough parts, and the first day of each part."""
    if last - first < _MOST_BINS:
        return "day", list(range(first, last + 1))
    monday = first - (_EPOCH + timedelta(days=first)).weekday()
    if (last - monday) // 7 < _MOST_BINS:
        return "week", list(range(monday, last + 1, 7))
    begin, end = _EPOCH + timedelta(days=first), _EPOCH + timedelta(days=last)
    months = (end.year - begin.year) * 12 + end.month - begin.month + 1
    if months <= _MOST_BINS:
        firsts = [divmod(begin.year * 12 + begin.month - 1 + later, 12) for later in range(months)]
        return "month", [(date(year, month + 1, 1) - _EPOCH).days for year, month in firsts]
    return "year", [(date(year, 1, 1) - _EPOCH).days for year in range(begin.year, end.year + 1)]


def natural(text: str) -> list[tuple[int, int, str]]:
    """Return a key by which "CAM 2" comes before "CAM 10"."""
    parts = re.split(r"([0-9]+)", text.casefold())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]


def _named(events: Events, order: NDArray[np.int64]) -> tuple[str, ...]:
    names = names_of(events.taxa)
    return tuple(names[place] for place in order)


def _of_each(events: Events, is_chosen_E: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.bincount(events.taxon_E[is_chosen_E], minlength=len(events.taxa))


def _table(rows: NDArray[Any], columns: NDArray[Any], height: int, width: int) -> NDArray[np.int64]:
    """Count pairs in a table."""
    return np.bincount(rows.astype(np.int64) * width + columns, minlength=height * width).reshape(height, width)
