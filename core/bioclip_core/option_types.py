"""Values of options against the types of their fields."""

from __future__ import annotations

import os
import types
from collections.abc import Callable, Mapping
from datetime import date
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from bioclip_core.errors import UsageError

_LONGEST = 60
_REFUSED = object()
_WORDS: Mapping[Any, str] = {
    bool: "True or False", int: "a whole number", float: "a number", str: "a text", Path: "a path", date: "a date",
}  # fmt: skip


def plain_value(name: str, hint: Any, value: Any) -> Any:
    """Return a value as the type of its field has it; the same object if it is of that type, or if the type is not known here.

    Args:
        name: name of the field.
        hint: its type.
        value: the given value.

    Raises:
        UsageError: with name, value and what is allowed, if it is of another type.
    """
    found = _plain(hint, value)
    if found is not _REFUSED:
        return found
    try:
        shown = repr(value)
    except ValueError:  # a whole number of thousands of digits
        shown = type(value).__name__
    raise UsageError(f"{name} {shown if len(shown) <= _LONGEST else f'{shown[:_LONGEST]}…'}: must be {_word(hint)}")


def _plain(hint: Any, value: Any) -> Any:
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return next((found for part in parts if (found := _plain(part, value)) is not _REFUSED), _REFUSED)
    if hint in _PLAIN:
        return _PLAIN[hint](value)
    if origin is Literal:  # other words are refused with the list of the allowed ones
        return value if isinstance(value, type(parts[0])) else _REFUSED
    if origin is tuple:
        return _plain_tuple(parts, value)
    if origin is not None and issubclass(origin, Mapping):
        return _plain_mapping(parts, value)
    if origin is Callable:
        return value if callable(value) else _REFUSED
    return value


def _plain_tuple(parts: tuple[Any, ...], value: Any) -> Any:
    if not isinstance(value, (tuple, list)):
        return _REFUSED
    hints = parts[:1] * len(value) if parts[-1] is ... else parts
    if len(hints) != len(value):
        return _REFUSED
    found = tuple(_plain(part, entry) for part, entry in zip(hints, value, strict=True))
    if any(entry is _REFUSED for entry in found):
        return _REFUSED
    is_same = isinstance(value, tuple) and all(one is other for one, other in zip(found, value, strict=True))
    return value if is_same else found


def _plain_mapping(parts: tuple[Any, ...], value: Any) -> Any:
    if not isinstance(value, Mapping):
        return _REFUSED
    found = {key: _plain(parts[1], entry) for key, entry in value.items()}
    if any(entry is _REFUSED for entry in found.values()):
        return _REFUSED
    return value if all(found[key] is entry for key, entry in value.items()) else found


def _truth(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    return bool(value) if type(value).__module__ == "numpy" and getattr(value, "dtype", None) == "bool" else _REFUSED


def _whole(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, Integral):
        return _REFUSED
    return value if isinstance(value, int) else int(value)


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, Real):
        return _REFUSED
    if isinstance(value, (int, float)):
        return value
    return int(value) if isinstance(value, Integral) else float(value)


def _text(value: Any) -> Any:
    if isinstance(value, str):
        return value
    return os.fspath(value) if isinstance(value, os.PathLike) else _REFUSED


def _path(value: Any) -> Any:
    if isinstance(value, Path):
        return value
    name = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
    # An empty text would be the present folder, which nobody means by it.
    return Path(name) if isinstance(name, str) and name else _REFUSED


_PLAIN: Mapping[Any, Callable[[Any], Any]] = {
    bool: _truth,
    int: _whole,
    float: _number,
    str: _text,
    Path: _path,
    date: lambda value: value if isinstance(value, date) else _REFUSED,
    types.NoneType: lambda value: value if value is None else _REFUSED,
}


def _word(hint: Any) -> str:
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return ", or ".join(
            [
                *(_word(part) for part in parts if part is not types.NoneType),
                *(["None"] if types.NoneType in parts else []),
            ]
        )
    if origin is Literal:
        return f"one of {', '.join(map(str, parts))}"
    if origin is tuple:
        each = _word(parts[0]).removeprefix("a ")
        return f"a list of {each}s" if parts[-1] is ... else f"{len(parts)} {each}s"
    if origin is not None and issubclass(origin, Mapping):
        return f"a mapping to {_word(parts[1]).removeprefix('a ')}s"
    return "a function" if origin is Callable else _WORDS.get(hint, str(hint))
