"""Answers that the store benchmark and the profile write to a database, batch by batch."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import fixtures, taxa
from bioclip_core.classify import Candidate
from bioclip_core.taxonomy import RANKS, Rank, Taxon
from bioclip_plugin.items.media import MediaItem
from bioclip_plugin.store import ItemRecord, Listed, RegionRecord, RunPlan, Store

BATCH = 512
"""Images in one commit: of two batches of a GPU, or of small ones whose answers waited for the writer."""
LISTED_AT_ONCE = 512
_run = itertools.count()


@dataclass(frozen=True, slots=True)
class StoreLoad:
    """Features and answers of some images, as the pipeline passes them to the store."""

    features_BD: NDArray[np.float16]
    answers: list[Mapping[str, tuple[Candidate, ...]]]
    """Candidates by rank: the best five species, and the best taxon of every other rank."""

    @classmethod
    def of(cls, images: int) -> StoreLoad:
        species = taxa.invented_taxa(1_000)
        features_BD = taxa.random_units(images, fixtures.DIMENSION).astype(np.float16)
        return cls(features_BD, [_by_rank(species, index) for index in range(images)])

    def __len__(self) -> int:
        return len(self.answers)

    def rows(self) -> list[dict[str, Any]]:
        """Return the same answers as result rows of pybioclip: five species per image."""
        return [
            {"file_name": f"photo_{index}.jpg", **candidate.taxon.as_dict(), "score": candidate.probability}
            for index, by_rank in enumerate(self.answers)
            for candidate in by_rank["species"]
        ]

    def write(self, store: Store, batch: int = BATCH) -> None:
        """Store a complete run under new names: list the items, commit them batch by batch, end the run."""
        number = next(_run)
        run = store.begin_run(_plan(number))
        listed: list[Listed] = []
        for start in range(0, len(self), batch):
            places = range(start, min(start + batch, len(self)))
            while len(listed) < places.stop:
                ahead = range(len(listed), min(len(listed) + LISTED_AT_ONCE, len(self)))
                items = [MediaItem(uri=f"run_{number}/photo_{place}.jpg") for place in ahead]
                listed += store.list_items(run, items, [(1, 1)] * len(items), ahead.start + 1)
            records = [
                ItemRecord(
                    listed=one,
                    item=one.item,
                    stat=(1, 1),
                    content_sha256=f"{number:032x}{place:032x}",
                    content_size=1,
                    regions=(RegionRecord(None, self.features_BD[place], self.answers[place]),),
                )
                for place, one in zip(places, listed[start : places.stop], strict=True)
            ]
            store.commit(run, records)
        store.end_run(run, "finished", {})


@lru_cache(maxsize=10_000)
def _truncated(taxon: Taxon, rank: Rank) -> Taxon:
    """Return the taxon at a rank: one object for one taxon, as a classifier gives it."""
    return taxon.truncated(rank)


def _by_rank(species: list[Taxon], index: int) -> dict[str, tuple[Candidate, ...]]:
    picked = [species[(index * 7 + place) % len(species)] for place in range(5)]
    best: dict[str, tuple[Candidate, ...]] = {
        rank.value: (_candidate(_truncated(picked[0], rank), rank, 0.9),) for rank in RANKS[:-1]
    }
    best["species"] = tuple(_candidate(taxon, Rank.SPECIES, 0.5 / (place + 1)) for place, taxon in enumerate(picked))
    return best


def _candidate(taxon: Taxon, rank: Rank, probability: float) -> Candidate:
    return Candidate(taxon, (taxon.rank or rank).value, probability)


def _plan(number: int) -> RunPlan:
    return RunPlan(
        sources=(f"run_{number}",),
        settings={},
        feature_id="feature",
        feature_settings={"weights_sha256": "0" * 64},
        dimension=fixtures.DIMENSION,
        answer_id="answer",
        answer_settings={},
        rule_id="rule",
        rule_settings={},
        provenance={},
    )
