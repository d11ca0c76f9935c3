"""Every command's help teaches with an example."""

from __future__ import annotations

import shlex

import click
import pytest
from command_samples import Bioclip, all_commands

from bioclip_plugin.cli import command_line
from bioclip_plugin.plugins import create_plugin_manager


@pytest.mark.parametrize("command", [name for name, _ in all_commands()])
def test_help_shows_a_command_that_can_be_given(bioclip: Bioclip, command: str) -> None:
    said = bioclip(*command.split(), "--help")
    examples = [line.strip() for line in said.out.splitlines() if line.strip().startswith("bioclip-plugin ")]
    assert said.code == 0
    assert examples
    given = shlex.split(examples[0])[1:]
    assert " ".join(given).startswith(command)
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
