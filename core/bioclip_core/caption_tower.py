"""A CLIP model's text tower over many captions: what they have in common is computed once, where that is exact."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.classifying.crew import on_each

if TYPE_CHECKING:
    import torch

log = logging.getLogger("bioclip_plugin.encoder")

_WHOLE_AT_ONCE = 256
"""Captions in full length at once: the activations of more would need gigabytes."""
_TOKENS_AT_ONCE, _TOKENS_AT_ONCE_ON_GPU = 384, 2048
"""Different tokens that one core computes at once. Each attends to all of them, so that many cost more than they save."""
_PROVED_BY = 16
"""Captions that prove a shortcut."""
_TRIM = 8
"""Captions are cut to a multiple of this many tokens."""
_TOLERANCE = 1e-4
"""Largest difference of a normalised feature that rounding in fp32 explains."""

Way = Callable[[Any, "torch.Tensor", "torch.dtype"], "torch.Tensor"]


class TextTower:
    """The text tower of an open_clip model, by the quickest way that gives its own features."""

    def __init__(self, model: Any, dtype: torch.dtype) -> None:
        """Prepare a text tower.

        Args:
            model: the open_clip module, in fp32.
            dtype: type of products; normalisations, sums and weights stay in fp32.
        """
        self._model = model
        self._dtype = dtype
        self._way: Way | None = None  # not proved yet

    def __call__(self, tokens_BT: torch.Tensor) -> torch.Tensor:
        """Return features before their normalisation, B×D in fp32."""
        if self._way is None:
            self._way = _exact_way(self._model, tokens_BT)
        return self._way(self._model, tokens_BT, self._dtype).float()


def _exact_way(model: Any, tokens_BT: torch.Tensor) -> Way:
    """Return the quickest way that has the features of the whole tower for some captions, in fp32: rounding would hide errors."""
    import torch

    some_BT = tokens_BT[:: -(-len(tokens_BT) // _PROVED_BY)]
    shortcuts: list[tuple[str, Way]] = []
    if _is_causal_clip(model):
        shortcuts.append(("cut to the longest of a batch", _trimmed))
        if _has_plain_blocks(model):
            shortcuts.insert(0, ("computed with common beginnings once", _shared))
    whole_BD = _whole(model, some_BT, torch.float32)
    for words, way in shortcuts:
        if _same_direction(whole_BD, way(model, some_BT, torch.float32)):
            log.debug("captions are %s", words)
            return way
    log.debug("captions are encoded in full length")
    return _whole


def _is_causal_clip(model: Any) -> bool:
    """True for CLIP's own text tower, where tokens behind the end-of-text token cannot reach the feature."""
    from open_clip import CLIP

    return (
        isinstance(model, CLIP)
        and getattr(model, "attn_mask", None) is not None
        and getattr(model, "text_pool_type", "argmax") in {"argmax", "eos"}
    )


def _has_plain_blocks(model: Any) -> bool:
    """True if all blocks are those that :class:`_Block` computes."""
    from open_clip.transformer import ResidualAttentionBlock
    from torch.nn import Linear

    return all(
        type(block) is ResidualAttentionBlock
        and not hasattr(block, "ln_1_kv")
        and block.attn.in_proj_weight is not None
        and block.attn.bias_k is None
        and not block.attn.add_zero_attn
        and [name for name, _ in block.mlp.named_children()] == ["c_fc", "gelu", "c_proj"]
        and all(type(layer) is Linear for layer in (block.mlp.c_fc, block.mlp.c_proj))
        for block in model.transformer.resblocks
    )


def _same_direction(one_BD: torch.Tensor, other_BD: torch.Tensor) -> bool:
    import torch

    normalize = torch.nn.functional.normalize
    return bool((normalize(one_BD.float(), dim=-1) - normalize(other_BD.float(), dim=-1)).abs().max() < _TOLERANCE)


def _ends(model: Any, tokens_BT: torch.Tensor) -> torch.Tensor:
    """Return the place of the end-of-text token of each caption, of which the feature is made."""
    if getattr(model, "text_pool_type", "argmax") == "eos":
        is_end_BT: torch.Tensor = tokens_BT == model.text_eos_id
        return is_end_BT.int().argmax(dim=1)
    return tokens_BT.argmax(dim=1)  # it has the highest number


