"""``bioclip-plugin evaluate``: accuracy of a model on held-out images of a catalog."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from bioclip_core.files.homes import with_home
from bioclip_core.nouns import number_of
from bioclip_plugin.commands.context import EXIT_DONE, EXIT_WITH_FAILURES, plugins_of
from bioclip_plugin.commands.options import filled, force_option, options_from
from bioclip_plugin.commands.progress import ProgressLine
from bioclip_plugin.commands.reporting import console_for, failure_lines, log_lines, print_lines, print_table
from bioclip_plugin.commands.signals import interruptible
from bioclip_plugin.commands.training.evaluate_suites import SHARED_OPTIONS, check_catalog_options, evaluate_published
from bioclip_plugin.items.request import DEFAULT_MODEL
from bioclip_training.evaluation.config import EvaluationConfig
from bioclip_training.evidence.minima import counted
from bioclip_training.suites.config import SuiteConfig

_UNITS = {"Labels": "labels", "Measuring": "steps", "Writing": "files"}
_WORD_FILES = (".txt", ".csv", ".tsv")


@click.command()
@options_from(EvaluationConfig, omit=["groups", "force"], model=DEFAULT_MODEL, data=None)
@options_from(SuiteConfig, omit=SHARED_OPTIONS)
@force_option
@click.pass_context
def evaluate(ctx: click.Context, /, words: tuple[str, ...], labels: str | None, **options: Any) -> int:
    """Measure a model on held-out images: accuracy at every rank with intervals, few-shot, calibration, consensus.

    With --suite, the images are those of published evaluation sets instead of a catalog's, asked as in the BioCLIP papers, with corrected
    figures and the papers' own beside them.

    The output folder gets report.html (one file, to look at and to pass on), metrics.json, examples.parquet (one row per
    image), and the label set if it was made of the catalog.

    \b
    bioclip-plugin evaluate --data leaves.parquet --model bioclip-2 --output before
    bioclip-plugin evaluate --data leaves.parquet --model local-dir:trained --output after --compare bioclip-2
    bioclip-plugin evaluate --data leaves.parquet --split unseen --model local-dir:trained --output unseen
    bioclip-plugin evaluate --data reef.parquet --model bioclip-2 --label "parrot fish" --label wrasse --output words
    bioclip-plugin evaluate --suite bioclip-2 --root /data/sets --model bioclip-2 --output table
    bioclip-plugin evaluate --suite newt --root /data/newt --model timm:vit_small_patch14_dinov2 --output newt
    """
    if options["suites"]:
        return evaluate_published(ctx, options)
    check_catalog_options(ctx)
    from bioclip_plugin.running.label_choice import read_words
    from bioclip_training.evaluation.remarks import meaningless, trained_images
    from bioclip_training.evaluation.run import evaluate as measure

    console = console_for()
    groups: tuple[str, ...] = ()
    if labels and Path(labels).suffix.lower() in _WORD_FILES:  # custom labels, read as by classify
        read, groups = read_words(with_home(labels))
        words, groups, labels = (*read, *words), groups if not words else (), None
    config = filled(EvaluationConfig, options, labels=labels, words=words, groups=groups)
    line = ProgressLine("Starting", console=console)
    with log_lines(console), interruptible(console, f"Nothing was written to {config.output}."), line:
        metrics = measure(
            config,
            plugins_of(ctx).models(),
            lambda what, done, total: line.stage(what, done, total, _UNITS.get(what, "images")),
        )
    if verdict := metrics.get("comparison", {}).get("verdict"):
        _print_verdict(console, verdict)
    else:
        count, exact = metrics["provenance"]["labels"]["count"], metrics["zero_shot"]["label"]
        print_lines(
            console, trained_images(metrics["trained_images"]), meaningless(count, exact["n"], exact["unanswerable"])
        )
    _summarise(console, metrics)
    console.print(f"Report: {Path(config.output) / 'report.html'}")
    return EXIT_WITH_FAILURES if metrics["images"]["failed"] else EXIT_DONE


def _summarise(console: Console, metrics: Mapping[str, Any]) -> None:
    from bioclip_training.evaluation.markup import percent
    from bioclip_training.evaluation.remarks import few_examples

    images, provenance = metrics["images"], metrics["provenance"]
    print_lines(
        console,
        f"{counted(images['n'], images['groups'])}, {number_of(images['taxa'], 'taxon', 'taxa')}, {images['failed']} could not be used; "
        f"{provenance['device']}; "
        f"{metrics['seconds']['all']:.1f} s",
        *failure_lines(metrics["failures"]),
        f"Labels: {provenance['labels']['described']}",
        metrics["evidence"]["shows"],
    )
    _print_zero_shot(console, metrics["zero_shot"])
    if few := metrics["few_shot"]:
        shown = "; ".join(
            f"{number_of(shots, 'example')}: {percent(few[f'k{shots}'])} ± {percent(few[f'k{shots}_spread'])} "
            f"(of {number_of(round(few[f'k{shots}_queries']), 'image')}{few_examples(few, shots)})"
            for shots in (1, 5)
        )
        console.print(
            f"Few-shot over {number_of(few['draws'], 'draw')}, {number_of(few['k1_taxa'], 'taxon', 'taxa')}: {shown}"
        )
    if curve := metrics.get("learning_curve"):
        print_lines(console, curve["sentence"])
    calibration, consensus = metrics["calibration"], metrics["consensus"]
    temperature = f"temperature {calibration['temperature']:.3g}" if calibration["temperature"] else "no temperature"
    print_lines(
        console,
        f"Calibration error: {percent(calibration['ece'])} of {number_of(images['n'], 'image')} ({temperature})",
        f"Consensus at {consensus['threshold']:g}: for {percent(consensus['coverage'])} of {number_of(images['n'], 'image')}, right for "
        f"{percent(consensus['accuracy'])} of them (n = {consensus['images']})",
    )
    if comparison := metrics.get("comparison"):
        _print_comparison(console, comparison)


def _print_zero_shot(console: Console, zero_shot: Mapping[str, Any]) -> None:
    from bioclip_training.evaluation.markup import interval, percent
    from bioclip_training.evaluation.zero_shot import level_name

    rows = [
        [level_name(level, zero_shot), percent(figures["top1"]), interval(figures["top1_ci95"]),
         percent(figures["top5"]), figures["n"], figures["groups"]]
        for level, figures in zero_shot.items()
    ]  # fmt: skip
    print_table(console, ["rank", "top-1", "95% interval", "top-5", "images", "groups"], rows, title="Accuracy")
    exact = zero_shot["label"]
    if exact["unanswerable"]:
        answerable = exact["answerable"]
        console.print(
            f"Not in the label set: the taxa of {number_of(exact['unanswerable'], 'image')}; of the other {answerable['n']}, "
            f"{percent(answerable['top1'])} are right"
        )


def _print_verdict(console: Console, verdict: Mapping[str, Any]) -> None:
    print_lines(
        console, f"Verdict: {verdict['verdict']}. {verdict['sentence']} {verdict['reason']}", *verdict["cautions"]
    )


def _print_comparison(console: Console, comparison: Mapping[str, Any]) -> None:
    from bioclip_training.evaluation.markup import percent, points, points_interval
    from bioclip_training.evaluation.zero_shot import level_name

    rows = [
        [
            level_name(level, comparison["by_rank"]), percent(row["top1"]), percent(row["other_top1"]), points(row["difference"]),
            points_interval(row["difference_ci95"]), row["n"], row["groups"],
        ]
        for level, row in comparison["by_rank"].items()
    ]  # fmt: skip
    title = f"Compared with {comparison['other_model']} ({comparison['other']})"
    if not console.is_terminal:
        console.print(title)
    print_table(console, ["rank", "new", "old", "points", "95% interval", "images", "groups"], rows, title=title)
