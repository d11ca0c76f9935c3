"""Ctrl-C, and the SIGTERM of a batch system whose time limit is over: the first one ends a command tidily, and soon.

Python runs a signal's handler on the main thread between two instructions, so never while that thread computes a batch or waits
for a lock in C. Therefore a second thread hears of the signal too, by the wakeup descriptor that Python writes in the C
handler. It ends the process if the command has not ended by itself after a few seconds, and at once after a second Ctrl-C.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

import click

from bioclip_core.errors import BioclipError
from bioclip_core.process.forks import renew_after_fork
from bioclip_core.process.threads import Workers
from bioclip_plugin.commands.context import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from rich.console import Console  # not imported by --help

GRACE_S = 2.5
"""Time that a command has to end by itself after the first signal."""
_LAST_WORDS_S = 1.5
"""Time for recording how the work ended, and for the message, where the command did not end by itself."""
_ENDING_S = 1.0
"""Time for what a command still does after its last words."""
_SAME_S = 0.3
"""Two Ctrl-C within this time are one: `uv run`, npm and others pass on what the terminal has sent already."""
# SIGBREAK, of Windows only: Ctrl-Break, and a console window that is closed.
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name))
_active: list[_Guard] = []
Handler = Callable[[int, FrameType | None], object] | int | signal.Handlers | None


class _Guard:
    """Signals of one call of the command line."""

    def __init__(self) -> None:
        self.is_asked = False
        """True after the first signal."""
        self.has_raised = False
        """True once the first signal became a KeyboardInterrupt."""
        self.has_time = False
        """True while the command saves something, which is waited for."""
        self.patience_s = 0.0
        """Time that the work in progress needs until it can stop; it is waited for, if it is longer than usual."""
        self.has_spoken = False
        """True once the outcome was printed."""
        self.stop: threading.Event | None = None
        """Set by the first signal in place of a KeyboardInterrupt."""
        self.last_words: list[Callable[[], None]] = []
        """Function to call if the command does not end by itself; the last one is called."""
        self._process = os.getpid()
        self._before: dict[signal.Signals, Handler] = {}
        self._heard, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Give a child the signals as they were before, and keep them from the parent, who would take them for its own."""
        signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        _active.clear()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Handle the signals in this block."""
        before = {number: handler for number in _SIGNALS if _is_ours(number, handler := signal.getsignal(number))}
        self._before = before
        descriptor = signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        watcher = threading.Thread(target=self._watch, name="bioclip-signals", daemon=True)
        watcher.start()
        for number in before:
            signal.signal(number, self._handle)
        try:
            yield
        finally:
            if os.getpid() == self._process:
                self._end(watcher, descriptor)

    def _end(self, watcher: threading.Thread, descriptor: int) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)
        with suppress(OSError):
            self._waker.send(b"\0")
        watcher.join(_LAST_WORDS_S)
        self._heard.close()
        self._waker.close()

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        """On the main thread: the first signal interrupts; later ones are the watcher's."""
        if self.is_asked:
            return
        self.is_asked = True
        if self.stop is None:
            self.has_raised = True
            raise KeyboardInterrupt
        self.stop.set()

    def _watch(self) -> None:
        """On a thread of its own: end the process if the command does not."""
        first_at: float | None = None
        while True:
            if first_at is not None and not self.has_time:
                grace_s = max(GRACE_S, self.patience_s)
                self._heard.settimeout(max(first_at + grace_s - time.monotonic(), 0.01))
            try:
                number = self._heard.recv(1)
            except TimeoutError:
                self._heard.settimeout(None)
                if not self.has_time:
                    self._abandon()
                continue
            except OSError:
                return
            if number in (b"", b"\0"):
                return
            if number[0] not in self._before:
                continue
            if first_at is None:
                first_at = time.monotonic()
                if self.patience_s > GRACE_S:
                    click.echo(
                        f"Pausing: the step in progress takes up to {self.patience_s:.0f} s; then the state is saved. Another "
                        "Ctrl-C ends at once, without that.",
                        err=True,
                    )
            elif number[0] == signal.SIGINT and time.monotonic() - first_at > _SAME_S:
                os._exit(EXIT_INTERRUPTED)

    def _abandon(self) -> None:
        """End the process although the main thread is busy: what is committed stays."""

        def speak() -> None:
            if self.has_spoken:
                time.sleep(_ENDING_S)  # the main thread is about to end
            elif self.last_words:
                self.last_words[-1]()
            else:
                click.echo("Interrupted.", err=True)
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()

        speaker = threading.Thread(target=speak, name="last-words", daemon=True)
        speaker.start()
        speaker.join(_LAST_WORDS_S)
        os._exit(EXIT_INTERRUPTED)


