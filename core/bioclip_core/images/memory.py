"""One budget of memory for all images that a process decodes at the same time: a big one waits until there is room.

An image takes its share before its bytes are read and before its pixels are decoded, and gives it back at the end. New shares
are given in the order in which they are asked for, so that nothing starves; small ones for which there is room go ahead of a
large one that waits, but only so many. A share may grow, for the size of an image is known
after its bytes: those that hold most come first, since they will give most back. If everybody who holds one waits for more, the
first of them goes on, so that nothing waits for ever. An image that is larger than the whole budget goes on alone in the same way.
"""

from __future__ import annotations

import ctypes
import os
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from bioclip_core.errors import ImageError, UsageError
from bioclip_core.process.machine import machine_bytes
from bioclip_core.process.threads import is_hung, is_wanted, not_counted

VARIABLE = "BIOCLIP_DECODE_MEMORY"
"""Environment variable with the budget in megabytes (2**20 bytes)."""
_MB = 1 << 20
_SHARE_OF_MACHINE = 32
_LEAST_MB, _MOST_MB = 512, 1024
_LOOK_S = 0.5  # after which a waiting thread looks whether its image is still wanted

_SMALL = 16  # a share of up to this part of the budget passes larger ones that wait
_PASSING = 2  # budgets that may pass one that waits
_LEAST_PASSING = 256  # the part of the budget that each of them counts for at least
_LARGE = 64 * _MB  # after which freed memory is returned to the system

_thread = threading.local()


class Share:
    """The part of the budget that one image holds."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self.thread = threading.current_thread()
        self.held = 0
        """Bytes."""
        self.is_waiting = False
        self.wanted = 0
        """Bytes that it takes, or waits for."""
        self.passed = 0
        """Bytes that small shares took while this was the first to wait."""

    def take(self, size: int) -> None:
        """Add bytes to the share, and wait until there is room for them.

        Raises:
            ImageError: if the image is not wanted any more.
        """
        self._budget.take(self, size)


class MemoryBudget:
    """Bytes that the images in decoding may hold together."""

    def __init__(self, most: int) -> None:
        """Set up.

        Args:
            most: bytes. An image that needs more than all of them is decoded while no other is.
        """
        self.most = most
        self._changed = threading.Condition()
        self._shares: set[Share] = set()
        self._waiting: list[Share] = []
        """In the order in which they go on."""

    @property
    def held(self) -> int:
        """Bytes of all shares."""
        return sum(share.held for share in self._shares)

    @contextmanager
    def share(self) -> Iterator[Share]:
        """Give a share, empty at first, and take it back at the end."""
        share = Share(self)
        with self._changed:
            self._shares.add(share)
        try:
            yield share
        except BaseException as error:
            if share.held >= _LARGE:
                _free_locals(error)
            raise
        finally:
            if share.held >= _LARGE:
                _return_freed_memory()
            with self._changed:
                self._shares.discard(share)
                self._changed.notify_all()

    def take(self, share: Share, size: int) -> None:
        """See :meth:`Share.take`."""
        with self._changed:
            share.wanted = size
            if not self._grows(share):
                self._wait(share)

    def _grows(self, share: Share) -> bool:
        """Give a share what it wants, if it is its turn and there is room; return False if it has to wait."""
        first = self._waiting[0] if self._waiting else share
        if first is share or (not share.is_waiting and share.held > first.held):
            others = (other for other in self._waiting if other is not share)
            if not self._has_room(share, share.wanted):
                return False
            if not self._is_small(share) and any(self._may_pass(other, share) for other in others):
                return False
        elif self._may_pass(share, first):
            first.passed += max(share.wanted, self.most // _LEAST_PASSING)
        else:
            return False
        share.held += share.wanted
        return True

    def _is_small(self, share: Share) -> bool:
        return share.held + share.wanted <= self.most // _SMALL

    def _may_pass(self, share: Share, first: Share) -> bool:
        has_room = self.held + share.wanted <= self.most
        return has_room and self._is_small(share) and first.passed < _PASSING * self.most

    def _wait(self, share: Share) -> None:
        self._waiting.append(share)
        self._waiting.sort(key=lambda waiting: -waiting.held)  # of equal ones the earlier stays first
        share.is_waiting = True
        self._changed.notify_all()  # one less that is at work
        try:
            with not_counted():
                while not self._grows(share):
                    self._changed.wait(_LOOK_S)
                    if not is_wanted():
                        raise ImageError("it is not wanted any more, while it waits for memory")
        finally:
            self._waiting.remove(share)
            share.is_waiting, share.passed = False, 0
            self._changed.notify_all()

    def _has_room(self, share: Share, size: int) -> bool:
        if self.held + size <= self.most:
            return True
        others = (other for other in self._shares if other is not share and other.held and not other.is_waiting)
        return all(is_hung(other.thread) for other in others)


@cache
def _trim() -> Any:
    """Return the function of glibc that returns freed memory to the system; None with another C library."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None


def _free_locals(error: BaseException | None) -> None:
    """Free what the frames of an error hold, such as a large image that could not be decoded to its end."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _return_freed_memory() -> None:
    """Return freed memory to the system: glibc keeps the blocks of a large image for the thread that decoded it."""
    if (trim := _trim()) is not None:
        trim(0)


def budget_bytes() -> int:
    """Return the budget that the environment states, or else a 32nd of the machine's memory within 512 to 1,024 MB.

    Raises:
        UsageError: if the variable is not a whole number above 0.
    """
    stated = os.environ.get(VARIABLE, "").strip()
    if not stated:
        return min(max(machine_bytes() // _SHARE_OF_MACHINE, _LEAST_MB * _MB), _MOST_MB * _MB)
    if not (stated.isascii() and stated.isdecimal() and 0 < int(stated) < 1 << 30):
        raise UsageError(f"{VARIABLE}={stated!r}: allowed is a whole number of megabytes above 0, such as {_MOST_MB}")
    return int(stated) * _MB


class _Process:
    """The budget of this process, made when it is first needed; a forked child has its own."""

    budget: MemoryBudget | None = None
    lock = threading.Lock()

    @classmethod
    def renew(cls) -> None:
        cls.budget, cls.lock = None, threading.Lock()
        _thread.share = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_Process.renew)


def decoding_budget() -> MemoryBudget:
    """Return the budget of this process."""
    with _Process.lock:
        if _Process.budget is None:
            _Process.budget = MemoryBudget(budget_bytes())
        return _Process.budget


@contextmanager
def image_memory() -> Iterator[Share]:
    """Give the share of the image that this thread works on; inside of another such block, that block's share."""
    current: Share | None = getattr(_thread, "share", None)
    if current is not None:
        yield current
        return
    with decoding_budget().share() as share:
        _thread.share = share
        try:
            yield share
        finally:
            _thread.share = None


def take_memory(size: int) -> None:
    """Add bytes to the share of the image that this thread works on; nothing outside of :func:`image_memory`."""
    current: Share | None = getattr(_thread, "share", None)
    if current is not None:
        current.take(size)
