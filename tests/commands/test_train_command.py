"""``train`` on the command line: its plan, its first screen, and its log without a terminal."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from collections_of_discs import make_catalog, tiny_config
from command_samples import Bioclip

PAGE = Path(__file__).parents[2] / "docs" / "training.md"


@pytest.fixture
def given(tmp_path: Path) -> list[str]:
    catalog = make_catalog(tmp_path / "discs", each=6, val=1)
    return [
        "--data", str(catalog), "--start", tiny_config(tmp_path), "--output", "model", "--steps", "3", "--batch-size", "8",
        "--device", "cpu", "--precision", "fp32", "--workers", "1",
    ]  # fmt: skip


def test_a_plan_is_typed_and_nothing_is_written(bioclip: Bioclip, given: list[str]) -> None:
    done = bioclip("train", *given, "--plan", "--json")
    assert done.code == 0
    plan = json.loads(done.out)
    assert (plan["state"], plan["steps"], plan["batch_size"], plan["problems"]) == ("new", 3, 8, [])
    assert plan["speed"]["samples_per_s"] > 0
    assert plan["time"]["low_s"] < plan["time"]["high_s"]
    assert {part["name"] for part in plan["parts"]} == {"train", "dev", "val"}
    assert not Path("model").exists()


def test_a_plan_that_train_would_refuse_ends_with_1_and_says_why(bioclip: Bioclip, given: list[str]) -> None:
    Path("file").write_text("mine")
    done = bioclip("train", *given, "--output", "file/model", "--plan")
    assert done.code == 1
    assert "Does not work: --output file/model: file is a file, not a folder; give another folder" in done.out


def test_a_run_begins_with_its_plan_and_its_log_has_whole_lines_only(bioclip: Bioclip, given: list[str]) -> None:
    done = bioclip("train", *given)
    assert done.code == 0
    lines = done.out.splitlines()
    first = lines[: next(place for place, line in enumerate(lines) if line.startswith("step 0 of 3"))]
    for begin in ("train: ", "val: ", "Images per taxon", "Work: 3 steps", "Device: cpu", "Disk: up to", "Pause: Ctrl-C",
                  "Speed: ", "Time to the end: about", "Memory: this process needs about"):  # fmt: skip
        assert any(line.startswith(begin) for line in first), begin
    assert "\r" not in done.out
    assert "\x1b" not in done.out
    assert any(line.startswith("step 3 of 3, dev top-1 ") and " of " in line for line in lines)
    assert not [line for line in lines if line.startswith("Training: 1 of 3")], "a log has a line every ten seconds"


def test_other_processes_than_the_first_say_nothing(
    bioclip: Bioclip, given: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")  # without WORLD_SIZE it is alone, so that nothing has to be waited for
    done = bioclip("train", *given, "--plan")
    assert (done.code, done.out, done.err) == (0, "", "")


# The recipe for Slurm: the script of the page, with a training and a queue of a few lines.

FAKES = {
    "bioclip-plugin": """\
trap "kill %1; echo saved >> log; exit 130" TERM
echo begun >> log
sleep "$SECONDS_OF_WORK" & wait $!
exit "$CODE"
""",
    "scontrol": 'echo "$@" >> log\n',
}


@pytest.mark.skipif(shutil.which("bash") is None, reason="Slurm's scripts are for bash")
@pytest.mark.parametrize(
    ("work_s", "ended", "code", "log"),
    [
        (30, True, 130, "begun\nsaved\nrequeue 7\n"),
        (0, False, 0, "begun\n"),
        (0, False, 1, "begun\n"),
    ],
)
def test_the_script_for_slurm_passes_the_signal_on_and_comes_back_only_after_a_pause(
    work_s: int, ended: bool, code: int, log: str, tmp_path: Path
) -> None:
    (script,) = re.findall(r"^```bash\n(#!/bin/bash\n#SBATCH.*?)^```", PAGE.read_text("utf-8"), re.M | re.S)
    (tmp_path / "retrain.sh").write_text(script, "utf-8")
    for name, text in FAKES.items():
        (tmp_path / name).write_text("#!/bin/bash\n" + text, "utf-8")
        (tmp_path / name).chmod(0o755)
    environment = {
        **os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "7", "SECONDS_OF_WORK": str(work_s), "CODE": str(code),
    }  # fmt: skip
    job = subprocess.Popen(["bash", "retrain.sh"], cwd=tmp_path, env=environment)
    if ended:
        until = time.monotonic() + 60
        while not (tmp_path / "log").exists() and time.monotonic() < until:
            time.sleep(0.02)
        job.send_signal(signal.SIGTERM)
    assert job.wait(timeout=60) == code
    assert (tmp_path / "log").read_text() == log
