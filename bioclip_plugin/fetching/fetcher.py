"""The fetcher: addresses in, files of the cache out; from any thread, fair between hosts, and closed at once."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from bioclip_core.errors import BioclipError, DataError, UsageError
from bioclip_core.findings import Findings
from bioclip_core.images.unexpected import unexpected
from bioclip_core.process.threads import Workers, WorkersClosed
from bioclip_plugin.fetching.addresses import Address, DocumentAddress, read_address, shown
from bioclip_plugin.fetching.cache import Cache, DiskFault, is_full
from bioclip_plugin.fetching.claims import Claims
from bioclip_plugin.fetching.errors import AddressError, FetchError, FolderError, TryFailed
from bioclip_plugin.fetching.hosts import Clock, Host, Turns, backoff_s
from bioclip_plugin.fetching.manifest import Manifest, Record
from bioclip_plugin.fetching.options import FetchOptions
from bioclip_plugin.fetching.totals import Totals

if TYPE_CHECKING:
    from bioclip_plugin.fetching.connections import Connections, Line

log = logging.getLogger("bioclip_plugin.fetching")

MAX_REDIRECTS = 5
_CLOSING_S = 0.5
_WATCH_S = 0.25
_CLAIMED_AGAIN_S = 0.5
"""Seconds after which an address that another program fetches is looked at again."""
_FAILURE_HOLDS_S = 600.0
_FAILURES_REMEMBERED = 10_000
_DISK_AGAIN_S = 30.0
"""Seconds after which a disk that could not be written is tried again."""


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

    def __init__(self, address: Address, licence: str, again: bool) -> None:
        self.address, self.licence, self.again = address, licence, again
        self.current = address
        """The address to ask next: another one after a redirect."""
        self.ready_at = self.begun_at = 0.0
        self.tries = 0
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


class Fetcher:
    """Fetches images by address into a folder. Use it in a ``with`` block; any thread may use and close it.

    :meth:`submit` takes addresses ahead of the time when they are needed, which is how a slow host holds up no other:
    requests are sent by threads of its own, each time for the host whose turn it is.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        options: FetchOptions | None = None,
        findings: Findings | None = None,
        *,
        clock: Clock | None = None,
        progress: Callable[[Totals], None] | None = None,
    ) -> None:
        """Open the folder.

        Args:
            folder: the cache; made if it does not exist.
            options: manners and limits.
            findings: gets what is wrong with the cache.
            clock: another clock, for tests.
            progress: called with the totals after each address, on a thread of the fetcher.

        Raises:
            DataError: if the folder cannot be used.
        """
        self.options = options or FetchOptions()
        self.totals = Totals()
        self.findings = findings if findings is not None else Findings()
        self._clock, self._progress = clock or Clock(), progress
        self._cache = Cache(Path(folder))
        self.folder = self._cache.folder
        self.manifest, self._claims = Manifest(self.folder), Claims(self.folder)
        self._turns: Turns[Pending] = Turns(self.options, self._clock, self._given_up)
        self._workers = Workers(self.options.fetch_connections + 1, "bioclip-fetch")
        self._threads = 0
        self._lock = threading.RLock()
        self._open: dict[str, Pending] = {}
        self._failed: OrderedDict[str, tuple[float, FetchError]] = OrderedDict()
        self._lines: set[Line] = set()
        self._is_closed = threading.Event()
        self._disk: tuple[float, str] = (0.0, "")
        self._pools: Connections | None = None
        self._agent = _agent(self.options.fetch_contact)

    def fetch(self, address: str, *, licence: str = "", again: bool | None = None) -> Fetched:
        """Return an image: the file of the cache, or fetched now. Equal addresses are fetched once.

        Args:
            address: an http or https address.
            licence: licence as the source states it, for the manifest.
            again: ask the host although the image is in the cache; None: as the options say.

        Raises:
            FetchError: with the reason in one line.
            WorkersClosed: if the fetcher was closed meanwhile.
        """
        return self.submit(address, licence=licence, again=again).result()

    def submit(
        self,
        address: str,
        *,
        licence: str = "",
        again: bool | None = None,
        is_document: bool = False,
        is_last: bool = True,
    ) -> Pending:
        """Have an image fetched; its result is there at once if it is in the cache.

        Args:
            address: as for :meth:`fetch`, like ``licence`` and ``again``.
            licence: for the manifest.
            again: ask the host again.
            is_document: a JSON document, such as the description of an image service, is expected instead of an image; it is
                not counted among the images.
            is_last: False if another address is asked for after a failure, which is then not counted.

        Raises:
            AddressError: for an address that is refused.
            UsageError: in a forked child.
        """
        self._workers.check_process()
        if self._is_closed.is_set():
            raise WorkersClosed("the fetcher is closed")
        try:
            read = read_address(address)
            if is_document:
                read = DocumentAddress(read.scheme, read.host, read.port, read.target)
        except AddressError as error:
            self.totals.failed("", str(error))
            raise
        with self._lock:
            pending = self._open.get(read.key)
            if pending is not None:
                pending.wanted += 1
                pending.is_last |= is_last
                return pending
            pending = Pending(read, licence, self.options.fetch_again if again is None else again)
            pending.is_last = is_last
            self._open[read.key] = pending
        try:
            self._begin(pending)
        except BaseException:
            self._open.pop(read.key, None)
            raise
        return pending

    def cached(self, address: str) -> bool:
        """Return True if the image of an address is in the folder, so that no request is needed for it."""
        try:
            return self._known(Pending(read_address(address), "", again=False), again=True) is not None
        except AddressError:
            return False

    def give_up(self, pending: Iterable[Pending]) -> None:
        """Let addresses go whose images are not needed any more; requests under way go on to their end."""
        for one in pending:
            with self._lock:
                one.wanted -= 1
                if one.wanted:
                    continue
                if self._open.get(one.address.key) is one:
                    del self._open[one.address.key]
            one.end(WorkersClosed("the image is not needed any more"))

    def _begin(self, pending: Pending) -> None:
        """End at once what needs no request, and queue the rest."""
        if (earlier := self._failed_lately(pending.address.key)) is not None:
            self._end(pending, earlier)
        elif (known := self._known(pending)) is not None and not pending.again:
            self._end(pending, self._of_cache(known))
        elif why := self._disk_fault():
            self._end(pending, FolderError(why))
        elif why := self._turns.why_given_up(pending.address.host_and_port):
            self._end(pending, FetchError(why))
        else:
            self._turns.put(pending.address.host_and_port, pending)
            self._start()

    def _start(self) -> None:
        """Begin a thread per address that waits, up to the limit, and with the first one the watch."""
        with self._lock:
            if self._is_closed.is_set():
                return
            if not self._threads:
                self._workers.submit(self._watch)
                if not self.options.fetch_contact:
                    log.warning(
                        "hosts of images cannot write to you before they block you: give --fetch-contact you@museum.org"
                    )
            if self._threads < min(self.options.fetch_connections, len(self._open)):
                self._threads += 1
                self._workers.submit(self._work)

    def _failed_lately(self, key: str) -> FetchError | None:
        """Return the failure of an address that a table names again, so that it is not asked for again at once."""
        with self._lock:
            at, error = self._failed.get(key, (0.0, None))
        return error if error is not None and self._clock.seconds() - at < _FAILURE_HOLDS_S else None

    def _known(self, pending: Pending, *, again: bool = False) -> Record | None:
        """Return the record of an image whose file is whole; None if it must be fetched.

        ``again``: it was looked for before, so that what is wrong is counted already.
        """
        key, findings = pending.address.key, Findings() if again else self.findings
        try:
            record = self.manifest.read(key)
        except DataError as error:
            findings.add("records of fetched images are damaged; the images are fetched again", str(error))
            return None
        if record is None or not record.is_fetched:
            return None
        path = self._cache.path_of(record.sha256, record.suffix)
        try:
            stat = path.stat()
        except OSError:
            findings.add("fetched images are missing from their folder; they are fetched again", str(path))
            return None
        if stat.st_size == record.bytes and stat.st_mtime_ns == record.modified_ns:
            pending.known = record
            return record
        if not self._cache.is_whole(path, record.sha256, record.bytes):
            findings.add("fetched images were changed in their folder; they are fetched again", str(path))
            return None
        pending.known = record = replace(record, modified_ns=stat.st_mtime_ns)  # copied, touched
        with contextlib.suppress(OSError):
            self.manifest.write(key, record)
        return record

    def _of_cache(self, record: Record) -> Fetched:
        path = self._cache.path_of(record.sha256, record.suffix)
        return Fetched(path, record.sha256, record.bytes, record.media_type, record.status or 200, True)

    def _disk_fault(self) -> str:
        until, why = self._disk
        return why if self._clock.seconds() < until else ""

    # On threads of the fetcher.

    def _work(self) -> None:
        while (turn := self._turns.take()) is not None:
            host, pending = turn
            try:
                self._step(host, pending)
            except BaseException as error:  # a fault of ours: no address may wait for ever
                self._turns.ended(host, None, asked=False)
                if isinstance(error, Exception) and not isinstance(error, BioclipError):
                    error = FetchError(str(unexpected(error, pending.address.text)))
                self._end(pending, error)

    def _step(self, host: Host[Pending], pending: Pending) -> None:
        """Send one request, and end the address or queue it again."""
        if pending.done():  # it was given up
            self._turns.ended(host, None, asked=False)
            if pending.is_claimed:
                self._claims.release(pending.address.key)
            return
        try:
            if not pending.is_claimed and not self._claim(host, pending):
                return
            outcome = self._asked(pending)
        except TryFailed as failed:
            self._after_failure(host, pending, failed)
        except DiskFault as fault:
            self._turns.ended(host, None, asked=False)
            self._end(pending, self._of_disk(fault))
        except DataError as error:  # a proxy that cannot be used
            self._turns.ended(host, None, asked=False)
            self._end(pending, FetchError(str(error)))
        else:
            self._turns.ended(host, None)
            if outcome is not None:
                self._end(pending, outcome)
            else:
                self._turns.put(pending.current.host_and_port, pending, first=True)

    def _claim(self, host: Host[Pending], pending: Pending) -> bool:
        """Claim the address among programs; False if it is done, or another program has it."""
        if not self._claims.take(pending.address.key):
            self._turns.ended(host, None, asked=False)
            pending.ready_at = self._clock.seconds() + _CLAIMED_AGAIN_S
            if (known := self._known(pending, again=True)) is not None and not pending.again:
                self._end(pending, self._of_cache(known))
            else:
                self._turns.put(host.name, pending)
            return False
        pending.is_claimed = True
        if (
            not pending.again and (known := self._known(pending, again=True)) is not None
        ):  # fetched by another program meanwhile
            self._turns.ended(host, None, asked=False)
            self._end(pending, self._of_cache(known))
            return False
        return True

    def _asked(self, pending: Pending) -> Fetched | None:
        """Send one request; return the image, or None if the address redirects."""
        from bioclip_plugin.fetching.connections import Line
        from bioclip_plugin.fetching.exchange import NotChanged, Question, Redirect, ask

        if not pending.hops:
            pending.tries += 1
        draft, line = self._cache.draft(), Line(time.monotonic() + self.options.fetch_time_limit)
        with self._lock:
            self._lines.add(line)
        if self._is_closed.is_set():
            line.cut("closed")
        try:
            question = Question(
                pending.current, self._agent, _condition(pending), pending.unended, pending.address.is_document
            )
            outcome = ask(question, self._connections(), line, self.options, draft, now=self._clock.now)
            if isinstance(outcome, Redirect):
                self._redirected(pending, outcome.to)
                return None
            if isinstance(outcome, NotChanged):
                assert pending.known is not None
                self.manifest.write(pending.address.key, replace(pending.known, time=self._time()))
                return self._of_cache(pending.known)
            path = self._cache.keep(draft, outcome.sha256, outcome.size, outcome.kind.suffix)
            record = Record(
                shown_whole(pending.address), 200, "", self._time(), outcome.sha256, outcome.size, outcome.kind.suffix,
                outcome.kind.media_type, pending.licence, shown_whole(pending.current), outcome.etag, outcome.last_modified,
                pending.tries, _modified(path),
            )  # fmt: skip
            self.manifest.write(pending.address.key, record)
            return Fetched(path, outcome.sha256, outcome.size, outcome.kind.media_type, 200, False)
        finally:
            draft.remove()
            with self._lock:
                self._lines.discard(line)

    def _redirected(self, pending: Pending, to: Address) -> None:
        if to.text == pending.current.text or to.text in pending.hops:
            raise TryFailed("redirected in a circle")
        if len(pending.hops) >= MAX_REDIRECTS:
            raise TryFailed(f"redirected more than {MAX_REDIRECTS} times")
        pending.hops.append(pending.current.text)
        pending.current = to

    def _after_failure(self, host: Host[Pending], pending: Pending, failed: TryFailed) -> None:
        wait_s = self._turns.ended(host, failed, begun_at=pending.begun_at)
        self._forget_hops(pending)
        given_up = self._turns.why_given_up(host.name) if failed.again else ""
        if self._is_closed.is_set():
            self._end(pending, WorkersClosed("the fetcher was closed"))
        elif not failed.again or pending.tries >= self.options.fetch_tries or given_up:
            tried = f" (tried {pending.tries} times)" if failed.again and pending.tries > 1 else ""
            self._end(pending, FetchError(f"{failed.reason}{tried}", status=failed.status))
        else:
            pending.ready_at = self._clock.seconds() + max(
                wait_s, backoff_s(pending.tries - 1) if not failed.pauses_host else 0
            )
            self._turns.put(pending.current.host_and_port, pending, first=True)

    @staticmethod
    def _forget_hops(pending: Pending) -> None:
        """Begin again at the first address: what redirects to a broken host may lead elsewhere the next time."""
        pending.current, pending.hops = pending.address, []

    def _of_disk(self, fault: DiskFault) -> FetchError:
        """Return the failure of an image that could not be written, and let the next ones fail without a request for a while."""
        what = "is full" if is_full(fault) else f"cannot be written ({fault.strerror or fault})"
        why = (
            f"the folder {self.folder} for fetched images {what}; free space or mend it, then the same command goes on"
        )
        self._disk = (self._clock.seconds() + _DISK_AGAIN_S, why)
        return FolderError(why)

    def _given_up(self, pending: Pending, why: str) -> None:
        self._end(pending, FetchError(why))

    def _end(self, pending: Pending, result: Fetched | BaseException) -> None:
        key, host = pending.address.key, pending.address.host_and_port
        if pending.done():
            if pending.is_claimed:  # it was given up while it was fetched
                self._claims.release(key)
            return
        if isinstance(result, FetchError):
            self._record_failure(pending, result)
            self._remember(key, result)
            if pending.is_last and not pending.address.is_document:
                self.totals.failed("" if isinstance(result, FolderError) else host, str(result))
        elif isinstance(result, Fetched) and not pending.address.is_document:
            self.totals.got(result.bytes, from_cache=result.from_cache)
        self.totals.waited_s = self._turns.waited_s
        if pending.is_claimed:
            self._claims.release(key)
        with self._lock:
            self._open.pop(key, None)
        pending.end(result)
        if self._progress is not None and not isinstance(result, WorkersClosed):
            self._progress(self.totals)

    def _remember(self, key: str, error: FetchError) -> None:
        with self._lock:
            self._failed.setdefault(key, (self._clock.seconds(), error))
            if len(self._failed) > _FAILURES_REMEMBERED:
                self._failed.popitem(last=False)

    def _record_failure(self, pending: Pending, error: FetchError) -> None:
        """Record a failure, unless an image of an earlier time is still there."""
        if not pending.tries or pending.known is not None:
            return
        record = Record(
            shown_whole(pending.address), error.status, str(error), self._time(), licence=pending.licence,
            final_address="" if pending.current is pending.address else shown_whole(pending.current), tries=pending.tries,
        )  # fmt: skip
        with contextlib.suppress(OSError):  # on a full disk the failure is reported all the same
            self.manifest.write(pending.address.key, record)

    def _connections(self) -> Connections:
        from bioclip_plugin.fetching.connections import Connections

        with self._lock:
            if self._pools is None:
                self._pools = Connections(private=self.options.fetch_private, per_host=self.options.fetch_per_host)
            return self._pools

    def _time(self) -> str:
        return self._clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")

    def _watch(self) -> None:
        """Cut requests that take too long, and show other programs that this one lives."""
        while not self._is_closed.wait(_WATCH_S):
            now = time.monotonic()
            with self._lock:
                late = [line for line in self._lines if line.ends_at < now]
            for line in late:
                line.cut(f"took longer than {self.options.fetch_time_limit:g} s (--fetch-time-limit)")
            self._claims.beat()

    def waiting_for(self) -> str:
        """Return a note on the host that is waited for, for a progress line; empty if there is none."""
        name, seconds = self._turns.pause()
        return f"waiting {seconds:.0f} s for {name}" if name else ""

    def close(self) -> None:
        """End at once: what waits fails, and connections in use are cut. Any thread may call it, and again."""
        if os.getpid() != self._workers_process():
            return
        self._is_closed.set()
        left = list(self._turns.close())
        with self._lock:
            lines, pending = list(self._lines), [*left, *self._open.values()]
        for line in lines:
            line.cut("the fetcher was closed")
        self._workers.close(wait_s=_CLOSING_S)
        for one in pending:
            self._end(one, WorkersClosed("the fetcher was closed"))
        if self._pools is not None:
            self._pools.close()

    def _workers_process(self) -> int:
        try:
            self._workers.check_process()
        except UsageError:
            return -1
        return os.getpid()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def shown_whole(address: Address) -> str:
    """Return an address for the manifest; an :class:`Address` has no password."""
    return address.text


def _condition(pending: Pending) -> dict[str, str]:
    """Return the headers that ask for the image only if it has changed."""
    known = pending.known
    if known is None:
        return {}
    return {
        name: value
        for name, value in (("If-None-Match", known.etag), ("If-Modified-Since", known.last_modified))
        if value and value.isascii() and value.isprintable()
    }


def _agent(contact: str) -> str:
    try:
        number = version("bioclip-plugin")
    except PackageNotFoundError:  # run from its sources
        number = "0"
    return f"bioclip-plugin/{number}" + (f" (+{contact})" if contact else "")


def _modified(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
