"""Names of files for other programs: relative to one folder, with forward slashes, whatever the listing looked like."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote_to_bytes

from bioclip_core.errors import BioclipError, DataError
from bioclip_core.files.drives import name_of_bytes
from bioclip_core.process import system

_ESCAPED = re.compile(r"%(?:25|[89A-Fa-f][0-9A-Fa-f])")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_DRIVE = re.compile(r"[^\W\d_]:[/\\]")


class OutsideFolder(BioclipError):
    """A file outside the folder that should hold all files."""

    def __init__(self, uri: str) -> None:
        super().__init__(
            f"{uri!r} cannot be written as a name under one folder: give one that holds all images with --base-folder"
        )


class RelativeNames:
    """Names under one folder."""

    def __init__(self, folder: str) -> None:
        """Set up for a folder (empty: names stay as they are); an absolute one makes every name absolute first."""
        self.folder = folder
        self._is_absolute = _is_absolute(folder)
        self._start = folder.rstrip("/") + "/" if folder else ""

    def __call__(self, uri: str) -> str:
        """Return the name of an item's file; a web address as it is.

        Raises:
            OutsideFolder: if it is not in the folder.
        """
        if _SCHEME.match(uri):
            return uri
        name = _name_of(uri)
        if self._is_absolute:
            name = _absolute(name)
        elif _is_absolute(name):
            raise OutsideFolder(uri)
        start, short = name[: len(self._start)], name[len(self._start) :]
        is_below = start == self._start or (_is_of_windows(start) and start.casefold() == self._start.casefold())
        if not is_below or not short or short.startswith("../"):
            raise OutsideFolder(uri)
        return short


class NamesUnder(RelativeNames):
    """Names relative to a folder that the user gave, seen from the working directory if needed."""

    def __init__(self, folder: Path) -> None:
        given = _slashed(os.path.normpath(folder))
        super().__init__("" if given == "." else given)
        self._given = folder
        self._seen_from_here = RelativeNames(_absolute(given))

    def __call__(self, uri: str) -> str:
        """Return the name of an item's file.

        Raises:
            DataError: if it is not in the folder.
        """
        for names in (super().__call__, self._seen_from_here):
            try:
                return names(uri)
            except OutsideFolder:
                continue
        raise DataError(
            f"{uri} is not in the base folder {self._given}: give the folder that holds all images of the run, or none"
        )


class CommonFolder:
    """The deepest folder that holds all files, which are added one by one.

    It is seen from the working directory only if needed: if some files are absolute and some are not, or if some lie above
    others.
    """

    def __init__(self, uris: Iterable[str] = ()) -> None:
        self._relative: list[str] | None = None
        """Parts of the folder that all files with a relative name have in common, None without such files."""
        self._absolute: list[str] | None = None
        self._highest = 0
        """Largest number of folders up at which a relative name begins."""
        self._last: str | None = None
        for uri in uris:
            self.add(uri)

    def add(self, uri: str) -> None:
        """Take a file into account; a web address does not lie in a folder."""
        if _SCHEME.match(uri):
            return
        name = _name_of(uri)
        folder = name.rpartition("/")[0]
        if folder == self._last:  # as for most files
            return
        self._last = folder
        parts = name.split("/")[:-1]
        if _is_absolute(name):
            self._absolute = _common(self._absolute, parts)
        else:
            self._relative = _common(self._relative, parts)
            self._highest = max(self._highest, parts.count(".."))

    def names(self) -> RelativeNames:
        """Return names of the files that were added."""
        relative, absolute = self._relative or [], self._absolute
        up = self._highest - relative.count("..")
        if absolute is None and up <= 0:
            return RelativeNames("/".join(relative))
        if absolute is None or self._relative is not None:
            # Relative files lie under their own folder, or under the highest one above it.
            here = _slashed(os.path.abspath("/".join([*relative, *[".."] * up]) or "."))  # noqa: PTH100
            absolute = _common(absolute, here.rstrip("/").split("/"))
        return RelativeNames("/".join(absolute) or "/")


def _common(parts: list[str] | None, others: list[str]) -> list[str]:
    return others if parts is None else list(os.path.commonprefix([parts, others]))  # noqa: RUF071 - of parts


def _name_of(uri: str) -> str:
    """Return the file's own name, with bytes that are not UTF-8 as Python keeps them, without needless dots."""
    if _ESCAPED.search(uri):
        uri = name_of_bytes(unquote_to_bytes(uri))
    name = _slashed(uri)
    return os.path.normpath(name) if "./" in name or "//" in name else name


def _slashed(name: str) -> str:
    return name.replace("\\", "/") if system.is_windows() or _is_of_windows(name) else name


def _is_absolute(name: str) -> bool:
    return name.startswith("/") or _is_of_windows(name)


def _absolute(name: str) -> str:
    """Return an absolute name; links are not followed, so that it stays the user's. One of Windows is absolute everywhere."""
    if _is_of_windows(name) and not system.is_windows():
        return _slashed(os.path.normpath(_slashed(name)))
    return _slashed(os.path.abspath(name))  # noqa: PTH100


def _is_of_windows(name: str) -> bool:
    return _DRIVE.match(name) is not None or name.startswith(("\\\\", "//"))
