"""Turns of hosts: requests at the same time and per second, waits that a host asks for, and hosts that are given up for a while."""

from __future__ import annotations

import heapq
import itertools
import math
import random
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Generic, Protocol, TypeVar

from bioclip_core.progress import duration
from bioclip_plugin.fetching.errors import TryFailed
from bioclip_plugin.fetching.options import FetchOptions

GIVEN_UP_S = 600.0
"""Seconds for which a host is left alone after too many failures in a row."""
FIRST_BACKOFF_S, _LONGEST_BACKOFF_S = 1.0, 60.0
_YEAR_S = 365 * 86_400.0
_HOSTS_REMEMBERED = 2_000
ANSWERS_PER_FAILURE = 10
"""Answers without an image (403, 500, a page) that count like one failure without an answer."""
_RATE_UP, _SLOWEST_RATE = 1.02, 0.2


class Clock:
    """The clocks and the waiting of a fetcher; tests have one of their own that does not wait."""

    def seconds(self) -> float:
        """Return a time that only grows."""
        return time.monotonic()

    def now(self) -> datetime:
        """Return the time of day."""
        return datetime.now(UTC)

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        """Wait until the condition is notified, or for some seconds."""
        condition.wait(seconds)


class Waiting(Protocol):
    """Something that waits for the turn of its host."""

    ready_at: float
    """Time before which it is not begun."""
    begun_at: float
    """Time at which its turn came."""


W = TypeVar("W", bound=Waiting)


class Host(Generic[W]):
    """One host with what waits for it."""

    def __init__(self, name: str, rate: float) -> None:
        self.name = name
        self.rate = rate
        """Requests per second: halved when the host asks for patience, and slowly raised again."""
        self.ready: deque[W] = deque()
        self.delayed: list[tuple[float, int, W]] = []
        """Heap of what is tried again later."""
        self.active = 0
        self.next_at = 0.0
        """Time of the next request by the rate and by what the host asked for."""
        self.failures = 0
        """Failed requests in a row. Requests that were under way when one failed count with it."""
        self.unanswered = 0
        """Those without an answer for the image since the last one with it."""
        self.failed_at = -math.inf
        self.pauses = 0
        """Requests to wait in a row."""
        self.given_up_until = -math.inf
        self.why_given_up = ""

    @property
    def has_work(self) -> bool:
        """True if something waits."""
        return bool(self.ready or self.delayed)

    def ready_at(self, now: float) -> float:
        """Return the time at which something that waits may be begun by itself."""
        while self.delayed and self.delayed[0][0] <= now:
            self.ready.appendleft(heapq.heappop(self.delayed)[2])
        return now if self.ready else self.delayed[0][0]

    def emptied(self) -> Iterator[W]:
        """Take out everything that waits."""
        while self.ready:
            yield self.ready.popleft()
        while self.delayed:
            yield self.delayed.pop()[2]


