"""Daemon threads for work that may never end, such as the decoding of foreign files.

``ThreadPoolExecutor`` is not used for such work: the interpreter joins its threads at exit, so one file that hangs a decoder
would hang the program. Here a hung thread can be given up and replaced, and nothing waits for it.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, InvalidStateError
from concurrent.futures import wait as wait_for
from contextlib import contextmanager, suppress
from functools import cache
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Generic, ParamSpec, Self, TypeVar
from weakref import WeakSet

from bioclip_core.errors import BioclipError, UsageError

log = logging.getLogger("bioclip_plugin.threads")

Given = ParamSpec("Given")
Result = TypeVar("Result")

SLOW_S = 10.0
"""Seconds after which work that was submitted with a name is named on the log."""
MOST_HUNG = 32
"""Number of hung threads in a process at which no further ones are begun."""
FINISHING_S = 10.0
"""Longest wait for work that must not be lost, when its threads are closed or the interpreter exits."""
_LEAST_WAIT_S = 0.01
_LAST_SHARE = 0.1
"""Part of a limit of time that must pass after a first look at work that has nearly used it up."""

_THREAD_PREFIX = "bioclip-"
_current = threading.local()
_hung: set[threading.Thread] = set()
_to_finish: WeakSet[Workers] = WeakSet()


class GivenUp(BioclipError):
    """Work that took longer than its limit. Its thread is left alone, and a late result is dropped."""


class WorkersClosed(RuntimeError):
    """Work of threads that were closed before it was done."""


class Patience:
    """A limit of time that a process does not exceed by being stopped (``scontrol suspend``), or by sleeping with its machine.

    The clock goes on then, and work that was begun before could be over at the first look after it. So the last tenth of the limit
    counts from the first look in or after it.
    """

    def __init__(self) -> None:
        self._last_since: float | None = None

    def is_over(self, seconds: float, limit_s: float) -> bool:
        """Return True if work has taken so many seconds that it is to be given up."""
        if seconds < (1 - _LAST_SHARE) * limit_s:
            self._last_since = None
            return False
        now = time.monotonic()
        self._last_since = now if self._last_since is None else self._last_since
        return seconds >= limit_s and now - self._last_since >= _LAST_SHARE * limit_s

    def due_in_s(self, seconds: float, limit_s: float) -> float:
        """Return the time until the next look at work that has taken so many seconds; it may be negative."""
        if self._last_since is None:
            return (1 - _LAST_SHARE) * limit_s - seconds
        return max(limit_s - seconds, self._last_since + _LAST_SHARE * limit_s - time.monotonic())


class Job(Generic[Result]):
    """One piece of submitted work, with its own time on a thread."""

    def __init__(self, workers: Workers, work: Callable[[], Result], what: str) -> None:
        self.what = what
        self.thread: threading.Thread | None = None
        self.is_named = False
        """True once the log says that it takes long."""
        self._workers = workers
        self._work: Callable[[], Result] | None = work
        self.future: Future[Result] = Future()
        """Its outcome, for :func:`wait_for_any`; everything else asks the job, which knows about forks."""
        self._began_at: float | None = None
        self._not_counted_s = 0.0
        self._paused_at: float | None = None
        self.patience = Patience()

    @property
    def seconds(self) -> float:
        """Seconds on its thread, without the time in the queue and in :func:`not_counted`."""
        began_at, paused_at = self._began_at, self._paused_at
        return 0.0 if began_at is None else (paused_at or time.monotonic()) - began_at - self._not_counted_s

    def done(self) -> bool:
        """Return True if the result is there, or the work failed or was cancelled."""
        return self.future.done()

    def succeeded(self) -> bool:
        """Return True if the result is there."""
        return self.future.done() and self.future.exception() is None

    def result(self, limit_s: float | None = None) -> Result:
        """Wait for the work and return its result, or raise its error.

        Args:
            limit_s: longest time on the thread; None waits without a limit.

        Raises:
            GivenUp: if the work took longer.
            WorkersClosed: if the threads were closed before.
            UsageError: in a forked child, for work of the parent's threads.
        """
        while not self.future.done():
            self._workers.check_process()
            # All running work, not only this one: this one may wait for memory that hung work holds.
            wait_for([self.future], None if limit_s is None else self._workers.give_up_after(limit_s))
        return self.future.result()

    def fail(self, error: BaseException) -> bool:
        """Set an error as the outcome; return False if there is one already."""
        try:
            self.future.set_exception(error)
        except InvalidStateError:
            return False
        return True

    def run(self) -> bool:
        """Do the work on this thread; return False if it was given up meanwhile."""
        if self.done():
            return True
        self.thread, self._began_at, _current.job = threading.current_thread(), time.monotonic(), self
        try:
            assert self._work is not None
            result = self._work()
        except BaseException as error:
            self.fail(error)
        else:
            with suppress(InvalidStateError):  # it was given up
                self.future.set_result(result)
        finally:
            _current.job = self._work = None  # which may hold an image
        if self.is_named:
            log.warning("%s took %.0f s", self.what, self.seconds)
        return not isinstance(self.future.exception(), GivenUp)

    def pause(self) -> None:
        self._paused_at = time.monotonic()

    def go_on(self) -> None:
        if self._paused_at is not None:
            self._not_counted_s += time.monotonic() - self._paused_at
            self._paused_at = None


@contextmanager
def not_counted() -> Iterator[None]:
    """Leave the time of a block out of the time of the work on this thread: a wait for memory, or for a turn."""
    job: Job[Any] | None = getattr(_current, "job", None)
    if job is None:
        yield
        return
    job.pause()
    try:
        yield
    finally:
        job.go_on()


def is_wanted() -> bool:
    """Return False if the result of the work on this thread is not awaited any more: it was given up, or its threads are closed."""
    job: Job[Any] | None = getattr(_current, "job", None)
    return job is None or not job.done()


def is_hung(thread: threading.Thread) -> bool:
    """Return True if the work of a thread was given up."""
    return thread in _hung


class Workers:
    """A few daemon threads that do submitted work in its order. Close them after use.

    Any thread may submit and close. Work with a name that takes long is named on the log, once, by one watch for all threads.
    """

    def __init__(self, count: int, name: str, *, must_finish: bool = False) -> None:
        """Describe the threads; each begins when there is work for it.

        Args:
            count: largest number of threads.
            name: name of the threads.
            must_finish: the work is not cancelled when the threads are closed, and the interpreter's exit waits for it (but
                not for ever).
        """
        self._count, self._name, self._must_finish, self._process = count, name, must_finish, os.getpid()
        self._queue: SimpleQueue[Job[Any] | None] = SimpleQueue()
        self._open: set[Job[Any]] = set()
        self._threads: list[threading.Thread] = []
        self._watch: threading.Thread | None = None
        self._is_closed = False
        self._beginning = threading.Lock()
        self._end: SimpleQueue[None] = SimpleQueue()
        if must_finish:
            _register()
            _to_finish.add(self)

    @property
    def is_closed(self) -> bool:
        """True if no more work is taken."""
        return self._is_closed

    def submit(self, work: Callable[Given, Result], *given: Given.args, **named: Given.kwargs) -> Job[Result]:
        """Have work done by a thread.

        Raises:
            WorkersClosed: after :meth:`close`.
            BioclipError: if too many threads of this process hang already.
        """
        return self.submit_named("", work, *given, **named)

    def submit_named(
        self, what: str, work: Callable[Given, Result], *given: Given.args, **named: Given.kwargs
    ) -> Job[Result]:
        """Have work done by a thread, which is named on the log if it takes long.

        Args:
            what: the beginning of a sentence such as "photo.jpg: decoding" (" takes longer than 10 s").
            work: called with the other arguments.

        Raises:
            BioclipError: if too many threads of this process hang already.
        """
        self.check_process()
        if self._is_closed:
            raise WorkersClosed("these threads are closed")
        job = Job(self, lambda: work(*given, **named), what)
        self._open.add(job)
        self._queue.put(job)
        self._begin_threads()
        if what and self._watch is None:
            self._watch = threading.Thread(
                target=_watch, args=(self._open, self._end), name=f"{self._name}-watch", daemon=True
            )
            self._watch.start()
        if self._is_closed:  # by another thread, which may have missed what was begun here
            self._dismiss()
        return job

    def allow(self, count: int) -> None:
        """Have work that is submitted from now on done by up to this many threads, if they were fewer."""
        self._count = max(self._count, count)

    def give_up_after(self, limit_s: float) -> float:
        """Give up work that takes longer than a limit; return the seconds until the next one may do so."""
        for job in list(self._open):
            if job.patience.is_over(job.seconds, limit_s):
                self.give_up(job)
        due_in_s = min((job.patience.due_in_s(job.seconds, limit_s) for job in list(self._open)), default=limit_s)
        return max(due_in_s, _LEAST_WAIT_S)

    def give_up(self, job: Job[Result]) -> None:
        """Let a job fail with :class:`GivenUp`, and replace its thread."""
        if not job.fail(GivenUp(f"given up after {job.seconds:.0f} s")) or job.thread is None:
            return
        self._open.discard(job)
        if job.thread in self._threads:
            self._threads.remove(job.thread)
            _hung.add(job.thread)
            if job.what:
                log.warning("%s does not end; it is given up, and its thread is left alone", job.what)
        self._begin_threads()

    def close(self, *, wait_s: float = FINISHING_S) -> bool:
        """Take no more work, let unfinished work fail (unless it must finish), and wait for the threads.

        Returns True if all of them ended. It never waits for the thread that calls it, from another one of ours (a garbage
        collector may run anywhere), while the interpreter shuts down (other threads stand still), or in a forked child.
        """
        if os.getpid() != self._process:
            return True
        if not self._is_closed:
            self._is_closed = True
            for job in [] if self._must_finish else list(self._open):
                job.fail(WorkersClosed("these threads were closed before the work was done"))
            self._dismiss()
        me = threading.current_thread()
        if sys.is_finalizing() or me.name.startswith(_THREAD_PREFIX):
            return False
        until = time.monotonic() + wait_s
        for thread in list(self._threads):
            thread.join(max(until - time.monotonic(), 0))
            if thread.is_alive() and not self._must_finish:
                _hung.add(thread)
        return not any(thread.is_alive() for thread in self._threads)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close; after Ctrl-C without waiting, since the program is to end."""
        self.close(wait_s=0 if kind is not None and issubclass(kind, KeyboardInterrupt) else FINISHING_S)

    def __del__(self) -> None:
        if not self._is_closed:
            self._dismiss()

    def _dismiss(self) -> None:
        """Let the threads end once their work is done; a SimpleQueue may be used from a finalizer, an Event may not."""
        self._end.put(None)
        for _ in self._threads:
            self._queue.put(None)

    def check_process(self) -> None:
        """Refuse the use of these threads in a forked child, where they do not exist.

        Raises:
            UsageError: in a child.
        """
        if os.getpid() != self._process:
            raise UsageError(
                f"this work was begun in process {self._process}, and its threads do not exist in the forked process "
                f"{os.getpid()}: begin it again there, with a Session of its own"
            )

    def _begin_threads(self) -> None:
        with self._beginning:
            while len(self._threads) < min(self._count, len(self._open)):
                if (hung := hung_threads()) >= MOST_HUNG:
                    raise BioclipError(
                        f"{hung} threads hang in files that are not decoded to their end, so no further ones are begun: a plugin "
                        "or a disk does not answer (the log names the files); end this program, and start it again"
                    )
                name = f"{self._name}_{len(self._threads)}"
                thread = threading.Thread(target=_work, args=(self._queue, self._open), name=name, daemon=True)
                thread.start()  # before others see it: one that closes these threads joins them
                self._threads.append(thread)


