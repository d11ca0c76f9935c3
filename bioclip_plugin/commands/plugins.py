"""``bioclip-plugin plugins``: installed plugins, skipped plugins, and the names that plugins add."""

from __future__ import annotations

import click

from bioclip_plugin.commands.context import plugins_of
from bioclip_plugin.commands.reporting import console_for, print_lines, print_table


@click.command()
@click.pass_context
def plugins(ctx: click.Context) -> None:
    """Show the plugins with their hooks, the skipped ones with the reason, and the names that plugins register.

    \b
    bioclip-plugin plugins
    """
    manager, console = plugins_of(ctx), console_for()
    rows = [(row["name"], row["distribution"], row["hooks"]) for row in manager.described()]
    print_table(console, ("plugin", "distribution", "hooks"), rows)
    print_lines(
        console,
        *(f"Skipped: {failed.name} ({failed.distribution}): {failed.reason}" for failed in manager.failures),
        f"Models: {', '.join(manager.models())}",
        f"Sources: {'; '.join(source.name for source in manager.sources())}",
        f"Export formats: {', '.join(manager.exporters())}",
    )
