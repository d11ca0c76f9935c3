"""``bioclip-plugin analyze``: structure of a model's feature space on a catalog."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from bioclip_plugin.commands.context import EXIT_DONE, EXIT_WITH_FAILURES, plugins_of
from bioclip_plugin.commands.options import filled, force_option, options_from
from bioclip_plugin.commands.progress import ProgressLine
from bioclip_plugin.commands.reporting import console_for, failure_lines, log_lines, print_lines
from bioclip_plugin.commands.signals import interruptible
from bioclip_plugin.items.request import DEFAULT_MODEL
from bioclip_training.analysis.config import AnalysisConfig

_UNITS = {"Measuring": "figures", "Drawing": "steps", "Writing": "folders"}


@click.command()
@options_from(AnalysisConfig, omit=["force"], model=DEFAULT_MODEL)
@force_option
@click.pass_context
def analyze(ctx: click.Context, /, **options: Any) -> int:
    """Measure the structure of a model's features: the tree, traits of species, and variation within species.

    Each figure has an interval over independent clades, a chance level, and a sentence that says whether anything follows from
    it. The output folder gets report.html, analysis.json and pictures. Features are kept in a folder beside it, so that an
    interrupted analysis goes on where it was, and another one of the same images encodes nothing.

    \b
    bioclip-plugin analyze --data leaves.parquet --split val --split unseen --model bioclip-2 --output structure
    bioclip-plugin analyze --data birds.parquet --traits avonet.csv --trait Beak.Length_Culmen --trait Habitat --output traits
    bioclip-plugin analyze --data beetles.parquet --image-table sexes.csv --class sex --output sexes
    bioclip-plugin analyze --data leaves.parquet --model bioclip-2 --compare bioclip --output both
    """
    from bioclip_training.analysis.run import analyze as measure

    console = console_for()
    config = filled(AnalysisConfig, options)
    line = ProgressLine("Starting", console=console)
    kept = "Features that were made are kept; the same command goes on with them."
    with log_lines(console), interruptible(console, f"Nothing was written to {config.output}. {kept}"), line:
        result = measure(
            config,
            plugins_of(ctx).models(),
            lambda what, done, total: line.stage(what, done, total, _UNITS.get(what, "images")),
        )
    _summarise(console, result)
    console.print(f"Report: {Path(config.output) / 'report.html'}")
    return EXIT_WITH_FAILURES if result["images"]["failed"] else EXIT_DONE


def _summarise(console: Console, result: Mapping[str, Any]) -> None:
    reused = result["images"]["features_reused"]
    print_lines(
        console,
        *result["about"][:2],
        f"{result['images']['failed']} images could not be used; {result['provenance']['device']}; {result['seconds']:.1f} s",
        *failure_lines(result["failures"]),
        f"Features: {reused} were there already; all are kept in {result['provenance']['features']}",
        *result["findings"],
    )
