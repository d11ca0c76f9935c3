"""Which way to compute a block is fastest here: measured once at the start of a run, on one block, at the run's shapes.

On some processors the ways differ several times over, most of all backwards and in bf16 (small products of attention,
transposed operands of weight gradients), and which wins cannot be read from the processor's name.
"""

from __future__ import annotations

import copy
import logging
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from bioclip_core.device import Compute
from bioclip_training.towers.blocks import DTYPES, Kernels, Packing, run_block

log = logging.getLogger("bioclip_plugin.training")

_REPEATS = 3
_CLEARLY = 0.85  # another way is taken only if it needs less than this share of the time: noise must not decide
_WORTH_OPERATIONS = (
    2e10  # additions and multiplications of a block, forward and backward, below which nothing is gained
)


def probed_kernels(block: nn.Module, lengths: Sequence[int], compute: Compute, *, causal: bool) -> Kernels:
    """The fastest kernels for forward and backward of a block over sequences of these lengths at the compute's precision.

    Only bf16 on a CPU is measured: in fp32 all ways take the same time (the products are nine tenths of it), and GPUs are
    made for torch's own. The attention is chosen first and the linear layers with it, so a handful of runs is enough.
    """
    if compute.precision == "fp32":
        return Kernels()
    if not compute.device.startswith("cpu"):
        return Kernels("bf16", "plain", "fused", "bf16")
    # Attention of short sequences is thousands of small products, each with the cost of starting a bf16 kernel.
    start = Kernels("bf16", "plain", "fused", "fp32")
    weights = sum(parameter.numel() for parameter in block.parameters())
    if 6 * weights * sum(lengths) < _WORTH_OPERATIONS:
        return start
    with torch.random.fork_rng(devices=[]):
        bench = _Bench(block, lengths, causal)
        best = bench.fastest(_attentions(start))
        best = bench.fastest(_linears(best))
    log.info(
        "a block of %d sequences with %d tokens takes %.1f ms: %s",
        len(lengths), sum(lengths), 1000 * bench.seconds[best], ", ".join(f"{name} {value}" for name, value in best.as_dict().items()),
    )  # fmt: skip
    return best


def _attentions(start: Kernels) -> list[Kernels]:
    explicit = replace(start, attention="explicit")
    return [start, explicit, replace(start, attention_in="bf16"), replace(explicit, attention_in="bf16")]


def _linears(best: Kernels) -> list[Kernels]:
    kinds = [best, replace(best, linear="contiguous")]
    if hasattr(torch.backends.mkldnn, "matmul"):  # torch 2.9 and later
        kinds.append(replace(best, activations="fp32", attention_in="fp32", linear="mixed"))
    return kinds


class _Bench:
    """Forward and backward of a copy of a block, timed."""

    def __init__(self, block: nn.Module, lengths: Sequence[int], causal: bool) -> None:
        self._block = copy.deepcopy(block)
        width = next(parameter.shape[-1] for parameter in block.parameters() if parameter.ndim == 2)
        self._packing = Packing.of(lengths) if causal else None
        self._x = torch.randn(sum(lengths), width) if causal else torch.randn(len(lengths), lengths[0], width)
        self.seconds: dict[Kernels, float] = {}

    def fastest(self, choices: list[Kernels]) -> Kernels:
        """The first of the choices, or one that is clearly faster."""
        for kernels in choices:
            if kernels not in self.seconds:
                self.seconds[kernels] = self._time(kernels)
                log.debug("%.1f ms: %s", 1000 * self.seconds[kernels], kernels)
        best = min(choices, key=self.seconds.__getitem__)
        return best if self.seconds[best] < _CLEARLY * self.seconds[choices[0]] else choices[0]

    def _time(self, kernels: Kernels) -> float:
        """The median of some runs after one that prepares kernels and memory."""
        times = []
        for _ in range(_REPEATS + 1):
            x = self._x.to(DTYPES[kernels.activations], copy=True).requires_grad_()
            start = time.perf_counter()
            torch.autograd.backward(run_block(self._block, x, kernels, packing=self._packing), x.detach())
            times.append(time.perf_counter() - start)
            self._block.zero_grad()
        return statistics.median(times[1:])
