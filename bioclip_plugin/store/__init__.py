"""The result store: runs, features, answers, decisions, failures and reviews in SQLite or PostgreSQL.

Names are imported when they are first used, so that importing this package imports no database.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bioclip_plugin.store.records import (
        Compaction,
        ItemRecord,
        Keep,
        Listed,
        RegionRecord,
        Removal,
        Review,
        ReviewTarget,
        Run,
        RunPlan,
        StoredFailure,
        StoredItem,
        StoredRegion,
        StoreInfo,
        Summary,
        Verification,
    )
    from bioclip_plugin.store.store import Retry, Store

__all__ = [
    "Compaction",
    "ItemRecord",
    "Keep",
    "Listed",
    "RegionRecord",
    "Removal",
    "Retry",
    "Review",
    "ReviewTarget",
    "Run",
    "RunPlan",
    "Store",
    "StoreInfo",
    "StoredFailure",
    "StoredItem",
    "StoredRegion",
    "Summary",
    "Verification",
    "open_store",
]


def open_store(address: str, *, upgrade: bool | None = None, writes: bool = False) -> Store:
    """Open an existing store for a command, whose module can be imported without a database.

    Args:
        address: as given to the command.
        upgrade: as for :meth:`Store.open`.
        writes: True for a command that writes, so that it refuses a store that can only be read.

    Raises:
        StoreError: if there is none, or it cannot be opened.
    """
    from bioclip_plugin.store.store import Store

    return Store.open(address, create=False, upgrade=upgrade, writes=writes)


def __getattr__(name: str) -> Any:
    if name in __all__:
        home = "store" if name in ("Retry", "Store") else "records"
        return getattr(import_module(f"bioclip_plugin.store.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
