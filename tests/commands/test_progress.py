"""The progress line when standard error is a file: plain lines, ten seconds apart."""

from __future__ import annotations

import io
import re
import time
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from bioclip_plugin.commands.progress import ProgressLine


class Clock:
    """Clock that the test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


@pytest.fixture
def log() -> io.StringIO:
    return io.StringIO()


def lines_of(log: io.StringIO) -> list[str]:
    return log.getvalue().splitlines()


def console_on(log: io.StringIO) -> Console:
    return Console(file=log, force_terminal=False, soft_wrap=True)


def test_a_line_has_count_rate_and_the_time_left_every_ten_seconds(clock: Clock, log: io.StringIO) -> None:
    with ProgressLine("Drawing", console=console_on(log)) as line:
        line.advance(20)
        clock.now += 10
        line.advance(20)
        line.expect(440)
        clock.now += 5
        line.advance()
        clock.now += 5
        line.reach(40)
    assert lines_of(log) == ["Drawing: 40 images, 4.0/s", "Drawing: 40 of 440 images, 2.0/s, 3 min 20 s left"]


def test_work_of_an_earlier_call_is_shown_but_not_part_of_the_rate(clock: Clock, log: io.StringIO) -> None:
    with ProgressLine("Building", unit="labels", console=console_on(log), resumed=True) as line:
        line.reach(900, 1000)
        clock.now += 10
        line.reach(940, 1000)
        clock.now += 10
        line.reach(980, 1000)
    assert lines_of(log) == [
        "Building: 940 of 1000 labels, 4.0/s",
        "Building: 980 of 1000 labels, 4.0/s, 5 s left",
    ]


def test_each_stage_has_a_count_and_a_rate_of_its_own(clock: Clock, log: io.StringIO) -> None:
    with ProgressLine("Starting", console=console_on(log)) as line:
        line.stage("Encoding", 0, 100)
        clock.now += 10
        line.stage("Encoding", 50, 100)
        clock.now += 10
        line.stage("Encoding", 100, 100)
        line.stage("Measuring", 0, 4, "steps")
        clock.now += 10
        line.note = "almost there"
        line.stage("Measuring", 2, 4, "steps")
        clock.now += 10
        line.stage("Measuring", 3, 4, "steps")
    assert lines_of(log) == [
        "Encoding: 50 of 100 images, 5.0/s",
        "Encoding: 100 of 100 images, 5.0/s",
        "Measuring: 2 of 4 steps, 0.2/s, almost there",
        "Measuring: 3 of 4 steps, 0.1/s, 10 s left, almost there",
    ]
    assert line.earlier_stages == 100


def test_no_time_is_left_over_before_it_can_be_estimated(clock: Clock, log: io.StringIO) -> None:
    with ProgressLine("Classifying", console=console_on(log)) as line:
        clock.now += 20  # the model is opened
        line.expect(1000)
        for _ in range(16):
            line.advance()  # the first batch comes in one moment
        clock.now += 10
        line.advance(16)
    assert lines_of(log) == [
        "Classifying: 1 of 1000 images, 3.0/min",
        "Classifying: 32 of 1000 images, 1.1/s, 5 min 12 s left",
    ]


def test_a_slow_first_batch_does_not_lengthen_the_estimate(clock: Clock, log: io.StringIO) -> None:
    with ProgressLine("Classifying", console=console_on(log), total=1000) as line:
        clock.now += 500
        line.reach(100)
        clock.now += 10
        line.reach(200)
    assert lines_of(log)[-1].endswith(", 1 min 20 s left")


def test_items_that_an_earlier_call_did_make_no_speed(clock: Clock, log: io.StringIO) -> None:
    with ProgressLine("Classifying", console=console_on(log), total=100_000) as line:
        clock.now += 10
        line.reach(90_000, already=90_000)
        clock.now += 10
        line.reach(90_010, already=90_000)
        clock.now += 10
        line.reach(90_020, already=90_000)
        clock.now += 10
        line.reach(100_000, already=99_900)
    assert lines_of(log) == [
        "Classifying: 90000 of 100000 images",
        "Classifying: 90010 of 100000 images, 0.5/s",
        "Classifying: 90020 of 100000 images, 0.7/s, 2 h 46 min left",
        "Classifying: 100000 of 100000 images, 2.5/s",
    ]


@pytest.mark.parametrize("total", [None, 0, 30, 40])
def test_no_time_is_left_without_a_total_or_at_and_beyond_it(total: int | None, clock: Clock, log: io.StringIO) -> None:
    with ProgressLine("Reading", unit="rows", console=console_on(log), total=total) as line:
        for _ in range(4):
            clock.now += 10
            line.advance(10)
    assert "left" not in lines_of(log)[-1]
    assert " of 0" not in log.getvalue()


def test_nothing_done_is_no_speed(clock: Clock, log: io.StringIO) -> None:
    with ProgressLine("Starting", console=console_on(log)) as line:
        clock.now += 10
        line.stage("Encoding", 0, 100)
        clock.now += 10
        line.stage("Encoding", 0, 100)
    assert lines_of(log) == ["Encoding: 0 of 100 images"]


def test_a_stage_that_has_only_begun_or_that_ended_soon_has_no_line(clock: Clock, log: io.StringIO) -> None:
    with ProgressLine("Starting", console=console_on(log)) as line:
        clock.now += 20
        line.stage("Labels", 15, 15, "labels")
        clock.now += 0.5
        line.stage("Writing", 0, 1, "files")
        clock.now += 9
        line.stage("Writing", 1, 1, "files")
        line.stage("Encoding", 0, 100)
        clock.now += 0.5
        line.stage("Encoding", 40, 100)
        clock.now += 3.5
        line.stage("Encoding", 60, 100)
    assert lines_of(log) == ["Encoding: 60 of 100 images, 15.0/s"]


@given(
    steps=st.lists(st.tuples(st.floats(0, 1e5), st.integers(0, 10**6), st.integers(0, 10**6)), max_size=20),
    total=st.one_of(st.none(), st.integers(0, 10**7)),
)
@settings(max_examples=100, deadline=None)
def test_any_order_of_reports_gives_a_positive_time_or_none(
    steps: list[tuple[float, int, int]], total: int | None
) -> None:
    clock, log = Clock(), io.StringIO()
    with patch.object(time, "monotonic", clock), ProgressLine("Drawing", console=console_on(log), total=total) as line:
        for seconds, count, already in steps:
            clock.now += seconds
            line.reach(count, already=already)
    for text in lines_of(log):
        for wrong in ("-", "0 s left", "0:00:00", "inf", "nan"):
            assert not re.search(rf"\b{wrong}\b" if wrong != "-" else "-", text), text


@pytest.mark.parametrize("total", [None, 0, 5])
def test_the_bar_of_a_terminal_begins_without_a_time(total: int | None, log: io.StringIO) -> None:
    with ProgressLine("Classifying", console=Console(file=log, force_terminal=True, width=120), total=total) as line:
        line.reach(0)
        line.reach(1)
        line.reach(5)
    shown = log.getvalue()
    assert "Classifying" in shown
    assert not re.search(r"\d:\d\d|-:--|left|0/0|of 0", shown)


def test_the_bar_of_a_terminal_has_the_words_of_the_log(clock: Clock, log: io.StringIO) -> None:
    with ProgressLine("Drawing", console=Console(file=log, force_terminal=True, width=120), total=440) as line:
        line.advance(20)
        clock.now += 10
        line.advance(20)
    assert "40 of 440 images, 4.0/s, 1 min 40 s left" in log.getvalue()
