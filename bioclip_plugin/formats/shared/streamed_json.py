"""Large JSON files in flat memory: the elements of top-level arrays one by one, and the other top-level members."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple

from bioclip_core.errors import SourceError

# The decoder of the standard library is asked for one element at a time. A reader by events would be slower, and would
# end at the literals NaN and Infinity, which Python programs write: here they are values that a check can name.
_DECODER = json.JSONDecoder()
_CHUNK = 1 << 20  # bytes read at once
_LARGEST = 1 << 28  # characters of one element; more is no record of an image
_LOOK_AT = 65_536  # bytes that say which format a file has
_TAIL = 16  # an error this near the end of what was read may be a literal or an escape that was cut
_SPACE = re.compile(r"[ \t\n\r]*")
_MAY_BE_SPACE = frozenset(("", " ", "\t", "\n", "\r"))
_COMMA = re.compile(r"[ \t\n\r]*,[ \t\n\r]*")
_STRING_BEGINS = (
    "Unterminated string"  # the decoder then gives the string's beginning, however far that is from the end
)


class Event(NamedTuple):
    """One piece of a JSON file's top level."""

    name: str
    """The member's name; empty where the file is an array."""
    number: int | None
    """The element's number from 0; -1: an array begins here (value None); None: a member that is no array."""
    value: Any


ARRAY_BEGINS = -1


def members(path: Path, name: str) -> Iterator[tuple[int, Any]]:
    """The elements of the top-level array ``name`` with their numbers from 0, one at a time.

    NaN and Infinity are given as floats, though JSON has no such values.

    Raises:
        SourceError: if the file cannot be read, is no JSON (with line and column), or has no such array.
    """
    found = False
    for event in walk(path):
        if event.name != name:
            continue
        if event.number is None:
            raise SourceError(f"{path}: {name!r} is {kind_of(event.value)}; it must be an array")
        found = True
        if event.number != ARRAY_BEGINS:
            yield event.number, event.value
    if not found:
        raise SourceError(f"{path} has no array {name!r}: is it the file that you meant?")


def head(path: Path, names: Sequence[str] | None = None) -> dict[str, Any]:
    """The top-level members of these names (None: all that are no array), wherever in the file they stand.

    Arrays that are passed on the way are not kept. The file is read to its end unless every name was found before.

    Raises:
        SourceError: if the file cannot be read, or is no JSON (with line and column).
    """
    wanted: dict[str, Any] = {}
    for event in walk(path):
        if names is None:
            if event.number is None:
                wanted[event.name] = event.value
            continue
        if event.name not in names:
            if len(wanted) == len(names):
                break  # at the next member, when an array that was asked for is whole
            continue
        if event.number is None:
            wanted[event.name] = event.value
        elif event.number == ARRAY_BEGINS:
            wanted[event.name] = []
        else:
            wanted[event.name].append(event.value)
    return wanted


def walk(path: Path) -> Iterator[Event]:
    """The whole top level of a JSON file in order: each array element by element, every other member at once.

    Raises:
        SourceError: if the file cannot be read, or is no JSON (with line and column).
    """
    try:
        with path.open("rb") as file:
            yield from _events(_Text(str(path), file))
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error


@dataclass(frozen=True, slots=True)
class Beginning:
    """What stands in the first 64 kB of a file that may be JSON."""

    text: str = ""
    """Empty where it is no text that begins like JSON."""
    members: dict[str, Any] = field(default_factory=dict)
    """Top-level members by name: whole ones, the whole elements of arrays (a list, the file's own under the empty
    name), and None for the one that was cut."""


def beginning(path: Path) -> Beginning:
    """Look at the first 64 kB of a file; never raises for what it finds there, so that sources can tell formats apart."""
    try:
        with path.open("rb") as file:
            start = file.read(_LOOK_AT)
        decoded = _decoder_of(start)().decode(start)
    except (OSError, UnicodeDecodeError):
        return Beginning()
    if decoded.lstrip(" \t\n\r")[:1] not in ("{", "["):
        return Beginning()
    found: dict[str, Any] = {}
    text = _Text(str(path), None, decoded, found)
    try:
        for event in _events(text):
            if event.number is None:
                found[event.name] = event.value
            elif event.number == ARRAY_BEGINS:
                found[event.name] = []
            else:
                found[event.name].append(event.value)
    except SourceError:
        pass  # cut here, or broken: whoever reads the file will say so
    return Beginning(decoded, found)


def kind_of(value: Any) -> str:
    """What JSON calls a value, for messages."""
    if value is None:
        return "null"
    kinds = {bool: "true or false", str: "a text", dict: "an object", list: "an array"}
    return kinds.get(type(value), "a number")


