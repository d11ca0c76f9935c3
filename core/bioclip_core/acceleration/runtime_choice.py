"""The runtime of an image tower: as requested, as recorded, as measured on this machine; every other outcome is one line."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from bioclip_core.acceleration.measuring import rates_of
from bioclip_core.device import Compute, Runtime, preset_runtime
from bioclip_core.encoder import Encoder
from bioclip_core.errors import BioclipError
from bioclip_core.identity import CACHE_VARIABLE, read_cache, settings_id, user_cache, write_cache
from bioclip_core.models import FoundModel
from bioclip_core.open_clip_encoder import OpenClipEncoder
from bioclip_core.process.machine import available_bytes
from bioclip_core.runtimes.converted import forget_converted
from bioclip_core.runtimes.library import EXTRA, has_nncf, has_openvino, multiplies_int8, processor, version_of

log = logging.getLogger("bioclip_plugin.runtimes")

LEAST_GAIN = 1.1
"""Rate of OpenVINO over torch from which it is chosen: a smaller one is within the noise, and costs memory."""
_COPIES = 4
"""Copies of the weights in memory while two runtimes are measured."""


def has_encoder_of_its_own(found: FoundModel) -> bool:
    """True if a plugin encodes for a model, however it likes."""
    return found.entry is not None and found.entry.open_encoder is not None


def why_not_openvino(found: FoundModel, device: str, precision: str = "fp32") -> str:
    """Return the reason why OpenVINO cannot run a model here, without importing it; empty if nothing speaks against it."""
    if has_encoder_of_its_own(found):
        return f"the model {found.name} has an encoder of its own, to which runtimes do not apply"
    if not has_openvino():
        return f"OpenVINO is not installed ({EXTRA})"
    if device != "cpu":
        return f"OpenVINO runs on the CPU here, and the device is {device}"
    return f"OpenVINO has no {precision} on the CPU" if precision == "fp16" else ""


def why_not_int8(found: FoundModel, device: str) -> str:
    """Return the reason why an int8 model is not used here; empty if nothing speaks against it."""
    if reason := why_not_openvino(found, device):
        return reason
    if multiplies_int8() is False:
        return "this processor has no sums of int8 products (VNNI), so that int8 would be slower and less exact"
    return ""


def why_not_made() -> str:
    """Return the reason why no int8 model can be made here; empty if nothing speaks against it."""
    return "" if has_nncf() else f"NNCF, which makes int8 models, is not installed ({EXTRA})"


def choose_runtime(
    found: FoundModel, compute: Compute, asked: str = "auto", recorded: Runtime | None = None
) -> tuple[Compute, Encoder | None]:
    """Return the compute with its runtime, and the encoder if it was opened for the choice.

    Args:
        found: the model.
        compute: its device and precision.
        asked: ``auto`` takes ``recorded`` if given, else that of ``BIOCLIP_RUNTIME`` if it is set, else the fastest one.
        recorded: runtime of an earlier run in the same store, so that its features stay comparable.
    """
    preset = preset_runtime() if asked == "auto" and recorded is None else None
    wanted = recorded or preset or asked
    if wanted == "torch":
        return compute, None
    if reason := why_not_openvino(found, compute.device, compute.precision):
        if wanted == "openvino":
            log.warning("%s: %s", reason, _instead(found, compute))
        return compute, None
    if wanted == "auto":
        return _fastest(found, compute)
    why = "as recorded by an earlier run in this store" if recorded else "as requested"
    chosen = replace(compute, runtime="openvino", runtime_reason=why)
    try:
        # Opened now: a failure after the first features are stored would come too late.
        return chosen, OpenClipEncoder(found, chosen)
    except BioclipError as error:
        log.warning("%s: %s", error, _instead(found, compute))
        return compute, None


def _instead(found: FoundModel, compute: Compute) -> str:
    if has_encoder_of_its_own(found):
        return "it encodes as ever"
    return f"torch encodes instead, in {compute.precision}"


def _fastest(found: FoundModel, compute: Compute) -> tuple[Compute, Encoder | None]:
    """Return the runtime that this machine was found to be fastest with; measure it if that was never done."""
    rates, opened = kept_rates(found, compute), dict[str, Encoder]()
    if rates is None:
        weights = found.weights.stat().st_size if found.weights else 0
        free = available_bytes()
        if free is not None and free < _COPIES * weights:
            log.info("Memory is short, so OpenVINO is not tried this time; torch encodes, in %s", compute.precision)
            return compute, None
        log.info("Measuring torch and OpenVINO for %s, once on this machine (a few seconds)", found.name)
        opened = {"torch": OpenClipEncoder(found, compute)}
        rates = _measured(found, compute, opened)
        if not write_cache(_book(), {**read_cache(_book()), _situation(found, compute): rates}):
            log.warning(
                "The rates cannot be kept in %s, so the next run measures again; set %s to a folder of your own, or give --runtime",
                _book(), CACHE_VARIABLE,
            )  # fmt: skip
    if rates["openvino"] < LEAST_GAIN * rates["torch"]:
        if opened:
            forget_converted(found)
        return compute, opened.get("torch")
    why = f"{rates['openvino'] / rates['torch']:.1f} times as fast as torch here"
    return replace(compute, runtime="openvino", runtime_reason=why), opened.get("openvino")


def kept_rates(found: FoundModel, compute: Compute) -> dict[str, float] | None:
    """Return images per second by runtime, as measured in this situation; None if that was never done.

    OpenVINO has the rate 0 where it cannot run the model.
    """
    rates: Any = read_cache(_book()).get(_situation(found, compute))
    return rates if _are_rates(rates) else None


def _measured(found: FoundModel, compute: Compute, opened: dict[str, Encoder]) -> dict[str, float]:
    """Return the rates of both; OpenVINO has the rate 0 where it cannot run the model."""
    try:
        opened["openvino"] = OpenClipEncoder(found, replace(compute, runtime="openvino"))
        ways = {name: encoder.encode_images for name, encoder in opened.items()}
        rates = rates_of(ways, found.preprocessing.size)
    except BioclipError as error:
        log.warning("%s: torch encodes instead, here and in later runs", error)
        return {"torch": 1.0, "openvino": 0.0}
    best = "OpenVINO" if rates["openvino"] >= LEAST_GAIN * rates["torch"] else "torch"
    log.info(
        "Measured %.1f images/s with torch and %.1f with OpenVINO, in %s: %s is used",
        rates["torch"], rates["openvino"], compute.precision, best,
    )  # fmt: skip
    return {name: round(rate, 2) for name, rate in rates.items()}


def _are_rates(rates: Any) -> bool:
    if not isinstance(rates, dict):
        return False
    numbers = [rates.get(name) for name in ("torch", "openvino")]
    return all(isinstance(number, (int, float)) and number >= 0 for number in numbers) and rates["torch"] > 0


def _situation(found: FoundModel, compute: Compute) -> str:
    """Return an id of what decides the rates: another one is measured again."""
    import torch

    return settings_id(
        {
            "weights_sha256": found.weights_sha256,
            "size": found.preprocessing.size,
            "precision": compute.precision,
            "processor": processor(),
            "threads": torch.get_num_threads(),
            "limits": {name: os.environ.get(name, "") for name in ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY")},
            "versions": {name: version_of(name) for name in ("torch", "openvino")},
        }
    )


def _book() -> Path:
    return user_cache() / "runtimes.json"
