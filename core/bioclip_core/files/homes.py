"""Paths that begin with ``~``: the home folder of a user."""

from __future__ import annotations

import os
from pathlib import Path

from bioclip_core.errors import BioclipError, DataError


def with_home(path: str | os.PathLike[str], error: type[BioclipError] = DataError) -> Path:
    """Return a path whose ``~`` or ``~NAME`` is replaced by the home folder of that user.

    Raises:
        DataError: if this machine has no such user, or no home folder for the present one; ``error`` if another is given.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        text = os.fspath(path)
        name = Path(text).parts[0].removeprefix("~")
        wrong = (
            f"names a user {name!r} that this machine does not have"
            if name
            else "begins in your home folder, which is unknown"
        )
        raise error(f"path {text!r} {wrong}: give a path without ~, or {'./' + text!r} for a name of its own") from None
