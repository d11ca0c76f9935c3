"""Description of the machine behind a figure: processor, matrix instructions, versions, commit, and arithmetic ceiling."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

_PACKAGES = ("torch", "open_clip_torch", "openvino", "nncf", "pillow", "numpy", "sqlalchemy")
_REPOSITORY = Path(__file__).parent.parent


def describe() -> dict[str, Any]:
    """Return the facts that a reader needs to compare figures, without the name of the host or its paths."""
    import torch

    flags = cpu_flags()
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "avx2": "avx2" in flags,
        "avx512f": "avx512f" in flags,
        "avx512_bf16": "avx512_bf16" in flags,
        "avx512_vnni": "avx512_vnni" in flags or "avx_vnni" in flags,
        "amx_bf16": has_amx(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def peak_bytes() -> int:
    """Return the highest memory of this program (resident set).

    ``ru_maxrss`` is not it: on Linux that begins with the memory of the process that started the program.
    """
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text("ascii").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def forget_peak() -> None:
    """Let :func:`peak_bytes` begin anew; without effect on other systems than Linux."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def commit() -> str:
    """Return the short name of the commit, with ``+`` if the working tree differs from it."""
    try:
        name = _git("describe", "--always", "--abbrev=10", "--exclude=*")
        # The results that a run writes do not change the program.
        changed = _git("status", "--porcelain", "--", ".", ":!benchmarks/results", ":!benchmarks/RESULTS*.md")
        return name + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unversioned"


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(_REPOSITORY), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def cpu_flags() -> frozenset[str]:
    """Return the processor's features by their Linux names; empty on other systems."""
    return frozenset(_cpuinfo("flags").split())


def has_amx() -> bool:
    """Return True if torch can multiply bf16 and int8 in AMX tiles here: the targets of the end-to-end suites assume it."""
    import torch

    return bool(getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)())


SHAPES = ((768, 2304), (768, 768), (768, 3072), (3072, 768))
"""Inputs and outputs of the four matrix products of a ViT-B/16 layer."""
TOKENS = 197  # of an image of 224 px


def product_gflops(number: str, *, images: int = 16, samples: int = 5) -> list[float]:
    """Return the rate of one layer's products of ``images`` images, in 10⁹ operations per second, several times.

    Args:
        number: ``fp32``, ``bf16`` or ``int8`` (with 32-bit sums, without the scaling of a quantised model).
    """
    import torch

    rows = images * TOKENS
    operations = 2e-9 * rows * sum(width * height for width, height in SHAPES)
    layer = [_product(number, rows, width, height) for width, height in SHAPES]
    rates = []
    with torch.inference_mode():
        for _ in range(samples + 1):
            started = time.perf_counter()
            for product in layer:
                product()
            rates.append(operations / (time.perf_counter() - started))
    return rates[1:]  # the first one prepares kernels and memory


def _product(number: str, rows: int, width: int, height: int) -> Callable[[], object]:
    import torch

    if number == "int8":
        left, right = (torch.randint(-127, 128, size, dtype=torch.int8) for size in ((rows, width), (height, width)))
        return lambda: torch._int_mm(left, right.t())
    dtype = torch.bfloat16 if number == "bf16" else torch.float32
    inputs, weight = torch.randn(rows, width).to(dtype), torch.randn(height, width).to(dtype)
    return lambda: torch.nn.functional.linear(inputs, weight)


def copy_gb_s(*, megabytes: int = 256, samples: int = 5) -> list[float]:
    """Return the rate of a memory copy in 10⁹ bytes per second (each read once and written once), several times."""
    source = np.ones(megabytes * 2**20, np.uint8)
    target = np.zeros_like(source)
    rates = []
    for _ in range(samples):
        started = time.perf_counter()
        np.copyto(target, source)
        rates.append(source.nbytes / 1e9 / (time.perf_counter() - started))
    return rates


def _processor() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpuinfo(key: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next(
        (line.partition(":")[2].strip() for line in lines if line.split("\t")[0].split(":")[0].strip() == key), ""
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"
