"""Images of an analysis: rows of the parts, without those a model was trained on, and of taxa that no other taxon lies within."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import DataError
from bioclip_core.models import FoundModel
from bioclip_core.nouns import number_of
from bioclip_training.analysis.config import AnalysisConfig
from bioclip_training.analysis.tree import is_tip
from bioclip_training.catalog.rows import Catalog, drawn_in_turn, hashed_share
from bioclip_training.evaluation.already_seen import AlreadySeen, rows_to_measure
from bioclip_training.evaluation.config import EvaluationConfig
from bioclip_training.evaluation.questions import groups_of, query_rows
from bioclip_training.evidence.minima import FEWEST_TO_CHOOSE

log = logging.getLogger("bioclip_plugin.training")


FEWEST_IMAGES, FEWEST_GROUPS = 4, 2
"""Images and groups of a species from which on its variation is measured: two images in each half."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The chosen rows of a catalog."""

    rows_N: NDArray[np.int64]
    """Ascending."""
    taxa_T: NDArray[np.int64]
    """Places of their taxa among the catalog's."""
    remarks: tuple[str, ...]
    """What was left out, and why, as sentences."""
    seen: AlreadySeen


def select(config: AnalysisConfig, catalog: Catalog, models: Sequence[FoundModel]) -> Selection:
    """Choose the rows, and log what is left out.

    Raises:
        DataError: for a part without rows, images that a model was trained on, or fewer than two species.
    """
    rows = query_rows(catalog, config.splits)
    asked = EvaluationConfig(
        data=config.data, model=config.model, output=config.output, splits=config.splits, trained_images=config.trained_images
    )  # fmt: skip
    rows, seen = rows_to_measure(asked, catalog, rows, models)
    remarks = list(seen.lines)
    taxon_N = catalog.taxon_of_N[rows]
    named_N = np.array([taxon.rank is not None for taxon in catalog.taxa], dtype=bool)[taxon_N]
    present = np.unique(taxon_N[named_N])
    tip_T = np.zeros(len(catalog.taxa), dtype=bool)
    tip_T[present] = is_tip([catalog.taxa[place] for place in present])
    if not named_N.all():
        remarks.append(f"{number_of(int((~named_N).sum()), 'image')} without a name at any rank: left out")
    inner_N = named_N & ~tip_T[taxon_N]
    if inner_N.any():
        first = catalog.taxa[int(taxon_N[inner_N][0])]
        remarks.append(
            f"{number_of(int(inner_N.sum()), 'image')} with the name of a taxon that others lie within: left out (the first: {first.name}, "
            f"a {first.rank})"
        )
    rows = rows[tip_T[taxon_N]]
    kept = drawn_in_turn(
        catalog.taxon_of_N[rows], np.array([hashed_share(catalog.key(row)) for row in rows.tolist()]), config.most_images
    )  # fmt: skip
    if len(kept) < len(rows):
        remarks.append(
            f"{len(kept)} of {len(rows)} images are analysed, drawn from the species in turn; --most-images takes another number"
        )
        rows = rows[kept]
    taxa = np.unique(catalog.taxon_of_N[rows])
    if len(taxa) < 2:
        raise DataError(
            f"--data {config.data}, {', '.join(config.splits)}: {number_of(len(taxa), 'species', 'species')} with images; the structure of "
            "a space needs at least two; give --split another part, or all"
        )
    remarks += _better_parts(config, catalog, rows)
    for remark in remarks:
        log.warning(remark)
    return Selection(rows, taxa, tuple(remarks), seen)


def varied_species(species_N: NDArray[np.int64], group_N: NDArray[np.int64]) -> int:
    """Return the number of species with four images in two groups, which variation within species is measured on."""
    images_T = np.bincount(species_N)
    groups_T = np.bincount(np.unique(np.stack([species_N, group_N]), axis=1)[0], minlength=len(images_T))
    return int(((images_T >= FEWEST_IMAGES) & (groups_T >= FEWEST_GROUPS)).sum())


def _better_parts(config: AnalysisConfig, catalog: Catalog, rows_N: NDArray[np.int64]) -> list[str]:
    """Return a sentence on the part of the catalog with more images per species, if there are too few for a conclusion."""
    group_N = groups_of(catalog)

    def varied(places: NDArray[np.int64]) -> int:
        return varied_species(catalog.taxon_of_N[places], group_N[places])

    here = varied(rows_N)
    if here >= FEWEST_TO_CHOOSE:
        return []
    has = f"{number_of(here, 'species', 'species')} of {', '.join(config.splits)} {'has' if here == 1 else 'have'}"
    needs = f"{has} {FEWEST_IMAGES} images in {FEWEST_GROUPS} groups, and a conclusion on variation within species takes {FEWEST_TO_CHOOSE}"
    others = [
        word
        for word in ("val", "unseen", "dev", "train", *catalog.numbered("split")[1])
        if word not in ("", *config.splits)
    ]
    counts = {word: varied(catalog.rows_of(word)) for word in dict.fromkeys(others)}
    better = {word: count for word, count in counts.items() if count > here}
    if not better:
        return []
    # Images that a model learnt from say least about new ones: train is named if nothing else is enough.
    held = {word: count for word, count in better.items() if word != "train"}
    enough = {word: count for word, count in held.items() if count >= FEWEST_TO_CHOOSE}
    word, count = max((enough or better).items(), key=lambda one: one[1])
    learnt = " (images that a model may have learnt from)" if word == "train" else ""
    return [f"{needs}; --split {word} has {number_of(count, 'such species', 'such species')}{learnt}"]
