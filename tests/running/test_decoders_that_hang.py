"""Decoders that do not end, iterators that fail, and bad arguments: the other items are answered all the same."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bioclip_core.errors import BioclipError, UsageError
from bioclip_core.process import threads
from bioclip_core.process.threads import hung_threads
from bioclip_plugin import MediaItem, Session, create_plugin_manager, hookimpl
from bioclip_plugin.contracts.manager import BioclipPluginManager
from bioclip_plugin.store import Store
from bioclip_plugin.testing import FakeModel

LABELS = ("a red fish", "a blue fish")


class Opener:
    """A plugin that opens .slow files: those named hang* only after its event is set."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.asked: list[str] = []

    @hookimpl
    def media_suffixes(self) -> list[str]:
        return [".slow"]

    @hookimpl
    def open_media(self, item: MediaItem) -> Image.Image | None:
        assert item.path is not None
        if item.path.suffix != ".slow":
            return None
        self.asked.append(item.path.name)
        if item.path.name.startswith("hang"):
            self.release.wait()
        return Image.new("RGB", (9, 9), (200 + len(self.asked), 0, 0))


@pytest.fixture
def opener() -> Iterator[Opener]:
    opener = Opener()
    yield opener
    opener.release.set()
    deadline = time.monotonic() + 30
    while hung_threads() and time.monotonic() < deadline:
        time.sleep(0.01)


@pytest.fixture
def manager(opener: Opener) -> BioclipPluginManager:
    manager = create_plugin_manager(installed=False)
    manager.register(FakeModel(logit_scale=10.0))
    manager.register(opener)
    return manager


def session(manager: BioclipPluginManager, store: Path | None = None, **options: Any) -> Session:
    values: dict[str, Any] = {"model": "fake", "labels": LABELS, "batch_size": 2, "workers": 2, **options}
    return Session(store=store, plugins=manager, **values)


def files(folder: Path, *names: str) -> list[Path]:
    for name in names:
        (folder / name).write_text(name)
    return [folder / name for name in names]


@pytest.mark.parametrize("with_store", [False, True])
def test_items_whose_decoding_does_not_end_are_failures_and_the_others_are_answered(
    manager: BioclipPluginManager, opener: Opener, tmp_path: Path, with_store: bool
) -> None:
    names = ["a.slow", "hang1.slow", "hang2.slow", "hang3.slow", "b.slow", "c.slow"]
    paths = files(tmp_path, *names)
    store = tmp_path / "r.db" if with_store else None
    with session(manager, store, item_timeout=0.5) as s:
        answers = list(s.classify_stream(paths))
    assert [answer.best.name if answer.best else None for answer in answers] == [
        "a red fish", None, None, None, "a red fish", "a red fish"
    ]  # fmt: skip
    failure = answers[1].failure
    assert failure is not None
    assert failure.stage == "decode"
    assert failure.reason.startswith("plugin Opener: open_media did not end within 0.5 s and was given up")
    assert hung_threads() == 3
    opener.release.set()
    if store:
        with Store.open(store) as opened:
            summary = opened.summary(opened.run())
            assert (summary.done, summary.failed) == (3, 3)
        with session(manager, store) as s:  # now the disk answers again
            assert all(answer.failure is None for answer in s.classify_stream(paths))


def test_waiting_behind_slow_items_is_not_the_time_of_an_item(
    manager: BioclipPluginManager, opener: Opener, tmp_path: Path
) -> None:
    paths = files(tmp_path, "hang.slow", *(f"{n}.slow" for n in range(8)))
    with session(manager, workers=1, item_timeout=0.5) as s:
        failed = [answer.item.uri for answer in s.classify_stream(paths) if answer.failure]
    assert failed == [str(paths[0])]


def test_a_stream_ends_with_one_line_when_too_many_decoders_hang(
    manager: BioclipPluginManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "MOST_HUNG", 4)
    paths = files(tmp_path, *(f"hang{n}.slow" for n in range(12)))
    with session(manager, item_timeout=0.02, workers=1) as s, pytest.raises(BioclipError, match="4 threads hang in"):
        list(s.classify_stream(paths))


def test_a_slow_file_is_named_on_the_log(
    manager: BioclipPluginManager, opener: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(threads, "SLOW_S", 0.05)
    paths = files(tmp_path, "hang.slow", "a.slow")
    with session(manager) as s, caplog.at_level(logging.WARNING, "bioclip_plugin"):
        worker = threading.Thread(target=lambda: list(s.classify_stream(paths)))
        worker.start()
        deadline = time.monotonic() + 30
        while "longer than" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.01)
        opener.release.set()
        worker.join(60)
    said = [record.getMessage() for record in caplog.records]
    assert [text.partition(": ")[0] for text in said] == [str(paths[0])] * 2
    assert "decoding takes longer than" in said[0]
    assert "decoding took" in said[1]


def test_closing_a_stream_does_not_wait_for_a_decoder_that_hangs(
    manager: BioclipPluginManager, opener: Opener, tmp_path: Path
) -> None:
    # Enough items before the one that hangs that a first batch is committed before it is waited for.
    paths = files(tmp_path, *(f"{name}.slow" for name in "abcdef"), "hang.slow")
    with session(manager, tmp_path / "r.db") as s:
        stream = s.classify_stream(paths)
        assert next(stream).failure is None
        stream.close()
    assert not opener.release.is_set()


class _Broken(Exception):
    """An error of a host's own."""


def images(count: int, last: Any) -> Iterator[Any]:
    for n in range(count):
        yield Image.new("RGB", (8, 8), (255 - n, 0, 0))
    if isinstance(last, Exception):
        raise last
    yield last
    raise AssertionError("nothing behind a bad argument is drawn")


@pytest.mark.parametrize("with_store", [False, True])
@pytest.mark.parametrize(("last", "kind"), [(17, UsageError), (_Broken("a drawer is stuck"), _Broken)])
def test_good_items_are_answered_before_a_bad_argument_or_an_error_of_the_iterator_is_raised(
    manager: BioclipPluginManager, tmp_path: Path, with_store: bool, last: Any, kind: type[Exception]
) -> None:
    store = tmp_path / "r.db" if with_store else None
    answers = []
    with session(manager, store) as s:
        stream = s.classify_stream(images(7, last))
        with pytest.raises(kind) as raised:
            answers.extend(stream)
        rows = s.embed_stream(images(3, last))
        assert [next(rows).features_RD is not None for _ in range(3)] == [True] * 3
        with pytest.raises(kind):
            next(rows)
    assert [answer.best.name for answer in answers if answer.best] == ["a red fish"] * 7
    if isinstance(last, Exception):
        assert raised.value is last
    if store:
        with Store.open(store) as opened:
            assert opened.summary(opened.run()).done == 7
