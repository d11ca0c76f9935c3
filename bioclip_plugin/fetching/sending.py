"""Requests under way: sent by threads of a fetcher, and cut when they take too long or the fetcher is closed."""

from __future__ import annotations

import threading
import time
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from bioclip_plugin.fetching.cache import Draft
from bioclip_plugin.fetching.errors import NotPublic, TryFailed
from bioclip_plugin.fetching.exchange import Body, NotChanged, Question, Redirect, ask
from bioclip_plugin.fetching.hosts import Clock
from bioclip_plugin.fetching.options import FetchOptions
from bioclip_plugin.fetching.pending import Pending

if TYPE_CHECKING:
    from bioclip_plugin.fetching.connections import Connections, Line


class Sender:
    """Sends requests, on any thread."""

    def __init__(self, options: FetchOptions, clock: Clock) -> None:
        self._options, self._clock = options, clock
        self._agent = _agent(options.fetch_contact)
        self._lock = threading.Lock()
        self._lines: set[Line] = set()
        self._pools: dict[bool, Connections] = {}
        """Connections by their permission to end in a private network."""
        self._is_closed = False

    def send(self, pending: Pending, draft: Draft) -> Body | Redirect | NotChanged:
        """Send one request, and write the body of the answer to a draft.

        Raises:
            TryFailed: if no image came.
            DiskFault: if the draft cannot be written.
            DataError: for a proxy that cannot be used.
        """
        from bioclip_plugin.fetching.connections import Connections, Line, is_inside

        private = self._options.fetch_private and not pending.is_from_outside
        line = Line(time.monotonic() + self._options.fetch_time_limit)
        with self._lock:
            if private not in self._pools:
                self._pools[private] = Connections(private=private, per_host=self._options.fetch_per_host)
            pools = self._pools[private]
            self._lines.add(line)
        if self._is_closed:  # by another thread, which may have missed this line
            line.cut("closed")
        question = Question(
            pending.current, self._agent, pending.condition(), pending.unended, pending.address.is_document
        )
        try:
            outcome = ask(question, pools, line, self._options, draft, now=self._clock.now)
            if isinstance(outcome, Redirect) and self._options.fetch_private:
                pending.is_from_outside = not is_inside(line, pending.current)
            return outcome
        except NotPublic as refused:
            if not (pending.is_from_outside and self._options.fetch_private):
                raise
            why = "not a public address, and a public host redirects to it, which is refused"
            raise TryFailed(f"{refused.named} {why}") from None
        finally:
            with self._lock:
                self._lines.discard(line)

    def cut_late(self) -> None:
        """Cut requests that take too long."""
        now = time.monotonic()
        with self._lock:
            late = [line for line in self._lines if line.ends_at < now]
        for line in late:
            line.cut(f"took longer than {self._options.fetch_time_limit:g} s (--fetch-time-limit)")

    def cut_all(self) -> None:
        """Cut every request, and those that begin from now on."""
        self._is_closed = True
        with self._lock:
            lines = list(self._lines)
        for line in lines:
            line.cut("the fetcher was closed")

    def close(self) -> None:
        """Close connections that are not in use."""
        for pools in self._pools.values():
            pools.close()


def _agent(contact: str) -> str:
    try:
        number = version("bioclip-plugin")
    except PackageNotFoundError:  # run from its sources
        number = "0"
    return f"bioclip-plugin/{number}" + (f" (+{contact})" if contact else "")
