"""Ctrl-C and SIGTERM: the first one ends a command within seconds, whatever it is busy with, and the work continues later.

The work that is interrupted here would take a thousand seconds; no test depends on how fast it ends.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import click
import pytest
from PIL import Image
from ready_processes import Ready

from bioclip_plugin import __main__ as beginning
from bioclip_plugin.commands.reporting import console_for
from bioclip_plugin.commands.signals import asked_to_stop, guarded, interruptible

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")

# A command of a plugin that is busy in one of several ways, and says when it begins.
BUSY = """
import hashlib, os, signal, sys, time
if "AT_ONCE" in os.environ:  # in a forked child before anything of this project
    os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGTERM))
import click
from bioclip_plugin import create_plugin_manager, hookimpl
from bioclip_plugin.cli import run
from bioclip_plugin.commands import signals
from bioclip_plugin import __main__ as beginning
from bioclip_plugin.commands.reporting import console_for

def in_c():  # the interpreter lock is free, but no handler of Python runs on the main thread
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)

def swallowing():
    while True:
        try:
            time.sleep(1000)
        except BaseException:
            pass

def with_a_child():
    child = os.fork()
    if not child:
        time.sleep(1000)
    if "AT_ONCE" not in os.environ:
        os.kill(child, signal.SIGTERM)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    time.sleep(0.5)
    print("child", code, flush=True)

def slow_end():
    try:
        time.sleep(1000)
    finally:
        time.sleep(1000)

class Plugin:
    @hookimpl
    def register_commands(self, cli):
        @cli.command()
        @click.argument("kind")
        def busy(kind):
            with signals.interruptible(console_for(), "All is well.", lambda: print("recorded", flush=True)):
                print("begun", flush=True)
                globals()[kind]()
                print("ended", flush=True)

        @cli.command()
        def step():
            with signals.asked_to_stop() as stop:
                stop.takes(float(os.environ.get("TAKES", 0)))
                print("begun", flush=True)
                if "TAKES" in os.environ:  # a step that asks only at its end
                    time.sleep(0.6)
                while not stop.is_asked():
                    time.sleep(0.01)
                time.sleep(float(os.environ["SAVING"]))
                print("saved", flush=True)

signals.GRACE_S = float(os.environ.get("GRACE", signals.GRACE_S))
manager = create_plugin_manager(installed=False)
manager.register(Plugin())
sys.exit(run(manager=manager))
"""


def begin(*arguments: str, before: Callable[[], object] | None = None, **environment: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY, *arguments], env={**os.environ, **environment}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=before,  # noqa: PLW1509 - the only way to begin with an ignored signal
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("kind", ["in_c", "swallowing"])
def test_a_command_that_does_not_react_to_the_first_signal_is_ended_with_its_last_words(
    kind: str, number: signal.Signals
) -> None:
    process = begin("busy", kind, GRACE="0.5")
    process.send_signal(number)
    assert end(process) == (130, "Interrupted. All is well.\nrecorded\n", "")


def test_an_error_that_a_library_raises_in_place_of_the_interrupt_is_an_interrupt(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """DuckDB raises RuntimeError("Query interrupted")."""

    def query() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise RuntimeError("Query interrupted") from None

    with pytest.raises(click.exceptions.Exit) as ended, interruptible(console_for(), "All is well."):
        query()
    assert ended.value.exit_code == 130
    assert capsys.readouterr().out == "Interrupted. All is well.\n"
    with pytest.raises(KeyboardInterrupt), guarded():
        query()

    def save() -> None:
        signal.raise_signal(signal.SIGINT)
        raise RuntimeError("full disk")

    with pytest.raises(RuntimeError, match="full disk"), guarded(), asked_to_stop():
        save()


def test_ctrl_c_while_the_command_line_is_still_imported_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Importing(ModuleType):
        def __getattr__(self, name: str) -> object:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "bioclip_plugin.cli", Importing("bioclip_plugin.cli"))
    with pytest.raises(SystemExit) as ended:
        beginning.main()
    assert ended.value.code == 130
    assert capsys.readouterr() == ("", "Interrupted.\n")


def test_a_second_ctrl_c_ends_at_once() -> None:
    process = begin("busy", "slow_end", GRACE="1000")
    process.send_signal(signal.SIGINT)
    time.sleep(0.6)
    process.send_signal(signal.SIGINT)
    assert end(process)[0] == 130


def test_a_ctrl_c_that_a_wrapper_passes_on_as_well_is_one(tmp_path: Path) -> None:
    process = begin("busy", "swallowing", GRACE="0.5")
    for _ in range(3):
        process.send_signal(signal.SIGINT)
    assert end(process) == (130, "Interrupted. All is well.\nrecorded\n", "")


def test_a_command_in_the_background_of_a_script_stays_unaware_of_ctrl_c() -> None:
    process = begin("busy", "swallowing", GRACE="0.2", before=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.6)
    process.send_signal(signal.SIGTERM)
    assert end(process)[0] == 130


def test_a_signal_to_a_forked_child_is_not_one_to_the_command() -> None:
    code, out, _ = end(begin("busy", "with_a_child"))
    assert code == 0
    assert out.splitlines() == [f"child {-signal.SIGTERM}", "ended"]


def test_a_signal_to_a_child_that_is_just_being_forked_is_not_one_to_the_command() -> None:
    code, out, _ = end(begin("busy", "with_a_child", AT_ONCE="1", GRACE="0.1"))
    assert code == 0
    assert out.splitlines() == [f"child {-signal.SIGTERM}", "ended"]


def test_work_that_saves_its_state_is_given_the_time_for_it() -> None:
    process = begin("step", SAVING="0.6", GRACE="0.2")
    process.send_signal(signal.SIGINT)
    assert end(process) == (0, "saved\n", "")


def test_a_step_that_takes_long_is_waited_for_if_it_said_so() -> None:
    """A batch system sends SIGTERM long before SIGKILL; a slow step that is given up costs all steps since the last state."""
    process = begin("step", SAVING="0", GRACE="0.2", TAKES="9")
    process.send_signal(signal.SIGTERM)
    said = "Pausing: the step in progress takes up to 9 s; then the state is saved."
    code, out, err = end(process)
    assert (code, out) == (0, "saved\n")
    assert err.startswith(said)


# -- classify ----------------------------------------------------------------------------------------------------------

CLASSIFY = """
import hashlib, os, sys, time
from pathlib import Path
from PIL import Image
from ready_processes import Ready
from bioclip_plugin import create_plugin_manager, hookimpl
from bioclip_plugin.cli import main
from bioclip_plugin import cli
from bioclip_plugin.testing import FakeEncoder, FakeModel

