"""Large JSON files in flat memory: the elements of top-level arrays one by one, and the other top-level members."""

from __future__ import annotations

import codecs
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, NamedTuple

from bioclip_core.errors import SourceError
from bioclip_core.files.documents import MAX_DEPTH, RefusedDocumentError, check_depth, unique_members
from bioclip_core.files.regular import open_regular

# The decoder of the standard library is called for one element at a time. An event-based reader would be slower, and would
# stop at the literals NaN and Infinity, which Python programs write: here they are values that a check can report. So is
# half of a surrogate pair, with which Python programs write a file name that is not UTF-8.
_DECODER = json.JSONDecoder(object_pairs_hook=unique_members)
_SAFE_LIMIT = 3_000
"""Python's limit of recursion up to which the parser ends with an error and not with the stack of its thread."""
_LARGEST = 1 << 28  # characters of one element; a longer one is not the record of an image
_LOOK_AT = 65_536  # bytes that show the format of a file
_TAIL = 16  # an error this near the end of the text at hand may be a literal or an escape that was cut
_COMMA = re.compile(r"[ \t\n\r]*,[ \t\n\r]*")
_SPACE = re.compile(r"[ \t\n\r]*")
_FIRST_KEY = re.compile(r'\{[ \t\n\r]*"([A-Za-z_]+)"')
_MAY_BE_SPACE = frozenset(("", " ", "\t", "\n", "\r"))

_LEAST_AT_ONCE = 4_096
"""Characters at hand from which elements are decoded at once."""
_MOST_AT_ONCE = 1 << 19
"""Characters that are decoded at once; fewer where some elements are not simple."""

ARRAY_BEGINS = -1
"""Number of the event for an array's opening bracket."""


class Event(NamedTuple):
    """One piece of a JSON file's top level."""

    name: str
    """Name of the member; empty if the file is an array."""
    number: int | None
    """Number of the element from 0, or ``ARRAY_BEGINS``; None for a member that is not an array."""
    value: Any
    """None where an array begins."""

    def add_to(self, found: dict[str, Any]) -> None:
        """Add the event to the members found so far: a value, an empty list, or an element of the list."""
        if self.number is None:
            found[self.name] = self.value
        elif self.number == ARRAY_BEGINS:
            found[self.name] = []
        else:
            found[self.name].append(self.value)


class Several(list[Any]):
    """Elements that follow each other and were decoded at once; the number of the event is that of the first one."""


@dataclass(frozen=True, slots=True)
class AtOnce:
    """How elements of one array are decoded at once, where they are as simple as most."""

    array: str
    """Name of the top-level array."""
    key: str
    """Name of the first member of each simple element, in ASCII letters; empty: that of the first element."""
    decode: Callable[[str], list[Any] | None]
    """Returns the elements of ``{...}, {...}``, or None: they are then decoded one by one, with every check."""


def members(path: Path, name: str, at_once: AtOnce | None = None) -> Iterator[tuple[int, Any]]:
    """Yield the elements of the top-level array ``name`` with their numbers from 0, one at a time.

    NaN and Infinity become floats, although they are not JSON.

    Args:
        path: the file.
        name: the array.
        at_once: yields :class:`Several` elements where it can.

    Raises:
        SourceError: if the file cannot be read, is not JSON (with line and column), or lacks the array.
    """
    is_found = False
    for event in walk(path, at_once=at_once):
        if event.name == name:
            if event.number is None:
                raise SourceError(f"{path}: {name!r} is {kind_of(event.value)}; it must be an array")
            is_found = True
            if event.number != ARRAY_BEGINS:
                yield event.number, event.value
    if not is_found:
        raise SourceError(f"{path} lacks the array {name!r}: is it the file that you meant?")


def elements(path: Path, name: str, head: dict[str, Any], at_once: AtOnce | None = None) -> Iterator[tuple[int, Any]]:
    """Yield the elements of the top-level array ``name`` with their numbers from 0, and note the other members on the way.

    Args:
        path: the file.
        name: the array; nothing is yielded if it is missing, or is not an array.
        head: gets the top-level members; an array, also this one, as an empty list.
        at_once: yields :class:`Several` elements where it can.

    Raises:
        SourceError: if the file cannot be read, or is not JSON (with line and column).
    """
    for event in walk(path, at_once=at_once):
        if event.number is None or event.number == ARRAY_BEGINS:
            event.add_to(head)
        elif event.name == name:
            yield event.number, event.value


def walk(
    path: Path, *, chunk_bytes: int = 1 << 20, at_once: AtOnce | Sequence[AtOnce] | None = None
) -> Iterator[Event]:
    """Yield the top level of a JSON file in order: each array element by element, every other member as a whole.

    Args:
        path: the file.
        chunk_bytes: bytes that are read at once.
        at_once: yields :class:`Several` elements where it can, with the number of the first one; their places and errors are
            the same. Several of them for several arrays.

    Raises:
        SourceError: if the file cannot be read, or is not JSON (with line and column).
    """
    try:
        with open_regular(path) as file:
            several = [at_once] if isinstance(at_once, AtOnce) else at_once or ()
            yield from _events(_Text(str(path), file, chunk_bytes), {one.array: one for one in several})
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error


