"""Folders of published collections: those of a name near the top, and their names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path


def folders_below(root: Path, depth: int) -> Iterator[Path]:
    """Yield a folder and the folders below it down to a depth, in order; hidden ones are passed."""
    if not root.is_dir():
        return
    yield root
    if depth:
        for name in names_of_folders(root):
            yield from folders_below(root / name, depth - 1)


def folders_named(root: Path, pattern: str, depth: int = 2) -> list[Path]:
    """Return the folders below a root, down to a depth, whose whole name matches a pattern; without those inside of them."""
    known = re.compile(pattern)
    found: list[Path] = []
    waiting = [(root, depth)] if root.is_dir() else []
    while waiting:
        folder, left = waiting.pop(0)
        for name in names_of_folders(folder):
            if known.fullmatch(name):
                found.append(folder / name)
            elif left > 0:
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


def has_image(folder: Path, suffixes: frozenset[str]) -> bool:
    """True if a folder itself holds a file with one of some suffixes."""
    try:
        with os.scandir(folder) as entries:
            return any(os.path.splitext(entry.name)[1].lower() in suffixes for entry in entries)  # noqa: PTH122
    except OSError:
        return False
