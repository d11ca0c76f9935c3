"""Program of ``make bench``: every benchmark beside pybioclip, the parity check, the profile, and the page of results.

python -m benchmarks                 everything; writes benchmarks/results/*.json and benchmarks/RESULTS.md
BENCH_QUICK=1 python -m benchmarks   a quick look with few rounds; leaves RESULTS.md unchanged
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks import fixtures

HERE = Path(__file__).parent
ROOT = HERE.parent
RESULTS = HERE / "results"


def main() -> int:
    """Run the parts one after the other and return 0, or the exit code of a failed suite. A missed target is not a failure."""
    RESULTS.mkdir(exist_ok=True)
    prefix = "quick-" if fixtures.QUICK else ""
    bench, profile, parity = (RESULTS / f"{prefix}{name}.json" for name in ("bench", "profile", "parity"))
    # Training needs real images and a second environment. It is run separately, and its results are added to the page.
    suites = sorted(str(path.relative_to(ROOT)) for path in HERE.glob("bench_*.py") if path.name != "bench_train.py")
    beside = [] if fixtures.QUICK else sorted(map(str, RESULTS.glob("train.json")))
    failed = _python("pytest", "-q", *suites, "--benchmark-disable-gc", f"--benchmark-json={bench.relative_to(ROOT)}")
    if not bench.exists() or bench.stat().st_size == 0:
        return failed or 1
    _python("benchmarks.profile_stages", f"--bench={bench}", f"--output={profile}")
    page = [] if fixtures.QUICK else [f"--output={HERE / 'RESULTS.md'}"]
    _python("benchmarks.table", str(bench), *beside, f"--profile={profile}", f"--parity={parity}", *page)
    return failed


def _python(module: str, *arguments: str) -> int:
    """Run a module from the root of the repository, with our source roots on the path, installed or not."""
    roots = os.pathsep.join(str(ROOT / part) for part in (".", "core", "training"))
    environment = {"GOMP_SPINCOUNT": "1000", **os.environ, "PYTHONPATH": roots}  # as our command line sets it
    return subprocess.run([sys.executable, "-m", module, *arguments], cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
