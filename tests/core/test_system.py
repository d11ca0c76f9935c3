"""Calls of Windows, with the answers that Windows documents."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

import pytest

from bioclip_core.files import leftovers
from bioclip_core.process import system
from bioclip_core.process.machine import available_bytes, machine_bytes, used_bytes

GB = 1 << 30


class Kernel32:
    """The functions of Windows that are called: process 4 is of the system, 10 runs, 11 has ended but is still known."""

    def __init__(self) -> None:
        self.closed: list[int] = []

    def OpenProcess(self, wanted: int, _inherit: bool, pid: int) -> int | None:  # noqa: N802
        assert wanted == 0x1000
        return pid if pid in (10, 11) else None

    def GetExitCodeProcess(self, handle: int, code: Any) -> int:  # noqa: N802
        code._obj.value = {10: 259, 11: 1}[handle]
        return 1

    def CloseHandle(self, handle: int) -> int:  # noqa: N802
        self.closed.append(handle)
        return 1

    def GlobalMemoryStatusEx(self, status: Any) -> int:  # noqa: N802
        assert status._obj.size == 64  # of MEMORYSTATUSEX
        status._obj.total, status._obj.available = 16 * GB, 5 * GB
        return 1

    def GetCurrentProcess(self) -> int:  # noqa: N802
        return 2**64 - 1

    def K32GetProcessMemoryInfo(self, _process: int, counters: Any, size: int) -> int:  # noqa: N802
        assert size == 72  # of PROCESS_MEMORY_COUNTERS with pointers of 8 bytes
        counters._obj.peak, counters._obj.used = 3 * GB, 2 * GB
        return 1

    def GetDriveTypeW(self, root: str) -> int:  # noqa: N802
        return {"C:\\": 3, "Z:\\": 4}[root]


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel32:
    made = Kernel32()
    monkeypatch.setattr(system, "is_windows", lambda: True)
    monkeypatch.setattr(system, "_kernel32", lambda: made)
    monkeypatch.setattr(system, "_last_error", lambda: 87)
    return made


def test_a_process_of_windows_runs_until_it_has_an_exit_code(kernel: Kernel32) -> None:
    assert [system.is_running(pid) for pid in (10, 11, 12)] == [True, False, False]
    assert kernel.closed == [10, 11]


def test_a_process_that_may_not_be_asked_counts_as_running(kernel: Kernel32, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "_last_error", lambda: 5)
    assert system.is_running(4)


def test_a_system_without_these_calls_leaves_every_process_running(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "is_windows", lambda: True)
    assert not hasattr(ctypes, "WinDLL")
    assert system.is_running(10)
    assert system.windows_memory() is None
    assert not system.is_network_drive("Z:\\")


@pytest.mark.usefixtures("kernel")
def test_files_of_a_killed_program_are_known_on_windows_too() -> None:
    marks = [leftovers.mark().rpartition("-")[0] + f"-{pid}" for pid in (10, 12)]
    assert [leftovers.is_of_killed(mark) for mark in marks] == [False, True]


@pytest.mark.usefixtures("kernel")
def test_memory_is_that_of_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    assert system.windows_memory() == (16 * GB, 5 * GB)
    assert system.windows_used_bytes() == 2 * GB
    monkeypatch.setattr("bioclip_core.process.machine._groups", lambda: iter(()))
    monkeypatch.delattr(os, "sysconf")
    assert machine_bytes() == 16 * GB
    monkeypatch.setattr("bioclip_core.process.machine._MEMINFO", Path("no such file"))
    assert available_bytes() == 5 * GB
    assert used_bytes() == 2 * GB


@pytest.mark.usefixtures("kernel")
def test_a_drive_letter_of_a_share_is_known() -> None:
    assert [system.is_network_drive(root) for root in ("C:\\", "Z:\\")] == [False, True]
