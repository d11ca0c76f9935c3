"""Names of files for other programs: relative to one folder, with forward slashes, whatever the listing looked like."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote_to_bytes

from bioclip_core.errors import BioclipError, UsageError

_ESCAPED = re.compile(r"%(?:25|[89A-Fa-f][0-9A-Fa-f])")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


class OutsideFolder(BioclipError):
    """A file that does not lie in the folder that was taken to hold all."""

    def __init__(self, uri: str) -> None:
        super().__init__(
            f"{uri!r} cannot be written as a name under one folder: give one that holds all images with --base-folder"
        )


class RelativeNames:
    """Names under one folder."""

    def __init__(self, folder: str) -> None:
        """Set up for a folder (empty: names stay as they are); an absolute one makes every name absolute first."""
        self.folder = folder
        self._absolute = folder.startswith("/") or _drive(folder)
        self._start = folder.rstrip("/") + "/" if folder else ""

    def __call__(self, uri: str) -> str:
        """The name of an item's file.

        Raises:
            OutsideFolder: if it is not in the folder.
        """
        if _SCHEME.match(uri):
            return uri
        name = _plain(uri)
        if self._absolute:
            name = _slashed(os.path.abspath(name))  # noqa: PTH100 - links are not followed: the name stays the person's
        elif _whole(name):
            raise OutsideFolder(uri)
        short = name[len(self._start) :]
        if not name.startswith(self._start) or not short or short.startswith("../"):
            raise OutsideFolder(uri)
        return short


class NamesUnder(RelativeNames):
    """Names relative to a folder that somebody gave, seen from the working directory where that is needed."""

    def __init__(self, folder: Path) -> None:
        given = _slashed(os.path.normpath(folder))
        super().__init__("" if given == "." else given)
        self._given = folder
        self._seen_from_here = RelativeNames(_slashed(os.path.abspath(folder)))  # noqa: PTH100

    def __call__(self, uri: str) -> str:
        """The name of an item's file.

        Raises:
            UsageError: if it is not in the folder.
        """
        try:
            return super().__call__(uri)
        except OutsideFolder:
            pass
        try:
            return self._seen_from_here(uri)
        except OutsideFolder:
            raise UsageError(
                f"{uri} is not in the base folder {self._given}: give the folder that holds all images of the run, or none"
            ) from None


def common_names(uris: Iterable[str]) -> RelativeNames:
    """Names relative to the deepest folder that holds all files, as :class:`CommonFolder` finds it."""
    common = CommonFolder()
    for uri in uris:
        common.add(uri)
    return common.names()


class CommonFolder:
    """The deepest folder that holds all files, for whoever sees them one by one.

    It is seen from the working directory only where it must be: where some files are absolute and some are not, or where
    some lie above others.
    """

    def __init__(self) -> None:
        self._relative, self._absolute = _Common(), _Common()
        self._highest = 0

    def add(self, uri: str) -> None:
        """Take a file into account; what is on the web lies in no folder."""
        if _SCHEME.match(uri):
            return
        name = _plain(uri)
        if _whole(name):
            self._absolute.add(name)
        else:
            self._relative.add(name)
            self._highest = max(self._highest, _ups(name))

    def names(self) -> RelativeNames:
        """Names of the files that were added."""
        relative, absolute = self._relative, self._absolute
        if absolute.parts is None and self._highest <= _ups(relative.folder + "/"):
            return RelativeNames(relative.folder)
        if absolute.parts is not None and relative.parts is None:
            return RelativeNames(absolute.folder or "/")
        return RelativeNames(_seen_from_here(relative, absolute, self._highest))


def _seen_from_here(relative: _Common, absolute: _Common, highest: int) -> str:
    """The whole path of a folder that holds all: relative files lie under their own folder, or at most so many above it."""
    here = os.path.abspath(relative.folder or ".")  # noqa: PTH100
    for _ in range(highest - _ups(relative.folder + "/")):
        here = os.path.dirname(here)  # noqa: PTH120
    absolute.add(_slashed(here).rstrip("/") + "/x")
    return absolute.folder or "/"


class _Common:
    """The folder that all files added so far have in common."""

    def __init__(self) -> None:
        self.parts: list[str] | None = None
        self._start = ""

    @property
    def folder(self) -> str:
        return "/".join(self.parts or [])

    def add(self, name: str) -> None:
        if self.parts is not None and name.startswith(self._start) and "/" in self._start:
            return
        folders = name.split("/")[:-1]
        if self.parts is None:
            self.parts = folders
        else:
            same = 0
            while same < min(len(self.parts), len(folders)) and self.parts[same] == folders[same]:
                same += 1
            self.parts = self.parts[:same]
        self._start = self.folder + "/"


def _plain(uri: str) -> str:
    """The file's own name, with bytes that are no UTF-8 as Python holds them, without needless dots."""
    if _ESCAPED.search(uri):
        uri = os.fsdecode(unquote_to_bytes(uri))
    name = _slashed(uri)
    return os.path.normpath(name) if "./" in name or "//" in name else name


def _slashed(name: str | os.PathLike[str]) -> str:
    text = os.fspath(name)
    return text.replace("\\", "/") if os.sep == "\\" or _drive(text) else text


def _whole(name: str) -> bool:
    return name.startswith("/") or _drive(name)


def _ups(name: str) -> int:
    """How many folders up a normalised name begins."""
    return name.count("../") if name.startswith("../") else 0


def _drive(name: str) -> bool:
    return name[1:2] == ":" and name[:1].isalpha() and name[2:3] in ("/", "\\")
