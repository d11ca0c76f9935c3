"""The encoder's stage: it works beside all others, goes on behind a slow image, and halves its batch when memory runs out."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from bioclip_core.device import Compute
from bioclip_core.errors import BioclipError
from bioclip_core.models import ModelEntry
from bioclip_core.process.memory_errors import is_out_of_memory
from bioclip_plugin import MediaItem, Session, create_plugin_manager
from bioclip_plugin.hookspecs import hookimpl
from bioclip_plugin.items.answers import Answer
from bioclip_plugin.running.batches import BatchSizes, best_size, sizes_for
from bioclip_plugin.running.clock import ENCODE, StageClock
from bioclip_plugin.running.line import Line
from bioclip_plugin.running.tasks import RegionWork, Task
from bioclip_plugin.testing import FakeEncoder

LABELS = ("a red fish", "a green fish", "a blue fish")


class OutOfMemoryError(RuntimeError):
    """Named as torch's own error of a device is."""


class Limited(FakeEncoder):
    """An encoder on a device with room for a few images, and one that takes its time without the processor."""

    def __init__(
        self, most: int = 1_000, error: Callable[[], BaseException] = MemoryError, seconds: float = 0.0
    ) -> None:
        super().__init__("limited", logit_scale=10.0)
        self.most, self.error, self.seconds = most, error, seconds
        self.sizes: list[int] = []
        self.threads: set[str] = set()

    def encode_images(self, images_BHWC: NDArray[np.uint8]) -> NDArray[np.float16]:
        self.sizes.append(len(images_BHWC))
        self.threads.add(threading.current_thread().name)
        time.sleep(self.seconds)
        if len(images_BHWC) > self.most:
            raise self.error()
        return super().encode_images(images_BHWC)


def session(encoder: FakeEncoder, store: Path | None = None, **options: Any) -> Session:
    class Plugin:
        @hookimpl
        def register_models(self, register: Callable[[ModelEntry], None]) -> None:
            pinned = {"size": 8, "resize_mode": "squash"}
            register(
                ModelEntry(
                    "limited", "limited", "", preprocessing=pinned, open_encoder=lambda _compute: encoder, dimension=3
                )
            )

    manager = create_plugin_manager(installed=False)
    manager.register(Plugin())
    return Session(model="limited", labels=LABELS, store=store, plugins=manager, **{"workers": 2, **options})


