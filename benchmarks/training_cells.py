"""Cells of the trainer: how much each saving gives, and the memory of a step, each measured in its own process.

    python -m benchmarks.training_cells training-savings bf16
    python -m benchmarks.training_cells training-memory ViT-B-32 fp32

A saving is switched off for the benchmark only, and a step with it and one without follow each other. Images are random, and
captions are drawn from the trainer's own mixture over 15 invented species, as many as the reef fish have.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast
from unittest.mock import patch

from benchmarks import fixtures, machine
from benchmarks.pairs import Spread

BATCH = 8 if fixtures.QUICK else 64
ROUNDS = 2 if fixtures.QUICK else 7
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
SIDES = {"wall_s": "time", "processor_s": "processor time"}
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


@dataclass(frozen=True, slots=True)
class Taken:
    """Time of one step."""

    wall_s: float
    processor_s: float
    """Of all threads."""

    def __str__(self) -> str:
        return f"{self.wall_s:.2f} s ({self.processor_s:.2f} s of processors)"


@dataclass(frozen=True, slots=True)
class Saving:
    """A saving of the trainer and the way to do without it for one step."""

    words: str
    without: Callable[[Bench], Any]
    """Context manager: the saving is off while it is open."""
    optimizer: bool = False
    """True if other parameters are trained without it, so that it needs an optimiser of its own."""


@contextmanager
def _whole_captions(bench: Bench) -> Iterator[None]:
    """Compute all 77 tokens of each caption. The pooled token is then padding, which costs the same as the right one."""
    text = bench.towers.text
    before = dict(text._tokens)
    text._tokens.clear()
    with patch("bioclip_training.towers.text_tower._end", lambda _text, tokens_T: len(tokens_T) - 1):
        yield
    text._tokens.clear()
    text._tokens.update(before)


@contextmanager
def _whole_last_block(_bench: Bench) -> Iterator[None]:
    """Compute the last block for all tokens, and take the pooled one afterwards."""
    from bioclip_training.towers import blocks

    def run(block: Any, x: Any, kernels: Any, *, pooled_B: Any = None, **options: Any) -> Any:
        y = blocks.run_block(block, x, kernels, **options)
        return y if pooled_B is None else blocks._rows(y, pooled_B)

    with ExitStack() as stack:
        for tower in ("text_tower", "vision_tower"):
            stack.enter_context(patch(f"bioclip_training.towers.{tower}.run_block", run))
        yield


@contextmanager
def _torch_kernels(bench: Bench) -> Iterator[None]:
    """Compute with torch's own choice: fused attention and plain layers, all in the run's precision."""
    from bioclip_training.towers.blocks import Kernels

    before = bench.towers.kernels
    number: Any = bench.towers.compute.precision
    plain = Kernels(number, "plain", "fused", number).as_dict()
    bench.towers.use_kernels({"vision": plain, "text": plain})
    yield
    bench.towers.use_kernels(before)


@contextmanager
def _own_forward(bench: Bench) -> Iterator[None]:
    """Compute with open_clip's own forward, under autocast in bf16: neither our blocks, nor cut captions."""
    towers = bench.towers
    text, vision, table, tokens = towers.text._text, towers.vision.fast, towers.text.table, dict(towers.text._tokens)
    towers.text._text, towers.vision.fast, towers.text.table = None, False, None
    towers.text._tokens.clear()
    with _torch_kernels(bench):
        yield
    towers.text._text, towers.vision.fast, towers.text.table = text, vision, table
    towers.text._tokens.clear()
    towers.text._tokens.update(tokens)


@contextmanager
def _whole_embedding(bench: Bench) -> Iterator[None]:
    """Train all 49,408 rows of the token embedding."""
    text = bench.towers.text
    table, weight = text.table, text._text.token_embedding.weight
    text.table = None
    weight.requires_grad_(True)
    yield
    weight.requires_grad_(False)
    weight.grad = None
    text.table = table


