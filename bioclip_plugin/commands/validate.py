"""``bioclip-plugin validate``: check a file against the rules of its format, more strictly than the format's readers do."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from bioclip_core.errors import DataError, PluginError
from bioclip_core.files.near_names import near_hint
from bioclip_core.nouns import number_of
from bioclip_plugin.commands.context import EXIT_COULD_NOT_RUN, EXIT_DONE, plugins_of
from bioclip_plugin.commands.export import exporter_of, print_problems
from bioclip_plugin.commands.options import json_option
from bioclip_plugin.commands.reporting import console_for, json_text, printable
from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.contracts.exporter import Exporter


@click.command()
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "format_name",
    help="Format to check against.",
    show_default="recognised by the content",
)
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
    """Check a file or package: MegaDetector and SpeciesNet JSON, Camtrap DP, Darwin Core, Wildlife Insights, folders of links, our tables.

    Every problem is one line with file, record and value. The exit code is 0 without an error (there may be warnings) and
    1 with one.

    \b
    bioclip-plugin validate results.json
    bioclip-plugin validate package.zip --json
    """
    if not path.exists():
        raise DataError(f"{path} does not exist{near_hint(path)}; give a file or a folder to check")
    if not path.is_file() and not path.is_dir():
        raise DataError(f"{path} is neither a file nor a folder (a device or a pipe): give a file or a folder to check")
    exporters = plugins_of(ctx).exporters()
    try:
        recognised = [name for name, exporter in exporters.items() if format_name or _recognises(exporter, path)]
        if not recognised:
            raise DataError(
                f"the format of {path} is not recognised by its content; give it with --format: {', '.join(exporters)}"
            )
        exporter = exporter_of(exporters, format_name or recognised[0])
        problems = list(exporter.check(path, ExportOptions(base_folder=base_folder)))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text in UTF-8 (byte {error.start}); is it {exporter.name}?") from error
    errors = sum(problem.severity == "error" for problem in problems)
    if as_json:
        found = {
            "file": str(path),
            "format": exporter.name,
            "valid": not errors,
            "problems": [asdict(problem) for problem in problems],
        }
        click.echo(json_text(found, indent=2))
    else:
        console = console_for()
        print_problems(console, path, problems)
        console.print(
            f"{path}: {exporter.name}, {number_of(errors, 'error')}, {number_of(len(problems) - errors, 'warning')}"
        )
    return EXIT_COULD_NOT_RUN if errors else EXIT_DONE


def _recognises(exporter: Exporter, path: Path) -> bool:
    """True if a file is of a format; a plugin whose format cannot say so is named, and the other formats are asked."""
    try:
        return exporter.recognises(path)
    except PluginError as error:
        console_for(to_stderr=True).print(printable(f"{error}; the other formats were asked"))
        return False
