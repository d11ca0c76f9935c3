"""LoRA on the vision tower: low-rank additions to its matrices are trained, and merged into the weights that are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from bioclip_core.errors import BioclipError, UsageError
from bioclip_core.process.quiet import importing, quiet

# The MLP of open_clip's blocks, and of timm's with its attention. Not nn.MultiheadAttention: peft 0.21 adds to its output
# projection twice in the forward pass (measured), so that merged weights would differ from the trained ones.
_TARGETS = r"(.*\.)?(c_fc|c_proj|fc1|fc2|qkv)"
_DOWN, _UP = ".lora_A.default.weight", ".lora_B.default.weight"


def add_low_rank(model: Any, rank: int, alpha: float, *, seed: int) -> None:
    """Put additions of ``rank`` beside the matrices of the vision tower's blocks, without effect yet (Hu et al. 2022).

    Args:
        model: the open_clip model.
        rank: of the additions.
        alpha: their scale, divided by the rank.
        seed: of their random halves.

    Raises:
        BioclipError: if the extra ``lora`` is not installed.
        UsageError: if the tower lacks a layer to add to.
    """
    try:
        with importing():
            from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise BioclipError("method lora needs the extra lora: pip install 'bioclip-plugin[lora]'") from None
    # peft types alpha as int, but divides it by the rank as any number
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=_TARGETS, lora_dropout=0.0)  # type: ignore[arg-type]
    torch.manual_seed(seed)
    try:
        with quiet():
            inject_adapter_in_model(config, model.visual)
    except ValueError as error:
        raise UsageError(
            f"method lora: this vision tower ({type(model.visual).__name__}) has no layers that LoRA knows; use --method full"
        ) from error


def freeze_all_but_additions(model: Any) -> None:
    """Freeze the vision tower's own weights, its projection excepted."""
    for name, parameter in model.visual.named_parameters():
        parameter.requires_grad_(".lora_" in name or name == "proj")


def merged(state: Mapping[str, torch.Tensor], rank: int, alpha: float) -> dict[str, torch.Tensor]:
    """Return a state without additions: each is added to its matrix, under the matrix's own name."""
    plain = {name.replace("base_layer.", ""): tensor for name, tensor in state.items() if ".lora_" not in name}
    for name, down_RI in state.items():
        if name.endswith(_DOWN):
            layer = name.removesuffix(_DOWN)
            plain[f"{layer}.weight"] = plain[f"{layer}.weight"] + (alpha / rank) * (state[layer + _UP] @ down_RI)
    return plain