@contextmanager
def _each_caption(_bench: Bench) -> Iterator[None]:
    """Encode the caption of each sample, equal ones too."""
    import torch

    from bioclip_training.loop import update

    real = update._features_of

    def features(towers: Any, part: Any) -> Any:
        found = real(towers, part)
        # As many more rows as samples share a caption, with a gradient, so that both passes are paid for.
        again = len(part.images_BHWC) - len(part.captions)
        if again <= 0:
            return found
        more = towers.text_features([part.captions[number % len(part.captions)] for number in range(again)])
        images_BD, replay_BD, captions_UD = found
        kept = (
            captions_UD
            + 0.0 * torch.nn.functional.pad(more, (0, 0, 0, max(0, len(captions_UD) - again)))[: len(captions_UD)]
        )
        return images_BD, replay_BD, kept

    with patch.object(update, "_features_of", features):
        yield


@contextmanager
def _returned_memory(_bench: Bench) -> Iterator[None]:
    """Return freed memory to the system, as glibc does by itself; the caller keeps it otherwise."""
    import ctypes

    libc = ctypes.CDLL(None)
    libc.mallopt(-4, 65536)
    libc.mallopt(-1, 128 * 1024)
    libc.malloc_trim(0)
    yield
    libc.mallopt(-4, 0)
    libc.mallopt(-1, 2**31 - 1)


@contextmanager
def _plain_adam(bench: Bench) -> Iterator[None]:
    """Apply AdamW as one operation after the other."""
    for group in bench.optimizer._adam.param_groups:
        group["fused"], group["foreach"] = False, False
    yield
    for group in bench.optimizer._adam.param_groups:
        group["fused"], group["foreach"] = True, None


SAVINGS = (
    Saving("captions cut at their end", _whole_captions),
    Saving("equal captions of a batch once", _each_caption),
    Saving("last block for the pooled token alone", _whole_last_block),
    Saving("only the tokens of the captions are trained", _whole_embedding, optimizer=True),
    Saving("kernels chosen by probing", _torch_kernels),
    Saving("all of the towers' savings (our blocks and all above but equal captions)", _own_forward, optimizer=True),
    Saving("freed memory kept between steps", _returned_memory),
    Saving("fused AdamW", _plain_adam),
)


def savings(precision: str, rounds: str = str(ROUNDS)) -> dict[str, Any]:
    """Time steps with and without each saving: the ratio of adjacent steps is what the saving gives.

    A step with all savings has one without a saving before it and another one behind it, so that a round of eight savings takes
    twelve steps. Processor time is measured too, which other programs disturb less.
    """
    from bioclip_training.loop.memory_reuse import reused_memory

    bench = Bench(ARCHITECTURE, precision, BATCH)
    _with_padding(bench)
    pairs: dict[str, list[tuple[Taken, Taken]]] = {saving.words: [] for saving in SAVINGS}
    others = {saving.words: _other_optimizer(bench, saving) for saving in SAVINGS if saving.optimizer}
    with reused_memory():
        for number in range(int(rounds) + 1):
            # The first round has two images: it only makes kernels and moments.
            step = bench.step if number else partial(bench.step, 2)
            for at in range(0, len(SAVINGS), 2):
                one = _without(bench, SAVINGS[at], step, others)
                usual = _taken(step)
                two = [_without(bench, saving, step, others) for saving in SAVINGS[at + 1 : at + 2]]
                for saving, without in zip(SAVINGS[at : at + 2], [one, *two], strict=True):
                    if number:
                        pairs[saving.words].append((usual, without))
                        print(f"{saving.words}: {usual}, without {without}", file=sys.stderr, flush=True)
    found = {
        words: {
            side: {
                "with_s": Spread.of([getattr(usual, side) for usual, _ in taken]).as_dict(),
                "ratio": Spread.of(
                    [getattr(without, side) / getattr(usual, side) for usual, without in taken]
                ).as_dict(),
            }
            for side in SIDES
        }
        for words, taken in pairs.items()
    }
    return {
        "batch": BATCH, "architecture": ARCHITECTURE, "rounds": int(rounds), "kernels": bench.towers.kernels, "savings": found,
    }  # fmt: skip


def _without(bench: Bench, saving: Saving, step: Callable[[], None], others: Mapping[str, Any]) -> Taken:
    mine = bench.optimizer
    with saving.without(bench):
        bench.optimizer = others.get(saving.words, mine)
        taken = _taken(step)
    bench.optimizer = mine
    return taken


