"""``bioclip-plugin evaluate``: how good a model is on held-out images of a catalog."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bioclip_core.captions import Caption
from bioclip_plugin.cli import EXIT_DONE, EXIT_INTERRUPTED, EXIT_WITH_FAILURES, plugins_of
from bioclip_plugin.commands.options import device_option, force_option, model_option
from bioclip_plugin.commands.reporting import Report, console_for, log_lines, print_table, terminated_like_interrupted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

_UNITS = {"Labels": "labels", "Measuring": "steps", "Writing": "files"}

data_option = click.option("--data", required=True, help="The catalog: a .parquet file that catalog build made.")

encoding_options = (
    click.option("--batch-size", type=click.IntRange(min=1), help="Regions encoded at once.  [default: 16, on a GPU 128]"),
    click.option("--workers", type=click.IntRange(min=1), help="Decoding threads.  [default: one a core, at most 16]"),
    device_option,
    click.option(
        "--precision", type=click.Choice(["auto", "fp32", "bf16", "fp16"]), default="auto", show_default=True,
        help="auto is bf16 where the device multiplies it natively, else fp32.",
    ),
)  # fmt: skip


def with_encoding_options(function: Any) -> Any:
    """The options of a command that encodes a catalog's images."""
    for option in reversed(encoding_options):
        function = option(function)
    return function


@click.command()
@data_option
@click.option(
    "--split", "splits", multiple=True, default=("val",), show_default=True,
    help="Part of the catalog: train, dev, val, unseen, all, or a word of its own; may be given again.",
)  # fmt: skip
@model_option
@click.option("--output", required=True, type=click.Path(path_type=Path), help="The report's folder.")
@click.option(
    "--labels",
    help="A label set's folder, or words of your own (.txt, .csv).  [default: every taxon of the catalog, all splits]",
)
@click.option(
    "--label",
    "words",
    multiple=True,
    metavar="WORDS",
    help="A label of your own instead of taxa; given again for each.",
)
@click.option(
    "--truth-column", default="common_name", show_default=True, metavar="COLUMN",
    help="The catalog's column that says which of your own labels is right.",
)  # fmt: skip
@click.option(
    "--caption", type=click.Choice([kind.value for kind in Caption]), default=Caption.TAXONOMIC.value, show_default=True,
    help="What the text tower reads where labels are made of the catalog.",
)  # fmt: skip
@click.option(
    "--few-shot/--no-few-shot",
    default=True,
    show_default=True,
    help="Also classify by 1 and by 5 example images of each taxon.",
)
@click.option(
    "--draws", type=click.IntRange(min=1), default=5, show_default=True, help="How often the examples are drawn."
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the draws and the bootstrap."
)
@click.option(
    "--threshold", type=float, default=0.65, show_default=True, help="Summed probability that the consensus needs."
)
@click.option("--compare", metavar="FOLDER", help="Another evaluation of the same images, to compare with.")
@with_encoding_options
@force_option
@click.pass_context
def evaluate(ctx: click.Context, /, words: tuple[str, ...], labels: str | None, output: Path, **options: Any) -> int:
    """Measure a model on held-out images: accuracy at every rank with intervals, few-shot, calibration, consensus.

    The folder gets report.html (one file, to be looked at and passed on), metrics.json, examples.parquet (a row an image), and
    the label set where it was made of the catalog.

    \b
    bioclip-plugin evaluate --data leaves.parquet --model bioclip-2 --output before
    bioclip-plugin evaluate --data leaves.parquet --model local-dir:trained --output after --compare before
    bioclip-plugin evaluate --data leaves.parquet --split unseen --model local-dir:trained --output unseen
    bioclip-plugin evaluate --data reef.parquet --model bioclip-2 --label "parrot fish" --label wrasse --output words
    """
    from bioclip_training.evaluation import EvaluationConfig
    from bioclip_training.evaluation import evaluate as measure

    words, groups, labels = _words(words, labels)
    console = console_for()
    config = EvaluationConfig(output=str(output), labels=labels, words=words, groups=groups, **options)
    try:
        with log_lines(console), terminated_like_interrupted(), Stages(console) as stages:
            metrics = measure(config, plugins_of(ctx).models(), stages.progress)
    except KeyboardInterrupt:
        console.print(f"Interrupted; nothing was written to {output}.")
        return EXIT_INTERRUPTED
    _summarise(console, metrics)
    console.print(f"Report: {output / 'report.html'}")
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
