"""``classify --detector`` as a user sees it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bioclip_plugin import cli, create_plugin_manager
from bioclip_plugin.plugin_api import BioclipPluginManager
from bioclip_plugin.store import Store
from bioclip_plugin.testing import FakeModel

sys.path.append(str(Path(__file__).parents[1] / "running"))
from detector_samples import BLUE, GREEN, RED, Spotter, scene

COMMON = ("--model", "fake", "--labels", "fish.txt", "--store", "r.db")


@pytest.fixture
def spotter() -> Spotter:
    return Spotter()


@pytest.fixture
def manager(spotter: Spotter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BioclipPluginManager:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    scene(Path("photos/a.png"), (RED, (16, 12, 48, 36)), (GREEN, (80, 60, 144, 108)))
    scene(Path("photos/b.png"))
    scene(Path("photos/c.png"), (BLUE, (16, 12, 48, 36)))
    Path("fish.txt").write_text("a red fish\na blue fish\n", "utf-8")
    found = create_plugin_manager(installed=False)
    found.register(spotter, "spotter")
    found.register(FakeModel())
    return found


def run(manager: BioclipPluginManager, capsys: pytest.CaptureFixture[str], *command: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = cli.run(command, manager)
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_a_run_with_a_detector_is_named_stored_and_not_repeated(
    manager: BioclipPluginManager, capsys: pytest.CaptureFixture[str], spotter: Spotter
) -> None:
    classify = ("classify", "photos", *COMMON, "--detector", "spotter")
    code, out, err = run(manager, capsys, *classify)
    assert (code, spotter.images) == (0, 3), err
    assert "Detector spotter 7: boxes from 0.2 on are named" in out + err
    _, out, _ = run(manager, capsys, "runs", "show", "--store", "r.db")
    for line in ("rule_settings.detection.threshold: 0.2", "provenance.detector.version: 7",
                 "rule_settings.detection.detector.identity.weights_sha256: w1", "settings.detector: spotter"):  # fmt: skip
        assert line in out
    code, out, _ = run(manager, capsys, *classify, "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert spotter.images == 3
    assert [(Path(row["uri"]).name, row.get("detection", {}).get("category"), row.get("status")) for row in rows] == [
        ("a.png", "animal", None), ("a.png", "person", None), ("b.png", None, "done"), ("c.png", "animal", None),
    ]  # fmt: skip
    assert rows[0]["detection"] == {
        "category": "animal", "confidence": 0.9, "detector": "spotter", "detector_version": "7",
    }  # fmt: skip
    code, _, _ = run(manager, capsys, "runs", "verify", "--store", "r.db")
    assert code == 0
    code, out, err = run(
        manager, capsys, "export", "--store", "r.db", "--format", "megadetector", "--output", "md.json"
    )
    assert code == 0, err
    written = json.loads(Path("md.json").read_text("utf-8"))
    assert [len(image["detections"]) for image in written["images"]] == [2, 0, 1]
    # The rows of the exported file are the same boxes, now of a file: the detector is not asked, and that is said.
    code, out, err = run(
        manager, capsys, "classify", "md.json", "--base-folder", "photos", *COMMON, "--detector", "spotter"
    )
    assert (code, spotter.images) == (0, 3), out + err
    assert "images have boxes of their own, so that the detector spotter was not asked" in " ".join((out + err).split())


def test_removed_runs_take_the_boxes_that_nobody_needs_with_them(
    manager: BioclipPluginManager, capsys: pytest.CaptureFixture[str], spotter: Spotter
) -> None:
    classify = ("classify", "photos", *COMMON, "--detector", "spotter")
    run(manager, capsys, *classify)
    run(manager, capsys, *classify, "--detection-threshold", "0.95")
    spotter.weights = "w2"
    run(manager, capsys, *classify)

    def left() -> dict[str, int]:
        with Store.open("r.db") as store:
            return {one.name: one.rows for one in store.info().tables if one.name.startswith("det")}

    assert left() == {"detector_sets": 2, "detections": 6}
    code, out, err = run(manager, capsys, "runs", "delete", "1", "--yes", "--store", "r.db")
    assert code == 0, err
    assert left() == {"detector_sets": 2, "detections": 6}, "run 2 has another threshold and the same boxes"
    code, dry, _ = run(manager, capsys, "runs", "delete", "2", "--dry-run", "--store", "r.db")
    assert "3 detections" in dry
    run(manager, capsys, "runs", "delete", "2", "--yes", "--store", "r.db")
    assert left() == {"detector_sets": 1, "detections": 3}
    with Store.open("r.db") as store:
        assert store.verify(store.run(3)).problems == []
    code, out, _ = run(manager, capsys, "store", "compact", "--store", "r.db")
    assert code == 0, out
    assert left() == {"detector_sets": 1, "detections": 3}
    run(manager, capsys, *classify)
    assert spotter.images == 6
    run(manager, capsys, "runs", "delete", "3", "--yes", "--store", "r.db")
    assert left() == {"detector_sets": 0, "detections": 0}


def test_rules_applied_later_keep_the_detector_of_the_run(
    manager: BioclipPluginManager, capsys: pytest.CaptureFixture[str], spotter: Spotter
) -> None:
    run(manager, capsys, "classify", "photos", *COMMON, "--detector", "spotter")
    code, out, err = run(manager, capsys, "rules", "apply", "--rule", "blanks", "--store", "r.db")
    assert code == 0, out + err
    with Store.open("r.db") as store:
        derived = store.run(2)
        assert derived.rule_settings["detection"] == store.run(1).rule_settings["detection"]
        assert store.verify(derived).problems == []
        assert [len(item.regions) for item in store.items_of(derived)] == [2, 0, 1]
        assert [item.item.detected for item in store.items_of(derived)] == [True, True, True]


def test_embed_takes_the_boxes_of_the_detector(
    manager: BioclipPluginManager, capsys: pytest.CaptureFixture[str]
) -> None:
    from pyarrow import parquet

    code, out, err = run(
        manager, capsys, "embed", "photos", "--model", "fake", "--detector", "spotter", "--output", "f.parquet"
    )
    assert code == 0, out + err
    assert [row["region_w"] for row in parquet.read_table("f.parquet").to_pylist()] == [0.2, 0.2]
    assert "Detector spotter 7: 2 boxes of animals, 1 of people; 1 of 3 images without a box" in out + err


def test_embed_tells_why_no_image_has_a_row(
    manager: BioclipPluginManager, capsys: pytest.CaptureFixture[str], spotter: Spotter
) -> None:
    spotter.confidence = 0.1
    code, out, err = run(
        manager, capsys, "embed", "photos", "--model", "fake", "--detector", "spotter", "--output", "f.parquet"
    )
    assert code == 0, out + err
    assert "Detector spotter 7: 0 boxes of animals, 3 below 0.2; 1 of 3 images without a box" in out + err
    assert "No box of an animal reaches --detection-threshold 0.2; the highest confidence is 0.1" in out + err


def test_an_unknown_detector_is_wrong_usage_in_one_line(
    manager: BioclipPluginManager, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(manager, capsys, "classify", "photos", *COMMON, "--detector", "megadetector")
    assert code == 2
    assert "detector 'megadetector' is not known; there are" in " ".join(err.split())
    assert not Path("r.db").exists()
