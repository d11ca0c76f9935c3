"""Files of a slow disk are read ahead, several at a time and each once; those of a quick disk are not."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from bioclip_core.errors import ImageError
from bioclip_plugin import Session, create_plugin_manager
from bioclip_plugin.items.media import MediaItem
from bioclip_plugin.running import read_ahead, reading
from bioclip_plugin.running.read_ahead import THREADS, ReadAhead
from bioclip_plugin.testing import FakeModel

SLOW_S = 0.01


class Disk:
    """Files that take a while to open, with counts of how often, and how many at a time."""

    def __init__(self, slow_s: float = SLOW_S) -> None:
        self.slow_s = slow_s
        self.reads: Counter[str] = Counter()
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()

    def read(self, item: MediaItem) -> bytes:
        with self._lock:
            self.reads[item.uri] += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            time.sleep(self.slow_s)
            if "missing" in item.uri:
                raise ImageError("the file does not exist (any more)", stage="read")
            return item.uri.encode()
        finally:
            with self._lock:
                self.at_once -= 1


def items(*names: str) -> list[MediaItem]:
    return [MediaItem(f"file:///photos/{name}.jpg") for name in names]


def slow(ahead: ReadAhead) -> ReadAhead:
    ahead._items, ahead._reading_s = 100, 10.0
    return ahead


def test_as_many_files_as_threads_are_read_at_once_and_each_of_them_once() -> None:
    """A barrier that only opens when all threads read at the same time."""
    together = threading.Barrier(THREADS)
    reads: Counter[str] = Counter()

    def read(item: MediaItem) -> bytes:
        reads[item.uri] += 1
        together.wait(timeout=60)
        return item.uri.encode()

    ahead = slow(ReadAhead(read, lambda item: 1))
    listed = items(*map(str, range(THREADS)))
    begun = [ahead.begin(item) for item in listed]
    deadline = time.monotonic() + 60
    while sum(reads.values()) < THREADS and time.monotonic() < deadline:
        time.sleep(0.001)
    assert [ahead.content(item, one) for item, one in zip(listed, begun, strict=True)] == [
        i.uri.encode() for i in listed
    ]
    assert set(reads.values()) == {1}
    assert ahead._held == 0
    ahead.close(wait_s=1)


def test_a_file_that_no_thread_came_to_is_read_by_its_decoder() -> None:
    disk = Disk(0)
    ahead = slow(ReadAhead(disk.read, lambda item: 1))
    (item,) = items("one")
    begun = read_ahead.Ahead(0, lambda: disk.read(item))
    assert ahead.content(item, begun) == item.uri.encode()
    begun.read()  # a thread comes to it too late
    assert disk.reads == {item.uri: 1}


def test_a_decoder_that_overtakes_a_thread_leaves_no_bytes_counted() -> None:
    """A slow disk says the size of a file only after its decoder has read it."""
    is_asked, is_read = threading.Event(), threading.Event()

    def size(_item: MediaItem) -> int:
        is_asked.set()
        assert is_read.wait(60)
        return 5

    disk = Disk(0)
    ahead = slow(ReadAhead(disk.read, size))
    (item,) = items("one")
    begun = ahead.begin(item)
    assert is_asked.wait(60)
    assert ahead.content(item, begun) == item.uri.encode()
    is_read.set()
    ahead.close(wait_s=60)
    assert disk.reads == {item.uri: 1}
    assert ahead._held == 0


def test_an_error_is_that_of_the_file_and_no_bytes_are_kept_of_it() -> None:
    disk = Disk(0)
    ahead = slow(ReadAhead(disk.read, lambda item: 5))
    (item,) = items("missing")
    begun = ahead.begin(item)
    with pytest.raises(ImageError, match="does not exist"):
        ahead.content(item, begun)
    ahead.close(wait_s=1)
    assert disk.reads == {item.uri: 1}


def test_bytes_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_ahead, "MOST_BYTES", 10)
    disk = Disk(0)
    ahead = slow(ReadAhead(disk.read, lambda item: {"large": 11}.get(Path(item.uri).stem, 4)))
    listed = items("large", "a", "b", "c")
    begun = [ahead.begin(item) for item in listed]
    deadline = time.monotonic() + 60
    while len(disk.reads) < 2 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert ahead._held <= 10
    assert listed[0].uri not in disk.reads
    assert [ahead.content(item, one) for item, one in zip(listed, begun, strict=True)] == [
        i.uri.encode() for i in listed
    ]
    assert set(disk.reads.values()) == {1}
    ahead.close(wait_s=1)


def test_reading_is_slow_by_its_share_of_the_processor_time_of_decoding() -> None:
    ahead = ReadAhead(lambda item: b"", lambda item: 0)
    ahead._items, ahead._decoding_s = 100, 10.0
    for seconds, expected in ((2.4, False), (2.6, True)):
        ahead._reading_s = seconds
        assert ahead.is_slow is expected
    ahead._decoding_s, ahead._reading_s = 0.0, 0.05  # half a millisecond per item is quick
    assert not ahead.is_slow
    ahead._items, ahead._reading_s = 3, 10.0  # too few to tell
    assert not ahead.is_slow


@pytest.mark.parametrize(("slow_s", "is_ahead"), [(SLOW_S, True), (0.0, False)])
def test_a_run_on_a_slow_disk_reads_several_files_at_once_and_each_once(
    slow_s: float, is_ahead: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one decoding thread, so that two reads at once are reads ahead."""
    for number in range(150):
        Image.new("RGB", (20, 10), (number, 0, 200)).save(tmp_path / f"{number:03}.png")
    disk, read = Disk(slow_s), reading.bytes_of
    monkeypatch.setattr(reading, "bytes_of", lambda item: (disk.read(item), read(item))[1])
    if not is_ahead:
        monkeypatch.setattr(read_ahead, "time", SimpleNamespace(perf_counter=lambda: 0.0, thread_time=time.thread_time))
    manager = create_plugin_manager(installed=False)
    manager.register(FakeModel(logit_scale=10.0))
    options: dict[str, Any] = {"model": "fake", "labels": ("a red fish", "a blue fish"), "batch_size": 4, "workers": 1}
    with Session(plugins=manager, **options) as session:
        answers = list(session.classify_stream(sorted(tmp_path.iterdir())))
    assert [answer.failure for answer in answers] == [None] * 150
    assert [Path(answer.item.uri).name for answer in answers] == [f"{number:03}.png" for number in range(150)]
    assert set(disk.reads.values()) == {1}
    assert (disk.most_at_once > 1) is is_ahead
