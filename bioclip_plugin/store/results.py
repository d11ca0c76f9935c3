"""The part of a store that the pipeline uses, so that a worker of a distributed run, which has no database, can offer it too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bioclip_plugin.items.media import MediaItem, Unlisted
from bioclip_plugin.store.records import Content, FeatureKey, FoundBox, ItemRecord, Listed, Run, Stat, StoredRegion


class Results(Protocol):
    """Results of a run, as :class:`~bioclip_plugin.store.Store` keeps them."""

    def list_items(
        self, run: Run, items: Sequence[MediaItem | Unlisted], stats: Sequence[Stat | None], first_position: int = 1
    ) -> list[Listed]:
        """Add the items to the run's listing; return the stored knowledge about each."""
        ...

    def commit(self, run: Run, records: Sequence[ItemRecord]) -> None:
        """Keep a batch: all of it or nothing."""
        ...

    def note_encoder(self, run: Run, encoded_with: Mapping[str, Any]) -> None:
        """Record what computes the features of the run from now on."""
        ...

    def answers(self, run: Run, media_ids: Sequence[int]) -> dict[int, list[StoredRegion]]:
        """Return every region of these media with an answer."""
        ...

    def features(self, feature_set: Run, keys: Sequence[FeatureKey]) -> dict[FeatureKey, NDArray[np.float16]]:
        """Return stored vectors (D numbers each); missing ones are absent."""
        ...

    def found_boxes(self, run: Run, keys: Sequence[Content]) -> dict[Content, tuple[FoundBox, ...]]:
        """Return the stored boxes of the run's detector; contents that it has not seen are absent."""
        ...

    def keep_boxes(self, run: Run, found: Mapping[Content, tuple[int, Sequence[FoundBox]]]) -> None:
        """Keep boxes of the run's detector by content, with its size, before the images that have it are committed."""
        ...
