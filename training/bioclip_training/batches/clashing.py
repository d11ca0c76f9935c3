"""Images that one collection trains on and another one holds out: refused with both, or decided by an option."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import DataError, SourceError
from bioclip_core.nouns import number_of
from bioclip_training.batches.data import LabelledImages
from bioclip_training.catalog.options import HELD_OUT, KEEP, REFUSE
from bioclip_training.catalog.splits import is_training
from bioclip_training.catalog.trained_on import Seen


@dataclass(frozen=True, slots=True)
class Collection:
    """The trained part of a collection, with the option and the address by which it was given."""

    images: LabelledImages
    name: str

    def held_out(self, dev_fraction: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows that the collection's own splits hold out, and those of its ``dev``."""
        catalog = self.images.catalog
        split_of_N, words = catalog.numbered("split")
        stated = [code for code, word in enumerate(words) if word and not is_training(word)]
        share = dev_fraction if self.images.taxa else 0.0  # images without taxa have no dev part
        return np.flatnonzero(np.isin(split_of_N, stated)), catalog.rows_of("dev", dev_fraction=share)


def without_clashes(
    data: Collection, replay: Collection | None, decision: str, dev_fraction: float
) -> tuple[LabelledImages, LabelledImages | None, list[str]]:
    """Return both collections without images that the other one holds out, and what is to be said of it.

    Images and groups of the other collection's ``dev`` are never trained on, since this part is ours; about its other held-out
    parts the option decides.

    Raises:
        DataError: if the option is ``refuse``, and there are such images.
        SourceError: if none is left.
    """
    if replay is None:
        return data.images, None, []
    kept, notes = [], []
    for one, other in ((data, replay), (replay, data)):
        images, lines = _without(one, other, decision, dev_fraction)
        kept.append(images)
        notes += lines
    return kept[0], kept[1], notes


def _without(
    one: Collection, other: Collection, decision: str, dev_fraction: float
) -> tuple[LabelledImages, list[str]]:
    catalog, rows = one.images.catalog, one.images.rows
    stated, dev = other.held_out(dev_fraction)
    clashing_N = _in(one, Seen.of(other.images.catalog, stated))
    in_dev = Seen.of(other.images.catalog, dev)
    in_dev_N = (in_dev.has_regions(catalog, rows) if decision == KEEP else _in(one, in_dev)) & ~clashing_N
    notes = []
    gone_N = in_dev_N
    if clashing_N.any():
        first = int(np.flatnonzero(clashing_N)[0])
        said = (
            f"of the {number_of(len(rows), 'image')} that {one.name} trains on, {other.name} holds out {int(clashing_N.sum())}, by "
            f"their content or their group (first: {catalog.key(int(rows[first]))}, group {one.images.group(first)})"
        )
        if decision == REFUSE:
            raise DataError(
                f"the splits of two collections clash: {said}, so accuracy on them would be memory. Choose with --clashing-splits "
                f"{HELD_OUT} (they are not trained on) or {KEEP} (they are, for example if only the names of groups are equal)"
            )
        notes.append(f"{said}: {'not trained on' if decision == HELD_OUT else 'trained on all the same'}")
        gone_N = gone_N | clashing_N if decision == HELD_OUT else gone_N
    if in_dev_N.any():
        notes.append(
            f"of the {number_of(len(rows), 'image')} of {one.name}, not trained on since they belong to the dev part of {other.name}: "
            f"{int(in_dev_N.sum())}"
        )
    if gone_N.all():
        raise SourceError(
            f"{one.name}: all of its {number_of(len(rows), 'image')} of train are held out in {other.name}; nothing is left"
        )
    return one.images.of_rows(rows[~gone_N]) if gone_N.any() else one.images, notes


def _in(one: Collection, seen: Seen) -> NDArray[np.bool_]:
    catalog, rows = one.images.catalog, one.images.rows
    return seen.has_regions(catalog, rows) | seen.has_groups(catalog, rows)
