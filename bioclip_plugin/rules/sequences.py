"""Rule ``sequences``: images of one camera that follow each other closely are one event, answered from all its features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import combinations

from bioclip_core.classify import Candidate
from bioclip_plugin.contracts.rule import EventKey, Rule, Subject
from bioclip_plugin.items.deployments import Membership
from bioclip_plugin.items.finding_deployments import Deployments
from bioclip_plugin.items.media import MediaItem
from bioclip_plugin.items.metadata import is_time_lapse
from bioclip_plugin.items.time_zones import clock_doubt, in_zone, is_named_zone, zone_of


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

    An item's own ``sequence`` is its event. Otherwise an event is of one camera of a deployment, as
    :class:`~bioclip_plugin.items.finding_deployments.Deployments` answers it. An item without a time and a time-lapse image,
    which no animal triggered, are events by themselves.

    All classified regions of an event are answered together, each with the same weight. Two boxes of *one* image cannot be
    one animal, so where two such boxes have answers of their own that exclude each other, the event holds several taxa: then
    it is pooled taxon by taxon, and regions without a sure answer of their own keep it.
    """

    name = "sequences"
    version = 2  # deployments, and folders that cameras make
    description = "Images of one camera with short pauses are one event; its features are pooled and answered anew."
    order = 0
    settings_type = SequenceSettings
    groups = True

    def event_key(self, item: MediaItem) -> EventKey | None:
        moment, member = item.captured_at, _member(item)
        if is_time_lapse(item):  # also with a sequence: programs give it that of the animal at that time
            return None
        if item.sequence:
            group = "\x1f".join(("sequence", member.deployment if member.is_named else "", item.sequence))
            return EventKey(group, self._seconds(moment)[0] if moment else None, None)
        if moment is None and "video_seconds" in item.metadata:
            return EventKey("\x1f".join(("video", item.uri)), float(item.metadata["video_seconds"]), None)
        if moment is None or not member.group:
            return None
        return EventKey(
            "\x1f".join(("camera", "named" if member.is_named else "", *member.group)), *self._seconds(moment)
        )

    def doubt(self, item: MediaItem) -> str:
        if item.captured_at is None or item.captured_at.tzinfo is not None:
            return ""
        return clock_doubt(in_zone(item.captured_at, self.settings.time_zone))

    def joins(self, last: EventKey, key: EventKey, count: int) -> bool:
        if count >= self.settings.most:
            return False
        if key.aware is None or key.at_s is None or last.at_s is None:
            return True
        return bool(key.at_s - last.at_s <= self.settings.gap)

    def event_name(self, item: MediaItem) -> str:
        if item.sequence or item.captured_at is None:
            return item.sequence or item.uri
        return "/".join(filter(None, _member(item).group)) + "@" + item.captured_at.isoformat()

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

    def _seconds(self, moment: datetime) -> tuple[float, bool, float | None]:
        """Return the time to order by, whether its zone is known, and the time of the camera's clock if a named zone was added.

        Wall time of an unknown zone counts as UTC.
        """
        moment = in_zone(moment, self.settings.time_zone)
        wall_s = moment.replace(tzinfo=UTC).timestamp()
        if moment.tzinfo is None:
            return wall_s, False, None
        return moment.timestamp(), True, wall_s if is_named_zone(moment.tzinfo) else None


def _member(item: MediaItem) -> Membership:
    """Return the deployment of an item; of an item outside a run, by itself alone."""
    return item.membership or Deployments(lambda: [item]).of(item)


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
