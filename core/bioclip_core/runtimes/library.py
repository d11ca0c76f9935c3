"""OpenVINO as a guest of the process: imported quietly, and without the statistics that it sends by itself."""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bioclip_core.errors import InstallationError, first_line, raise_if_of_host
from bioclip_core.process import system
from bioclip_core.process.machine import instruction_limit
from bioclip_core.process.quiet import importing

EXTRA = 'pip install "bioclip-plugin[openvino]"'
TELEMETRY = "openvino_telemetry"
"""Package that sends statistics; OpenVINO uses a stub of it where it is missing."""
_CPUINFO = Path("/proc/cpuinfo")
_ISA_WITHOUT_INT8 = ("SSE41", "AVX", "AVX2", "AVX512_CORE")
"""Limits of the instruction set that leave no sums of int8 products (VNNI)."""
_INT8_UNITS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "i8mm"})
_one_import = threading.RLock()


def has_openvino() -> bool:
    """True if OpenVINO is installed; it is not imported."""
    return _is_installed("openvino")


def has_nncf() -> bool:
    """True if NNCF, which makes int8 models, is installed; it is not imported."""
    return _is_installed("nncf")


def _is_installed(package: str) -> bool:
    if package in sys.modules:
        return sys.modules[package] is not None
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def version_of(package: str) -> str:
    """Return the version of an installed package; empty without one."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


@contextmanager
def importing_openvino() -> Iterator[None]:
    """Import OpenVINO quietly, and without its telemetry.

    OpenVINO reports its own import in a thread of its own, before any call could refuse. Where the host has imported it
    already, nothing is imported any more, and the host's choice stays.

    Raises:
        InstallationError: if it is missing or damaged.
    """
    with _one_import, importing():
        before, was_there = sys.modules.get(TELEMETRY), TELEMETRY in sys.modules
        if "openvino" not in sys.modules:
            sys.modules[TELEMETRY] = None  # type: ignore[assignment]  # "not installed", as the import system spells it
        try:
            yield
        except Exception as error:
            raise_if_of_host(error)
            raise InstallationError(
                f"openvino cannot be imported: {first_line(error)}; install it again: {EXTRA}"
            ) from error
        finally:
            if was_there:
                sys.modules[TELEMETRY] = before  # type: ignore[assignment]
            else:
                sys.modules.pop(TELEMETRY, None)


def openvino() -> Any:
    """Return the imported package.

    Raises:
        InstallationError: if it is missing or damaged.
    """
    with importing_openvino():
        import openvino as package
        import openvino.frontend.pytorch.ts_decoder  # so that it is imported quietly too
    return package


def multiplies_int8() -> bool | None:
    """True if this processor sums products of int8 (VNNI, AMX or i8mm); None if the system does not tell.

    Without it int8 is slower than fp32, and sums of products saturate, so that features differ from those of other
    processors.
    """
    if instruction_limit() in _ISA_WITHOUT_INT8:
        return False
    units = _units()
    if units is not None:
        return not _INT8_UNITS.isdisjoint(units)
    return _torch_says_vnni()


@cache
def _units() -> frozenset[str] | None:
    if system.is_windows() or system.is_macos():
        return None
    with suppress(OSError):
        for line in _CPUINFO.read_text("utf-8", "replace").splitlines():
            name, _, flags = line.partition(":")
            if name.strip() in ("flags", "Features"):
                return frozenset(flags.split())
    return None


def _torch_says_vnni() -> bool | None:
    import torch

    probes = [getattr(torch.cpu, name, None) for name in ("_is_vnni_supported", "_is_avx512_vnni_supported")]
    said = [bool(probe()) for probe in probes if probe is not None]
    return any(said) if said else None


@cache
def processor() -> str:
    """Return the processor's name as far as the system tells it, with its instruction set."""
    import platform

    with suppress(OSError):
        for line in _CPUINFO.read_text("utf-8", "replace").splitlines():
            name, _, text = line.partition(":")
            if name.strip() == "model name":
                return text.strip()
    return platform.processor() or platform.machine()
