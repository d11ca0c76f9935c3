"""``bioclip.toml``: every command's options from a file, its names and types checked before the command runs."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from bioclip_core.errors import UsageError

CONFIG_FILE = "bioclip.toml"

_NOT_IN_FILE = frozenset({"help", "version", "config"})


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """The options file: names and values, and tables of them that bear a command's name."""

    place: Path
    values: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path | None) -> ConfigFile:
        """The file that was named, else ``BIOCLIP_CONFIG``, else that of the working directory; empty without one.

        Raises:
            UsageError: if the file cannot be read.
        """
        place = path or Path(os.environ.get("BIOCLIP_CONFIG", CONFIG_FILE))
        if path is None and not place.is_file():
            return cls(place, {})
        try:
            return cls(place, tomllib.loads(place.read_text("utf-8")))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise UsageError(f"{place} cannot be read: {error}") from None

    def defaults_for(self, root: click.Group, name: str, command: click.Command, ctx: click.Context) -> dict[str, Any]:
        """Click's default map for one command of ``root``: what stands for all commands, then what stands for this one.

        Raises:
            UsageError: for a name that no command (in a command's table: that command) knows, or a value of another type.
        """
        commands = root.list_commands(ctx)
        common, tables = _split(self.values)
        for table in tables:
            if table not in commands:
                raise UsageError(f"{self.place}: no command is called [{table}]; there are {', '.join(commands)}")
        self._check_common(common, root, command, ctx)
        return self._defaults(command, common, tables.get(name, {}), f"[{name}]", ctx)

    def _check_common(
        self, common: Mapping[str, Any], root: click.Group, command: click.Command, ctx: click.Context
    ) -> None:
        """Refuse a name that no command knows; the other commands are imported only where this one does not know it."""
        unknown = set(common) - _names(command, ctx)
        if unknown:
            others = [root.get_command(ctx, name) for name in root.list_commands(ctx)]
            known = set().union(*(_names(other, ctx) for other in others if other))
            self._refuse(unknown - known, known, "")

    def _defaults(
        self,
        command: click.Command,
        common: Mapping[str, Any],
        own: Mapping[str, Any],
        section: str,
        ctx: click.Context,
    ) -> dict[str, Any]:
        """The default map of a command; for a group, one of each of its commands as well."""
        if not isinstance(command, click.Group):
            self._refuse(set(own) - _names(command, ctx), _names(command, ctx), section)
            return self._checked(command, {**common, **own}, own, section, ctx)
        values, tables = _split(own)
        members = [member for name in command.list_commands(ctx) if (member := command.get_command(ctx, name))]
        by_name = {member.name or "": member for member in members}
        self._refuse(set(values) - _names(command, ctx), _names(command, ctx), section)
        self._refuse(set(tables) - set(by_name), set(by_name), section)
        return {
            name: self._defaults(member, {**common, **values}, tables.get(name, {}), f"{section[:-1]}.{name}]", ctx)
            for name, member in by_name.items()
        }

    def _refuse(self, unknown: set[str], known: set[str], section: str) -> None:
        if unknown:
            where = f"{self.place}{', ' + section if section else ''}"
            raise UsageError(f"{where}: unknown {', '.join(sorted(unknown))}; allowed are {', '.join(sorted(known))}")

    def _checked(
        self,
        command: click.Command,
        values: Mapping[str, Any],
        own: Mapping[str, Any],
        section: str,
        ctx: click.Context,
    ) -> dict[str, Any]:
        defaults = {}
        for option in _options(command):
            key = _key(option)
            if key in values:
                where = f"{self.place}{', ' + section if key in own else ''}: {key}"
                defaults[option.name or key] = _checked_value(option, values[key], where, ctx)
        return defaults


def _split(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Mapping[str, Any]]]:
    plain = {name: value for name, value in values.items() if not isinstance(value, Mapping)}
    return plain, {name: value for name, value in values.items() if isinstance(value, Mapping)}


def _options(command: click.Command) -> Iterator[click.Option]:
    for parameter in command.params:
        if isinstance(parameter, click.Option) and _key(parameter) not in _NOT_IN_FILE:
            yield parameter


def _key(option: click.Option) -> str:
    """An option's name in the file: its long name on the command line, with underscores."""
    return max(option.opts, key=len).lstrip("-").replace("-", "_")


def _names(command: click.Command, ctx: click.Context) -> set[str]:
    """The keys that a command, or any command of a group, knows."""
    names = {_key(option) for option in _options(command)}
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            member = command.get_command(ctx, name)
            names |= _names(member, ctx) if member else set()
    return names


def _checked_value(option: click.Option, value: Any, where: str, ctx: click.Context) -> Any:
    """The value as the option takes it; TOML has types, so a text is not taken for a number or a switch.

    Raises:
        UsageError: for a value of another type, or out of the option's range.
    """
    wanted = "a list of texts" if option.multiple else _wanted(option)
    parts = value if option.multiple and isinstance(value, list) else [value]
    if (option.multiple and not isinstance(value, list)) or not all(_fits(part, _wanted(option)) for part in parts):
        raise UsageError(f"{where} is {value!r}; {wanted} is needed")
    try:
        option.type_cast_value(ctx, value)
    except (click.BadParameter, UsageError) as error:
        raise UsageError(f"{where}: {error}") from None
    return value


def _wanted(option: click.Option) -> str:
    if option.is_flag:
        return "true or false"
    if isinstance(option.type, type(click.INT)):  # whole-number ranges are of this type too
        return "a whole number"
    return "a number" if isinstance(option.type, type(click.FLOAT)) else "a text"


def _fits(value: Any, wanted: str) -> bool:
    if isinstance(value, bool) or wanted == "true or false":
        return isinstance(value, bool) and wanted == "true or false"
    if wanted == "a whole number":
        return isinstance(value, int)
    return isinstance(value, (int, float)) if wanted == "a number" else isinstance(value, str)
