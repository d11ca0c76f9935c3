"""An address that was handed in to a fetcher, and what comes of it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from bioclip_plugin.fetching.addresses import Address, shown
from bioclip_plugin.fetching.errors import TryFailed
from bioclip_plugin.fetching.manifest import Record

MAX_REDIRECTS = 5


@dataclass(frozen=True, slots=True)
class Fetched:
    """An image in the cache."""

    path: Path
    """The whole file; it stays there."""
    sha256: str
    bytes: int
    media_type: str
    """Media type by content."""
    status: int
    """HTTP status of the answer that gave it."""
    from_cache: bool
    """True if nothing was requested, or the host said that it has not changed."""


class Pending:
    """An address that was handed in."""

    def __init__(self, address: Address, licence: str, *, again: bool) -> None:
        self.address, self.licence, self.again = address, licence, again
        self.current = address
        """The address to ask next: another one after a redirect."""
        self.ready_at = self.begun_at = 0.0
        self.tries = 0
        self.is_from_outside = False
        """True if a host of the internet redirected to the present address."""
        self.hops: list[str] = []
        self.known: Record | None = None
        """Record of an image that is still whole, for a conditional request."""
        self.unended: dict[str, str] = {}
        self.is_claimed = False
        self.is_last = True
        """False if another address is asked for after a failure, which is then not counted."""
        self.wanted = 1
        """Number of callers who wait for it."""
        self._done = threading.Event()
        self._result: Fetched | BaseException | None = None

    def done(self) -> bool:
        """Return True if the image is there, or failed."""
        return self._done.is_set()

    def result(self, timeout_s: float | None = None) -> Fetched:
        """Wait for the image.

        Raises:
            FetchError: with the reason.
            WorkersClosed: if the fetcher was closed before.
            TimeoutError: after ``timeout_s``.
        """
        if not self._done.wait(timeout_s):
            raise TimeoutError(f"{shown(self.address.text)} is still being fetched after {timeout_s} s")
        if isinstance(self._result, BaseException):
            raise self._result
        assert self._result is not None
        return self._result

    def wait(self, seconds: float) -> None:
        """Wait until the image is there or failed, or for some seconds."""
        self._done.wait(seconds)

    def end(self, result: Fetched | BaseException) -> None:
        """Set the outcome, unless there is one already."""
        if not self._done.is_set():
            self._result = result
            self._done.set()

    def redirect(self, to: Address) -> None:
        """Go on at another address.

        Raises:
            TryFailed: for a circle, and for too many redirects.
        """
        if to.text == self.current.text or to.text in self.hops:
            raise TryFailed("redirected in a circle")
        if len(self.hops) >= MAX_REDIRECTS:
            raise TryFailed(f"redirected more than {MAX_REDIRECTS} times")
        self.hops.append(self.current.text)
        self.current = to

    @property
    def has_left_its_host(self) -> bool:
        """True if redirects led to another host."""
        return self.current.host_and_port != self.address.host_and_port

    def begin_again(self) -> None:
        """Go back to the first address: what redirects to a broken host may lead elsewhere the next time."""
        self.current, self.hops, self.is_from_outside = self.address, [], False

    def condition(self) -> dict[str, str]:
        """Return the headers that ask for the image only if it has changed."""
        if self.known is None:
            return {}
        tags = (("If-None-Match", self.known.etag), ("If-Modified-Since", self.known.last_modified))
        return {name: value for name, value in tags if value and value.isascii() and value.isprintable()}
