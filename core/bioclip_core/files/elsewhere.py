"""Missing files that are found in another folder nearby: the beginning of their names that ``--replace-prefix`` has to replace."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from bioclip_core.files.moved import MovedNames
from bioclip_core.files.present import is_file
from bioclip_core.next_commands import shell_line

_MOST_FOLDERS = 1000  # folders in which names are looked for
_MOST_CHILDREN = 50  # folders of one folder among them
_MOST_ENTRIES = 10_000  # of one folder, to find these
_DEEPEST = 2  # folders below those nearby

Fits = Callable[[str, str], bool]
"""Return True if a file may be the missing one: given the missing name and the name of the file."""


def moved_beginning(
    missing: Sequence[str], near: Iterable[str | os.PathLike[str]], fits: Fits = lambda _missing, _found: True
) -> tuple[str, str, int] | None:
    """Return the old and the new beginning of missing files that moved together, and how many are found so; None without any.

    The end of the first name is looked for in folders nearby, the longest end first, and the beginning with which most of
    the others are found too is taken.

    Args:
        missing: absolute names of files, or names of Windows, which do not exist here.
        near: folders; looked through with the two above each and the folders up to two below these.
        fits: further test of a file that is found.
    """
    candidates: dict[tuple[str, str], None] = {}
    for name in missing[:3]:  # the first file may be the one that is really lost
        candidates.update(dict.fromkeys(_candidates(name, near, fits)))
    best: tuple[str, str, int] | None = None
    for old, new in candidates:
        moved = MovedNames({old: new}, Path())
        found = sum(1 for name in missing if (at := moved.new_name(name)) and is_file(at) and fits(name, at))
        if best is None or found > best[2]:
            best = (old, new, found)
    return best


def replacing(old: str, new: str) -> str:
    """Return the option that replaces a beginning, quoted for a shell.

    >>> replacing("/old", "/my photos")
    "--replace-prefix '/old=/my photos'"
    """
    return shell_line(["--replace-prefix", f"{old}={new}"])


def _candidates(name: str, near: Iterable[str | os.PathLike[str]], fits: Fits) -> Iterator[tuple[str, str]]:
    """Yield pairs of beginnings with which one file is found, those with the longest common end first."""
    parts = name.replace("\\", "/").split("/")
    folders = list(dict.fromkeys(islice(_folders(near), _MOST_FOLDERS)))
    for start in range(1, len(parts)):
        end = parts[start:]
        old = name[: len(name) - len("/".join(end)) - 1]
        if not old or "=" in old:  # the root cannot be replaced, nor a name that the option would cut in two
            continue
        for folder in folders:
            found = os.path.join(folder, *end)  # noqa: PTH118
            if found != name and is_file(found) and fits(name, found):
                yield old, folder


def _folders(near: Iterable[str | os.PathLike[str]]) -> Iterator[str]:
    """Yield folders nearby: those above first, then the folders in them, then the folders in these."""
    given = [os.path.abspath(folder) for folder in near]  # noqa: PTH100
    above = [os.path.dirname(folder) for folder in given]  # noqa: PTH120
    level = list(dict.fromkeys([*given, *above, *map(os.path.dirname, above)]))
    for _ in range(_DEEPEST + 1):
        yield from level
        level = [inside for folder in level for inside in _within(folder)]


def _within(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            names = (entry.path for entry in islice(entries, _MOST_ENTRIES) if entry.is_dir())
            return sorted(islice(names, _MOST_CHILDREN))
    except OSError:
        return []
