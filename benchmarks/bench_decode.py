"""JPEG file to model input: our reduced decoding (the default) and full decoding, beside pybioclip."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import fixtures, ours
from benchmarks.pairs import beside_peer
from benchmarks.peer import Peer
from bioclip_core.images.decoding import decode_regions, read_bytes

SIZES = {"500×375": fixtures.small_photos, "12 MP": fixtures.large_photos}


@pytest.mark.benchmark(group="decode")
@pytest.mark.parametrize("exact", [False, True], ids=["reduced", "full"])
@pytest.mark.parametrize("size", SIZES)
def test_decode(benchmark: BenchmarkFixture, peer: Peer, size: str, exact: bool) -> None:
    paths = SIZES[size]()
    contract = ours.preprocessing(exact=exact)

    def decode(files: Sequence[Path]) -> None:
        for file in files:
            decode_regions(read_bytes(file), [None], contract)

    benchmark.extra_info["title"] = f"{size}, {'full decode (--exact)' if exact else 'default'}, one thread"
    beside_peer(
        benchmark,
        prepare=lambda: paths,
        ours=decode,
        peer=lambda files: float(peer.call("decode", images=[str(file) for file in files])["seconds"]),
        ours_items=len(paths),
        pairs=fixtures.WORKLOAD.pairs,
    )
