"""Exit codes of commands, and the plugin manager that the command line was started with."""

from __future__ import annotations

import click

from bioclip_plugin.contracts.manager import BioclipPluginManager

EXIT_DONE, EXIT_COULD_NOT_RUN, EXIT_USAGE, EXIT_WITH_FAILURES, EXIT_INTERRUPTED = 0, 1, 2, 3, 130


def plugins_of(ctx: click.Context) -> BioclipPluginManager:
    """Return the plugin manager that the command line was started with."""
    manager = ctx.find_root().obj
    assert isinstance(manager, BioclipPluginManager)
    return manager