class Opener:
    @hookimpl
    def media_suffixes(self):
        return [".slow"]

    @hookimpl
    def open_media(self, item):
        if os.environ["STUCK"] == "decoder":
            time.sleep(1000)
        return Image.new("RGB", (9, 9), (0, 0, 200))

class Encoder(FakeEncoder):
    def encode_images(self, images_BHWC):
        if os.environ["STUCK"] == "encoder" and self.images_encoded >= 4:
            Path("stuck").touch()
            hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
        return super().encode_images(images_BHWC)

model = FakeModel(logit_scale=10.0)
model.encoder = Encoder("fake", logit_scale=10.0)
manager = create_plugin_manager(installed=False)
manager.register(model)
manager.register(Opener())
cli.create_plugin_manager = lambda **options: manager
main()
"""
NUMBER = 12
COMMAND = ("classify", "photos", "--model", "fake", "--labels", "words.txt", "--batch-size", "2", "--precision", "fp32",
           "--workers", "2")  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folder with twelve images, and two that a plugin opens."""
    (tmp_path / "photos").mkdir()
    for n in range(NUMBER):
        Image.new("RGB", (8, 8), (255 - n, 0, 0)).save(tmp_path / "photos" / f"{n:02}.png")
    for n in range(2):
        (tmp_path / "photos" / f"z{n}.slow").write_text(str(n))
    (tmp_path / "words.txt").write_text("a red fish\na blue fish\n")
    return tmp_path


def classify(folder: Path, stuck: str = "") -> Ready:
    environment = {**os.environ, "BIOCLIP_CACHE": str(folder / "cache"), "STUCK": stuck}
    return Ready(CLASSIFY, *COMMAND, cwd=folder, environment=environment)


def asked(folder: Path, query: str) -> list[tuple[object, ...]]:
    if not (folder / "bioclip.db").exists():
        return []
    with sqlite3.connect(folder / "bioclip.db", timeout=10) as connection:
        try:
            return connection.execute(query).fetchall()
        except sqlite3.OperationalError:  # the tables are not complete yet
            return []


def wait_for(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not what():
        assert time.monotonic() < deadline, "the command does not come that far"
        time.sleep(0.05)


def done(folder: Path) -> int:
    return len(asked(folder, "SELECT 1 FROM bioclip_listing WHERE status = 1"))


@pytest.mark.parametrize(("stuck", "number"), [("decoder", signal.SIGINT), ("encoder", signal.SIGTERM)])
def test_classify_with_a_stuck_decoder_or_batch_ends_says_how_to_go_on_and_goes_on(
    folder: Path, stuck: str, number: signal.Signals
) -> None:
    process = classify(folder, stuck)
    wait_for((folder / "stuck").exists if stuck == "encoder" else lambda: done(folder) >= 10)
    process.send_signal(number)
    code, out, err = process.communicate()
    assert (code, err) == (130, "")
    assert "Interrupted. Finished work is committed in " in out
    assert "continue with: bioclip-plugin classify photos --model fake" in out
    assert asked(folder, "SELECT status FROM bioclip_runs") == [("interrupted",)]
    before = done(folder)
    assert (4 if stuck == "encoder" else 10) <= before < NUMBER + 2
    code, out, _ = classify(folder).communicate()
    assert code == 0
    assert f"{NUMBER + 2} images, {NUMBER + 2} done, 0 failed" in out
    assert f"{before} were done before" in out
