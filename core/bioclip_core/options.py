"""Fields of a configuration dataclass that also describe themselves on a command line: help text, allowed values, limits.

The name, the type and the default of an option are those of its field. A field with a ``help`` in its metadata is an option; a
``Literal`` type lists the allowed words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from bioclip_core.errors import UsageError


def option(
    text: str, *, low: float | None = None, high: float | None = None, metavar: str | None = None
) -> Mapping[str, Any]:
    """Return the metadata of a dataclass field that is also an option.

    Args:
        text: the help, without the default and the allowed words, which a command line adds itself.
        low: the smallest allowed number; ``high`` is given with it.
        high: the largest allowed number.
        metavar: the placeholder of the value in the help.
    """
    return {"help": text, "low": low, "high": high, "metavar": metavar}


def options_of(config: type[Any]) -> dict[str, Field[Any]]:
    """Return the fields of a dataclass that are options, by name, in the order of the class."""
    return {item.name: item for item in fields(config) if "help" in item.metadata}


def is_required(item: Field[Any]) -> bool:
    """Return True if a field has no default."""
    return item.default is MISSING and item.default_factory is MISSING


def allowed_words(config: type[Any]) -> dict[str, tuple[str, ...]]:
    """Return the allowed words of each field whose type is a ``Literal``."""
    hints = get_type_hints(config)
    return {name: get_args(hint) for name, hint in hints.items() if get_origin(hint) is Literal}


def check_options(config: Any) -> None:
    """Check every value of a configuration against the words and limits of its fields.

    Raises:
        UsageError: if a value is not allowed, with the allowed ones.
    """
    for name, words in allowed_words(type(config)).items():
        if (value := getattr(config, name)) not in words:
            raise UsageError(f"{name} {value!r}: allowed are {', '.join(words)}")
    for item in fields(config):
        low, high, value = item.metadata.get("low"), item.metadata.get("high"), getattr(config, item.name)
        if low is not None and value is not None and not low <= value <= high:
            raise UsageError(f"{item.name} {value}: allowed is {low:g} to {high:g}")