def _whole(model: Any, tokens_BT: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Run a text tower over captions in full length."""
    return _in_batches(model.encode_text, tokens_BT, dtype)


def _trimmed(model: Any, tokens_BT: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Run CLIP's text tower over captions cut to the longest of a batch, rounded up to a multiple of 8."""
    return _in_batches(partial(_trimmed_batch, model), tokens_BT, dtype)


def _in_batches(
    encode: Callable[[torch.Tensor], torch.Tensor], tokens_BT: torch.Tensor, dtype: torch.dtype
) -> torch.Tensor:
    import torch

    starts = range(0, len(tokens_BT), _WHOLE_AT_ONCE)
    with _products_in(dtype, tokens_BT):
        return torch.cat([encode(tokens_BT[start : start + _WHOLE_AT_ONCE]) for start in starts])


def _trimmed_batch(model: Any, tokens_BT: torch.Tensor) -> torch.Tensor:
    ends_B = _ends(model, tokens_BT)
    length = min(-(-(int(ends_B.max()) + 1) // _TRIM) * _TRIM, tokens_BT.shape[1])
    x_BTD = model.token_embedding(tokens_BT[:, :length]) + model.positional_embedding[:length]
    x_BTD = model.ln_final(model.transformer(x_BTD, attn_mask=model.attn_mask[:length, :length]))
    return _projected(model, x_BTD[_numbers(ends_B), ends_B])


def _projected(model: Any, x_BD: torch.Tensor) -> torch.Tensor:
    if model.text_projection is None:
        return x_BD
    projected: torch.Tensor = (
        model.text_projection(x_BD) if callable(model.text_projection) else x_BD @ model.text_projection
    )
    return projected


def _numbers(like_B: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.arange(len(like_B), device=like_B.device)


def _products_in(dtype: torch.dtype, like: torch.Tensor) -> Any:
    """Return a context in which torch multiplies in a type, and normalises and adds in fp32."""
    import torch

    return nullcontext() if dtype == torch.float32 else torch.autocast(like.device.type, dtype)


def _shared(model: Any, tokens_BT: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Run CLIP's text tower over the different beginnings of captions.

    A token sees only those before it. So all captions that begin with the same words have the same numbers there: those of
    a genus differ in the last few of their forty tokens.
    """
    import torch

    device = tokens_BT.device
    rows_BT, ends_B = tokens_BT.cpu().numpy(), _ends(model, tokens_BT).cpu().numpy()
    rows_BT = np.where(np.arange(rows_BT.shape[1]) <= ends_B[:, None], rows_BT, -1)
    order_B = np.lexsort(rows_BT.T[::-1])
    rows_BT, ends_B = rows_BT[order_B], ends_B[order_B]
    parts = _parts(rows_BT, ends_B, _TOKENS_AT_ONCE if device.type == "cpu" else _TOKENS_AT_ONCE_ON_GPU)
    blocks = [_Block.of(block, dtype) for block in model.transformer.resblocks]

    def encode(number: int) -> torch.Tensor:
        own = parts[number]
        return _features(model, blocks, Beginnings.of(rows_BT[own], ends_B[own]), dtype)

    sorted_BD = torch.cat(on_each(encode, len(parts), device.type))
    found_BD = torch.empty_like(sorted_BD)
    found_BD[torch.from_numpy(order_B).to(device)] = sorted_BD
    return found_BD


def _in_common(rows_BT: NDArray[np.int64], ends_B: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of tokens that each caption has in common with the one before it."""
    common_B = np.zeros(len(rows_BT), dtype=np.int64)
    is_same = rows_BT[1:] == rows_BT[:-1]
    common_B[1:] = np.where(is_same.all(axis=1), rows_BT.shape[1], is_same.argmin(axis=1))
    return np.minimum(common_B, ends_B + 1)


def _parts(rows_BT: NDArray[np.int64], ends_B: NDArray[np.int64], most: int) -> list[slice]:
    """Return runs of sorted captions with about equally many different tokens, whatever the number of cores."""
    new_B = ends_B + 1 - _in_common(rows_BT, ends_B)
    count = -(-int(new_B.sum()) // most)
    count += count % 2 if count > 1 else 0
    places_B = np.cumsum(new_B) - new_B
    starts = np.unique(np.searchsorted(places_B, np.arange(count) * new_B.sum() / count))
    starts = starts[starts < len(rows_BT)]
    return [slice(*ends) for ends in zip(starts.tolist(), [*starts[1:].tolist(), len(rows_BT)], strict=True)]


@dataclass(frozen=True, slots=True)
class Beginnings:
    """The M different tokens of sorted captions: those of different texts, or behind different beginnings."""

    tokens_M: NDArray[np.int64]
    places_M: NDArray[np.int64]
    """Place of each in its caption."""
    sees_MM: NDArray[np.bool_]
    """True for each token and those before it in its caption."""
    last_B: NDArray[np.int64]
    """Token of which the feature of each caption is made."""

    @classmethod
    def of(cls, rows_BT: NDArray[np.int64], ends_B: NDArray[np.int64]) -> Beginnings:
        """Return the beginnings of captions.

        Args:
            rows_BT: token ids, sorted.
            ends_B: place of the last token of each caption that counts.
        """
        places_T = np.arange(int(ends_B.max()) + 1)
        rows_BT = rows_BT[:, : len(places_T)]
        is_new_BT = (places_T >= _in_common(rows_BT, ends_B)[:, None]) & (places_T <= ends_B[:, None])
        captions_M, places_M = np.nonzero(is_new_BT)
        numbers_BT = np.zeros(rows_BT.shape, dtype=np.int64)
        numbers_BT[is_new_BT] = np.arange(len(places_M))
        # Where a caption has nothing new, it has what the caption before it had there.
        numbers_BT = np.maximum.accumulate(numbers_BT, axis=0)
        sees_MM = np.zeros((len(places_M), len(places_M)), dtype=bool)
        seeing, places = np.nonzero(places_T <= places_M[:, None])
        sees_MM[seeing, numbers_BT[captions_M[seeing], places]] = True
        return cls(rows_BT[is_new_BT], places_M, sees_MM, numbers_BT[np.arange(len(rows_BT)), ends_B])


@dataclass(frozen=True, slots=True)
class _Block:
    """A block of the transformer, with its products in another precision."""

    module: Any
    products: Sequence[tuple[torch.Tensor, torch.Tensor | None]]
    """Weights and bias of the projections into and out of the attention, and of the two layers behind it."""

    @classmethod
    def of(cls, module: Any, dtype: torch.dtype) -> _Block:
        attention, mlp = module.attn, module.mlp
        pairs = [
            (attention.in_proj_weight, attention.in_proj_bias), (attention.out_proj.weight, attention.out_proj.bias),
            (mlp.c_fc.weight, mlp.c_fc.bias), (mlp.c_proj.weight, mlp.c_proj.bias),
        ]  # fmt: skip
        return cls(module, [(weight.to(dtype), None if bias is None else bias.to(dtype)) for weight, bias in pairs])

    def __call__(self, x_MD: torch.Tensor, sees_MM: torch.Tensor, asked: torch.Tensor | slice) -> torch.Tensor:
        """Return the output of the block for some of its M inputs."""
        import torch
        from torch.nn.functional import linear

        module, (into, out_of, first, second) = self.module, self.products
        dtype = into[0].dtype
        width = x_MD.shape[1]
        inner_M3D = linear(module.ln_1(x_MD).to(dtype), *into)
        queries, keys, values = (
            part.view(len(part), module.attn.num_heads, -1).transpose(0, 1)[None]
            for part in (inner_M3D[asked, :width], inner_M3D[:, width : 2 * width], inner_M3D[:, 2 * width :])
        )
        seen = torch.nn.functional.scaled_dot_product_attention(queries, keys, values, attn_mask=sees_MM[asked])
        seen_RD = linear(seen[0].transpose(0, 1).flatten(1), *out_of)
        x_RD = x_MD[asked] + module.ls_1(seen_RD.float())
        inner_RD = module.mlp.gelu(linear(module.ln_2(x_RD).to(dtype), *first))
        found: torch.Tensor = x_RD + module.ls_2(linear(inner_RD, *second).float())
        return found


def _features(model: Any, blocks: Sequence[_Block], beginnings: Beginnings, dtype: torch.dtype) -> torch.Tensor:
    import torch

    device = model.token_embedding.weight.device
    tokens_M, places_M, last_B = (
        torch.from_numpy(values).to(device) for values in (beginnings.tokens_M, beginnings.places_M, beginnings.last_B)
    )
    sees = torch.from_numpy(beginnings.sees_MM).to(device)
    hidden_MM = torch.zeros(sees.shape, dtype=dtype, device=device).masked_fill_(~sees, -torch.inf)
    x_MD = model.token_embedding(tokens_M) + model.positional_embedding[places_M]
    for block in blocks[:-1]:
        x_MD = block(x_MD, hidden_MM, slice(None))
    x_BD = model.ln_final(blocks[-1](x_MD, hidden_MM, last_B))
    with _products_in(dtype, x_BD):
        return _projected(model, x_BD).float()
