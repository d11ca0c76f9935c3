"""The group of commands that plugins get: commands by their object, or by the place of an object that is imported when called."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import click

from bioclip_core.errors import BioclipError
from bioclip_plugin.contracts.checking import checked_name
from bioclip_plugin.contracts.containing import Garbage, Owner, shown


class LazyCommand(click.Command):
    """A command that is imported when it is called, so that ``--help`` imports nothing heavy."""

    def __init__(self, name: str, place: str, short_help: str) -> None:
        super().__init__(name, short_help=short_help)
        self.place = place

    def imported(self) -> click.Command:
        """Return the command.

        Raises:
            Garbage: if there is something else at its place.
        """
        module, _, attribute = self.place.partition(":")
        command = getattr(import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise Garbage(f"{self.place} is {shown(command)}; a click command is needed")
        return command


class LazyGroup(click.Group):
    """A group that takes commands by their places too."""

    def add_lazy(self, name: str, place: str, short_help: str) -> None:
        """Add a command by the place of its object, ``package.module:attribute``, and its line in ``--help``."""
        self.add_command(LazyCommand(name, place, short_help), name)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names of all commands, in the order in which they were added."""
        return list(self.commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, imported if need be; None for an unknown name."""
        command = super().get_command(ctx, cmd_name)
        return command.imported() if isinstance(command, LazyCommand) else command


class PluginCommand(click.Command):
    """A command of a plugin, in the group of all commands, with its owner."""

    def __init__(self, command: click.Command, owner: Owner, name: str) -> None:
        super().__init__(name, short_help=owner.call(f"the command {name}", command.get_short_help_str, 90))
        self.command, self.owner = command, owner

    def imported(self) -> click.Command:
        """Return the plugin's own command.

        Raises:
            BioclipError: if it cannot be imported, with the plugin's name.
        """
        command = self.command
        what = f"importing the command {self.name}"
        return self.owner.call(what, command.imported) if isinstance(command, LazyCommand) else command

    def blamed(self, error: BaseException) -> BioclipError:
        """Return an error of the command with the plugin's name."""
        return self.owner.blamed(f"the command {self.name}", error)


def contained_commands(owner: Owner, register: Callable[[Any], Any]) -> dict[str, PluginCommand]:
    """Return the commands that a plugin adds to a group of its own.

    Raises:
        BioclipError: if it fails, or adds anything else than commands.
    """
    group = LazyGroup("bioclip-plugin")
    owner.call("register_commands", register, group)
    return owner.call("register_commands", _checked, group, owner)


def _checked(group: LazyGroup, owner: Owner) -> dict[str, PluginCommand]:
    found = {}
    for name, command in group.commands.items():
        checked_name(name, "command")
        if not isinstance(command, click.Command):
            raise Garbage(f"register_commands added {shown(command)} as {name}; a click command is needed")
        if isinstance(command, LazyCommand) and not (isinstance(command.place, str) and ":" in command.place):
            raise Garbage(f"the command {name} has the place {shown(command.place)}; write package.module:command")
        if not isinstance(command.short_help or "", str):
            raise Garbage(f"the command {name} has the help {shown(command.short_help)}; a text is needed")
        found[name] = PluginCommand(command, owner, name)
    return found
