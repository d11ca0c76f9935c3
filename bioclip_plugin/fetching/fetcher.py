"""The fetcher: addresses in, files of the cache out; from any thread, fair between hosts, and closed at once."""

from __future__ import annotations

import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from bioclip_core.errors import BioclipError, DataError, UsageError
from bioclip_core.findings import Findings
from bioclip_core.images.unexpected import unexpected
from bioclip_core.process.threads import Workers, WorkersClosed
from bioclip_plugin.fetching.addresses import DocumentAddress, read_address
from bioclip_plugin.fetching.cache import DiskFault
from bioclip_plugin.fetching.claims import Claims
from bioclip_plugin.fetching.errors import AddressError, FetchError, FolderError, TryFailed
from bioclip_plugin.fetching.holdings import Holdings
from bioclip_plugin.fetching.hosts import Clock, Host, Turns, backoff_s, length_of
from bioclip_plugin.fetching.options import FetchOptions
from bioclip_plugin.fetching.pending import Fetched, Pending
from bioclip_plugin.fetching.sending import Sender
from bioclip_plugin.fetching.totals import Totals

log = logging.getLogger("bioclip_plugin.fetching")

_CLOSING_S = 0.5
_WATCH_S = 0.25
_CLAIMED_AGAIN_S = 0.5
"""Seconds after which an address that another program fetches is looked at again."""
_FAILURE_HOLDS_S = 600.0
_FAILURES_REMEMBERED = 10_000


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
        self._holdings = Holdings(Path(folder), self.findings, self._clock)
        self.folder, self.manifest = self._holdings.folder, self._holdings.manifest
        self._claims, self._sender = Claims(self.folder), Sender(self.options, self._clock)
        self._turns: Turns[Pending] = Turns(self.options, self._clock, self._given_up)
        self._workers = Workers(self.options.fetch_connections + 1, "bioclip-fetch")
        self._threads = 0
        self._lock = threading.RLock()
        self._open: dict[str, Pending] = {}
        self._failed: OrderedDict[str, tuple[float, FetchError]] = OrderedDict()
        self._is_closed = threading.Event()
        self._claimed_elsewhere = WorkersClosed("another program fetches it")

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
                self._holdings.count_other_licence(pending, pending.licence or licence, licence)
                pending.licence = pending.licence or licence
                pending.is_last |= is_last
                return pending
            pending = Pending(read, licence, again=self.options.fetch_again if again is None else again)
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
            return self._holdings.find(Pending(read_address(address), "", again=False), again=True) is not None
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
        elif (found := self._holdings.find(pending)) is not None and not pending.again:
            self._end(pending, found)
        elif (fault := self._holdings.fault()) is not None:
            self._end(pending, fault)
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
        if (outcome := self._without_request(pending)) is not None:
            self._turns.ended(host, None, asked=False)
            if outcome is self._claimed_elsewhere:
                pending.ready_at = self._clock.seconds() + _CLAIMED_AGAIN_S
                self._turns.put(host.name, pending)
            else:
                self._end(pending, outcome)
            return
        try:
            fetched = self._asked(pending)
        except TryFailed as failed:
            self._after_failure(host, pending, failed)
        except DiskFault as fault:
            self._turns.ended(host, None)
            self._end(pending, self._holdings.failed(fault))
        except DataError as error:  # a proxy that cannot be used
            self._turns.ended(host, None, asked=False)
            self._end(pending, FetchError(str(error)))
        else:
            self._turns.ended(host, None)
            if fetched is not None:
                self._end(pending, fetched)
            else:
                self._turns.put(pending.current.host_and_port, pending, first=True)

    def _without_request(self, pending: Pending) -> Fetched | Exception | None:
        """Return the outcome of an address that is not to be asked for any more, and claim it among programs; None if it is."""
        if pending.done():
            return WorkersClosed("the image is not needed any more")
        if (fault := self._holdings.fault()) is not None:
            return fault
        if pending.is_claimed:
            return None
        try:
            pending.is_claimed = self._claims.take(pending.address.key)
        except DiskFault as refused:
            return self._holdings.failed(refused)
        found = self._holdings.find(pending, again=True)  # perhaps another program fetched it meanwhile
        if found is not None and not pending.again:
            return found
        return None if pending.is_claimed else self._claimed_elsewhere

    def _asked(self, pending: Pending) -> Fetched | None:
        """Send one request; return the image, or None if the address redirects."""
        from bioclip_plugin.fetching.exchange import NotChanged, Redirect

        if not pending.hops:
            pending.tries += 1
        draft = self._holdings.draft()
        try:
            outcome = self._sender.send(pending, draft)
            if isinstance(outcome, Redirect):
                pending.redirect(outcome.to)
                return None
            if isinstance(outcome, NotChanged):
                return self._holdings.not_changed(pending)
            return self._holdings.keep(pending, draft, outcome)
        finally:
            draft.remove()

    def _after_failure(self, host: Host[Pending], pending: Pending, failed: TryFailed) -> None:
        wait_s = self._turns.ended(host, failed, begun_at=pending.begun_at)
        if self._is_closed.is_set():
            self._end(pending, WorkersClosed("the fetcher was closed"))
        elif not failed.again or pending.tries >= self.options.fetch_tries or self._turns.why_given_up(host.name):
            tried = f" (redirected there by {pending.address.host_and_port})" if pending.has_left_its_host else ""
            tried += f" (tried {pending.tries} times)" if failed.again and pending.tries > 1 else ""
            if failed.wait_s is not None and failed.wait_s > self.options.fetch_longest_wait:
                tried += f" (asks to wait {length_of(failed.wait_s)}, longer than --fetch-longest-wait)"
            self._end(
                pending,
                FetchError(f"{failed.reason}{tried}", status=failed.status, host=host.name, answered=failed.answered),
            )
        else:
            pending.begin_again()
            backoff = 0.0 if failed.pauses_host else backoff_s(pending.tries - 1)
            pending.ready_at = self._clock.seconds() + max(wait_s, backoff)
            self._turns.put(pending.current.host_and_port, pending, first=True)

    def _given_up(self, pending: Pending, why: str) -> None:
        self._end(pending, FetchError(why))

    def _end(self, pending: Pending, result: Fetched | BaseException) -> None:
        key, host = pending.address.key, pending.address.host_and_port
        if pending.done():
            if pending.is_claimed:  # it was given up while it was fetched
                self._claims.release(key)
            return
        if isinstance(result, FetchError):
            self._holdings.record_failure(pending, result)
            if pending.tries and not isinstance(result, FolderError):
                self._remember(key, result)
            if pending.is_last and not pending.address.is_document:
                self.totals.failed("" if isinstance(result, FolderError) else result.host or host, str(result))
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
            self._failed[key] = (self._clock.seconds(), error)
            self._failed.move_to_end(key)
            if len(self._failed) > _FAILURES_REMEMBERED:
                self._failed.popitem(last=False)

    def _watch(self) -> None:
        """Cut requests that take too long, and show other programs that this one lives."""
        while not self._is_closed.wait(_WATCH_S):
            self._sender.cut_late()
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
            pending = [*left, *self._open.values()]
        self._sender.cut_all()
        self._workers.close(wait_s=_CLOSING_S)
        for one in pending:
            self._end(one, WorkersClosed("the fetcher was closed"))
        self._sender.close()

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
