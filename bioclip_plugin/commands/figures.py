"""``bioclip-plugin figures``: figures of a run as tables and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bioclip_plugin.commands.options import filled, force_option, options_from, output_option, run_option, store_option
from bioclip_plugin.commands.outputs import say_unfinished
from bioclip_plugin.commands.progress import ProgressLine
from bioclip_plugin.commands.reporting import console_for, print_lines, printable
from bioclip_plugin.commands.signals import interruptible
from bioclip_plugin.items.deployment_options import DeploymentOptions
from bioclip_plugin.store import open_store
from bioclip_plugin.summaries.options import FigureOptions


@click.command()
@store_option
@run_option
@output_option("Folder to write.")
@force_option
@options_from(FigureOptions, omit=["deployments"])
@options_from(DeploymentOptions)
def figures(store: str, run: int | None, output: Path, force: bool, **options: Any) -> None:
    """Write figures of a run by the conventions of camera trapping, as tables and as light and dark pictures.

    hours and dates: independent events of each taxon by hour of the camera's clock and by day, week or month. cameras: events
    by camera. effort: camera-days of every camera, from the dates of its deployment or from its first to its last image. rates:
    events per 100 camera-days and the share of cameras that saw a taxon. accumulation: taxa by camera-days, with Chao's
    estimates. reviewers: agreement of reviewers on what several of them reviewed.

    Names of reviewers go before those of the model. Blanks, people and vehicles are not taxa. What is left out is printed with
    its reason, and stands in summary.txt.

    \b
    bioclip-plugin figures --store results.db --output figures
    bioclip-plugin figures --deployments deployments.csv --event-gap 60 --output figures
    bioclip-plugin figures --figure rates --figure accumulation --format csv --rank genus --output rates
    """
    from bioclip_plugin.summaries.making import make_figures
    from bioclip_plugin.summaries.reading import read_run
    from bioclip_plugin.summaries.writing import check_figures, summary_of, write_figures

    chosen = filled(FigureOptions, options, deployments=filled(DeploymentOptions, options))
    check_figures(output, chosen, force=force)
    console = console_for()
    interrupts = interruptible(console, "Nothing was written; the same command starts again.")
    with open_store(store) as opened, interrupts:
        one = opened.run(run)
        with ProgressLine("Reading") as line:
            read = read_run(opened, one, chosen.deployments, line.reach)
        made = make_figures(read.sightings, read.stated, read.reviews, chosen, read.findings)
        with ProgressLine("Drawing", unit="figures") as line:
            written = write_figures(output, made, chosen, force=force, progress=line.reach)
        say_unfinished(console, opened, one)
    print_lines(
        console,
        f"Run {one.id}",
        *map(printable, summary_of(made)),
        f"Output: {output} ({len(written.tables)} tables, {len(written.pictures)} pictures)",
    )
