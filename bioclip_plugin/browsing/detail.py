"""One item in full: all that the store knows of a region, its image and its event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bioclip_core.classify import Candidate
from bioclip_core.errors import DataError
from bioclip_plugin.browsing.entries import Entry
from bioclip_plugin.browsing.keys import ItemKey
from bioclip_plugin.browsing.pages import ColumnView
from bioclip_plugin.browsing.query import ViewQuery
from bioclip_plugin.browsing.view import RunView
from bioclip_plugin.items.media import MediaItem
from bioclip_plugin.reviews.in_force import in_force
from bioclip_plugin.store import Review, Store, StoredRegion

MOST_OF_EVENT = 500
"""Items of an event that are given; an event of more says how many it has."""


class GoneError(DataError):
    """An item that the run does not have, or not any more."""


@dataclass(frozen=True, slots=True)
class Detail:
    """One item."""

    entry: Entry
    item: MediaItem
    """With the camera's metadata."""
    status: str
    candidates: Mapping[str, tuple[Candidate, ...]]
    """By rank, most probable first; each with its lineage."""
    trail: tuple[Mapping[str, Any], ...]
    """The steps of the rules, in order."""
    boxes: tuple[tuple[ItemKey, StoredRegion], ...]
    """All regions of the image, those without a row too (below the detection threshold)."""
    reviews: tuple[Review, ...]
    """Every review of the image and its regions, oldest first, with undone ones."""
    in_force: frozenset[int]
    """Numbers of the reviews of ``reviews`` that no later one replaces or undoes."""
    siblings: tuple[ItemKey, ...]
    """Items of its event in the order of their times, itself included; its image's items without an event."""
    siblings_total: int
    provenance: Mapping[str, Any]
    settings: Mapping[str, Any]


def detail_of(store: Store, view: RunView, key: ItemKey) -> Detail:
    """Return one item in full.

    Raises:
        GoneError: for an item that the run does not have (any more).
        StoreError: for a store that went away.
    """
    now = view.now
    row = now.row_of(key)
    if row is None:
        raise GoneError(f"item {key} is not in run {view.run.id}: it was changed or removed, or never there")
    position = int(now.columns.position_N[row])
    stored = next(iter(store.items_of(view.run, after=position - 1, limit=1)), None)
    (entry,) = view.entries([row], now)
    if stored is None or (stored.item.uri, stored.item.frame) != (entry.uri, entry.frame):
        raise GoneError(f"item {key} is not in run {view.run.id} any more: its image is to be classified again")
    own = next((one for one in stored.regions if one.region_id == entry.key.region), None)
    name = (stored.item.uri, stored.item.frame)
    reviews = store.reviews_of([name], undone=True).get(name, [])
    siblings = _siblings(now, row, entry)
    return Detail(
        entry=entry,
        item=stored.item,
        status=stored.status,
        candidates=own.by_rank if own else {},
        trail=own.decision.trail if own and own.decision else (),
        boxes=tuple((ItemKey(view.run.id, key.media, one.region_id), one) for one in stored.regions),
        reviews=tuple(reviews),
        in_force=frozenset(one.id for one in in_force(reviews)),
        siblings=tuple(siblings[:MOST_OF_EVENT]),
        siblings_total=len(siblings),
        provenance=view.run.provenance,
        settings=view.run.settings,
    )


def _siblings(now: ColumnView, row: int, entry: Entry) -> list[ItemKey]:
    if entry.event:
        rows = now.rows(ViewQuery(event=entry.event, sort="time")).tolist()
    else:
        rows = (now.columns.media_N == now.columns.media_N[row]).nonzero()[0].tolist()
    return [now.key_of(one) for one in rows]
