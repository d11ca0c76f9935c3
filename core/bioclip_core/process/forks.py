"""Objects made usable in a forked child, where locks may be held by threads that do not exist and connections are shared."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from functools import cache
from typing import Protocol
from weakref import WeakSet

log = logging.getLogger("bioclip_plugin.forks")


class Inherited(Protocol):
    """An object with locks, threads, files or connections."""

    def after_fork(self) -> None:
        """Make the copy in the child usable, or mark it as unusable: replace locks, forget threads and connections.

        It runs before anything else in the child, and must not wait or close what the parent uses.
        """


_objects: WeakSet[Inherited] = WeakSet()
_beside: set[str] = set()
_masks = threading.local()
_LIBRARIES = ("torch",)  # with threads of their own


def renew_after_fork(thing: Inherited) -> None:
    """Call ``thing.after_fork()`` in every child that this process forks, as long as ``thing`` exists."""
    _register()
    _objects.add(thing)


@cache
def _register() -> None:
    """Register once, since this cannot be undone; with weak references only, so that it keeps nothing."""
    if hasattr(os, "register_at_fork"):  # Windows does not fork
        os.register_at_fork(before=_hold_signals, after_in_parent=_release_signals, after_in_child=_renew)
        os.register_at_fork(after_in_child=_release_signals)


def forked_beside(library: str) -> bool:
    """Return True in a child that was forked after the library was imported, so that threads of it may be missing."""
    return library in _beside


def never_freed(thing: object) -> None:
    """Keep an object until the process is gone, past the end of the interpreter too.

    For connections that a child inherits: SQLite forbids even to close them there, and closing another one may end the
    parent's.
    """
    if thing is not None:
        import ctypes

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _hold_signals() -> None:
    """Let signals wait while this thread forks: in a child that is not renewed yet, they would be the parent's.

    Python's C handler writes into the wakeup descriptor, and the child shares that with its parent.
    """
    _masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))


def _release_signals() -> None:
    before = getattr(_masks, "before", None)  # None if this was registered by another hook of the same fork
    if before is not None:
        _masks.before = None
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _renew() -> None:
    _beside.update(name for name in _LIBRARIES if name in sys.modules)
    for thing in list(_objects):
        try:
            thing.after_fork()
        except Exception:  # the others must be renewed all the same
            log.exception("%s cannot be used in this forked process", type(thing).__name__)
