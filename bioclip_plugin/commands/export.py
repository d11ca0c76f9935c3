"""``bioclip-plugin export``: a run's results in a format of other programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from bioclip_core.errors import BioclipError, UsageError
from bioclip_plugin.cli import EXIT_DONE, plugins_of
from bioclip_plugin.commands.options import filled, force_option, options_from, run_option, store_option
from bioclip_plugin.commands.outputs import refuse_listed_image
from bioclip_plugin.commands.reporting import Report, console_for, printable, say_unfinished
from bioclip_plugin.contracts.export import Export, Selection
from bioclip_plugin.contracts.export_options import ExportOptions

if TYPE_CHECKING:
    from rich.console import Console

    from bioclip_plugin.contracts.exporter import Exporter
    from bioclip_plugin.contracts.problem import Problem

_SHOWN_PROBLEMS = 20


@click.command()
@store_option
@run_option
@click.option(
    "--format",
    "format_name",
    default="csv",
    show_default=True,
    help="What the output is to be: see below, or one that a plugin adds.",
)
@click.option(
    "--output", type=click.Path(path_type=Path), required=True, help="The file or folder to write; .zip packs a folder."
)
@options_from(Selection)
@options_from(ExportOptions)
@force_option
@click.pass_context
def export(
    ctx: click.Context, /, store: str, run: int | None, format_name: str, output: Path, force: bool, **given: Any
) -> int:
    """Write a run's results to a file or a package that other programs read.

    Formats: csv, parquet, xlsx and jsonl (tables), megadetector, speciesnet, camtrap-dp, darwin-core. Every listed image is
    there with its answer or the reason why it has none, unless --since, --taxon or --min-probability leave it out. The output
    is checked as `validate` does before it gets its name, and appears when it is whole. Exporting the same results again gives
    the same bytes.

    \b
    bioclip-plugin export --store results.db --output results.csv
    bioclip-plugin export --format megadetector --base-folder photos --output results.json
    bioclip-plugin export --format camtrap-dp --deployments cameras.csv --time-zone Europe/Brussels --output package.zip
    bioclip-plugin export --format darwin-core --ledger sent.ledger --min-probability 0.9 --output identifications.zip
    """
    from bioclip_plugin.store import Store

    exporter = exporter_of(plugins_of(ctx).exporters(), format_name)
    selection, options = filled(Selection, given), filled(ExportOptions, given)
    console = console_for()
    with Store.open(store, create=False) as opened, Report("Exporting") as report:
        chosen = opened.run(run)
        refuse_listed_image(opened, output)
        report.total = opened.summary(chosen).listed
        asked = Export(opened, chosen, options, selection, on_item=lambda n: report.advance(max(0, n - report.count)))
        with (
            _remembering(exporter, asked) as lines,
            _draft(
                output, exporter, force=force, reads=[store, *filter(None, (options.ledger, options.deployments))]
            ) as draft,
        ):
            rows = exporter.write(draft, asked)
            _refuse_problems(exporter, draft, options, report)
        console.print(f"Run {chosen.id}: {report.count} images, {rows} rows ({format_name})")
        if selection and not rows:
            console.print(
                "Nothing passes --since, --taxon and --min-probability; is the taxon written as in the results?"
            )
        say_unfinished(console, opened, chosen)
    for line in lines:
        console.print(line)
    console.print(f"Output: {output}")
    return EXIT_DONE


def exporter_of(exporters: Mapping[str, Exporter], name: str) -> Exporter:
    """The exporter of this name.

    Raises:
        UsageError: with the names there are.
    """
    if name not in exporters:
        known = "; ".join(f"{one.name} ({one.description})" for one in exporters.values())
        raise UsageError(f"format {name!r} is not known; there are: {known}")
    return exporters[name]


@contextmanager
def _remembering(exporter: Exporter, asked: Export) -> Iterator[list[str]]:
    """Tell an exporter with a memory how it ended; what it says to that is in the list afterwards."""
    from bioclip_plugin.contracts.exporter import RememberingExporter

    lines: list[str] = []
    try:
        yield lines
    except BaseException:
        if isinstance(exporter, RememberingExporter):
            exporter.abandoned(asked)
        raise
    if isinstance(exporter, RememberingExporter):
        lines += exporter.committed(asked)


@contextmanager
def _draft(output: Path, exporter: Exporter, *, force: bool, reads: Sequence[str | Path]) -> Iterator[Path]:
    """A file or a folder to fill, which becomes the output, packed where that is to be a .zip."""
    from bioclip_core.files.whole import check_folder, whole_file, whole_folder, zip_folder
    from bioclip_plugin.contracts.exporter import FolderExporter

    if not exporter.folder:
        with whole_file(output, force=force, reads=reads) as draft:
            yield draft
    elif output.suffix.lower() == ".zip":
        with (
            whole_file(output, force=force, reads=reads) as packed,
            TemporaryDirectory(dir=output.parent, prefix=f".{output.stem}.") as folder,
        ):
            yield Path(folder)
            zip_folder(Path(folder), packed)
    else:
        ours = exporter.files if isinstance(exporter, FolderExporter) else ()
        with whole_folder(output, partial(check_folder, output, force=force, ours=ours)) as draft:
            yield draft


def _refuse_problems(exporter: Exporter, draft: Path, options: ExportOptions, report: Report) -> None:
    """Check what was written, say what is doubtful and refuse what is wrong; then nothing is kept.

    Raises:
        BioclipError: if the format's own rules are broken.
    """
    warnings: list[Problem] = []
    errors: list[Problem] = []
    for problem in exporter.check(draft, options):
        (errors if problem.severity == "error" else warnings).append(problem)
    said_problems(report.console, draft, [*errors, *warnings])
    if errors:
        raise BioclipError(f"the export breaks {len(errors)} rules of {exporter.name}, see above; nothing was kept")


def said_problems(console: Console, place: Path, problems: Sequence[Problem]) -> None:
    """Say problems, a line each and not without end; ``place`` is how the checked file is called here."""
    for problem in problems[:_SHOWN_PROBLEMS]:
        console.print(f"{problem.severity}: {printable(str(problem))}".replace(f"{place.name}: ", "", 1))
    if len(problems) > _SHOWN_PROBLEMS:
        console.print(f"and {len(problems) - _SHOWN_PROBLEMS} more")
