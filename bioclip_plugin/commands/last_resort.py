"""Lines for errors that no command expected: the command, the file at hand, kind and place of the error, and how to report it."""

from __future__ import annotations

import errno
import io
import os
import platform
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from types import FrameType
from typing import Any

import click

from bioclip_core import __version__
from bioclip_core.errors import first_line, one_line
from bioclip_core.next_commands import command

DEBUG = "BIOCLIP_DEBUG"
"""Environment variable that shows the traceback of an error."""
_OURS = ("bioclip_core", "bioclip_training", "bioclip_plugin")
_MACHINERY = {"click", "pluggy", "importlib", "runpy", "encodings", "codecs"}
_FULL = {errno.ENOSPC, errno.EDQUOT}
_ATTRIBUTES = ("path", "_path", "filename", "name", "folder", "_folder", "address")
"""Attributes that say which file an object reads."""
_SETTINGS = (".py", ".toml", ".db")
"""Suffixes of files that are at hand in every command."""


def say(*lines: str) -> None:
    """Write lines to standard error, unless it is closed or full."""
    with suppress(OSError, ValueError):
        for line in lines:
            click.echo(line, err=True)


def show_traceback_if_wanted(error: BaseException) -> None:
    """Print the traceback if the environment asks for it."""
    if os.environ.get(DEBUG, "") not in ("", "0"):
        say("".join(traceback.format_exception(error)).rstrip())


def explained(error: Exception) -> list[str]:
    """Return the lines for an error that nobody expected."""
    with suppress(Exception):  # whatever else is broken: the lines below are better than none
        return [one_line(line) for line in _lines(error)]
    return [f"Error: {type(error).__name__}; {DEBUG}=1 shows the traceback"]


def _lines(error: Exception) -> list[str]:
    called, file = _command(error), file_at_hand(error)
    reading = f", with the file {file} at hand" if file else ""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return [
            f"Error: {called} ran out of memory{reading}; take a smaller --batch-size or fewer --workers where the command "
            "has them, or a machine with more memory"
        ]
    if isinstance(error, OSError) and error.errno in _FULL:
        return [f"Error: the disk is full{f': {file}' if file else ''}; free some room, or choose another disk "
                "(TMPDIR is the folder of temporary files)"]  # fmt: skip
    if isinstance(error, OSError) and not isinstance(error, ConnectionError):
        why = error.strerror or first_line(error)
        what = f"{file}: {why}" if error.filename else f"{why}{reading}"
        return [f"Error: {what} ({called}; {DEBUG}=1 shows more)"]
    if isinstance(error, UnicodeEncodeError):
        return [f"Error: a text cannot be written in the encoding {error.encoding}; set PYTHONIOENCODING=utf-8 "
                f"({called}; {DEBUG}=1 shows more)"]  # fmt: skip
    return [
        f"Error: {called} met an error that it does not expect{reading}: {type(error).__name__}: {first_line(error)} "
        f"({_place(error)})",
        f"bioclip-plugin {__version__}, Python {platform.python_version()}, {platform.system()}. {_request(bool(file))}",
    ]


def _request(with_file: bool) -> str:
    """Return the sentence that asks for a report, with the address of the project if its metadata has one."""
    urls: dict[str, str] = {}
    with suppress(PackageNotFoundError):
        for entry in metadata("bioclip-plugin").get_all("Project-URL") or ():
            label, _, url = entry.partition(", ")
            urls[label.lower()] = url
    place = next((urls[label] for label in ("issues", "bug tracker", "repository", "homepage") if label in urls), "")
    to = f"at {place}" if place else "to the maintainers of bioclip-plugin"
    what = "these lines, the file if it may be shown," if with_file else "these lines"
    report = f"and what {command('doctor')} prints"
    return f"This is a fault of the program: please report {what} {report} {to}. {DEBUG}=1 shows the traceback"


def _frames(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    """Yield the frames of an error and of its causes with their lines, the innermost first."""
    seen: set[int] = set()
    waiting: BaseException | None = error
    while waiting is not None and id(waiting) not in seen:
        seen.add(id(waiting))
        yield from reversed(list(traceback.walk_tb(waiting.__traceback__)))
        waiting = waiting.__cause__ or waiting.__context__


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _place(error: BaseException) -> str:
    """Return module and line where the error was raised, and those of our own call into another package."""
    places = [(str(frame.f_globals.get("__name__", "?")), line, _package(frame)) for frame, line in _frames(error)]
    if not places:
        return "place unknown"
    own = next((place for place in places if place[2] in _OURS), places[0])
    shown = f"{own[0]}:{own[1]}"
    return shown if own is places[0] else f"{shown} in {places[0][0]}:{places[0][1]}"


def _command(error: BaseException) -> str:
    """Return the command that ran, as it is typed."""
    for frame, _ in _frames(error):
        for value in list(frame.f_locals.values()):
            if isinstance(value, click.Context):
                return value.command_path
    return "bioclip-plugin"


def file_at_hand(error: BaseException) -> str | None:
    """Return the file that was being read when an error was raised, as far as the frames of the error know it.

    Readers do not announce their files: they hold a path or an open file in a variable, and the innermost one is nearest to
    the error. So no reader can forget to say it.
    """
    named = getattr(error, "filename", None)
    if isinstance(error, OSError) and isinstance(named, str | bytes):
        return os.fsdecode(named)
    folder = None
    for frame, _ in _frames(error):
        if _package(frame) in _MACHINERY:
            continue
        for value in reversed(list(frame.f_locals.values())):
            path = _path_of(value)
            if path is None or path.suffix in _SETTINGS:
                continue
            if path.is_file():
                return str(path)
            folder = folder or (path if path.is_dir() and path != Path() else None)
    return str(folder) if folder else None


def _path_of(value: Any) -> Path | None:
    """Return the path that a variable holds: a path, an address, an open file, or a reader with its file."""
    held = [value]
    if isinstance(value, io.IOBase) or type(value).__module__.partition(".")[0] in (*_OURS, "zipfile", "tarfile"):
        for name in _ATTRIBUTES:
            with suppress(Exception):  # a property may do anything
                held.append(getattr(value, name))
    for one in held:
        with suppress(OSError, ValueError):
            if isinstance(one, Path) and one.exists():
                return one
            if isinstance(one, str) and 2 < len(one) < 4_096 and ("." in one or "/" in one):
                path = Path(one.removeprefix("file://"))
                if path.exists():
                    return path
    return None


def leave_output() -> None:
    """Send what is still in standard output's buffer to nowhere, so that the end of the process does not fail again."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            with suppress(OSError, ValueError, AttributeError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
