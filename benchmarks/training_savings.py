"""How much time each saving of the trainer gives: a saving is off for one step, beside a step with all of them.

python -m benchmarks.training_cells training-savings fp32|bf16
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest.mock import patch

from benchmarks import fixtures
from benchmarks.pairs import Spread
from benchmarks.training_cells import ARCHITECTURE, BATCH, Bench

ROUNDS = 2 if fixtures.QUICK else 7
SIDES = {"wall_s": "time", "processor_s": "processor time"}


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
