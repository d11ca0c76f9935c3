r"""Names of files that moved: beginnings of names replaced, as ``--replace-prefix 'D:\survey=photos'`` asks for."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from bioclip_core.errors import UsageError
from bioclip_core.files.drives import is_name_of_windows, without_long_mark
from bioclip_core.files.homes import with_home
from bioclip_core.files.present import exists
from bioclip_core.next_commands import shell_line
from bioclip_core.process import system

_WINDOWS = re.compile(r"[A-Za-z]:|\\\\|//")


class MovedNames:
    r"""Old beginnings of file names with the folders that replace them.

    An old beginning ends at a slash or at the end of the name, whichever slashes either has; drives and shares of Windows are
    compared without letter case. The longest one that fits is replaced.

    >>> MovedNames({"D:\\survey": "/data"}, Path()).new_name("d:/survey/cam2/a.JPG"), MovedNames({"/x": "/y"}, Path()).new_name("/xy")
    ('/data/cam2/a.JPG', None)
    """

    def __init__(self, prefixes: Mapping[str, str], base: Path) -> None:
        """Take the prefixes of :class:`~bioclip_core.tables.options.TableOptions`.

        Args:
            prefixes: new beginnings by the old ones. A relative new one is in the working directory if there is such a folder,
                else in ``base``; an empty one is ``base``.
            base: folder where relative names begin.

        Raises:
            UsageError: for a relative folder that exists in both places.
        """
        self._new = [(_plain(old), old, _folder_of(new, base)) for old, new in prefixes.items()]
        self._new.sort(key=lambda entry: -len(entry[0]))

    def new_name(self, name: str) -> str | None:
        """Return the name with its beginning replaced; None if no beginning fits."""
        found = self.of(name)
        return os.path.join(*found[1:]) if found else None  # noqa: PTH118 - text in, text out

    def of(self, name: str) -> tuple[str, str, str] | None:
        """Return the old beginning as given, the new folder, and the name in it; None if no beginning fits."""
        name = without_long_mark(name)
        plain = name.replace("\\", "/")
        for old, given, folder in self._new:
            start = plain[: len(old)]
            fits = start.casefold() == old.casefold() if _WINDOWS.match(given) else start == old
            rest = plain[len(old) :]
            if fits and (not rest or rest.startswith("/")):
                is_windows = "\\" in name[: len(old) + 1] or bool(_WINDOWS.match(name))
                rest = (rest if is_windows else name[len(old) :]).lstrip("/\\")
                return given, folder, rest
        return None


def is_from_windows(name: str) -> bool:
    r"""True for the name of a file on a drive or a share of Windows, if this is another system.

    >>> is_from_windows("photos/a.jpg")
    False
    """
    return not system.is_windows() and is_name_of_windows(name)


def replacement_of(name: str) -> str:
    r"""Return the advice to replace the folder of a file with the one that it is in here.

    >>> replacement_of("E:\\x\\a.jpg")
    "replace its beginning, such as --replace-prefix 'E:\\x=FOLDER'"
    """
    beginning = name[: max(name.rfind("/"), name.rfind("\\"))] or name
    return f"replace its beginning, such as {shell_line(['--replace-prefix', f'{beginning}=FOLDER'])}"


def windows_hint(path: str | os.PathLike[str]) -> str:
    """Return the end of a message about a missing file: the advice for a path of Windows; empty for another one."""
    name = os.fspath(path)
    return f"; {replacement_of(name)}, with the folder that holds the images here" if is_from_windows(name) else ""


def _plain(old: str) -> str:
    return without_long_mark(old).replace("\\", "/").rstrip("/")


def _folder_of(new: str, base: Path) -> str:
    path = with_home(new)
    if not new or path.is_absolute():
        return os.fspath(path) if new else os.fspath(base)
    here, there = Path.cwd() / path, base / path
    if exists(here) and exists(there) and os.path.realpath(here) != os.path.realpath(there):
        raise UsageError(
            f"--replace-prefix: the new beginning {new} is a folder in the working directory and one in {base}: "
            f"give it as {here} or as {there.absolute()}"
        )
    return os.fspath(there if exists(there) and not exists(here) else path)
