"""Turns of hosts: requests at the same time and per second, waits that a host asks for, and hosts that are given up for a while."""

from __future__ import annotations

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
_FIRST_BACKOFF_S, _LONGEST_BACKOFF_S = 1.0, 60.0
_HOSTS_REMEMBERED = 2_000


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


W = TypeVar("W", bound=Waiting)


class Host(Generic[W]):
    """One host with what waits for it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.waiting: deque[W] = deque()
        self.active = 0
        self.next_at = 0.0
        """Time of the next request by the rate and by what the host asked for."""
        self.failures = 0
        """Failed requests in a row."""
        self.pauses = 0
        """Requests to wait in a row."""
        self.given_up_until = 0.0
        self.why_given_up = ""


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
        self._is_closed = False
        self.waited_s = 0.0
        """Seconds that hosts asked to wait, of all hosts together."""

    def put(self, name: str, one: W, *, first: bool = False) -> None:
        """Queue something for a host, in front of the others if it was begun already."""
        with self._changed:
            host = self._hosts.setdefault(name, Host(name))
            (host.waiting.appendleft if first else host.waiting.append)(one)
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
        if not host.waiting:
            self._waiting.pop(host.name, None)
            return None
        limit = 1 if host.failures >= self._options.fetch_host_failures else self._options.fetch_per_host
        if host.active >= limit:
            return None
        return max(host.next_at, min(one.ready_at for one in host.waiting))

    def _begin(self, host: Host[W], now: float) -> W:
        number = next(at for at, one in enumerate(host.waiting) if one.ready_at <= now)
        one = host.waiting[number]
        del host.waiting[number]
        host.active += 1
        host.next_at = max(host.next_at, now) + 1 / self._options.fetch_rate
        self._hosts.move_to_end(host.name)
        if host.waiting:
            self._waiting.move_to_end(host.name)  # the next turn is another host's
        else:
            del self._waiting[host.name]
        return one

    def ended(self, host: Host[W], failed: TryFailed | None, *, asked: bool = True) -> float:
        """Record the outcome of a request; return the seconds until it may be tried again.

        Args:
            host: the host.
            failed: the failure; None for a success.
            asked: False if nothing was sent, so that the host's turn is given back.
        """
        with self._changed:
            host.active -= 1
            now = self._clock.seconds()
            wait_s = 0.0
            if not asked:
                host.next_at = min(host.next_at, now)
            elif failed is None or not failed.blames_host:
                host.failures = host.pauses = 0
            else:
                wait_s = self._failed(host, failed, now)
            self._changed.notify_all()
            return wait_s

    def _failed(self, host: Host[W], failed: TryFailed, now: float) -> float:
        host.failures += 1
        wait_s = failed.wait_s if failed.wait_s is not None else backoff_s(host.pauses if failed.pauses_host else 0)
        if failed.wait_s is not None and failed.wait_s > self._options.fetch_longest_wait:
            self._leave(host, now + failed.wait_s, f"asks to wait {duration(failed.wait_s)} ({failed.reason})")
        elif host.failures >= self._options.fetch_host_failures:
            times = "once" if host.failures == 1 else f"{host.failures} times in a row"
            self._leave(host, now + GIVEN_UP_S, f"failed {times} ({failed.reason})")
        elif failed.pauses_host or failed.wait_s is not None:
            host.pauses += 1
            wait_s = min(wait_s, self._options.fetch_longest_wait)
            until = max(host.next_at, now + wait_s)
            self.waited_s += until - max(host.next_at, now)
            host.next_at = until
        return wait_s

    def _leave(self, host: Host[W], until: float, why: str) -> None:
        host.given_up_until = max(host.given_up_until, until)
        left = duration(host.given_up_until - self._clock.seconds())
        host.why_given_up = f"host {host.name} {why} and is left alone for {left}; the same command tries again"
        self._give_all_up(host)

    def _give_all_up(self, host: Host[W]) -> None:
        self._waiting.pop(host.name, None)
        while host.waiting:
            self._give_up(host.waiting.popleft(), host.why_given_up)

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
            if not (host.waiting or host.active or host.failures or max(host.next_at, host.given_up_until) > now):
                del self._hosts[name]

    def close(self) -> Iterator[W]:
        """End every wait, and yield what still waits."""
        with self._changed:
            self._is_closed = True
            left = [one for host in self._hosts.values() for one in host.waiting]
            for host in self._hosts.values():
                host.waiting.clear()
            self._waiting.clear()
            self._changed.notify_all()
        yield from left


def backoff_s(tries: int) -> float:
    """Return the seconds before another try: doubled each time, and different each time, so that clients do not come back together."""
    return min(_FIRST_BACKOFF_S * 2.0 ** min(tries, 20), _LONGEST_BACKOFF_S) * random.uniform(0.5, 1.5)
