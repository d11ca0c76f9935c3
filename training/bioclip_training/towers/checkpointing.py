"""Gradient checkpointing of towers that use their own forward pass: switched on, or known not to exist."""

from __future__ import annotations

from typing import Any

from torch import nn

from bioclip_core.process.quiet import quiet

_FLAGS = ("grad_checkpointing", "gradient_checkpointing")  # of open_clip and timm, and of transformers


def set_checkpointing(tower: nn.Module, enable: bool) -> bool:
    """Let a tower compute its activations twice in its own forward pass, or once.

    Returns:
        True if the tower can compute them twice. open_clip accepts the setting for every tower: for its ResNets, and for towers of
        timm that cannot do it, nothing changes.
    """
    setter: Any = getattr(tower, "set_grad_checkpointing", None)
    if setter is None:  # the text transformer of CLIP itself
        has_flag = hasattr(tower, _FLAGS[0])
        if has_flag:
            setattr(tower, _FLAGS[0], enable)
        return has_flag
    try:
        with quiet():
            setter(True)
            is_on = any(getattr(module, flag, False) for module in tower.modules() for flag in _FLAGS)
            if not enable:
                setter(False)
    except ValueError:  # a text tower of transformers that cannot do it
        return False
    return is_on


def towers_without_checkpointing(model: Any) -> list[str]:
    """Return a text for each tower of an open_clip model that keeps all activations, whatever is set."""
    towers = {"vision": model.visual, "text": text_of(model)}
    return [
        f"--gradient-checkpointing has no effect on the {name} tower ({type(tower).__name__}), which cannot compute its activations "
        "twice; to need less memory, give --accumulate a larger number"
        for name, tower in towers.items()
        if not set_checkpointing(tower, False)
    ]


def text_of(model: Any) -> nn.Module:
    """Return the module whose blocks encode captions."""
    text: nn.Module = model.text if isinstance(getattr(model, "text", None), nn.Module) else model.transformer
    return text
