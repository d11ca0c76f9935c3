"""The frame of the benchmarks: spreads, limits, verdicts on targets, and cells that are kept."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import __main__ as bench
from benchmarks import (
    fixtures,
    formats_worker,
    limits,
    machine,
    scale,
    scale_cells,
    table,
    targets,
    training_cells,
    training_page,
)
from benchmarks.__main__ import command_figures, figures_of
from benchmarks.pairs import Spread, in_turn, pair_figures, percentile_90
from benchmarks.training_savings import SAVINGS, SIDES

RATES = st.lists(st.floats(0.01, 1e6), min_size=2, max_size=20)


@given(RATES)
@settings(max_examples=50, deadline=None)
def test_quartiles_and_the_90th_percentile_are_those_of_numpy(rates: list[float]) -> None:
    spread = Spread.of(rates)
    assert (spread.low, spread.q1, spread.median, spread.q3, spread.high) == pytest.approx(
        tuple(np.percentile(rates, [0, 25, 50, 75, 100]))
    )
    assert percentile_90(rates) == pytest.approx(np.percentile(rates, 90))


def test_one_round_has_no_spread() -> None:
    assert set(Spread.of([3.0]).as_dict().values()) == {3.0}
    assert percentile_90([3.0]) == 3.0


def test_a_ratio_is_that_of_two_rounds_that_follow_each_other() -> None:
    figures = pair_figures([1.0, 4.0, 2.0], [3.0, 12.0, 6.0], 10, 5)  # the machine was slow in the second pair
    assert figures["ratio"] == Spread.of([6.0, 6.0, 6.0]).as_dict()
    assert figures["ours"]["low"] == 2.5


def test_sides_are_run_in_turn_and_the_first_round_does_not_count() -> None:
    order: list[str] = []

    def side(name: str, seconds: float) -> Any:
        def run(work: int) -> float:
            order.append(f"{name}{work}")
            return seconds

        return run

    numbers = iter(range(100))
    found = in_turn({"a": side("a", 1.0), "b": side("b", 2.0)}, prepare=lambda: next(numbers), pairs=2)
    assert order == ["a0", "b1", "a2", "b3", "a4", "b5"]
    assert found == {"a": [1.0, 1.0], "b": [2.0, 2.0]}


@given(st.floats(-1, 3), st.floats(0.001, 1e4))
@settings(max_examples=50, deadline=None)
def test_the_exponent_of_a_power_law_is_found(power: float, factor: float) -> None:
    amounts = (100, 1_000, 10_000)
    found = scale.exponent(amounts, [factor * amount**power for amount in amounts])
    assert found is not None
    assert found[0] == pytest.approx(power, abs=1e-6)
    assert found[1] == pytest.approx(0, abs=1e-6)


def test_an_exponent_needs_two_amounts_and_two_have_no_error() -> None:
    assert scale.exponent([10], [1.0]) is None
    found = scale.exponent([10, 100], [1.0, 10.0])
    assert found is not None
    assert found[0] == pytest.approx(1)
    assert math.isnan(found[1])


def ratio_of(value: float) -> dict[str, Any]:
    return {"ratio": Spread.of([value]).as_dict()}


@pytest.mark.parametrize(
    ("key", "value", "amx", "verdict"),
    [
        ("end-to-end-small", 3.4, False, "met"),
        ("end-to-end-small", 2.0, True, "**missed**"),
        ("end-to-end-small", 2.0, False, "not measurable on this machine"),
        ("labels-build", 2.0, False, "**missed**"),  # needs no AMX: a miss is a miss
    ],
)
def test_a_target_is_met_missed_or_not_measurable(key: str, value: float, amx: bool, verdict: str) -> None:
    (target,) = [one for one in targets.TARGETS if one.key == key]
    assert targets.verdict_of(target, ratio_of(value), amx=amx)[1].startswith(verdict)


def test_a_target_without_a_figure_is_not_taken_for_met() -> None:
    for target in targets.TARGETS:
        by_another = f": `{target.by}` does" if target.by else ""
        assert targets.verdict_of(target, None, amx=True) == ("–", f"not measured in this run{by_another}")
        assert targets.verdict_of(target, {"skipped": True}, amx=True) == targets.verdict_of(target, None, amx=True)


def test_a_target_that_make_bench_does_not_measure_names_the_command_that_does() -> None:
    cells = {name for series in scale.SERIES for name, _ in series.cells()}
    for target in targets.TARGETS:
        named = {"make bench-scale": target.key in cells, "pytest benchmarks/bench_train.py": "training-" in target.key}
        assert target.by == next((command for command, measures in named.items() if measures), ""), target.key


def test_every_benchmark_with_a_target_is_found_by_its_key() -> None:
    written = "".join(path.read_text("utf-8") for path in Path(table.__file__).parent.glob("bench_*.py"))
    cells = {name for series in scale.SERIES for name, _ in series.cells()}
    prefixes = ("end-to-end-", "classify-", "reclassify-", "store-", "encode-", "training-")
    for target in targets.TARGETS:
        prefix = next((one for one in prefixes if target.key.startswith(one)), target.key)
        assert target.key in cells or f'"{prefix}' in written, target.key


def test_a_finished_cell_is_kept_and_a_failed_one_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[str] = []

    def run(command: Sequence[str], **_: Any) -> subprocess.CompletedProcess[str]:
        ran.append(command[-1])
        failed = command[-1] == "1000"
        return subprocess.CompletedProcess(command, int(failed), '{"seconds": 2.0}\n', "the disk is full")

    monkeypatch.setattr(scale, "CELLS", tmp_path / "cells")
    monkeypatch.setattr(scale, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr("subprocess.run", run)
    monkeypatch.setattr("sys.argv", ["scale", "images", "--most", "1000"])
    monkeypatch.setattr(machine, "commit", lambda: "0123456789")
    monkeypatch.setattr(machine, "describe", _described)
    assert scale.main() == 1
    assert "the disk is full" in capsys.readouterr().err
    assert scale.main() == 1
    assert ran == ["100", "1000", "1000"]  # the finished one is not run again
    assert [path.name for path in (tmp_path / "cells").iterdir()] == ["images-100.json"]
    assert "| 100 | " in (tmp_path / "page.md").read_text("utf-8")


def test_a_cell_that_is_asked_for_again_must_be_one_of_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["scale", "images", "--again", "ray-2000"])
    monkeypatch.setattr(scale, "measure", lambda *_: pytest.fail("nothing is to be measured"))
    with pytest.raises(SystemExit, match="no cell ray-2000"):
        scale.main()


def test_the_time_of_a_stored_cell_is_that_of_the_whole_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What an interrupted call has written is not written by the next one, and would count as quick."""

    def make(address: str, _items: int, _boxes: int) -> None:
        assert not list(tmp_path.glob("stored-10.db*"))
        Path(address).write_bytes(b"a store")

    monkeypatch.setenv("BENCH_SCALE_FOLDER", str(tmp_path))
    monkeypatch.setattr("benchmarks.bench_export.make", make)
    monkeypatch.setattr(scale_cells, "command_figures", lambda *_: {"wall_s": 1.0})
    for name in ("stored-10.db", "stored-10.db-wal", "stored-100.db"):
        (tmp_path / name).write_bytes(b"half a store")
    assert scale_cells.stored(10)["store_mb"] == 7e-6
    assert [path.name for path in tmp_path.iterdir()] == ["stored-100.db"]


