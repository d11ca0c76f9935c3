"""A transformer block of open_clip computed by us: the same mathematics, in the way that is fastest where it runs.

What is saved beside the choice of kernels: no copies to and from the layout of ``nn.MultiheadAttention``, and in the
last block only the row that is pooled asks, is projected and goes through the MLP (its keys and values need all rows).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from open_clip.transformer import LayerNorm, LayerNormFp32, QuickGELU, ResidualAttentionBlock
from torch import nn
from torch.nn import functional

Number = Literal["fp32", "bf16"]
DTYPES: Mapping[Number, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Kernels:
    """Which of several ways a block is computed in: they differ in speed and in the last bits, so a run keeps one."""

    activations: Number = "fp32"
    """What flows between layers. Weights, gradients of weights and the optimiser are always fp32."""
    linear: Literal["plain", "contiguous", "mixed"] = "plain"
    """``plain``: autograd's; ``contiguous``: the weight's gradient from contiguous operands; ``mixed``: fp32 tensors that
    the processor multiplies in bf16, with fp32 sums."""
    attention: Literal["fused", "explicit"] = "fused"
    """torch's fused attention, or two batched products and a softmax."""
    attention_in: Number = "fp32"

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def run_block(
    block: Any,
    x_BTD: torch.Tensor,
    kernels: Kernels,
    *,
    causal_mask_TT: torch.Tensor | None = None,
    pooled_B: torch.Tensor | None = None,
    drop: float = 0.0,
) -> torch.Tensor:
    """One residual block over B sequences of T tokens.

    Args:
        causal_mask_TT: additive, for text; only a causal mask.
        pooled_B: the one token of each sequence whose output is wanted: the result is then B×1×D.
        drop: probability that a sequence skips each of the two branches (stochastic depth, Huang et al. 2016).
    """
    if type(block) is not ResidualAttentionBlock:  # a block of another kind, or one that something wraps
        whole_BTD = _called(block, x_BTD, attn_mask=causal_mask_TT)
        return whole_BTD if pooled_B is None else _rows(whole_BTD, pooled_B)
    normed_BTD = _norm(block.ln_1, x_BTD)
    if type(block.attn) is nn.MultiheadAttention:
        attended = _attention(block.attn, normed_BTD, kernels, causal_mask_TT is not None, pooled_B)
    else:
        attended = _called(block.attn, normed_BTD, normed_BTD, normed_BTD, need_weights=False, attn_mask=causal_mask_TT)
        attended = attended if pooled_B is None else _rows(attended, pooled_B)
    x = x_BTD if pooled_B is None else _rows(x_BTD, pooled_B)
    x = x + _dropped(block.ls_1(attended), drop)
    hidden = _activation(block.mlp.gelu, _linear(block.mlp.c_fc, _norm(block.ln_2, x), kernels))
    return x + _dropped(block.ls_2(_linear(block.mlp.c_proj, hidden, kernels)), drop)


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, kernels: Kernels) -> torch.Tensor:
    """``x`` times an fp32 weight of shape out×in, in the chosen way."""
    if kernels.linear == "plain":
        return functional.linear(x, weight.to(x.dtype), None if bias is None else bias.to(x.dtype))
    function = _ContiguousLinear if kernels.linear == "contiguous" else _MixedLinear
    y: torch.Tensor = function.apply(x, weight, bias)
    return y


