"""``bioclip-plugin train``: from a catalog or shards to a checkpoint that the other commands open."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from bioclip_plugin.cli import EXIT_DONE, EXIT_INTERRUPTED, plugins_of
from bioclip_plugin.commands.options import options_from
from bioclip_plugin.commands.reporting import console_for, duration
from bioclip_training.loop.recipe import TrainConfig

if TYPE_CHECKING:
    from rich.console import Console

    from bioclip_training.loop.recipe import TrainingProgress, TrainResult


@click.command(
    epilog="Several GPUs or processes: torchrun --nproc-per-node 2 -m -- bioclip_plugin train ... The defaults are for fine-tuning "
    "a small collection; docs/training.md has recipes for other cases."
)
@options_from(TrainConfig, omit=["captions", "betas", "eps", "tell", "should_stop"])
@click.option(
    "--captions",
    metavar="NAME=SHARE,...",
    help="Share of each caption: taxonomic, scientific, common, scientific_common, taxonomic_common.",
)
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
    from bioclip_training.loop.recipe import CAPTION_MIX, TrainingStopped

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
