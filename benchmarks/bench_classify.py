"""Features to names: the best five species or genera over 1,000 to 400,000 labels, beside pybioclip.

Peaked features are near a label each, as those of a trained model are: few labels hold all of the probability. Flat ones are near
none: every label must be computed exactly.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import fixtures, ours, taxa
from benchmarks.pairs import beside_peer
from benchmarks.peer import Peer
from bioclip_core.classify import Classifier

ROWS = 64  # features per round and side: the pipeline classifies in groups of at least this size
PEER_GENUS_ROWS = 2  # at genus rank pybioclip loops over labels in Python: seconds per row
NEAR = 0.8  # cosine of a peaked feature and its label


@pytest.mark.benchmark(group="classify")
@pytest.mark.parametrize("rows", [ROWS])
@pytest.mark.parametrize(("rank", "shape"), [("species", "peaked"), ("species", "flat"), ("genus", "flat")])
@pytest.mark.parametrize("count", fixtures.LABEL_COUNTS)
def test_classify(
    benchmark: BenchmarkFixture, peer: Peer, tmp_path: Path, count: int, rank: str, shape: str, rows: int
) -> None:
    files = fixtures.label_files(count)
    classifier = ours.classifier(files)
    features_BD = made_features(classifier, shape, rows)
    peer_rows = rows if rank == "species" or count == 1_000 else PEER_GENUS_ROWS
    stored = tmp_path / "features.npy"
    np.save(stored, features_BD[:peer_rows].astype(np.float32))
    peer.use_labels(files)
    above = 0

    def of_peer(_features: object) -> float:
        nonlocal above
        reply = peer.call("reduce", features=str(stored), rank=rank)
        above = reply["above_min_prob"]
        return float(reply["seconds"])

    title = f"{count:,} labels, {rank}"
    benchmark.extra_info["title"] = title if rank == "genus" else f"{title}, {shape}"
    beside_peer(
        benchmark,
        prepare=lambda: features_BD,
        ours=lambda features: classifier.classify(features, rank=rank),
        peer=of_peer,
        ours_items=rows,
        peer_items=peer_rows,
        pairs=fixtures.WORKLOAD.pairs,
        unit="rows/s",
    )
    if rank == "genus":
        benchmark.extra_info["note"] = (
            f"pybioclip adds up {above:,} labels per row here (those above its threshold of 1e-9) one by one; ours gives every rank at once"
        )


def made_features(classifier: Classifier, shape: str, rows: int) -> NDArray[np.float16]:
    """Return random features, each near a label of its own if they are to be peaked."""
    features_BD = taxa.random_units(rows, fixtures.DIMENSION, seed=5)
    if shape == "peaked":
        chosen = np.random.default_rng(6).integers(0, len(classifier.labels), rows)
        near_BD = np.asarray(classifier.labels.embeddings_ND[chosen], dtype=np.float32)
        features_BD = NEAR * near_BD + (1 - NEAR**2) ** 0.5 * features_BD
        features_BD /= np.linalg.norm(features_BD, axis=1, keepdims=True)
    return features_BD.astype(np.float16)