def _attention(
    attn: nn.MultiheadAttention,
    x_BTD: torch.Tensor,
    kernels: Kernels,
    causal: bool,
    pooled_B: torch.Tensor | None,
) -> torch.Tensor:
    weight, bias, heads = attn.in_proj_weight, attn.in_proj_bias, attn.num_heads
    b, t, d = x_BTD.shape
    mask: torch.Tensor | None = None
    if pooled_B is None:
        qkv = linear(x_BTD, weight, bias, kernels).view(b, t, 3, heads, d // heads)
        q, k, v = qkv.to(DTYPES[kernels.attention_in]).permute(2, 0, 3, 1, 4).unbind(0)
    else:
        asking_B1D = _rows(x_BTD, pooled_B)
        q = linear(asking_B1D, weight[:d], None if bias is None else bias[:d], kernels).view(b, 1, heads, d // heads)
        kv = linear(x_BTD, weight[d:], None if bias is None else bias[d:], kernels).view(b, t, 2, heads, d // heads)
        q = q.to(DTYPES[kernels.attention_in]).transpose(1, 2)
        k, v = kv.to(DTYPES[kernels.attention_in]).permute(2, 0, 3, 1, 4).unbind(0)
        if causal:
            mask = (torch.arange(t, device=x_BTD.device) <= pooled_B[:, None])[:, None, None, :]
    if kernels.attention == "fused":
        causal_whole = causal and pooled_B is None
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal_whole)
    else:
        if causal and pooled_B is None:
            mask = torch.ones(t, t, dtype=torch.bool, device=x_BTD.device).tril_()
        logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        if mask is not None:
            logits = logits.masked_fill(~mask, float("-inf"))
        mixed = torch.softmax(logits, dim=-1) @ v
    mixed = mixed.transpose(1, 2).reshape(b, -1, d).to(x_BTD.dtype)
    return linear(mixed, attn.out_proj.weight, attn.out_proj.bias, kernels)


def _linear(layer: nn.Module, x: torch.Tensor, kernels: Kernels) -> torch.Tensor:
    # A layer that something wraps (LoRA) has a forward of its own; its weight alone would leave the addition out.
    return linear(x, layer.weight, layer.bias, kernels) if type(layer) is nn.Linear else _called(layer, x)


def _norm(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    if type(layer) not in {LayerNorm, LayerNormFp32, nn.LayerNorm}:
        return _called(layer, x)
    assert isinstance(layer, nn.LayerNorm)
    if x.device.type == "cpu":  # takes bf16 in and out with fp32 weights and sums
        return functional.layer_norm(x, layer.normalized_shape, layer.weight, layer.bias, layer.eps)
    return functional.layer_norm(x.float(), layer.normalized_shape, layer.weight, layer.bias, layer.eps).to(x.dtype)


def _activation(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    if type(layer) is QuickGELU:  # x·sigmoid(1.702·x) as one fused kernel that keeps one tensor for the backward pass
        return functional.silu(x * 1.702) / 1.702
    y: torch.Tensor = layer(x)
    return y


def _called(layer: nn.Module, *inputs: torch.Tensor, **options: Any) -> torch.Tensor:
    """A module's own forward, in the type of what it is given."""
    x = inputs[0]
    with torch.autocast(x.device.type, x.dtype, enabled=x.dtype != torch.float32):
        y = layer(*inputs, **options)
    y = y[0] if isinstance(y, tuple) else y
    converted: torch.Tensor = y.to(x.dtype)
    return converted


def _rows(x_BTD: torch.Tensor, index_B: torch.Tensor) -> torch.Tensor:
    """Token ``index_B`` of each sequence, as B×1×D."""
    return x_BTD[torch.arange(len(x_BTD), device=x_BTD.device), index_B].unsqueeze(1)


def _dropped(branch_BTD: torch.Tensor, drop: float) -> torch.Tensor:
    if not drop:
        return branch_BTD
    kept_B = torch.rand(len(branch_BTD), 1, 1, device=branch_BTD.device) >= drop
    return branch_BTD * (kept_B / (1 - drop)).to(branch_BTD.dtype)


class _ContiguousLinear(torch.autograd.Function):
    """A linear layer whose gradients are products of contiguous operands, and whose bias is summed in fp32."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        cast = weight.to(x.dtype)
        ctx.save_for_backward(x, cast)
        ctx.has_bias = bias is not None
        return functional.linear(x, cast, None if bias is None else bias.to(x.dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_y = gradients[0].reshape(-1, weight.shape[0])
        of_x = (of_y @ weight).view(x.shape) if ctx.needs_input_grad[0] else None
        of_weight = of_bias = None
        if ctx.needs_input_grad[1]:
            of_weight = (of_y.T.contiguous() @ x.reshape(-1, weight.shape[1])).float()
        if ctx.has_bias and ctx.needs_input_grad[2]:
            of_bias = of_y.sum(0, dtype=torch.float32)
        return of_x, of_weight, of_bias


class _MixedLinear(torch.autograd.Function):
    """A linear layer of fp32 tensors whose three products the processor makes in bf16 with fp32 sums."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        with _products_in_bf16():
            return functional.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_y = gradients[0].reshape(-1, weight.shape[0])
        with _products_in_bf16():
            of_x = (of_y @ weight).view(x.shape) if ctx.needs_input_grad[0] else None
            of_weight = of_y.T @ x.reshape(-1, weight.shape[1]) if ctx.needs_input_grad[1] else None
        return of_x, of_weight, of_y.sum(0) if ctx.has_bias and ctx.needs_input_grad[2] else None


@contextmanager
def _products_in_bf16() -> Iterator[None]:
    """While open, oneDNN may round the factors of fp32 products to bf16; left as it was found."""
    settings: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = settings.fp32_precision
    settings.fp32_precision = "bf16"
    try:
        yield
    finally:
        settings.fp32_precision = before
