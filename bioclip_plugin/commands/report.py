"""``bioclip-plugin report``: a run's results as one HTML file."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import click

from bioclip_core.files.moved import is_from_windows
from bioclip_core.files.whole import check_output
from bioclip_core.next_commands import shell_line
from bioclip_core.nouns import number_of, size_of
from bioclip_plugin.commands.context import plugins_of
from bioclip_plugin.commands.options import (
    filled,
    force_option,
    options_from,
    output_option,
    run_option,
    store_option,
)
from bioclip_plugin.commands.outputs import refuse_listed_image, say_unfinished
from bioclip_plugin.commands.progress import ProgressLine
from bioclip_plugin.commands.reporting import console_for, print_lines, printable
from bioclip_plugin.commands.signals import interruptible
from bioclip_plugin.contracts.export import Selection
from bioclip_plugin.items.deployment_options import DeploymentOptions
from bioclip_plugin.items.web import is_web_address
from bioclip_plugin.report.options import ReportOptions
from bioclip_plugin.store import open_store

if TYPE_CHECKING:
    from bioclip_plugin.report.writing import Written


@click.command()
@store_option
@run_option
@output_option("HTML file to write.", required=False, default="report.html", show_default=True)
@force_option
@options_from(Selection)
@options_from(ReportOptions, omit=["selection", "deployments", "day_first", "month_first"])
@options_from(DeploymentOptions)
@click.pass_context
def report(ctx: click.Context, /, store: str, run: int | None, output: Path, force: bool, **options: Any) -> None:
    """Write a run's results as one HTML file that needs neither network nor server, to be mailed or archived.

    It shows the results by verdict and by taxon at every rank, activity by hour, a map of the cameras, a gallery with
    boxes, candidates, decisions and reviews, the failures with their reasons, and the model with its licence. The gallery
    filters by taxon, rank, probability, camera, day, verdict, review and file name.

    People are blurred in every picture, and pictures carry no metadata. Before you pass a report on, give
    --coordinate-precision too: the places of rare species are then rounded, in the map and everywhere else.

    Common names are those of the label set, one per taxon, mostly English. For another language give a table with
    --names. Images are read where they were classified; missing ones are grey, with the reason.

    \b
    bioclip-plugin report --store results.db --output report.html
    bioclip-plugin report --taxon Felidae --min-probability 0.8 --output cats.html
    bioclip-plugin report --coordinate-precision 1 --names names.csv --language de --force
    """
    from bioclip_plugin.report.writing import write_report

    parts = {"selection": filled(Selection, options), "deployments": filled(DeploymentOptions, options)}
    chosen = filled(ReportOptions, options, **parts)
    reads = filter(None, (chosen.names, chosen.deployments.deployments))
    check_output(output, force=force, reads=[store, *reads])
    console = console_for()
    interrupts = interruptible(console, "Nothing was written; the same command starts again.")
    with open_store(store) as opened, interrupts, ProgressLine("Drawing") as line:
        refuse_listed_image(opened, output)
        written = write_report(
            output, opened, opened.run(run), chosen, plugins=plugins_of(ctx), progress=line.reach, force=force
        )
        say_unfinished(console, opened, written.gathered.run)
    read = map(printable, chosen.findings.lines())
    print_lines(console, *_summary(written, chosen), *read, f"Output: {output} ({size_of(written.size)})")


def _summary(written: Written, options: ReportOptions) -> list[str]:
    gathered, figures = written.gathered, written.gathered.figures
    todo = f", {figures.todo} still to do" if figures.todo else ""
    shown, missing = figures.regions + figures.verdicts["blank"], written.without_picture
    blurred = sum(bool(sheet.people) for sheet in gathered.sheets)  # none with --show-people
    return [
        f"Run {gathered.run.id}: {number_of(figures.images, 'image')}, {figures.done} done, {figures.failed} failed{todo}, "
        f"{number_of(figures.regions, 'region')}",
        f"The gallery holds the first {gathered.entries} of {shown}; raise --limit, or select with --taxon and --since."
        if gathered.entries < shown
        else "",
        "" if shown else "Nothing passes the conditions: the report has figures and failures only.",
        f"Pictures: {written.pictures}, {size_of(written.picture_bytes)}",
        f"{number_of(missing, 'image')} could not be shown; the first: {printable(written.first_reason)}"
        if missing
        else "",
        printable(_advice(written, options)) if missing else "",
        *map(printable, gathered.findings.lines()),
        "People are shown as they are." if options.show_people else "",
        f"People were blurred in {number_of(blurred, 'image')}." if blurred else "",
    ]


def _advice(written: Written, options: ReportOptions) -> str:
    """Return the options that help with images that could not be shown; empty if some of their folder were shown."""
    base, old, first = options.base_folder, written.missing_in, written.first_missing
    if is_web_address(first):
        return _advice_on_the_web(written.gathered.run.settings.get("fetch"))
    if old:
        place = f"in {base}" if base else "here"
        return (
            f"Names of images begin with {old}, which does not exist {place}; if it was moved, give its new place with "
            + shell_line(["--replace-prefix", f"{old}=NEW"])
            + (
                ""
                if (PurePosixPath(old).is_absolute() or is_from_windows(old))
                else f", or with --base-folder the folder that {old} is in"
            )
        )
    if written.pictures:
        return ""
    if base:
        return (
            f"No image was found with --base-folder {base}: give the folder where names such as {first} begin, or replace "
            "their beginning with --replace-prefix OLD=NEW"
        )
    return "Run report where classify was run, or give the folder of the images with --base-folder."


def _advice_on_the_web(folder: object) -> str:
    """Return the way to the images of a run that were on the web, which a report does not fetch."""
    way = "or replace the beginning of their addresses by a folder with --replace-prefix OLD=NEW"
    if not isinstance(folder, str):
        return f"They are on the web, and the run fetched none: run classify again with --fetch FOLDER, {way}"
    again = shell_line(["--fetch", folder, "--rehash"])
    return (
        f"They are on the web, and no file of theirs is in the folder {folder}: run classify again with {again}, {way}"
    )
