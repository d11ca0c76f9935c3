"""The results of one shard while it is worked on: what the pipeline asks of a store, without a database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_plugin.engines.parts import PartRow
from bioclip_plugin.items.answers import Failure
from bioclip_plugin.items.media import WHOLE_BOX, MediaItem, Unlisted
from bioclip_plugin.store.records import (
    Content,
    FeatureKey,
    FoundBox,
    ItemRecord,
    Listed,
    MediaName,
    Run,
    Stat,
    StoredRegion,
)


class PartStore:
    """Collects the records of a shard. Its items have different names, by the way they are planned.

    It knows nothing of earlier runs, so that a shard gives the same part whenever and wherever it is worked on.
    """

    def __init__(self, names: Sequence[MediaName]) -> None:
        """Set up.

        Args:
            names: the items of the shard, in order.
        """
        self._number = {name: number for number, name in enumerate(names)}
        self._stats: dict[int, Stat | None] = {}
        self._rows: dict[int, PartRow] = {}
        self._features: dict[FeatureKey, NDArray[np.float16]] = {}
        self._found: dict[Content, tuple[FoundBox, ...]] = {}

    def rows(self) -> list[PartRow]:
        """Return the records in the order of the shard.

        Raises:
            LookupError: if an item is without one.
        """
        return [self._rows[number] for number in self._number.values()]

    def list_items(
        self, run: Run, items: Sequence[MediaItem | Unlisted], stats: Sequence[Stat | None], first_position: int = 1
    ) -> list[Listed]:
        """Return items as a store gives them that has never seen them."""
        del run, first_position
        listed = []
        for entry, stat in zip(items, stats, strict=True):
            item = entry.item if isinstance(entry, Unlisted) else entry
            number = self._number[item.uri, item.frame]
            self._stats[number] = stat
            failure = Failure("list", entry.reason) if isinstance(entry, Unlisted) else None
            listed.append(Listed(item, number, number + 1, False, None, failure))
        return listed

    def commit(self, run: Run, records: Sequence[ItemRecord]) -> None:
        """Keep records for the part."""
        del run
        for record in records:
            number = record.listed.media_id
            self._rows[number] = PartRow(record, self._stats[number])
            if record.content_sha256 is None:
                continue
            content = (record.content_sha256, record.item.frame)
            if record.found is not None:
                self._found[content] = record.found
            for region in record.regions:
                if region.features is not None:
                    box = WHOLE_BOX if region.region is None else region.region.box
                    self._features[*content, box] = region.features

    def features(self, feature_set: Run, keys: Sequence[FeatureKey]) -> dict[FeatureKey, NDArray[np.float16]]:
        """Return the features of this shard, so that equal files in it are encoded once."""
        del feature_set
        return {key: self._features[key] for key in keys if key in self._features}

    def found_boxes(self, run: Run, keys: Sequence[Content]) -> dict[Content, tuple[FoundBox, ...]]:
        """Return the detector's boxes of this shard."""
        del run
        return {key: self._found[key] for key in keys if key in self._found}

    def keep_boxes(self, run: Run, found: Mapping[Content, tuple[int, Sequence[FoundBox]]]) -> None:
        """Keep boxes of the detector for equal files of this shard, before the image that has them is done."""
        del run
        self._found |= {content: tuple(boxes) for content, (_, boxes) in found.items()}

    def note_encoder(self, run: Run, encoded_with: Mapping[str, Any]) -> None:
        """Keep nothing: the facts about the part name the worker's device, precision and runtime."""

    def answers(self, run: Run, media_ids: Sequence[int]) -> dict[int, list[StoredRegion]]:
        """Return nothing: no item of a shard has an answer before."""
        del run, media_ids
        return {}
