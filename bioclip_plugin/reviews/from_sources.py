"""Reviews that the files of other programs hold, stored once their images are listed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from bioclip_core.errors import StoreError
from bioclip_plugin.store import Store
from bioclip_plugin.store.records import StatedReview

_TOGETHER = 500  # reviews in one transaction


@dataclass(slots=True)
class Kept:
    """Counts of the reviews that were read."""

    read: int = 0
    new: int = 0
    refused: int = 0
    """Reviews of images that are not in the store, or without anything that can be stored."""
    first_refusal: str = ""

    def described(self) -> str:
        """Return a sentence for the summary."""
        line = f"Reviews by people: {self.read} read, {self.new} new"
        return f"{line}, {self.refused} refused, the first because {self.first_refusal}" if self.refused else line


def keep_all(reviews: Iterator[StatedReview], store: Store) -> Kept:
    """Store the reviews that files hold; a review that is stored already stays one review."""
    kept = Kept()
    while batch := list(islice(reviews, _TOGETHER)):
        kept.read += len(batch)
        _keep(batch, store, kept)
    return kept


def _keep(batch: Sequence[StatedReview], store: Store, kept: Kept) -> None:
    """Store a batch; if one of its reviews is refused, store each by itself."""
    try:
        kept.new += store.add_reviews(batch)
    except StoreError as error:
        if len(batch) == 1:
            kept.refused += 1
            kept.first_refusal = kept.first_refusal or str(error)
        else:
            for review in batch:
                _keep([review], store, kept)
