"""Locks on open files that the system ends with the program: of POSIX, and of Windows, whose locks are on bytes and never shared."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
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
