"""Facts of the operating system that Python does not tell in one way: the system itself, processes, memory, kinds of drives."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

_QUERY = 0x1000  # PROCESS_QUERY_LIMITED_INFORMATION
_STILL_ACTIVE = 259
_NO_SUCH_PROCESS = 87  # ERROR_INVALID_PARAMETER
_REMOTE = 4  # DRIVE_REMOTE

LONGEST_PATH = 259
"""Characters of a path on Windows, unless long paths are enabled there."""


def is_windows() -> bool:
    """True on Windows."""
    return os.name == "nt"


def is_macos() -> bool:
    """True on macOS."""
    return sys.platform == "darwin"


def is_running(pid: int) -> bool:
    """True if a process of this number exists; in doubt True."""
    if is_windows():  # signal 0 is one that ends processes there
        return _is_running_on_windows(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _is_running_on_windows(pid: int) -> bool:
    try:
        kernel = _kernel32()
        handle = kernel.OpenProcess(_QUERY, False, pid)
        if not handle:
            return bool(_last_error() != _NO_SUCH_PROCESS)
        try:
            code = ctypes.c_uint32()
            known = kernel.GetExitCodeProcess(handle, ctypes.byref(code))
            return not known or code.value == _STILL_ACTIVE
        finally:
            kernel.CloseHandle(handle)
    except (AttributeError, OSError, ctypes.ArgumentError):
        return True


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX of Windows."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        *((name, ctypes.c_ulonglong) for name in ("total", "available", "f1", "f2", "f3", "f4", "f5")),
    )


class _ProcessMemory(ctypes.Structure):
    """PROCESS_MEMORY_COUNTERS of Windows."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("faults", ctypes.c_uint32),
        *((name, ctypes.c_size_t) for name in ("peak", "used", "p1", "p2", "p3", "p4", "p5", "p6")),
    )


def windows_memory() -> tuple[int, int] | None:
    """Return the bytes of memory of this machine and those that are free; None if it is not a Windows machine."""
    with suppress(AttributeError, OSError):
        status = _MemoryStatus(size=ctypes.sizeof(_MemoryStatus))
        if is_windows() and _kernel32().GlobalMemoryStatusEx(ctypes.byref(status)):
            return int(status.total), int(status.available)
    return None


def windows_used_bytes() -> int | None:
    """Return the memory that this process uses now (working set); None if this is not Windows."""
    with suppress(AttributeError, OSError):
        counters = _ProcessMemory(size=ctypes.sizeof(_ProcessMemory))
        if is_windows():
            kernel = _kernel32()
            if kernel.K32GetProcessMemoryInfo(kernel.GetCurrentProcess(), ctypes.byref(counters), counters.size):
                return int(counters.used)
    return None


def is_network_drive(root: str) -> bool:
    r"""True for the root of a drive (``Z:\``) that Windows connects to a share."""
    with suppress(AttributeError, OSError):
        return is_windows() and _kernel32().GetDriveTypeW(root) == _REMOTE
    return False


@cache
def _kernel32() -> Any:
    """Return the functions of Windows, with the types of handles: an int would cut them."""
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined,unused-ignore]
    handle, number = ctypes.c_void_p, ctypes.c_uint32
    kernel.OpenProcess.restype = kernel.GetCurrentProcess.restype = handle
    kernel.OpenProcess.argtypes = (number, ctypes.c_int, number)
    kernel.GetExitCodeProcess.argtypes = (handle, ctypes.c_void_p)
    kernel.CloseHandle.argtypes = (handle,)
    kernel.GlobalMemoryStatusEx.argtypes = (ctypes.c_void_p,)
    kernel.K32GetProcessMemoryInfo.argtypes = (handle, ctypes.c_void_p, number)
    kernel.GetDriveTypeW.argtypes = (ctypes.c_wchar_p,)
    return kernel


def _last_error() -> int:
    return int(ctypes.get_last_error())  # type: ignore[attr-defined,unused-ignore]


def has_nvidia_driver() -> bool:
    """Return True if this machine has a driver of NVIDIA, whether torch can use it or not."""
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None
