"""The order of events: a run's images by camera and time, sorted on disk, so that a hundred million need no memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from bioclip_core.files.scratch import Scratch
from bioclip_core.findings import Findings
from bioclip_plugin.contracts.rule import EventKey, Rule

if TYPE_CHECKING:
    from bioclip_plugin.store.deciding import Stamp

_AT_ONCE = 5_000  # rows per read
_COLUMNS = "camera BLOB, at REAL, position INTEGER, aware INTEGER, media INTEGER, open INTEGER, wall REAL"


class Mixed(NamedTuple):
    """A camera whose times are partly with and partly without a time zone."""

    images: int
    aware: int
    """Number of its first image with a zone."""
    naive: int


class EventOrder(Scratch):
    """The images of a run as groups (cameras) in the order of time; it takes some 60 bytes per image on the disk.

    Only groups with an undecided image are given out again, and those as a whole: each image that joins a group can change
    the decisions about the others.
    """

    def __init__(self, rule: Rule, findings: Findings | None = None) -> None:
        """Set up.

        Args:
            rule: the rule that groups.
            findings: where its doubts are reported.
        """
        super().__init__(f"CREATE TABLE stamps ({_COLUMNS})")
        self._rule = rule
        self._findings = Findings() if findings is None else findings
        self._has_walls = False
        self._mixed: dict[bytes, Mixed] = {}

    def fill(self, stamps: Iterable[Stamp]) -> None:
        """Add all images of a run."""
        self._database.executemany("INSERT INTO stamps VALUES (?, ?, ?, ?, ?, ?, ?)", map(self._row, stamps))
        if self._has_walls:  # a camera's own clock orders its images also in the hour in which the zone's clocks change
            self._database.execute(
                "UPDATE stamps SET at = wall WHERE camera IN (SELECT camera FROM stamps WHERE aware IS NOT NULL GROUP BY camera "
                "HAVING count(wall) = count(*))"
            )
        self._database.execute("CREATE INDEX in_order ON stamps (camera, at, position)")
        self._database.execute("CREATE TABLE to_do AS SELECT DISTINCT camera FROM stamps WHERE open")
        self._database.execute("CREATE UNIQUE INDEX to_do_once ON to_do (camera)")
        query = (
            "SELECT camera, count(*), min(CASE WHEN aware THEN media END), min(CASE WHEN NOT aware THEN media END) FROM stamps "
            "WHERE aware IS NOT NULL AND camera IN (SELECT camera FROM to_do) "
            "GROUP BY camera HAVING min(aware) <> max(aware) ORDER BY min(position)"
        )
        self._mixed = {camera: Mixed(*found) for camera, *found in self._database.execute(query)}

    def _row(self, stamp: Stamp) -> tuple[bytes, float | None, int, bool | None, int, bool, float | None]:
        if doubt := self._rule.doubt(stamp.item):
            self._findings.add(doubt, f"{stamp.item.uri}: {stamp.item.captured_at}")
        key = self._rule.event_key(stamp.item) or EventKey(f"alone\x1f{stamp.media_id}", None, None)
        self._has_walls = self._has_walls or key.wall_s is not None
        row = stamp.position, key.aware, stamp.media_id, stamp.is_open, key.wall_s
        return _digest(key.group), key.at_s, *row

    def mixed(self) -> Sequence[Mixed]:
        """Return the cameras whose times are partly with and partly without a zone; each of their images is given out alone."""
        return list(self._mixed.values())

    def is_mixed(self, group: str) -> bool:
        """True if the group is one of those."""
        return bool(self._mixed) and _digest(group) in self._mixed

    def count(self) -> int:
        """Return the number of images that are given out."""
        query = "SELECT count(*) FROM stamps WHERE camera IN (SELECT camera FROM to_do)"
        return int(self._database.execute(query).fetchone()[0])

    def decided(self) -> Iterator[list[int]]:
        """Yield the images that are given out though they are decided, by their numbers, many at a time."""
        rows = self._database.execute(
            "SELECT media FROM stamps WHERE NOT open AND camera IN (SELECT camera FROM to_do)"
        )
        while found := rows.fetchmany(_AT_ONCE):
            yield [media for (media,) in found]

    def events(self) -> Iterator[list[int]]:
        """Yield events as the numbers of their images in order, one event in memory at a time."""
        query = (
            "SELECT camera, at, aware, media FROM stamps WHERE camera IN (SELECT camera FROM to_do) "
            "ORDER BY camera, at, position"
        )
        event: list[int] = []
        last = EventKey("", None, None)
        before = b""
        for camera, at_s, aware, media in self._database.execute(query):
            key = EventKey("", at_s, None if aware is None else bool(aware))
            joins = camera == before and camera not in self._mixed
            if event and joins and self._rule.joins(last, key, len(event)):
                event.append(media)
            else:
                if event:
                    yield event
                event, before = [media], camera
            last = key
        if event:
            yield event


def mixed_note(rule: str, cameras: Sequence[Mixed], aware: str, naive: str) -> str:
    """Return the note about cameras whose images are in no event; ``aware`` and ``naive`` are of the first one."""
    images = sum(camera.images for camera in cameras)
    return (
        f"{rule}: {images:,} images of {len(cameras):,} cameras are in no event, since some of the camera's times have a time zone "
        f"and others have none (the first: {aware} has one, {naive} has none); give the zone of the cameras' clocks with "
        f"{rule}:time_zone=+03:00 or as timeZone in a table for --deployments, or, if the times with a zone are those of videos in "
        "local time, classify with --video-clock local"
    )


def _digest(group: str) -> bytes:
    """Return 16 bytes of a group's name, so that long paths do not fill the disk."""
    return blake2b(group.encode("utf-8", "surrogatepass"), digest_size=16).digest()
