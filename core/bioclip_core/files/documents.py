"""JSON and TOML from outside: one typed reader that ends in a value of the wanted type, or in one readable line.

``json`` finds duplicate keys and literals that are not JSON, which msgspec's own decoder accepts or cannot name; msgspec
converts and checks the types.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from bioclip_core.errors import DataError, raise_if_of_host
from bioclip_core.files.regular import open_regular

T = TypeVar("T")

MAX_DOCUMENT_BYTES = 64 * 1024**2
"""Limit of a document that is read as a whole; larger files have readers that stream."""
MAX_TOML_BYTES = 1024**2
MAX_DEPTH = 64
"""Limit of arrays and objects within each other. The parser recurses, and a host may have raised Python's own limit."""

# A string without an end is a token too: a search that fails there would begin again at each quotation mark in it.
_STRING_OR_BRACKET = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)
_PART = r"""(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')"""
_DOTTED_KEY = re.compile(rf"(?<![\w-])(?:{_PART}[ \t]*+\.[ \t]*+){{{MAX_DEPTH + 1}}}")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_PATH = re.compile(r" - at `(?:key in )?\$?\.?([^`]*)`$")


class RefusedDocumentError(Exception):
    """A fault of a document, without its name: ``has the key 'a' twice in one object``."""


def read_document(
    path: Path, kind: type[T], *, name: str, error: type[Exception] = DataError, max_bytes: int = MAX_DOCUMENT_BYTES
) -> T:
    """Return the content of a JSON file as a value of a type.

    Args:
        path: the file.
        kind: a dataclass, ``TypedDict``, or type such as ``dict[str, Any]``. Members that a dataclass lacks are ignored, and
            a member that it lacks a default for is required. Numbers are not taken for text, nor text for numbers.
        name: what the file is, as a message begins: ``label set``.
        error: the type of the error to raise.
        max_bytes: limit of the file's size.

    Raises:
        error: if the file cannot be read, is too large, or is not such a document.
    """
    shown = f"{name} {path}".strip()
    data = _bytes_of(path, shown, error, max_bytes)
    return parse_document(data, kind, name=shown, error=error, max_bytes=max_bytes)


def parse_document(
    data: bytes | str,
    kind: type[T],
    *,
    name: str,
    error: type[Exception] = DataError,
    max_bytes: int = MAX_DOCUMENT_BYTES,
) -> T:
    """Return a JSON document as a value of a type, as :func:`read_document` does.

    Args:
        data: its text, or its bytes in UTF-8 with or without a byte order mark.
        kind: the type.
        name: what it is, as a message begins.
        error: the type of the error to raise.
        max_bytes: limit of its size.

    Raises:
        error: if it is not such a document.
    """
    try:
        return _converted(_parsed(data, max_bytes), kind)
    except RefusedDocumentError as fault:
        raise error(f"{name} {fault}") from None


def convert_document(value: Any, kind: type[T], *, name: str, error: type[Exception] = DataError) -> T:
    """Return a value that was parsed elsewhere, such as a member of a large file, as a value of a type.

    Raises:
        error: if it does not fit.
    """
    try:
        return _converted(value, kind)
    except RefusedDocumentError as fault:
        raise error(f"{name} {fault}") from None


