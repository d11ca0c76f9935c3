"""Memory and cores of the machine and of the job that this process runs in, which the system may limit further (containers, Slurm)."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bioclip_core.process import system

_MB = 1 << 20
_UNKNOWN_MB = 8192  # memory of a machine that does not state it
_GROUPS = Path("/sys/fs/cgroup")
_OF_PROCESS = Path("/proc/self/cgroup")
_MEMINFO = Path("/proc/meminfo")
_STATM = Path("/proc/self/statm")
_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_LOOK_S = 0.01
_ISA_VARIABLES = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")  # the second is oneDNN's older name, which it still reads


@dataclass(frozen=True, slots=True)
class _Group:
    """A control group of this process, or one above it."""

    limit: int
    used: int
    """Bytes in use, without cached files, which the system gives up by itself."""


def usable_cores() -> int | None:
    """Return the cores that this process may use: by its affinity (Slurm, taskset), and by the quota of its container."""
    cores = os.cpu_count()
    with suppress(AttributeError, OSError):
        cores = len(os.sched_getaffinity(0))
    with suppress(OSError, ValueError):
        quota, period = _QUOTA.read_text("ascii").split()
        cores = min(cores or 1, max(1, round(int(quota) / int(period))))  # "max" is not a number: without a quota
    return cores


def machine_bytes() -> int:
    """Return the memory of the machine, or of the container or job if that has a limit."""
    sizes = [_UNKNOWN_MB * _MB]
    if (windows := system.windows_memory()) is not None:
        sizes = [windows[0]]
    with suppress(AttributeError, OSError, ValueError):
        sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    return min(size for size in (*sizes, *(group.limit for group in _groups())) if size > 0)


def limit_bytes() -> int | None:
    """Return the memory that the container or job may use; None without a limit."""
    return min((group.limit for group in _groups() if group.limit > 0), default=None)


def instruction_limit() -> str:
    """Return the limit of the instruction set that oneDNN is given, in torch and in OpenVINO: ``AVX2``, for example; empty without one."""
    return next((os.environ[name].strip().upper() for name in _ISA_VARIABLES if os.environ.get(name)), "")


def address_space_limit() -> int | None:
    """Return the bytes of address space that this process may use (``ulimit -v``); None without a limit, and on Windows."""
    try:
        import resource
    except ImportError:
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def available_bytes() -> int | None:
    """Return the memory that this process can still take without swapping or being killed; None if the system does not tell."""
    free: list[int] = []
    if (windows := system.windows_memory()) is not None:
        free.append(windows[1])
    with suppress(OSError, ValueError, IndexError, StopIteration):
        lines = _MEMINFO.read_text("ascii").splitlines()
        free.append(1024 * int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1]))
    free += [max(0, group.limit - group.used) for group in _groups()]
    return min(free, default=None)


def used_bytes() -> int | None:
    """Return the memory that this process uses now (resident set); None if the system does not tell."""
    with suppress(OSError, ValueError, IndexError, AttributeError):
        return int(_STATM.read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    if (used := system.windows_used_bytes()) is not None:
        return used
    with suppress(ImportError):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if system.is_macos() else peak * 1024
    return None


class PeakMemory:
    """The most memory that this process used while open: a thread looks a hundred times per second."""

    def __init__(self) -> None:
        self.bytes = used_bytes()
        """None if the system does not tell."""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="bioclip-memory", daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._take()

    def _look(self) -> None:
        while not self._ended.wait(_LOOK_S):
            self._take()

    def _take(self) -> None:
        if (now := used_bytes()) is not None:
            self.bytes = max(self.bytes or 0, now)


def _groups() -> Iterator[_Group]:
    """Yield the control groups with a limit of memory that hold this process, of both versions.

    ``/proc/self/cgroup`` names the process's own group; a limit of any group above it holds too. In a container the named
    folder is often not visible, but the one at the root is its own.
    """
    seen: set[Path] = set()
    for place in _folders():
        if place in seen:
            continue
        seen.add(place)
        for limit, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            with suppress(OSError, ValueError):
                most = int((place / limit).read_text("ascii"))  # "max" is not a number: without a limit
                if most < 1 << 60:  # version 1 writes a huge number for "without a limit"
                    yield _Group(most, max(0, int((place / used).read_text("ascii")) - _cached(place)))


def _folders() -> Iterator[Path]:
    roots = {"": _GROUPS, "memory": _GROUPS / "memory"}
    with suppress(OSError, ValueError):
        for line in _OF_PROCESS.read_text("utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            root = next((roots[word] for word in controllers.split(",") if word in roots), None)
            if root is not None:
                parts = [part for part in path.split("/") if part not in ("", "..")]
                yield from (root.joinpath(*parts[:end]) for end in range(len(parts), 0, -1))
    yield from roots.values()


def _cached(place: Path) -> int:
    """Return the bytes of cached files that were not used lately."""
    with suppress(OSError, ValueError):
        for line in (place / "memory.stat").read_text("ascii").splitlines():
            name, _, value = line.partition(" ")
            if name in ("inactive_file", "total_inactive_file"):
                return int(value)
    return 0
