"""A disk as Windows has it, for tests elsewhere: it refuses what Windows refuses, through Python's audit events.

Refused below the given folder are: renaming, replacing or removing a file that this process has open or mapped, or a folder that
holds one; removing or opening for writing a file that is read-only; opening a folder; names with characters that Windows forbids,
with a blank or a dot at the end, or of a device; links without the privilege. Names that differ only in letter case are one file
there: making the second one is refused too, since it would silently replace the first.

SQLite's, Arrow's and torch's own calls raise no audit events; their open files are seen.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FORBIDDEN = re.compile(
    r'[<>:"|?*\x00-\x1f\\]|[. ]$|^(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]) *(?:\..*)?$', re.IGNORECASE
)
_folders: list[str] = []
refused: list[str] = []
"""The refusals, in order."""


@contextmanager
def windows_disk(folder: Path) -> Iterator[None]:
    """Let the disk below a folder be one of Windows in this block."""
    if not _folders and not getattr(_audit, "is_added", False):
        sys.addaudithook(_audit)  # cannot be taken away again
        _audit.is_added = True  # type: ignore[attr-defined]
    with_handles, shutil._use_fd_functions = shutil._use_fd_functions, False  # type: ignore[attr-defined]
    _folders.append(os.path.realpath(folder))
    refused.clear()
    try:
        yield
    finally:
        _folders.pop()
        shutil._use_fd_functions = with_handles  # type: ignore[attr-defined]


def denied(path: str, code: int = 32) -> PermissionError:
    """Return the error of Windows for a file that another one has open (32), or that may not be changed (5)."""
    words = {
        5: "Access is denied",
        32: "The process cannot access the file because it is being used by another process",
    }
    error = PermissionError(errno.EACCES, words[code], path)
    error.winerror = code
    return error


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if not _folders or not (event == "open" or event.startswith("os.")):
        return
    folders = _folders[:]
    _folders.clear()  # our own calls are not watched
    try:
        _check(event, arguments, folders[-1])
    except OSError as error:
        refused.append(f"{event} {error}")
        raise
    finally:
        _folders[:] = folders


def _check(event: str, arguments: tuple[object, ...], root: str) -> None:
    paths = [_whole(argument) for argument in arguments[:2] if isinstance(argument, (str, bytes, os.PathLike))]
    if event == "open":
        paths = paths[:1]
    if not paths or not all(path.startswith(root + os.sep) for path in paths[-1:]):
        return
    if event == "open":
        _check_open(paths[0], arguments, root)
    elif event in ("os.mkdir", "os.rename"):
        _check_name(paths[-1], root)
    if event in ("os.link", "os.symlink") and event == "os.symlink":
        error = OSError(errno.EINVAL, "A required privilege is not held by the client", paths[-1])
        error.winerror = 1314  # type: ignore[attr-defined]
        raise error
    if event in ("os.rename", "os.remove", "os.rmdir"):
        held = _open_files()
        for path in paths:
            for one in held:
                if one == path or one.startswith(path + os.sep):
                    raise denied(one, 5 if Path(path).is_dir() else 32)
    if event == "os.remove" and _is_read_only(paths[0]):
        raise denied(paths[0], 5)
    if event == "os.rename" and _is_read_only(paths[1]):
        raise denied(paths[1], 5)


def _check_open(path: str, arguments: tuple[object, ...], root: str) -> None:
    mode, flags = arguments[1], arguments[2]
    writes = (
        bool(set("wax+") & set(mode)) if isinstance(mode, str) else bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    )  # type: ignore[operator]
    if Path(path).is_dir():
        raise denied(path, 5)
    if writes and Path(path).exists() and _is_read_only(path):
        raise denied(path, 5)
    if writes and not Path(path).exists():
        _check_name(path, root)


def _check_name(path: str, root: str) -> None:
    for part in Path(path).relative_to(root).parts:
        if _FORBIDDEN.search(part):
            raise OSError(errno.EINVAL, "The filename, directory name, or volume label syntax is incorrect", path)
    folder, name = os.path.split(path)
    if not os.path.lexists(path) and Path(folder).is_dir():
        same = [other.name for other in Path(folder).iterdir() if other.name.casefold() == name.casefold()]
        if same:
            raise OSError(errno.EEXIST, f"{same[0]} is the same file", path)


def _is_read_only(path: str) -> bool:
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) and not mode & stat.S_IWUSR


def _open_files() -> set[str]:
    held = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            held.add(str(entry.readlink()))
        except OSError:
            continue
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:  # noqa: PTH123
        held.update(line[line.index("/") :].rstrip("\n") for line in maps if "/" in line)
    return held


def _whole(path: object) -> str:
    whole = Path(os.fsdecode(path)).absolute()  # type: ignore[arg-type]
    return str(whole.parent.resolve() / whole.name)
