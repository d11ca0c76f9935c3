"""Tests for a file or folder by a name from data: a name that no file can have is absent, not an error.

``pathlib`` raises for a name that is too long, or in a folder that may not be searched.
"""

from __future__ import annotations

import os

Name = str | os.PathLike[str]


def exists(path: Name) -> bool:
    """True if there is a file or folder of this name."""
    return os.path.exists(path)  # noqa: PTH110


def is_file(path: Name) -> bool:
    """True if there is a regular file of this name, also behind a link."""
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: Name) -> bool:
    """True if there is a folder of this name, also behind a link."""
    return os.path.isdir(path)  # noqa: PTH112
