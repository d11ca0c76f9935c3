"""Behaviour that shows only in a separate process: imports, signals, a closed pipe."""

from __future__ import annotations

import io
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_samples import Bioclip
from PIL import Image
from ready_processes import Ready
from rich.console import Console

from bioclip_plugin import create_plugin_manager
from bioclip_plugin.cli import escape_what_cannot_be_written, run
from bioclip_plugin.testing import FakeModel

PROGRAM = """
import atexit, os, sys, time
if "SAYS_EXIT" in os.environ:
    atexit.register(os.write, 2, b"the interpreter exits\\n")
from bioclip_plugin import create_plugin_manager
from bioclip_plugin.cli import leave, run
from bioclip_plugin.testing import FakeEncoder, FakeModel

class SlowEncoder(FakeEncoder):
    def encode_images(self, images_BHWC):
        if "SAYS_EXIT" in os.environ:
            os.write(2, b"encoding\\n")
        time.sleep(float(os.environ["SLOWLY"]))
        return super().encode_images(images_BHWC)

model = FakeModel(logit_scale=10.0)
model.encoder = SlowEncoder("fake", logit_scale=10.0)
manager = create_plugin_manager(installed=False)
manager.register(model, name="slow")
codes = [run(command.split(), manager=manager) for command in os.environ.get("COMMANDS", "").split(";") if command]
code = max(codes) if codes else run(manager=manager)
sys.stderr.write(f"encoded={model.encoder.images_encoded} torch={'torch' in sys.modules} open_clip={'open_clip' in sys.modules}\\n")
leave(code)
"""
NUMBER = 24


CLASSIFY = (
    "classify", "photos", "--model", "fake", "--labels", "words.txt", "--batch-size", "2", "--precision", "fp32"
)  # fmt: skip


def draw(folder: Path) -> None:
    """Draw twenty-four different images and write two labels."""
    (folder / "photos").mkdir()
    for n in range(NUMBER):
        Image.new("RGB", (8, 8), (255 - n, 0, 0)).save(folder / "photos" / f"{n:02}.png")
    (folder / "words.txt").write_text("a red fish\na blue fish\n")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    draw(tmp_path)
    return tmp_path / "photos"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a finished run over the images."""
    folder = tmp_path_factory.mktemp("finished")
    draw(folder)
    manager = create_plugin_manager(installed=False)
    manager.register(FakeModel(logit_scale=10.0), name="slow")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("BIOCLIP_CACHE", str(folder / "cache"))
        assert run(CLASSIFY, manager) == 0
    return folder


def variables(tmp_path: Path, slowly: float, commands: str = "") -> dict[str, str]:
    return {**os.environ, "BIOCLIP_CACHE": str(tmp_path / "cache"), "SLOWLY": str(slowly), "COMMANDS": commands}


def start(tmp_path: Path, *arguments: str, slowly: float = 0.0, commands: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments], cwd=tmp_path, env=variables(tmp_path, slowly, commands), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def start_ready(tmp_path: Path, *arguments: str, slowly: float) -> Ready:
    """Start the program where it is not about imports."""
    return Ready(PROGRAM, *arguments, cwd=tmp_path, environment=variables(tmp_path, slowly))


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def done_rows(store: Path) -> int:
    if not store.exists():
        return 0
    with sqlite3.connect(store, timeout=10) as connection:
        try:
            return int(connection.execute("SELECT count(*) FROM bioclip_listing WHERE status = 1").fetchone()[0])
        except sqlite3.OperationalError:  # the tables are not complete yet
            return 0


def test_an_interrupted_run_keeps_finished_items_and_continues_with_the_same_command(
    tmp_path: Path, photos: Path, bioclip: Bioclip, model: FakeModel
) -> None:
    store = tmp_path / "bioclip.db"
    process = start_ready(tmp_path, *CLASSIFY, slowly=0.2)
    deadline = time.monotonic() + 120
    while done_rows(store) < 4 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    code, out, _ = process.communicate()
    before = done_rows(store)
    assert code == 130
    assert "continue with: bioclip-plugin classify photos" in out
    assert 4 <= before < NUMBER
    again = bioclip(*CLASSIFY)
    assert again.code == 0
    assert f"{NUMBER} images, {NUMBER} done, 0 failed" in again.out
    assert model.encoder.images_encoded == NUMBER - before
    assert bioclip("runs", "verify").code == 0


def test_an_interruption_does_not_wait_for_a_batch_of_a_slow_model(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interpreter's exit would wait for it: the process ends without."""
    monkeypatch.setenv("SAYS_EXIT", "")
    process = start_ready(tmp_path, *CLASSIFY, slowly=1_000)
    while not (process.err.exists() and "encoding" in process.err.read_text("utf-8")):
        assert process.poll() is None, "it ended before it encoded"
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    code, out, err = process.communicate()
    assert code == 130
    assert "continue with: bioclip-plugin classify photos" in out
    assert "the interpreter exits" not in err


def test_a_second_run_over_finished_work_imports_neither_torch_nor_open_clip(finished: Path) -> None:
    code, out, err = finish(start(finished, *CLASSIFY))
    assert code == 0
    assert f"All {NUMBER} images were done already" in out
    assert "encoded=0 torch=False open_clip=False" in err


def test_help_exports_and_views_import_no_torch(finished: Path) -> None:
    groups = ("", "classify", "embed", "export", "runs", "labels", "labels build", "models", "store", "plugins", "demo",
              "train", "evaluate", "calibrate", "catalog build", "shards write", "prototypes build", "review import")  # fmt: skip
    helps = [f"{command} --help" for command in groups]
    works = ["export --output r.csv", "export --format parquet --output r.parquet", "runs list", "runs show", "runs verify",
             "store upgrade", "plugins", "models list"]  # fmt: skip
    code, _, err = finish(start(finished, commands=";".join([*helps, *works])))
    assert code == 0
    assert "torch=False open_clip=False" in err


def test_a_reader_who_leaves_ends_the_work_without_a_traceback(tmp_path: Path, photos: Path) -> None:
    process = start(tmp_path, *CLASSIFY, "--json", slowly=0.05)
    assert process.stdout is not None
    assert process.stdout.readline().startswith('{"uri": "photos/00.png"')
    process.stdout.close()
    assert process.stderr is not None
    said = process.stderr.read()
    assert process.wait(timeout=60) == 0
    assert "Traceback" not in said
    assert "Exception ignored" not in said


@pytest.mark.parametrize(
    ("encoding", "written"),
    [("ascii", b"\\xe9t\\xe9 \\u2603"), ("latin-1", b"\xe9t\xe9 \\u2603"), ("utf-8", "été ☃".encode())],
)
def test_a_name_that_the_terminal_cannot_show_does_not_end_the_work(encoding: str, written: bytes) -> None:
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding=encoding)
    escape_what_cannot_be_written(stream)
    Console(file=stream).print("été ☃")
    stream.flush()
    assert buffer.getvalue().strip() == written


@pytest.mark.parametrize("arguments", ["classify", "no-such-command", "runs list --nothing"])
def test_misuse_exits_with_two(bioclip: Bioclip, arguments: str) -> None:
    assert bioclip(*arguments.split()).code == 2


def test_an_unknown_model_is_one_line(bioclip: Bioclip, tmp_path: Path) -> None:
    draw(tmp_path)
    refused = bioclip("classify", "photos", "--model", "no-such-model")
    assert refused.code == 1
    assert refused.err.startswith("Error: model 'no-such-model' is not known")
