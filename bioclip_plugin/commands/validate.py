"""``bioclip-plugin validate``: whether a file is what its format demands, by stricter checks than the format's own readers make."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bioclip_core.errors import BioclipError, UsageError
from bioclip_plugin.cli import EXIT_COULD_NOT_RUN, EXIT_DONE, plugins_of
from bioclip_plugin.commands.export import exporter_of, said_problems
from bioclip_plugin.commands.options import json_option
from bioclip_plugin.commands.reporting import console_for

if TYPE_CHECKING:
    from bioclip_plugin.contracts.exporter import Exporter


@click.command()
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--format", "format_name", help="What it is to be.  [default: what its content says]")
@click.option(
    "--base-folder",
    type=click.Path(path_type=Path),
    help="Folder of its images: those that are named and missing are listed.",
)
@json_option
@click.pass_context
def validate(
    ctx: click.Context, /, path: Path, format_name: str | None, base_folder: Path | None, as_json: bool
) -> int:
    """Check a file or package: MegaDetector and SpeciesNet JSON, Camtrap DP, Darwin Core archives, and our own tables.

    Every problem is a line with file, record and value. Exit code 0 means that nothing is wrong (there may be warnings), 1 that
    something is.

    \b
    bioclip-plugin validate results.json
    bioclip-plugin validate package.zip --json
    """
    from bioclip_plugin.contracts.export_options import ExportOptions

    if not path.exists():
        raise UsageError(f"{path} does not exist; give a file or a folder to check")
    exporters = plugins_of(ctx).exporters()
    exporter = exporter_of(exporters, format_name) if format_name else _recognised(path, exporters)
    problems = list(exporter.check(path, ExportOptions(base_folder=base_folder)))
    errors = sum(problem.severity == "error" for problem in problems)
    if as_json:
        said = {
            "file": str(path),
            "format": exporter.name,
            "valid": not errors,
            "problems": [asdict(one) for one in problems],
        }
        click.echo(json.dumps(said, ensure_ascii=False, indent=2))
    else:
        console = console_for()
        said_problems(console, path, problems)
        console.print(f"{path}: {exporter.name}, {errors} errors, {len(problems) - errors} warnings")
    return EXIT_COULD_NOT_RUN if errors else EXIT_DONE


def _recognised(path: Path, exporters: Mapping[str, Exporter]) -> Exporter:
    try:
        found = [exporter for exporter in exporters.values() if exporter.recognises(path)]
    except OSError as error:
        raise BioclipError(f"{path} cannot be read: {error.strerror or error}") from error
    if not found:
        raise UsageError(
            f"{path} is of no format that is known by its content; say which with --format: {', '.join(exporters)}"
        )
    return found[0]
