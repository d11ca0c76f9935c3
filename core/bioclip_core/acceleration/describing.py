"""Runtimes and int8 models as `models info` and `doctor` show them. Nothing is opened or measured."""

from __future__ import annotations

from bioclip_core.acceleration.runtime_choice import (
    LEAST_GAIN,
    has_encoder_of_its_own,
    kept_rates,
    why_not_int8,
    why_not_made,
    why_not_openvino,
)
from bioclip_core.device import RUNTIME_VARIABLE, Compute, preset_runtime
from bioclip_core.models import FoundModel
from bioclip_core.runtimes.quantised import find_quantised, quantised_folder


def runtime_described(found: FoundModel, compute: Compute) -> str:
    """Return the runtime that a new run of a model gets on this machine, with the reason or the measured rates."""
    if has_encoder_of_its_own(found):
        return "the encoder of the model's plugin"
    if reason := why_not_openvino(found, compute.device, compute.precision):
        return f"torch ({reason})"
    if (preset := preset_runtime()) is not None:
        return f"{preset} (set by {RUNTIME_VARIABLE})"
    rates = kept_rates(found, compute)
    if rates is None:
        return "torch or openvino, the faster one: the first run measures both on this machine"
    if not rates["openvino"]:
        return "torch (OpenVINO could not run this model here)"
    best = "openvino" if rates["openvino"] >= LEAST_GAIN * rates["torch"] else "torch"
    return f"{best} (measured in {compute.precision}: {rates['torch']:.1f} images/s with torch, {rates['openvino']:.1f} with OpenVINO)"


def int8_described(found: FoundModel, device: str) -> str:
    """Return the state of a model's int8 model on this machine: its agreement and rates, or the reason why it is not used."""
    if reason := why_not_int8(found, device):
        return f"not used here: {reason}"
    kept, reason = find_quantised(found)
    if kept is None:
        makes = (
            f"not possible: {missing}" if (missing := why_not_made()) else "made from your images by --precision int8"
        )
        return (
            f"the one in the cache is not used, {reason}; a new one is {makes}"
            if reason
            else f"none in the cache; {makes}"
        )
    if not kept.rates_here:
        return f"{kept.described()} ({quantised_folder(found)})"
    is_used = "" if kept.rates["int8"] > kept.rates["other"] else ", so that it is not used"
    return f"{kept.described()}; {kept.rates['int8']:.1f} images/s, {kept.rates['other']:.1f} without{is_used} ({quantised_folder(found)})"
