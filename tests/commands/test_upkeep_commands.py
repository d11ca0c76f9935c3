"""``runs delete``, ``runs prune``, ``store compact`` and ``store info``: exports of other runs stay as they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_samples import Bioclip


@pytest.fixture
def four_runs(bioclip: Bioclip, photos: Path, labels: str) -> str:
    """Runs of a store: all images, one folder of it with other options, all with rules, and the second one again."""
    (photos / "inner").mkdir()
    (photos / "inner" / "copy.png").write_bytes((photos / "blue.png").read_bytes())
    common = ("--model", "fake", "--labels", "labels", "--store", "results.db")
    for arguments in (
        ["photos"],
        ["photos/inner"],
        ["photos", "--rule", "thresholds:species=0.1"],
        ["photos/inner", "--top", 1],
    ):
        assert bioclip("classify", *arguments, *common).code in (0, 3)
    return "results.db"


def exports(bioclip: Bioclip, store: str, *runs: int) -> list[bytes]:
    found = []
    for run in runs:
        for name in ("csv", "jsonl", "megadetector"):
            output = Path("exports") / f"{run}.{name}"
            output.parent.mkdir(exist_ok=True)
            bioclip("export", "--store", store, "--run", run, "--format", name, "--output", output, "--force")
            found.append(output.read_bytes())
        found.append(bioclip("runs", "verify", run, "--store", store).out.encode())
        found.append(bioclip("runs", "show", run, "--store", store).out.encode())
    return found


@pytest.mark.parametrize("gone", [(1,), (2,), (3,), (4,), (1, 2), (2, 3, 4)])
def test_exports_of_the_remaining_runs_are_the_same_bytes(
    bioclip: Bioclip, four_runs: str, gone: tuple[int, ...]
) -> None:
    kept = [run for run in (1, 2, 3, 4) if run not in gone]
    before = exports(bioclip, four_runs, *kept)
    outcome = bioclip("runs", "delete", *gone, "--yes", "--store", four_runs)
    assert (outcome.code, outcome.err) == (0, "")
    assert "To give it back: bioclip-plugin store compact" in outcome.out
    assert exports(bioclip, four_runs, *kept) == before
    assert bioclip("runs", "show", gone[0], "--store", four_runs).code == 1


def test_a_script_has_to_say_that_it_means_it(bioclip: Bioclip, four_runs: str) -> None:
    outcome = bioclip("runs", "delete", 1, "--store", four_runs)
    assert outcome.code == 2
    assert "add --yes to do so in a script, or --dry-run" in outcome.err
    would = bioclip("runs", "delete", 1, "--dry-run", "--store", four_runs)
    assert would.code == 0
    assert "Would delete 1 run" in would.out
    assert len(bioclip("runs", "list", "--store", four_runs, "--json").out.splitlines()) == 4


def test_a_dry_run_says_exactly_what_then_goes(bioclip: Bioclip, four_runs: str) -> None:
    would = json.loads(bioclip("runs", "delete", 1, 3, "--dry-run", "--json", "--store", four_runs).out)
    did = json.loads(bioclip("runs", "delete", 1, 3, "--yes", "--json", "--store", four_runs).out)
    assert (would["dry_run"], did["dry_run"], would["runs"], did["runs"]) == (True, False, [1, 3], [1, 3])
    assert {name: n for name, n in did["rows"].items() if not name.endswith("_sets")} == would["rows"]
    assert would["rows"]["features"] == 2  # the third content is that of a file of another run


@pytest.mark.parametrize(
    ("options", "left"),
    [
        (("--keep", 1), [4]),
        (("--keep", 3), [2, 3, 4]),
        (("--keep", 1, "--by-sources"), [3, 4]),
        (("--keep-days", 1), [1, 2, 3, 4]),
        (("--keep-days", 0), []),
        (("--status", "failed"), [1, 2, 3, 4]),
        (("--status", "finished"), []),
        (("--status", "finished", "--keep", 2), [3, 4]),
    ],
)
def test_pruning_deletes_what_no_option_keeps(
    bioclip: Bioclip, four_runs: str, options: tuple[object, ...], left: list[int]
) -> None:
    outcome = bioclip("runs", "prune", *options, "--yes", "--store", four_runs)
    assert (outcome.code, outcome.err) == (0, "")
    listed = bioclip("runs", "list", "--store", four_runs, "--json").out.splitlines()
    assert [json.loads(line)["run"] for line in listed] == left


def test_pruning_without_anything_to_keep_is_refused(bioclip: Bioclip, four_runs: str) -> None:
    outcome = bioclip("runs", "prune", "--yes", "--store", four_runs)
    assert outcome.code == 2
    assert "this would keep no run: say which to keep" in outcome.err


def test_a_run_that_was_deleted_is_classified_anew_by_its_command(bioclip: Bioclip, four_runs: str) -> None:
    bioclip("runs", "delete", 1, "--yes", "--store", four_runs)
    again = bioclip("classify", "photos", "--model", "fake", "--labels", "labels", "--store", four_runs)
    assert again.code == 3
    assert "Run 5" in bioclip("runs", "verify", "--store", four_runs).out
