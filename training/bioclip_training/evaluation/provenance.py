"""Versions of the libraries that figures depend on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

_LIBRARIES = ("bioclip-plugin", "torch", "open_clip_torch", "pillow", "numpy")


def library_versions(*more: str) -> dict[str, str]:
    """Return the versions of Python, of this software and of the libraries behind every figure, and of more libraries."""
    known = {"python": platform.python_version()}
    for name in (*_LIBRARIES, *more):
        try:
            known[name] = version(name)
        except PackageNotFoundError:  # run from a source tree
            known[name] = "not installed"
    return known
