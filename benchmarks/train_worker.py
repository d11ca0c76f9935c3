"""Worker with our trainer, run in its own process like the peer's: one JSON argument in, one JSON line out.

python -m benchmarks.train_worker '{"op": "train", "weights": ..., "shards": ..., "precision": "fp32", "steps": 5, "batch": 64}'
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

from bioclip_training.loop.recipe import TrainConfig, TrainingProgress


class _Enough(Exception):
    """Signal that ends a run after the timed steps, without a checkpoint."""


def train(
    *, weights: str, shards: str, precision: Literal["auto", "fp32", "bf16"], steps: int, batch: int
) -> dict[str, Any]:
    """Train for ``steps`` steps after a first one that is not counted; ``weights`` is the folder of the initial model."""
    from bioclip_training.loop.memory_reuse import reused_memory
    from bioclip_training.loop.run import train as run

    wall_s: list[float] = []
    processor_s: list[float] = []

    def record(progress: TrainingProgress) -> None:
        if progress.loss is None:
            return
        wall_s.append(time.perf_counter())
        processor_s.append(time.process_time())
        if len(wall_s) > steps:
            raise _Enough

    with tempfile.TemporaryDirectory() as folder:
        config = TrainConfig(
            data=shards, start=f"local-dir:{weights}", output=f"{folder}/run", loss="clip", steps=1000, batch_size=batch,
            dev_fraction=0.0, device="cpu", precision=precision, tell=record,
        )  # fmt: skip
        with suppress(_Enough), reused_memory():  # as the command does
            run(config, {})
    return {
        "samples": steps * batch,
        "seconds": wall_s[-1] - wall_s[0],
        "processor_s": processor_s[-1] - processor_s[0],
    }


def loss(*, weights: str, batch: str) -> dict[str, Any]:
    """Return the loss of one batch of prepared inputs in fp32, without a training step."""
    import numpy as np
    import torch

    from bioclip_core.device import Compute
    from bioclip_training.loop.losses import clip_loss
    from bioclip_training.loop.start import open_start
    from bioclip_training.towers.model import Towers

    start, arrays = open_start(f"local-dir:{weights}", {}, 0), np.load(batch)
    captions = sorted({str(caption) for caption in arrays["captions"]})
    index_B = torch.tensor([captions.index(str(caption)) for caption in arrays["captions"]])
    towers = Towers(
        start.model,
        start.tokenizer,
        captions=captions,
        preprocessing=start.preprocessing,
        compute=Compute("cpu", "fp32", ""),
    )
    with torch.no_grad():
        images_BD, texts_UD = towers.image_features(torch.from_numpy(arrays["images"])), towers.text_features(captions)
        return {"loss": float(clip_loss(images_BD, texts_UD[index_B], towers.log_scale))}


if __name__ == "__main__":
    request = json.loads(sys.argv[1])
    operations: dict[str, Callable[..., dict[str, Any]]] = {"train": train, "loss": loss}
    print(json.dumps(operations[request.pop("op")](**request)))
