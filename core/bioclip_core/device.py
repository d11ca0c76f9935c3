"""The device that the model runs on and its precision, each chosen with a reason that users can read."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

from bioclip_core.errors import UsageError, first_line
from bioclip_core.process.forks import forked_beside
from bioclip_core.process.imports import importing_torch
from bioclip_core.process.machine import instruction_limit
from bioclip_core.process.system import has_nvidia_driver

log = logging.getLogger("bioclip_plugin.device")

Precision = Literal["fp32", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
"""Precisions of torch."""
INT8 = "int8"
"""Precision of a quantised image tower, which OpenVINO alone runs; captions and the rest stay in fp32."""

Runtime = Literal["torch", "openvino"]
RUNTIMES: tuple[Runtime, ...] = get_args(Runtime)
"""Programs that run the image tower; text towers, training and GPUs have torch."""

_ISA_WITHOUT_BF16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI")
"""Limits of the instruction set that leave no products of bf16: with them torch takes longer in bf16 than in fp32."""

PRECISION_VARIABLE = "BIOCLIP_PRECISION"
"""Environment variable with the precision of a process that neither requests nor recorded one."""
RUNTIME_VARIABLE = "BIOCLIP_RUNTIME"
"""Environment variable with the runtime of a process that neither requests nor recorded one."""


@dataclass(frozen=True, slots=True)
class Compute:
    """A device, a precision, and the reason for them."""

    device: str
    """As torch spells it: ``cpu``, ``cuda``, ``cuda:1``, ``mps``."""
    precision: Precision
    """With ``quantised``, that of the layers that are not."""
    reason: str
    runtime: Runtime = "torch"
    """Program that runs the image tower; encoders of plugins need not look at it."""
    runtime_reason: str = ""
    quantised: str = ""
    """sha256 of the int8 model in the cache that is used; empty for the model itself."""
    text_precision: Precision = "fp32"
    """Precision of open_clip's text tower, which only ``labels build`` lowers."""

    def described(self) -> str:
        """Return one line for users: "cpu, bf16 (this CPU has AMX)"."""
        line = f"{self.device}, {INT8 if self.quantised else self.precision} ({self.reason})"
        why = f" ({self.runtime_reason})" if self.runtime_reason else ""
        return line if self.runtime == "torch" else f"{line}, OpenVINO{why}"


