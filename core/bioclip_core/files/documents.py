"""JSON documents from outside: one typed reader that ends in a value of the wanted type, or in one readable line.

``json`` finds duplicate keys and literals that are not JSON, which msgspec's own decoder accepts or cannot name; msgspec
converts and checks the types.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from bioclip_core.errors import DataError

T = TypeVar("T")

MAX_DOCUMENT_BYTES = 64 * 1024**2
"""Limit of a document that is read as a whole; larger files have readers that stream."""
MAX_DEPTH = 64
"""Limit of arrays and objects within each other. The parser recurses, and a host may have raised Python's own limit."""

_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_PATH = re.compile(r" - at `(?:key in )?\$?\.?([^`]*)`$")


class _Refused(Exception):
    """A fault of a document, without its name."""


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
    shown = f"{name} {path}"
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except (OSError, ValueError) as fault:  # ValueError: a name with a NUL
        raise error(f"{shown} cannot be read: {getattr(fault, 'strerror', None) or fault}") from None
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
    except _Refused as fault:
        raise error(f"{name} {fault}") from None


def convert_document(value: Any, kind: type[T], *, name: str, error: type[Exception] = DataError) -> T:
    """Return a value that was parsed elsewhere, such as a member of a large file, as a value of a type.

    Raises:
        error: if it does not fit.
    """
    try:
        return _converted(value, kind)
    except _Refused as fault:
        raise error(f"{name} {fault}") from None


def _parsed(data: bytes | str, max_bytes: int) -> Any:
    if len(data) > max_bytes:
        raise _Refused(f"has more than {max_bytes:,} bytes, the limit for such a document")
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise _Refused(f"is not UTF-8 text (byte {fault.start + 1:,} is {data[fault.start]:#04x})") from None
    _check_depth(text)
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant, parse_float=_finite)
    except json.JSONDecodeError as fault:
        if not text.strip():
            raise _Refused("is empty; a JSON document is needed") from None
        raise _Refused(f"is not JSON: line {fault.lineno}, column {fault.colno}: {fault.msg}") from None
    except RecursionError:
        raise _Refused("has arrays and objects nested too deeply for this program's stack") from None
    except ValueError as fault:  # an integer with thousands of digits
        raise _Refused(f"is not usable JSON: {fault}") from None
    if _SURROGATE.search(text):
        _check_text(value)
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
        raise _Refused(f"is not as it must be: {f'{where[1]}: ' if where and where[1] else ''}{wrong}") from None
    except (RecursionError, OverflowError) as fault:
        raise _Refused(f"is not as it must be: {fault}") from None


def _check_depth(text: str) -> None:
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(text):
        first = text[token.start()]
        if first in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise _Refused(f"has arrays and objects more than {MAX_DEPTH} deep, the limit for such a document")
        elif first in "]}":
            depth -= 1


def _object(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _Refused(f"has the key {key[:80]!r} twice in one object; which of the two is meant is not known")
        found[key] = value
    return found


def _no_constant(literal: str) -> NoReturn:
    raise _Refused(f"has the value {literal}, which is not JSON and not a number to calculate with")


def _finite(literal: str) -> float:
    number = float(literal)
    if not math.isfinite(number):
        raise _Refused(f"has the number {literal[:40]}, which is too large")
    return number


def _check_text(value: Any) -> None:
    """Refuse text with half a surrogate pair, which can be neither stored nor printed."""
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
                raise _Refused(f"has text that is not Unicode: {one[:80]!a}") from None
