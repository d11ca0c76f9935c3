"""The kernels that were measured to be fastest on this machine, remembered so that equal runs compute equally."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from bioclip_core.device import Compute
from bioclip_core.identity import read_cache, settings_id, user_cache, write_cache

Kernels = dict[str, dict[str, Any]]


class KernelBook:
    """The entry of one kind of run: machine, torch, architecture, precision and batch.

    Where two kernels are about equally fast, two measurements may choose differently, and the last bits of their results
    differ. With the book, a run that is begun anew ends with the same weights.
    """

    def __init__(self, model_cfg: Mapping[str, Any], at_once: int, compute: Compute) -> None:
        """Find the entry of a run.

        Args:
            model_cfg: the architecture.
            at_once: number of images in one forward pass, over all processes.
            compute: device and precision.
        """
        key = {
            "machine": [platform.machine(), _processor(), torch.get_num_threads()], "torch": torch.__version__,
            "model": dict(model_cfg), "precision": compute.precision, "device": compute.device, "at_once": at_once,
        }  # fmt: skip
        self._key = settings_id(json.loads(json.dumps(key, default=str)))
        self._file = user_cache() / "kernels.json"

    def remembered(self) -> Kernels | None:
        """Return the kernels of an earlier measurement; None without one."""
        return read_cache(self._file).get(self._key)

    def remember(self, kernels: Kernels) -> None:
        """Write an entry, unless there is one."""
        book = read_cache(self._file)
        if self._key not in book:
            write_cache(self._file, {**book, self._key: kernels})


def _processor() -> str:
    """Return the processor's model name, if the system tells it."""
    lines: list[str] = []
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
