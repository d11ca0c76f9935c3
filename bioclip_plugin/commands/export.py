"""``bioclip-plugin export``: a run's results as a file."""

from __future__ import annotations

from pathlib import Path

import click

from bioclip_core.errors import UsageError
from bioclip_plugin.cli import EXIT_DONE, plugins_of
from bioclip_plugin.commands.options import force_option, run_option, store_option
from bioclip_plugin.commands.reporting import Report, console_for, passing


@click.command()
@store_option
@run_option
@click.option(
    "--format", "format_name", default="csv", show_default=True, help="csv, parquet, jsonl, or one that a plugin adds."
)
@click.option("--output", type=click.Path(path_type=Path), required=True, help="The file to write.")
@force_option
@click.pass_context
def export(ctx: click.Context, store: str, run: int | None, format_name: str, output: Path, force: bool) -> int:
    """Write a run's results to a file: every listed image with its answer or the reason why it has none.

    In CSV and Parquet a row is a region; an image that failed, or is still to do, is a row too. The file appears when
    it is whole. Exporting the same results again gives the same bytes.

    \b
    bioclip-plugin export --store results.db --output results.csv
    bioclip-plugin export --run 3 --format parquet --output run3.parquet --force
    """
    from bioclip_plugin.exports.atomic import check_output, whole_file
    from bioclip_plugin.store import Store

    exporters = plugins_of(ctx).exporters()
    if format_name not in exporters:
        known = "; ".join(f"{one.name} ({one.description})" for one in exporters.values())
        raise UsageError(f"format {format_name!r} is not known; there are: {known}")
    check_output(output, force=force)
    console = console_for()
    with Store.open(store, create=False) as opened, Report("Exporting") as report:
        chosen = opened.run(run)
        report.total = opened.summary(chosen).listed
        with whole_file(output, force=force) as draft:
            rows = exporters[format_name].write(draft, chosen, passing(opened.items_of(chosen), report))
    console.print(f"Run {chosen.id}: {report.count} images, {rows} rows ({format_name})")
    console.print(f"Output: {output}")
    return EXIT_DONE
