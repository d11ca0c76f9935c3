"""``bioclip-plugin train``: from a catalog or shards to a checkpoint that the other commands open."""

from __future__ import annotations

import csv
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import click

from bioclip_core.errors import UsageError
from bioclip_core.nouns import number_of
from bioclip_core.progress import duration
from bioclip_plugin.commands.context import (
    EXIT_COULD_NOT_RUN,
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EXIT_WITH_FAILURES,
    plugins_of,
)
from bioclip_plugin.commands.options import filled, json_option, options_from
from bioclip_plugin.commands.progress import ProgressLine
from bioclip_plugin.commands.reporting import console_for, print_lines, printable
from bioclip_plugin.commands.signals import Stop, asked_to_stop, interruptible
from bioclip_plugin.commands.training.next_steps import after_training
from bioclip_training.evidence.minima import counted
from bioclip_training.loop.memory_reuse import reused_memory
from bioclip_training.loop.plan_record import TrainingPlan
from bioclip_training.loop.recipe import CAPTION_MIX, TrainConfig, TrainingProgress, TrainingStopped, TrainResult

_MOST_PATIENCE_S = 900.0
"""Limit of the time that a step is waited for after Ctrl-C."""


@click.command(
    epilog="\b\nSeveral GPUs or processes: torchrun --nproc-per-node 2 -m -- bioclip_plugin train ...\n\n"
    "The defaults are for fine-tuning a small collection; docs/training.md has recipes for other cases."
)
@options_from(TrainConfig, omit=["captions", "betas", "eps"])
@click.option(
    "--captions",
    metavar="NAME=SHARE,...",
    show_default=",".join(f"{name}={share:g}" for name, share in CAPTION_MIX.items()),
    help="Share of each caption: taxonomic, scientific, common, scientific_common, taxonomic_common.",
)
@click.option(
    "--plan",
    is_flag=True,
    help="Say what would be done, with time, memory and disk from a few measured steps, and end; the folder stays as it is.",
)
@json_option
@click.pass_context
def train(ctx: click.Context, /, plan: bool, as_json: bool, captions: str | None, **options: Any) -> int:
    """Train a model on labelled images; the result is a checkpoint with its label set, ready for classify.

    Weights are chosen on a dev part that is cut out of train; val and unseen are never used, they are for evaluate.
    Ctrl-C saves the state, and the same command continues, step for step as if it had not been interrupted. The step
    in progress is waited for; a second Ctrl-C ends at once, and the command then continues from the last saved state. Samples
    that cannot be read, or are not those that the catalog recorded, are skipped and listed; the exit code is then 3.

    Before it: catalog build; after it: evaluate --split val, and classify.

    \b
    bioclip-plugin train --data collection.parquet --start bioclip-2 --output my_model --plan
    bioclip-plugin train --data collection.parquet --start bioclip-2 --output my_model
    bioclip-plugin train --data collection.parquet --start bioclip-2 --replay old.parquet --output my_model
    """
    console = console_for(to_stderr=as_json)
    is_first = os.environ.get("RANK", "0") == "0"
    console.quiet = not is_first  # the first process speaks for all
    mix = caption_mix(captions) if captions else CAPTION_MIX
    line = ProgressLine("Opening", unit="steps", console=console, beats=True)
    outcome = "Nothing was written." if plan else "The same command continues from the last saved state."
    try:
        # reused_memory: the process is ours alone here; a host's allocator must not be touched.
        with (
            interruptible(console, outcome),
            asked_to_stop() as stop,
            line,
            reused_memory(),
        ):
            config = filled(TrainConfig, options, captions=mix, tell=_shown_on(line, stop), should_stop=stop.is_asked)
            hook = plugins_of(ctx).hook
            found: TrainingPlan | TrainResult = (
                hook.plan_training(config=config) if plan else hook.train_model(config=config)
            )
    except TrainingStopped as stopped:
        console.print(f"Interrupted: {stopped}. The same command continues there.")
        return EXIT_INTERRUPTED
    if plan and stop.is_asked():  # in the measurement
        console.print(f"Interrupted. {outcome}")
        return EXIT_INTERRUPTED
    if not is_first:
        return EXIT_DONE
    if as_json:
        click.echo(found.as_json())
    elif isinstance(found, TrainingPlan):
        print_lines(console, *found.lines())
    else:
        print_lines(console, *_summary(found, config, line.seconds))
    sys.stdout.flush()
    if isinstance(found, TrainingPlan):
        return EXIT_COULD_NOT_RUN if found.problems else EXIT_DONE
    return EXIT_WITH_FAILURES if found.quarantined else EXIT_DONE


