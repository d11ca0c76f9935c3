"""Installed plugins: each imported and registered, with the reason for one that is left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bioclip_core.errors import BioclipError
from bioclip_plugin.doctor.detector_files import detectors
from bioclip_plugin.doctor.options import DoctorOptions
from bioclip_plugin.doctor.plugin_loading import load_installed
from bioclip_plugin.doctor.report import Fact, Finding, Problem, Step

if TYPE_CHECKING:
    from bioclip_plugin.contracts.manager import BioclipPluginManager, LoadFailure


def look(options: DoctorOptions, without: frozenset[str] = frozenset()) -> Iterator[Finding]:
    """Yield the plugins with their hooks and names, and the faults of those that are left out."""
    from bioclip_plugin.contracts.commands import PluginCommand
    from bioclip_plugin.plugins import create_plugin_manager

    manager: BioclipPluginManager = create_plugin_manager(installed=False)
    built_in = {row["name"] for row in manager.described()}
    yield from load_installed(manager, without)
    yield Step("asking the plugins for what they register")
    for kind, names in names_of(manager).items():
        yield Fact(kind, names)
    group = _commands(manager)
    for name, command in group.items():
        if isinstance(command, PluginCommand) and f"command {name}" not in without:
            yield Step(
                f"importing the command {name} of {command.owner}", f"command {name}", True, f"plugins.crash.{name}"
            )
            try:
                command.imported()
            except BioclipError as error:
                yield Problem(
                    f"plugins.command.{name}", f"the command {name} cannot be used: {error}", "",
                    "upgrade or reinstall its plugin, or report it to its authors",
                )  # fmt: skip
    yield from detectors(manager.detectors(), options, without)
    rows = [row for row in manager.described() if row["name"] not in built_in]
    yield Fact("plugins", {row["name"]: f"{row['distribution']}: {row['hooks'] or 'no hooks'}" for row in rows})
    for row in rows:
        if not row["hooks"]:
            yield Problem(
                f"plugins.no-hooks.{row['name']}", f"the plugin {row['name']} ({row['distribution']}) has no hooks",
                "it does nothing: its functions lack the mark @hookimpl of bioclip_plugin",
                "upgrade it, or report it to its authors", grave=False,
            )  # fmt: skip
    yield Fact("skipped", [failure.name for failure in manager.failures])
    for failure in manager.failures:
        yield problem_of(failure)


def names_of(manager: BioclipPluginManager) -> dict[str, list[str]]:
    """Return the names that plugins register, by kind; one that fails only now is left out."""
    manager.media_suffixes()
    return {
        "models": list(manager.models()),
        "sources": [source.name for source in manager.sources()],
        "formats": list(manager.exporters()),
        "rules": list(manager.rules()),
    }


def problem_of(failure: LoadFailure) -> Problem:
    """Return the problem of a plugin that is left out."""
    whose = f" ({failure.distribution})" if failure.distribution else ""
    return Problem(
        f"plugins.skipped.{failure.name}",
        f"the plugin {failure.name}{whose} is skipped: {failure.reason}",
        "its models, sources, formats, rules and commands are missing",
        "upgrade or uninstall it, or report it to its authors",
    )


def _commands(manager: BioclipPluginManager) -> dict[str, object]:
    from bioclip_plugin.contracts.commands import LazyGroup

    group = LazyGroup("bioclip-plugin")
    manager.add_commands(group)
    return dict(group.commands)
