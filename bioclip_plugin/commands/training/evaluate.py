"""``bioclip-plugin evaluate``: how good a model is on held-out images of a catalog."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bioclip_plugin.cli import EXIT_DONE, EXIT_INTERRUPTED, EXIT_WITH_FAILURES, plugins_of
from bioclip_plugin.commands.options import force_option, options_from
from bioclip_plugin.commands.reporting import Report, console_for, log_lines, print_table, terminated_like_interrupted
from bioclip_plugin.items.request import DEFAULT_MODEL
from bioclip_training.evaluation.config import EvaluationConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

_UNITS = {"Labels": "labels", "Measuring": "steps", "Writing": "files"}


@click.command()
@options_from(EvaluationConfig, omit=["groups", "resamples", "force"], model=DEFAULT_MODEL)
@force_option
@click.pass_context
def evaluate(ctx: click.Context, /, words: tuple[str, ...], labels: str | None, **options: Any) -> int:
    """Measure a model on held-out images: accuracy at every rank with intervals, few-shot, calibration, consensus.

    The folder gets report.html (one file, to be looked at and passed on), metrics.json, examples.parquet (a row an image), and
    the label set where it was made of the catalog.

    \b
    bioclip-plugin evaluate --data leaves.parquet --model bioclip-2 --output before
    bioclip-plugin evaluate --data leaves.parquet --model local-dir:trained --output after --compare before
    bioclip-plugin evaluate --data leaves.parquet --split unseen --model local-dir:trained --output unseen
    bioclip-plugin evaluate --data reef.parquet --model bioclip-2 --label "parrot fish" --label wrasse --output words
    """
    from bioclip_training.evaluation.run import evaluate as measure

    words, groups, labels = _words(words, labels)
    console = console_for()
    config = EvaluationConfig(labels=labels, words=words, groups=groups, **options)
    try:
        with log_lines(console), terminated_like_interrupted(), Stages(console) as stages:
            metrics = measure(config, plugins_of(ctx).models(), stages.progress)
    except KeyboardInterrupt:
        console.print(f"Interrupted; nothing was written to {config.output}.")
        return EXIT_INTERRUPTED
    _summarise(console, metrics)
    console.print(f"Report: {Path(config.output) / 'report.html'}")
    return EXIT_WITH_FAILURES if metrics["images"]["failed"] else EXIT_DONE


class Stages:
    """Progress of work that has several stages, each with a bar or lines of its own. Use it in a ``with`` statement."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._report: Report | None = None

    def __enter__(self) -> Stages:
        return self

    def __exit__(self, *_: object) -> None:
        if self._report:
            self._report.__exit__()
            self._report = None

    def progress(self, what: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` is done of a stage; another stage ends the one before."""
        if self._report is None or self._report.what != what:
            self.__exit__()
            self._report = Report(what, unit=_UNITS.get(what, "images"), console=self._console)
            self._report.total = total
            self._report.__enter__()
        self._report.advance(done - self._report.count)


def _words(words: tuple[str, ...], labels: str | None) -> tuple[tuple[str, ...], tuple[str, ...], str | None]:
    """Words of the user's own, their groups, and a label set's folder; a file of words is read as by classify."""
    from bioclip_plugin.running.label_choice import read_words

    if labels and Path(labels).suffix.lower() in (".txt", ".csv", ".tsv"):
        read, groups = read_words(Path(labels).expanduser())
        return (*read, *words), groups if not words else (), None
    return words, (), labels


def _summarise(console: Console, metrics: Mapping[str, Any]) -> None:
    from bioclip_training.evaluation.markup import percent

    images, found = metrics["images"], metrics["provenance"]
    console.print(
        f"{images['n']} images of {images['taxa']} taxa, {images['failed']} could not be used; {found['device']}; "
        f"{metrics['seconds']['all']:.1f} s"
    )
    console.print(f"Labels: {found['labels']['described']}")
    _zero_shot(console, metrics["zero_shot"], custom=bool(found["options"]["words"]))
    if few := metrics["few_shot"]:
        said = [
            f"{shots} example{'s' if shots > 1 else ''}: {percent(few[f'k{shots}'])} ± {percent(few[f'k{shots}_spread'])}"
            for shots in (1, 5)
        ]
        console.print(f"Few-shot over {few['draws']} draws, {few['k1_taxa']} taxa: {'; '.join(said)}")
    calibration, consensus = metrics["calibration"], metrics["consensus"]
    temperature = f"temperature {calibration['temperature']:.3g}" if calibration["temperature"] else "no temperature"
    console.print(f"Calibration error: {percent(calibration['ece'])} ({temperature})")
    given, right = percent(consensus["coverage"]), percent(consensus["accuracy"])
    console.print(f"Consensus at {consensus['threshold']:g}: for {given} of the images, right for {right} of them")
    _compared(console, metrics.get("comparison"))


def _zero_shot(console: Console, zero_shot: Mapping[str, Any], *, custom: bool) -> None:
    from bioclip_training.evaluation.markup import interval, percent
    from bioclip_training.evaluation.zero_shot import level_name

    rows = [
        [level_name(level, custom=custom), percent(level_figures["top1"]), interval(level_figures["top1_ci95"]),
         percent(level_figures["top5"]), level_figures["n"]]
        for level, level_figures in zero_shot.items()
    ]  # fmt: skip
    print_table(console, ["rank", "top-1", "95% interval", "top-5", "images"], rows, title="Zero-shot")
    exact = zero_shot["label"]
    if exact["unanswerable"]:
        answerable = exact["answerable"]
        console.print(
            f"Not in the label set: the taxa of {exact['unanswerable']} images; of the other {answerable['n']}, "
            f"{percent(answerable['top1'])} are right"
        )


def _compared(console: Console, comparison: Mapping[str, Any] | None) -> None:
    from bioclip_training.evaluation.markup import percent, points

    if not comparison:
        return
    rows = [
        [
            level, percent(row["top1"]), percent(row["other_top1"]), points(row["difference"]),
            f"{points(row['difference_ci95'][0])} to {points(row['difference_ci95'][1])}", row["n"],
        ]
        for level, row in comparison["by_rank"].items()
    ]  # fmt: skip
    title = f"Beside {comparison['other_model']} ({comparison['other']})"
    if not console.is_terminal:
        console.print(title)
    print_table(console, ["rank", "here", "there", "points", "95% interval", "images"], rows, title=title)
