"""The newest review of a region or an image."""

from __future__ import annotations

from collections.abc import Sequence

from bioclip_plugin.items.media import Region
from bioclip_plugin.store.records import Review


def newest_of(reviews: Sequence[Review], box: Region | None) -> Review | None:
    """Return the newest review of a region; of the whole image if the region has none of its own.

    Args:
        reviews: of the image and its regions.
        box: None for the whole image.
    """
    of_media = [review for review in reviews if review.target.kind in ("media", "region")]
    whole = [review for review in of_media if review.target.kind == "media" or review.target.region is None]
    own = [review for review in of_media if box and review.target.region and review.target.region.box == box.box]
    return max(own or whole, key=lambda review: (review.reviewed_at, review.id), default=None)
