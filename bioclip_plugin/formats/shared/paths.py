"""Files that another file names: their uri and path, never outside the base folder unless the user allows it."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote

from bioclip_core.errors import UsageError
from bioclip_core.files.drives import without_long_mark
from bioclip_core.files.moved import MovedNames, replacement_of
from bioclip_core.files.near_names import same_name
from bioclip_core.files.present import exists
from bioclip_core.process import system
from bioclip_core.tables.options import PathOptions
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.fetching.schemes import scheme_of
from bioclip_plugin.items.media import uri_of
from bioclip_plugin.items.web import file_needed, is_web_address

_LONGEST_PLAIN = 1_000  # characters; what a longer name means is looked at in full
_DRIVE = re.compile(r"[A-Za-z]:")
_REMEMBERED_S = 10  # a folder may become a link while a host runs on
_PLAIN = re.compile(r"[\w()+,=@#&!$'\[\]-][\w ()+,=@#&!$'./\[\]-]*[\w()+,=@#&!$'.\[\]-]", re.ASCII)


def located(name: str, base: Path, options: ListingOptions) -> tuple[str, Path]:
    r"""Return the uri and the path of a file's relative name, written with forward or with backslashes.

    The beginning of the name is replaced first, as ``options.replace_prefix`` asks; the file is then in the new folder. A file
    whose name is the same but for its Unicode form, or for blanks around it, is found.

    An absolute path, and one with ``..``, is accepted if it ends inside the base folder; whether the file exists is not
    checked. Files whose own names contain a backslash are found.

    Args:
        name: the name, as the other file has it.
        base: folder where relative names begin, unless ``options.base_folder`` is given.
        options: options of the listing.

    An address on the web is its own uri, if ``options.lists_addresses`` says that addresses are listed.

    Raises:
        UsageError: for a name that is empty, contains a NUL, is an address that is not listed, or leaves the base folder
            (also through a symbolic link) without ``options.allow_outside``.
    """
    folder = options.base_folder if options.base_folder is not None else base
    if not options.replace_prefix and _is_plain(name) and (found := _located_plainly(name, os.fspath(folder))):
        return found
    moved = moved_name(name, folder, options)
    if moved is not None:
        name, folder = moved
    if not name.strip() or "\0" in name:
        raise UsageError(f"file name {name!r} is empty or contains a NUL; give a path inside {folder}")
    if options.lists_addresses and is_web_address(name):
        return name, Path(name)
    if is_web_address(name) or scheme_of(name):
        raise UsageError(file_needed(name))
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        raise UsageError(f"file name {name!r} contains half of a character, which is impossible on a disk") from None
    plain = _with_forward_slashes(without_long_mark(name), folder)
    if not options.allow_outside and _is_of_another_share(plain, os.fspath(folder)):  # before the disk is asked
        raise UsageError(f"file {name!r} is on a share of Windows outside the folder {folder}: {_advice(name, plain)}")
    if not os.path.lexists(folder / plain) and (same := same_name(os.fspath(folder / plain))):
        plain = same if os.path.isabs(plain) else os.path.relpath(same, folder)  # noqa: PTH117
    start, real_start = _normal_and_real(os.fspath(folder))
    joined = os.path.normpath(os.path.join(start, plain))  # noqa: PTH118 - Path keeps the dots that must go
    path = Path(joined)
    if options.allow_outside:
        return uri_of(joined), path
    if kind := _kind_outside(plain, joined, start, real_start):
        raise UsageError(f"file {name!r} is {kind} outside the folder {folder}: {_advice(name, plain)}")
    return uri_of(joined), path


def _kind_outside(plain: str, joined: str, start: str, real_start: str) -> str:
    """Return in words what kind of path leads out of a folder; empty if it stays inside."""
    path = Path(joined)
    if _DRIVE.match(plain) and not system.is_windows():
        return "an absolute path"
    if _DRIVE.match(plain) and not plain.startswith("/", 2):  # C:photo.jpg
        return "a path from the present folder of a drive, which may be"
    if plain.startswith("~"):
        return "a path from a home folder"
    if not path.is_absolute() and not _is_inside(joined, start):
        return "a path"
    # An absolute path may be spelled in another way than the folder, which may be relative or a link: its real end counts.
    if not _is_inside(_real(joined, path), real_start):
        return "an absolute path" if plain.startswith("/") else "a symbolic link to a place"
    return ""


def _is_plain(name: str) -> bool:
    """True for a name without drive, scheme, backslash, escape or parts with dots, and with nothing that Unicode writes twice."""
    return bool(_PLAIN.fullmatch(name)) and "//" not in name and "/." not in name and "./" not in name


def _located_plainly(name: str, folder: str) -> tuple[str, Path] | None:
    """Return the same as :func:`located` for a plain name in a plain folder, of which a listing has millions; else None.

    Such a name has no other spelling, and it leaves the folder only through a symbolic link.
    """
    if system.is_windows() or not folder.isascii() or "%" in folder:
        return None
    here = "" if folder.startswith("/") else os.getcwd()  # noqa: PTH109
    tick = int(time.monotonic() / _REMEMBERED_S)
    inside, start = _plainly_inside(folder, name.rpartition("/")[0], here, tick)
    joined = start + name
    if not inside or len(joined) > _LONGEST_PLAIN:
        return None
    try:
        if stat.S_ISLNK(os.lstat(joined).st_mode):
            return None
    except FileNotFoundError:
        pass
    except OSError:
        return None
    return joined, Path(joined)


@lru_cache(maxsize=4096)
def _plainly_inside(folder: str, below: str, here: str, tick: int) -> tuple[bool, str]:
    """Return whether a folder below another is there in truth too, and the beginning of the names of files in the other."""
    start, real_start = _remembered(folder, here, tick)
    if start != folder:
        return False, ""
    beginning = "" if start == os.curdir else f"{start.rstrip('/')}/"
    _, real = _remembered(os.path.join(start, below) if below else start, here, tick)  # noqa: PTH118
    return _is_inside(os.path.join(real, "x"), real_start), beginning  # noqa: PTH118


def moved_name(name: str, base: Path, options: ListingOptions) -> tuple[str, Path] | None:
    """Return a name with its beginning replaced as ``options.replace_prefix`` asks, and the folder that it is now in.

    Returns:
        None if no beginning fits. A replaced name is counted in ``options.findings``.
    """
    if not options.replace_prefix:
        return None
    found = _moved_names(options.replace_prefix, base, os.getcwd()).of(name)  # noqa: PTH109
    if found is None:
        return None
    old, folder, rest = found
    if is_web_address(name) and not exists(Path(folder, rest)) and exists(Path(folder, unquote(rest))):
        rest = unquote(rest)  # as programs that download write it
    options.findings.add(_replaced(old), f"{name} is read as {Path(folder, rest)}")
    return rest, Path(folder)


def is_moved(name: str, base: Path, options: ListingOptions) -> bool:
    """Return True for a name whose beginning ``options.replace_prefix`` replaces."""
    given = options.replace_prefix
    return bool(given) and _moved_names(given, base, os.getcwd()).of(name) is not None  # noqa: PTH109


def _replaced(old: str) -> str:
    return f"file names had their beginning {old} replaced"


@lru_cache(maxsize=64)
def _moved_names(given: tuple[str, ...], base: Path, _here: str) -> MovedNames:
    return MovedNames(PathOptions(replace_prefix=given).prefixes, base)


def unused_prefixes(options: ListingOptions) -> Iterator[str]:
    """Yield the old beginnings of ``options.replace_prefix`` that no file name had."""
    for old in options.prefixes:
        if not options.findings.count(_replaced(old)):
            yield old


def _advice(name: str, plain: str) -> str:
    """Return the options that help with a file outside its folder; no folder here is named like a drive of another machine."""
    trust = "or give --allow-outside if you trust the file that names it"
    replace = replacement_of(name)
    if _DRIVE.match(plain) or name.startswith("\\\\"):
        return f"{replace}, with the folder that holds the images here"
    if plain.startswith("/"):
        return f"{replace}, name the folder that it is in with --base-folder, {trust}"
    return f"name the folder that it is in with --base-folder, {trust}"


def _with_forward_slashes(name: str, folder: Path) -> str:
    """Return the name with forward slashes, unless a file on this disk really has the backslashes."""
    if "\\" not in name:
        return name
    if (
        not system.is_windows()
        and ".." not in name.split("\\")
        and not _DRIVE.match(name)
        and os.path.lexists(folder / name)
    ):
        return name
    return name.replace("\\", "/")


def _is_of_another_share(plain: str, folder: str) -> bool:
    """True for a file on a share of Windows that does not hold the folder.

    Even the question whether it exists goes to the server that a foreign file names, with the user's credentials.
    """
    return (
        system.is_windows()
        and plain.startswith("//")
        and not _is_inside(os.path.normpath(plain), os.path.normpath(folder))
    )


def _is_inside(path: str, folder: str) -> bool:
    """True if a normalised path is under a normalised folder according to their text, without letter case on Windows."""
    path, folder = os.path.normcase(path), os.path.normcase(folder)
    start = "" if folder == os.curdir else folder.rstrip(os.sep) + os.sep
    rest = path[len(start) :]
    if not path.startswith(start) or rest in ("", os.curdir):
        return False
    return rest != os.pardir and not rest.startswith((os.pardir + os.sep, os.sep))


def _real(joined: str, path: Path) -> str:
    """Return the path with symbolic links followed; for most files only those of the folder, which is remembered."""
    try:
        if path.is_symlink():
            return os.path.realpath(joined)
    except OSError:  # a name that is too long, a folder without permission: reading it reports that
        pass
    folder, name = os.path.split(joined)
    return os.path.join(_normal_and_real(folder or os.curdir)[1], name)  # noqa: PTH118


def _normal_and_real(folder: str) -> tuple[str, str]:
    """Return a folder normalised, and with its symbolic links followed."""
    return _remembered(folder, os.getcwd(), int(time.monotonic() / _REMEMBERED_S))  # noqa: PTH109 - text is enough


@lru_cache(maxsize=4096)
def _remembered(folder: str, _here: str, _tick: int) -> tuple[str, str]:
    return os.path.normpath(folder), os.path.realpath(folder)
