"""``bioclip-plugin plugins``: what is plugged in, what was left out, and which names plugins add."""

from __future__ import annotations

import click

from bioclip_plugin.cli import EXIT_DONE, plugins_of
from bioclip_plugin.commands.reporting import console_for, print_table


@click.command()
@click.pass_context
def plugins(ctx: click.Context) -> int:
    """Show what is plugged in: plugins with their hooks, those left out and why, and the names that they register.

    \b
    bioclip-plugin plugins
    """
    manager = plugins_of(ctx)
    console = console_for()
    rows = [(row["name"], row["distribution"], row["hooks"]) for row in manager.described()]
    print_table(console, ("plugin", "distribution", "hooks"), rows)
    for failure in manager.failures:
        console.print(f"Left out: {failure.name} ({failure.distribution}): {failure.reason}")
    console.print(f"Models: {', '.join(manager.models())}")
    console.print(f"Sources: {'; '.join(source.name for source in manager.sources())}")
    console.print(f"Export formats: {', '.join(manager.exporters())}")
    return EXIT_DONE
