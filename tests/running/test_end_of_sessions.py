"""The end of a Session: streams of other threads, second calls, observers, finalizers and forgotten generators."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bioclip_core.errors import UsageError
from bioclip_plugin import Session, create_plugin_manager, hookimpl
from bioclip_plugin.contracts.manager import BioclipPluginManager
from bioclip_plugin.items.media import MediaItem
from bioclip_plugin.store import Store
from bioclip_plugin.testing import FakeModel

LABELS = ("a red fish", "a blue fish")
CLOSED = "this Session is closed"


@pytest.fixture
def manager() -> BioclipPluginManager:
    manager = create_plugin_manager(installed=False)
    manager.register(FakeModel(logit_scale=10.0))
    return manager


def session(manager: BioclipPluginManager, store: Path | None = None, **options: Any) -> Session:
    values: dict[str, Any] = {"model": "fake", "labels": LABELS, "batch_size": 2, "workers": 2, **options}
    return Session(store=store, plugins=manager, **values)


def item(n: int) -> MediaItem:
    return MediaItem(f"red/{n}", image=Image.new("RGB", (8, 8), (255 - n % 200, n // 200, 0)))


def endless() -> Iterator[MediaItem]:
    n = 0
    while True:
        yield item(n)
        n += 1


def status(store: Path) -> tuple[str, int, int, int]:
    with Store.open(store) as opened:
        run = opened.run()
        summary = opened.summary(run)
        assert opened.verify(run).problems == []
        return run.status, summary.done, summary.failed, summary.todo


def in_thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def end(thread: threading.Thread) -> None:
    thread.join(60)
    assert not thread.is_alive()


def test_streams_of_other_threads_end_at_their_next_item_and_the_run_is_recorded_as_stopped(
    manager: BioclipPluginManager, tmp_path: Path
) -> None:
    store = tmp_path / "r.db"
    s = session(manager, store, rules=["unknown"])
    answered, errors = [[], []], []
    under_way = [threading.Event(), threading.Event()]

    def stream(number: int) -> None:
        try:
            for answer in s.classify_stream(endless()):
                answered[number].append(answer.item.uri)
                if len(answered[number]) == 10:
                    under_way[number].set()
        except UsageError as error:
            errors.append(str(error))

    threads = [in_thread(lambda n=n: stream(n)) for n in range(2)]
    for event in under_way:
        assert event.wait(60)
    s.close()
    for thread in threads:
        end(thread)
    assert len(errors) == 2
    assert all(error.startswith(CLOSED) for error in errors)
    kind, done, failed, todo = status(store)
    assert (kind, failed) == ("interrupted", 0)
    assert done >= max(map(len, answered)) >= 10
    assert todo >= 0
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("bioclip-")]
    with session(manager, store) as again:
        assert len(list(again.classify_stream([item(n) for n in range(done + todo)]))) == done + todo
    assert status(store) == ("finished", done + todo, 0, 0)


def test_a_closed_session_refuses_everything(manager: BioclipPluginManager, tmp_path: Path) -> None:
    s = session(manager, tmp_path / "r.db", rules=["unknown"])
    begun = s.begin_run(["here"])
    waiting = s.classify_stream([item(1)])  # not begun yet
    s.classify(item(0))
    s.close()
    uses: list[Callable[[], object]] = [
        lambda: s.classify(item(1)),
        lambda: s.classify_stream([item(1)]),
        lambda: s.embed_stream([item(1)]),
        lambda: s.listing([str(tmp_path)]),
        s.apply_rules,
        lambda: s.begin_run(["there"]),
        lambda: s.pipeline(begun),
        lambda: next(waiting),
    ]
    for use in uses:
        with pytest.raises(UsageError, match=CLOSED):
            use()
    s.close()
    with Store.open(tmp_path / "r.db") as opened:
        assert len(opened.runs()) == 2


def test_closing_from_two_threads_and_from_the_loop_of_a_stream_is_harmless(
    manager: BioclipPluginManager, tmp_path: Path
) -> None:
    store = tmp_path / "r.db"
    s = session(manager, store)
    answered = 0

    def close_in_the_loop() -> None:
        nonlocal answered
        for _ in s.classify_stream(endless()):
            answered += 1
            if answered == 5:
                others = [in_thread(s.close) for _ in range(4)]
                s.close()
                for thread in others:
                    end(thread)

    with pytest.raises(UsageError, match=CLOSED):
        close_in_the_loop()
    assert answered == 5
    assert status(store)[0] == "interrupted"


def test_an_observer_may_close_the_session(manager: BioclipPluginManager, tmp_path: Path) -> None:
    store = tmp_path / "r.db"
    s = session(manager, store, rules=["unknown"])

    class Observer:
        @hookimpl
        def answers_stored(self, answers: Any) -> None:
            s.close()

    manager.register(Observer())
    with pytest.raises(UsageError, match=CLOSED):
        list(s.classify_stream(endless()))
    kind, done, failed, _ = status(store)
    assert (kind, failed) == ("interrupted", 0)
    assert done >= 2


def test_an_observer_that_asks_while_its_session_is_closed_gets_the_one_line(
    manager: BioclipPluginManager, tmp_path: Path
) -> None:
    s = session(manager, tmp_path / "r.db")
    said: list[str] = []
    called, closing = threading.Event(), threading.Event()

    class Observer:
        @hookimpl
        def answers_stored(self, answers: Any) -> None:
            called.set()
            closing.wait(60)
            while not said:
                try:
                    s.embed_stream([item(7)])
                except UsageError as error:
                    said.append(str(error))

    manager.register(Observer())

    def ask() -> None:
        with pytest.raises(UsageError, match=CLOSED):
            list(s.classify_stream(endless()))

    thread = in_thread(ask)
    assert called.wait(60)
    closer = in_thread(s.close)
    closing.set()
    end(closer)
    end(thread)
    assert said[0].startswith(CLOSED)


def test_a_stream_that_was_left_and_finished_later_is_a_finished_run(
    manager: BioclipPluginManager, tmp_path: Path
) -> None:
    store = tmp_path / "r.db"
    items = [item(n) for n in range(30)]
    with session(manager, store) as s:
        for _ in s.classify_stream(items):
            break
    kind, _, failed, todo = status(store)
    assert (kind, failed) == ("interrupted", 0)
    assert todo > 0
    with session(manager, store) as s:
        next(s.classify_stream(items))
        assert len(list(s.classify_stream(items))) == 30
    assert status(store) == ("finished", 30, 0, 0)


def test_a_session_may_be_closed_by_a_finalizer(manager: BioclipPluginManager, tmp_path: Path) -> None:
    store = tmp_path / "r.db"
    s = session(manager, store)

    class Service:
        """In a circle, so that only the collector finds it."""

        def __init__(self) -> None:
            self.me = self
            self.stream = s.classify_stream(endless())
            next(self.stream)
            weakref.finalize(self, s.close)

    Service()
    end(in_thread(lambda: [gc.collect(), None][1]))
    kind, done, failed, _ = status(store)
    assert (kind, done > 0, failed) == ("interrupted", True, 0)


@pytest.mark.parametrize("in_another_thread", [False, True])
def test_a_forgotten_generator_leaves_no_thread(
    manager: BioclipPluginManager, tmp_path: Path, in_another_thread: bool
) -> None:
    with session(manager, tmp_path / "r.db") as s:
        forgotten = [s.classify_stream(endless())]
        next(forgotten[0])
        if in_another_thread:
            end(in_thread(forgotten.clear))
        else:
            forgotten.clear()
        gc.collect()
        assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("bioclip-")]
        assert s.classify(item(3)).failure is None


AT_EXIT = """
import atexit, sys
from PIL import Image
from bioclip_plugin import MediaItem, Session, create_plugin_manager
from bioclip_plugin.testing import FakeModel

manager = create_plugin_manager(installed=False)
manager.register(FakeModel())
session = Session(model="fake", labels=("a red fish", "a blue fish"), store=sys.argv[1], batch_size=2, plugins=manager)
def endless():
    n = 0
    while True:
        yield MediaItem(f"red/{n}", image=Image.new("RGB", (8, 8), (255 - n % 200, n // 200, 0)))
        n += 1
stream = session.classify_stream(endless())
next(stream)
if sys.argv[2] == "close":
    atexit.register(session.close)
"""


@pytest.mark.parametrize("how", ["close", "forget"])
def test_a_program_that_ends_in_the_middle_of_a_stream_exits_quietly(tmp_path: Path, how: str) -> None:
    store = tmp_path / "r.db"
    done = subprocess.run(
        [sys.executable, "-c", AT_EXIT, str(store), how], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    kind, answered, failed, _ = status(store)
    assert (kind, failed) == ("interrupted" if how == "close" else "running", 0)
    assert answered >= 2
