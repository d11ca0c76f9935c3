"""A transformer block of open_clip computed by us: the same mathematics, in the way that is fastest on the machine at hand.

Beside the choice of kernels there are three savings: no copies to and from the layout of ``nn.MultiheadAttention``; in the last
block, queries, projection and MLP of the pooled row alone (its keys and values need all rows); and of captions of different
lengths only their own tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from open_clip.transformer import LayerNorm, LayerNormFp32, QuickGELU, ResidualAttentionBlock
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

Number = Literal["fp32", "bf16"]
DTYPES: Mapping[Number, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}

_TOLERANCE = 1e-4  # largest difference of a normalised feature that rounding in fp32 explains


@dataclass(frozen=True, slots=True)
class Kernels:
    """The way in which a block is computed. Ways differ in speed and in the last bits, so a run keeps one."""

    activations: Number = "fp32"
    """Type of the values between layers. Weights, gradients of weights and the optimiser are always fp32."""
    linear: Literal["plain", "contiguous", "mixed"] = "plain"
    """``plain``: autograd's; ``contiguous``: the weight's gradient from contiguous operands; ``mixed``: fp32 tensors that the
    processor multiplies in bf16, with fp32 sums."""
    attention: Literal["fused", "explicit"] = "fused"
    """torch's fused attention, or two batched products and a softmax."""
    attention_in: Number = "fp32"
    """Type of the attention's products."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Packing:
    """B causal sequences of different lengths, laid end to end as N tokens, so that padding is not computed."""

    place_N: torch.Tensor
    """Place of each token among the B·T places of the padded form."""
    lengths_B: torch.Tensor
    ends_B: torch.Tensor
    """Number of the last token of each sequence, among the N."""
    longest: int
    """T, in tokens."""

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device | str = "cpu") -> Packing:
        """Return the packing of sequences of these lengths, none of them 0."""
        longest = max(lengths)
        places = [torch.arange(length) + longest * row for row, length in enumerate(lengths)]
        lengths_B = torch.tensor(lengths, device=device)
        return cls(torch.cat(places).to(device), lengths_B, lengths_B.cumsum(0) - 1, longest)

    def padded(self, x_ND: torch.Tensor) -> torch.Tensor:
        """Return B×T×D, with zeros behind each sequence."""
        x: torch.Tensor = _Padded.apply(x_ND, self.place_N, len(self.lengths_B) * self.longest)
        return x.view(len(self.lengths_B), self.longest, -1)

    def packed(self, x_BTD: torch.Tensor) -> torch.Tensor:
        """Return N×D, without the places behind each sequence."""
        x_ND: torch.Tensor = _Packed.apply(x_BTD.flatten(0, 1), self.place_N)
        return x_ND


def run_block(
    block: Any,
    x: torch.Tensor,
    kernels: Kernels,
    *,
    packing: Packing | None = None,
    pooled_B: torch.Tensor | None = None,
    drop: float = 0.0,
    checkpointing: bool = False,
) -> torch.Tensor:
    """Compute one residual block over B sequences of T tokens.

    Args:
        block: the block.
        x: B×T×D; or, with a packing, N×D of causal sequences.
        kernels: the way to compute it.
        packing: the sequences that the N tokens belong to.
        pooled_B: the one token of each sequence whose output is wanted (its number in the sequence, or among the N of a
            packing, where it must be the sequence's last): the result is then B×1×D.
        drop: probability that a sequence skips each of the two branches (stochastic depth, Huang et al. 2016).
        checkpointing: compute activations twice instead of keeping them.
    """
    if checkpointing and torch.is_grad_enabled():
        y: torch.Tensor = checkpoint(
            run_block, block, x, kernels, packing=packing, pooled_B=pooled_B, drop=drop, use_reentrant=False
        )
        return y
    if type(block) is not ResidualAttentionBlock:  # a block of another kind, or a wrapped one
        whole = _unpacked(block, x, packing)
        return whole if pooled_B is None else _rows(whole, pooled_B)
    normed = _norm(block.ln_1, x)
    if type(block.attn) is nn.MultiheadAttention:
        attended = _attention(block.attn, normed, kernels, packing, pooled_B)
    else:
        attended = _unpacked(
            lambda y, attn_mask: block.attn(y, y, y, need_weights=False, attn_mask=attn_mask), normed, packing
        )
        attended = attended if pooled_B is None else _rows(attended, pooled_B)
    x = x if pooled_B is None else _rows(x, pooled_B)
    x = x + _dropped(block.ls_1(attended), drop)
    hidden = _activation(block.mlp.gelu, _linear(block.mlp.c_fc, _norm(block.ln_2, x), kernels))
    return x + _dropped(block.ls_2(_linear(block.mlp.c_proj, hidden, kernels)), drop)


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, kernels: Kernels) -> torch.Tensor:
    """Multiply ``x`` by an fp32 weight of shape out×in, in the chosen way."""
    if kernels.linear == "plain":
        return functional.linear(x, weight.to(x.dtype), None if bias is None else bias.to(x.dtype))
    y: torch.Tensor = _Linear.apply(x, weight, bias, kernels.linear == "mixed")
    return y


def agree(ours_BD: torch.Tensor, theirs_BD: torch.Tensor) -> bool:
    """Return True if two ways of computing features differ by rounding only."""
    difference_BD = functional.normalize(ours_BD, dim=-1) - functional.normalize(theirs_BD, dim=-1)
    return bool(difference_BD.abs().max() < _TOLERANCE)


def _attention(
    attn: nn.MultiheadAttention,
    x: torch.Tensor,
    kernels: Kernels,
    packing: Packing | None,
    pooled_B: torch.Tensor | None,
) -> torch.Tensor:
    weight, bias, d = attn.in_proj_weight, attn.in_proj_bias, attn.embed_dim
    mask: torch.Tensor | None = None
    if pooled_B is None:
        q, k, v = _heads(attn, linear(x, weight, bias, kernels), 3, kernels, packing)
    else:
        q_bias, kv_bias = (None, None) if bias is None else (bias[:d], bias[d:])
        (q,) = _heads(attn, linear(_rows(x, pooled_B), weight[:d], q_bias, kernels), 1, kernels, None)
        k, v = _heads(attn, linear(x, weight[d:], kv_bias, kernels), 2, kernels, packing)
        if packing is not None:
            mask = (torch.arange(packing.longest, device=x.device) < packing.lengths_B[:, None])[:, None, None, :]
    causal = packing is not None and pooled_B is None
    if kernels.attention == "fused":
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
    else:
        if causal:
            mask = torch.ones(q.shape[-2], q.shape[-2], dtype=torch.bool, device=x.device).tril_()
        logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        if mask is not None:
            logits = logits.masked_fill(~mask, float("-inf"))
        mixed = torch.softmax(logits, dim=-1) @ v
    mixed_BTD = mixed.transpose(1, 2).flatten(2).to(x.dtype)
    together = packing.packed(mixed_BTD) if packing is not None and causal else mixed_BTD
    return linear(together, attn.out_proj.weight, attn.out_proj.bias, kernels)


def _heads(
    attn: nn.MultiheadAttention, x: torch.Tensor, parts: int, kernels: Kernels, packing: Packing | None
) -> tuple[torch.Tensor, ...]:
    """Split B×T×(parts·D) into that many of B×heads×T×(D/heads)."""
    x_BTP = (x if packing is None else packing.padded(x)).to(DTYPES[kernels.attention_in])
    b, t, _ = x_BTP.shape
    return x_BTP.view(b, t, parts, attn.num_heads, attn.head_dim).permute(2, 0, 3, 1, 4).unbind(0)


def _unpacked(layer: Callable[..., torch.Tensor], x: torch.Tensor, packing: Packing | None) -> torch.Tensor:
    """Apply a layer that takes padded sequences and a mask to tokens that may be packed."""
    if packing is None:
        return _called(layer, x, attn_mask=None)
    mask_TT = torch.full((packing.longest, packing.longest), float("-inf"), device=x.device).triu_(1)
    return packing.packed(_called(layer, packing.padded(x), attn_mask=mask_TT))


def _linear(layer: nn.Module, x: torch.Tensor, kernels: Kernels) -> torch.Tensor:
    # A wrapped layer (LoRA) has a forward of its own; its weight alone would miss the addition.
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


def _called(layer: Callable[..., Any], *inputs: torch.Tensor, **options: Any) -> torch.Tensor:
    """Apply a module's own forward, in the type of its input."""
    x = inputs[0]
    with torch.autocast(x.device.type, x.dtype, enabled=x.dtype != torch.float32):
        y = layer(*inputs, **options)
    y = y[0] if isinstance(y, tuple) else y
    converted: torch.Tensor = y.to(x.dtype)
    return converted


def _rows(x: torch.Tensor, index_B: torch.Tensor) -> torch.Tensor:
    """Return one token of each sequence, as B×1×D; of N packed tokens or of B×T."""
    if x.ndim == 2:
        return x[index_B].unsqueeze(1)
    return x[torch.arange(len(x), device=x.device), index_B].unsqueeze(1)


def _dropped(branch_BTD: torch.Tensor, drop: float) -> torch.Tensor:
    if not drop:
        return branch_BTD
    kept_B = torch.rand(len(branch_BTD), 1, 1, device=branch_BTD.device) >= drop
    return branch_BTD * (kept_B / (1 - drop)).to(branch_BTD.dtype)


class _Padded(torch.autograd.Function):
    """Rows put in their places among zeros. The backward pass picks them up again, while autograd would add them one by one."""

    @staticmethod
    def forward(ctx: Any, x_ND: torch.Tensor, place_N: torch.Tensor, count: int) -> torch.Tensor:
        ctx.save_for_backward(place_N)
        return x_ND.new_zeros(count, x_ND.shape[1]).index_copy_(0, place_N, x_ND)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return gradients[0][ctx.saved_tensors[0]], None, None


class _Packed(torch.autograd.Function):
    """The reverse of :class:`_Padded`."""

    @staticmethod
    def forward(ctx: Any, x_MD: torch.Tensor, place_N: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(place_N)
        ctx.count = len(x_MD)
        return x_MD[place_N]

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        of_x = gradients[0].new_zeros(ctx.count, gradients[0].shape[1])
        return of_x.index_copy_(0, ctx.saved_tensors[0], gradients[0]), None


class _Linear(torch.autograd.Function):
    """A linear layer whose bias is summed in fp32, and whose weight has its gradient in fp32.

    Its products have contiguous operands; or, ``mixed``, the processor computes them of fp32 tensors in bf16 with fp32 sums.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, mixed: bool
    ) -> torch.Tensor:
        cast = weight.to(x.dtype)
        ctx.save_for_backward(x, cast)
        ctx.mixed = mixed
        with _products_in_bf16() if mixed else nullcontext():
            return functional.linear(x, cast, None if bias is None else bias.to(x.dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        wants_x, wants_weight, wants_bias, _ = ctx.needs_input_grad
        of_y = gradients[0].reshape(-1, weight.shape[0])
        of_x = of_weight = None
        with _products_in_bf16() if ctx.mixed else nullcontext():
            if wants_x:
                of_x = (of_y @ weight).view(x.shape)
            if wants_weight:
                left = of_y.T if ctx.mixed else of_y.T.contiguous()
                of_weight = (left @ x.reshape(-1, weight.shape[1])).float()
        return of_x, of_weight, of_y.sum(0, dtype=torch.float32) if wants_bias else None, None


@contextmanager
def _products_in_bf16() -> Iterator[None]:
    """Let oneDNN round the factors of fp32 products to bf16 while open; the setting is restored at the end."""
    settings: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = settings.fp32_precision
    settings.fp32_precision = "bf16"
    try:
        yield
    finally:
        settings.fp32_precision = before
