"""``bioclip-plugin report``: a run's results as one HTML file to look at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from bioclip_plugin.cli import EXIT_DONE, EXIT_INTERRUPTED, plugins_of
from bioclip_plugin.commands.options import filled, force_option, options_from, run_option, store_option
from bioclip_plugin.commands.outputs import refuse_listed_image
from bioclip_plugin.commands.reporting import (
    Report,
    console_for,
    printable,
    say_unfinished,
    size_of,
    terminated_like_interrupted,
)
from bioclip_plugin.contracts.export import Selection
from bioclip_plugin.report.options import ReportOptions

if TYPE_CHECKING:
    from bioclip_plugin.report.writing import Written


@click.command()
@store_option
@run_option
@click.option(
    "--output", type=click.Path(path_type=Path), default="report.html", show_default=True, help="The file to write."
)
@force_option
@options_from(Selection)
@options_from(ReportOptions, omit=["selection"])
@click.pass_context
def report(ctx: click.Context, /, store: str, run: int | None, output: Path, force: bool, **options: Any) -> int:
    """Write a run's results as one HTML file to look at: no network, no server, to be mailed or kept as it is.

    It shows what was found by verdict and by taxon at every rank, activity by hour, a map of the cameras, a gallery with
    boxes, candidates, decisions and reviews, what failed and why, and at its foot the model with its licence. The gallery
    filters by taxon, rank, probability, camera, day, verdict, review and file name.

    People are blurred in every picture, and pictures carry no metadata. Before a report leaves the house, give
    --coordinate-precision as well: places of rare species are round then, in the map and everywhere else.

    Common names are those of the label set, one a taxon, mostly English. For another language bring a table with --names.
    Images are read where they were classified; those that are gone are grey, with the reason.

    \b
    bioclip-plugin report --store results.db --output report.html
    bioclip-plugin report --taxon Felidae --min-probability 0.8 --output cats.html
    bioclip-plugin report --coordinate-precision 1 --names names.csv --language de --force
    """  # fmt: skip
    from bioclip_core.files.whole import check_output
    from bioclip_plugin.report.writing import write_report
    from bioclip_plugin.store import Store

    selection = filled(Selection, options)
    chosen = filled(ReportOptions, options, selection=selection)
    check_output(output, force=force, reads=[store, *filter(None, (chosen.names,))])
    console = console_for()
    with Store.open(store, create=False) as opened, terminated_like_interrupted(), Report("Drawing") as progress:
        refuse_listed_image(opened, output)

        def drawn(done: int, total: int) -> None:
            progress.total = total
            progress.advance(done - progress.count)

        try:
            written = write_report(
                output, opened, opened.run(run), chosen, plugins=plugins_of(ctx), progress=drawn, force=force
            )
        except KeyboardInterrupt:
            console.print("Interrupted. Nothing was written; the same command begins anew.")
            return EXIT_INTERRUPTED
        say_unfinished(console, opened, written.gathered.run)
    _summarise(console, written, chosen, output)
    return EXIT_DONE


def _summarise(console: Console, written: Written, options: ReportOptions, output: Path) -> None:
    gathered, figures = written.gathered, written.gathered.figures
    todo = f", {figures.todo} still to do" if figures.todo else ""
    console.print(
        f"Run {gathered.run.id}: {figures.images} images, {figures.done} done, {figures.failed} failed{todo}, {figures.regions} regions"
    )
    shown = figures.regions + figures.verdicts["blank"]
    if gathered.entries < shown:
        console.print(
            f"The gallery holds the first {gathered.entries} of {shown}; --limit takes more, --taxon and --since choose."
        )
    if not shown:
        console.print("Nothing passes what was asked for: the report has figures and failures only.")
    console.print(f"Pictures: {written.pictures}, {size_of(written.picture_bytes)}")
    if written.without_picture:
        console.print(
            f"{written.without_picture} images could not be shown; the first: {printable(written.first_reason)}"
        )
        if written.pictures == 0 and options.base_folder is None:
            console.print("Run it where classify was run, or say with --base-folder where the images are.")
    people = sum(bool(sheet.people) for sheet in gathered.sheets)
    if options.show_people:
        console.print("People are shown as they are.")
    elif people:
        console.print(f"People were blurred in {people} images.")
    console.print(f"Output: {output} ({size_of(written.size)})")
