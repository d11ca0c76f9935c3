"""Daemon threads: results, limits, replacement of hung threads, and an end that waits for nothing that hangs."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from bioclip_core.errors import BioclipError, UsageError
from bioclip_core.process import threads
from bioclip_core.process.threads import GivenUp, Workers, WorkersClosed, hung_threads, not_counted


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Event that hung work waits for; set at the end, so that no test leaves a thread."""
    event = threading.Event()
    yield event
    event.set()
    deadline = time.monotonic() + 30
    while hung_threads() and time.monotonic() < deadline:
        time.sleep(0.01)


def ours() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("bioclip-test")]


def test_results_and_errors_are_those_of_the_work() -> None:
    pool = Workers(2, "bioclip-test")
    jobs = [pool.submit(divmod, 7, n) for n in (2, 0, 3)]
    assert jobs[0].result() == (3, 1)
    assert jobs[2].result(limit_s=30) == (2, 1)
    with pytest.raises(ZeroDivisionError):
        jobs[1].result()
    assert pool.close()
    assert ours() == []


def test_hung_work_is_given_up_and_its_thread_replaced(release: threading.Event) -> None:
    pool = Workers(1, "bioclip-test")
    hung, after = pool.submit(release.wait), pool.submit(lambda: "done")
    with pytest.raises(GivenUp, match=r"given up after \d+ s"):
        hung.result(limit_s=0.05)
    assert after.result(limit_s=30) == "done"
    assert hung_threads() == 1
    release.set()
    pool.close()
    with pytest.raises(GivenUp):  # the late result is dropped
        hung.result()


def test_only_the_own_time_of_the_work_counts(release: threading.Event) -> None:
    pool = Workers(1, "bioclip-test")
    begun = threading.Event()

    def waits_for_memory() -> str:
        with not_counted():
            begun.set()
            release.wait()
        return "done"

    first, queued = pool.submit(waits_for_memory), pool.submit(lambda: "done")
    begun.wait()
    threading.Timer(0.3, release.set).start()
    assert queued.result(limit_s=0.25) == "done"
    assert first.result(limit_s=0.25) == "done"
    assert first.seconds < 0.25
    pool.close()


def test_work_that_waits_for_hung_work_goes_on_once_that_is_given_up(release: threading.Event) -> None:
    pool = Workers(2, "bioclip-test")

    def waits_for_memory() -> str:
        with not_counted():
            while not hung_threads():
                time.sleep(0.01)
        return "done"

    first, hung = pool.submit(waits_for_memory), pool.submit(release.wait)
    assert first.result(limit_s=0.1) == "done"
    with pytest.raises(GivenUp):
        hung.result(limit_s=0.1)
    release.set()
    pool.close()


class Clock:
    """The clock of a process that can be stopped for a while."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(threads, "time", SimpleNamespace(monotonic=lambda: self.now))


def test_work_does_not_run_out_of_time_while_the_process_is_stopped(
    release: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that the scheduler suspends for an hour: the images at hand were failures when it went on."""
    clock, begun = Clock(monkeypatch), threading.Event()
    pool = Workers(1, "bioclip-test")
    job = pool.submit(lambda: (begun.set(), release.wait()))
    assert begun.wait(30)
    clock.now += 3600
    assert pool.give_up_after(120) == pytest.approx(12), "the last tenth counts from now on"
    assert not job.done()
    clock.now += 11
    assert pool.give_up_after(120) == pytest.approx(1)
    assert not job.done()
    clock.now += 1.5
    pool.give_up_after(120)
    with pytest.raises(GivenUp):
        job.result()
    release.set()
    pool.close()


