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


@pytest.mark.parametrize("gone", [(1,), (2, 3)])
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


def test_what_is_derived_from_a_store_is_rebuilt_and_that_of_deleted_runs_goes(
    bioclip: Bioclip, four_runs: str
) -> None:
    first = bioclip("store", "index", "--store", four_runs, "--run", 4)
    assert (first.code, first.err) == (0, "")
    folder = Path(f"{four_runs}.view")
    assert [file.name for file in folder.iterdir()] == ["run-4.npz"]
    bioclip("runs", "delete", 4, "--yes", "--store", four_runs)
    indexed = bioclip("store", "index", "--store", four_runs)
    assert (indexed.code, indexed.err) == (0, "")
    assert "Removed the columns of 1 deleted run" in indexed.out
    assert sorted(file.name for file in folder.iterdir()) == ["run-1.npz", "run-2.npz", "run-3.npz"]
    listed = json.loads(bioclip("runs", "show", 1, "--json", "--store", four_runs).out)
    assert f"Run 1: {listed['listed']} rows" in indexed.out, listed
    assert "Feature set 1: " in indexed.out
    assert bioclip("store", "index", "--store", four_runs, "--run", 4).code == 1


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


def test_pruning_deletes_what_no_option_keeps(bioclip: Bioclip, four_runs: str) -> None:
    def left(*options: object) -> list[int]:
        outcome = bioclip("runs", "prune", *options, "--yes", "--store", four_runs)
        assert (outcome.code, outcome.err) == (0, "")
        listed = bioclip("runs", "list", "--store", four_runs, "--json").out.splitlines()
        return [json.loads(line)["run"] for line in listed]

    assert left("--keep-days", 1) == left("--status", "failed") == [1, 2, 3, 4]
    assert left("--keep", 1, "--by-sources") == [3, 4]
    assert left("--status", "finished", "--keep", 1) == [4]
    assert "There is no run to delete" in bioclip("runs", "prune", "--keep", 1, "--yes", "--store", four_runs).out


def test_an_interrupted_deletion_says_how_to_finish_it(
    bioclip: Bioclip, four_runs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("bioclip_plugin.store.deleting._clean", stop)
        outcome = bioclip("runs", "delete", 1, 3, "--yes", "--store", four_runs)
    assert outcome.code == 130
    assert "Half deleted: 1, 3; to finish that: bioclip-plugin runs delete 1 3 --store" in outcome.out
    listed = bioclip("runs", "list", "--store", four_runs)
    assert "Run 1 is half deleted; to finish that: bioclip-plugin runs delete 1" in listed.err
    assert "run 1 is half deleted" in bioclip("export", "--run", 1, "--store", four_runs, "--output", "x.csv").err
    assert bioclip("runs", "delete", 1, 3, "--yes", "--store", four_runs).code == 0
    assert bioclip("runs", "list", "--store", four_runs).err == ""


def test_pruning_without_anything_to_keep_is_refused(bioclip: Bioclip, four_runs: str) -> None:
    outcome = bioclip("runs", "prune", "--yes", "--store", four_runs)
    assert outcome.code == 2
    assert "this would keep no run: say which to keep" in outcome.err


def test_a_run_that_was_deleted_is_classified_anew_by_its_command(bioclip: Bioclip, four_runs: str) -> None:
    bioclip("runs", "delete", 1, "--yes", "--store", four_runs)
    again = bioclip("classify", "photos", "--model", "fake", "--labels", "labels", "--store", four_runs)
    assert again.code == 3
    assert "Run 5" in bioclip("runs", "verify", "--store", four_runs).out


def test_compact_says_what_it_removed_and_how_small_the_file_became(bioclip: Bioclip, four_runs: str) -> None:
    bioclip("runs", "delete", 1, 2, "--yes", "--store", four_runs)
    before = exports(bioclip, four_runs, 3, 4)
    would = bioclip("store", "compact", "--dry-run", "--store", four_runs)
    assert (would.code, would.err) == (0, "")
    outcome = bioclip("store", "compact", "--store", four_runs)
    assert outcome.code == 0
    assert "Removed nothing: every row is needed" in outcome.out
    assert f"{Path(four_runs).stat().st_size / 1e3:.1f} kB afterwards" in outcome.out
    assert exports(bioclip, four_runs, 3, 4) == before


def test_compact_beside_a_run_that_is_worked_on_ends_with_three(bioclip: Bioclip, four_runs: str) -> None:
    from bioclip_plugin.store import Store

    with Store.open(four_runs) as store:
        store._database.holds.hold(2)
        outcome = bioclip("store", "compact", "--json", "--store", four_runs)
        assert outcome.code == 3
        assert "a program works on run 2" in json.loads(outcome.out)["left"][0]
        listed = bioclip("store", "info", "--store", four_runs).out
        assert "2\tworked on\t" in listed


def test_info_shows_rows_and_bytes_by_table(bioclip: Bioclip, four_runs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = bioclip("store", "info", "--store", four_runs)
    assert (shown.code, shown.err) == (0, "")
    assert "SQLite, tables of version" in shown.out
    found = json.loads(bioclip("store", "info", "--json", "--store", four_runs).out)
    rows = {one["table"]: one["rows"] for one in found["tables"]}
    assert (rows["runs"], rows["media"], rows["contents"], rows["features"]) == (4, 5, 3, 3)
    assert sum(one["bytes"] for one in found["tables"]) <= found["bytes"]
    assert found["method"] == "measured"
    assert [(one["run"], one["listed"], one["worked_on"]) for one in found["runs"]] == [
        (1, 5, False), (2, 1, False), (3, 5, False), (4, 1, False)
    ]  # fmt: skip
    monkeypatch.setattr(
        "bioclip_plugin.store.sizes.text", lambda _: __import__("sqlalchemy").text("SELECT * FROM nothing")
    )
    estimated = json.loads(bioclip("store", "info", "--json", "--store", four_runs).out)
    assert estimated["method"].startswith("estimated")
    assert estimated["bytes"] / 2 < sum(one["bytes"] for one in estimated["tables"]) <= estimated["bytes"]