def wait_for_any(jobs: Iterable[Job[Any]], limit_s: float) -> None:
    """Wait until one of some pieces of work is done, or for some seconds."""
    wait_for([job.future for job in jobs], max(limit_s, 0.0), return_when=FIRST_COMPLETED)


def closed_in_turn(several: Iterable[Workers], wait_s: float) -> bool:
    """Close threads that hand work on, in the order in which they do; True if all of them ended within some seconds."""
    until = time.monotonic() + wait_s
    ended = [
        workers.close(wait_s=max(until - time.monotonic(), 0.0)) for workers in several
    ]  # all of them, in any case
    return all(ended)


def hung_threads() -> int:
    """Return the number of threads of this process that were given up and still run."""
    _hung.intersection_update([thread for thread in list(_hung) if thread.is_alive()])
    return len(_hung)


def _work(queue: SimpleQueue[Job[Any] | None], unfinished: set[Job[Any]]) -> None:
    while (job := queue.get()) is not None:
        has_time = job.run()
        unfinished.discard(job)
        if not has_time:
            return
        del job


@contextmanager
def named_if_slow(what: str) -> Iterator[None]:
    """Name work of this thread on the log, once, if it takes long; it begins as the names of submitted work do."""
    timer = threading.Timer(SLOW_S, log.warning, ("%s takes longer than %.0f s", what, SLOW_S))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _watch(unfinished: set[Job[Any]], end: SimpleQueue[None]) -> None:
    """Name each job on the log once it has taken long."""
    wait_s = SLOW_S
    while not _comes(end, wait_s):
        longest = 0.0
        for job in list(unfinished):
            if job.is_named or not job.what or job.done():
                continue
            if job.seconds < SLOW_S:
                longest = max(longest, job.seconds)
            else:
                job.is_named = True
                log.warning("%s takes longer than %.0f s", job.what, SLOW_S)
        wait_s = max(SLOW_S - longest, 0.01)


def _comes(queue: SimpleQueue[None], wait_s: float) -> bool:
    try:
        queue.get(timeout=wait_s)
    except Empty:
        return False
    return True


@cache
def _register() -> None:
    atexit.register(finish)


def finish(wait_s: float = FINISHING_S) -> bool:
    """Wait for work that must not be lost; True if all of it is done. The interpreter calls it while threads still run."""
    return closed_in_turn(list(_to_finish), wait_s)