def as_recorded(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values of ours as a JSON document gives them back: tuples as lists, paths as text."""
    recorded: dict[str, Any] = json.loads(json.dumps(values, default=str))
    return recorded


def _bytes_of(path: Path, shown: str, error: type[Exception], max_bytes: int) -> bytes:
    try:
        with open_regular(path) as file:
            return file.read(max_bytes + 1)
    except (OSError, ValueError) as fault:  # ValueError: a name with a NUL
        raise_if_of_host(fault)
        raise error(f"{shown} cannot be read: {getattr(fault, 'strerror', None) or fault}") from None


def _text_of(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise RefusedDocumentError(
            f"is not UTF-8 text (byte {fault.start + 1:,} is {data[fault.start]:#04x})"
        ) from None


def _parsed(data: bytes | str, max_bytes: int) -> Any:
    if len(data) > max_bytes:
        raise RefusedDocumentError(f"has more than {max_bytes:,} bytes, the limit for such a document")
    text = data if isinstance(data, str) else _text_of(data)
    if text.count("[") + text.count("{") > MAX_DEPTH:
        check_depth(text)
    try:
        value = json.loads(text, object_pairs_hook=unique_members, parse_constant=_no_constant, parse_float=_finite)
    except json.JSONDecodeError as fault:
        if not text.strip():
            raise RefusedDocumentError("is empty; a JSON document is needed") from None
        raise RefusedDocumentError(f"is not JSON: line {fault.lineno}, column {fault.colno}: {fault.msg}") from None
    except RecursionError:
        raise RefusedDocumentError("has arrays and objects nested too deeply for this program's stack") from None
    except ValueError:
        raise RefusedDocumentError("is not usable JSON: it has a whole number with thousands of digits") from None
    check_text(value, text)
    return value


def _converted(value: Any, kind: type[T]) -> T:
    import msgspec

    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as fault:
        message = str(fault)
        where = _PATH.search(message)
        wrong = message[: where.start()] if where else message
        wrong = wrong[:1].lower() + wrong[1:].replace("`", "'")
        raise RefusedDocumentError(
            f"is not as it must be: {f'{where[1]}: ' if where and where[1] else ''}{wrong}"
        ) from None
    except (RecursionError, OverflowError) as fault:
        raise RefusedDocumentError(f"is not as it must be: {fault}") from None


def check_depth(text: str, at: int = 0) -> None:
    """Refuse a JSON value that is nested too deeply, before a parser recurses into it.

    Args:
        text: text that has the value, complete or not.
        at: place where the value begins.

    Raises:
        RefusedDocumentError: if it is.
    """
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(text, at):
        first = text[token.start()]
        if first in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise RefusedDocumentError(
                    f"has arrays and objects more than {MAX_DEPTH} deep, the limit for such a document"
                )
        elif first in "]}":
            depth -= 1
            if depth <= 0:
                return


def unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the members of a JSON object, none of them twice; a hook for the parser.

    Raises:
        RefusedDocumentError: for a duplicate key.
    """
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    found.clear()
    for key, value in pairs:
        if key in found:
            raise RefusedDocumentError(
                f"has the key {key[:80]!r} twice in one object; which of the two is meant is not known"
            )
        found[key] = value
    return found


def _no_constant(literal: str) -> NoReturn:
    raise RefusedDocumentError(f"has the value {literal}, which is not JSON and not a number to calculate with")


def _finite(literal: str) -> float:
    number = float(literal)
    if not math.isfinite(number):
        raise RefusedDocumentError(f"has the number {literal[:40]}, which is too large")
    return number


def check_text(value: Any, text: str, at: int = 0, end: int = sys.maxsize) -> None:
    """Refuse a value whose text has half a surrogate pair, which can be neither stored nor printed.

    Args:
        value: the value.
        text: the JSON text of the value.
        at: place where it begins in the text.
        end: place behind it.

    Raises:
        RefusedDocumentError: for such a text.
    """
    if not _SURROGATE.search(text, at, end):
        return
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            waiting += [*one, *one.values()]
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, str):
            try:
                one.encode("utf-8")
            except UnicodeEncodeError:
                raise RefusedDocumentError(f"has text that is not Unicode: {one[:80]!a}") from None


_ESCAPED_PATH = re.compile(
    r'^[^#\n]*[=\[,]\s*"([A-Za-z]:\\(?!\\)[^"\n]{0,12}|\\\\[^\\"\n]{1,20}\\(?!\\))', re.MULTILINE
)
"""A drive or a share in a basic string of TOML, with single backslashes."""


def read_toml(path: Path, *, name: str, error: type[Exception] = DataError) -> dict[str, Any]:
    """Return the content of a TOML file.

    Args:
        path: the file.
        name: what the file is, as a message begins.
        error: the type of the error to raise.

    Raises:
        error: if the file cannot be read, is larger than 1 MB, or is not TOML.
    """
    import tomllib

    shown = f"{name} {path}".strip()
    data = _bytes_of(path, shown, error, MAX_TOML_BYTES)
    try:
        if len(data) > MAX_TOML_BYTES:
            raise RefusedDocumentError(f"has more than {MAX_TOML_BYTES:,} bytes, the limit for such a document")
        text = _text_of(data)
        if _DOTTED_KEY.search(text):  # the parser takes seconds for a key of thousands of parts
            raise RefusedDocumentError(f"has a key of more than {MAX_DEPTH} parts")
        if path_of_windows := _ESCAPED_PATH.search(text):  # "C:\\temp" would be read, with a tab in the name
            raise RefusedDocumentError(
                f"has a path of Windows in double quotation marks, where backslashes are escapes ({path_of_windows[1]}...): "
                r"write it in single ones ('D:\photos') or with forward slashes"
            )
        value = tomllib.loads(text)
        _check_nesting(value)
    except (RefusedDocumentError, ValueError) as fault:
        why = fault if isinstance(fault, RefusedDocumentError) else f"is not TOML: {fault}"
        raise error(f"{shown} {why}") from None
    except RecursionError:
        raise error(f"{shown} has arrays and tables nested too deeply") from None
    return value


def _check_nesting(value: Any) -> None:
    """Refuse a parsed value that is nested too deeply: a dotted key of TOML nests without a bracket."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        inner = [part for one in level for part in (one.values() if isinstance(one, dict) else one)]
        level = [part for part in inner if isinstance(part, dict | list)]
        if not level:
            return
    raise RefusedDocumentError(f"has arrays and tables more than {MAX_DEPTH} deep, the limit for such a document")
