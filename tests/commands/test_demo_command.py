"""``demo``: the complete job, run twice, in its own folder."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
from command_samples import Bioclip
from PIL import Image
from printed_commands import FILL, carry_out, names_of

from bioclip_plugin.commands.demo import prepare_folder


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Place for the photos of the first demo."""
    return tmp_path_factory.mktemp("demo") / "photos"


def test_the_demo_draws_classifies_shows_and_exports_and_does_nothing_twice(
    bioclip: Bioclip, precision: str, drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if precision != "fp32" and drawn.exists():  # drawing takes most of the time
        prepare_folder(Path("look"), fresh=False)
        shutil.copytree(drawn, "look/photos")
    first = bioclip("demo", "--folder", "look")
    if precision == "fp32":
        shutil.copytree("look/photos", drawn)
    assert f", {precision} (BIOCLIP_PRECISION is set)" in first.out
    with Path("look/results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    failed = [row for row in rows if row["status"] == "failed"]
    assert first.code == 0
    assert "in the future" not in first.out
    assert len(rows) == 24
    assert len(failed) == 1
    assert f"Failed: {failed[0]['uri']}: {failed[0]['failure_reason']}" in first.out
    assert all(row["captured_at"].endswith("-03:00") and row["latitude"] for row in rows if row["status"] == "done")
    assert all(row["scientific_name"].startswith("Fict") for row in rows if row["status"] == "done")
    page = Path("look/report.html").read_text()
    assert all(Path(row["uri"]).name in page for row in rows)
    assert "<dt>places</dt><dd>2</dd>" in page  # deployments without a name
    second = bioclip("demo", "--folder", "look")
    assert second.code == 0
    assert "All 23 were done by an earlier demo" in second.out
    assert "Drawing" not in second.out
    if precision != "fp32":
        return
    Image.new("RGB", (20, 16), (200, 90, 0)).save("one photo.png")
    # Reached here: "bioclip_plugin/commands/demo.py:demo". The last one asks for a model that is not on this machine.
    monkeypatch.setitem(FILL, "PATHS", ["one photo.png", "--model", "demo"])
    done = carry_out(bioclip, second)
    assert {"runs", "classify"} <= {*names_of(done)}


def test_a_folder_that_holds_something_else_is_left_alone(bioclip: Bioclip) -> None:
    Path("mine").mkdir()
    Path("mine/diary.txt").write_text("dear diary")
    refused = bioclip("demo", "--folder", "mine", "--fresh")
    assert refused.code == 1
    assert "--folder" in refused.err
    assert [path.name for path in Path("mine").iterdir()] == ["diary.txt"]


def test_a_fresh_demo_removes_only_files_of_a_demo(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    prepare_folder(folder, fresh=False)
    (folder / "photos").mkdir()
    for name in ("demo.db", "demo.db-wal", "results.csv", "report.html", "notes.txt"):
        (folder / name).touch()
    prepare_folder(folder, fresh=True)
    assert sorted(path.name for path in folder.iterdir()) == [".bioclip-demo", "notes.txt"]


def test_a_demo_folder_that_is_a_file_is_refused(bioclip: Bioclip) -> None:
    Path("demo").touch()
    refused = bioclip("demo")
    assert (refused.code, "something else" in refused.err) == (1, True)
