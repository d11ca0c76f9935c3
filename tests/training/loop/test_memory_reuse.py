"""Memory that is kept between steps, as counted by the C library, and returned to the system afterwards."""

from __future__ import annotations

import ctypes
import sys

import pytest
import torch

from bioclip_training.loop.memory_reuse import reused_memory

MIB = 2**20

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it changes settings of glibc")


class MallocBooks(ctypes.Structure):
    """``struct mallinfo2`` of glibc's malloc.h."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
    ]  # fmt: skip


def mapped_bytes_of_a_tensor() -> int:
    """Return the memory that glibc maps anew, and so returns to the system on release, for a large tensor.

    The tensor is larger than all memory that earlier tests left free in the heap, so that it does not fit there.
    """
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = MallocBooks
    before = mallinfo2()
    tensor = torch.empty(before.fordblks + 64 * MIB, dtype=torch.uint8)
    mapped: int = mallinfo2().hblkhd - before.hblkhd
    del tensor
    return mapped


def test_large_tensors_stay_with_the_process_while_it_is_open_and_not_afterwards() -> None:
    assert mapped_bytes_of_a_tensor() >= 64 * MIB
    with reused_memory():
        assert mapped_bytes_of_a_tensor() == 0
    assert mapped_bytes_of_a_tensor() >= 64 * MIB


def test_the_settings_are_restored_after_an_error_too() -> None:
    with pytest.raises(ValueError, match="stop"), reused_memory():
        raise ValueError("stop")
    assert mapped_bytes_of_a_tensor() >= 64 * MIB
