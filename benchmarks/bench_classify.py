"""Features to names: the best five species or genera over 1,000 to 400,000 labels, beside pybioclip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import fixtures, ours, taxa
from benchmarks.pairs import beside_peer
from benchmarks.peer import Peer

ROWS = 16  # features per round: our batch on a CPU
PEER_GENUS_ROWS = 2  # at genus rank pybioclip loops over labels in Python: seconds per row


@pytest.mark.benchmark(group="classify")
@pytest.mark.parametrize("rank", ["species", "genus"])
@pytest.mark.parametrize("count", fixtures.LABEL_COUNTS)
def test_classify(benchmark: BenchmarkFixture, peer: Peer, tmp_path: Path, count: int, rank: str) -> None:
    files = fixtures.label_files(count)
    classifier = ours.classifier(files)
    features_BD = taxa.random_units(ROWS, fixtures.DIMENSION, seed=5).astype(np.float16)
    peer_rows = ROWS if rank == "species" or count == 1_000 else PEER_GENUS_ROWS
    stored = tmp_path / "features.npy"
    np.save(stored, features_BD[:peer_rows].astype(np.float32))
    peer.use_labels(files)
    above = 0

    def of_peer(_features: object) -> float:
        nonlocal above
        reply = peer.call("reduce", features=str(stored), rank=rank)
        above = reply["above_min_prob"]
        return float(reply["seconds"])

    benchmark.extra_info["title"] = f"{count:,} labels, {rank}"
    beside_peer(
        benchmark,
        prepare=lambda: features_BD,
        ours=lambda features: classifier.classify(features, rank=rank),
        peer=of_peer,
        ours_items=ROWS,
        peer_items=peer_rows,
        pairs=fixtures.WORKLOAD.pairs,
        unit="rows/s",
    )
    if rank == "genus":
        benchmark.extra_info["note"] = (
            f"pybioclip adds up {above:,} labels per row here (those above its threshold of 1e-9) one by one; ours gives every rank at once"
        )
