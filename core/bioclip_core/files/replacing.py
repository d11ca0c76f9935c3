"""Renaming and removing of files, patient on Windows: virus scanners and indexers hold a new file open for a moment there."""

from __future__ import annotations

import gc
import os
import shutil
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from bioclip_core.process import system

T = TypeVar("T")

PATIENCE_S = 4.0
"""Longest time that a rename is tried on Windows."""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.01, 0.25
_HELD = frozenset({5, 32, 33, 1224})
"""Errors of Windows for a file that is open: access denied, sharing, a lock on a part, a mapping in memory."""


def rename(source: Path, target: Path) -> None:
    """Rename a file or folder, also over an existing file.

    Raises:
        OSError: if the system refuses; on Windows, after the file was held open for :data:`PATIENCE_S`.
    """
    patiently(lambda: os.replace(source, target))  # noqa: PTH105 - the error names both files


def remove(file: Path) -> None:
    """Remove a file that may be missing, as :func:`rename` renames it."""
    patiently(lambda: file.unlink(missing_ok=True))


def remove_tree(folder: Path) -> None:
    """Remove a folder with everything in it, as far as the system allows it, read-only files too."""
    if system.is_windows():
        for place, _, names in os.walk(folder):
            for name in names:
                _make_writable(os.path.join(place, name))  # noqa: PTH118 - millions of files
    shutil.rmtree(folder, ignore_errors=True)


def held_open(error: OSError) -> bool:
    """True if Windows refused something because a program has the file open, or perhaps for want of rights."""
    return getattr(error, "winerror", None) in _HELD or (system.is_windows() and isinstance(error, PermissionError))


def reason_of(error: OSError, path: Path) -> str:
    """Return the reason of the system for the end of a message, with what helps on Windows."""
    reason = error.strerror or str(error)
    if error.errno and "Detail: [errno" in reason:  # Arrow has words of its own around those of the system
        reason = os.strerror(error.errno)
    if held_open(error):
        return f"{reason}: close the programs that have it open, and see that it may be changed"
    return reason + long_path_hint(path)


def long_path_hint(path: str | os.PathLike[str]) -> str:
    """Return the end of a message for a path that is too long for Windows as it is set up by default; empty for others."""
    text = os.path.abspath(path) if system.is_windows() else ""  # noqa: PTH100 - names may hold anything
    if len(text) <= system.LONGEST_PATH or os.fspath(path).startswith("\\\\?\\"):
        return ""
    return (
        f"; its path has {len(text)} characters, and Windows allows {system.LONGEST_PATH}: give a folder with a shorter path, "
        "or enable long paths in Windows"
    )


def patiently(action: Callable[[], T]) -> T:
    """Do something with a file, on Windows again for :data:`PATIENCE_S` while it is held open, or is about to be removed.

    Raises:
        OSError: of the last try.
    """
    started, wait_s = time.monotonic(), _FIRST_WAIT_S
    while True:
        try:
            return action()
        except OSError as error:
            if not held_open(error) or time.monotonic() - started > PATIENCE_S:
                raise
        if wait_s == _FIRST_WAIT_S:
            gc.collect()  # perhaps it is our own: objects in a cycle, such as an error and its frames, keep a file mapped
        time.sleep(wait_s)
        wait_s = min(2 * wait_s, _LONGEST_WAIT_S)


def _make_writable(file: str) -> None:
    """Take the mark "read-only" from a file, which Windows does not remove else; not from one with another name elsewhere."""
    with suppress(OSError):
        state = os.lstat(file)
        if stat.S_ISREG(state.st_mode) and not state.st_mode & stat.S_IWUSR and state.st_nlink == 1:
            os.chmod(file, state.st_mode | stat.S_IWUSR)  # noqa: PTH101
