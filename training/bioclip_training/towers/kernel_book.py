"""Remembers on this machine which way of computing was measured to be fastest, so that equal runs compute equally."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bioclip_core.device import Compute
from bioclip_core.identity import read_cache, settings_id, user_cache, write_cache
from bioclip_training.loop.recipe import TrainConfig
from bioclip_training.loop.start import Start

Kernels = dict[str, dict[str, Any]]


class KernelBook:
    """The entry of one kind of run: machine, torch, architecture, precision and batch.

    Measuring twice may choose twice differently where two ways are about equally fast, and their last bits differ; with
    the book, a run that is begun anew ends with the same weights.
    """

    def __init__(self, start: Start, config: TrainConfig, compute: Compute) -> None:
        import torch

        about = {
            "machine": [platform.machine(), _processor(), torch.get_num_threads()], "torch": torch.__version__,
            "model": dict(start.model_cfg), "precision": compute.precision, "device": compute.device,
            "at_once": config.batch_size // config.accumulate,
        }  # fmt: skip
        self._key = settings_id(json.loads(json.dumps(about, default=str)))
        self._file = user_cache() / "kernels.json"

    def remembered(self) -> Kernels | None:
        """What was measured before; None where nothing was."""
        return read_cache(self._file).get(self._key)

    def remember(self, kernels: Mapping[str, Mapping[str, Any]]) -> None:
        """Write an entry; a cache that cannot be written costs a measurement, never the run."""
        book = read_cache(self._file)
        if self._key not in book:
            write_cache(self._file, {**book, self._key: {tower: dict(values) for tower, values in kernels.items()}})


def _processor() -> str:
    """The processor's model name, where the system says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
