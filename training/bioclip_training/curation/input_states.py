"""States of the files and folders that stages read: a text that changes with them, and not with where they lie."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from bioclip_core.errors import SourceError
from bioclip_core.files.near_names import near_hint
from bioclip_core.identity import sha256_of

_EVERYBODY = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH
_SMALL = 16 * 1024 * 1024
"""Bytes up to which a file's content is hashed; a larger one changes with its size and modification time."""


def state_of(name: str, path: Path) -> str:
    """Return the state of a file (its content, or size and time of a large one) or of a folder (names, sizes and times).

    Args:
        name: the input, for messages.
        path: the file or folder.

    Raises:
        SourceError: if it is missing or cannot be read.
    """
    try:
        if path.is_dir():
            return _state_of_folder(path)
        size = path.stat().st_size
        return f"sha256 {sha256_of(path)}" if size <= _SMALL else f"{size} bytes of {path.stat().st_mtime_ns}"
    except OSError as error:
        reason = "does not exist" if isinstance(error, FileNotFoundError) else error.strerror or error
        raise SourceError(f"{name}: {error.filename or path} {reason}{near_hint(path)}") from error


def _state_of_folder(path: Path) -> str:
    digest = hashlib.sha256()
    for name, entry in files_of(path):
        try:
            state = entry.stat()
        except FileNotFoundError:  # a link whose file is gone: its readers count it
            state = entry.stat(follow_symlinks=False)
        parts = f"{name}\0{state.st_size}\0{state.st_mtime_ns}\0{restricted(state)}"
        digest.update(parts.encode("utf-8", "surrogateescape"))
    return f"folder {digest.hexdigest()}"


def restricted(state: os.stat_result) -> str:
    """Return the permissions to read of a file that not everybody may read: an image is read again when they change."""
    readable = state.st_mode & _EVERYBODY
    return "" if readable == _EVERYBODY else f"{readable:o}\0"


def files_of(path: Path, within: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield the files below a folder by their names relative to it, sorted within each folder."""
    with os.scandir(path) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            name = f"{within}{entry.name}"
            if entry.is_dir():
                yield from files_of(Path(entry.path), f"{name}/")
            else:
                yield name, entry
