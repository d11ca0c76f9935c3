"""Locks on open files that the system ends with the program: of POSIX, and of Windows, whose locks are on bytes and never shared."""

from __future__ import annotations

import errno
import os
import struct
import tempfile
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from bioclip_core.process import system

_SHARES = 32
"""Bytes of a file on Windows, one of which each sharing program locks; more programs at once are not marked."""


def lock(file: int, *, exclusive: bool) -> bool | None:
    """Lock an open file, or change its lock, without waiting.

    Args:
        file: a descriptor that may be written.
        exclusive: False: others may lock it so too.

    Returns:
        False if another program, or another descriptor, has it locked; None if it cannot be locked, True for a shared lock
        then, since the file alone is the mark.
    """
    locked = _locked_on_windows if system.is_windows() else _locked_on_posix
    try:
        return locked(file, exclusive)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # a file system without locks
        return None if exclusive else True


def why_no_ranges(folder: Path) -> str | None:
    """Return the reason why locks on ranges of a file, which SQLite uses, do not work in a folder; None if they do.

    A file is made there and removed again. Locks between machines cannot be tried by one machine: a file system that is mounted
    with local locks alone (``nolock``, ``local_lock``) passes. On systems whose locks belong to processes, one process cannot
    try them, and they are taken to work; so are those of a system that does not know this kind of call.
    """
    fcntl: Any = None if system.is_windows() else import_module("fcntl")
    if fcntl is None or not hasattr(fcntl, "F_OFD_SETLK"):
        return None
    # struct flock on Linux with 64-bit offsets: type, whence, start, length, process
    range_of_file = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0)
    try:
        with (
            tempfile.NamedTemporaryFile(dir=folder, prefix=".bioclip-lock-") as first,
            Path(first.name).open("rb+") as second,
        ):
            fcntl.fcntl(first.fileno(), fcntl.F_OFD_SETLK, range_of_file)
            try:
                fcntl.fcntl(second.fileno(), fcntl.F_OFD_SETLK, range_of_file)
            except (BlockingIOError, PermissionError):
                return None
            return "two programs can lock one file at once"
    except OSError as error:
        if error.errno == errno.EINVAL:  # older Linux, other kernels that run its programs, macOS
            return None
        return f"a file cannot be locked ({error.strerror or error})"


def _locked_on_posix(file: int, exclusive: bool) -> bool:
    fcntl: Any = import_module("fcntl")
    fcntl.flock(file, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    return True


def _locked_on_windows(file: int, exclusive: bool) -> bool:
    """Lock all bytes, or one that is free. A lock that this descriptor has is in its own way, so it is ended first."""
    msvcrt: Any = import_module("msvcrt")

    def at(byte: int, count: int, mode: int) -> None:
        os.lseek(file, byte, os.SEEK_SET)  # the bytes need not exist
        msvcrt.locking(file, mode, count)

    _end(at, msvcrt.LK_UNLCK)
    if exclusive:
        at(0, _SHARES, msvcrt.LK_NBLCK)
        return True
    for byte in range(_SHARES):
        with suppress(PermissionError):
            at(byte, 1, msvcrt.LK_NBLCK)
            return True
    return False


def _end(at: Callable[[int, int, int], None], mode: int) -> None:
    for byte, count in ((0, _SHARES), *((byte, 1) for byte in range(_SHARES))):
        with suppress(OSError):
            at(byte, count, mode)
