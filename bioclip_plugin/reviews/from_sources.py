"""Reviews that the files of other programs hold, into the store once their images are listed there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from bioclip_core.errors import StoreError

if TYPE_CHECKING:
    from bioclip_plugin.store import Store
    from bioclip_plugin.store.records import StatedReview

_AT_ONCE = 500  # reviews in one transaction


@dataclass(slots=True)
class Kept:
    """What became of the reviews that were read."""

    read: int = 0
    new: int = 0
    refused: int = 0
    """Of images that are not in the store, or that say nothing that can be stored."""
    first_refusal: str = ""

    def described(self) -> str:
        """A sentence for the summary."""
        line = f"Reviews by people: {self.read} read, {self.new} new"
        return f"{line}, {self.refused} not kept, the first since {self.first_refusal}" if self.refused else line


def keep_all(reviews: Iterator[StatedReview], store: Store) -> Kept:
    """Store the reviews that files hold; a review that is stored already stays one review."""
    kept = Kept()
    while batch := list(islice(reviews, _AT_ONCE)):
        kept.read += len(batch)
        keep(batch, store, kept)
    return kept


def keep(batch: Sequence[StatedReview], store: Store, kept: Kept) -> None:
    """Store a batch; where one of it is refused, each by itself."""
    try:
        kept.new += store.add_reviews(batch)
    except StoreError:
        for one in batch:
            try:
                kept.new += store.add_reviews([one])
            except StoreError as error:
                kept.refused += 1
                kept.first_refusal = kept.first_refusal or str(error)
