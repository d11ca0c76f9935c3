"""Samples per second of our trainer beside open_clip's: ViT-B/32 from random weights, batches of 64, the reef fish as shards."""

from __future__ import annotations

import os

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import fixtures, train_peer
from benchmarks.pairs import Spread
from bioclip_core.device import choose_compute

BATCH = 64
STEPS = 1 if fixtures.QUICK else 3
PAIRS = 2 if fixtures.QUICK else 3

pytestmark = pytest.mark.skipif(
    "BIOCLIP_DATA" not in os.environ, reason="BIOCLIP_DATA is not set; it names the folder with the reef fish"
)


@pytest.mark.benchmark(group="training")
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_training(benchmark: BenchmarkFixture, precision: str) -> None:
    if precision == "bf16" and choose_compute("cpu").precision != "bf16":
        pytest.skip(
            "this processor cannot multiply in bf16: torch emulates it on both sides, many times slower than fp32"
        )
    start, shards, peers = train_peer.start_folder(), train_peer.our_shards(), train_peer.peer_shards()
    common = {"op": "train", "precision": precision, "steps": STEPS, "batch": BATCH}
    rounds: list[tuple[dict[str, float], dict[str, float]]] = []

    def pair() -> None:
        theirs = train_peer.ask_peer(weights=str(start / "open_clip_model.safetensors"), shards=peers, **common)
        rounds.append((train_peer.ask_ours(weights=str(start), shards=str(shards), **common), theirs))

    benchmark.pedantic(pair, rounds=PAIRS)  # type: ignore[no-untyped-call]
    ours, peer = ([both[side]["samples"] / both[side]["seconds"] for both in rounds] for side in (0, 1))
    processor = [theirs["processor_s"] / mine["processor_s"] for mine, theirs in rounds]
    benchmark.extra_info.update(
        title=f"ViT-B/32, batches of {BATCH}, {precision}",
        unit="samples/s",
        peer_name="open_clip 3.3's trainer",
        ours=Spread.of(ours).as_dict(),
        peer=Spread.of(peer).as_dict(),
        ratio=Spread.of([mine / theirs for mine, theirs in zip(ours, peer, strict=True)]).as_dict(),
        pairs=PAIRS,
        key=f"training-{precision}",
        mark=3.0 if precision == "bf16" else None,
        note=(
            f"the peer is open_clip 3.3's trainer with webdataset 0.2.86; {STEPS} steps per round after one that is not counted; "
            f"per step, the peer takes {Spread.of(processor).median:.2f} times our processor time, without its loading process"
        ),
    )


def test_the_loss_of_the_first_step_is_the_peers() -> None:
    start, batch = train_peer.start_folder(), train_peer.one_batch(BATCH)
    theirs = train_peer.ask_peer(op="loss", weights=str(start / "open_clip_model.safetensors"), batch=str(batch))
    ours = train_peer.ask_ours(op="loss", weights=str(start), batch=str(batch))
    assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-4)
