"""Folders that cameras make by themselves, which say nothing about the place: ``DCIM``, ``100MEDIA``, ``101EK113``."""

from __future__ import annotations

import re

# DCF, the rule of camera files: 100 to 999, then five letters, digits or underscores. Cards that another program copied are
# in small letters; a name in mixed case ("101Creek") is a place.
_DCF = re.compile(r"[1-9]\d\d(?:[A-Z0-9_]{5}|[a-z0-9_]{5})")


def is_camera_folder(name: str) -> bool:
    """True for a folder that a camera makes by itself.

    >>> [is_camera_folder(name) for name in ("DCIM", "100_BTCF", "102nikon", "101Creek", "Site_001")]
    [True, True, True, False, False]
    """
    return name.upper() == "DCIM" or is_numbered(name)


def is_numbered(name: str) -> bool:
    """True for a folder that a camera numbers: it begins the next one after 9,999 images."""
    return _DCF.fullmatch(name) is not None