@dataclass(frozen=True, slots=True)
class Beginning:
    """The first 64 kB of a file that may be JSON."""

    text: str = ""
    """Empty if the file is not text that begins like JSON."""
    members: dict[str, Any] = field(default_factory=dict)
    """Top-level members by name: complete values, the complete elements of arrays (a list; under the empty name for a
    file that is an array), and None for the value that was cut."""


def beginning(path: Path) -> Beginning:
    """Read the first 64 kB of a file, without an error for other content, so that sources can recognise their format."""
    try:
        with open_regular(path) as file:
            start = file.read(_LOOK_AT)
        decoded = _decoder_of(start)("replace").decode(start)  # reading the whole file reports a damaged byte
    except OSError:
        return Beginning()
    if decoded.lstrip(" \t\n\r")[:1] not in ("{", "["):
        return Beginning()
    found: dict[str, Any] = {}
    try:
        for event in _events(_Text(str(path), text=decoded, names=found)):
            event.add_to(found)
    except SourceError:
        pass  # cut here, or broken: reading the whole file reports that
    return Beginning(decoded, found)


def kind_of(value: Any) -> str:
    """Return JSON's word for the type of a value, for messages."""
    kinds = {type(None): "null", bool: "true or false", str: "a text", dict: "an object", list: "an array"}
    return kinds.get(type(value), "a number")