def item(n: int) -> MediaItem:
    return MediaItem(f"red/{n}", image=Image.new("RGB", (8, 8), (255 - n % 200, n // 200, 0)))


def uris(answers: Iterator[Answer]) -> list[str]:
    found = list(answers)
    assert [answer.failure for answer in found] == [None] * len(found)
    return [answer.item.uri for answer in found]


ERRORS: dict[str, Callable[[], BaseException]] = {
    "torch's own": lambda: OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    "torch before 1.13": lambda: RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB (GPU 0)"),
    "torch's on the CPU": lambda: RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    "mps": lambda: RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GiB)"),
    "cuBLAS": lambda: RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    "Python's": MemoryError,
}


@pytest.mark.parametrize(
    ("name", "most", "failed"),
    [("torch's own", 3, [16, 8, 4]), ("torch's own", 1, [16, 8, 4, 2]), *((name, 3, [4]) for name in list(ERRORS)[1:])],
)
def test_memory_that_runs_out_halves_the_batch_and_loses_no_image(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, most: int, failed: list[int]
) -> None:
    encoder, batch = Limited(most, ERRORS[name]), failed[0]
    with session(encoder, tmp_path / "r.db", batch_size=batch) as s:
        assert uris(s.classify_stream(item(n) for n in range(20))) == [f"red/{n}" for n in range(20)]
        assert s.engine.batch_size == failed[-1] // 2
        assert uris(s.classify_stream(item(n) for n in range(20, 25))) == [f"red/{n}" for n in range(20, 25)]
        assert s.store is not None
        assert s.store.verify(s.store.run()).problems == []
    assert encoder.images_encoded == 25
    assert [size for size in encoder.sizes if size > most] == failed
    said = [record.getMessage() for record in caplog.records if "memory" in record.getMessage()]
    assert len(said) == 1
    assert said[0].startswith(
        f"the memory of the device did not suffice for {batch} images at once; encoding goes on with {failed[-1] // 2}"
    )


def test_an_encoder_without_memory_for_one_image_ends_the_run_with_the_way_out(tmp_path: Path) -> None:
    with (
        session(Limited(0), tmp_path / "r.db", batch_size=4) as s,
        pytest.raises(BioclipError, match="out of memory with one image at a time"),
    ):
        list(s.classify_stream(item(n) for n in range(5)))


def test_an_error_that_only_looks_like_one_of_memory_is_not_retried(tmp_path: Path) -> None:
    encoder = Limited(0, lambda: ValueError("out of memory was the title of the song"))
    with session(encoder, tmp_path / "r.db", batch_size=4) as s:
        answers = list(s.classify_stream(item(n) for n in range(4)))
    assert all(answer.failure is not None and answer.failure.stage == "encode" for answer in answers)
    assert encoder.sizes == [4]


def test_an_error_of_memory_is_known_through_the_errors_that_it_was_raised_from() -> None:
    wrapped = ValueError("wrapped")
    wrapped.__cause__ = OutOfMemoryError()
    assert is_out_of_memory(wrapped)
    assert not is_out_of_memory(KeyError("out of memory"))


def test_the_encoder_works_while_the_caller_is_busy_with_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    from bioclip_plugin.running.reading import Reader

    encoder, read, encode = Limited(), Reader.read, Limited.encode_images
    reads, has_read, answered = itertools.count(1), threading.Event(), threading.Event()

    def counted(self: Reader, item: MediaItem, *others: Any) -> Any:
        try:
            return read(self, item, *others)
        finally:
            if next(reads) == 8:
                has_read.set()

    def in_step(self: Limited, images_BHWC: NDArray[np.uint8]) -> NDArray[np.float16]:
        assert has_read.wait(60)  # so that images for further batches are there, however busy the machine is
        if self.images_encoded >= 4:
            assert answered.wait(60)
        return encode(self, images_BHWC)

    monkeypatch.setattr(Reader, "read", counted)
    monkeypatch.setattr(Limited, "encode_images", in_step)
    with session(encoder, batch_size=2) as s:
        stream = s.classify_stream(item(n) for n in range(40))
        next(stream)
        answered.set()  # and the caller asks for nothing more
        until = time.monotonic() + 60
        while encoder.images_encoded < 6 and time.monotonic() < until:
            time.sleep(0.01)
        assert encoder.images_encoded >= 6
        stream.close()
    assert {name.rsplit("_", 1)[0] for name in encoder.threads} == {"bioclip-encode"}


def test_images_behind_one_that_takes_long_are_encoded_before_it_and_answered_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from bioclip_plugin.running.reading import Reader

    encoder, released = Limited(), threading.Event()
    read = Reader.read

    def slow(self: Reader, item: MediaItem, *others: Any) -> Any:
        if item.uri == "red/0":
            assert released.wait(60)
        return read(self, item, *others)

    monkeypatch.setattr(Reader, "read", slow)
    drawn = 0

    def items() -> Iterator[MediaItem]:
        nonlocal drawn
        for n in range(60):
            drawn += 1
            if n == 59:  # all others but what fills no batch are encoded behind the one that is held back
                until = time.monotonic() + 30
                while encoder.images_encoded < 48 and time.monotonic() < until:
                    time.sleep(0.01)
                held_back.append(encoder.images_encoded)
                released.set()
            yield item(n)

    held_back: list[int] = []
    with session(encoder, batch_size=4) as s:
        assert uris(s.classify_stream(items())) == [f"red/{n}" for n in range(60)]
    assert held_back[0] >= 48


def test_equal_images_that_are_read_out_of_order_are_encoded_once_and_keep_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bioclip_plugin.running.reading import Reader

    encoder, read = Limited(), Reader.read
    rest = threading.Event()

    def slow(self: Reader, item: MediaItem, *others: Any) -> Any:
        if item.uri == "first":
            assert rest.wait(60)
        try:
            return read(self, item, *others)
        finally:
            if item.uri == "last":
                rest.set()

    monkeypatch.setattr(Reader, "read", slow)
    red = Image.new("RGB", (8, 8), "red")
    items = [MediaItem(name, image=red) for name in ("first", "second", "third", "last")]
    with session(encoder, tmp_path / "r.db", batch_size=2) as s:
        assert uris(s.classify_stream(items)) == ["first", "second", "third", "last"]
        assert s.store is not None
        assert s.store.verify(s.store.run()).problems == []
    assert encoder.images_encoded == 1


def test_an_error_of_the_encoder_reaches_the_caller_and_committed_answers_stay(tmp_path: Path) -> None:
    class Stopped(Limited):
        def encode_images(self, images_BHWC: NDArray[np.uint8]) -> NDArray[np.float16]:
            if self.images_encoded >= 8:
                raise KeyboardInterrupt
            return super().encode_images(images_BHWC)

    with session(Stopped(), tmp_path / "r.db", batch_size=4) as s:
        with pytest.raises(KeyboardInterrupt):
            list(s.classify_stream(item(n) for n in range(20)))
        assert s.store is not None
        assert s.store.summary(s.store.run()).done <= 8
    with session(Limited(), tmp_path / "r.db", batch_size=4) as s:
        assert len(uris(s.classify_stream(item(n) for n in range(20)))) == 20


class Left(BaseException):
    """Ends a stream as the end of its program does."""


def test_a_stream_that_is_left_keeps_the_batch_at_work_and_cancels_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bioclip_plugin.running.pipeline._LISTED_AT_ONCE", 1)
    with session(gated := Limited(), tmp_path / "r.db", batch_size=2) as s:
        pipeline = s.pipeline(s.begin_run(["here"]))
        encode = gated.encode_images

        def encode_images(images_BHWC: NDArray[np.uint8]) -> NDArray[np.float16]:
            until = time.monotonic() + 30
            while not pipeline._encoding.workers.is_closed and time.monotonic() < until:
                time.sleep(0.001)
            return encode(images_BHWC)

        gated.encode_images = encode_images  # type: ignore[method-assign]

        def items() -> Iterator[MediaItem]:
            for n in range(100):
                if pipeline._line is not None and len(pipeline._line.encoding) == 2:
                    raise Left
                yield item(n)

        with pytest.raises(Left):
            list(pipeline.answers(items()))
        assert s.store is not None
        assert pipeline.run is not None
        assert s.store.summary(pipeline.run).done == 2
        assert s.store.verify(pipeline.run).problems == []
    assert gated.sizes == [2]


def test_a_stream_that_is_left_keeps_what_is_encoded_behind_a_slow_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bioclip_plugin.running.reading import Reader

    encoder, read, released = Limited(), Reader.read, threading.Event()

    def slow(self: Reader, item: MediaItem, *others: Any) -> Any:
        if item.uri == "red/0":
            assert released.wait(60)
        return read(self, item, *others)

    monkeypatch.setattr(Reader, "read", slow)
    monkeypatch.setattr("bioclip_plugin.running.pipeline._LISTED_AT_ONCE", 1)

    def items() -> Iterator[MediaItem]:
        for n in range(1_000):
            if encoder.images_encoded >= 8:
                raise Left
            yield item(n)

    with session(encoder, tmp_path / "r.db", batch_size=4) as s:
        pipeline = s.pipeline(s.begin_run(["here"]))
        with pytest.raises(Left):
            list(pipeline.answers(items()))
        released.set()
        assert s.store is not None
        assert pipeline.run is not None
        assert s.store.summary(pipeline.run).done == encoder.images_encoded >= 8


def test_images_that_are_left_over_from_a_batch_go_with_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("bioclip_plugin.running.line.time.monotonic", lambda: now)
    line, crop = Line(late_s=10.0), np.zeros((8, 8, 3), np.uint8)

    def take(count: int) -> None:
        for _ in range(count):
            line.take(Task(item(0), regions=[RegionWork(None, crop)]))

    take(5)
    for moment in (4.0, 8.0, 12.0, 16.0):
        now = moment
        assert line.is_batch_due(4)
        assert len(line.end_batch(4)) == 4
        assert not line.is_batch_due(4)  # one image is left over, each time
        take(4)
    line.end_batch(4)
    now = 25.0
    assert not line.is_batch_due(4)
    now = 26.0
    assert line.is_batch_due(4)


class AtOnce(Limited):
    """An encoder of which the first call ends after the second one has begun, as with a GPU that is given a batch ahead."""

    calls_at_once = 2

    def __init__(self) -> None:
        super().__init__()
        self.best_batch = 4
        self.second_began = threading.Event()
        self.ended: list[int] = []
        self._calls = itertools.count()

    def encode_images(self, images_BHWC: NDArray[np.uint8]) -> NDArray[np.float16]:
        call = next(self._calls)
        if call == 2:  # two were given when the threads were not known yet
            assert self.second_began.wait(60)
        if call == 3:
            self.second_began.set()
        rows = super().encode_images(images_BHWC)
        self.ended.append(call)
        return rows


def test_an_encoder_that_works_ahead_gets_a_second_batch_before_the_first_one_is_done(tmp_path: Path) -> None:
    encoder = AtOnce()
    same = [MediaItem(f"same/{n}", image=item(n % 3).image) for n in range(12)]  # encoded once, by batches on their way
    with session(encoder, tmp_path / "r.db", batch_size=4) as s:
        answers = list(s.classify_stream([*(item(n) for n in range(30)), *same]))
        assert [answer.failure for answer in answers] == [None] * 42
        assert [answer.item.uri for answer in answers] == [*(f"red/{n}" for n in range(30)), *(i.uri for i in same)]
        assert s.store is not None
        assert s.store.verify(s.store.run()).problems == []
    assert encoder.second_began.is_set()
    assert len(encoder.threads) == 2


def test_on_a_gpu_a_batch_has_the_size_that_suits_the_encoder_unless_one_is_forced() -> None:
    gpu = Compute("cuda", "bf16", "test")
    with session(Limited()) as s:
        assert sizes_for(None, s.engine.model, gpu, lambda: 64).size == 64
        assert sizes_for(None, s.engine.model, gpu, lambda: None).size == 16
        assert sizes_for(48, s.engine.model, gpu, lambda: 64).size == 48


def test_time_in_which_the_encoder_has_two_batches_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("bioclip_plugin.running.clock.time.perf_counter", lambda: now)
    clock = StageClock()
    first, second, third = (clock.busy(ENCODE, 1) for _ in range(3))
    for moment, batch, begins in [
        (1, first, True), (2, second, True), (3, first, False), (4, second, False), (6, third, True), (7, third, False),
    ]:  # fmt: skip
        now = float(moment)
        if begins:
            batch.__enter__()
        else:
            batch.__exit__(None, None, None)
    profile = clock.profile()
    assert (profile.regions, profile.busy_s[ENCODE], profile.encoder_s) == (3, 4.0, 6.0)


def test_an_image_whose_reading_ends_while_the_line_looks_is_not_lost() -> None:
    class Ending:
        """Work that ends after it was asked once."""

        asked = False

        def done(self) -> bool:
            was, self.asked = self.asked, True
            return was

    class Ended:
        def done(self) -> bool:
            return True

    line = Line(late_s=10.0)
    for work in (Ended(), Ending(), Ended()):
        line.admit(Task(item(0), reading=work))  # type: ignore[arg-type]
    assert len(line.take_read()) == 2
    assert len(line.take_read()) == 1


def test_the_log_of_a_run_says_how_long_each_stage_worked_and_the_encoder_waited(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, logger="bioclip_plugin.running.pipeline")
    with session(Limited(seconds=0.01), batch_size=4) as s:
        assert len(uris(s.classify_stream(item(n) for n in range(8)))) == 8
    lines = [record.getMessage() for record in caplog.records if record.name == "bioclip_plugin.running.pipeline"]
    assert len(lines) == 3
    assert all(f"{stage} " in lines[0] for stage in ("read", "encode", "classify", "store"))
    assert lines[1].startswith("the encoder waited ")


def test_the_idle_share_of_the_encoder_is_the_time_between_its_batches() -> None:
    clock = StageClock()
    for _ in range(3):
        with clock.busy(ENCODE, 4):
            time.sleep(0.02)
        time.sleep(0.01)
    profile = clock.profile()
    assert profile.regions == 12
    assert profile.encoder_s >= profile.busy_s[ENCODE] + 0.02
    assert profile.idle_share == pytest.approx(1 - profile.busy_s[ENCODE] / profile.encoder_s)


# -- the size of batches -----------------------------------------------------------------------------------------------


def test_the_usual_size_stays_unless_another_is_faster_by_more_than_noise() -> None:
    assert best_size({8: 1.0, 16: 1.0, 32: 0.97}, 16) == 16
    assert best_size({8: 0.8, 16: 1.0, 32: 0.97}, 16) == 8
    assert best_size({8: 0.8, 32: 0.7}, 16) == 32


def test_sizes_are_tried_in_turn_and_the_best_one_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("bioclip_plugin.running.batches.time.perf_counter", lambda: now)
    sizes = BatchSizes(key="a machine", tried=(8, 16, 32))
    seen = []
    for _ in range(12):
        seen.append(sizes.size)
        with sizes.timed(sizes.size):
            now += 10.0 if sizes.size < 32 else 16.0  # 32 images cost little more than 16
    assert seen == [8, 16, 32] * 4
    assert sizes.size == 32
    assert BatchSizes(key="a machine", tried=(8, 16, 32)).size == 32
    assert BatchSizes(key="another machine", tried=(8, 16, 32)).size == 8
    assert BatchSizes(key="a machine", tried=(8, 16, 32), forced=5).size == 5


def test_each_runtime_and_precision_of_a_model_has_a_best_size_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("bioclip_plugin.running.batches.time.perf_counter", lambda: now)
    with session(Limited()) as s:
        torch = Compute("cpu", "bf16", "test")
        sizes = sizes_for(None, s.engine.model, torch)
        for _ in range(12):
            with sizes.timed(sizes.size):
                now += 10.0
        assert sizes.size == sizes_for(None, s.engine.model, torch).size == 32
        others = replace(torch, runtime="openvino"), Compute("cpu", "fp32", "", "openvino", quantised="sha256")
        assert [sizes_for(None, s.engine.model, other).size for other in others] == [8, 8]


@pytest.mark.parametrize("kept", ["[]", "{", '{"a machine": "many"}', '{"a machine": 0}', '{"a machine": true}'])
def test_a_remembered_size_that_is_none_is_found_again(kept: str) -> None:
    from bioclip_plugin.running import batches

    batches._book().parent.mkdir(parents=True, exist_ok=True)
    batches._book().write_text(kept, encoding="utf-8")
    assert BatchSizes(key="a machine", tried=(4, 8)).size == 4


def test_batches_that_memory_does_not_suffice_for_are_not_tried_any_more() -> None:
    sizes = BatchSizes(tried=(8, 16, 32))
    assert sizes.halve(16)
    assert [sizes.size for _ in range(3)] == [8, 8, 8]
    assert sizes.halve(8)
    assert sizes.size == 4
    assert not sizes.halve(1)
