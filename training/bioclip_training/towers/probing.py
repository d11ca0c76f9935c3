"""The fastest way to compute a block: measured once at the start of a run, on one block, at the run's shapes.

On some processors the ways differ several times over, most of all backwards and in bf16 (small products of attention,
transposed operands of weight gradients), and the processor's name does not tell which one wins.
"""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from bioclip_core.device import Compute
from bioclip_training.towers.blocks import DTYPES, Kernels, Packing, run_block

log = logging.getLogger("bioclip_plugin.training")

_REPEATS = 3
_CLEARLY = 0.85  # another way is taken only if it needs less than this share of the time, so that noise does not decide
WORTH_OPERATIONS = 2e10
"""Additions and multiplications of a block, forward and backward, below which there is nothing to gain."""


def probed_kernels(
    block: nn.Module, lengths: Sequence[int], compute: Compute, *, causal: bool, worth: float = WORTH_OPERATIONS
) -> Kernels:
    """Return the fastest kernels for forward and backward of a block over sequences of these lengths.

    Only bf16 on a CPU is measured: in fp32 all ways take the same time (the products are nine tenths of it), and GPUs are made
    for torch's own. The attention is chosen first and then the linear layers, so that a handful of runs is enough.

    Args:
        block: of the tower.
        lengths: of the sequences, in tokens.
        compute: device and precision.
        causal: True if the sequences are packed and causal.
        worth: number of operations of a block below which nothing is measured.
    """
    if compute.precision == "fp32":
        return Kernels()
    if not compute.device.startswith("cpu"):
        return Kernels("bf16", "plain", "fused", "bf16")
    # Attention of short sequences is thousands of small products, each with the cost of starting a bf16 kernel.
    start = Kernels("bf16", "plain", "fused", "fp32")
    weights = sum(parameter.numel() for parameter in block.parameters())
    if 6 * weights * sum(lengths) < worth:
        return start
    with torch.random.fork_rng(devices=[]):
        bench = _Bench(block, lengths, causal)
        best = bench.fastest(
            [replace(start, attention=way, attention_in=number) for number in ("fp32", "bf16") for way in ("fused", "explicit")]
        )  # fmt: skip
        kinds = [best, replace(best, linear="contiguous")]
        if hasattr(torch.backends.mkldnn, "matmul"):  # torch 2.9 and later
            kinds.append(replace(best, activations="fp32", attention_in="fp32", linear="mixed"))
        best = bench.fastest(kinds)
    log.info(
        "a block of %d sequences with %d tokens takes %.1f ms: %s",
        len(lengths), sum(lengths), 1000 * bench.seconds[best], ", ".join(f"{name} {value}" for name, value in best.as_dict().items()),
    )  # fmt: skip
    return best


class _Bench:
    """The timed forward and backward passes of a copy of a block."""

    def __init__(self, block: nn.Module, lengths: Sequence[int], causal: bool) -> None:
        self._block = copy.deepcopy(block)
        width = next(parameter.shape[-1] for parameter in block.parameters() if parameter.ndim == 2)
        self._packing = Packing.of(lengths) if causal else None
        self._x = torch.randn(sum(lengths), width) if causal else torch.randn(len(lengths), lengths[0], width)
        self.seconds: dict[Kernels, float] = {}

    def fastest(self, choices: list[Kernels]) -> Kernels:
        """Return the first of the choices, or another one that is clearly faster."""
        for kernels in choices:
            if kernels not in self.seconds:
                self.seconds[kernels] = self._time(kernels)
                log.debug("%.1f ms: %s", 1000 * self.seconds[kernels], kernels)
        return clearly_fastest({kernels: self.seconds[kernels] for kernels in choices})

    def _time(self, kernels: Kernels) -> float:
        """Return the shortest of some runs, after one that prepares kernels and memory: other programs only make runs longer."""
        times = []
        for _ in range(_REPEATS + 1):
            x = self._x.to(DTYPES[kernels.activations], copy=True).requires_grad_()
            start = time.perf_counter()
            torch.autograd.backward(run_block(self._block, x, kernels, packing=self._packing), x.detach())
            times.append(time.perf_counter() - start)
            self._block.zero_grad()
        return min(times[1:])


def clearly_fastest(seconds: dict[Kernels, float]) -> Kernels:
    """Return the first choice, or the fastest one if it is clearly faster than the first."""
    first, best = next(iter(seconds)), min(seconds, key=seconds.__getitem__)
    return best if seconds[best] < _CLEARLY * seconds[first] else first
