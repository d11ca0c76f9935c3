"""Rule ``sequences``: images of one camera that follow each other closely are one event, answered from all its features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import combinations

from bioclip_core.classify import Candidate
from bioclip_plugin.contracts.rule import EventKey, Rule, Subject
from bioclip_plugin.items.media import MediaItem
from bioclip_plugin.items.time_zones import in_zone, zone_of

_NOWHERE = "memory:"  # an image without a name: only a serial number could tell its camera


@dataclass(frozen=True, slots=True)
class SequenceSettings:
    """Limits of an event."""

    gap: float = field(
        default=60.0, metadata={"what": "Seconds: a longer pause between two images begins a new event.", "low": 0}
    )
    most: int = field(
        default=1000,
        metadata={"what": "Images in one event at most; a longer one is cut, so that memory stays flat.", "low": 1},
    )
    time_zone: str | None = field(
        default=None,
        metadata={"what": "Zone of times without one: a name such as Africa/Nairobi, or +03:00.", "check": zone_of},
    )


class Sequences(Rule):
    """Groups images into events and answers each event once, from the mean of its logits.

    An item's own ``sequence`` is its event. Otherwise an event is of one camera: the deployment with the camera's serial
    number (or the folder, for a camera without one); without a deployment, the folder with the serial number. An item
    without a time is an event by itself.

    All classified regions of an event are answered together, each with the same weight. Two boxes of *one* image cannot be
    one animal, so where two such boxes have answers of their own that exclude each other, the event holds several taxa: then
    it is pooled taxon by taxon, and regions without a sure answer of their own keep it.
    """

    name = "sequences"
    description = "Images of one camera with short pauses are one event; its features are pooled and answered anew."
    order = 0
    settings_type = SequenceSettings
    groups = True

    def event_key(self, item: MediaItem) -> EventKey | None:
        moment = item.captured_at
        if item.sequence:
            group = "\x1f".join(("sequence", item.deployment or "", item.sequence))
            return EventKey(group, self._seconds(moment)[0] if moment else None, None)
        if moment is None or (not item.deployment and item.uri.startswith(_NOWHERE)):
            return None
        return EventKey("\x1f".join(("camera", *_camera(item))), *self._seconds(moment))

    def joins(self, last: EventKey, key: EventKey, count: int) -> bool:
        if count >= self.settings.most:
            return False
        if key.aware is None or key.at_s is None or last.at_s is None:
            return True
        return bool(key.at_s - last.at_s <= self.settings.gap)

    def event_name(self, item: MediaItem) -> str:
        if item.sequence:
            return item.sequence
        moment = item.captured_at.isoformat() if item.captured_at else ""
        return "/".join(part.rstrip("/\\") for part in _camera(item) if part) + "@" + moment

    def pools(self, event: Sequence[Subject]) -> list[list[int]]:
        # The decision so far is the consensus of each region's own answer.
        named = {n: subject.decided.candidate for n, subject in enumerate(event) if subject.classified}
        sure: dict[int, list[Candidate]] = {}
        for n, candidate in named.items():
            if candidate is not None:
                sure.setdefault(id(event[n].item), []).append(candidate)  # an image's regions share its item
        holds_several = any(_exclude(*pair) for found in sure.values() for pair in combinations(found, 2))
        pools = _by_taxon(named) if holds_several else [list(named)]
        return [pool for pool in pools if len(pool) > 1]

    def _seconds(self, moment: datetime) -> tuple[float, bool]:
        """Return the time to order by, and whether its zone is known; wall time of an unknown zone counts as UTC."""
        moment = in_zone(moment, self.settings.time_zone)
        aware = moment.tzinfo is not None
        return (moment if aware else moment.replace(tzinfo=UTC)).timestamp(), aware


def _camera(item: MediaItem) -> tuple[str, str]:
    """Return what distinguishes one camera's stream of images from others'.

    Some makers give all their cameras one serial number, so it is never used alone.
    """
    folder = item.uri[: max(item.uri.rfind("/"), item.uri.rfind("\\")) + 1]
    serial = str(item.metadata.get("camera_serial_number") or "")
    return (item.deployment, serial or folder) if item.deployment else (folder, serial)


def _by_taxon(named: dict[int, Candidate | None]) -> list[list[int]]:
    """Return the subjects of each taxon; a more general answer joins the one taxon that it may be, if there is only one."""
    sure = [(n, candidate) for n, candidate in named.items() if candidate is not None]
    sure.sort(key=lambda entry: -sum(map(bool, entry[1].taxon.lineage)))  # stable: the images' order within a rank
    pools: list[tuple[Candidate, list[int]]] = []
    for n, candidate in sure:
        fitting = [pool for pool in pools if not _exclude(pool[0], candidate)]
        if not fitting:
            pools.append((candidate, [n]))
        elif len(fitting) == 1:
            fitting[0][1].append(n)
    return [sorted(pool) for _, pool in pools]


def _exclude(one: Candidate, other: Candidate) -> bool:
    """True if one thing cannot be both: two names at one rank, or two of the user's own labels."""
    if one.rank in ("label", "group") or other.rank in ("label", "group"):
        return one.rank == other.rank and one.taxon != other.taxon
    pairs = zip(one.taxon.lineage, other.taxon.lineage, strict=True)
    return any(a and b and a != b for a, b in pairs)
