"""Model input to features: ViT-B/16 at 224 px, beside pybioclip."""

from __future__ import annotations

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import fixtures, ours
from benchmarks.pairs import beside_peer
from benchmarks.peer import Peer
from bioclip_core.device import choose_compute


@pytest.mark.benchmark(group="encode")
@pytest.mark.parametrize("batch", [1, 16])
def test_encode(benchmark: BenchmarkFixture, peer: Peer, batch: int) -> None:
    encoder = ours.encoder()
    images_BHWC = np.random.default_rng(1).integers(0, 256, size=(batch, 224, 224, 3), dtype=np.uint8)
    compute = choose_compute()
    benchmark.extra_info["title"] = f"batch of {batch}, {compute.precision}"
    beside_peer(
        benchmark,
        prepare=lambda: images_BHWC,
        ours=encoder.encode_images,
        peer=lambda _images: float(peer.call("encode", batch=batch)["seconds"]),
        ours_items=batch,
        pairs=fixtures.WORKLOAD.pairs,
        note=f"ours on {compute.described()}; pybioclip in fp32" if batch > 1 else "",
    )
