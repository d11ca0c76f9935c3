"""Cells of the trainer: how much each saving gives, and the memory of a step, each measured in its own process.

    python -m benchmarks.training_cells training-savings bf16
    python -m benchmarks.training_cells training-memory ViT-B-32 fp32

Images are random, and captions are drawn from the trainer's own mixture over 15 invented species, as many as the reef fish have.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from benchmarks import fixtures, machine

BATCH = 8 if fixtures.QUICK else 64
SPECIES = 15
ARCHITECTURE = "small-vit" if fixtures.QUICK else "ViT-B-32"
PRECISIONS = ("fp32", "bf16")
MEMORY_MODELS: Mapping[str, tuple[int, int]] = {"ViT-B-32": (16, 48), "ViT-B-16": (8, 24), "ViT-L-14": (2, 6)}
"""Two batch sizes per architecture, from which the memory of larger ones follows."""
COUNTED = (2, 4)
"""Numbers of images whose kept values are counted: the difference is that of an image with its caption."""
BUDGET_GIB = 24.0
MODES: Mapping[str, dict[str, Any]] = {
    "plain": {},
    "--gradient-checkpointing": {"gradient_checkpointing": True},
    "--accumulate 2": {"accumulate": 2},
}
KINDS = ("training-savings", "training-memory")


def cells() -> list[tuple[str, list[str]]]:
    """Return name and arguments of each cell."""
    found = [(f"training-savings-{precision}", ["training-savings", precision]) for precision in PRECISIONS]
    return found + [
        (f"training-memory-{model}-{precision}", ["training-memory", model, precision])
        for model in MEMORY_MODELS
        for precision in PRECISIONS
    ]


class Bench:
    """A model in training with one prepared batch, and its step."""

    def __init__(self, architecture: str, precision: str, batch: int) -> None:
        import numpy as np

        from benchmarks import taxa
        from bioclip_core.device import Compute
        from bioclip_training.batches.caption_drawing import CaptionDrawing
        from bioclip_training.loop.optimizer import Optimizer
        from bioclip_training.loop.recipe import CAPTION_MIX, TrainConfig
        from bioclip_training.loop.start import open_start
        from bioclip_training.towers.model import Towers

        start = open_start(f"new:{architecture}", {}, 0)
        species = taxa.invented_taxa(SPECIES)
        drawing, chance = CaptionDrawing(species, CAPTION_MIX), random.Random(0)
        self.taxa_B = np.arange(batch) % SPECIES
        self.captions = tuple(drawing.draw(int(taxon), chance.random()) for taxon in self.taxa_B)
        size = start.preprocessing.size
        self.images_BHWC = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), dtype=np.uint8)
        self.towers = Towers(
            start.model, start.tokenizer, captions=self.captions, preprocessing=start.preprocessing,
            compute=Compute("cpu", cast("Any", precision), "for the benchmark"), images=batch,
        )  # fmt: skip
        self.config = TrainConfig(
            data="",
            start="",
            output="",
            loss="clip",
            steps=1000,
            batch_size=batch,
            learning_rate=1e-4,
        )
        self.optimizer = Optimizer(self.towers, self.config, 1000)
        self.steps = 0

    def use(self, *, gradient_checkpointing: bool = False, accumulate: int = 1) -> None:
        """Compute further steps in another way."""
        for tower in (self.towers.vision, self.towers.text):
            tower._checkpointing = gradient_checkpointing
        self.config = replace(self.config, accumulate=accumulate)

    def step(self, images: int | None = None) -> None:
        """Compute the gradients of the batch, or of its first images, as the trainer does, and apply them."""
        from bioclip_training.batches.stream import Batch
        from bioclip_training.loop.distributed import World
        from bioclip_training.loop.update import Ancestors, Side, back_propagate

        captions = self.captions[:images]
        batch = Batch(
            self.steps, 0.0, self.images_BHWC[:images], self.taxa_B[:images], captions, ("",) * len(captions), ()
        )
        back_propagate(
            self.towers, Side(batch, 1.0, None, Ancestors([])), None, self.config, World(), lambda _number: None
        )
        self.optimizer.step(self.steps)
        self.steps += 1


def memory(model: str, precision: str) -> dict[str, Any]:
    """Measure the highest memory of steps at two batch sizes in each way, and find the largest batch that fits into the budget.

    The gradients of the weights take the place of kept values as these go, so that the line through two small batches is too
    flat. The memory of an image is therefore at least that of the values that a forward pass keeps for it, which are counted.
    """
    import torch

    from bioclip_training.loop.measuring import kept_bytes
    from bioclip_training.loop.memory_reuse import return_memory, reused_memory

    batches = MEMORY_MODELS[model]
    bench = Bench(model, precision, batches[-1])
    trainable = bench.towers.trainable()
    assert {item.parameter.dtype for item in trainable} == {torch.float32}, (
        "weights and moments are fp32 in every precision"
    )
    modes: dict[str, Any] = {}
    with reused_memory():  # as the command does
        bench.step(1)  # makes the moments
        for mode, options in MODES.items():
            bench.use(**options)
            few, more = (kept_bytes(bench.towers, n, bench.images_BHWC.shape[1], bench.captions[:n]) for n in COUNTED)
            peaks = []
            for batch in batches:
                return_memory()
                machine.forget_peak()
                bench.step(batch)
                peaks.append(machine.peak_bytes() / 2**30)
            kept_gib = (more - few) / (COUNTED[1] - COUNTED[0]) / 2**30
            modes[mode] = {
                "batches": batches,
                "gib": peaks,
                **largest(batches, peaks, kept_gib, bench.config.accumulate),
            }
            print(mode, modes[mode], file=sys.stderr, flush=True)
    return {"modes": modes, "budget_gib": BUDGET_GIB, "kernels": bench.towers.kernels}


def largest(batches: tuple[int, int], gib: Sequence[float], kept_gib: float, parts: int = 1) -> dict[str, float]:
    """Return memory without images, memory per image at once, and the largest batch in this number of parts within the budget."""
    first, second = (batch / parts for batch in batches)
    per_image = max((gib[1] - gib[0]) / (second - first), kept_gib, 1e-6)
    fixed = max(gib[0] - per_image * first, gib[1] - per_image * second)
    most = max(0, int((BUDGET_GIB - fixed) / per_image))
    return {"fixed_gib": fixed, "mib_per_image": 1024 * per_image, "largest": parts * most}


def main() -> None:
    from benchmarks.training_savings import savings

    kind, *arguments = sys.argv[1:]
    jobs: dict[str, Callable[..., dict[str, Any]]] = {"training-savings": savings, "training-memory": memory}
    print(json.dumps(jobs[kind](*arguments)))


if __name__ == "__main__":
    main()
