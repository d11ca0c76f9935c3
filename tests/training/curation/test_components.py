"""Connected components against a plain search."""

from __future__ import annotations

import random

import numpy as np
import pytest

from bioclip_training.curation.components import components


def searched(nodes: int, edges: list[tuple[int, int]]) -> list[int]:
    near: dict[int, set[int]] = {node: {node} for node in range(nodes)}
    for one, other in edges:
        near[one].add(other)
        near[other].add(one)
    smallest = [-1] * nodes
    for start in range(nodes):
        waiting = [start] if smallest[start] < 0 else []
        while waiting:
            node = waiting.pop()
            if smallest[node] < 0:
                smallest[node] = start
                waiting += near[node]
    return smallest


def found(nodes: int, edges: list[tuple[int, int]]) -> list[int]:
    ends = np.array(edges, dtype=np.int64).reshape(-1, 2)
    return components(nodes, ends[:, 0], ends[:, 1]).tolist()


@pytest.mark.parametrize("seed", range(30))
def test_components_of_random_graphs_are_those_of_a_search(seed: int) -> None:
    draw = random.Random(seed)
    nodes = draw.randint(1, 60)
    edges = [(draw.randrange(nodes), draw.randrange(nodes)) for _ in range(draw.randint(0, 2 * nodes))]
    assert found(nodes, edges) == searched(nodes, edges)


def test_a_chain_in_any_order_is_one_component() -> None:
    edges = [(n, n + 1) for n in range(2000)]
    random.Random(1).shuffle(edges)
    assert set(found(2001, edges)) == {0}


def test_nodes_without_an_edge_are_components_of_their_own() -> None:
    assert found(3, []) == [0, 1, 2]
    assert found(0, []) == []
