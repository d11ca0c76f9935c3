"""Regions of a run with their final names, and the independent events that they make."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.lineages import join_taxa
from bioclip_core.taxonomy import Rank, Taxon

DAY_S = 86_400
NO_TIME = int(np.iinfo(np.int64).min)
"""Moment of an image whose time is unknown."""
KINDS = ("taxon", "above", "unknown", "blank", "person", "vehicle", "unclassified", "unanswered")
"""Results of a region. ``above``: a taxon above the rank of the figures; ``unknown``: an animal without a name, also by a review;
``unclassified``: a box that shows nothing; ``unanswered``: an image that failed or is still to do."""
TAXON, ABOVE, UNKNOWN, BLANK, PERSON, VEHICLE, UNCLASSIFIED, UNANSWERED = range(len(KINDS))


@dataclass(frozen=True, slots=True)
class Sightings:
    """N regions with their final names: the review's where there is one, else the run's decision."""

    media_N: NDArray[np.int64]
    """Number of the image, the same for all of its regions."""
    kind_N: NDArray[np.int8]
    """Index into KINDS."""
    taxon_N: NDArray[np.int32]
    """Index into ``taxa``; -1 for every kind but ``taxon`` and ``above``."""
    camera_N: NDArray[np.int32]
    """Index into ``cameras``; -1 if unknown."""
    event_N: NDArray[np.int32]
    """Number of the run's own event, which may hold several taxa; -1 if it has none."""
    moment_N: NDArray[np.int64]
    """Seconds since 1970 on the camera's own clock; NO_TIME if unknown."""
    reviewed_N: NDArray[np.bool_]
    """True if the name is a reviewer's."""
    taxa: tuple[Taxon, ...]
    cameras: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Events:
    """E independent events: detections of one taxon by one camera."""

    taxon_E: NDArray[np.int32]
    camera_E: NDArray[np.int32]
    """-1 if unknown."""
    moment_E: NDArray[np.int64]
    """The first image's time; NO_TIME if no image has one."""
    images_E: NDArray[np.int64]
    reviewed_E: NDArray[np.bool_]
    """True if a reviewer named at least one of its regions."""
    taxa: tuple[Taxon, ...]
    cameras: tuple[str, ...]

    @property
    def days(self) -> NDArray[np.int64]:
        """Days since 1970 on the camera's clock; meaningless without a time."""
        return self.moment_E // DAY_S

    @property
    def is_timed(self) -> NDArray[np.bool_]:
        """True for events with a time."""
        return np.not_equal(self.moment_E, NO_TIME)

    def chosen(self, is_chosen_E: NDArray[np.bool_]) -> Events:
        """Return some of the events."""
        columns = ("taxon_E", "camera_E", "moment_E", "images_E", "reviewed_E")
        return replace(self, **{name: getattr(self, name)[is_chosen_E] for name in columns})


def at_rank(sightings: Sightings, rank: Rank) -> Sightings:
    """Return sightings whose taxa are of one rank; answers that are less specific become ``above``.

    Lineages of one taxon that lack ranks (a reviewer's binomial) are joined with the complete ones. Labels without a taxonomy
    have no rank and stay as they are.
    """
    complete, _ = join_taxa(sightings.taxa)  # before ranks are cut off, since a binomial alone has no family
    joined = [taxon if taxon.words else taxon.truncated(rank) for taxon in complete]
    keys = [
        ("", taxon.words) if taxon.words else taxon.lineage if taxon.lineage[rank.depth] else None for taxon in joined
    ]
    named = {key: taxon for key, taxon in zip(keys, joined, strict=True) if key is not None}
    ordered = sorted(named, key=lambda key: (named[key].name.casefold(), key))
    places = {key: place for place, key in enumerate(ordered)}
    new_T = np.array([places.get(key, -1) if key is not None else -1 for key in keys] + [-1], dtype=np.int32)
    taxon_N = new_T[sightings.taxon_N]  # -1 is the last place
    kind_N = np.where((sightings.kind_N == TAXON) & (taxon_N < 0), ABOVE, sightings.kind_N).astype(np.int8)
    return replace(sightings, taxon_N=taxon_N, kind_N=kind_N, taxa=tuple(named[key] for key in ordered))


