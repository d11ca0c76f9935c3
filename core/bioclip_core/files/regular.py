"""Opening of files from outside: opening a pipe would wait for its writer, and a device may not end."""

from __future__ import annotations

import errno
import stat
from pathlib import Path
from typing import BinaryIO

NOT_A_FILE = "it is a pipe or device, not a file; save its content as a file"


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file to read its bytes, also behind a link.

    Raises:
        OSError: if it cannot be opened, or is a pipe or device.
    """
    if is_special(path):
        raise OSError(errno.EINVAL, NOT_A_FILE, str(path))
    return path.open("rb")


def is_special(path: Path) -> bool:
    """True for a pipe, socket or device; false for files, folders and names without one."""
    try:
        kind = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(kind) or stat.S_ISDIR(kind))
