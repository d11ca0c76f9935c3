"""Description of the machine behind a figure: processor, matrix instructions, versions, commit, and arithmetic ceiling."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = ("torch", "open_clip_torch", "pillow", "numpy", "sqlalchemy")
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
        "amx_bf16": "amx_bf16" in flags,
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def commit() -> str:
    """Return the short name of the commit, with ``+`` if the working tree differs from it."""
    try:
        command = ["git", "-C", str(_REPOSITORY), "describe", "--always", "--dirty=+", "--abbrev=10", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unversioned"


def cpu_flags() -> frozenset[str]:
    """Return the processor's features by their Linux names; empty on other systems."""
    return frozenset(_cpuinfo("flags").split())


def gemm_gflops(dtype_name: str, *, images: int = 16, repeats: int = 5) -> float:
    """Return the best rate of the four matrix products of a ViT-B/16 layer, in 10⁹ floating-point operations per second."""
    import torch

    dtype = getattr(torch, dtype_name)
    tokens = images * 197
    best = 0.0
    for columns, rows in ((768, 2304), (768, 768), (768, 3072), (3072, 768)):
        inputs, weight = torch.randn(tokens, columns).to(dtype), torch.randn(rows, columns).to(dtype)
        with torch.inference_mode():
            torch.nn.functional.linear(inputs, weight)
            for _ in range(repeats):
                started = time.perf_counter()
                torch.nn.functional.linear(inputs, weight)
                best = max(best, 2e-9 * tokens * rows * columns / (time.perf_counter() - started))
    return best


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
