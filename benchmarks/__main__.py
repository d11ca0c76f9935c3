"""Program of ``make bench``: every benchmark beside its peer, the parity check, the profile, and the page of results.

python -m benchmarks                 everything; writes benchmarks/results/*.json and benchmarks/RESULTS.md
BENCH_QUICK=1 python -m benchmarks   a quick look with few rounds; leaves RESULTS.md unchanged
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import fixtures

HERE = Path(__file__).parent
ROOT = HERE.parent
RESULTS = HERE / "results"
CELLS = RESULTS / ("quick-scale" if fixtures.QUICK else "scale")
MINUTES = 20
"""Longest time of a run on two quiet cores when the fixtures are in the cache."""


def main() -> int:
    """Run the parts one after the other and return 0, or the exit code of a part that failed. A missed target is not a failure."""
    started = time.monotonic()
    RESULTS.mkdir(exist_ok=True)
    prefix = "quick-" if fixtures.QUICK else ""
    bench, profile, parity = parts = [RESULTS / f"{prefix}{name}.json" for name in ("bench", "profile", "parity")]
    # Training needs real images and a second environment. It is run separately, and its results are added to the page.
    suites = sorted(str(path.relative_to(ROOT)) for path in HERE.glob("bench_*.py") if path.name != "bench_train.py")
    beside = [] if fixtures.QUICK else sorted(map(str, RESULTS.glob("train.json")))
    for part in parts:
        part.unlink(missing_ok=True)  # figures of an earlier commit are not taken for this one's
    failed = run_module(
        "pytest",
        "-q",
        "--durations=25",
        *suites,
        "--benchmark-disable-gc",
        f"--benchmark-json={bench}",
    )
    if not bench.exists() or bench.stat().st_size == 0:
        return failed or 1
    failed = run_module("benchmarks.profile_stages", f"--bench={bench}", f"--output={profile}") or failed
    page = [] if fixtures.QUICK else [f"--output={HERE / 'RESULTS.md'}"]
    _note_time(bench, (time.monotonic() - started) / 60)
    failed = (
        run_module(
            "benchmarks.table",
            str(bench),
            *beside,
            f"--profile={profile}",
            f"--parity={parity}",
            f"--scale={CELLS}",
            *page,
        )
        or failed
    )
    minutes = (time.monotonic() - started) / 60
    print(
        f"{minutes:.1f} minutes" + (f", more than the {MINUTES} planned" if minutes > MINUTES else ""), file=sys.stderr
    )
    return failed


def _note_time(bench: Path, minutes: float) -> None:
    """Put the time of the run into its file, for the page."""
    content = json.loads(bench.read_text(encoding="utf-8"))
    content["machine_info"]["minutes"] = round(minutes, 1)
    bench.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def run_module(module: str, *arguments: str) -> int:
    """Run a module from the root of the repository, with our source roots on the path, installed or not."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=ROOT, env=environment(), check=False
    ).returncode


def output_of(*arguments: str) -> str:
    """Run Python from the root of the repository, with our source roots on the path, and return its output.

    Raises:
        RuntimeError: it failed; the message has the end of its errors.
    """
    run = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment(), check=False, capture_output=True, text=True
    )
    if run.returncode:
        words = " ".join(word for word in arguments if "\n" not in word)
        raise RuntimeError(f"{words} ended with {run.returncode}: {run.stderr.strip()[-2000:]}")
    return run.stdout


def figures_of(*arguments: str) -> dict[str, Any]:
    """Run Python likewise and return the JSON object in its last line."""
    figures: dict[str, Any] = json.loads(output_of(*arguments).splitlines()[-1])
    return figures


_COMMAND = """
import json, resource, subprocess, sys, time
began = time.perf_counter()
limit_s, *words = sys.argv[1:]
command = [sys.executable, "-m", "bioclip_plugin", *words]
done = subprocess.run(command, stdout=subprocess.DEVNULL, timeout=float(limit_s))
wall_s, used = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({"wall_s": wall_s, "process_s": used.ru_utime + used.ru_stime, "peak_mb": used.ru_maxrss / 1024}))
sys.exit(done.returncode)
"""


def command_figures(*arguments: str, limit_s: float = 1e6) -> dict[str, float]:
    """Run a command of ours in its own process and return its times and its highest memory (``wall_s``, ``process_s``, ``peak_mb``).

    A small process starts it: on Linux the highest memory of a child begins with that of the process that started it.

    Raises:
        RuntimeError: it failed, or took longer than the limit; the message has the end of its errors.
    """
    figures = figures_of("-c", _COMMAND, str(limit_s), *arguments)
    return {name: round(value, 3) for name, value in figures.items()}


def environment() -> dict[str, str]:
    """Return the environment of a process of ours, with the settings of our command line."""
    roots = os.pathsep.join(str(ROOT / part) for part in (".", "core", "training"))
    return {"GOMP_SPINCOUNT": "1000", **os.environ, "PYTHONPATH": roots}


if __name__ == "__main__":
    sys.exit(main())
