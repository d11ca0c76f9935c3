"""``bioclip-plugin evaluate --suite``: figures of a model on published evaluation sets, and what the papers give for them."""

from __future__ import annotations

from dataclasses import fields
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from rich.console import Console

from bioclip_core.errors import UsageError
from bioclip_core.nouns import number_of
from bioclip_plugin.commands.context import EXIT_DONE, EXIT_WITH_FAILURES, plugins_of
from bioclip_plugin.commands.options import filled
from bioclip_plugin.commands.progress import ProgressLine
from bioclip_plugin.commands.reporting import console_for, failure_lines, log_lines, print_lines, print_table
from bioclip_plugin.commands.signals import interruptible
from bioclip_training.evaluation.config import EvaluationConfig
from bioclip_training.suites.config import SuiteConfig

if TYPE_CHECKING:
    from bioclip_training.suites.result import SetResult
    from bioclip_training.suites.run import SuiteOutcome

SHARED_OPTIONS = ("model", "output", "device", "precision", "batch_size", "workers", "seed", "force")
"""Options that mean the same for catalogs and for published sets."""
_OF_MANY_CLASSES = ("zero-shot top-3", "zero-shot top-5")
_UNITS = {
    "Sets": "sets",
    "Reading": "sets",
    "Prompts": "classes",
    "Fitting": "epochs",
    "Tasks": "tasks",
    "Clustering": "rounds",
}


def check_catalog_options(ctx: click.Context) -> None:
    """Refuse an evaluation of a catalog without one, or with options of published sets.

    Raises:
        UsageError: for an option that needs --suite.
        MissingParameter: without --data.
    """
    if given := _given(ctx, {entry.name for entry in fields(SuiteConfig)} - {*SHARED_OPTIONS}):
        raise UsageError(f"{given} is an option of published evaluation sets: give --suite NAME too, or leave it out")
    if ctx.params["data"] is None:
        raise click.MissingParameter(
            ctx=ctx,
            param_hint="'--data' (or '--suite' with '--root', for published evaluation sets)",
            param_type="option",
        )


def evaluate_published(ctx: click.Context, options: dict[str, Any]) -> int:
    """Measure the sets of ``--suite``.

    Raises:
        UsageError: for options of catalogs, which would have no effect.
    """
    from bioclip_training.suites.outputs import REPORT
    from bioclip_training.suites.run import evaluate_suites

    of_catalogs = {entry.name for entry in fields(EvaluationConfig)} - {*SHARED_OPTIONS}
    if given := _given(ctx, of_catalogs):
        raise UsageError(
            f"{given} has no effect with --suite, which reads published evaluation sets and no catalog: leave it out"
        )
    config = filled(SuiteConfig, options)
    console = console_for()
    line = ProgressLine("Starting", console=console)
    stays = f"Finished sets stay in {config.output}; the same command continues."
    with log_lines(console), interruptible(console, stays), line:
        outcome = evaluate_suites(
            config, plugins_of(ctx).models(),
            lambda what, done, total: line.stage(what, done, total, _UNITS.get(what, "images")),
        )  # fmt: skip
    _summarise(console, outcome)
    console.print(f"Report: {Path(config.output) / REPORT}")
    complete = all(result.status == "measured" and not result.failed for result in outcome.results)
    return EXIT_DONE if complete else EXIT_WITH_FAILURES


def _given(ctx: click.Context, names: set[str]) -> str:
    """Return the first option of these that the command line has; empty without any."""
    return next(
        (
            param.opts[0]
            for param in ctx.command.params
            if param.name in names and ctx.get_parameter_source(param.name) is ParameterSource.COMMANDLINE
        ),
        "",
    )


def _summarise(console: Console, outcome: SuiteOutcome) -> None:
    from bioclip_training.evaluation.markup import interval, percent
    from bioclip_training.suites.report import main_figure, means_of

    measured = [result for result in outcome.results if result.status == "measured"]
    print_lines(
        console, f"{len(measured)} of {number_of(len(outcome.results), 'set')} measured; {outcome.provenance['device']}"
    )
    for result in measured:
        print_lines(
            console, *(f"{result.name}: {text}" for text in [*failure_lines(result.failures), *result.findings])
        )
    rows = []
    for result in measured:
        if (figure := main_figure(result)) is None:
            continue
        rows.append(
            [
                result.name,
                figure.name,
                percent(figure.published),
                percent(figure.corrected),
                interval(figure.corrected_ci95),
                figure.n,
            ]
        )
        print_lines(
            console,
            *(f"{result.name}: no {other.name}: {other.note}" for other in result.figures if _is_missing(other)),
        )
    if rows:
        print_table(
            console,
            ["set", "figure", "as published", "corrected", "95% interval", "n"],
            rows,
            title="Published sets",
        )
    for suite, mean in means_of(outcome.results, outcome.config.suites).items():
        caution = f" ({mean.caution})" if mean.caution else ""
        console.print(
            f"Mean of {suite}: {percent(mean.published)} as published, {percent(mean.corrected)} corrected{caution}"
        )
    _print_missing(console, [result for result in outcome.results if result.status != "measured"])


def _is_missing(figure: Any) -> bool:
    """True for a figure without a value, apart from those of more answers than there are classes."""
    return (
        bool(figure.note)
        and isnan(figure.published)
        and isnan(figure.corrected)
        and figure.name not in _OF_MANY_CLASSES
    )


def _print_missing(console: Console, results: list[SetResult]) -> None:
    print_lines(console, *(f"{result.name}: {result.status}: {result.reason}" for result in results))
