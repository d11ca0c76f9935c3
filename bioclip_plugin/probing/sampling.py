"""A sample of a listing: images spread over all of it, and their number, in limited time and memory."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bioclip_plugin.items.media import MediaItem, Unlisted

LISTING_S = 60.0
"""Time after which a listing is not followed any further."""
_REPORTED_EVERY = 256


@dataclass(frozen=True, slots=True)
class Sample:
    """Images drawn from a listing, each of its images with the same chance."""

    items: tuple[MediaItem, ...]
    """In random order, so that each part of them is a sample too."""
    listed: int
    """Images in the listing, as far as it was followed."""
    unlisted: int
    """Entries without an image, likewise."""
    is_complete: bool
    """True if the listing was followed to its end."""
    seconds: float
    """Time that the listing took."""
    first_unlisted: str = ""
    """Reason of the first entry without an image."""


def draw_sample(
    entries: Iterable[MediaItem | Unlisted],
    size: int,
    *,
    limit_s: float = LISTING_S,
    on_listed: Callable[[int], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> Sample:
    """Draw a sample while the entries are counted (Vitter's algorithm R, the same sample for the same listing).

    Args:
        entries: the listing.
        size: images in the sample, if there are as many.
        limit_s: the listing is left between two entries once it has taken as long.
        on_listed: called now and then with the number of images so far.
        clock: seconds, for tests.
    """
    chance, began_at = random.Random(0), clock()
    kept: list[MediaItem] = []
    listed = unlisted = 0
    first, is_complete = "", True
    for entry in entries:
        if isinstance(entry, Unlisted):
            unlisted, first = unlisted + 1, first or f"{entry.uri}: {entry.reason}"
        else:
            listed += 1
            if len(kept) < size:
                kept.append(entry)
            elif (place := chance.randrange(listed)) < size:
                kept[place] = entry
        if not (listed + unlisted) % _REPORTED_EVERY:
            on_listed(listed)
        if clock() - began_at > limit_s:
            is_complete = False
            break
    chance.shuffle(kept)
    return Sample(tuple(kept), listed, unlisted, is_complete, clock() - began_at, first)
