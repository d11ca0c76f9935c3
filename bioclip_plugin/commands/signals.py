"""Signals during a long command: Ctrl-C, and the SIGTERM of a batch system whose time limit is over."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console

from bioclip_plugin.commands.context import EXIT_INTERRUPTED


@contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C, so that the command ends tidily."""

    def interrupt(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    with _handled_by(interrupt, signal.SIGTERM):
        yield


@contextmanager
def interruptible(console: Console, outcome: str) -> Iterator[None]:
    """End the command with exit code 130 when it is interrupted or terminated in this block.

    Args:
        console: the console to print on.
        outcome: a sentence on the state that the interrupted work leaves.
    """
    try:
        with terminated_like_interrupted():
            yield
    except KeyboardInterrupt:
        console.print(f"Interrupted. {outcome}")
        raise click.exceptions.Exit(EXIT_INTERRUPTED) from None


@contextmanager
def asked_to_stop() -> Iterator[threading.Event]:
    """Give an event that Ctrl-C and SIGTERM set; a second Ctrl-C ends the command at once."""
    event = threading.Event()

    def handle(number: int, _frame: object) -> None:
        if event.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        event.set()

    with _handled_by(handle, signal.SIGINT, signal.SIGTERM):
        yield event


@contextmanager
def _handled_by(handler: Callable[[int, object], None], *numbers: signal.Signals) -> Iterator[None]:
    """Handle signals for the time of a block; only the main thread may, in any other nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
