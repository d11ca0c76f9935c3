"""The outcome of one call of the command line, and all built-in commands, for the tests of commands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import click

from bioclip_plugin.cli import command_line
from bioclip_plugin.plugins import create_plugin_manager


@dataclass(frozen=True)
class Outcome:
    """The outcome of one call of the command line."""

    code: int
    out: str
    err: str


Bioclip = Callable[..., Outcome]


def all_commands() -> Iterator[tuple[str, click.Command]]:
    """Yield every built-in command and group with its whole name."""

    def below(group: click.Group, path: tuple[str, ...]) -> Iterator[tuple[str, click.Command]]:
        ctx = click.Context(group)
        for name in group.list_commands(ctx):
            command = group.get_command(ctx, name)
            assert command is not None
            yield " ".join((*path, name)), command
            if isinstance(command, click.Group):
                yield from below(command, (*path, name))

    return below(command_line(create_plugin_manager(installed=False)), ())


def built_in_commands() -> Iterator[tuple[str, click.Command]]:
    """Yield every built-in command with its whole name, without the groups."""
    return ((name, command) for name, command in all_commands() if not isinstance(command, click.Group))
