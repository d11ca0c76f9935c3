"""LoRA on the vision tower: low-rank additions to its matrices are trained, and added to the weights when they are kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bioclip_core.errors import UsageError

if TYPE_CHECKING:
    import torch

# The MLP of open_clip's blocks, and of timm's with its attention. Not nn.MultiheadAttention: peft 0.21 adds to its output
# projection twice in the forward pass (measured), so that merged weights would not be those that were trained.
_TARGETS = r"(.*\.)?(c_fc|c_proj|fc1|fc2|qkv)"
_ADDITION = re.compile(r"^(?P<layer>.+)\.lora_(?P<which>[AB])\.default\.weight$")


def add_low_rank(model: Any, rank: int, alpha: float) -> None:
    """Put additions of ``rank`` beside the matrices of the vision tower's blocks, of no effect yet (Hu et al. 2022).

    Raises:
        UsageError: if the extra ``lora`` is not installed, or the tower has no layer to add to.
    """
    try:
        from peft import inject_adapter_in_model
    except ImportError:
        raise UsageError("method lora needs the extra lora: pip install 'bioclip-plugin[lora]'") from None
    try:
        inject_adapter_in_model(_config(rank, alpha), model.visual)
    except ValueError as error:
        raise UsageError(
            f"method lora: this vision tower ({type(model.visual).__name__}) has no layers that LoRA knows; use --method full"
        ) from error


def _config(rank: int, alpha: float) -> Any:
    from peft import LoraConfig

    # peft says int, and divides by the rank all the same
    return LoraConfig(r=rank, lora_alpha=alpha, target_modules=_TARGETS, lora_dropout=0.0)  # type: ignore[arg-type]


def freeze_all_but_additions(model: Any) -> None:
    """Leave the vision tower's own weights as they are, but for its projection."""
    for name, parameter in model.visual.named_parameters():
        parameter.requires_grad_(".lora_" in name or name == "proj")


def merged(state: Mapping[str, torch.Tensor], rank: int, alpha: float) -> dict[str, torch.Tensor]:
    """A state with additions as the plain model's: each added to its matrix, under the matrix's own name."""
    plain = {name.replace("base_layer.", ""): tensor for name, tensor in state.items() if ".lora_" not in name}
    for name, down_RI in state.items():
        found = _ADDITION.match(name)
        if not found or found["which"] != "A":
            continue
        up_OR = state[f"{found['layer']}.lora_B.default.weight"]
        target = f"{found['layer']}.weight"
        plain[target] = plain[target] + (alpha / rank) * (up_OR @ down_RI)
    return plain
