"""A check that crashes, hangs, fails or ends its process is a line, and the others are made."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest

from bioclip_plugin.doctor import DoctorOptions, Fact, Problem, Report, examine
from bioclip_plugin.doctor.apart import Apart, ending_of
from bioclip_plugin.doctor.examining import Check, show

APART = """
import os, signal, sys, time
from bioclip_plugin.doctor import Fact, Problem, Step

def look(options, without):
    yield Fact("before", 1)
    yield Step("reading the disk", {key!r})
    if {key!r} not in without or not {key!r}:
        {code}
    yield Fact("after", 2)
"""


@pytest.fixture
def apart(package: Callable[..., Path]) -> Callable[..., Report]:
    """Examination with one check that runs a line of code in its own process, and one that is well."""

    def call(code: str, *, key: str = "", patience: float = 20) -> Report:
        package("fake_check", APART.format(code=code, key=key))
        checks = [Check("fake", "Fake", "fake_check:look", apart=True), Check("well", "Well", lambda _: [Fact("x", 1)])]
        return examine(DoctorOptions(patience=patience), checks=checks)

    return call


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("os.kill(os.getpid(), signal.SIGILL)", "reading the disk ended with the signal SIGILL (illegal instruction)"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV (access to memory that is not its own)"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "has too little memory"),
        (
            "print('OMP: Error #15', file=sys.stderr, flush=True); os.abort()",
            "SIGABRT (abort) and wrote: OMP: Error #15",
        ),
        ("os._exit(7)", "ended its process with the code 7"),
        ("sys.exit(7)", "the check fake failed: SystemExit: 7"),
        ("raise KeyboardInterrupt('a\\nb')", "the check fake failed: KeyboardInterrupt: a"),
        ("raise ImportError('no module\\nx')", "the check fake failed: ImportError: no module"),
        ("raise OSError(5, 'Input/output error')", "Input/output error"),
    ],
)
def test_a_check_that_dies_is_a_line_and_the_other_is_made(apart: Callable[..., Report], code: str, words: str) -> None:
    report = apart(code)
    (problem,) = report.problems
    assert words in problem.line()
    fake, well = report.results
    assert (fake.state, fake.facts) == ("failed", {"before": 1})
    assert (well.state, well.facts) == ("done", {"x": 1})


def test_a_step_with_a_key_is_left_out_when_the_check_begins_again(apart: Callable[..., Report]) -> None:
    report = apart("os.kill(os.getpid(), signal.SIGILL)", key="oldtorch")
    assert report.results[0].facts == {"before": 1, "after": 2}
    assert report.results[0].state == "done"
    assert "this build of oldtorch needs instructions, such as AVX2, that this" in report.problems[0].line()


@pytest.mark.filterwarnings("error::ResourceWarning", "error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("code", "patience"),
    [
        ("pass", 20),
        ("os._exit(7)", 20),
        ("os.kill(os.getpid(), 9)", 20),
        ("raise OSError", 20),
        ("time.sleep(600)", 0.1),
    ],
)
def test_processes_and_pipes_of_a_check_are_closed_however_it_ends(
    apart: Callable[..., Report], code: str, patience: float
) -> None:
    apart(code, patience=patience)
    gc.collect()


@pytest.mark.parametrize("error", ["KeyboardInterrupt", "SystemExit(3)", "RuntimeError('x')"])
def test_a_step_with_a_key_that_raises_anything_is_named_and_left_out(apart: Callable[..., Report], error: str) -> None:
    report = apart(f"raise {error}", key="oldtorch")
    assert report.results[0].facts == {"before": 1, "after": 2}
    (problem,) = report.problems
    assert problem.code == "fake.failed"
    assert problem.found.startswith(f"reading the disk failed: {error.partition('(')[0]}")


@pytest.mark.parametrize(
    "code",
    [
        "import traceback, threading; threading.Thread(target=lambda: 1 / 0).start(); time.sleep(0.1); os._exit(4)",
        "import faulthandler; faulthandler.enable(all_threads=True); os.kill(os.getpid(), signal.SIGABRT)",
        "sys.stderr.write('Traceback (most recent call last):\\n' + '  File \"x.py\", line 3, in f\\n' * 300 + 'E: why\\n'); "
        "sys.stderr.flush(); os._exit(4)",
    ],
)
def test_no_piece_of_a_traceback_is_in_the_line_of_a_problem(apart: Callable[..., Report], code: str) -> None:
    (problem,) = apart(code).problems
    for piece in ("Traceback", "most recent call", "File ", ", line ", " in f"):
        assert piece not in problem.line()
    assert "ended" in problem.line()
    assert any(
        word in problem.line() for word in ("ZeroDivisionError: division by zero", "Fatal Python error", "E: why")
    )


def test_what_a_check_prints_does_not_disturb_the_report(apart: Callable[..., Report]) -> None:
    report = apart("print('{\"fact\": 1}'); os.system('echo noise')")
    assert report.is_healthy
    assert report.results[0].facts == {"before": 1, "after": 2}


def test_a_check_that_hangs_is_given_up_with_its_step(apart: Callable[..., Report]) -> None:
    began_at = time.monotonic()
    report = apart("time.sleep(600)", patience=1)
    assert time.monotonic() - began_at < 60
    assert report.results[0].state == "given up"
    assert "reading the disk did not end within 1 s" in report.problems[0].line()
    assert report.problems[0].advice.endswith("bioclip-plugin doctor --patience 10")


def test_checks_on_threads_are_contained_too() -> None:
    released = Event()

    def hangs(_options: DoctorOptions) -> list[Fact]:
        released.wait(60)
        return []

    def fails(_options: DoctorOptions) -> list[Fact]:
        raise BaseException

    checks = [
        Check("hangs", "Hangs", hangs),
        Check("fails", "Fails", fails),
        Check("well", "Well", lambda _: [Fact("x", 1)]),
    ]
    try:
        report = examine(DoctorOptions(patience=1), checks=checks)
    finally:
        released.set()
    assert [result.state for result in report.results] == ["given up", "failed", "done"]
    assert [problem.code for problem in report.problems] == ["hangs.no-answer", "fails.failed"]


def test_a_system_without_room_for_another_thread_or_process_gets_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("bioclip_plugin.doctor.examining.Workers.submit", none)
    report = examine(checks=[Check("well", "Well", lambda _: [Fact("x", 1)])])
    assert "can't start new thread" in report.problems[0].line()
    monkeypatch.undo()

    def refused(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refused)
    report = examine(checks=[Check("fake", "Fake", "fake_check:look", apart=True)])
    assert "Resource temporarily unavailable" in report.problems[0].line()


def test_a_report_can_be_shown_without_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    show(Report("1", ()), as_json=False)


def test_checks_that_need_a_process_are_left_out_of_a_frozen_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    report = examine(checks=[Check("fake", "Fake", "no_module:look", apart=True)])
    assert (report.results[0].state, report.is_healthy) == ("left out", True)


def test_closing_ends_the_processes_of_checks_that_run(package: Callable[..., Path]) -> None:
    package("fake_check", APART.format(code="time.sleep(600)", key=""))
    apart = Apart()
    found: list[object] = []

    def take(one: object) -> None:
        found.append(one)
        apart.close()

    assert (
        apart.run("fake", "fake_check:look", DoctorOptions(), (30, 30), take, lambda _step, _s: Problem("x", "x"))
        == "failed"
    )
    assert not any(isinstance(one, Problem) for one in found)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0xC000001D, "illegal instruction"), (-1073741795, "illegal instruction"), (0xC0000135, "a DLL is missing"),
        (None, "did not end"), (3, "with the code 3"), (-200, "-200"),
    ],
)  # fmt: skip
def test_endings_of_windows_and_of_unknown_kinds_have_words(code: int | None, words: str) -> None:
    assert words in ending_of(code)


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is sent in another way")
def test_ctrl_c_ends_the_examination_and_its_processes(package: Callable[..., Path], tmp_path: Path) -> None:
    sleeper = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    site = package("fake_check", APART.format(code=sleeper, key=""))
    program = (
        f"import sys; sys.path.insert(0, {str(site)!r})\n"
        "from bioclip_plugin.doctor import examining\n"
        "examining.examine.__kwdefaults__['checks'] = (examining.Check('fake', 'Fake', 'fake_check:look', apart=True),)\n"
        "from bioclip_plugin.doctor.__main__ import main\nsys.exit(main(['--patience', '300']))"
    )
    running = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    pid = tmp_path / "pid"
    until = time.monotonic() + 60
    while not (pid.exists() and pid.read_text()) and time.monotonic() < until:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    assert running.wait(30) == 130
    assert running.stderr is not None
    with running.stderr as said:
        assert said.read() == "Interrupted.\n"
    until = time.monotonic() + 10
    while _runs(int(pid.read_text())) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _runs(int(pid.read_text()))


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "zombie" not in Path(f"/proc/{pid}/status").read_text() if Path(f"/proc/{pid}").exists() else False
