"""Worker with open_clip's trainer, run in its own environment: one JSON argument in, one JSON line out.

It uses the parts of ``open_clip_train``: data pipeline, optimiser groups, scheduler, loss and ``train_one_epoch``.

    .venv-train-peer/bin/python benchmarks/train_peer_worker.py '{"op": "loss", "weights": "...", "batch": "..."}'
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

ARCHITECTURE = "ViT-B-32"


class Timed:
    """Loader that records the time after the training step of each batch."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self.num_batches, self.num_samples = loader.num_batches, loader.num_samples
        self.wall_s: list[float] = []
        self.processor_s: list[float] = []

    def __iter__(self) -> Iterator[Any]:
        for batch in self._loader:
            yield batch
            self.wall_s.append(time.perf_counter())
            self.processor_s.append(time.process_time())


def train(*, weights: str, shards: str, precision: str, steps: int, batch: int) -> dict[str, Any]:
    """Train for ``steps`` steps after a first one that is not counted, and return samples and seconds."""
    import open_clip

    # Only in the peer's environment: it does not run with the webdataset of ours.
    from open_clip_train.data import get_data  # type: ignore[import-untyped]
    from open_clip_train.params import parse_args  # type: ignore[import-untyped]
    from open_clip_train.scheduler import cosine_lr  # type: ignore[import-untyped]
    from open_clip_train.train import train_one_epoch  # type: ignore[import-untyped]

    args = parse_args([
        f"--train-data={shards}", "--dataset-type=webdataset", f"--train-num-samples={(steps + 1) * batch}", f"--batch-size={batch}",
        f"--model={ARCHITECTURE}", "--workers=1", f"--precision={'amp_bf16' if precision == 'bf16' else 'fp32'}", "--device=cpu",
        "--lr=1e-4", "--wd=0.2", "--warmup=100", "--grad-clip-norm=1.0", "--seed=0",
    ])  # fmt: skip
    # Settings that open_clip's main() adds: one process, and log lines only.
    args.rank, args.local_rank, args.world_size, args.distributed, args.distill = 0, 0, 1, False, False
    args.wandb = args.tensorboard = args.save_logs = False
    torch.manual_seed(0)
    model, preprocess, _ = open_clip.create_model_and_transforms(ARCHITECTURE, pretrained=weights, output_dict=True)
    data = get_data(args, (preprocess, preprocess), epoch=0, tokenizer=open_clip.get_tokenizer(ARCHITECTURE))
    data["train"].dataloader = loader = Timed(data["train"].dataloader)
    optimizer = _optimizer(model, args)
    train_one_epoch(
        model,
        data,
        open_clip.ClipLoss(),
        0,
        optimizer,
        None,
        cosine_lr(optimizer, args.lr, args.warmup, 1000),
        None,
        args,
    )
    return {
        "samples": (len(loader.wall_s) - 1) * batch,
        "seconds": loader.wall_s[-1] - loader.wall_s[0],
        "processor_s": loader.processor_s[-1] - loader.processor_s[0],
    }


def _optimizer(model: torch.nn.Module, args: Any) -> torch.optim.Optimizer:
    """Return an optimiser with the parameter groups of open_clip's ``main``."""

    def is_gain_or_bias(name: str, value: torch.Tensor) -> bool:
        return value.ndim < 2 or any(part in name for part in ("bn", "ln", "bias", "logit_scale"))

    named = list(model.named_parameters())
    return torch.optim.AdamW(
        [
            {"params": [value for name, value in named if is_gain_or_bias(name, value)], "weight_decay": 0.0},
            {"params": [value for name, value in named if not is_gain_or_bias(name, value)], "weight_decay": args.wd},
        ],
        lr=args.lr,
        betas=(args.beta1, args.beta2),
        eps=args.eps,
    )


def loss(*, weights: str, batch: str) -> dict[str, Any]:
    """Return the loss of one batch of prepared inputs in fp32, without a training step."""
    import numpy as np
    import open_clip

    model = open_clip.create_model(ARCHITECTURE, pretrained=weights)
    arrays = np.load(batch)
    tokens = open_clip.get_tokenizer(ARCHITECTURE)([str(caption) for caption in arrays["captions"]])
    mean, std = (torch.tensor(values) for values in (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD))
    images = ((torch.from_numpy(arrays["images"]).float() / 255 - mean) / std).permute(0, 3, 1, 2)
    with torch.no_grad():
        return {"loss": float(open_clip.ClipLoss()(*model(images, tokens)[:3]))}


if __name__ == "__main__":
    request = json.loads(sys.argv[1])
    operations: dict[str, Callable[..., dict[str, Any]]] = {"train": train, "loss": loss}
    answer = operations[request.pop("op")](**request)
    assert all(math.isfinite(value) for value in answer.values())
    print(json.dumps(answer))