def _is_ours(number: signal.Signals, handler: object) -> bool:
    """True for a signal that is neither ignored (nohup, a job of a script in the background) nor the host's own Ctrl-C."""
    own = number == signal.SIGINT and handler not in (signal.SIG_DFL, signal.default_int_handler)
    return handler is not None and handler is not signal.SIG_IGN and not own


@contextmanager
def guarded() -> Iterator[None]:
    """End the command tidily at the first Ctrl-C or SIGTERM (a KeyboardInterrupt), and soon, whatever it is busy with.

    Only the main thread can handle signals; in any other nothing changes.
    """
    if _active or threading.current_thread() is not threading.main_thread():
        yield
        return
    guard = _Guard()
    _active.append(guard)
    try:
        with guard.watching():
            try:
                yield
            except Exception as error:
                if _is_ended_by_signal(error):
                    raise KeyboardInterrupt from error
                raise
    finally:
        if guard in _active:  # not in a forked child
            _active.remove(guard)


def _is_ended_by_signal(error: BaseException) -> bool:
    """True for a KeyboardInterrupt, and for what a library (DuckDB, callbacks of C) raises in its place."""
    if isinstance(error, click.exceptions.Exit):
        return False
    return isinstance(error, KeyboardInterrupt) or any(guard.has_raised for guard in _active)


@contextmanager
def _last_words(speak: Callable[[], None]) -> Iterator[None]:
    """Call a function, on another thread, before the process is ended because the main thread did not react in this block."""
    for guard in _active:
        guard.last_words.append(speak)
    try:
        yield
    finally:
        for guard in _active:
            with suppress(ValueError):
                guard.last_words.remove(speak)


@contextmanager
def interruptible(console: Console, outcome: str, record: Callable[[], None] | None = None) -> Iterator[None]:
    """End the command with exit code 130 when it is interrupted or terminated in this block.

    Args:
        console: the console to print on.
        outcome: a sentence on the state that the interrupted work leaves.
        record: called after the sentence, on another thread, to record the state; it is waited for for a second.
    """

    def end() -> None:
        for guard in _active:
            guard.has_spoken = True
        console.show_cursor()
        console.print(f"Interrupted. {outcome}")
        if record is not None:
            record()

    try:
        with guarded(), _last_words(end):
            try:
                yield
            except (KeyboardInterrupt, Exception) as error:
                if not _is_ended_by_signal(error):
                    raise
                recorder = Workers(1, "last-words")
                with suppress(BioclipError):  # among them GivenUp: a database that does not answer
                    recorder.submit(end).result(_LAST_WORDS_S)
                raise KeyboardInterrupt from error
    except KeyboardInterrupt:
        raise click.exceptions.Exit(EXIT_INTERRUPTED) from None


class Stop:
    """A wish to stop, for work that saves its state first."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def takes(self, seconds: float) -> None:
        """State the time that the work needs until it asks the next time: after a signal it is given as much."""
        for guard in _active:
            guard.patience_s = seconds

    def is_asked(self) -> bool:
        """Return True after a signal. The caller then saves its state and ends; it is given the time for that."""
        if self._event.is_set():
            for guard in _active:
                guard.has_time = True
            return True
        return False


@contextmanager
def asked_to_stop() -> Iterator[Stop]:
    """Give a wish to stop that Ctrl-C and SIGTERM set in place of a KeyboardInterrupt.

    Work that does not ask for it in time (its preparation, or a step that takes longer than it stated) is ended without saving.
    """
    stop = Stop()
    with guarded():
        for guard in _active:
            guard.stop = stop._event
        try:
            yield stop
        finally:
            for guard in _active:
                guard.stop, guard.patience_s = None, 0.0