def test_work_that_is_looked_at_in_time_is_given_up_at_its_limit(
    release: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, begun = Clock(monkeypatch), threading.Event()
    pool = Workers(1, "bioclip-test")
    job = pool.submit(lambda: (begun.set(), release.wait()))
    assert begun.wait(30)
    began_at, looks = clock.now, 0
    while (wait_s := pool.give_up_after(120)) and not job.done():
        clock.now += wait_s
        looks += 1
        assert looks < 10
    assert (clock.now - began_at, looks) == (pytest.approx(120, abs=0.1), 2)
    release.set()
    pool.close()


def test_no_further_threads_are_begun_when_too_many_hang(
    release: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "MOST_HUNG", 3)
    pool = Workers(1, "bioclip-test")

    def hang_until_refused() -> None:
        for _ in range(10):
            with pytest.raises(GivenUp):
                pool.submit(release.wait).result(limit_s=0.01)

    with pytest.raises(BioclipError, match="3 threads hang"):
        hang_until_refused()
    pool.close()


def test_work_that_takes_long_is_named_once_and_at_its_end(
    release: threading.Event, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(threads, "SLOW_S", 0.05)
    pool = Workers(4, "bioclip-test")
    job = pool.submit_named("slow.jpg: decoding", release.wait)
    quick = [pool.submit_named(f"{n}.jpg: decoding", lambda: None) for n in range(20)]
    deadline = time.monotonic() + 30
    with caplog.at_level(logging.WARNING, "bioclip_plugin"):
        while not job.is_named and time.monotonic() < deadline:
            time.sleep(0.01)
        assert [name for name in ours() if "watch" in name] == ["bioclip-test-watch"]
        time.sleep(0.2)
        release.set()
        job.result()
        pool.close()
    assert [one.result() for one in quick] == [None] * 20
    assert [record.getMessage() for record in caplog.records] == [
        "slow.jpg: decoding takes longer than 0 s", "slow.jpg: decoding took 0 s"
    ]  # fmt: skip


def test_closing_waits_no_longer_than_it_is_told(release: threading.Event) -> None:
    pool = Workers(1, "bioclip-test")
    pool.submit(release.wait)
    queued = pool.submit(lambda: "never")
    assert not pool.close(wait_s=0.05)
    assert not pool.close(wait_s=0)  # twice is harmless
    assert queued.done()
    with pytest.raises(RuntimeError, match="closed"):
        pool.submit(lambda: None)


def test_work_that_must_finish_is_finished_when_its_threads_are_closed() -> None:
    pool = Workers(1, "bioclip-test", must_finish=True)
    done: list[int] = []
    for n in range(5):
        pool.submit(lambda n=n: (time.sleep(0.01), done.append(n)))
    assert pool.close()
    assert done == [0, 1, 2, 3, 4]


def test_threads_that_are_closed_by_their_own_thread_do_not_wait_for_it() -> None:
    pool = Workers(1, "bioclip-test", must_finish=True)
    assert pool.submit(pool.close).result(limit_s=30) is False
    assert pool.close()


def test_threads_of_forgotten_workers_end() -> None:
    pool = Workers(2, "bioclip-test")
    pool.submit_named("a", lambda: None).result()
    del pool
    gc.collect()
    deadline = time.monotonic() + 30
    while ours() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert ours() == []


AT_EXIT = """
import sys, threading, time
from bioclip_core.process.threads import Workers
pool, writer = Workers(1, "bioclip-a"), Workers(1, "bioclip-b", must_finish=True)
begun = threading.Event()
pool.submit(lambda: (begun.set(), time.sleep(1000)))
begun.wait()
writer.submit(lambda: (time.sleep(0.3), print("written", flush=True)))
def stream():
    try:
        yield 1
    finally:
        pool.close()
        writer.close()
open_stream = stream()
next(open_stream)
sys.exit(7)
"""


def test_the_interpreter_exits_beside_a_hung_thread_and_finishes_what_must_be_finished() -> None:
    done = subprocess.run([sys.executable, "-c", AT_EXIT], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, "written\n", "")


IN_A_CHILD = """
import os, sys, threading
from bioclip_core.errors import UsageError
from bioclip_core.process.threads import Workers
pool = Workers(2, "bioclip-a", must_finish=True)
hold = threading.Event()
job = pool.submit(hold.wait)
child = os.fork()
if not child:
    for use in (job.result, lambda: pool.submit(print)):
        try:
            use()
        except UsageError as error:
            print(error, flush=True)
    pool.close()
    sys.exit(5)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
hold.set()
print(code, job.result(limit_s=30), pool.close())
"""


@pytest.mark.skipif(not hasattr(threads.os, "fork"), reason="needs fork")
def test_a_forked_child_is_told_that_the_threads_do_not_exist_and_exits() -> None:
    done = subprocess.run([sys.executable, "-c", IN_A_CHILD], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    first, second, parent = done.stdout.splitlines()
    assert first == second
    assert "its threads do not exist in the forked process" in first
    assert parent == "5 True True"
    assert issubclass(UsageError, BioclipError)


def test_closing_while_another_thread_begins_one_waits_for_it_or_leaves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that is listed and has not begun cannot be joined."""
    pool, closed = Workers(1, "bioclip-test"), []
    start = threading.Thread.start

    def closing_first(thread: threading.Thread) -> None:
        if thread.name.startswith("bioclip-test"):
            closed.append(pool.close(wait_s=0))
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", closing_first)
    with pytest.raises(WorkersClosed):
        pool.submit(divmod, 7, 2).result()
    assert closed == [True]
    monkeypatch.undo()
    assert pool.close()
    assert ours() == []


def test_a_thread_that_the_system_refuses_does_not_stop_the_closing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    pool = Workers(1, "bioclip-test")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        with pytest.raises(RuntimeError, match="can't start"):
            pool.submit(divmod, 7, 2)
    assert pool.close()