class _Text:
    """The part of a file that is at hand, and its place in the file."""

    def __init__(
        self,
        name: str,
        file: IO[bytes] | None = None,
        chunk_bytes: int = 0,
        text: str = "",
        names: dict[str, Any] | None = None,
    ) -> None:
        """Set up.

        Args:
            name: the file's name in messages.
            file: the file to read on from, if it is not all at hand.
            chunk_bytes: bytes that are read from it at once.
            text: text at hand.
            names: members found so far, where a name is noted before its value is read.
        """
        self.name = name
        self.text = text
        self.at = 0
        self.names = {} if names is None else names
        self._file = file
        self._decoder: codecs.IncrementalDecoder | None = None
        self._bytes = 0
        self._chunk = self._least = chunk_bytes
        self._line = self._column = 1
        self._dropped = self._one_by_one_to = 0  # characters of the file
        self._window = _MOST_AT_ONCE

    def more(self) -> bool:
        """Read on, and drop the text before the current place; False at the end of the file."""
        if self._file is None:
            return False
        data = self._file.read(self._chunk)
        if self._decoder is None:
            self._decoder = _decoder_of(data)()
        try:
            decoded = self._decoder.decode(data, not data)
        except UnicodeDecodeError as error:
            raise SourceError(
                f"{self.name} is not JSON: byte {self._bytes + len(data) - len(error.object) + error.start} is not "
                f"{error.encoding.upper()} text; the file is damaged, or of another format"
            ) from error
        self._bytes += len(data)
        self._line, self._column = self._place(self.at)
        self._dropped += self.at
        self.text = self.text[self.at :] + decoded
        self.at = 0
        if len(self.text) > _LARGEST:
            raise self.error(f"one value is longer than {_LARGEST:,} characters", 0)
        # An element longer than a chunk is read again from its beginning: with growing chunks only a few times.
        self._chunk = max(self._least, len(self.text))
        if not data:
            self._file = None
        return bool(data)

    def peek(self) -> str:
        """Return the next character that is not a space; empty at the end."""
        while True:
            if self.text[self.at : self.at + 1] not in _MAY_BE_SPACE:
                return self.text[self.at]
            self.at = _SPACE.match(self.text, self.at).end()  # type: ignore[union-attr]  # it always matches
            if self.at == len(self.text) and not self.more():
                return ""

    def comma(self) -> bool:
        """Pass a comma and the space around it, if both and the next character are at hand, as nearly always."""
        match = _COMMA.match(self.text, self.at)
        if match is None or match.end() == len(self.text):
            return False
        self.at = match.end()
        return True

    def take(self, allowed: str, expected: str) -> str:
        """Pass and return the next character, which must be one of ``allowed``."""
        found = self.peek()
        if not found or found not in allowed:
            raise self.error(f"{expected} is expected", self.at)
        self.at += 1
        return found

    def value(self) -> Any:
        """Pass and return the next value, complete."""
        self.peek()
        while True:
            try:
                if sys.getrecursionlimit() > _SAFE_LIMIT:  # a host has raised it
                    check_depth(self.text, self.at)
                value, end = _DECODER.raw_decode(self.text, self.at)
                if self.text.count("[", self.at, end) + self.text.count("{", self.at, end) > MAX_DEPTH:
                    check_depth(self.text, self.at)
            except json.JSONDecodeError as error:
                # For a string without an end, the decoder gives the place of its beginning.
                is_cut = error.pos >= len(self.text) - _TAIL or error.msg.startswith("Unterminated string")
                behind = error.pos - self.at
                if not (is_cut and self.more()):
                    raise self.error(error.msg, self.at + behind) from error
            except RefusedDocumentError as error:
                line, column = self._place(self.at)
                raise SourceError(
                    f"{self.name} cannot be used: the value at line {line}, column {column} {error}"
                ) from error
            except RecursionError as error:
                raise self.error("values are nested too deeply", self.at) from error
            except ValueError as error:
                line, column = self._place(self.at)
                raise SourceError(
                    f"{self.name} cannot be used: the value at line {line}, column {column} has a whole number with "
                    "thousands of digits"
                ) from error
            else:
                length = end - self.at
                if end < len(self.text) or not self.more():  # at the end, a number may go on
                    self.at += length
                    return value

    def several(self, at_once: AtOnce, comma: str, first: re.Pattern[str]) -> list[Any] | None:
        """Pass and return many elements, as far as they are at hand and simple; else None, and nothing is passed.

        Args:
            at_once: decodes them.
            comma: the comma between the two elements before, with the space around it.
            first: matches the beginning of a simple element.
        """
        if len(self.text) - self.at < _LEAST_AT_ONCE or self._dropped + self.at < self._one_by_one_to:
            return None
        begins = first.match(self.text, self.at)
        if begins is None:
            return None
        next_one = f"}}{comma}{begins[0]}"
        while True:
            # A guess, which may be wrong: then the text before it is not a row of complete elements, and does not decode.
            end = self.text.rfind(next_one, self.at, self.at + self._window) + 1
            if end <= self.at:  # the next one is not at hand
                return None
            found = at_once.decode(self.text[self.at : end])
            if found is not None:
                self.at = end
                self._window = min(2 * self._window, _MOST_AT_ONCE)
                return found
            if self._window <= _LEAST_AT_ONCE:
                self._one_by_one_to = self._dropped + end  # an element among these is not simple
                return None
            self._window = max(self._window // 8, _LEAST_AT_ONCE)

    def error(self, why: str, at: int) -> SourceError:
        """Return the error for a place in the text at hand."""
        line, column = self._place(at)
        found = "the file ends there" if at >= len(self.text) else f"found {self.text[at : at + 20]!r}"
        return SourceError(
            f"{self.name} is not a complete JSON file: line {line}, column {column}: {why}, but {found}; "
            "was it cut short, or edited by hand?"
        )

    def _place(self, at: int) -> tuple[int, int]:
        """Return line and column, from 1, of a place in the text at hand."""
        lines = self.text.count("\n", 0, at)
        if not lines:
            return self._line, self._column + at
        return self._line + lines, at - self.text.rindex("\n", 0, at)


def _events(text: _Text, at_once: Mapping[str, AtOnce] = MappingProxyType({})) -> Iterator[Event]:
    if text.take("{[", "'{' or '['") == "[":
        yield from _elements(text, "", at_once.get(""))
    elif text.peek() == "}":
        text.at += 1
    else:
        separator = ","
        while separator == ",":
            if text.peek() != '"':
                raise text.error("a member's name in quotes is expected", text.at)
            name = text.value()
            text.take(":", "':'")
            if name in text.names:
                raise SourceError(
                    f"{text.name} cannot be used: it has the member {str(name)[:80]!r} twice; which is meant?"
                )
            text.names[name] = None
            if text.peek() == "[":
                text.at += 1
                yield from _elements(text, name, at_once.get(name))
            else:
                yield Event(name, None, text.value())
            separator = text.take(",}", "',' or '}'")
    if text.peek():
        raise text.error("the end is expected", text.at)


def _elements(text: _Text, name: str, at_once: AtOnce | None) -> Iterator[Event]:
    """Yield the elements of an array whose bracket was passed."""
    yield Event(name, ARRAY_BEGINS, None)
    if text.peek() == "]":
        text.at += 1
        return
    first = _FIRST_KEY.match(text.text, text.at)  # after peek(), which has the bracket and mostly the key at hand
    key = at_once.key or (first[1] if first else "") if at_once is not None else ""
    simple = re.compile(rf'\{{[ \t\n\r]*"{key}"') if key else None
    number, comma = 0, ""
    while True:
        found = text.several(at_once, comma, simple) if at_once is not None and simple and comma else None
        if found is None:
            yield Event(name, number, text.value())
            number += 1
        else:
            yield Event(name, number, Several(found))
            number += len(found)
        end = text.at
        if text.comma():
            comma = text.text[end : text.at]
        elif text.take(",]", "',' or ']'") == "]":
            return


def _decoder_of(start: bytes) -> Callable[..., codecs.IncrementalDecoder]:
    """Return the decoder for UTF-8 with or without a byte order mark, or UTF-16 with one (from Windows PowerShell)."""
    encoding = "utf-16" if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    return codecs.getincrementaldecoder(encoding)
