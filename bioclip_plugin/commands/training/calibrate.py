"""``bioclip-plugin calibrate``: how sure a model may be of a label set's answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bioclip_plugin.cli import EXIT_DONE, EXIT_INTERRUPTED, plugins_of
from bioclip_plugin.commands.options import options_from
from bioclip_plugin.commands.reporting import console_for, log_lines, print_table, terminated_like_interrupted
from bioclip_plugin.commands.training.evaluate import Stages
from bioclip_plugin.items.request import DEFAULT_MODEL, ClassifyRequest
from bioclip_training.evaluation.config import CalibrateConfig

if TYPE_CHECKING:
    from rich.console import Console

    from bioclip_training.evaluation.temperature import Fitted


@click.command()
@options_from(CalibrateConfig, model=DEFAULT_MODEL, labels=None)
@click.pass_context
def calibrate(ctx: click.Context, /, model: str, labels: str | None, **options: Any) -> int:
    """Fit the temperature of a model with a label set: one number that every logit is divided by, so that of the answers with a
    probability of 0.8 about 80% are right. The order of answers stays as it is.

    It is kept beside the checkpoint (calibration.json), or in the user's cache where that folder is not yours, and classify
    and evaluate use it from then on; answers that were stored without it stay stored as they were.

    \b
    bioclip-plugin calibrate --data leaves.parquet --model local-dir:trained
    bioclip-plugin calibrate --data leaves.parquet --model bioclip-2 --labels my_labels
    """
    from bioclip_core.models import find_model
    from bioclip_plugin.running.label_choice import choose_labels
    from bioclip_training.evaluation.temperature import calibrate as fit

    console = console_for()
    entries = plugins_of(ctx).models()
    CalibrateConfig(
        model=model, labels=labels or "", **options
    )  # a part that must not be fitted on, before anything is fetched
    chosen = choose_labels(ClassifyRequest(model=model, labels=labels), find_model(model, entries))
    if chosen.folder is None:
        raise click.UsageError("--labels: a label set's folder is needed; words of your own have no temperature")
    config = CalibrateConfig(model=model, labels=str(chosen.folder), **options)
    try:
        with log_lines(console), terminated_like_interrupted(), Stages(console) as stages:
            fitted = fit(config, entries, stages.progress)
    except KeyboardInterrupt:
        console.print("Interrupted; no temperature was kept.")
        return EXIT_INTERRUPTED
    _summarise(console, fitted, config.split)
    return EXIT_DONE


def _summarise(console: Console, fitted: Fitted, split: str) -> None:
    left_out = (
        f"; {fitted.left_out} could not be read or are of taxa that the label set does not have"
        if fitted.left_out
        else ""
    )
    console.print(
        f"{fitted.images} images of {split} in {fitted.groups} groups, {100 * fitted.top1:.1f}% right{left_out}"
    )
    rows = [("before", fitted.before), ("after, on the images it was fitted on", fitted.after)]
    if fitted.cross_validated:
        rows.append(("after, cross-validated by group", fitted.cross_validated))
    print_table(
        console,
        ["", "NLL", "calibration error"],
        [[name, f"{how.nll:.4f}", f"{100 * how.ece:.1f}%"] for name, how in rows],
    )
    console.print(f"Temperature {fitted.temperature:.4g}, kept in {fitted.file}")
    if fitted.at_the_end:
        console.print(
            "It lies at the end of what is tried: the images are too few or too easy to tell how sure the model may be."
        )
