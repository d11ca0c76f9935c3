"""BioCLIP as a component: name the organism in an image, from your own program or over a whole collection."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bioclip_core import __version__ as __version__

if TYPE_CHECKING:
    from bioclip_core.errors import BioclipError
    from bioclip_plugin.fetching.options import FetchOptions
    from bioclip_plugin.hookspecs import hookimpl
    from bioclip_plugin.host import Session
    from bioclip_plugin.items.answers import Answer, Failure, RegionAnswer
    from bioclip_plugin.items.media import MediaItem, Place, Region
    from bioclip_plugin.items.request import ClassifyRequest
    from bioclip_plugin.plugins import create_plugin_manager
    from bioclip_plugin.store import Store
    from bioclip_plugin.store.records import Keep

__all__ = [
    "Answer",
    "BioclipError",
    "ClassifyRequest",
    "Failure",
    "FetchOptions",
    "Keep",
    "MediaItem",
    "Place",
    "Region",
    "RegionAnswer",
    "Session",
    "Store",
    "create_plugin_manager",
    "hookimpl",
]

# Names come when they are asked for: importing this package imports neither torch nor a database.
_HOME = {
    "Answer": "bioclip_plugin.items.answers",
    "BioclipError": "bioclip_core.errors",
    "ClassifyRequest": "bioclip_plugin.items.request",
    "Failure": "bioclip_plugin.items.answers",
    "FetchOptions": "bioclip_plugin.fetching.options",
    "Keep": "bioclip_plugin.store.records",
    "MediaItem": "bioclip_plugin.items.media",
    "Place": "bioclip_plugin.items.media",
    "Region": "bioclip_plugin.items.media",
    "RegionAnswer": "bioclip_plugin.items.answers",
    "Session": "bioclip_plugin.host",
    "Store": "bioclip_plugin.store",
    "create_plugin_manager": "bioclip_plugin.plugins",
    "hookimpl": "bioclip_plugin.hookspecs",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
