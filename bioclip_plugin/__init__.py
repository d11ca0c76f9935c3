"""BioCLIP as a component: name the organism in an image, from your own program or over a whole collection."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bioclip_core.errors import BioclipError
    from bioclip_plugin.answers import Answer, Failure, RegionAnswer
    from bioclip_plugin.hookspecs import hookimpl
    from bioclip_plugin.media import MediaItem, Place, Region
    from bioclip_plugin.plugins import create_plugin_manager
    from bioclip_plugin.request import ClassifyRequest
    from bioclip_plugin.session import Session

__version__ = "0.1.0"

__all__ = [
    "Answer",
    "BioclipError",
    "ClassifyRequest",
    "Failure",
    "MediaItem",
    "Place",
    "Region",
    "RegionAnswer",
    "Session",
    "create_plugin_manager",
    "hookimpl",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())

# Names come when they are asked for: importing this package imports neither torch nor a database.
_HOME = {
    "Answer": "bioclip_plugin.answers",
    "BioclipError": "bioclip_core.errors",
    "ClassifyRequest": "bioclip_plugin.request",
    "Failure": "bioclip_plugin.answers",
    "MediaItem": "bioclip_plugin.media",
    "Place": "bioclip_plugin.media",
    "Region": "bioclip_plugin.media",
    "RegionAnswer": "bioclip_plugin.answers",
    "Session": "bioclip_plugin.session",
    "create_plugin_manager": "bioclip_plugin.plugins",
    "hookimpl": "bioclip_plugin.hookspecs",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
