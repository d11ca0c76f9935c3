"""Invented trees of life, and label files in TreeOfLife's shape (``txt_emb_species.npy`` D×N and its ``.json``)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bioclip_core.classify import Candidate
from bioclip_core.files.whole import write_whole
from bioclip_core.taxonomy import RANKS, Taxon

NPY = "txt_emb_species.npy"
JSON = "txt_emb_species.json"

_SYLLABLES = [a + b for a in "bcdfglmnprstvz" for b in "aeiou"]
_ENDINGS = ("ia", "ophyta", "opsida", "ales", "idae", "us", "ensis")  # kingdom … epithet
# Mean number of children per parent, genus to kingdom, near TreeOfLife's.
_CHILDREN = {"genus": 5, "family": 12, "order": 8, "class": 8, "phylum": 8, "kingdom": 8}
_HOLES = 0.03  # share of orders without a name, since real lineages have gaps


def invented_taxa(count: int, *, seed: int = 0) -> list[Taxon]:
    """Return ``count`` different species with their lineages, in random order as in TreeOfLife's files."""
    rng = np.random.default_rng([21, seed])
    parents = _parents(rng, count)
    names = [
        _names(rng, len(set(level)) if depth < 6 else count, _ENDINGS[depth]) for depth, level in enumerate(parents)
    ]
    unnamed_orders = set(np.flatnonzero(rng.random(len(names[3])) < _HOLES).tolist())
    taxa = []
    for index in range(count):
        places = [int(level[index]) for level in parents]
        lineage = [
            "" if depth == 3 and place in unnamed_orders else names[depth][place] for depth, place in enumerate(places)
        ]
        lineage[6] = lineage[6].lower()
        common = f"{names[6][index][:-5].lower()} thing" if rng.random() < 0.5 else ""
        taxa.append(Taxon.of(lineage, common))
    return [taxa[index] for index in rng.permutation(count)]


def invented_answers(
    count: int, probability: Callable[[int, int], float], higher: float = 0.9
) -> list[dict[str, tuple[Candidate, ...]]]:
    """Return answers to ``count`` regions, each with five species and the best taxon of every other rank.

    Args:
        probability: of the species at a place (0 to 4) of an answer.
        higher: probability of the taxa of the other ranks.
    """
    species = invented_taxa(count)
    found = []
    for index in range(count):
        picked = [species[(index + place * 31) % count] for place in range(5)]
        best = {rank.value: (Candidate(picked[0].truncated(rank), rank.value, higher),) for rank in RANKS[:-1]}
        named = (Candidate(taxon, "species", probability(index, place)) for place, taxon in enumerate(picked))
        found.append({**best, "species": tuple(named)})
    return found


def write_label_files(folder: Path, taxa: list[Taxon], vectors_ND: NDArray[np.float32]) -> Path:
    """Write both files in the published form: float32 D×N with unit columns, and ``[[seven names], common name]`` per taxon."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / NPY, np.ascontiguousarray(vectors_ND.T, dtype=np.float32))
    rows = [[list(taxon.lineage), taxon.common_name] for taxon in taxa]
    write_whole(folder / JSON, json.dumps(rows))  # the last one, which says that both are there
    return folder


def random_label_files(folder: Path, count: int, dimension: int = 512) -> Path:
    """Write label files with random unit vectors, for timings in which the answers do not matter."""
    if not (folder / JSON).exists():
        write_label_files(folder, invented_taxa(count), random_units(count, dimension))
    return folder


def random_units(rows: int, dimension: int, *, seed: int = 0) -> NDArray[np.float32]:
    """Return ``rows`` × ``dimension`` vectors of length 1 in random directions."""
    vectors = np.random.default_rng([22, seed]).standard_normal((rows, dimension), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def _parents(rng: np.random.Generator, count: int) -> list[NDArray[np.int64]]:
    """Return the number of each species' taxon at each of the seven ranks. A few parents have most of the children."""
    levels = [np.arange(count)]
    for mean in _CHILDREN.values():
        children = levels[0]
        size = int(children.max()) + 1
        wanted = max(1, round(size / mean))
        weights = rng.pareto(1.5, size=wanted) + 0.2
        drawn = np.concatenate([np.arange(wanted), rng.choice(wanted, size=size - wanted, p=weights / weights.sum())])
        levels.insert(0, np.sort(drawn)[children])
    return levels


def _names(rng: np.random.Generator, count: int, ending: str) -> list[str]:
    """Return ``count`` different names, each a number written in syllables."""
    base, digits = len(_SYLLABLES), 2
    while base**digits < 4 * count:
        digits += 1
    numbers = rng.permutation(base**digits)[:count] if base**digits < 10**7 else rng.permutation(4 * count)[:count]
    return [
        "".join(_SYLLABLES[number // base**d % base] for d in range(digits)).capitalize() + ending
        for number in numbers.tolist()
    ]
