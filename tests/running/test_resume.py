"""A killed or interrupted run continues where it stopped: every listed image is processed exactly once."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
import time
from contextlib import closing
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
from PIL import Image
from ready_processes import PRELOADED, PROCESSES

from bioclip_plugin.cli import run
from bioclip_plugin.plugins import create_plugin_manager
from bioclip_plugin.store import Store
from bioclip_plugin.testing import FakeModel

COUNT = 240


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folder of 240 images: every tenth has the bytes of the previous one, and two cannot be read."""
    images = tmp_path / "images"
    images.mkdir()
    (tmp_path / "labels.txt").write_text("a red fish\na green fish\na blue fish\n")
    for n in range(COUNT):
        path = images / f"{n:03}.png"
        colour = [n % 251, 0, 0]
        colour[n % 3] = 255
        Image.new("RGB", (8, 8), tuple(colour)).save(path)
        if n % 10 == 9:
            path.write_bytes((images / f"{n - 1:03}.png").read_bytes())
    (images / "100.png").write_bytes(b"")
    (images / "200.png").write_bytes((images / "201.png").read_bytes()[:50])
    return tmp_path


PRELOADED.append(__name__)


def classify(folder: Path, *more: str) -> None:
    """Run the command line in its own process, with its output in a file."""
    output = os.open(folder / "output.txt", os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
    os.dup2(output, 1)
    os.dup2(output, 2)
    manager = create_plugin_manager(installed=False)
    manager.register(FakeModel(logit_scale=10.0))
    options = [
        "--model",
        "fake",
        "--labels",
        str(folder / "labels.txt"),
        "--store",
        str(folder / "r.db"),
        "--batch-size",
        "4",
    ]
    code = run(["classify", str(folder / "images"), *options, *more], manager)
    sys.stdout.flush()
    sys.exit(code)


def started(folder: Path, *more: str) -> ForkServerProcess:
    process = PROCESSES.Process(target=classify, args=(folder, *more))
    process.start()
    return process


def rows_stored(folder: Path) -> int:
    database = folder / "r.db"
    if not database.exists():
        return 0
    with closing(sqlite3.connect(database, timeout=10)) as connection:
        try:
            return int(connection.execute("select count(*) from bioclip_listing where status = 1").fetchone()[0])
        except sqlite3.OperationalError:  # the tables are not complete yet
            return 0


def stop_at(folder: Path, rows: int, how: signal.Signals) -> int:
    """Start the run, send the signal after this number of finished items, and return the exit code."""
    process = started(folder)
    deadline = time.monotonic() + 120
    while process.is_alive() and rows_stored(folder) < rows:
        assert time.monotonic() < deadline, "the run stores nothing"
        time.sleep(0.005)
    assert process.pid is not None
    os.kill(process.pid, how)
    process.join(60)
    assert process.exitcode is not None
    return process.exitcode


def finish(folder: Path) -> tuple[int | None, list[dict[str, object]]]:
    process = started(folder, "--json")
    process.join(120)
    lines = (folder / "output.txt").read_text().splitlines()
    return process.exitcode, [json.loads(line) for line in lines if line.startswith("{")]


def check_everything_is_there_once(folder: Path, rows: list[dict[str, object]]) -> None:
    listed = sorted(str(path) for path in (folder / "images").iterdir())
    assert [row["uri"] for row in rows] == listed
    assert [Path(str(row["uri"])).name for row in rows if "failure" in row] == ["100.png", "200.png"]
    with Store.open(folder / "r.db") as store:
        run = store.run()
        verified = store.verify(run)
        assert (verified.listed, verified.answered, verified.failed, verified.todo) == (COUNT, COUNT - 2, 2, 0)
        assert verified.problems == []


def test_a_run_that_is_killed_again_and_again_has_every_image_exactly_once(folder: Path) -> None:
    killed = [stop_at(folder, rows, signal.SIGKILL) for rows in (1, COUNT // 3, 2 * COUNT // 3)]
    assert killed[0] == -signal.SIGKILL
    code, rows = finish(folder)
    assert code == 3  # finished with two failures
    check_everything_is_there_once(folder, rows)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_so_and_goes_on(folder: Path, how: signal.Signals) -> None:
    assert stop_at(folder, 4, how) == 130
    before = rows_stored(folder)
    assert before < COUNT - 2
    code, rows = finish(folder)
    assert code == 3
    check_everything_is_there_once(folder, rows)
