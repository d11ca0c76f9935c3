"""Map of a feature space in two dimensions (t-SNE), for pictures: distances between clusters on it mean nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import UsageError
from bioclip_core.process.quiet import importing, quiet

PERPLEXITY = 30.0
MOST_POINTS = 3_000
"""Points of a map; of more, a caller draws some."""
_FEWEST = 4


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
