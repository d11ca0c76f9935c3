"""``bioclip-plugin calibrate``: the temperature of a model's probabilities with a label set."""

from __future__ import annotations

from typing import Any

import click

from bioclip_core.models import find_model
from bioclip_core.nouns import number_of
from bioclip_plugin.commands.context import EXIT_DONE, EXIT_WITH_FAILURES, plugins_of
from bioclip_plugin.commands.options import filled, options_from
from bioclip_plugin.commands.progress import ProgressLine
from bioclip_plugin.commands.reporting import console_for, failure_lines, log_lines, print_lines, print_table
from bioclip_plugin.commands.signals import interruptible
from bioclip_plugin.items.request import DEFAULT_MODEL, ClassifyRequest
from bioclip_training.evaluation.config import CalibrateConfig


@click.command()
@options_from(CalibrateConfig, model=DEFAULT_MODEL, labels=None)
@click.pass_context
def calibrate(ctx: click.Context, /, labels: str | None, **options: Any) -> int:
    """Fit the temperature of a model with a label set: one number that divides every logit, so that about 80% of the answers
    with a probability of 0.8 are right. The order of answers stays as it is.

    It is kept beside the checkpoint (calibration.json) if that folder is yours alone, otherwise in your cache, and classify
    and evaluate use it from then on; stored answers stay as they are.

    \b
    bioclip-plugin calibrate --data leaves.parquet --model local-dir:trained
    bioclip-plugin calibrate --data leaves.parquet --model bioclip-2 --labels my_labels
    """
    from bioclip_plugin.running.label_choice import choose_labels
    from bioclip_training.evaluation.temperature import calibrate as fit

    console, entries = console_for(), plugins_of(ctx).models()
    CalibrateConfig(**options, labels=labels or "")  # refuses a wrong split before anything is fetched
    request = ClassifyRequest(model=options["model"], labels=labels)
    chosen = choose_labels(request, find_model(request.model, entries))
    if chosen.folder is None:
        raise click.UsageError("--labels: give the folder of a label set; custom labels have no temperature")
    config = filled(CalibrateConfig, options, labels=str(chosen.folder))
    interrupts = interruptible(console, "No temperature was kept.")
    with log_lines(console), interrupts, ProgressLine("Starting", console=console) as line:
        fitted = fit(config, entries, line.stage)
    skipped = f"; {fitted.left_out} could not be read or are of taxa that the label set does not have"
    console.print(
        f"{number_of(fitted.images, 'image')} of {config.split} in {number_of(fitted.groups, 'group')}, {100 * fitted.top1:.1f}% right"
        f"{skipped if fitted.left_out else ''}"
    )
    print_lines(console, *failure_lines(fitted.failures))
    fits = {
        "before": fitted.before,
        "after, on the images it was fitted on": fitted.after,
        "after, cross-validated by group": fitted.cross_validated,
    }
    rows = [[name, f"{one.nll:.4f}", f"{100 * one.ece:.1f}%"] for name, one in fits.items() if one]
    print_table(console, ["", "NLL", "calibration error"], rows)
    print_lines(
        console,
        f"Temperature {fitted.temperature:.4g}, kept in {fitted.file}",
        fitted.place,
    )
    return EXIT_WITH_FAILURES if fitted.failures else EXIT_DONE
