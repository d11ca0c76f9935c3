"""Precision and runtime of a run: those that earlier runs over a store recorded, and the int8 model of the request."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from bioclip_core.acceleration.runtime_choice import has_encoder_of_its_own, why_not_int8, why_not_openvino
from bioclip_core.device import INT8, PRECISIONS, Compute, Precision, Runtime
from bioclip_core.errors import UsageError
from bioclip_core.models import FoundModel
from bioclip_core.runtimes.library import EXTRA, has_nncf, has_openvino, multiplies_int8
from bioclip_core.runtimes.quantised import find_quantised, quantised_folder
from bioclip_plugin.items.request import ClassifyRequest

PROPOSED_FROM = 500
"""Images of a run from which int8 is proposed: calibrating it takes as long as some hundred of them."""

log = logging.getLogger("bioclip_plugin.runtimes")


def precision_of(recorded: Mapping[str, Any]) -> Precision | None:
    """Return torch's precision in settings of features; None without one, and for those of an int8 model."""
    return next((precision for precision in PRECISIONS if recorded.get("precision") == precision), None)


def runtime_of(recorded: Mapping[str, Any]) -> Runtime | None:
    """Return the runtime that features depend on; None if they depend on none, as in fp32."""
    if not recorded or recorded.get("precision") == "fp32":
        return None
    return "openvino" if recorded.get("runtime") == "openvino" else "torch"


def kept_settings(
    recorded: Sequence[Mapping[str, Any]], request: ClassifyRequest, model: FoundModel, *, encodes: bool
) -> Mapping[str, Any]:
    """Return the feature settings of the newest earlier run that the request allows to continue; empty without one.

    Args:
        recorded: feature settings with the same weights and preprocessing, the newest first.
        request: what is asked for.
        model: the model.
        encodes: leave out settings that this machine cannot encode with, each with a line.
    """
    for settings in recorded:
        if not _is_allowed(settings, request):
            continue
        reason = _why_not_here(settings, request, model) if encodes else ""
        if not reason:
            return settings
        log.warning(
            "Earlier images of this store were encoded in %s with OpenVINO, which is not possible here: %s; they are encoded "
            "again",
            settings.get("precision"),
            reason,
        )
    return {}


def _is_allowed(settings: Mapping[str, Any], request: ClassifyRequest) -> bool:
    if request.precision not in ("auto", settings.get("precision")):
        return False
    return request.runtime == "auto" or runtime_of(settings) in (None, request.runtime)


def _why_not_here(settings: Mapping[str, Any], request: ClassifyRequest, model: FoundModel) -> str:
    if settings.get("runtime") != "openvino":
        return ""
    device = "cpu" if request.device == "auto" else request.device
    if settings.get("precision") != INT8:
        return why_not_openvino(model, device)
    if reason := why_not_int8(model, device):
        return reason
    kept, reason = find_quantised(model)
    if kept is not None and kept.sha256 == settings.get("quantised"):
        return ""
    return reason or f"the cache has {'another' if kept is not None else 'no'} int8 model of this checkpoint"


def int8_proposal(model: FoundModel, device: str, precision: str, images: int) -> str:
    """Return one line that proposes int8 after many images were encoded without it; empty where it is of no use.

    Args:
        model: the model that encoded them.
        device: its device.
        precision: its precision.
        images: number of images of the run.
    """
    if images < PROPOSED_FROM or precision == INT8 or device != "cpu" or has_encoder_of_its_own(model):
        return ""
    if not multiplies_int8():
        return ""
    kept, _ = find_quantised(model)
    if kept is not None and kept.rates_here:
        gain = kept.rates["int8"] / kept.rates["other"]
        return (
            f"--precision int8 encodes {gain:.1f} times as fast here, with other features: {kept.described()}"
            if gain > 1
            else ""
        )
    needs = "" if has_openvino() and has_nncf() else f" (needs {EXTRA})"
    return (
        f"This processor multiplies int8, and --precision int8{needs} may encode faster: it measures its rate and how far its answers "
        "agree on your images, and is not used where it is slower (docs/speed.md)"
    )


def chosen_int8(model: FoundModel, compute: Compute) -> str:
    """Return the sha256 of the int8 model in the cache; empty, with a line, if int8 is of no use here.

    Raises:
        UsageError: if there is none that can be used, and :func:`~bioclip_plugin.running.calibrating.with_int8_model` was not
            given images to make one.
    """
    if reason := why_not_int8(model, compute.device):
        log.warning("precision int8 is not used: %s; the images are encoded in %s", reason, compute.precision)
        return ""
    kept, reason = find_quantised(model)
    if kept is None:
        raise UsageError(
            f"precision int8: the cache has no int8 model of {model.name} that can be used{f' ({reason})' if reason else ''}; it is "
            "made from images of yours: run `classify` or `embed` with --precision int8 on some, or call Session.calibrate(images)"
        )
    if kept.rates_here and kept.rates["int8"] <= kept.rates["other"]:
        log.warning(
            "precision int8 is not used: it encodes %.1f images/s on this machine, and %.1f without; the images are encoded "
            "in %s. If other programs slowed it down when it was measured, delete %s and give the command again",
            kept.rates["int8"], kept.rates["other"], compute.precision, quantised_folder(model),
        )  # fmt: skip
        return ""
    log.info("Using the %s", kept.described())
    return kept.sha256
