"""The progress line when standard error is a file: plain lines, ten seconds apart."""

from __future__ import annotations

import io
import time

import pytest
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
    return Console(file=log, soft_wrap=True)


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
        line.reach(950, 1000)
    assert lines_of(log) == ["Building: 950 of 1000 labels, 5.0/s, 10 s left"]


def test_each_stage_has_a_count_and_a_rate_of_its_own(clock: Clock, log: io.StringIO) -> None:
    with ProgressLine("Starting", console=console_on(log)) as line:
        line.stage("Encoding", 0, 100)
        clock.now += 10
        line.stage("Encoding", 100, 100)
        line.stage("Measuring", 0, 3, "steps")
        clock.now += 10
        line.note = "almost there"
        line.stage("Measuring", 2, 3, "steps")
    assert lines_of(log) == [
        "Encoding: 100 of 100 images, 10.0/s, 0 s left",
        "Measuring: 2 of 3 steps, 0.2/s, 5 s left, almost there",
    ]
    assert line.earlier_stages == 100
