"""The order of events: a run's images by camera and time, sorted on disk, so that a hundred million need no memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import TYPE_CHECKING

from bioclip_core.errors import UsageError
from bioclip_core.files.scratch import Scratch
from bioclip_plugin.contracts.rule import EventKey, Rule

if TYPE_CHECKING:
    from bioclip_plugin.store.deciding import Stamp

_AT_ONCE = 5_000  # rows per read
_COLUMNS = "camera BLOB, at REAL, position INTEGER, aware INTEGER, media INTEGER, open INTEGER"


class EventOrder(Scratch):
    """The images of a run as groups (cameras) in the order of time; it takes some 60 bytes per image on the disk.

    Only groups with an undecided image are given out again, and those as a whole: each image that joins a group can change
    the decisions about the others.
    """

    def __init__(self, rule: Rule) -> None:
        super().__init__(f"CREATE TABLE stamps ({_COLUMNS})")
        self._rule = rule

    def fill(self, stamps: Iterable[Stamp]) -> None:
        """Add all images of a run."""
        self._database.executemany("INSERT INTO stamps VALUES (?, ?, ?, ?, ?, ?)", map(self._row, stamps))
        self._database.execute("CREATE INDEX in_order ON stamps (camera, at, position)")
        self._database.execute("CREATE TABLE to_do AS SELECT DISTINCT camera FROM stamps WHERE open")
        self._database.execute("CREATE UNIQUE INDEX to_do_once ON to_do (camera)")

    def _row(self, stamp: Stamp) -> tuple[bytes, float | None, int, bool | None, int, bool]:
        key = self._rule.event_key(stamp.item) or EventKey(f"alone\x1f{stamp.media_id}", None, None)
        # 16 bytes of a group's name, so that long paths do not fill the disk.
        group = blake2b(key.group.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        return group, key.at_s, stamp.position, key.aware, stamp.media_id, stamp.is_open

    def mixed(self) -> tuple[int, int] | None:
        """Return two images of one camera, the first with a time zone and the second without; None if there are none."""
        query = (
            "SELECT max(CASE WHEN aware THEN media END), max(CASE WHEN NOT aware THEN media END) FROM stamps "
            "WHERE aware IS NOT NULL AND camera IN (SELECT camera FROM to_do) "
            "GROUP BY camera HAVING min(aware) <> max(aware) LIMIT 1"
        )
        found: tuple[int, int] | None = self._database.execute(query).fetchone()
        return found

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
            if event and camera == before and self._rule.joins(last, key, len(event)):
                event.append(media)
            else:
                if event:
                    yield event
                event, before = [media], camera
            last = key
        if event:
            yield event


def mixed_error(rule: str, aware: str, naive: str) -> UsageError:
    """Return the error for a camera whose times are partly with and partly without a zone."""
    return UsageError(
        f"rule {rule}: the time of {aware} has a time zone and that of {naive} has none, and one camera took both; say which "
        "zone the others are in, in a --rule of `bioclip-plugin rules apply` (with the run's other rules and settings): "
        f"{rule}:time_zone=Africa/Nairobi"
    )
