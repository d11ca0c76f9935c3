"""Dataclasses of options: each field is one option, with its name, type, default, allowed values and help.

The command line, ``bioclip.toml`` and Python callers fill the same dataclass, so nothing about an option is written twice::

    @dataclass(frozen=True, slots=True)
    class Example:
        top: int = field(default=5, metadata={"low": 1, "high": 1000})
        '''Number of candidates to keep.'''

        def __post_init__(self) -> None:
            check_options(self)

A field's type is bool, int, float, str, Path, date, a Literal of words or a tuple of texts, with or without ``| None``.
A field with ``compare=False`` is not an option: it is set by the program.
The first paragraph of the docstring below the field is the option's help; later paragraphs are for Python callers.
The metadata of a field may have these keys:

========== ============================================================
low, high  smallest and largest value
above      number that the value must exceed
choices    allowed values, where the type is not a Literal
check      function that raises UsageError for a value that is refused
automatic  text for the value that None stands for, shown as default
flag       name of the option, where it differs from the field's name
metavar    word for the value in ``--help``
========== ============================================================
"""

from __future__ import annotations

import ast
import inspect
import math
import sys
import types
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal, get_args, get_origin, get_type_hints

from bioclip_core.errors import UsageError
from bioclip_core.listed_names import did_you_mean
from bioclip_core.nouns import size_of
from bioclip_core.option_types import plain_value

LARGEST_WHOLE = 2**63 - 1
"""Limit of a whole number, as databases have it."""


@dataclass(frozen=True, slots=True)
class Option:
    """One field of a dataclass of options."""

    name: str
    kind: Any
    """Type of one value, without ``| None`` and without the tuple around it."""
    default: Any
    """Default value; ``dataclasses.MISSING`` for an option that must be given."""
    multiple: bool
    """True if the field is a tuple, so that the option may be given again."""
    choices: tuple[Any, ...]
    """Allowed values; empty: not limited to a list."""
    metadata: Mapping[str, Any]

    def check(self, value: Any) -> None:
        """Refuse a value that the field does not allow.

        Raises:
            UsageError: with the name, the value and the allowed values.
        """
        if self.choices and value not in self.choices:
            near = did_you_mean(value, self.choices) if isinstance(value, str) else ""
            raise UsageError(f"{self.name} {value!r}: allowed are {', '.join(self.choices)}{near}")
        low, high, above = (self.metadata.get(key) for key in ("low", "high", "above"))
        if isinstance(value, int) and abs(value) > LARGEST_WHOLE:
            digits = (
                str(value) if value.bit_length() < 14_000 else "of thousands of digits"
            )  # longer ones have no str()
            shown = digits if len(digits) <= 40 else f"{digits[:40]}…"
            raise UsageError(f"{self.name} {shown}: use a whole number of at most {LARGEST_WHOLE:,}")
        if self.kind in (int, float) and not (
            (isinstance(value, int) or math.isfinite(value))  # a long whole number does not fit into a float
            and (low is None or value >= low)
            and (high is None or value <= high)
            and (above is None or value > above)
        ):
            unit = " bytes" if self.metadata.get("size") else ""
            raise UsageError(f"{self.name} {value}{unit}: allowed are {self._limits()}")
        if check := self.metadata.get("check"):
            check(value)

    def _limits(self) -> str:
        low, high, above = (self.metadata.get(key) for key in ("low", "high", "above"))
        if self.metadata.get("size") and low is not None:
            return f"sizes from {size_of(low)}, with a unit, such as 4 GB"
        numbers = "whole numbers" if self.kind is int else "numbers"
        if low is not None:
            return f"{low} to {high}" if high is not None else f"{numbers} from {low}"
        lower = f"{numbers} above {above}" if above is not None else f"finite {numbers}"
        return f"{lower} and at most {high}" if high is not None else lower


@lru_cache
def options_of(kind: type) -> tuple[Option, ...]:
    """Return the options that a dataclass declares, in the order of its fields."""
    hints = get_type_hints(kind)
    found = []
    for entry in fields(kind):
        if not entry.compare:
            continue
        hint = hints[entry.name]
        if isinstance(hint, types.UnionType):
            hint = next(part for part in get_args(hint) if part is not type(None))
        multiple, choices = get_origin(hint) is tuple, tuple(entry.metadata.get("choices", ()))
        if multiple:
            hint = get_args(hint)[0]
        if get_origin(hint) is Literal:
            choices, hint = get_args(hint), str
        found.append(Option(entry.name, hint, entry.default, multiple, choices, entry.metadata))
    return tuple(found)


@lru_cache
def _hints_of(kind: type) -> tuple[tuple[str, Any, Any], ...]:
    """Return name, type and default of each field of a dataclass, those that are not options included."""
    hints = get_type_hints(kind)
    return tuple((entry.name, hints[entry.name], entry.default) for entry in fields(kind) if entry.init)


def check_options(options: Any) -> None:
    """Refuse a dataclass of options with a value that a field does not allow: of another type, or outside of its limits.

    A value of a type that means the same (a number of numpy, a list for a tuple, a text for a path) is replaced by one of the
    field's type.

    Raises:
        UsageError: for the first such value.
    """
    for name, hint, default in _hints_of(options.__class__):
        value = getattr(options, name)
        if value is not default and (plain := plain_value(name, hint, value)) is not value:
            object.__setattr__(options, name, plain)
    for option in options_of(options.__class__):
        value = getattr(options, option.name)
        if value is not None and not option.multiple:
            option.check(value)


@lru_cache
def help_of(kind: type) -> Mapping[str, str]:
    """Return the help of each documented field: the first paragraph of the docstring below it, as plain text.

    Docstrings of attributes exist in the source only, so this reads it; without the source the help is empty.
    """
    inherited = [help_of(base) for base in kind.__bases__ if is_dataclass(base)]
    try:
        module = ast.parse(inspect.getsource(sys.modules[kind.__module__]))
    except OSError:
        return {}
    body = next(node.body for node in module.body if isinstance(node, ast.ClassDef) and node.name == kind.__name__)
    own = {
        entry.target.id: " ".join(inspect.cleandoc(text.value.value).split("\n\n")[0].replace("``", "").split())
        for entry, text in pairwise(body)
        if isinstance(entry, ast.AnnAssign) and isinstance(entry.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
    }
    return {name: text for texts in (*inherited, own) for name, text in texts.items()}
