"""Items of the store by their numbers, and their files: only those under the folders of ``--media-root`` are opened."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bioclip_core.errors import UsageError
from bioclip_plugin.browsing.keys import ItemKey, parse_key
from bioclip_plugin.items.media import MediaItem
from bioclip_plugin.items.web import is_remote
from bioclip_plugin.running.reading import path_of_item
from bioclip_plugin.serving.problems import Problem
from bioclip_plugin.serving.state import Workbench
from bioclip_plugin.store.records import StoredItem


def item_named(bench: Workbench, name: str) -> MediaItem:
    """Return an item by RUN-MEDIA-REGION, with that region, or with all that the run has named if the region is 0.

    Raises:
        Problem: 404 for a name that the store does not have, 403 for a file outside of the media roots, 503 without a store.
    """
    key, stored = _stored(bench, name)
    regions = [one for one in stored.regions if key.region in (0, one.region_id)]
    if not regions and key.region:
        raise _unknown(name)
    boxes = tuple(one.region for one in regions if one.region is not None and (one.classified or key.region))
    boxes = tuple(replace(box, classified=True) for box in boxes)
    return replace(stored.item, path=checked_file(bench, stored.item), regions=boxes, detected=False)


def checked_file(bench: Workbench, item: MediaItem) -> Path:
    """Return the file of an item without symbolic links, if it lies under one of the media roots.

    Raises:
        Problem: 403 if it does not; 404 if it is gone.
    """
    if is_remote(item):
        raise Problem(404, "the image is on the web, and is not fetched for a request")
    try:
        path = path_of_item(item).resolve(strict=True)
    except (OSError, ValueError, RuntimeError):
        raise Problem(404, "the image is no longer where the run found it") from None
    if not any(path.is_relative_to(root) for root in bench.media_roots):
        raise Problem(403, "the image lies outside of the folders that this server was started with (--media-root)")
    if not path.is_file():
        raise Problem(404, "the image is no longer where the run found it")
    return path


def _stored(bench: Workbench, name: str) -> tuple[ItemKey, StoredItem]:
    store = bench.needed_store()
    try:
        key = parse_key(name)
    except UsageError:
        raise _unknown(name) from None
    run = next((run for run in store.runs() if run.id == key.run), None)
    stored = None if run is None else store.item_numbered(run, key.media)
    if stored is None:
        raise _unknown(name)
    return key, stored


def _unknown(name: str) -> Problem:
    return Problem(404, f"item {name[:60]!r} is not in the store; an item is named RUN-MEDIA-REGION, such as 1-42-7")
