"""Model input to features: ViT-B/16 at 224 px, in each runtime and precision, beside pybioclip and plain open_clip in fp32."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import fixtures, ours
from benchmarks.pairs import beside_peer, in_turn, pair_figures, timed
from benchmarks.peer import Peer
from bioclip_core.device import Compute, checked_precision
from bioclip_core.encoder import Encoder
from bioclip_core.open_clip_encoder import open_encoder

BATCH = 8
"""Images per round of the ways beside each other: with 16 a round of all ways would take a minute on two cores."""
PAIRS = 2
WAYS = (("torch", "fp32"), ("torch", "bf16"), ("openvino", "fp32"), ("openvino", "bf16"), ("openvino", "int8"))
PLAIN = "plain open_clip, fp32"

Images = NDArray[np.uint8]


@pytest.mark.benchmark(group="encode")
@pytest.mark.parametrize("batch", [1, 16])
def test_encode(benchmark: BenchmarkFixture, peer: Peer, batch: int) -> None:
    compute, encoder = ours.default_encoder()
    images_BHWC = _noise(batch)
    benchmark.extra_info.update(
        title=f"batch of {batch}, {compute.precision}, {compute.runtime}", key=f"encode-{batch}"
    )
    beside_peer(
        benchmark,
        prepare=lambda: images_BHWC,
        ours=encoder.encode_images,
        peer=lambda _images: float(peer.call("encode", batch=batch)["seconds"]),
        ours_items=batch,
        pairs=fixtures.WORKLOAD.pairs,
        note=f"ours on {compute.described()}; pybioclip in fp32" if batch > 1 else "",
    )


@pytest.fixture(scope="module")
def rounds() -> Callable[[], dict[str, list[float]]]:
    """Seconds of each way and of plain open_clip, all in turn, measured once."""
    found: dict[str, list[float]] = {}

    def measured() -> dict[str, list[float]]:
        if not found:
            sides = {PLAIN: timed(_plain_open_clip())}
            for runtime, precision in WAYS:
                if not ours.why_not(runtime, precision):
                    sides[f"{runtime}-{precision}"] = timed(_opened(runtime, precision).encode_images)
            found.update(in_turn(sides, prepare=lambda: _noise(BATCH), pairs=PAIRS))
        return found

    return measured


@pytest.mark.benchmark(group="encode")
@pytest.mark.parametrize(("runtime", "precision"), WAYS)
def test_ways_to_encode(
    benchmark: BenchmarkFixture, rounds: Callable[[], dict[str, list[float]]], runtime: str, precision: str
) -> None:
    if reason := ours.why_not(runtime, precision):
        pytest.skip(reason)
    seconds = benchmark.pedantic(rounds, rounds=1)  # type: ignore[no-untyped-call]
    way = f"{runtime}-{precision}"
    benchmark.extra_info.update(
        title=f"batch of {BATCH}, {precision}, {runtime}",
        key=f"encode-{way}",
        peer_name=PLAIN,
        unit="images/s",
        **pair_figures(seconds[way], seconds[PLAIN], BATCH, BATCH),
    )


def _noise(count: int) -> Images:
    return np.random.default_rng(1).integers(0, 256, size=(count, 224, 224, 3), dtype=np.uint8)


def _opened(runtime: str, precision: str) -> Encoder:
    if precision == "int8":
        return ours.int8_encoder()
    compute = Compute(
        "cpu", checked_precision(precision), "benchmark", "openvino" if runtime == "openvino" else "torch"
    )
    return open_encoder(ours.found_model(), compute)


def _plain_open_clip() -> Callable[[Images], object]:
    """Return open_clip's own model in fp32 on prepared pixels, as its documentation uses it."""
    import open_clip
    import torch

    model, _, _ = open_clip.create_model_and_transforms(ours.model_name())
    model.eval()

    def encode(images_BHWC: Images) -> object:
        with torch.inference_mode():
            pixels_BCHW = torch.from_numpy(images_BHWC).permute(0, 3, 1, 2).float().div(255)
            features_BD = model.encode_image(pixels_BCHW)
            return features_BD / features_BD.norm(dim=-1, keepdim=True)

    return encode
