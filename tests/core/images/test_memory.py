"""One budget of memory for all images in decoding."""

from __future__ import annotations

import io
import os
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hostile_samples import CONTRACT, encoded
from PIL import Image

from bioclip_core.errors import ImageError, UsageError
from bioclip_core.images import memory
from bioclip_core.images.decoding import decode_regions, read_bytes
from bioclip_core.images.memory import MemoryBudget, Share, budget_bytes, decoding_budget, image_memory
from bioclip_core.images.needs import decoding_bytes
from bioclip_core.images.pillow_files import opened
from bioclip_core.process.threads import Workers

PATIENCE_S = 20


class Picture:
    """An image on a thread of its own, which takes shares when it is told to."""

    def __init__(self, budget: MemoryBudget) -> None:
        self.took: list[int] = []
        self._budget, self._sizes, self._end = budget, [], threading.Event()
        self._told = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def take(self, size: int) -> Picture:
        with self._told:
            self._sizes.append(size)
            self._told.notify_all()
        return self

    def end(self) -> None:
        self.take(0)
        self._thread.join(PATIENCE_S)

    def _run(self) -> None:
        with self._budget.share() as share:
            while True:
                with self._told:
                    self._told.wait_for(lambda: self._sizes, PATIENCE_S)
                    size = self._sizes.pop(0) if self._sizes else 0
                if not size:
                    return
                share.take(size)
                self.took.append(size)


def soon(condition: Callable[[], bool]) -> bool:
    """True if a condition becomes true."""
    event = threading.Event()
    for _ in range(PATIENCE_S * 100):
        if condition():
            return True
        event.wait(0.01)
    return False


def waits(image: Picture, budget: MemoryBudget) -> bool:
    return soon(lambda: len(budget._waiting) > 0) and not image.took


def test_an_image_waits_until_there_is_room() -> None:
    budget = MemoryBudget(100)
    first, second = Picture(budget).take(70), Picture(budget)
    assert soon(lambda: first.took == [70])
    assert waits(second.take(40), budget)
    first.end()
    assert soon(lambda: second.took == [40])
    second.end()
    assert budget.held == 0


def test_a_large_image_is_not_overtaken_by_later_small_ones() -> None:
    budget = MemoryBudget(100)
    first, large, small = Picture(budget).take(70), Picture(budget), Picture(budget)
    assert soon(lambda: first.took == [70])
    assert waits(large.take(90), budget)
    small.take(20)
    assert soon(lambda: len(budget._waiting) == 2)
    first.end()
    assert soon(lambda: large.took == [90])
    assert small.took == []
    large.end()
    assert soon(lambda: small.took == [20])


def test_a_small_image_does_not_wait_behind_a_large_one_that_has_no_room() -> None:
    budget = MemoryBudget(100)
    first, large, small = Picture(budget).take(70), Picture(budget), Picture(budget)
    assert soon(lambda: first.took == [70])
    assert waits(large.take(90), budget)
    assert soon(lambda: small.take(1).took != [])
    assert large.took == []
    first.end()
    small.end()
    assert soon(lambda: large.took == [90])
    large.end()


def test_of_images_that_wait_for_room_a_small_one_is_the_next() -> None:
    budget = MemoryBudget(100)
    first, large, small = Picture(budget).take(500), Picture(budget), Picture(budget)
    assert soon(lambda: first.took == [500])
    assert waits(large.take(500), budget)
    small.take(6)
    assert soon(lambda: len(budget._waiting) == 2)
    first.end()
    assert soon(lambda: small.took == [6])
    assert large.took == []
    small.end()
    assert soon(lambda: large.took == [500])
    large.end()


def test_small_images_without_end_do_not_keep_a_large_one_waiting() -> None:
    budget = MemoryBudget(100)
    first, large = Picture(budget).take(50), Picture(budget)
    assert soon(lambda: first.took == [50])
    assert waits(large.take(60), budget)
    small = [Picture(budget).take(5)]
    for _ in range(39):
        assert soon(lambda: small[-1].took == [5])
        small.append(Picture(budget).take(5))
        small[-2].end()
    assert soon(lambda: small[-1].took == [5])
    late = Picture(budget).take(5)
    assert soon(lambda: len(budget._waiting) == 2)
    first.end()
    assert soon(lambda: large.took == [60])
    for image in (small[-1], large, late):
        image.end()
    assert budget.held == 0


def test_an_image_larger_than_the_budget_is_decoded_alone() -> None:
    budget = MemoryBudget(100)
    first, huge, last = Picture(budget).take(1), Picture(budget), Picture(budget)
    assert soon(lambda: first.took == [1])
    assert waits(huge.take(500), budget)
    first.end()
    assert soon(lambda: huge.took == [500])
    assert waits(last.take(1), budget)
    huge.end()
    assert soon(lambda: last.took == [1])


def test_an_image_that_needs_more_goes_before_one_that_has_not_begun() -> None:
    """Otherwise each large image that waits for a little more would let the next one begin."""
    budget = MemoryBudget(100)
    huge, small, second = Picture(budget).take(500), Picture(budget), Picture(budget)
    assert soon(lambda: huge.took == [500])
    assert waits(small.take(1), budget)
    assert waits(second.take(500), budget)
    huge.take(10)
    assert soon(lambda: huge.took == [500, 10])
    assert small.took == second.took == []
    huge.end()
    assert soon(lambda: small.took == [1])
    assert second.took == []
    small.end()
    assert soon(lambda: second.took == [500])