class Turns(Generic[W]):
    """A queue per host, from which any thread takes what may be requested now, one host after the other."""

    def __init__(self, options: FetchOptions, clock: Clock, give_up: Callable[[W, str], None]) -> None:
        """Begin without hosts.

        Args:
            options: limits per host.
            clock: the clock.
            give_up: called for what waits for a host that is given up, with the reason; the lock is held.
        """
        self._options, self._clock, self._give_up = options, clock, give_up
        self._hosts: OrderedDict[str, Host[W]] = OrderedDict()
        self._waiting: OrderedDict[str, Host[W]] = OrderedDict()
        self._changed = threading.Condition(threading.RLock())
        self._numbers = itertools.count()
        self._is_closed = False
        self.waited_s = 0.0
        """Seconds that hosts asked to wait, of all hosts together."""

    def put(self, name: str, one: W, *, first: bool = False) -> None:
        """Queue something for a host, in front of the others if it was begun already."""
        with self._changed:
            if name not in self._hosts:
                self._hosts[name] = Host(name, self._options.fetch_rate)
            host = self._hosts[name]
            if one.ready_at > self._clock.seconds():
                heapq.heappush(host.delayed, (one.ready_at, next(self._numbers), one))
            else:
                (host.ready.appendleft if first else host.ready.append)(one)
            self._waiting[name] = host
            self._forget()
            self._changed.notify()

    def take(self) -> tuple[Host[W], W] | None:
        """Wait for something that may be begun; None once this is closed."""
        with self._changed:
            while not self._is_closed:
                now = self._clock.seconds()
                soonest: float | None = None
                for host in list(self._waiting.values()):
                    at = self._ready_at(host, now)
                    if at is not None and at <= now:
                        return host, self._begin(host, now)
                    if at is not None:
                        soonest = at if soonest is None else min(soonest, at)
                self._clock.wait(self._changed, None if soonest is None else max(soonest - now, 0.001))
            return None

    def _ready_at(self, host: Host[W], now: float) -> float | None:
        """Return the time at which the host's next one may begin; None while others must end first."""
        if host.given_up_until > now:
            self._give_all_up(host)
        if not host.has_work:
            self._waiting.pop(host.name, None)
            return None
        # After a failure one request at a time, so that a host that does not answer holds up few threads.
        if host.active >= (1 if host.failures else self._options.fetch_per_host):
            return None
        return max(host.next_at, host.ready_at(now))

    def _begin(self, host: Host[W], now: float) -> W:
        # After many failures every second one is the last that waits: a table may begin with a folder of broken images.
        far = host.failures >= self._options.fetch_host_failures and host.failures % 2 == 0
        one = host.ready.pop() if far else host.ready.popleft()
        one.begun_at = now
        host.active += 1
        host.next_at = max(host.next_at, now) + 1 / host.rate
        self._hosts.move_to_end(host.name)
        if host.has_work:
            self._waiting.move_to_end(host.name)  # the next turn is another host's
        else:
            del self._waiting[host.name]
        return one

    def ended(
        self, host: Host[W], failed: TryFailed | None, *, begun_at: float = math.inf, asked: bool = True
    ) -> float:
        """Record the outcome of a request; return the seconds until it may be tried again.

        Args:
            host: the host.
            failed: the failure; None for a success.
            begun_at: time at which its turn came; a failure of requests that were under way together counts once.
            asked: False if nothing was sent, so that the host's turn is given back.
        """
        with self._changed:
            host.active = max(0, host.active - 1)
            now = self._clock.seconds()
            wait_s = 0.0
            if not asked:
                host.next_at -= 1 / host.rate  # a wait that the host asked for meanwhile stays
            elif failed is None or not failed.blames_host:
                host.failures = host.unanswered = host.pauses = 0
                host.rate = min(host.rate * _RATE_UP, self._options.fetch_rate)
            else:
                wait_s = self._failed(host, failed, now, is_new=begun_at >= host.failed_at)
            self._changed.notify_all()
            return wait_s

    def _failed(self, host: Host[W], failed: TryFailed, now: float, *, is_new: bool) -> float:
        if is_new:
            host.failures += 1
            host.unanswered = 0 if failed.is_answer else host.unanswered + 1
            host.failed_at = now
        asked_s = failed.wait_s or 0.0
        wait_s = max(asked_s, backoff_s(host.pauses)) if failed.pauses_host else asked_s
        if asked_s > self._options.fetch_longest_wait:
            self._leave(host, now + asked_s, f"asks to wait {length_of(asked_s)} ({failed.reason})")
        elif count := self._too_many(host):
            times = "once" if count == 1 else f"{count} times in a row"
            self._leave(host, now + GIVEN_UP_S, f"failed {times} ({failed.reason}; --fetch-host-failures)")
        elif wait_s:
            wait_s = min(wait_s, self._options.fetch_longest_wait)
            until = max(host.next_at, now + wait_s)
            self.waited_s += until - max(host.next_at, now)
            host.next_at = until
            if is_new:
                host.pauses += 1
                host.rate = max(host.rate / 2, min(_SLOWEST_RATE, self._options.fetch_rate))
        return wait_s

    def _too_many(self, host: Host[W]) -> int:
        """Return the failures in a row for which a host is given up; 0 if they are not too many."""
        limit = self._options.fetch_host_failures
        if host.unanswered >= limit:
            return host.unanswered
        return host.failures if host.failures >= limit * ANSWERS_PER_FAILURE else 0

    def _leave(self, host: Host[W], until: float, why: str) -> None:
        host.given_up_until = max(host.given_up_until, until)
        left = length_of(host.given_up_until - self._clock.seconds())
        host.why_given_up = f"host {host.name} {why} and is left alone for {left}; the same command tries again"
        self._give_all_up(host)

    def _give_all_up(self, host: Host[W]) -> None:
        self._waiting.pop(host.name, None)
        for one in host.emptied():
            self._give_up(one, host.why_given_up)

    def why_given_up(self, name: str) -> str:
        """Return the reason for which a host is left alone now; empty if it is not."""
        with self._changed:
            host = self._hosts.get(name)
            return host.why_given_up if host is not None and host.given_up_until > self._clock.seconds() else ""

    def pause(self) -> tuple[str, float]:
        """Return the host that everything waits for, and for how many seconds still; empty if there is none."""
        with self._changed:
            now = self._clock.seconds()
            waits = [(host.next_at - now, host.name) for host in self._waiting.values() if host.pauses]
            seconds, name = max(waits, default=(0.0, ""))
            return (name, seconds) if seconds > 0 else ("", 0.0)

    def _forget(self) -> None:
        """Forget hosts without work, but none whose rate, wait or failures still count."""
        if len(self._hosts) <= _HOSTS_REMEMBERED:
            return
        now = self._clock.seconds()
        for name, host in list(self._hosts.items())[: _HOSTS_REMEMBERED // 2]:
            if not (host.has_work or host.active or host.failures or max(host.next_at, host.given_up_until) > now):
                del self._hosts[name]

    def close(self) -> Iterator[W]:
        """End every wait, and yield what still waits."""
        with self._changed:
            self._is_closed = True
            left = [one for host in self._hosts.values() for one in host.emptied()]
            self._waiting.clear()
            self._changed.notify_all()
        yield from left


def length_of(seconds: float) -> str:
    """Return a wait that a host asks for in words.

    >>> length_of(86_400), length_of(1e9)
    ('24 h 0 min', 'more than a year')
    """
    return duration(seconds) if seconds < _YEAR_S else "more than a year"


def backoff_s(tries: int) -> float:
    """Return the seconds before another try: doubled each time, and different each time, so that clients do not come back together."""
    return min(FIRST_BACKOFF_S * 2.0 ** min(tries, 20), _LONGEST_BACKOFF_S) * random.uniform(0.5, 1.5)