def checked_precision(precision: str, given_as: str = "precision") -> Precision:
    """Return the precision if it is one of the three.

    Args:
        precision: the word.
        given_as: the option or variable that it comes from, for the message.

    Raises:
        UsageError: for any other word.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"{given_as} {precision!r}: allowed are auto, {', '.join(PRECISIONS)}")
    return precision


def choose_compute(
    device: str = "auto",
    precision: str = "auto",
    recorded: Precision | None = None,
    recorded_by: str = "an earlier run in this store",
) -> Compute:
    """Choose the device and the precision.

    Args:
        device: ``auto`` takes CUDA, then mps, then the CPU; anything else is a torch device.
        precision: ``auto`` takes ``recorded`` if given, else that of ``BIOCLIP_PRECISION`` if it is set, else bf16 if the
            device multiplies it natively, else fp32.
        recorded: precision of an earlier run in the same store or folder, so that its features stay comparable.
        recorded_by: the earlier run, for the reason.

    Raises:
        UsageError: if this machine lacks the device, or it does not compute, or the precision is unknown.
    """
    chosen = _device(device)
    if forked_beside("torch"):
        _work_in_child(chosen)
    if chosen != "cpu" and (fault := _fault_of(chosen)):
        if device != "auto":
            raise UsageError(f"device {device!r} does not compute ({fault}); give --device cpu, or mend its driver")
        log.warning("%s does not compute (%s); the CPU is used instead", chosen, fault)
        chosen = "cpu"
    if precision != "auto":
        return Compute(chosen, checked_precision(precision), "as requested")
    preset = preset_precision()
    if recorded is not None:
        ignored = f", not {PRECISION_VARIABLE}={preset}" if preset not in (None, recorded) else ""
        return Compute(chosen, recorded, f"as recorded by {recorded_by}{ignored}")
    if preset is not None:
        return Compute(chosen, preset, f"{PRECISION_VARIABLE} is set")
    return Compute(chosen, *_native_precision(chosen))


def _work_in_child(device: str) -> None:
    """Prepare torch for work in a child of a process that had imported it.

    The threads of torch do not exist in a child, and OpenMP waits for them for ever as soon as it shares out work. With one
    thread it does not; PyTorch's own data loaders do the same.

    Raises:
        UsageError: for a GPU that the parent has used.
    """
    import torch

    if device.startswith("cuda") and getattr(torch.cuda, "_is_in_bad_fork", lambda: False)():
        raise UsageError(
            f"device {device!r} was used before this process was forked, and CUDA cannot be used in it any more: begin "
            "processes with the start method spawn, or give device cpu"
        )
    if torch.get_num_threads() > 1:
        torch.set_num_threads(1)
        log.warning(
            "this process was forked after torch was imported, so torch computes with one thread here; begin processes with "
            "the start method spawn, or fork before anything imports torch, for more"
        )


def preset_precision() -> Precision | None:
    """Return the precision that the environment sets for this process; None without one.

    Raises:
        UsageError: if it is not one of the three.
    """
    word = os.environ.get(PRECISION_VARIABLE, "").strip().lower()
    return None if word in ("", "auto") else checked_precision(word, PRECISION_VARIABLE)


def preset_runtime() -> Runtime | None:
    """Return the runtime that the environment sets for this process; None without one.

    Raises:
        UsageError: if it is not one of those that there are.
    """
    word = os.environ.get(RUNTIME_VARIABLE, "").strip().lower()
    if word in ("", "auto"):
        return None
    for runtime in RUNTIMES:
        if word == runtime:
            return runtime
    raise UsageError(f"{RUNTIME_VARIABLE} {word!r}: allowed are auto, {', '.join(RUNTIMES)}")


def _device(device: str) -> str:
    with importing_torch():
        import torch

    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        if not present["cuda"]:
            _say_unused_driver()
        return next(name for name, is_present in present.items() if is_present)
    try:
        asked = torch.device(device)
    except RuntimeError:
        raise UsageError(f"device {device!r}: allowed are auto, cpu, cuda, cuda:N and mps") from None
    if not present.get(asked.type, False):
        found = ", ".join(name for name, is_present in reversed(present.items()) if is_present)
        raise UsageError(
            f"device {device!r} is not available or not supported; this machine has: {found}. Use --device auto"
        )
    if asked.type == "cuda" and asked.index is not None and asked.index >= torch.cuda.device_count():
        raise UsageError(
            f"device {device!r} is not available; this machine has cuda:0 to cuda:{torch.cuda.device_count() - 1}"
        )
    return "cpu" if asked.type == "cpu" else device  # "cpu:0" is the same device


@cache
def _say_unused_driver() -> None:
    """Say once that a GPU of NVIDIA is not used though it has a driver, unless the user hides it."""
    import torch

    is_hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1")
    if torch.version.cuda and not is_hidden and has_nvidia_driver():
        log.warning(
            "this machine has a driver of NVIDIA, but torch cannot use it (this torch needs one for CUDA %s): another device is used",
            torch.version.cuda,
        )


def _fault_of(device: str) -> str:
    """Return the error of a device that is there and cannot be used; empty if it computes.

    A driver that fails, a GPU that another program has for itself, one that this torch has no kernels for, a full memory.
    """
    import torch

    try:
        torch.ones(2, device=device).add_(1).tolist()
    except RuntimeError as error:
        return first_line(error)
    return ""


def _native_precision(device: str) -> tuple[Precision, str]:
    import torch

    if device.startswith("cuda"):
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16", f"{torch.cuda.get_device_name(device)} multiplies bf16"
        return "fp32", f"{torch.cuda.get_device_name(device)} has no bf16"
    if device != "cpu":
        return "fp32", f"bf16 is not tried on {device}"
    if (limit := instruction_limit()) in _ISA_WITHOUT_BF16:
        return "fp32", f"the instruction set is limited to {limit}, without products of bf16"
    unit = _bf16_unit()
    return ("bf16", f"this CPU has {unit}") if unit else ("fp32", "this CPU has neither AMX nor AVX512-bf16")


def cpu_multiplies_bf16() -> bool:
    """True if torch multiplies bf16 natively on this processor: it has the unit, and may use it."""
    return instruction_limit() not in _ISA_WITHOUT_BF16 and bool(_bf16_unit())


def _bf16_unit() -> str:
    import torch

    for probe, unit in (("_is_amx_tile_supported", "AMX"), ("_is_avx512_bf16_supported", "AVX512-bf16")):
        # A torch without the probe was built for another processor than x86, which lacks the unit too.
        if getattr(torch.cpu, probe, lambda: False)():
            return unit
    return ""
