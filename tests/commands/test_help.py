"""Every command's help teaches with an example."""

from __future__ import annotations

import shlex

import click
import pytest
from command_samples import Bioclip

from bioclip_plugin.cli import command_line
from bioclip_plugin.plugins import create_plugin_manager


def all_commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    ctx = click.Context(group)
    found: list[tuple[str, ...]] = []
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None
        found.append((*path, name))
        if isinstance(command, click.Group):
            found += all_commands(command, (*path, name))
    return found


def built_in() -> list[tuple[str, ...]]:
    return all_commands(command_line(create_plugin_manager(installed=False)))


@pytest.mark.parametrize("command", built_in(), ids=" ".join)
def test_help_shows_a_command_that_can_be_given(bioclip: Bioclip, command: tuple[str, ...]) -> None:
    said = bioclip(*command, "--help")
    examples = [line.strip() for line in said.out.splitlines() if line.strip().startswith("bioclip-plugin ")]
    assert said.code == 0
    assert examples
    given = shlex.split(examples[0])[1:]
    assert given[: len(command)] == list(command)
    resolve(given)


def resolve(given: list[str]) -> None:
    """Parse an example as click does when it is given, without running it."""
    cli = command_line(create_plugin_manager(installed=False))
    command: click.Command = cli
    with click.Context(cli) as ctx:
        while isinstance(command, click.Group):
            found = command.get_command(ctx, given.pop(0))
            assert found is not None
            command = found
        command.make_context(command.name, given, parent=ctx)
