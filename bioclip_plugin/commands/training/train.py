"""``bioclip-plugin train``: from a catalog or shards to a checkpoint that the other commands open."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from bioclip_plugin.cli import EXIT_DONE, EXIT_INTERRUPTED, plugins_of
from bioclip_plugin.commands.options import device_option
from bioclip_plugin.commands.reporting import console_for, duration

if TYPE_CHECKING:
    from rich.console import Console

    from bioclip_training.loop.recipe import TrainingProgress, TrainResult

_CHOICES = {
    "method": ("full", "lora"),
    "loss": ("taxon", "clip", "siglip"),
    "augmentation": ("recipe", "camera", "specimen", "none"),
    "balance": ("none", "sampling", "logits"),
    "replay_projection": ("shared", "second"),
    "precision": ("auto", "fp32", "bf16"),
}


def _number(name: str, default: Any, text: str, **more: Any) -> Callable[[Any], Any]:
    """An option with a number, whose default is shown."""
    return click.option(f"--{name}", type=type(default), default=default, show_default=True, help=text, **more)


def _choice(name: str, default: str, text: str) -> Callable[[Any], Any]:
    choices = click.Choice(_CHOICES[name.replace("-", "_")])
    return click.option(f"--{name}", type=choices, default=default, show_default=True, help=text)


@click.command(
    epilog="Several GPUs or processes: torchrun --nproc-per-node 2 -m -- bioclip_plugin train ... The defaults are for fine-tuning "
    "a small collection; docs/training.md has recipes for other cases."
)
@click.option(
    "--data",
    required=True,
    metavar="CATALOG|SHARDS",
    help="A catalog (.parquet) or a folder of shards; its part train is learnt.",
)
@click.option(
    "--start",
    required=True,
    metavar="MODEL",
    help="A model as --model takes it; or from nothing: new:small, new:ViT-B-32, new:FILE.json.",
)
@click.option(
    "--output",
    required=True,
    metavar="FOLDER",
    help="The checkpoint's folder; after an interruption the same command goes on.",
)
@click.option(
    "--replay",
    metavar="CATALOG|SHARDS",
    help="Images of what the model knows already, mixed into each batch so that it is not forgotten.",
)
@_number("replay-ratio", 0.5, "Replay images for each image of --data.")
@_number("replay-weight", 1.0, "Weight of the replay batch's loss.")
@_choice(
    "replay-projection",
    "second",
    "second: replay images have a projection of their own, as in BioCLIP 2; shared: the model's.",
)
@_choice("method", "full", "full trains all weights; lora adds low-rank matrices to the vision tower (extra lora).")
@_number("lora-rank", 8, "Rank of LoRA's matrices.")
@_number("lora-alpha", 16.0, "LoRA's scale, divided by the rank.")
@_choice(
    "loss", "taxon", "taxon: images and captions of one taxon belong together; clip: the reference; siglip: pairwise."
)
@click.option(
    "--captions",
    metavar="NAME=SHARE,...",
    help="Share of each caption: taxonomic, scientific, common, scientific_common, taxonomic_common.",
)
@click.option(
    "--epochs",
    type=float,
    help="Passes over the data; --steps has precedence.  [default: 20, from nothing 80; at least 150 steps]",
)
@click.option("--steps", type=int, help="Optimiser steps.")
@_number("batch-size", 64, "Images of --data a step, over all processes.")
@_number("accumulate", 1, "Compute a batch in this many parts, with the whole batch's negatives.")
@click.option(
    "--learning-rate",
    type=float,
    help="At its highest.  [default: 0.2 / width of the text tower]",
)
@click.option(
    "--trunk-rate",
    type=float,
    help="The vision tower's rate as a share of the others'.  [default: 0.1; from nothing 1]",
)
@_number("weight-decay", 0.2, "Of matrices only.")
@_number("warmup", 0.1, "Share of the steps in which the learning rate rises, if below 1; else steps.")
@_number("clip-norm", 1.0, "Largest norm of the gradient; 0 for none.")
@click.option("--lock-image", is_flag=True, help="Leave the vision tower as it is, but for its projection.")
@click.option("--lock-text", is_flag=True, help="Leave the text tower as it is.")
@_choice("augmentation", "recipe", "recipe: crops as BioCLIP; camera: night, blur, mirror; specimen: rotation, mirror.")
@_choice("balance", "none", "For long tails: sampling draws all taxa equally often, logits adjusts the loss.")
@_number("drop-path", 0.0, "Stochastic depth of the vision tower, at its last block.")
@_number(
    "average",
    0.0,
    "Decay a step of a running average of the weights, which is then what is validated and kept; 0 for none.",
)
@click.option(
    "--wise-ft/--no-wise-ft",
    default=True,
    show_default=True,
    help="At the end, interpolate between old and new weights; dev decides.",
)
@_number("dev-fraction", 0.1, "Share of the groups of train that the choice is made on, and that is not learnt.")
@_number("validate-every", 0, "Steps between validations; 0 is 20 times a run.")
@_number("save-every", 0, "Steps between saved states; 0 is with each validation.")
@_number("spike", 3.0, "A loss this many times the recent median goes back to the last good step; 0 never.")
@click.option("--gradient-checkpointing", is_flag=True, help="Less memory, more time: compute activations twice.")
@click.option("--compile", is_flag=True, help="Compile the vision tower with torch.compile.")
@device_option
@_choice(
    "precision", "auto", "Of the computing, over fp32 weights; auto is bf16 where the device multiplies it natively."
)
@_number("workers", 0, "Decoding threads; 0 is one a core.")
@_number("cache-mb", 2048, "Decoded images kept in memory.")
@_number("seed", 0, "Of everything random.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print the result as JSON on standard output, and nothing else there."
)
@click.pass_context
def train(ctx: click.Context, /, as_json: bool, captions: str | None, **options: Any) -> int:
    """Train a model on labelled images; the result is a checkpoint with its label set, ready for classify.

    Weights are chosen on a dev part that is cut out of train; val and unseen are never looked at, they are for evaluate.
    Ctrl-C saves the state, and the same command goes on, step for step as if it had not been interrupted.

    Before it: catalog build; after it: evaluate --split val, and classify.

    \b
    bioclip-plugin train --data collection.parquet --start bioclip-2 --output my_model
    bioclip-plugin train --data collection.parquet --start bioclip-2 --replay old.parquet --output my_model
    """
    from bioclip_training.loop.memory_reuse import reused_memory
    from bioclip_training.loop.recipe import CAPTION_MIX, TrainConfig, TrainingStopped

    console = console_for(to_stderr=as_json)
    mix = caption_mix(captions) if captions else CAPTION_MIX
    try:
        # The process is ours alone here; a host's allocator is not to be touched.
        with asked_to_stop() as stop, _Line(console) as line, reused_memory():
            config = TrainConfig(**options, captions=mix, tell=line.hear, should_stop=stop.is_set)
            result = plugins_of(ctx).hook.train_model(config=config)
    except TrainingStopped as stopped:
        console.print(f"Interrupted: {stopped}. The same command goes on where it was.")
        return EXIT_INTERRUPTED
    if not _is_first_process():
        return EXIT_DONE
    if as_json:
        click.echo(result.as_json())
    else:
        _summarise(console, result, config.data, line.seconds)
    return EXIT_DONE


def caption_mix(text: str) -> dict[str, float]:
    """``taxonomic=0.7,common=0.3`` as a mapping.

    >>> caption_mix("taxonomic=0.7,common=0.3")
    {'taxonomic': 0.7, 'common': 0.3}
    """
    from bioclip_core.errors import UsageError

    mix = {}
    for part in text.split(","):
        name, _, share = part.partition("=")
        try:
            mix[name.strip()] = float(share) if share else 1.0
        except ValueError:
            raise UsageError(
                f"--captions {text!r}: {share!r} is no number; write for example taxonomic=0.7,common=0.3"
            ) from None
    return mix


@contextmanager
def asked_to_stop() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set; a second Ctrl-C ends at once. The handlers before are put back."""
    event = threading.Event()

    def handle(number: int, _: Any) -> None:
        if event.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        event.set()

    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Line:
    """The live line of a run on a terminal, plain lines when not; messages stay."""

    _PLAIN_EVERY = 10.0

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Any = None
        self._task: Any = None
        self._said_at = 0.0
        self._dev = ""
        self._first: tuple[int, float] | None = (
            None  # step and time of the first one heard of: a resumed run begins late
        )
        self.seconds = 0.0

    def __enter__(self) -> _Line:
        import time

        self._began = time.monotonic()
        if self._console.is_terminal:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("Training"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[said]}"), TimeRemainingColumn(),
                console=self._console, transient=True,
            )  # fmt: skip
            self._bar.start()
            self._task = self._bar.add_task("Training", total=None, said="")
        return self

    def __exit__(self, *_: object) -> None:
        import time

        self.seconds = time.monotonic() - self._began
        if self._bar is not None:
            self._bar.stop()

    def hear(self, progress: TrainingProgress) -> None:
        """Show one piece of progress."""
        import time

        if progress.dev_top1 is not None:
            self._dev = f", dev top-1 {progress.dev_top1:.1%}"
            self._console.print(f"step {progress.step} of {progress.total}{self._dev} {progress.message}".rstrip())
            return
        if progress.message:
            self._console.print(progress.message)
            return
        said = f"loss {progress.loss:.3f}, {progress.samples_per_s:.1f} samples/s{self._dev}"
        if self._bar is not None:
            self._bar.update(self._task, completed=progress.step, total=progress.total, said=said)
        elif time.monotonic() - self._said_at >= self._PLAIN_EVERY:
            self._said_at = time.monotonic()
            self._console.print(f"step {progress.step} of {progress.total}: {said}{self._left(progress)}")
        self._first = self._first or (progress.step, time.monotonic())

    def _left(self, progress: TrainingProgress) -> str:
        """How long the rest takes at the pace since the first step that was heard of; nothing before there is a pace."""
        import time

        if self._first is None or progress.step <= self._first[0]:
            return ""
        pace_s = (time.monotonic() - self._first[1]) / (progress.step - self._first[0])
        return f", about {duration(pace_s * (progress.total - progress.step))} left"


def _is_first_process() -> bool:
    import os

    return os.environ.get("RANK", "0") == "0"


def _summarise(console: Console, result: TrainResult, data: str, seconds: float) -> None:
    kept = f"step {result.best_step}" if result.best_step else "the weights of the start, which no step improved on dev"
    console.print(f"{result.steps} steps, {duration(seconds)} in all; kept: {kept}")
    if result.dev_top1 is not None:
        before = f", {result.start_dev_top1:.1%} before training" if result.start_dev_top1 is not None else ""
        console.print(
            f"top-1 on dev: {result.dev_top1:.1%}{before} (chosen on these images; evaluate on val says how good it is)"
        )
    if result.quarantined:
        console.print(
            f"{result.quarantined} samples could not be read: {result.output / 'training' / 'quarantine.csv'}"
        )
    model = f"local-dir:{result.output}"
    console.print(
        f"Checkpoint: {result.output}, with its label set; curves.png, metrics.jsonl and ladder.json beside it"
    )
    console.print(f"Next: bioclip-plugin evaluate --data {data} --split val --model {model} --output report")
    console.print(f"      bioclip-plugin classify PATHS --model {model}")
    sys.stdout.flush()
