"""A weight file beside its config: sizes before anything is built, numbers after it was read, and the tokenizer."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioclip_core.errors import ModelError, first_line, raise_if_of_host
from bioclip_core.model_config import CONFIG
from bioclip_core.models import FoundModel

if TYPE_CHECKING:
    import torch

_ROOM = 50_000_000
"""Numbers that a model may have more than its file: so many are built without harm, and loading tells what is missing."""
_POSITIONS = ("visual.positional_embedding", "positional_embedding", "text.positional_embedding")
"""Tensors that open_clip would stretch to another size without a word."""


def check_sizes(found: FoundModel) -> None:
    """Refuse a config that announces more numbers than the weight file holds, or another size of input.

    The model is built without memory for its numbers ("meta"), which takes milliseconds.

    Raises:
        ModelError: with both numbers.
        pickle.UnpicklingError: if reading the weight file would run code.
    """
    import open_clip
    import torch

    assert found.weights is not None
    config = found.folder / CONFIG if found.folder else found.architecture
    try:
        with torch.device("meta"):
            model = open_clip.create_model(
                found.architecture or f"local-dir:{found.folder}", device="meta",
                load_weights=False, pretrained_image=False, pretrained_text=False,
            )  # fmt: skip
        wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
        numbers = sum(tensor.numel() for tensor in model.state_dict().values())
    except NotImplementedError:  # a part that cannot be built without memory
        return
    except Exception as error:  # each architecture raises its own kind for a config that it cannot build
        raise_if_of_host(error)
        raise ModelError(f"model {found.name!r}: no model can be made of {config}: {first_line(error)}") from error
    held, shapes = _held_by(found.weights)
    if numbers > 2 * held + _ROOM:
        raise ModelError(
            f"model {found.name!r}: {config} announces {numbers:,} numbers, but {found.weights} has room for at most {held:,}"
        )
    for name in _POSITIONS:
        if name in shapes and name in wanted and shapes[name] != wanted[name]:
            raise ModelError(
                f"model {found.name!r}: {config} needs {name} of shape {_shown(wanted[name])}, but {found.weights} has "
                f"{_shown(shapes[name])}: image_size, patch_size or context_length is not that of the weights"
            )


def _held_by(weights: Path) -> tuple[int, dict[str, tuple[int, ...]]]:
    """Return the limit of numbers in a weight file, and the shapes of its tensors as far as they can be read from it."""
    import torch

    size = weights.stat().st_size
    if weights.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(weights, "pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        return size, shapes
    try:
        state = torch.load(weights, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # an old format that cannot be mapped, or a damaged file, which loading it will report
        raise_if_of_host(error)
        return size, {}
    state = state.get("state_dict", state) if isinstance(state, dict) else {}
    return size, {name: tuple(tensor.shape) for name, tensor in state.items() if isinstance(tensor, torch.Tensor)}


def check_numbers(model: Any, weights: Path) -> None:
    """Refuse weights with a number that is not finite: every feature would be without meaning.

    Raises:
        ModelError: with the name of the first such tensor.
    """
    import numpy as np

    for name, tensor in model.state_dict().items():
        if not tensor.is_floating_point():
            continue
        values = tensor.float().numpy()
        with np.errstate(all="ignore"):
            # A sum reads the memory once, on one thread, and is finite only if every number is.
            is_good = bool(np.isfinite(values.sum())) or bool(np.isfinite(values).all())
        if not is_good:
            raise ModelError(
                f"{weights} cannot be used: {name} has numbers that are not finite; the weights are damaged"
            )


def check_tokens(name: str, tokens_BT: torch.Tensor, text_cfg: Mapping[str, Any]) -> None:
    """Refuse tokens that do not fit the text tower: it would fail deep in torch, or answer nonsense.

    Raises:
        ModelError: with the numbers of both.
    """
    vocabulary, length = text_cfg.get("vocab_size") or 49408, text_cfg.get("context_length") or 77
    if int(tokens_BT.max()) >= vocabulary:
        raise ModelError(
            f"{name}: its tokenizer gives token {int(tokens_BT.max())}, its text tower knows {vocabulary} tokens (vocab_size); "
            "this tokenizer belongs to another model"
        )
    if tokens_BT.shape[1] != length:
        raise ModelError(
            f"{name}: its tokenizer gives {tokens_BT.shape[1]} tokens per caption, its text tower takes {length} "
            "(context_length); this tokenizer belongs to another model"
        )


def _shown(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