def independent_events(sightings: Sightings, gap_s: float | None) -> Events:
    """Join the sightings of one taxon by one camera into independent events.

    With a gap, a pause that is longer than it begins a new event; it is measured from the taxon's last image, as in O'Brien et al.
    (2003), so that an animal that stays for hours in front of a camera is one event. Without one, the run's own events are used.
    An image without a time is joined with those of its run's event; without such an event it is an event by itself. Images of
    unknown cameras count as those of one camera.

    Args:
        sightings: the regions; only those that are ``taxon`` count.
        gap_s: seconds; None: the run's events.
    """
    chosen_S = np.flatnonzero(sightings.kind_N == TAXON)
    taxon, camera, event, moment, media = (
        column[chosen_S].astype(np.int64)
        for column in (sightings.taxon_N, sightings.camera_N, sightings.event_N, sightings.moment_N, sightings.media_N)
    )
    # The stream in which images follow each other: the camera's timed images, or a run's event, or a single image.
    by_time = (moment != NO_TIME) & (gap_s is not None)
    kind = np.where(by_time, 0, np.where(event >= 0, 1, 2))
    within = np.where(by_time, 0, np.where(event >= 0, event, media))
    order = np.lexsort((media, moment, within, kind, camera, taxon))
    columns = [column[order] for column in (taxon, camera, kind, within)]
    begins = np.ones(len(order), dtype=bool)
    if len(order):
        changes = np.any([column[1:] != column[:-1] for column in columns], axis=0)
        at = moment[order]
        later = by_time[order][1:] & (at[1:] > at[:-1] + (gap_s or 0))
        begins[1:] = changes | later
    number = np.cumsum(begins) - 1
    count = int(begins.sum())
    reviewed = np.zeros(count, dtype=bool)
    np.logical_or.at(reviewed, number, sightings.reviewed_N[chosen_S][order])
    images, _ = different_pairs(number, media[order])
    first = np.flatnonzero(begins)
    return Events(
        columns[0][first].astype(np.int32),
        columns[1][first].astype(np.int32),
        _first_known(moment[order], number, count),
        np.bincount(images, minlength=count),
        reviewed,
        sightings.taxa,
        sightings.cameras,
    )


def different(numbers_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return each number once, sorted: many times as fast as ``np.unique``, which hashes (NumPy 2.4)."""
    ordered = np.sort(numbers_N)
    return ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])] if len(ordered) else ordered


def different_pairs(one_N: NDArray[Any], other_N: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return each pair of numbers once, sorted; numbers from 0 as they are, many times as fast as NumPy's rows without repeats."""
    if not len(one_N):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    width = int(other_N.max()) + 1
    one, other = np.divmod(different(one_N.astype(np.int64) * width + other_N), width)
    return one, other


def _first_known(moment_S: NDArray[np.int64], number_S: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return the earliest known moment of each group; NO_TIME where none is known."""
    latest = np.iinfo(np.int64).max
    first_E = np.full(count, latest)
    np.minimum.at(first_E, number_S, np.where(moment_S == NO_TIME, latest, moment_S))
    return np.where(first_E == latest, NO_TIME, first_E)


def names_of(taxa: Sequence[Taxon]) -> list[str]:
    """Return a name for each taxon; those that share one get the name of their highest known rank."""
    names = [taxon.name for taxon in taxa]
    several = {name for name, count in Counter(names).items() if count > 1}
    return [
        f"{name} ({next(filter(None, taxon.lineage), '')})" if name in several else name
        for name, taxon in zip(names, taxa, strict=True)
    ]
