"""Names that say which program made a temporary file, so that the next one removes what a killed program left."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import tempfile
from functools import lru_cache
from pathlib import Path

from bioclip_core.files.replacing import remove_tree
from bioclip_core.process.system import is_running

_MARK = re.compile(r"([0-9a-f]{8})-(\d+)")
_OURS = re.compile(r"bioclip-|\..+\.[0-9a-f]{8}-\d+\.(?:part|parts|old)(?:-wal|-shm|-journal)?$")
"""Names of temporary folders, and of drafts beside an output."""


def mark() -> str:
    """Return the mark of this program in the names of its temporary files: the machine and the number of the process."""
    return f"{_machine()}-{os.getpid()}"


def is_of_killed(marked: str) -> bool:
    """Return True for the mark of a program of this machine that does not run any more.

    A mark of another machine, which may share the folder, and any other text give False.
    """
    found = _MARK.fullmatch(marked)
    return found is not None and found[1] == _machine() and not is_running(int(found[2]))


def left_behind(folder: Path) -> list[Path]:
    """Return the temporary files and folders that killed programs of this machine left in a folder.

    Raises:
        OSError: if the folder cannot be listed.
    """
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if _OURS.match(entry.name)]
    return [folder / name for name in sorted(names) if any(is_of_killed(found[0]) for found in _MARK.finditer(name))]


def temporary_folder(prefix: str) -> tempfile.TemporaryDirectory[str]:
    """Return a new folder among the system's temporary files, after removing those of killed programs with this prefix."""
    parent = Path(tempfile.gettempdir())
    try:
        with os.scandir(parent) as entries:
            names = [entry.name for entry in entries if entry.name.startswith(prefix)]
    except OSError:  # making the folder will give the reason
        names = []
    for name in names:
        if is_of_killed(name.removeprefix(prefix).rpartition("-")[0]):
            remove_tree(parent / name)
    return tempfile.TemporaryDirectory(prefix=f"{prefix}{mark()}-", ignore_cleanup_errors=True)


@lru_cache(maxsize=1)
def _machine() -> str:
    """Return a short name of the machine and of the numbering of its processes: containers have one of their own."""
    try:
        numbering = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        numbering = 0
    return hashlib.sha256(f"{platform.node()} {numbering}".encode()).hexdigest()[:8]
