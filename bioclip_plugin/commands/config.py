"""``bioclip.toml``: options of every command from a file, whose names and types are checked before the command runs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from bioclip_core.errors import BioclipError, UsageError
from bioclip_core.files.documents import read_toml

CONFIG_FILE = "bioclip.toml"

_NOT_IN_FILE = frozenset({"help", "version", "config"})


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """An options file: values for all commands, and one table per command."""

    place: Path
    values: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path | None) -> ConfigFile:
        """Read the given file, else that of ``BIOCLIP_CONFIG``, else that of the working directory; empty without one.

        Raises:
            UsageError: if the file cannot be read, and if one that was named does not exist.
        """
        named = os.environ.get("BIOCLIP_CONFIG")
        place = path or Path(named or CONFIG_FILE)
        if path is None and not named and not os.path.lexists(place):
            return cls(place, {})
        try:
            return cls(place, read_toml(place, name="", error=UsageError))
        except UsageError as error:
            raise (
                UsageError(f"{error}; the variable BIOCLIP_CONFIG names it") if named and path is None else error
            ) from None

    def defaults_for(self, root: click.Group, name: str, command: click.Command, ctx: click.Context) -> dict[str, Any]:
        """Return click's default map for one command of ``root``; the command's own table wins over the values for all.

        Raises:
            UsageError: for a name that no command (in a command's table: that command) has, or a value of another type.
        """
        common, tables = _split(self.values)
        commands = root.list_commands(ctx)
        for table in tables:
            if table not in commands:
                raise UsageError(f"{self.place}: no command is called [{table}]; there are {', '.join(commands)}")
        unknown = set(common) - _names(command, ctx)
        if unknown:  # only now are the other commands imported
            known = _names(root, ctx)
            self._refuse(unknown - known, known, "")
        return self._defaults(command, common, tables.get(name, {}), f"[{name}]", ctx)

    def _defaults(
        self,
        command: click.Command,
        common: Mapping[str, Any],
        own: Mapping[str, Any],
        section: str,
        ctx: click.Context,
    ) -> dict[str, Any]:
        """Return the default map of a command; of a group, one map per command."""
        values, tables = _split(own)
        members, known = dict(_members(command, ctx)), _names(command, ctx)
        self._refuse(set(values) - known, known, section)
        self._refuse(set(tables) - set(members), set(members) or known, section)
        values = {**common, **values}
        if members:
            return {
                name: self._defaults(member, values, tables.get(name, {}), f"{section[:-1]}.{name}]", ctx)
                for name, member in members.items()
            }
        defaults = {}
        for key, option in _options(command):
            if key in values:
                where = f"{self.place}{', ' + section if key in own else ''}: {key}"
                _check_value(option, values[key], where, ctx)
                defaults[option.name or key] = values[key]
        return defaults

    def _refuse(self, unknown: set[str], known: set[str], section: str) -> None:
        if unknown:
            raise UsageError(
                f"{self.place}{', ' + section if section else ''}: unknown {', '.join(sorted(unknown))}; "
                f"allowed are {', '.join(sorted(known))}"
            )


def _split(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Mapping[str, Any]]]:
    """Separate plain values from tables."""
    plain = {name: value for name, value in values.items() if not isinstance(value, Mapping)}
    return plain, {name: value for name, value in values.items() if isinstance(value, Mapping)}


def _members(command: click.Command, ctx: click.Context) -> Iterator[tuple[str, click.Command]]:
    """Yield the commands of a group, except those of plugins that cannot be imported."""
    for name in command.list_commands(ctx) if isinstance(command, click.Group) else ():
        with suppress(BioclipError):
            if member := command.get_command(ctx, name):  # type: ignore[attr-defined]
                yield name, member


def _options(command: click.Command) -> Iterator[tuple[str, click.Option]]:
    """Yield the options of a command by their keys in the file: the long name, with underscores."""
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            key = max(parameter.opts, key=len).lstrip("-").replace("-", "_")
            if key not in _NOT_IN_FILE:
                yield key, parameter


def _names(command: click.Command, ctx: click.Context) -> set[str]:
    """Return the keys of a command, or of all commands of a group."""
    return {key for key, _ in _options(command)}.union(*(_names(member, ctx) for _, member in _members(command, ctx)))


def _check_value(option: click.Option, value: Any, where: str, ctx: click.Context) -> None:
    """Check the value of an option. TOML has types, so a text is not taken for a number or a switch.

    Raises:
        UsageError: for a value of another type, or one that the option does not allow.
    """
    wanted, kinds = _wanted(option)
    parts = value if option.multiple and isinstance(value, list) else [value]
    # Python takes True for a number.
    fits = all(isinstance(part, kinds) and isinstance(part, bool) == option.is_flag for part in parts)
    if (option.multiple and not isinstance(value, list)) or not fits:
        raise UsageError(f"{where} is {value!r}; {'a list of texts' if option.multiple else wanted} is needed")
    try:
        option.type_cast_value(ctx, value)
    except (click.BadParameter, UsageError) as error:
        raise UsageError(f"{where}: {error}") from None


def _wanted(option: click.Option) -> tuple[str, tuple[type, ...]]:
    """Return the kind of value that an option takes, in words and as Python's types."""
    if option.is_flag:
        return "true or false", (bool,)
    if isinstance(option.type, type(click.INT)):  # ranges of whole numbers too
        return "a whole number", (int,)
    return ("a number", (int, float)) if isinstance(option.type, type(click.FLOAT)) else ("a text", (str,))
