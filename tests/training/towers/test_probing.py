"""Choice of how to compute a block: fixed without possible gain, measured otherwise, and never decided by noise."""

from __future__ import annotations

import pytest
import torch
from tower_samples import small_clip

from bioclip_core.device import Compute
from bioclip_training.towers.blocks import Kernels
from bioclip_training.towers.probing import clearly_fastest, probed_kernels

BF16 = Compute("cpu", "bf16", "for tests")


def a_block() -> torch.nn.Module:
    block: torch.nn.Module = small_clip().visual.transformer.resblocks[0]
    return block


def test_in_fp32_nothing_is_measured() -> None:
    assert probed_kernels(a_block(), [17] * 4, Compute("cpu", "fp32", ""), causal=False) == Kernels()


def test_a_small_model_always_computes_in_the_same_way() -> None:
    expected = Kernels(activations="bf16", linear="plain", attention="fused", attention_in="fp32")
    assert probed_kernels(a_block(), [17] * 4, BF16, causal=False) == expected


@pytest.mark.parametrize("causal", [False, True])
def test_measuring_leaves_the_block_and_the_random_numbers_as_they_were(
    causal: bool,
) -> None:
    block, state = a_block(), torch.get_rng_state()
    before = [value.detach().clone() for value in block.parameters()]
    lengths = [5, 17, 9] if causal else [17, 17, 17]
    chosen = probed_kernels(block, lengths, BF16, causal=causal, worth=0)
    assert chosen.linear in {"plain", "contiguous", "mixed"}
    assert Kernels(**chosen.as_dict()) == chosen
    assert torch.equal(torch.get_rng_state(), state)
    assert all(value.grad is None for value in block.parameters())
    assert all(torch.equal(value, old) for value, old in zip(block.parameters(), before, strict=True))


def test_another_way_is_taken_only_if_it_is_clearly_faster() -> None:
    usual, other = Kernels(), Kernels(attention="explicit")
    assert clearly_fastest({usual: 1.0, other: 0.9}) == usual
    assert clearly_fastest({usual: 1.0, other: 0.8}) == other