def _with_padding(bench: Bench) -> None:
    """Add the padding's token to the trained ones, for steps over whole captions."""
    from bioclip_training.loop.optimizer import Optimizer
    from bioclip_training.towers.token_table import TokenTable

    text = bench.towers.text
    if text.table is not None:
        text.table = TokenTable(text._text.token_embedding.weight, [*text.table.used, 0])
        bench.optimizer = Optimizer(bench.towers, bench.config, 1000)


def _other_optimizer(bench: Bench, saving: Saving) -> Any:
    from bioclip_training.loop.optimizer import Optimizer

    with saving.without(bench):
        return Optimizer(bench.towers, bench.config, 1000)


def _taken(work: Callable[[], object]) -> Taken:
    wall_s, processor_s = time.perf_counter(), time.process_time()
    work()
    return Taken(time.perf_counter() - wall_s, time.process_time() - processor_s)


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


def tables(cells: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the sections of the trainer for the page."""
    found = []
    measured = {number: cells.get(f"training-savings-{number}") for number in PRECISIONS}
    if any(measured.values()):
        lines = [
            f"## Trainer: what each saving gives ({ARCHITECTURE}, batch {BATCH})",
            "",
            "Time of a step without the saving divided by that of an adjacent step with all of them; medians of pairs and quartiles.",
            "",
            "| saving | "
            + " | ".join(f"{number}, {words}" for number in PRECISIONS for words in SIDES.values())
            + " |",
            "|---|" + "--:|" * (len(PRECISIONS) * len(SIDES)),
        ]
        for saving in SAVINGS:
            lines.append(
                f"| {saving.words} | "
                + " | ".join(_gain(measured[number], saving.words, side) for number in PRECISIONS for side in SIDES)
                + " |"
            )
        seconds = [
            f"{number} {_step_s(one):.2f} s per step, commit {one['commit']}, load {one['load']:.1f}"
            for number, one in measured.items()
            if one
        ]
        found.append(
            "\n".join(
                [
                    *lines,
                    "",
                    "; ".join(seconds) + ". `python -m benchmarks.training_cells training-savings fp32|bf16`.",
                ]
            )
        )
    rows = [
        (model, number, cells[f"training-memory-{model}-{number}"])
        for model in MEMORY_MODELS
        for number in PRECISIONS
        if f"training-memory-{model}-{number}" in cells
    ]
    if rows:
        lines = [
            f"## Trainer: memory of a step, and the largest batch in {BUDGET_GIB:g} GiB",
            "",
            "Highest resident memory of a process in steps of two sizes. The memory of one image at once is the slope between them, or the "
            "values that a forward pass keeps for it if these are more; the largest batch follows from it and was not tried. Weights, "
            "gradients and moments are fp32 in bf16 too.",
            "",
            "| model | precision | way | measured batches, GiB | without images, GiB | MiB per image at once | largest batch |",
            "|---|---|---|---|--:|--:|--:|",
        ]
        for model, number, one in rows:
            for mode, values in one["modes"].items():
                both = ", ".join(
                    f"{batch}: {gib:.2f}" for batch, gib in zip(values["batches"], values["gib"], strict=True)
                )
                cells_of = [
                    both,
                    f"{values['fixed_gib']:.2f}",
                    f"{values['mib_per_image']:.1f}",
                    f"{values['largest']:,}",
                ]
                lines.append(f"| {model} | {number} | {mode} | " + " | ".join(cells_of) + " |")
        found.append("\n".join([*lines, "", "`python -m benchmarks.training_cells training-memory MODEL PRECISION`."]))
    return found


def _step_s(measured: Mapping[str, Any]) -> float:
    return float(next(iter(measured["savings"].values()))["wall_s"]["with_s"]["median"])


def _gain(measured: Mapping[str, Any] | None, words: str, side: str) -> str:
    spread = (measured or {}).get("savings", {}).get(words, {}).get(side, {}).get("ratio")
    return f"{spread['median']:.2f}× ({spread['q1']:.2f}–{spread['q3']:.2f})" if spread else "–"


def main() -> None:
    kind, *arguments = sys.argv[1:]
    jobs: dict[str, Callable[..., dict[str, Any]]] = {
        "training-savings": savings,
        "training-memory": memory,
    }
    print(json.dumps(jobs[kind](*arguments)))


if __name__ == "__main__":
    main()
