"""The licence of an image, as its source states it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from bioclip_core.cells import column_name
from bioclip_plugin.items.media import MediaItem

PACKAGE_LICENCE = "media_licence"
"""Name in the description of a package for the licence of its media."""
_NAMES = (
    "license",
    "licence",
    "dctermslicense",
    "usageterms",
    "webstatement",
    "rights",
    "dctermsrights",
    "accessrights",
)
_INNER = ("media", "camtrap_media", "camtrap_package")
_LONGEST = 500


def licence_of(item: MediaItem) -> str:
    """Return the licence that the row of an image states, else that of its specimen or package; empty without one."""
    inner = [found for name in _INNER if isinstance(found := item.metadata.get(name), Mapping)]
    for values in (*inner, item.metadata):
        if text := _stated(values):
            return text[:_LONGEST]
    return ""


def _stated(values: Mapping[str, Any]) -> str:
    found = {name: text for key, value in values.items() if (name := _name(key)) and (text := str(value or "").strip())}
    return next((found[name] for name in _NAMES if name in found), "")


@lru_cache(maxsize=1024)
def _name(key: str) -> str:
    name = column_name(key)
    return name if name in _NAMES else "license" if key == PACKAGE_LICENCE else ""
