"""``bioclip-plugin doctor``: what a bug report needs, and one line of advice per problem."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from bioclip_core.errors import BioclipError
from bioclip_core.files.present import is_file, is_folder
from bioclip_plugin.commands.config import ConfigFile
from bioclip_plugin.commands.context import EXIT_DONE, EXIT_WITH_FAILURES
from bioclip_plugin.commands.options import filled, json_option, options_from
from bioclip_plugin.doctor import DoctorOptions, Fact, Problem, examine
from bioclip_plugin.doctor.examining import CHECKS, Check, show
from bioclip_plugin.doctor.report import Finding


@click.command()
@options_from(DoctorOptions)
@json_option
@click.pass_context
def doctor(ctx: click.Context, /, as_json: bool, **options: Any) -> int:
    """Show versions, machine, device, store, models and plugins, time a classification, and advise on each problem.

    The report is plain text for a bug report, without secrets and user names. Nothing is changed, fetched or sent. Ends with 0
    if everything is well, with 3 if there are problems.

    \b
    bioclip-plugin doctor
    bioclip-plugin doctor --store results.db --model bioclip-2
    bioclip-plugin doctor --no-model --json
    """
    given = ctx.find_root().params.get("config")
    faults = list(look_at_options_file(ctx, given))
    if ctx.get_parameter_source("store") is ParameterSource.DEFAULT_MAP:
        options["store"] = None
    if options["store"] is None:  # the default store need not exist yet
        stores = (one.value for one in faults if isinstance(one, Fact) and one.key == "stores")
        options["store"] = next((store for store in next(stores, ()) if "://" in store or is_file(store)), None)
    if options["fetch"] is None:
        folders = (one.value for one in faults if isinstance(one, Fact) and one.key == "folders_of_fetched_images")
        options["fetch"] = next((folder for folder in next(folders, ()) if is_folder(folder)), None)
    own = Check("options_file", "Options file", lambda _options: faults)
    place = next(number for number, check in enumerate(CHECKS) if check.name == "packages")
    checks = (*CHECKS[:place], own, *CHECKS[place:])
    report = examine(filled(DoctorOptions, options), checks=checks, addresses=_texts_of_file(given))
    show(report, as_json=as_json)
    return EXIT_DONE if report.is_healthy else EXIT_WITH_FAILURES


def look_at_options_file(ctx: click.Context, given: Path | None) -> Iterator[Finding]:
    """Yield the options file that commands read, and what is wrong in it."""
    try:
        config = ConfigFile.read(given)
    except BioclipError as error:
        yield _unusable(str(error))
        return
    yield Fact("file", str(config.place) if config.values else f"none ({config.place})")
    tables = {name: value for name, value in config.values.items() if isinstance(value, dict)}
    stores = [holder["store"] for holder in (config.values, *tables.values()) if isinstance(holder.get("store"), str)]
    if stores:
        yield Fact("stores", list(dict.fromkeys(stores)))
    folders = [holder["fetch"] for holder in (config.values, *tables.values()) if isinstance(holder.get("fetch"), str)]
    if folders:
        yield Fact("folders_of_fetched_images", folders)
    for name in tables or (["classify"] if config.values else []):
        # Each table alone, so that the first fault does not hide the others.
        alone = {key: value for key, value in config.values.items() if key == name or key not in tables}
        try:
            _check(ctx, ConfigFile(config.place, alone), name)
        except BioclipError as error:
            yield _unusable(str(error), may_be_of_plugin=bool(_installed_plugins()))


def _texts_of_file(given: Path | None) -> list[str]:
    """Return all texts of the options file: any may be an address with a password, also under a key that no command has."""

    def texts_of(value: Any) -> Iterator[str]:
        if isinstance(value, str):
            yield value
        elif isinstance(value, (dict, list)):
            for one in value.values() if isinstance(value, dict) else value:
                yield from texts_of(one)

    try:
        return list(texts_of(dict(ConfigFile.read(given).values)))
    except BioclipError:  # a problem of the report already, which shows nothing of the file
        return []


def _check(ctx: click.Context, config: ConfigFile, name: str) -> None:
    """Check the options of one command.

    Raises:
        BioclipError: with the first that is wrong.
    """
    root = ctx.find_root().command
    assert isinstance(root, click.Group)
    command = root.get_command(ctx, name)
    if command is None:
        raise BioclipError(f"{config.place}: no command is called [{name}]; bioclip-plugin --help lists them")
    config.defaults_for(root, name, command, ctx)


def _installed_plugins() -> list[Any]:
    from bioclip_plugin.plugins import create_plugin_manager, installed_plugins

    return installed_plugins(create_plugin_manager(installed=False))


def _unusable(text: str, *, may_be_of_plugin: bool = False) -> Problem:
    """Return the problem of a fault in the file; a name that is not known may be that of a plugin, which is not imported here."""
    if may_be_of_plugin and ("no command is called" in text or (": unknown " in text and "]: unknown " not in text)):
        return Problem("options-file.unknown", text, "it may be of a plugin", "if not, correct the file", grave=False)
    return Problem(
        "options-file.unusable", text, "every other command refuses to begin", "correct the file, or move it away"
    )
