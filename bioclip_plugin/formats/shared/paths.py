"""Where a file's names lead: names that somebody wrote into a file, as uri and path, never outside the base folder unless asked."""

from __future__ import annotations

import os
import re
import time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from bioclip_core.errors import UsageError
from bioclip_plugin.items.media import uri_of

if TYPE_CHECKING:
    from bioclip_plugin.contracts.source import ListingOptions

_DRIVE = re.compile(r"[A-Za-z]:")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # two letters at least: one is a drive
_REMEMBERED_S = 10  # a folder may become a link while a host runs on


def located(name: str, base: Path, options: ListingOptions) -> tuple[str, Path]:
    r"""The uri and the path of a file's relative name, written with forward or with backslashes.

    ``base`` is where relative names begin unless ``options.base_folder`` is given. A whole path, and one with ``..``, is
    taken where it ends inside the base folder; whether the file exists is not looked at. Names on the disk that hold a
    backslash themselves are found.

    Raises:
        UsageError: for a name that is empty, holds a NUL, is an address on the web, or leaves the base folder (also
            through a symbolic link) without ``options.allow_outside``.
    """
    folder = options.base_folder if options.base_folder is not None else base
    if not name.strip() or "\0" in name:
        raise UsageError(f"file name {name!r}: it is empty or holds a NUL; a path inside {folder} is needed")
    if _SCHEME.match(name):
        raise UsageError(f"file {name!r} is an address on the web: download it into {folder}, and give its path there")
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        raise UsageError(f"file name {name!r} holds half of a character, which no file's name can hold") from None
    plain = _forward(name, folder)
    start, real_start = _known(os.fspath(folder))
    joined = os.path.normpath(os.path.join(start, plain))  # noqa: PTH118 - Path keeps the dots that must go
    path = Path(joined)
    if options.allow_outside:
        return uri_of(joined), path
    whole, foreign = path.is_absolute(), os.name != "nt" and bool(_DRIVE.match(plain))
    home = plain.startswith("~")
    # A whole path may be written otherwise than the folder, which may be relative or a link: what counts is where it ends.
    if foreign or home or not (whole or _is_inside(joined, start)):
        raise _outside(
            name, folder, "an absolute path" if foreign else "a path from somebody's home" if home else "a path"
        )
    if not _is_inside(_real(joined, path), real_start):
        raise _outside(name, folder, "an absolute path" if plain.startswith("/") else "a symbolic link to a place")
    return uri_of(joined), path


def _outside(name: str, folder: Path, kind: str) -> UsageError:
    return UsageError(
        f"file {name!r} is {kind} outside the folder {folder}: name the folder that it is in with --base-folder, "
        "or give --allow-outside if you trust the file that names it"
    )


def _forward(name: str, folder: Path) -> str:
    """The name with forward slashes, unless a file on this disk really has the backslashes."""
    if "\\" not in name:
        return name
    parts = name.split("\\")
    if os.name != "nt" and ".." not in parts and not _DRIVE.match(name) and os.path.lexists(folder / name):
        return name
    return name.replace("\\", "/")


def _is_inside(path: str, folder: str) -> bool:
    """Whether a normalised path lies under a normalised folder, by their letters."""
    start = "" if folder == os.curdir else folder.rstrip(os.sep) + os.sep
    rest = path[len(start) :]
    if not path.startswith(start) or rest in ("", os.curdir):
        return False
    return rest != os.pardir and not rest.startswith((os.pardir + os.sep, os.sep))


def _real(joined: str, path: Path) -> str:
    """The path with symbolic links followed; of most files only the folder, which is remembered."""
    try:
        linked = path.is_symlink()
    except OSError:  # a name that is too long, a folder that may not be entered: reading it will say so
        linked = False
    if linked:
        return os.path.realpath(joined)
    folder, _, name = joined.rpartition(os.sep)
    real = _known(folder or (os.sep if joined.startswith(os.sep) else os.curdir))[1]
    return f"{real.rstrip(os.sep)}{os.sep}{name}"


def _known(folder: str) -> tuple[str, str]:
    """A folder normalised, and with its symbolic links followed."""
    return _remembered(folder, os.getcwd(), int(time.monotonic() / _REMEMBERED_S))  # noqa: PTH109 - text is enough


@lru_cache(maxsize=4096)
def _remembered(folder: str, _here: str, _tick: int) -> tuple[str, str]:
    return os.path.normpath(folder), os.path.realpath(folder)