def test_a_made_file_is_whole_or_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = iter(["1.jpg", "2.jpg"])
    monkeypatch.setattr(formats_worker, "_name", lambda _number: next(names, None) or sys.exit("interrupted"))
    with pytest.raises(SystemExit):
        formats_worker.make(tmp_path / "megadetector.json", 10)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suite", ["bench_decode", "bench_stages"])
def test_the_limit_of_a_benchmark_of_photographs_is_that_of_its_own_size(suite: str) -> None:
    tests = [one for name, one in vars(import_module(f"benchmarks.{suite}")).items() if name.startswith("test_")]
    for one in tests:
        marks = {mark.name: mark for mark in one.pytestmark if mark.name == "benchmark"}
        if marks["benchmark"].kwargs["group"] in ("decode", "crop", "read"):
            assert any(mark.name == "parametrize" and mark.args[0] == "size" for mark in one.pytestmark), one.__name__
    with pytest.raises(KeyError):
        limits.limit_of("decode", {})


@pytest.mark.parametrize("broken", ["pytest", "benchmarks.profile_stages", "benchmarks.table"])
def test_a_part_of_make_bench_that_fails_is_not_hidden_by_the_others_nor_by_an_earlier_run(
    broken: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ran: list[str] = []

    def run(module: str, *_arguments: str) -> int:
        ran.append(module)
        if module == "pytest":
            assert list(tmp_path.glob("*.json")) == []
            (tmp_path / "bench.json").write_text('{"machine_info": {}}', encoding="utf-8")
        return int(module == broken)

    monkeypatch.setattr(bench, "RESULTS", tmp_path)
    monkeypatch.setattr(bench, "run_module", run)
    monkeypatch.setattr(fixtures, "QUICK", False)
    for name in ("bench", "profile", "parity"):
        (tmp_path / f"{name}.json").write_text("{}", encoding="utf-8")
    assert bench.main() == 1
    assert ran == ["pytest", "benchmarks.profile_stages", "benchmarks.table"]


def _described() -> dict[str, Any]:
    return {
        "cores": 2, "processor": "a CPU", "memory_gib": 8, "gpu": None, "packages": {"torch": "2"}, "amx_bf16": False,
    }  # fmt: skip


def test_the_largest_batch_fills_the_budget_by_the_steeper_of_slope_and_kept_values() -> None:
    found = training_cells.largest((8, 24), [4.0, 8.0], kept_gib=0.1)
    assert found == {"fixed_gib": 2.0, "mib_per_image": 256.0, "largest": 88}
    assert (
        training_cells.largest((8, 24), [4.0, 4.5], kept_gib=0.25)["largest"] == 88
    )  # gradients hide half of the slope
    assert training_cells.largest((8, 24), [4.0, 6.0], kept_gib=0.25, parts=2)["largest"] == 168
    assert training_cells.largest((2, 6), [30.0, 34.0], kept_gib=0.1)["largest"] == 0  # the model alone does not fit


def test_the_page_of_the_trainer_has_what_is_finished() -> None:
    assert training_page.sections({}) == []
    sides = {side: {"with_s": Spread.of([2.0]).as_dict(), "ratio": Spread.of([1.1, 1.3]).as_dict()} for side in SIDES}
    ways = {"plain": {"batches": [16, 48], "gib": [3.0, 4.0], **training_cells.largest((16, 48), [3.0, 4.0], 0.0)}}
    savings, memory = training_page.sections(
        {
            "training-savings-bf16": {"savings": {SAVINGS[0].words: sides}, "commit": "0123456789", "load": 2.0},
            "training-memory-ViT-B-32-bf16": {"modes": ways},
        }
    )
    assert f"| {SAVINGS[0].words} | – | – | 1.20× (1.15–1.25) | 1.20× (1.15–1.25) |" in savings
    assert "bf16 2.00 s per step, commit 0123456789, load 2.0." in savings
    assert "| ViT-B-32 | bf16 | plain | 16: 3.00, 48: 4.00 | 2.50 | 32.0 | 688 |" in memory


def test_pages_show_quartiles_limits_and_verdicts() -> None:
    info = {
        "title": "a stage", "unit": "images/s", "key": "labels-build", "peer_name": "the peer", "mark": 3.0,
        **pair_figures([1.0, 1.0, 2.0], [4.0, 4.0, 4.0], 10, 10), "ceiling": {"name": "its products", "p90": 20.0},
    }  # fmt: skip
    bench = {
        "benchmarks": [{"name": "test", "group": "labels build", "extra_info": info}],
        "commit_info": {"id": "0123456789"},
        "machine_info": {
            **_described(), "system": "Linux", "torch_threads": 2, "python": "3.12", "command": "make bench", "date": "2026-11-30",
            "minutes": 17.5,
        },
    }  # fmt: skip
    page = table.render([json.loads(json.dumps(bench))])
    assert (
        "| a stage | 10.0 images/s (7.50–10.0) | 2.50 images/s | 4.00× (3.00–4.00) | 20.0 images/s | 50% | ≥ 3×: met |"
        in page
    )
    assert "| labels build | open_clip encode_text at full context | ≥ 3× | 4 (3–4) | met |" in page
    assert "| its products |" in page
    assert "17.5 minutes" in page


def test_the_memory_of_a_program_does_not_begin_with_that_of_the_one_that_started_it() -> None:
    ballast = bytearray(300 * 2**20)
    ballast[:: 2**12] = b"x" * len(range(0, len(ballast), 2**12))
    code = "import json; from benchmarks import machine; print(json.dumps({'peak': machine.peak_bytes()}))"
    assert figures_of("-c", code)["peak"] < 200 * 2**20
    assert command_figures("--version")["peak_mb"] < 200
