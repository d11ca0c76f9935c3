"""Batches on a GPU: buffers in turn, CUDA graphs, sizes from memory and failures, with a device that does its work late."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_gpu import FakeStreams, OutOfMemoryError
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bioclip_core.device import Compute
from bioclip_core.errors import ModelError
from bioclip_core.gpu import graphs
from bioclip_core.gpu.batch_room import MOST, images_that_fit
from bioclip_core.gpu.double_buffers import DoubleBuffers
from bioclip_core.gpu.graphs import GraphChoice
from bioclip_core.gpu.tower import device_errors
from bioclip_core.identity import CACHE_VARIABLE
from bioclip_core.models import find_model
from bioclip_core.open_clip_encoder import OpenClipEncoder

D = 3


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the rates of one test from deciding another one."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))


class Model:
    """The features of an image are its first pixel; each computation takes some time on a clock of its own."""

    def __init__(
        self, streams: FakeStreams, *, launch_s: float = 1.0, graph_s: float = 1.0, error: float = 0.0
    ) -> None:
        self.streams, self.launch_s, self.graph_s, self.error = streams, launch_s, graph_s, error
        self.now = 0.0
        self.sizes: list[int] = []

    def __call__(self, pixels_BHWC: torch.Tensor) -> torch.Tensor:
        self.streams.batch = len(pixels_BHWC)
        self.sizes.append(len(pixels_BHWC))
        self.now += self.graph_s if self.streams.is_repeating else self.launch_s
        off = self.error if self.streams.is_repeating else 0.0
        return (pixels_BHWC[:, 0, 0].float() / 256 + off).to(torch.float16)


def images(count: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 2, 2, 3), dtype=np.uint8)


def expected(images_BHWC: NDArray[np.uint8]) -> NDArray[np.float16]:
    return (images_BHWC[:, 0, 0].astype(np.float32) / 256).astype(np.float16)


def buffers(streams: FakeStreams, **named: Any) -> DoubleBuffers:
    return DoubleBuffers(streams, Model(streams), D, **named)


# -- buffers in turn ---------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)), max_size=5), st.integers(0, 1_000))
def test_features_are_those_of_their_images_in_whatever_order_the_device_works(
    calls: list[tuple[int, int]], seed: int
) -> None:
    encode = buffers(FakeStreams(seed))
    for number, (count, most) in enumerate(calls):
        given_images = images(count, number)
        np.testing.assert_array_equal(encode(given_images, most), expected(given_images))


def test_the_fake_gpu_shows_a_buffer_that_is_overwritten_before_it_was_copied() -> None:
    """Otherwise the tests above could not fail. On a GPU nothing reports it, and the features are those of other images."""
    streams = FakeStreams()
    pixels, on_device = streams.host((1,), torch.uint8), streams.device((1,), torch.uint8)
    pixels.fill_(1)
    copied = streams.copy(lambda: on_device.copy_(pixels))
    pixels.fill_(2)
    streams.wait(copied)
    assert on_device.tolist() == [2]


def test_the_next_batch_is_copied_and_queued_before_the_features_of_the_last_one_are_awaited() -> None:
    streams = FakeStreams()
    buffers(streams)(images(6), 2)
    assert streams.log == [
        "copy 0", "compute 0", "copy 1", "compute 1", "wait", "copy 2", "compute 2", "wait", "wait",
    ]  # fmt: skip


def test_threads_get_the_features_of_their_own_images_and_no_thread_waits_for_ever() -> None:
    encode, found = buffers(FakeStreams(3)), {}

    def work(number: int) -> None:
        for turn in range(20):
            batch = images(1 + (number + turn) % 5, seed=100 * number + turn)
            found[number, turn] = np.array_equal(encode(batch, 2), expected(batch))

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 80
    assert all(found.values())


def test_two_threads_keep_the_device_at_work_while_each_waits_for_its_batch() -> None:
    streams = FakeStreams()
    encode, first_waits, second_queued = buffers(streams), threading.Event(), threading.Event()
    wait = streams.wait

    def wait_for_the_other(mark: Any) -> None:
        if not first_waits.is_set():
            first_waits.set()
            assert second_queued.wait(60)
        wait(mark)

    streams.wait = wait_for_the_other  # type: ignore[method-assign]
    first = threading.Thread(target=encode, args=(images(2),), daemon=True)
    first.start()
    assert first_waits.wait(60)
    compute = streams.compute

    def queued(work: Callable[[], object], after: Any = None) -> Any:
        mark = compute(work, after)
        second_queued.set()
        return mark

    streams.compute = queued  # type: ignore[method-assign]
    np.testing.assert_array_equal(encode(images(3, 1)), expected(images(3, 1)))
    first.join(60)
    assert streams.log[:4] == ["copy 0", "compute 0", "copy 1", "compute 1"]


def test_a_batch_that_memory_does_not_suffice_for_leaves_the_buffers_to_smaller_ones() -> None:
    streams = FakeStreams()
    encode = buffers(streams)
    for _ in range(5):
        streams.most = 4
        with pytest.raises(OutOfMemoryError):
            encode(images(8))
        np.testing.assert_array_equal(encode(images(8), 4), expected(images(8)))


def test_an_error_in_the_middle_of_a_call_ends_it_when_the_device_has_let_go_of_all_buffers() -> None:
    streams = FakeStreams()
    calls = 0

    def way(_images: torch.Tensor, _after: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OutOfMemoryError("CUDA out of memory")
        return Model(streams)

    encode = buffers(streams, way=way)
    with pytest.raises(OutOfMemoryError):
        encode(images(6), 2)
    assert not any(streams._queues.values())
    np.testing.assert_array_equal(encode(images(6), 2), expected(images(6)))


# -- graphs ------------------------------------------------------------------------------------------------------------


def with_graphs(streams: FakeStreams, model: Model, monkeypatch: pytest.MonkeyPatch) -> DoubleBuffers:
    monkeypatch.setattr(graphs.time, "perf_counter", lambda: model.now)
    return DoubleBuffers(streams, model, D, GraphChoice(streams, model, {"weights_sha256": "1"}))


def encode_in_turn(encode: DoubleBuffers, *counts: int) -> None:
    for number, count in enumerate(counts):
        np.testing.assert_array_equal(encode(images(count, number)), expected(images(count, number)))


def test_a_graph_that_is_faster_is_used_from_the_third_batch_on_and_smaller_batches_are_padded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    streams = FakeStreams(1)
    model = Model(streams, graph_s=0.5)
    encode = with_graphs(streams, model, monkeypatch)
    encode_in_turn(encode, 8, 8)
    assert streams.captures == 0
    encode_in_turn(encode, 8, 8)
    assert [record.getMessage() for record in caplog.records] == [
        "Measured 8 images/s launch by launch and 16 with a CUDA graph, 8 at once"
    ]
    before, model.sizes = streams.repeats, []
    encode_in_turn(encode, 8, 5, 3, 7)
    assert streams.repeats == before + 3
    assert model.sizes == [8, 8, 3, 8]
    assert streams.captures == 1


def test_a_graph_that_is_not_faster_is_not_used_and_not_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = FakeStreams(2)
    encode_in_turn(with_graphs(streams, Model(streams, graph_s=0.97), monkeypatch), *[8] * 5)
    assert streams.captures == 1
    again = FakeStreams(2)
    encode_in_turn(with_graphs(again, Model(again, graph_s=0.1), monkeypatch), *[8] * 5)
    assert again.captures == 0
    other = FakeStreams(2)
    other.name = "another GPU"
    encode_in_turn(with_graphs(other, Model(other, graph_s=0.1), monkeypatch), *[8] * 5)
    assert other.captures == 1


def test_a_graph_that_was_faster_once_is_used_without_another_measurement(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        streams = FakeStreams()
        encode_in_turn(with_graphs(streams, Model(streams, graph_s=0.1), monkeypatch), *[8] * 3)
        caplog.set_level(logging.INFO)
        assert streams.captures == 1
    assert not caplog.records
    assert streams.repeats == 1


@pytest.mark.parametrize(
    "kept", ["[]", "{", '{"KEY": 3}', '{"KEY": {"graph": "fast"}}', '{"KEY": {"launches": 0, "graph": 1}}']
)
def test_kept_rates_that_are_none_are_measured_again(kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "settings_id", lambda _settings: "KEY")
    graphs._book().parent.mkdir(parents=True, exist_ok=True)
    graphs._book().write_text(kept, encoding="utf-8")
    streams = FakeStreams()
    encode_in_turn(with_graphs(streams, Model(streams, graph_s=0.1), monkeypatch), *[4] * 4)
    assert json.loads(graphs._book().read_text("utf-8")) == {"KEY": {"launches": 4.0, "graph": 40.0}}


def test_a_capture_that_another_library_breaks_costs_one_line_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        streams = FakeStreams()
        streams.capture_failure = RuntimeError(
            "CUDA error: operation failed due to a previous error during capture\nmore"
        )
        encode_in_turn(with_graphs(streams, Model(streams), monkeypatch), *[8] * 5)
    assert [record.getMessage() for record in caplog.records] == [
        "CUDA graphs are not used (CUDA error: operation failed due to a previous error during capture); batches are encoded "
        "without them"
    ]


def test_a_graph_without_memory_is_tried_again_by_the_next_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    streams = FakeStreams()
    streams.capture_failure = OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
    encode_in_turn(with_graphs(streams, Model(streams), monkeypatch), *[8] * 5)
    assert len(caplog.records) == streams.captures == 1
    again = FakeStreams()
    encode_in_turn(with_graphs(again, Model(again), monkeypatch), *[8] * 3)
    assert again.captures == 1


def test_a_device_that_fails_while_a_graph_is_tried_is_not_taken_for_one_without_graphs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    streams = FakeStreams()
    encode = with_graphs(streams, Model(streams), monkeypatch)
    encode_in_turn(encode, 8, 8)
    streams.failure = RuntimeError("CUDA error: an illegal memory access was encountered")
    with pytest.raises(RuntimeError, match="illegal memory access"):
        encode(images(8))
    assert not caplog.records
    assert not graphs._book().exists()


@pytest.mark.parametrize("error", [0.01, float("nan")])
def test_a_graph_with_other_features_is_not_used(
    error: float, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    streams = FakeStreams()
    encode_in_turn(with_graphs(streams, Model(streams, graph_s=0.1, error=error), monkeypatch), *[8] * 5)
    assert [record.getMessage() for record in caplog.records] == [
        "CUDA graphs are not used (they gave other features); batches are encoded without them"
    ]


def test_larger_batches_get_a_graph_of_their_own_and_a_graph_is_given_up_for_its_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    streams = FakeStreams()
    model = Model(streams, graph_s=0.1)
    monkeypatch.setattr(graphs.time, "perf_counter", lambda: model.now)
    choice = GraphChoice(streams, model, {})
    encode = DoubleBuffers(streams, model, D, choice)
    encode_in_turn(encode, *[4] * 4, *[8] * 4)
    assert streams.captures == 2
    before = streams.repeats
    choice.forget()
    encode_in_turn(encode, *[8] * 4, *[16] * 4)
    assert streams.repeats == before


# -- sizes from memory -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("free_bytes", "size"),
    [(1 << 40, MOST), (1 << 30, 256), (600 << 20, 256), (500 << 20, 128), (20 << 20, 8), (3 << 20, 1), (0, 1)],
)
def test_the_size_of_batches_is_a_power_of_two_that_half_of_the_free_memory_suffices_for(
    free_bytes: int, size: int
) -> None:
    streams = FakeStreams(free_bytes=free_bytes, image_bytes=1 << 20)
    encode = buffers(streams)
    assert images_that_fit(streams, lambda count: encode(images(count)), 12) == size


def test_a_device_without_room_for_the_probe_is_tried_with_one_image() -> None:
    streams = FakeStreams(free_bytes=8 << 20, image_bytes=1 << 20)
    encode = buffers(streams)
    streams.most = 4
    assert images_that_fit(streams, lambda count: encode(images(count)), 12) == 2
    streams.most = 0
    assert images_that_fit(streams, lambda count: encode(images(count)), 12) == 1


# -- the encoder -------------------------------------------------------------------------------------------------------


def opened(folder: Path, streams: FakeStreams | None, monkeypatch: pytest.MonkeyPatch) -> OpenClipEncoder:
    monkeypatch.setattr("bioclip_core.open_clip_encoder.streams_on", lambda _device: streams)
    return OpenClipEncoder(find_model(f"local-dir:{folder}", {}), Compute("cpu", "fp32", "test"))


def test_an_open_clip_model_has_the_same_features_through_the_queues_of_a_device(
    clip_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    plain = opened(clip_folder, None, monkeypatch)
    assert (plain.calls_at_once, plain.best_batch) == (1, None)
    streams = FakeStreams(free_bytes=32 << 20)
    streams.batch = 8
    queued = opened(clip_folder, streams, monkeypatch)
    assert (queued.calls_at_once, queued.best_batch) == (2, 8)
    for _ in range(4):
        found = queued.encode_images(pixels)
        np.testing.assert_allclose(found.astype(np.float32), plain.encode_images(pixels).astype(np.float32), atol=1e-3)
    assert queued.encode_images(pixels[:0]).shape == (0, queued.dimension)
    assert streams.captures == 1


def test_a_gpu_whose_driver_fails_ends_the_run_with_one_line(
    clip_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = FakeStreams()
    encoder = opened(clip_folder, streams, monkeypatch)
    monkeypatch.setattr(encoder._gpu, "_device", "cuda")
    streams.failure = RuntimeError(
        "CUDA error: unspecified launch failure\nCompile with `TORCH_USE_CUDA_DSA` to enable …"
    )
    with pytest.raises(ModelError, match=r"on cuda: it failed .CUDA error: unspecified launch failure") as raised:
        encoder.encode_images(np.zeros((2, 32, 32, 3), np.uint8))
    assert "\n" not in str(raised.value)
    assert "--device cpu" in str(raised.value)


def test_errors_of_memory_stay_as_they_are_but_while_the_weights_are_copied() -> None:
    with pytest.raises(OutOfMemoryError), device_errors("model", "cuda"):
        raise OutOfMemoryError("CUDA out of memory")
    with (
        pytest.raises(ModelError, match="its memory does not suffice for the weights"),
        device_errors("model", "cuda", opening=True),
    ):
        raise OutOfMemoryError("CUDA out of memory")
    with pytest.raises(RuntimeError, match=r"^of the CPU$"), device_errors("model", "cpu", opening=True):
        raise RuntimeError("of the CPU")
