"""Where the model runs and in which precision, chosen with a reason that is said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from bioclip_core.errors import UsageError

Precision = Literal["fp32", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@dataclass(frozen=True, slots=True)
class Compute:
    """A device, a precision, and why."""

    device: str
    """As torch spells it: ``cpu``, ``cuda``, ``cuda:1``, ``mps``."""
    precision: Precision
    reason: str

    def described(self) -> str:
        """One line for people: "cpu, bf16 (this CPU has AMX)"."""
        return f"{self.device}, {self.precision} ({self.reason})"


def checked_precision(precision: str) -> Precision:
    """The same word, if it is one of the three.

    Raises:
        UsageError: for any other word.
    """
    for known in PRECISIONS:
        if precision == known:
            return known
    raise UsageError(f"precision {precision!r}: allowed are auto, {', '.join(PRECISIONS)}")


def choose_compute(device: str = "auto", precision: str = "auto", recorded: Precision | None = None) -> Compute:
    """Choose the device and the precision.

    Args:
        device: ``auto`` takes CUDA, then mps, then the CPU; anything else is a torch device.
        precision: ``auto`` takes ``recorded`` if there is one, else bf16 where the device multiplies it natively, else fp32.
        recorded: what an earlier run over the same store used, so that its features stay comparable.

    Raises:
        UsageError: if the device is not there or the precision is unknown.
    """
    chosen_device, device_reason = _device(device)
    if precision != "auto":
        return Compute(chosen_device, checked_precision(precision), "as asked for")
    if recorded is not None:
        return Compute(chosen_device, recorded, "as recorded by an earlier run in this store")
    chosen, reason = _native_precision(chosen_device)
    return Compute(chosen_device, chosen, f"{device_reason}{reason}")


def _device(device: str) -> tuple[str, str]:
    import torch

    if device == "auto":
        if torch.cuda.is_available():
            return "cuda", ""
        return ("mps", "") if torch.backends.mps.is_available() else ("cpu", "")
    try:
        kind = torch.device(device).type
    except RuntimeError:
        raise UsageError(f"device {device!r}: allowed are auto, cpu, cuda, cuda:N and mps") from None
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(kind, False):
        found = ", ".join(name for name, is_there in there.items() if is_there)
        raise UsageError(
            f"device {device!r} is not there or not supported; this machine has: {found}. Use --device auto"
        )
    index = torch.device(device).index
    if kind == "cuda" and index is not None and index >= torch.cuda.device_count():
        raise UsageError(
            f"device {device!r} is not there; this machine has cuda:0 to cuda:{torch.cuda.device_count() - 1}"
        )
    return "cpu" if kind == "cpu" else device, ""  # "cpu:0" is the same place


def _native_precision(device: str) -> tuple[Precision, str]:
    import torch

    if device.startswith("cuda"):
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16", f"{torch.cuda.get_device_name(device)} multiplies bf16"
        return "fp32", f"{torch.cuda.get_device_name(device)} has no bf16"
    if device == "cpu":
        if _cpu_has("_is_amx_tile_supported"):
            return "bf16", "this CPU has AMX"
        if _cpu_has("_is_avx512_bf16_supported"):
            return "bf16", "this CPU has AVX512-bf16"
        return "fp32", "this CPU has neither AMX nor AVX512-bf16"
    return "fp32", f"bf16 is not tried on {device}"


def _cpu_has(probe: str) -> bool:
    """Ask torch, which asks the processor; a torch without the probe (not x86) has not got the unit either."""
    import torch

    answer = getattr(torch.cpu, probe, None)
    return bool(answer and answer())
