"""Counts over the whole of a run: verdicts, taxa at every rank, hours, days, cameras, agreement with reviews."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache

from bioclip_core.classify import Candidate
from bioclip_core.taxonomy import RANKS, Taxon
from bioclip_plugin.items.media import MediaItem
from bioclip_plugin.report.decisions import Entry
from bioclip_plugin.store.reasons import ReasonCounts
from bioclip_plugin.store.records import StoredItem

HOURS = 24
_PLACE_DECIMALS = 4  # 11 m: the precision of the map; images of unnamed cameras within it are of one place
TaxonCount = dict[tuple[str, ...], "Tally"]


@dataclass(slots=True)
class Tally:
    """Counts of one taxon of one rank."""

    taxon: Taxon
    name: str
    regions: int = 0
    images: int = 0


@dataclass(slots=True)
class Station:
    """One camera, or one place of cameras without a name."""

    name: str
    images: int = 0
    regions: int = 0
    """Number of regions, without blank images."""
    placed: int = 0
    """Number of images with coordinates."""
    latitude_sum: float = 0.0
    longitude_sum: float = 0.0
    first_day: date | None = None
    last_day: date | None = None

    def place(self, decimals: int | None) -> tuple[float, float] | None:
        """Return degrees north and east, the rounded mean of the station's images; None without coordinates."""
        if not self.placed:
            return None
        places = _PLACE_DECIMALS if decimals is None else decimals
        latitude, longitude = self.latitude_sum / self.placed, self.longitude_sum / self.placed
        return round(latitude, places) + 0.0, round(longitude, places) + 0.0  # + 0.0 turns -0.0 into 0.0


@dataclass(slots=True)
class Figures:
    """Counts of all selected items, regardless of the gallery's limit."""

    done: int = 0
    failed: int = 0
    todo: int = 0
    regions: int = 0
    """Number of regions, without blank images."""
    reviewed: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    agreements: Counter[str] = field(default_factory=Counter)
    failures: ReasonCounts = field(default_factory=ReasonCounts)
    """Counts by stage and kind of reason."""
    taxa: dict[str, TaxonCount] = field(default_factory=dict)
    """Counts by rank (``label`` and ``group`` for custom labels), then by the lineage down to it."""
    hours: list[int] = field(default_factory=lambda: [0] * HOURS)
    """Regions by the hour of the camera's clock."""
    timed: int = 0
    """Number of images with a capture time."""
    first_day: date | None = None
    last_day: date | None = None
    stations: list[Station] = field(default_factory=list)
    _numbers: dict[tuple[str, str], int] = field(default_factory=dict)

    @property
    def images(self) -> int:
        """Number of all images, answered or not."""
        return self.done + self.failed + self.todo

    def add_unanswered(self, stored: StoredItem) -> None:
        """Count an image that failed or is still to do."""
        if stored.failure is None:
            self.todo += 1
        else:
            self.failed += 1
            self.failures.add(stored.failure.stage, stored.failure.reason)

    def add(self, item: MediaItem, entries: Sequence[Entry]) -> int:
        """Count one answered image with its selected entries; return the number of its station."""
        self.done += 1
        found = sum(entry.answer.verdict != "blank" for entry in entries)
        self.regions += found
        number = self._station(item)
        self.stations[number].regions += found
        if item.captured_at is not None:
            self.timed += 1
            self.hours[item.captured_at.hour] += found
            day = item.captured_at.date()
            for counted in (self, self.stations[number]):
                counted.first_day = min(counted.first_day or day, day)
                counted.last_day = max(counted.last_day or day, day)
        for entry in entries:
            self.verdicts[entry.answer.verdict] += 1
            if entry.reviews:
                self.reviewed += 1
                self.agreements[entry.agreement] += 1
        self._add_taxa([entry.answer.candidate for entry in entries if entry.answer.candidate is not None])
        return number

    def _add_taxa(self, named: Sequence[Candidate]) -> None:
        seen: set[tuple[str, tuple[str, ...]]] = set()
        for candidate in named:
            for rank, key, taxon, name in _levels(candidate.taxon, candidate.rank, candidate.name):
                tally = self.taxa.setdefault(rank, {}).setdefault(key, Tally(taxon, name))
                tally.regions += 1
                tally.images += (rank, key) not in seen
                seen.add((rank, key))

    def _station(self, item: MediaItem) -> int:
        name, at, member = item.deployment or "", "", item.membership
        latitude, longitude = item.place.latitude, item.place.longitude
        if member is not None and member.known_by == "folder":
            # Images with a place of their own are not moved to the middle of their folder. One folder of all images is a
            # camera if they have times, as a camera's have.
            name = "" if latitude is not None else name or (member.deployment if item.captured_at is not None else "")
        if latitude is not None and longitude is not None and not name:
            at = f"{latitude:.{_PLACE_DECIMALS}f} {longitude:.{_PLACE_DECIMALS}f}"
        number = self._numbers.setdefault((name, at), len(self.stations))
        if number == len(self.stations):
            self.stations.append(Station(name))
        station = self.stations[number]
        station.images += 1
        if latitude is not None and longitude is not None:
            station.placed += 1
            station.latitude_sum += latitude
            station.longitude_sum += longitude
        return number


@lru_cache(maxsize=50_000)  # a run names the same few thousand taxa over and over
def _levels(taxon: Taxon, rank: str, name: str) -> list[tuple[str, tuple[str, ...], Taxon, str]]:
    """Return each rank at which a candidate has a name, with the lineage down to it; a custom label has one level."""
    if taxon.rank is None:
        return [(rank, (name,), taxon, name)]
    return [
        (level.value, taxon.lineage[: level.depth + 1], taxon.truncated(level), taxon.name_at(level))
        for level in RANKS
        if taxon.lineage[level.depth]
    ]
