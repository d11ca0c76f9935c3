"""What is counted over the whole of a run: verdicts, taxa at every rank, hours, days, cameras, agreement with reviews."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

from bioclip_core.taxonomy import RANKS, Taxon
from bioclip_plugin.items.media import MediaItem
from bioclip_plugin.store.records import StoredItem

if TYPE_CHECKING:
    from bioclip_core.classify import Candidate
    from bioclip_plugin.report.entries import Entry

HOURS = 24
_PLACE_DECIMALS = 4  # 11 m: what a map shows, and within which images without a camera's name are of one place
TaxonCount = dict[tuple[str, ...], "Tally"]


@dataclass(slots=True)
class Tally:
    """How often one taxon of one rank was named."""

    taxon: Taxon
    name: str
    regions: int = 0
    images: int = 0


@dataclass(slots=True)
class Station:
    """One camera, or one place where no camera is named."""

    name: str
    images: int = 0
    regions: int = 0
    """Without those in which nothing was found."""
    placed: int = 0
    """Images whose coordinates are known."""
    latitude_sum: float = 0.0
    longitude_sum: float = 0.0
    first_day: date | None = None
    last_day: date | None = None

    def place(self, decimals: int | None) -> tuple[float, float] | None:
        """Degrees north and east, the mean of its images, rounded; None where no image states them."""
        if not self.placed:
            return None
        latitude, longitude = self.latitude_sum / self.placed, self.longitude_sum / self.placed
        places = _PLACE_DECIMALS if decimals is None else decimals
        return round(latitude, places) + 0.0, round(longitude, places) + 0.0  # no minus zero


@dataclass(slots=True)
class Figures:
    """Counts of everything that was chosen, whatever the gallery's limit."""

    done: int = 0
    failed: int = 0
    todo: int = 0
    regions: int = 0
    """Without images in which nothing was found."""
    reviewed: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    agreements: Counter[str] = field(default_factory=Counter)
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By stage and reason."""
    taxa: dict[str, TaxonCount] = field(default_factory=dict)
    """By rank (``label`` and ``group`` for custom labels), then by the lineage down to it."""
    hours: list[int] = field(default_factory=lambda: [0] * HOURS)
    """Regions by the hour of the camera's clock."""
    timed: int = 0
    """Images that say when they were taken."""
    first_day: date | None = None
    last_day: date | None = None
    stations: list[Station] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)

    @property
    def images(self) -> int:
        """All of them, answered or not."""
        return self.done + self.failed + self.todo

    def add_unanswered(self, stored: StoredItem) -> None:
        """Count an image that failed or is still to do."""
        if stored.failure is None:
            self.todo += 1
        else:
            self.failed += 1
            self.failures[stored.failure.stage, stored.failure.reason] += 1

    def add(self, item: MediaItem, entries: Sequence[Entry]) -> int:
        """Count one answered image with what was chosen of it; the number of its station."""
        self.done += 1
        found = sum(entry.answer.verdict != "blank" for entry in entries)
        self.regions += found
        station = self._station(item)
        self.stations[station].regions += found
        self._add_time(item, self.stations[station], found)
        for entry in entries:
            self.verdicts[entry.answer.verdict] += 1
            if entry.reviews:
                self.reviewed += 1
                self.agreements[entry.agreement] += 1
        named = [entry.answer.candidate for entry in entries if entry.answer.candidate is not None]
        self._add_taxa(named)
        return station

    def _add_time(self, item: MediaItem, station: Station, found: int) -> None:
        if item.captured_at is None:
            return
        self.timed += 1
        self.hours[item.captured_at.hour] += found
        day = item.captured_at.date()
        for one in (self, station):
            one.first_day = min(one.first_day or day, day)
            one.last_day = max(one.last_day or day, day)

    def _add_taxa(self, named: Sequence[Candidate]) -> None:
        seen: set[tuple[str, tuple[str, ...]]] = set()
        for candidate in named:
            for rank, key, taxon, name in _levels(candidate):
                tally = self.taxa.setdefault(rank, {}).setdefault(key, Tally(taxon, name))
                tally.regions += 1
                tally.images += (rank, key) not in seen
                seen.add((rank, key))

    def _station(self, item: MediaItem) -> int:
        place = item.place
        known = place.latitude is not None and place.longitude is not None
        name = item.deployment or ""
        at = f"{place.latitude:.{_PLACE_DECIMALS}f} {place.longitude:.{_PLACE_DECIMALS}f}" if known and not name else ""
        key = f"{name}\n{at}"
        number = self._numbers.setdefault(key, len(self.stations))
        if number == len(self.stations):
            self.stations.append(Station(name))
        station = self.stations[number]
        station.images += 1
        if place.latitude is not None and place.longitude is not None:
            station.placed += 1
            station.latitude_sum += place.latitude
            station.longitude_sum += place.longitude
        return number


def _levels(candidate: Candidate) -> list[tuple[str, tuple[str, ...], Taxon, str]]:
    """Each rank at which a candidate has a name, with the lineage down to it; a custom label's one level."""
    taxon = candidate.taxon
    if taxon.rank is None:
        return [(candidate.rank, (candidate.name,), taxon, candidate.name)]
    return [
        (rank.value, taxon.lineage[: rank.depth + 1], taxon.truncated(rank), taxon.name_at(rank))
        for rank in RANKS
        if taxon.lineage[rank.depth]
    ]
