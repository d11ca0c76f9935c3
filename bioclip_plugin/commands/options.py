"""Options of commands: generated from the dataclasses that they fill, and those that only the command line has.

:mod:`bioclip_core.options` describes the form of such a dataclass. A command declares its options with :func:`options_from` and
takes them out of its arguments with :func:`filled`::

    @click.command()
    @options_from(ReportOptions, omit=["selection"])
    def report(**options: Any) -> int:
        chosen = filled(ReportOptions, options)

Each option has the same name on the command line, in ``bioclip.toml`` and in the dataclass; only words that are singular on
the command line (``--rule`` for ``rules``) differ, by the field's ``flag``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import MISSING, fields
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import click

from bioclip_core.findings import Findings
from bioclip_core.options import LARGEST_WHOLE, Option, help_of, options_of
from bioclip_core.tables.options import TableOptions
from bioclip_plugin.items.request import ClassifyRequest

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

DEFAULT_STORE = "bioclip.db"


class Day(click.DateTime):
    """A day such as 2024-05-31."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return super().convert(value, param, ctx).date()
        except click.BadParameter:
            self.fail(f"{value!r} is not a day: give one such as 2024-05-31", param, ctx)


class Words(click.Choice[str]):
    """Allowed words, shown and completed as click does, and refused as the dataclass does: in one line."""

    def __init__(self, option: Option) -> None:
        super().__init__(option.choices)
        self._option = option

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        self._option.check(value)
        return super().convert(value, param, ctx)


class WholeNumber(click.IntRange):
    """A whole number within the limits of its field, refused as the dataclass does."""

    def __init__(self, option: Option) -> None:
        super().__init__(option.metadata.get("low"), option.metadata.get("high"))
        self._option = option

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = click.INT.convert(value, param, ctx)
        self._option.check(number)
        return number


class Number(click.FloatRange):
    """A number within the limits of its field, refused as the dataclass does."""

    def __init__(self, option: Option) -> None:
        low, high, above = (option.metadata.get(key) for key in ("low", "high", "above"))
        super().__init__(low if above is None else above, high, min_open=above is not None)
        self._option = option

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = click.FLOAT.convert(value, param, ctx)
        self._option.check(number)
        return number


class GivenPath(click.Path):
    """A path. An empty text, mostly a variable of a script that was not set, would be the present folder."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and not value.strip():
            self.fail("the path is empty: give one, or leave the option out", param, ctx)
        return super().convert(value, param, ctx)


_TYPES: dict[Any, click.ParamType[Any]] = {
    bool: click.BOOL,
    int: click.INT,
    float: click.FLOAT,
    str: click.STRING,
    Path: GivenPath(),
    date: Day(["%Y-%m-%d"]),
}


def options_from(
    kind: type, *, only: Collection[str] = (), omit: Collection[str] = (), **defaults: Any
) -> Callable[[F], F]:
    """Return a decorator that gives a command one option per field of a dataclass of options.

    Args:
        kind: the dataclass.
        only: the fields to take; empty: all of them.
        omit: fields to leave out, which the command sets by itself.
        defaults: defaults that differ on the command line, by field.
    """

    def decorate(function: F) -> F:
        for option in reversed(options_of(kind)):
            if option.name not in omit and (not only or option.name in only):
                default = defaults.get(option.name, option.default)
                function = _click_option(option, help_of(kind).get(option.name, ""), default)(function)
        return function

    return decorate


def filled(kind: type[T], options: dict[str, Any], **given: Any) -> T:
    """Take the fields of a dataclass out of a command's options and return the dataclass.

    Raises:
        UsageError: for a value that the dataclass refuses.
    """
    names = [entry.name for entry in fields(kind) if entry.name in options]  # type: ignore[arg-type]
    return kind(**{name: options.pop(name) for name in names}, **given)


_UNUSED = {
    "fetch": "options of fetching have no effect without --fetch FOLDER",
    "work_folder": "options of shards have no effect without --work-folder FOLDER",
    "plan": "options of a plan have no effect without --plan",
}
"""Texts of findings, by the name of the option that the others need."""


def count_unused(
    ctx: click.Context, kind: type, needed: str, findings: Findings, *, apart_from: Collection[str] = ()
) -> None:
    """Count the options of a dataclass that were given on the command line, if the one without which they do nothing was not.

    Args:
        ctx: the context of the command.
        kind: the dataclass.
        needed: name of the option that the others need.
        findings: gets the count.
        apart_from: names of options that do something without it.
    """
    names = {option.name for option in options_of(kind)}.difference(apart_from)
    if ctx.params.get(needed):
        return
    for param in ctx.command.params:
        if param.name in names and ctx.get_parameter_source(param.name) is click.core.ParameterSource.COMMANDLINE:
            findings.add(_UNUSED[needed], param.opts[0])


def _click_option(option: Option, text: str, default: Any) -> Callable[[F], F]:
    flag = option.metadata.get("flag", f"--{option.name.replace('_', '-')}")
    is_empty = default is MISSING or default is None or default is False or default in ((), "")  # 0 is a value to show
    shown: bool | str = not is_empty
    if default in (None, ()):
        shown = option.metadata.get("automatic", False)
    if option.kind is bool and default is True:
        flag = f"{flag}/--no-{flag.removeprefix('--')}"
    settings: dict[str, Any] = {"required": True} if default is MISSING else {"default": default}
    return click.option(
        flag,
        option.name,
        type=_click_type(option),
        is_flag=option.kind is bool,
        multiple=option.multiple,
        metavar=option.metadata.get("metavar", "DATE" if option.kind is date else None),
        show_default=shown,
        help=f"{text} May be given again." if option.multiple else text,
        **settings,
    )


def _click_type(option: Option) -> click.ParamType[Any]:
    if option.choices:
        return Words(option)
    if not {"low", "high", "above"} & set(option.metadata):
        return _TYPES[option.kind]
    return WholeNumber(option) if option.kind is int else Number(option)


model_option = options_from(ClassifyRequest, only=["model"])
compute_options = options_from(ClassifyRequest, only=["batch_size", "workers", "device", "precision"])
device_option = options_from(ClassifyRequest, only=["device"])
store_option = options_from(ClassifyRequest, only=["store"], store=DEFAULT_STORE)
taxon_table_options = options_from(TableOptions, only=["column", "encoding"])
"""Options of tables of taxa, which hold neither dates nor file names."""
rule_option = options_from(ClassifyRequest, only=["rules"])

COUNT = click.IntRange(1, LARGEST_WHOLE)
"""A number of things, or the number of a run."""
run_option = click.option(
    "--run", type=COUNT, help="Number of the run, as `runs list` shows it.  [default: the latest]"
)
force_option = click.option("--force", is_flag=True, help="Replace the output if it exists.")
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON on standard output, and nothing else there."
)


def output_option(text: str, **settings: Any) -> Callable[[F], F]:
    """Return the option ``--output`` with its help; it must be given unless ``settings`` say otherwise."""
    settings = {"required": True} | settings
    return click.option("--output", type=GivenPath(), help=text, **settings)