class _Text:
    """The part of a file that is at hand, and where in the file it stands."""

    def __init__(self, name: str, file: IO[bytes] | None, text: str = "", names: dict[str, Any] | None = None) -> None:
        self.name = name
        self.text = text
        self.at = 0
        self.names = names
        """Where to note the names of members before their values are read."""
        self._file = file
        self._decoder: codecs.IncrementalDecoder | None = None
        self._bytes = 0
        self._chunk = _CHUNK
        self._line = 1
        self._column = 1

    def more(self) -> bool:
        """Read on, letting go of what is behind; False at the end of the file."""
        if self._file is None:
            return False
        data = self._file.read(self._chunk)
        if self._decoder is None:
            self._decoder = _decoder_of(data)()
        try:
            decoded = self._decoder.decode(data, not data)
        except UnicodeDecodeError as error:
            position = self._bytes + len(data) - len(error.object) + error.start
            raise SourceError(
                f"{self.name} is no JSON: byte {position} is no {error.encoding.upper()} text; the file is damaged, or no JSON file"
            ) from error
        self._bytes += len(data)
        self._line, self._column = self._place(self.at)
        self.text = self.text[self.at :] + decoded
        self.at = 0
        if len(self.text) > _LARGEST:
            raise self.error(f"one value is longer than {_LARGEST:,} characters", 0)
        # An element longer than a chunk is tried again from its beginning: with chunks that grow, a few times only.
        self._chunk = max(_CHUNK, len(self.text))
        if not data:
            self._file = None
        return bool(data)

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            if self.text[self.at : self.at + 1] not in _MAY_BE_SPACE:
                return self.text[self.at]
            match = _SPACE.match(self.text, self.at)
            assert match is not None
            self.at = match.end()
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def comma(self) -> bool:
        """Pass a comma and the space around it, where both and what follows are at hand: nearly always."""
        match = _COMMA.match(self.text, self.at)
        if match is None or match.end() == len(self.text):
            return False
        self.at = match.end()
        return True

    def take(self, allowed: str, what: str) -> str:
        """The next character, which must be one of ``allowed``."""
        found = self.peek()
        if not found or found not in allowed:
            raise self.error(f"{what} is expected", self.at)
        self.at += 1
        return found

    def value(self) -> Any:
        """The next value, whole."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self.text, self.at)
            except json.JSONDecodeError as error:
                cut = error.pos >= len(self.text) - _TAIL or error.msg.startswith(_STRING_BEGINS)
                behind = error.pos - self.at
                if cut and self.more():
                    continue
                raise self.error(error.msg, self.at + behind) from error
            except RecursionError as error:
                raise self.error("values are nested too deeply", self.at) from error
            except ValueError as error:  # a whole number of thousands of digits
                raise self.error(str(error), self.at) from error
            length = end - self.at
            if end == len(self.text) and self.more():  # a number may go on
                continue
            self.at += length
            return value

    def error(self, why: str, at: int) -> SourceError:
        line, column = self._place(at)
        shown = "it ends there" if at >= len(self.text) else f"there stands {self.text[at : at + 20]!r}"
        return SourceError(
            f"{self.name} is no whole JSON file: line {line}, column {column}: {why}, and {shown}; "
            "was it cut short, or edited by hand?"
        )

    def _place(self, at: int) -> tuple[int, int]:
        """Line and column, from 1, of a place in the text at hand."""
        lines = self.text.count("\n", 0, at)
        if not lines:
            return self._line, self._column + at
        return self._line + lines, at - self.text.rindex("\n", 0, at)


def _events(text: _Text) -> Iterator[Event]:
    if text.take("{[", "'{' or '['") == "[":
        yield from _elements(text, "")
    elif text.peek() == "}":
        text.at += 1
    else:
        separator = ","
        while separator == ",":
            if text.peek() != '"':
                raise text.error("a member's name in quotes is expected", text.at)
            name = text.value()
            text.take(":", "':'")
            if text.names is not None:
                text.names.setdefault(name, None)
            if text.peek() == "[":
                text.at += 1
                yield from _elements(text, name)
            else:
                yield Event(name, None, text.value())
            separator = text.take(",}", "',' or '}'")
    if text.peek():
        raise text.error("the end is expected", text.at)


def _elements(text: _Text, name: str) -> Iterator[Event]:
    """The elements of an array whose bracket was taken."""
    yield Event(name, ARRAY_BEGINS, None)
    if text.peek() == "]":
        text.at += 1
        return
    number = 0
    while True:
        yield Event(name, number, text.value())
        number += 1
        if not text.comma() and text.take(",]", "',' or ']'") == "]":
            return


def _decoder_of(start: bytes) -> Callable[[], codecs.IncrementalDecoder]:
    """UTF-8 with or without a mark, UTF-16 with one (what Windows PowerShell writes)."""
    encoding = "utf-16" if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    return codecs.getincrementaldecoder(encoding)
