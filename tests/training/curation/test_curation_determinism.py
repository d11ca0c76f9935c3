"""The same bytes from a whole curation: with other threads, sources and rows in another order, and after a kill in each stage."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_curation
from published_numbers import CsvLayout
from tiny_curation import configured, results, write_sources

from bioclip_training.curation.running import run_stages
from bioclip_training.curation.stage_list import stages
from bioclip_training.published import known


@pytest.fixture(autouse=True)
def csv_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "layouts", lambda: (CsvLayout(),))


def test_threads_orders_and_kills_in_every_stage_change_no_byte(tmp_path: Path) -> None:
    write_sources(tmp_path / "one")
    outcomes = run_stages(configured(tmp_path / "one"), stages())
    wanted = results(tmp_path / "one")
    assert sum(name.endswith(".tar") for name in wanted) > 1
    by_stage = {outcome.manifest.stage: outcome.manifest for outcome in outcomes}
    assert {entry.reason for entry in by_stage["splits"].dropped} >= {
        "duplicate of another record",
        "leaks into rare by image",
    }

    write_sources(tmp_path / "killed", seed=7)
    paths = [str(Path(tiny_curation.__file__).parent), *sys.path]
    done = subprocess.run(
        [sys.executable, tiny_curation.__file__, str(tmp_path / "killed")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == [*(f"{stage.name} killed" for stage in stages()), "end exit 0"]
    assert results(tmp_path / "killed") == wanted
