"""Errors that say that memory did not suffice, of the machine and of devices, from any library and through any wrapper."""

from __future__ import annotations

import gc
import re
import sys

_TEXT = re.compile(
    r"out of memory|not enough memory|can't allocate memory|cannot allocate memory|failed to allocate|std::bad_alloc|"
    r"(CUBLAS|CUDNN|CUSPARSE|CUSOLVER)_STATUS_(ALLOC|INTERNAL_ERROR_DEVICE_ALLOCATION)_FAILED|CUDA_ERROR_OUT_OF_MEMORY",
    re.IGNORECASE,
)
"""torch's CUDA, MPS and CPU allocators (the last one is a plain RuntimeError), cuBLAS and cuDNN, oneDNN, OpenVINO."""


def is_out_of_memory(error: BaseException | None) -> bool:
    """True if an error, or the one that it was raised from, says that memory did not suffice.

    torch is not imported: its own error is known by its name.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
            return True
        if isinstance(error, RuntimeError) and _TEXT.search(str(error)):
            return True
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return False


def free_device_memory(device: str) -> None:
    """Give back what torch keeps for later on a device, after an error whose frames are gone."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is None:
        return
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    elif device.startswith("mps"):
        torch.mps.empty_cache()
