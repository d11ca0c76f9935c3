"""Memory that is kept between steps: not asked for again while it is kept, and given back afterwards."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import pytest
import torch

from bioclip_training.loop.memory_reuse import reused_memory

MIB = 2**20

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what it changes is glibc's")


def touched_mib(rounds: int) -> float:
    """Memory that the system had to hand out while a tensor of 64 MiB was made and freed some times."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        torch.ones(16 * MIB)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * resource.getpagesize() / MIB


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * resource.getpagesize() / MIB


def test_freed_memory_is_used_again_and_given_back_at_the_end() -> None:
    with reused_memory():
        touched_mib(3)
        assert touched_mib(5) < 80  # of 320 that are handed out anew without it
        kept = resident_mib()
    assert kept - resident_mib() > 48


def test_it_is_given_back_after_an_error_too() -> None:
    kept = []

    def fail() -> None:
        with reused_memory():
            touched_mib(1)
            kept.append(resident_mib())
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert kept[0] - resident_mib() > 48
