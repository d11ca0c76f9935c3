"""Queries by a name as the mean of its labelled images: those that people reviewed as this taxon, in the run itself."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bioclip_core.errors import DataError
from bioclip_core.names import folded
from bioclip_core.nouns import number_of
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.reviews.in_force import in_force
from bioclip_plugin.searching.results import Query
from bioclip_plugin.searching.searcher import Searcher
from bioclip_plugin.store import Review, Store


def reviewed_query(store: Store, searcher: Searcher, name: str) -> Query:
    """Return the mean of the features of the run's regions that are reviewed as a taxon, or as one below it. No model is needed.

    Reviews of boxes count for their box, and reviews of images for the image's only region; those of events do not say which
    image shows the animal, and are left out.

    Raises:
        DataError: if no region of the run with a feature is reviewed so.
    """
    wanted = folded(" ".join(name.split()))
    reviews = [one for one in in_force(store.reviews()) if one.taxon is not None and wanted in _names_of(one.taxon)]
    items = dict.fromkeys(_items(store, searcher, [one for one in reviews if one.target.kind != "event"]))
    vectors = []
    for media, region in items:
        try:
            vectors.append(searcher.feature_of(media, region).astype(np.float32))
        except DataError:  # its feature is not stored, or it is not in this run
            continue
    if not vectors:
        raise DataError(
            f"no region of run {searcher.run.id} is reviewed as {name!r} ({number_of(len(reviews), 'review')} in the store name it): "
            "import reviews, or search by the rows of the label set"
        )
    mean_D = np.mean(vectors, axis=0)
    left = f" (of {number_of(len(reviews), 'review')} that name it)" if len(reviews) != len(vectors) else ""
    described = f"the name {name}: mean of {number_of(len(vectors), 'reviewed region')} of run {searcher.run.id}{left}"
    return Query("name", mean_D, described)


def _names_of(taxon: Taxon) -> set[str]:
    names = (*taxon.lineage[:-1], taxon.scientific_name, taxon.common_name)
    return {folded(name) for name in names if name}


def _items(store: Store, searcher: Searcher, reviews: list[Review]) -> Iterator[tuple[int, int]]:
    """Yield media and region of each review whose region is known."""
    named = {(one.target.uri or "", one.target.frame) for one in reviews}
    numbers = store.media_numbers(named)
    results = store.media_results(searcher.run, numbers.values())
    for review in reviews:
        media = numbers.get((review.target.uri or "", review.target.frame))
        if media is None or media not in results:
            continue
        regions = [one for one in results[media][1] if one.classified]
        if review.target.kind == "region":
            box = review.target.region.box if review.target.region is not None else None
            regions = [one for one in regions if (one.region.box if one.region is not None else None) == box]
        if len(regions) == 1:
            yield media, regions[0].region_id
