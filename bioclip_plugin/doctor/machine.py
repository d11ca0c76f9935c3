"""Operating system, Python, processor and memory."""

from __future__ import annotations

import os
import platform
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from bioclip_core.nouns import size_of
from bioclip_core.process import machine, system
from bioclip_plugin.doctor.options import DoctorOptions
from bioclip_plugin.doctor.report import Fact, Finding, Problem

_CPUINFO = Path("/proc/cpuinfo")
_UNITS = ("avx", "avx2", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16", "asimd", "bf16", "sve")
"""Units of processors that decide which builds of torch work, and how fast."""
_WINDOWS_UNITS = {"avx": 39, "avx2": 40, "avx512f": 41}
"""Numbers of processor features, as Windows' IsProcessorFeaturePresent takes them."""
LEAST_MEMORY = 1 << 30
"""Bytes below which even small models fail."""
_LIMIT_S = 5


def look(_options: DoctorOptions) -> Iterator[Finding]:
    """Yield the operating system, Python and the processor."""
    yield Fact("system", _system())
    yield Fact(
        "python", f"{platform.python_version()} ({platform.python_implementation()}, {8 * struct.calcsize('P')} bit)"
    )
    yield Fact("executable", sys.executable or None)
    yield Fact("environment", _kind_of_environment())
    yield Fact("processor", _processor())
    yield Fact("architecture", platform.machine())
    yield Fact("cores", os.cpu_count())
    yield Fact("usable_cores", machine.usable_cores())
    units = units_of_processor()
    yield Fact("units", units)
    yield from _problems(units)


def look_at_memory(_options: DoctorOptions) -> Iterator[Finding]:
    """Yield the memory of the machine, of the container or job, and what is left of it."""
    total, free, limit = machine.machine_bytes(), machine.available_bytes(), machine.limit_bytes()
    yield Fact("total_bytes", total)
    yield Fact("limit_bytes", limit)
    yield Fact("available_bytes", free)
    yield Fact("used_by_this_process_bytes", machine.used_bytes())
    if free is not None and free < LEAST_MEMORY:
        where = "the container or job has" if limit is not None and limit <= total else "the machine has"
        yield Problem(
            "memory.low",
            f"{where} only {size_of(free)} of memory left",
            "opening a model may fail, or the system may end the program without a message",
            "end other programs, give the container or job more memory, or take a smaller --batch-size and fewer --workers",
        )


def units_of_processor() -> list[str] | None:
    """Return the units of this processor that matter; None if the system does not tell."""
    if system.is_windows():
        import ctypes

        with suppress(AttributeError, OSError):
            present = ctypes.windll.kernel32.IsProcessorFeaturePresent  # type: ignore[attr-defined,unused-ignore]
            return [name for name, number in _WINDOWS_UNITS.items() if present(number)]
        return None
    if system.is_macos():
        words = _sysctl("machdep.cpu.features", "machdep.cpu.leaf7_features").lower().replace("avx1.0", "avx").split()
        return [name for name in _UNITS if name in words]
    with suppress(OSError):
        for line in _CPUINFO.read_text("utf-8", "replace").splitlines():
            name, _, flags = line.partition(":")
            if name.strip() in ("flags", "Features"):
                return [unit for unit in _UNITS if unit in flags.split()]
    return None


def _problems(units: list[str] | None) -> Iterator[Problem]:
    if struct.calcsize("P") < 8:
        yield Problem(
            "machine.32-bit",
            "this Python is a 32-bit program",
            "there is no torch for it, and it can use at most 4 GB of memory",
            "install a 64-bit Python, and bioclip-plugin in it",
        )
    if system.is_macos() and _sysctl("sysctl.proc_translated").strip() == "1":
        yield Problem(
            "machine.translated",
            "this Python was built for Intel processors and is translated on an Apple one",
            "it is slow, and new versions of torch do not exist for it",
            "install a Python for arm64",
        )
    if units is not None and "avx2" not in units and platform.machine().lower() in ("x86_64", "amd64"):
        yield Problem(
            "machine.no-avx2",
            f"this processor has no AVX2 ({', '.join(units) or 'no AVX either'})",
            "torch works slowly, or ends with an illegal instruction",
            "if it does, install a build for older processors (docs/install.md)",
            grave=False,
        )


def _system() -> str:
    text = platform.platform()
    with suppress(OSError, AttributeError):
        text = f"{platform.freedesktop_os_release().get('PRETTY_NAME', '')}, {text}".removeprefix(", ")
    return text


def _kind_of_environment() -> str:
    """Return the kind of Python environment, and of the container or job around it."""
    kinds = []
    if (Path(sys.prefix) / "conda-meta").is_dir():
        kinds.append("conda")
    elif sys.prefix != sys.base_prefix:
        kinds.append("venv")
    else:
        kinds.append("the system's own Python")
    if "microsoft" in platform.release().lower():
        kinds.append("WSL")
    for name, kind in (
        ("APPTAINER_NAME", "Apptainer"),
        ("SINGULARITY_NAME", "Singularity"),
        ("SLURM_JOB_ID", "Slurm job"),
    ):
        if os.environ.get(name):
            kinds.append(kind)
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists():
        kinds.append("container")
    return ", ".join(kinds)


def _processor() -> str | None:
    with suppress(OSError):
        for line in _CPUINFO.read_text("utf-8", "replace").splitlines():
            name, _, model = line.partition(":")
            if name.strip() in ("model name", "Model"):
                return model.strip()
    if system.is_macos():
        return _sysctl("machdep.cpu.brand_string").strip() or None
    return os.environ.get("PROCESSOR_IDENTIFIER")


def _sysctl(*names: str) -> str:
    """Return what macOS says of itself, nothing where it does not."""
    with suppress(OSError, subprocess.SubprocessError):
        asked = subprocess.run(
            ["/usr/sbin/sysctl", "-n", *names], capture_output=True, text=True, timeout=_LIMIT_S, check=False
        )
        return asked.stdout
    return ""
