"""Images of several clients in front of one model that is held back by a gate."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import wait
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from serving_samples import jpeg

from bioclip_plugin import Session
from bioclip_plugin.items.media import MediaItem
from bioclip_plugin.serving.batching import Batcher
from bioclip_plugin.serving.metrics import Metrics
from bioclip_plugin.serving.problems import Problem

PATIENCE_S = 30.0


class Gated:
    """An encoder that waits at a gate, notes the size of each batch, and fails for batches with a marked image."""

    def __init__(self, encoder: Any) -> None:
        self._encoder = encoder
        self.gate, self.is_at_work = threading.Event(), threading.Event()
        self.batches: list[int] = []
        self.fails = 0
        """Batches of at least this size fail; 0: none."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def encode_images(self, images_BHWC: NDArray[np.uint8]) -> NDArray[np.float16]:
        self.is_at_work.set()
        assert self.gate.wait(PATIENCE_S)
        self.batches.append(len(images_BHWC))
        if self.fails and len(images_BHWC) >= self.fails:
            raise RuntimeError("a fault of the device")
        features: NDArray[np.float16] = self._encoder.encode_images(images_BHWC)
        return features


@pytest.fixture
def gated(session: Session) -> Iterator[Gated]:
    plain = session.engine.encoder
    made = Gated(plain)
    session.engine.use_encoder(made)
    yield made
    made.gate.set()
    session.engine.use_encoder(plain)


@pytest.fixture
def batcher(session: Session, gated: Gated) -> Iterator[Batcher]:
    made = Batcher(session.engine, Metrics(), most_waiting=12)
    yield made
    gated.gate.set()
    assert made.close(PATIENCE_S)


def items(*seeds: int) -> list[MediaItem]:
    return [MediaItem(f"upload:{seed}", data=jpeg(seed)) for seed in seeds]


def until_read(batcher: Batcher, count: int) -> None:
    """Wait until so many images are decoded and wait for the encoder."""
    with batcher._changed:
        assert batcher._changed.wait_for(lambda: sum(map(len, batcher._lanes.values())) == count, PATIENCE_S)


def test_what_waits_while_the_model_is_busy_is_one_batch_and_interactive_images_come_first(
    batcher: Batcher, gated: Gated, session: Session
) -> None:
    (first,) = batcher.submit(items(0))
    assert gated.is_at_work.wait(PATIENCE_S)
    bulk = batcher.submit(items(1, 2, 3), lane="bulk")
    until_read(batcher, 3)
    quick = batcher.submit(items(4))
    until_read(batcher, 4)
    with batcher._changed:
        batch = [work.task.item.uri for lane in batcher._lanes.values() for work in lane]
    assert (batch[0], sorted(batch)) == ("upload:4", ["upload:1", "upload:2", "upload:3", "upload:4"])
    gated.gate.set()
    wait([first, *bulk, *quick], PATIENCE_S)
    assert gated.batches == [1, 4]
    for seed, future in zip((0, 1, 2, 3, 4), [first, *bulk, *quick], strict=True):
        best, alone = future.result().answer.best, session.classify(jpeg(seed)).best
        assert best is not None
        assert alone is not None
        assert best.name == alone.name


def test_cancelled_images_never_reach_the_model(batcher: Batcher, gated: Gated) -> None:
    first = batcher.submit(items(0))
    assert gated.is_at_work.wait(PATIENCE_S)
    others = batcher.submit(items(1, 2))
    until_read(batcher, 2)
    assert others[0].cancel()
    gated.gate.set()
    wait([*first, others[1]], PATIENCE_S)
    assert gated.batches == [1, 1]
    assert batcher.waiting == 0


def test_a_full_queue_asks_to_come_again(batcher: Batcher, gated: Gated) -> None:
    held = batcher.submit(items(*range(10)), lane="bulk")
    with pytest.raises(Problem) as refused:
        batcher.submit(items(*range(10, 13)))
    assert refused.value.status == 503
    assert 1 <= int(refused.value.headers["Retry-After"]) <= 60
    gated.gate.set()
    wait(held, PATIENCE_S)
    assert all(future.result().answer.failure is None for future in held)
    with pytest.raises(Problem):  # never possible, whatever waits
        batcher.submit(items(*range(13)))


def test_a_batch_that_fails_as_a_whole_is_tried_image_by_image(batcher: Batcher, gated: Gated) -> None:
    first = batcher.submit(items(0))
    assert gated.is_at_work.wait(PATIENCE_S)
    others = batcher.submit(items(1, 2, 2))
    until_read(batcher, 3)
    gated.fails = 2
    gated.gate.set()
    wait([*first, *others], PATIENCE_S)
    assert [future.result().answer.failure for future in others] == [None] * 3
    gated.fails = 1
    (alone,) = batcher.submit(items(5))
    assert isinstance(alone.exception(PATIENCE_S), Problem)
    assert "a fault of the device" not in str(alone.exception())  # which the log has


def test_the_end_answers_what_is_on_its_way_and_takes_nothing_more(batcher: Batcher, gated: Gated) -> None:
    first = batcher.submit(items(0))
    assert gated.is_at_work.wait(PATIENCE_S)
    second = batcher.submit(items(1), lane="bulk")
    assert not batcher.end(0.05)
    for future in (*first, *second):
        error = future.exception(PATIENCE_S)
        assert isinstance(error, Problem)
        assert error.status == 503
    with pytest.raises(Problem, match="ending"):
        batcher.submit(items(2))


def test_images_with_equal_bytes_are_encoded_once(batcher: Batcher, gated: Gated) -> None:
    first = batcher.submit(items(0))
    assert gated.is_at_work.wait(PATIENCE_S)
    same = batcher.submit(items(7, 7, 7))
    until_read(batcher, 3)
    gated.gate.set()
    wait([*first, *same], PATIENCE_S)
    assert gated.batches == [1, 1]
    assert len({future.result().answer.best for future in same}) == 1
