"""Folders of published collections: those of a name near the top, and their names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

_MOST = 50
"""Folders of a folder up to which these are looked into: of more, they are classes of images and not parts of a collection."""


def folders_below(root: Path, depth: int) -> Iterator[Path]:
    """Yield a folder and the few folders below it down to a depth, in order; hidden ones are passed, and a crowd of folders."""
    if not root.is_dir():
        return
    yield root
    names = names_of_folders(root) if depth else []
    for name in names if len(names) <= _MOST else ():
        yield from folders_below(root / name, depth - 1)


def folders_named(root: Path, pattern: str, depth: int = 2) -> list[Path]:
    """Return the folders below a root, down to a depth, whose whole name matches a pattern; without those inside of them."""
    known = re.compile(pattern)
    found: list[Path] = []
    waiting = [(root, depth)] if root.is_dir() else []
    while waiting:
        folder, left = waiting.pop(0)
        names = names_of_folders(folder)
        for name in names:
            if known.fullmatch(name):
                found.append(folder / name)
            elif left > 0 and len(names) <= _MOST:
                waiting.append((folder / name, left - 1))
    return found


def names_of_folders(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, in order, without hidden ones; none if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(
                entry.name for entry in entries if not entry.name.startswith((".", "__MACOSX")) and entry.is_dir()
            )
    except OSError:
        return []


def names_in(folder: Path) -> list[str]:
    """Return the names of everything in a folder, in order; none if it cannot be read."""
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - names, a million of them quickly
    except OSError:
        return []