def caption_mix(text: str) -> dict[str, float]:
    """Read the shares of captions.

    >>> caption_mix("taxonomic=0.7,common=0.3")
    {'taxonomic': 0.7, 'common': 0.3}
    """
    mix = {}
    for part in text.split(","):
        name, _, share = part.partition("=")
        try:
            mix[name.strip()] = float(share) if share else 1.0
        except ValueError:
            raise UsageError(
                f"--captions {text!r}: {share!r} is not a number; write for example taxonomic=0.7,common=0.3"
            ) from None
    return mix


def _shown_on(line: ProgressLine, stop: Stop) -> Callable[[TrainingProgress], None]:
    """Return a function that shows the progress of a run: messages and validations as lines, steps on the progress line.

    It also notes how long the run needs to its next question whether to stop: for a step, with a validation.
    """
    dev, is_training, pace = "", False, _Pace()

    def show(progress: TrainingProgress) -> None:
        nonlocal dev, is_training
        stop.takes(pace.longest_s(progress))
        is_training = is_training and progress.step < progress.total
        if progress.dev_top1 is not None:
            of = f" of {progress.dev_images}" if progress.dev_images else ""
            dev = f", dev top-1 {progress.dev_top1:.1%}{of}"
            line.console.print(f"step {progress.step} of {progress.total}{dev} {progress.message}".rstrip())
        elif progress.message:
            line.console.print(progress.message)
        elif progress.stage and is_training:  # a validation between two steps
            line.note = f"{progress.stage.lower()} {progress.stage_done} of {progress.stage_total}{dev}"
            line.reach(progress.step)
        elif progress.stage:
            line.stage(progress.stage, progress.stage_done, progress.stage_total, "")
        else:
            line.note = f"loss {progress.loss:.3f}, {progress.samples_per_s:.1f} samples/s{dev}"
            already = None if is_training else progress.step - 1
            line.stage("Training", progress.step, progress.total, "steps", already=already)
            is_training = progress.step < progress.total

    return show


def _quarantined(result: TrainResult) -> list[str]:
    """Return the number of skipped samples with the first of them."""
    if not result.quarantined:
        return []
    file = result.output / "training" / "quarantine.csv"
    with file.open(newline="", encoding="utf-8") as stream:
        first = next(csv.DictReader(stream), {})
    return [
        f"Skipped: {number_of(result.quarantined, 'sample')}, listed in {file}; the first is "
        f"{printable(str(first.get('sample', '')))}: {printable(str(first.get('reason', '')))}"
    ]


class _Pace:
    """The longest time between two moments at which a run asks whether to stop, as seen so far."""

    def __init__(self) -> None:
        self._last_at: float | None = None
        self._step_s = self._validation_s = 0.0

    def longest_s(self, progress: TrainingProgress) -> float:
        """Return that time with some reserve, after one more report; 0 while the run is not asking: before and after its steps."""
        now = time.monotonic()
        if progress.loss is not None or progress.dev_top1 is not None:
            if self._last_at is not None and progress.dev_top1 is not None:
                self._validation_s = max(self._validation_s, now - self._last_at)
            elif self._last_at is not None:
                self._step_s = max(self._step_s, now - self._last_at)
            self._last_at = now
        is_asking = self._last_at is not None and progress.step < progress.total
        return min(_MOST_PATIENCE_S, 1.5 * (self._step_s + self._validation_s)) if is_asking else 0.0


def _summary(result: TrainResult, config: TrainConfig, seconds: float) -> list[str]:
    kept = (
        f"step {result.best_step}"
        if result.best_step
        else "the starting weights, which training did not improve on dev"
    )
    before = f", {result.start_dev_top1:.1%} before training" if result.start_dev_top1 is not None else ""
    of = f" of {counted(result.dev_images, result.dev_groups)}" if result.dev_images else ""
    return [
        f"{result.steps} steps, {duration(seconds)} in all; kept: {kept}",
        f"top-1 on dev: {result.dev_top1:.1%}{of}{before}" if result.dev_top1 is not None else "",
        result.rule,
        *_quarantined(result),
        f"Checkpoint: {result.output}, with its label set; curves.png, metrics.jsonl and ladder.json beside it",
        result.recommendation,
        *after_training(result.output, config.data, config.replace_prefix, result.commands),
    ]
