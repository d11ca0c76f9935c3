"""Items handed out to reviewers: each to one at a time, for a limited time, in the memory of one program."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)

LEASE_S = 600.0
"""Seconds after which an item that was handed out and not reviewed goes to somebody else."""


@dataclass(frozen=True, slots=True)
class Lease:
    """An item in the hands of a reviewer."""

    reviewer: str
    until_s: float
    """Time of the clock at which it ends."""


class HandingOut(Generic[Item]):
    """The items that reviewers have now; may be used from several threads.

    A restart of the program forgets them, so that at worst two reviewers see one item: both reviews are stored.
    """

    def __init__(self, clock: Callable[[], float], lease_s: float = LEASE_S) -> None:
        """Begin with no item handed out.

        Args:
            clock: seconds that never go back, such as ``time.monotonic``.
            lease_s: seconds that a reviewer has for an item.
        """
        self._clock, self._lease_s = clock, lease_s
        self._leases: dict[Item, Lease] = {}
        self._lock = threading.Lock()

    def hand_out(self, items: Iterable[Item], reviewer: str, count: int = 1) -> list[Item]:
        """Hand out the first items that nobody else has; those that the reviewer has already are given again.

        Args:
            items: the items in the order of review, without reviewed ones. No more are drawn than needed.
            reviewer: name of the reviewer, or of the session if several have one name.
            count: most items to hand out.
        """
        given: list[Item] = []
        with self._lock:
            now = self._clock()
            self._forget_ended(now)
            waiting = iter(items)
            while len(given) < count and (item := next(waiting, None)) is not None:
                lease = self._leases.get(item)
                if lease is None or lease.reviewer == reviewer:
                    self._leases[item] = Lease(reviewer, now + self._lease_s)
                    given.append(item)
        return given

    def take(self, item: Item, reviewer: str) -> bool:
        """Hand out one item, such as one that was opened in a grid; False if somebody else has it."""
        return self.hand_out([item], reviewer) == [item]

    def renew(self, items: Iterable[Item], reviewer: str) -> list[Item]:
        """Give a reviewer who is still at work the full time again; return the items that somebody else has by now."""
        lost = []
        for item in items:
            if not self.take(item, reviewer):
                lost.append(item)
        return lost

    def give_back(self, items: Iterable[Item], reviewer: str) -> None:
        """End the leases of a reviewer on these items: they are reviewed, or the reviewer goes away."""
        with self._lock:
            for item in items:
                if (lease := self._leases.get(item)) is not None and lease.reviewer == reviewer:
                    del self._leases[item]

    def holder(self, item: Item) -> str | None:
        """Return the reviewer who has an item now; None if nobody has."""
        with self._lock:
            lease = self._leases.get(item)
            return lease.reviewer if lease is not None and lease.until_s > self._clock() else None

    def held_by_others(self, reviewer: str) -> dict[Item, str]:
        """Return the items that others have now, by item with the reviewer's name."""
        with self._lock:
            self._forget_ended(self._clock())
            return {item: lease.reviewer for item, lease in self._leases.items() if lease.reviewer != reviewer}

    def _forget_ended(self, now: float) -> None:
        for item in [item for item, lease in self._leases.items() if lease.until_s <= now]:
            del self._leases[item]