def test_images_that_all_wait_for_more_do_not_wait_for_ever() -> None:
    budget = MemoryBudget(100)
    images = [Picture(budget).take(30) for _ in range(3)]
    assert soon(lambda: all(image.took for image in images))
    for image in images:
        image.take(60)
    assert soon(lambda: sum(len(image.took) == 2 for image in images) == 1)
    assert len(budget._waiting) == 2
    for _ in images:
        done = next(image for image in images if image._thread.is_alive() and len(image.took) == 2)
        done.end()
        assert soon(lambda: not budget._waiting or any(i._thread.is_alive() and len(i.took) == 2 for i in images))
    assert budget.held == 0


def test_a_share_is_given_back_after_an_error() -> None:
    budget = MemoryBudget(100)
    with suppress(ZeroDivisionError), budget.share() as share:
        share.take(60)
        raise ZeroDivisionError
    assert budget.held == 0


def test_an_image_that_was_given_up_while_it_waits_leaves_the_queue() -> None:
    budget = MemoryBudget(100)
    first = Picture(budget).take(70)
    assert soon(lambda: first.took == [70])

    def decode() -> None:
        with budget.share() as share:
            share.take(90)

    workers = Workers(1, "bioclip-test")
    job = workers.submit(decode)
    assert soon(lambda: len(budget._waiting) == 1)
    workers.close(wait_s=0)
    assert job.done()
    assert soon(lambda: not budget._waiting)
    first.end()


def test_an_image_whose_decoder_hangs_does_not_stop_the_others() -> None:
    budget, event = MemoryBudget(100), threading.Event()

    def hang() -> None:
        with budget.share() as share:
            share.take(90)
            event.wait(PATIENCE_S)

    workers = Workers(1, "bioclip-test")
    job = workers.submit(hang)
    assert soon(lambda: budget.held == 90)
    other = Picture(budget)
    assert waits(other.take(50), budget)
    workers.give_up(job)
    assert soon(lambda: other.took == [50])
    event.set()
    other.end()
    workers.close()


def test_the_bytes_of_a_file_and_its_pixels_are_in_one_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    budget = MemoryBudget(1 << 30)
    monkeypatch.setattr(memory._Process, "budget", budget)
    path = tmp_path / "a.png"
    path.write_bytes(encoded(Image.new("RGB", (300, 200)), "PNG"))
    with image_memory():
        data = read_bytes(path)
        assert budget.held == len(data)
        decode_regions(data, [None], CONTRACT)
        assert budget.held >= len(data) + 4 * 300 * 200
    assert budget.held == 0
    decode_regions(data, [None], CONTRACT)
    assert budget.held == 0


def test_a_file_that_fails_gives_its_memory_back(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = MemoryBudget(1 << 30)
    monkeypatch.setattr(memory._Process, "budget", budget)
    with pytest.raises(ImageError):
        decode_regions(encoded(Image.effect_noise((90, 90), 9), "PNG")[:-300], [None], CONTRACT)
    assert budget.held == 0


@pytest.mark.parametrize(("stated", "bytes_"), [("64", 64 << 20), (" 2048 ", 2 << 30)])
def test_the_environment_sets_the_budget(stated: str, bytes_: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIOCLIP_DECODE_MEMORY", stated)
    assert budget_bytes() == bytes_


@pytest.mark.parametrize("stated", ["0", "-1", "1.5", "2 GB", "٣"])
def test_another_setting_is_refused(stated: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIOCLIP_DECODE_MEMORY", stated)
    with pytest.raises(UsageError, match="a whole number of megabytes above 0"):
        budget_bytes()


def test_the_budget_is_an_eighth_of_the_memory_within_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BIOCLIP_DECODE_MEMORY", raising=False)
    for machine, budget in ((1 << 30, 512 << 20), (24 << 30, 768 << 20), (256 << 30, 1 << 30)):
        monkeypatch.setattr(memory, "machine_bytes", lambda machine=machine: machine)
        assert budget_bytes() == budget


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_has_a_budget_of_its_own() -> None:
    with image_memory() as share:
        share.take(1)
        child = os.fork()
        if not child:
            os._exit(0 if decoding_budget().held == 0 else 1)
        assert os.waitpid(child, 0)[1] == 0


def test_the_estimate_of_a_webp_holds_its_compressed_bytes_twice() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    needed = []
    for pixels in (noise, np.zeros_like(noise)):
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "WEBP", lossless=True, method=0)
        needed.append((decoding_bytes(opened(stream.getvalue(), 0)), len(stream.getvalue())))
    assert needed[0][0] - needed[1][0] == 2 * (needed[0][1] - needed[1][1])
    assert needed[0][0] > (16 + 2 * 3) * noise.size / 3


def test_a_large_image_that_fails_is_freed_before_its_share_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    class Pixels:
        pass

    kept: list[weakref.ref[Pixels]] = []
    freed: list[bool] = []
    monkeypatch.setattr(memory, "_return_freed_memory", lambda: freed.append(kept[0]() is None))

    def decode(share: Share) -> None:
        share.take(100 << 20)
        pixels = Pixels()
        kept.append(weakref.ref(pixels))
        try:
            raise OSError("decoder error -2")
        except OSError as error:
            raise ImageError("the file is damaged") from error

    budget = MemoryBudget(1 << 30)
    with pytest.raises(ImageError), budget.share() as share:
        decode(share)
    assert freed == [True]
