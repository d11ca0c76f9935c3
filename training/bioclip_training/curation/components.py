"""Connected components of a graph as arrays, for groups of records."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def components(nodes: int, first_E: NDArray[np.int64], second_E: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the smallest node of each node's component.

    Smallest labels go along edges, and labels of labels are followed to their end after each round (Shiloach and Vishkin 1982), so
    that rounds grow with the logarithm of the longest chain.

    Args:
        nodes: number N of nodes, 0 to N-1.
        first_E: one end of each of E edges.
        second_E: the other end.
    """
    label_N = np.arange(nodes, dtype=np.int64)
    while len(first_E):
        one_E, other_E = label_N[first_E], label_N[second_E]
        is_open = one_E != other_E
        if not is_open.any():
            break
        first_E, second_E, one_E, other_E = first_E[is_open], second_E[is_open], one_E[is_open], other_E[is_open]
        low_E, high_E = np.minimum(one_E, other_E), np.maximum(one_E, other_E)
        np.minimum.at(label_N, high_E, low_E)  # the larger label is a root, or becomes one below
        while True:
            followed_N = label_N[label_N]
            if np.array_equal(followed_N, label_N):
                break
            label_N = followed_N
    return label_N
