"""JPEG file to model input: our reduced decoding (the default) and full decoding beside pybioclip, a region beside Pillow at full size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import fixtures, ours
from benchmarks.pairs import beside_peer, timed
from benchmarks.peer import Peer
from bioclip_core.images.decoding import decode_regions, read_bytes

ANIMAL = (0.4, 0.4, 0.1, 0.1)
"""A box as a detector of camera traps finds it."""


@pytest.mark.benchmark(group="decode")
@pytest.mark.parametrize("exact", [False, True], ids=["reduced", "full"])
@pytest.mark.parametrize("size", fixtures.PHOTOS)
def test_decode(benchmark: BenchmarkFixture, peer: Peer, size: str, exact: bool) -> None:
    paths = fixtures.PHOTOS[size]()
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


@pytest.mark.benchmark(group="decode")
@pytest.mark.parametrize("size", ["12 MP"])
def test_region(benchmark: BenchmarkFixture, size: str) -> None:
    paths, contract = fixtures.PHOTOS[size](), ours.preprocessing()

    def ours_side(files: Sequence[Path]) -> None:
        for file in files:
            decode_regions(read_bytes(file), [ANIMAL], contract)

    def pillow(files: Sequence[Path]) -> None:
        for file in files:
            with Image.open(file) as image:
                x, y, w, h = (round(part * side) for part, side in zip(ANIMAL, image.size * 2, strict=True))
                image.convert("RGB").crop((x, y, x + w, y + h)).resize((contract.size, contract.size))

    benchmark.extra_info["title"] = f"{size}, a region of a tenth of each side, one thread, beside Pillow at full size"
    beside_peer(
        benchmark,
        prepare=lambda: paths,
        ours=ours_side,
        peer=timed(pillow),
        ours_items=len(paths),
        pairs=fixtures.WORKLOAD.pairs,
    )
