"""Commands of this program in messages: the one place that writes them, so that a shell takes each one as it stands.

Placeholders are words in capitals, for what only the user can decide: MODEL, FOLDER, PATHS.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path

from bioclip_core.process import system

PROGRAM = "bioclip-plugin"

_PLAIN_ON_WINDOWS = re.compile(r"[\w.:\\/+=-]+")
_BEFORE_QUOTES = re.compile(r'(\\*)("|\Z)')
"""Backslashes that the programs of Windows would take for escapes: before a quotation mark, and at the end of a word."""

Value = str | int | float | os.PathLike[str]


def command(path: str, *arguments: Value, **options: Value | Iterable[Value] | bool | None) -> str:
    """Return a command line, quoted for the shell of this system.

    Args:
        path: name of the command, with blanks between those of a group and its command.
        arguments: its arguments.
        options: its options, ``_`` for ``-``. None, False and nothing are left out; True is a flag; several values repeat the option.

    >>> command("labels build", "my taxa.csv", model="demo", output="FOLDER", force=True, encoding=None)
    "bioclip-plugin labels build 'my taxa.csv' --model demo --output FOLDER --force"
    """
    words = [PROGRAM, *path.split()]
    for argument in arguments:
        text = _text(argument)
        words.append(os.path.join(os.curdir, text) if text.startswith("-") and text != "-" else text)  # noqa: PTH118
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(flag)
        elif value is not None and value is not False:
            several = [value] if isinstance(value, (str, int, float, os.PathLike)) else list(value)
            words += [word for one in several for word in _given(flag, _text(one))]
    return shell_line(words)


def shell_line(words: Sequence[str]) -> str:
    """Return words as one line that the shell of this system takes apart into the same words."""
    return " ".join(map(quoted_on_windows if system.is_windows() else quoted, words))


def next_lines(first: str, *, then: Iterable[str] = (), either: Iterable[str] = ()) -> list[str]:
    """Return the commands that a user may give next, one line each, so that each can be copied whole.

    Args:
        first: the next command.
        then: commands after it, in order.
        either: other commands in its place.

    >>> next_lines(command("train"), then=[command("evaluate")], either=[command("shards check", "made")])
    ['Next: bioclip-plugin train', 'then: bioclip-plugin evaluate', 'or:   bioclip-plugin shards check made']
    """
    return [f"Next: {first}", *(f"then: {text}" for text in then), *(f"or:   {text}" for text in either)]


def free_name(wanted: Value) -> str:
    """Return the name of an output that does not exist: as wanted, or with a number before its suffix.

    >>> free_name("no such folder/results.csv")
    'no such folder/results.csv'
    """
    path = Path(_text(wanted))
    if not path.exists():
        return str(path)
    names = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in count(2))
    return str(next(name for name in names if not name.exists()))


def quoted(word: str) -> str:
    r"""Return a word as a POSIX shell reads it, on one line whatever its characters.

    >>> quoted("my photos"), quoted("a\nb")
    ("'my photos'", "$'a\\nb'")
    """
    if word.isprintable():
        return shlex.quote(word)
    escaped = "".join(
        character if character.isprintable() and character not in "\\'" else _escaped(character) for character in word
    )
    return f"$'{escaped}'"


def quoted_on_windows(word: str) -> str:
    r"""Return a word as programs of Windows read it, from cmd and from PowerShell, whose special characters differ.

    A ``$`` in a name stays one that PowerShell replaces, since cmd knows no quotation marks against that.

    >>> print(quoted_on_windows("R&D"), quoted_on_windows("D:\\my photos\\"), quoted_on_windows("D:\\photos"))
    "R&D" "D:\my photos\\" D:\photos
    """
    if _PLAIN_ON_WINDOWS.fullmatch(word):
        return word
    return f'"{_BEFORE_QUOTES.sub(lambda found: 2 * found[1] + (chr(92) + found[2] if found[2] else ""), word)}"'


def _escaped(character: str) -> str:
    if character in "\\'\n\t":
        return {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\t": "\\t"}[character]
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))


def _given(flag: str, value: str) -> list[str]:
    """Return an option with its value; one that looks like an option itself is joined to it."""
    return [f"{flag}={value}"] if value.startswith("-") else [flag, value]


def _text(value: object) -> str:
    return os.fspath(value) if isinstance(value, os.PathLike) else str(value)
