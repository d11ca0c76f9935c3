"""Dataclasses of options filled from a document (YAML, JSON, TOML), section by section, with the place in every message."""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from bioclip_core.errors import UsageError
from bioclip_core.files.homes import with_home
from bioclip_core.listed_names import did_you_mean, listed
from bioclip_core.option_types import plain_value

T = TypeVar("T")

_NAME = re.compile(r"\w[\w.-]{0,99}")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(B|kB|KB|MB|GB|TB)")
_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def filled_section(kind: type[T], given: Any, *, file: Path, place: str = "") -> T:
    """Return a dataclass of options with the values of one section of a document.

    Fields may be dataclasses themselves, mappings from names to dataclasses, and whatever
    :func:`bioclip_core.options.check_options` knows. A field whose metadata has ``size`` takes "4 GB" too.

    Args:
        kind: the dataclass; its ``__post_init__`` checks the values.
        given: the section.
        file: the document; relative paths are relative to its folder.
        place: path of the section in the document, with dots.

    Raises:
        UsageError: for an unknown name, with the nearest known one; for one that is missing; and for a value that is not
            allowed, with its place.
    """
    if not isinstance(given, dict):
        shown = "empty" if given is None else f"{given!r:.60}"
        raise UsageError(f"{file}: {place or 'the document'} is {shown}: write names with values below it")
    known = {entry.name: entry for entry in fields(kind) if entry.init}  # type: ignore[arg-type]
    for name in given:
        if name not in known:
            raise UsageError(
                f"{file}: {_at(place, name)} is not known{did_you_mean(name, known)}; known here are {listed(list(known))}"
            )
    for name, entry in known.items():
        if name not in given and entry.default is MISSING and entry.default_factory is MISSING:
            raise UsageError(f"{file}: {_at(place, name)} is missing; it must be given")
    hints = get_type_hints(kind)
    values = {name: _value(hints[name], known[name], value, file, _at(place, name)) for name, value in given.items()}
    try:
        return kind(**values)
    except UsageError as error:
        # a check of ours begins with the name of the field
        beginning = (
            f"{place}."
            if place and str(error).split(" ", 1)[0].split(".")[0] in known
            else f"{place}: "
            if place
            else ""
        )
        raise type(error)(f"{file}: {beginning}{error}") from None


def _at(place: str, name: str) -> str:
    return f"{place}.{name}" if place else str(name)


def _value(hint: Any, entry: Field[Any], given: Any, file: Path, place: str) -> Any:
    if isinstance(hint, types.UnionType):
        if given is None:
            return None
        hint = next(part for part in get_args(hint) if part is not types.NoneType)
    if is_dataclass(hint):
        # a heading without values, as it is left when all of them are comments
        return filled_section(hint, {} if given is None else given, file=file, place=place)  # type: ignore[arg-type]
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Mapping or (isinstance(origin, type) and issubclass(origin, Mapping)):
        return _mapping(parts[1], given, file, place)
    if entry.metadata.get("size") and isinstance(given, str):
        return _bytes(given, file, place)
    try:
        value = plain_value(place, hint, given)
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from None
    return _resolved(value, file)


def _mapping(kind: Any, given: Any, file: Path, place: str) -> Any:
    if not isinstance(given, dict):
        shown = "empty" if given is None else f"{given!r:.60}"
        raise UsageError(f"{file}: {place} is {shown}: write names with values below it")
    if kind is Path:
        return {name: _resolved(_path(name, value, file, place), file) for name, value in given.items()}
    if not is_dataclass(kind):
        return given
    for name in given:
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"{file}: {place}: the name {name[:100]!r} cannot be used: take letters, digits, _, - and ., at most 100"
            )
    return {name: filled_section(kind, value, file=file, place=_at(place, name)) for name, value in given.items()}  # type: ignore[arg-type]


def _path(name: str, given: Any, file: Path, place: str) -> Any:
    try:
        return plain_value(_at(place, name), Path, given)
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from None


def _bytes(given: str, file: Path, place: str) -> int:
    found = _SIZE.fullmatch(given.strip())
    if not found:
        raise UsageError(f"{file}: {place} {given!r:.60}: write a number of bytes, or a size such as 4 GB")
    return round(float(found[1]) * _UNITS[found[2].upper()])


def _resolved(value: Any, file: Path) -> Any:
    """Return paths relative to the folder of the document."""
    if isinstance(value, Path):
        return file.parent / with_home(value)
    return tuple(_resolved(entry, file) for entry in value) if isinstance(value, tuple) else value
