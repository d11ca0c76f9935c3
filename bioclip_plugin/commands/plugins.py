"""``bioclip-plugin plugins``: installed plugins, skipped plugins, and the names that plugins add."""

from __future__ import annotations

import click

from bioclip_plugin.commands.context import plugins_of
from bioclip_plugin.commands.reporting import console_for, print_lines, print_table, printable
from bioclip_plugin.contracts.detector import Detector, OptionalDetector
from bioclip_plugin.contracts.engine import ExecutionEngine, OptionalEngine


def _with_needs(one: Detector | ExecutionEngine) -> str:
    """Return the name of a detector or an engine, with what is missing for its use."""
    missing = one.missing() if isinstance(one, (OptionalDetector, OptionalEngine)) else ""
    return f"{one.name} (needs {missing})" if missing else one.name


@click.command()
@click.pass_context
def plugins(ctx: click.Context) -> None:
    """Show the plugins with their hooks, the skipped ones with the reason, and the names that plugins register.

    \b
    bioclip-plugin plugins
    """
    manager, console = plugins_of(ctx), console_for()
    names = (
        f"Models: {', '.join(manager.models())}",
        f"Sources: {'; '.join(source.name for source in manager.sources())}",
        f"Export formats: {', '.join(manager.exporters())}",
        f"Rules: {', '.join(manager.rules())}",
        f"Detectors: {', '.join(map(_with_needs, manager.detectors().values())) or 'none'}",
        f"Engines: {', '.join(map(_with_needs, manager.engines().values()))}",
        f"Content filters: {', '.join(manager.content_filters())}",
    )
    manager.media_suffixes()  # a plugin that fails only now is left out before the plugins are listed
    rows = [(row["name"], row["distribution"], row["hooks"]) for row in manager.described()]
    print_table(console, ("plugin", "distribution", "hooks"), rows)
    print_lines(
        console,
        *(
            printable(
                f"Skipped: {failed.name}{f' ({failed.distribution})' if failed.distribution else ''}: {failed.reason}"
            )
            for failed in manager.failures
        ),
        *names,
    )
