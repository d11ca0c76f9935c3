"""Maps of images and of species in two dimensions (t-SNE), coloured by their clades: distances between clusters mean nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import UsageError
from bioclip_core.process.quiet import importing, quiet
from bioclip_core.taxonomy import RANKS, Rank
from bioclip_training.analysis.pictures import Picture, finished
from bioclip_training.analysis.space import Space
from bioclip_training.evaluation.plots import new_figure, short_label

PERPLEXITY = 30.0
MOST_POINTS = 3_000
"""Points of a map; of more, a caller draws some."""
_FEWEST = 4
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#000000")
"""Colours that stay apart for colour-blind readers (Okabe and Ito 2008)."""
_MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
_OTHERS = "#b4b8bc"
_FEWEST_POINTS = 8
_MANY_POINTS = 500


def maps_of(space: Space, ranks: Sequence[Rank], seed: int) -> Iterator[Picture]:
    """Yield a map of the species and one of the images for each rank; of many images, evenly spread ones.

    Args:
        space: the images.
        ranks: ranks whose clades have colours.
        seed: seed of t-SNE.
    """
    places = np.unique(np.linspace(0, len(space) - 1, min(len(space), MOST_POINTS)).astype(np.int64))
    some = np.unique(np.linspace(0, len(space.taxa) - 1, min(len(space.taxa), MOST_POINTS)).astype(np.int64))
    for kind, points_PD, species_P in (
        ("species", space.prototypes_TD[some], some),
        ("images", space.features_ND[places], space.species_N[places]),
    ):
        if len(points_PD) < _FEWEST_POINTS or not ranks or not np.ptp(points_PD, axis=0).any():
            continue
        coordinates_P2, perplexity = tsne(points_PD, seed=seed)
        for rank in ranks:
            if (drawn := _map(space, coordinates_P2, species_P, kind, rank, perplexity)) is not None:
                yield drawn


def ranks_shown(space: Space, asked: Sequence[str]) -> list[Rank]:
    """Return the ranks of the maps: those that were asked for, or each that puts the species into several clades."""
    if asked:
        return [Rank(rank) for rank in asked]
    count_of = {rank: len({taxon.name_at(rank) for taxon in space.taxa} - {""}) for rank in RANKS[:-1]}
    return [rank for rank, count in count_of.items() if 1 < count < len(space.taxa)]


def _map(
    space: Space, points_P2: NDArray[np.float64], species_P: NDArray[np.int64], kind: str, rank: Rank, perplexity: float
) -> Picture | None:
    """Draw a map whose points have the colour and mark of their clade at a rank; of many clades, the largest eight."""
    name_of = [space.taxa[species].name_at(rank) or "no name" for species in species_P.tolist()]
    largest = [
        name for name, _ in sorted(Counter(name_of).items(), key=lambda item: (-item[1], item[0]))[: len(_COLOURS)]
    ]
    names = np.array(name_of)
    if len(set(name_of)) < 2:
        return None
    figure, axes = new_figure(6.4, 5.4)
    size = 12 if len(points_P2) > _MANY_POINTS else 28
    others = ~np.isin(names, largest)
    if others.any():
        count = len(set(names[others].tolist()))
        _scatter(axes, points_P2[others], s=size, color=_OTHERS, marker=".", label=f"{count} others")
    for name, colour, mark in zip(largest, _COLOURS, _MARKS, strict=False):
        look = {"color": colour, "marker": mark, "label": short_label(name), "edgecolors": "white"}
        _scatter(axes, points_P2[names == name], s=size, **look)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[["left", "bottom"]].set_visible(False)
    what = "Images" if kind == "images" else "Species"
    title = f"{what} by {rank.value} (t-SNE, perplexity {perplexity:.0f}: only who is near whom has a meaning)"
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return finished(figure, f"map_{kind}_{rank.value}", title)


def _scatter(axes: Any, points_P2: NDArray[np.float64], **look: Any) -> None:
    axes.scatter(points_P2[:, 0], points_P2[:, 1], linewidths=0.3, **look)


def tsne(
    points_PD: NDArray[np.float64], *, perplexity: float = PERPLEXITY, seed: int = 0
) -> tuple[NDArray[np.float64], float]:
    """Return P×2 coordinates by t-SNE (van der Maaten and Hinton 2008) of cosine distances, and the perplexity that was used.

    It starts from the first two principal components, so that the layout depends on the seed little. A perplexity of a third of
    the points or more has no meaning (scikit-learn refuses one of all points), and is lowered to that.

    Raises:
        UsageError: for fewer than four points, or points that are all equal or not numbers.
    """
    points = np.asarray(points_PD, dtype=np.float64)
    if len(points) < _FEWEST or not np.isfinite(points).all() or not np.ptp(points, axis=0).any():
        raise UsageError(f"{len(points)} points: a map needs at least {_FEWEST} that are numbers and not all equal")
    with importing():
        from sklearn.decomposition import PCA
        from sklearn.manifold import TSNE

    used = float(min(perplexity, max(1.0, (len(points) - 1) / 3)))
    unit = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    with quiet():
        start = PCA(2, svd_solver="full").fit_transform(unit)
        start = start / max(float(start[:, 0].std()), 1e-12) * 1e-4  # as scikit-learn scales its own
        found = TSNE(2, perplexity=used, init=start, random_state=seed, learning_rate="auto").fit_transform(unit)
    return np.asarray(found, dtype=np.float64), used
