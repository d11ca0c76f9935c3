"""``runs``, ``store``, ``plugins`` and ``models``: their lists and details."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command_samples import Bioclip

from bioclip_core.models import ModelEntry, PublishedLabels, find_model
from bioclip_plugin import hookimpl
from bioclip_plugin.contracts.export import Export
from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.contracts.exporter import Exporter
from bioclip_plugin.contracts.manager import BioclipPluginManager, LoadFailure
from bioclip_plugin.contracts.problem import Problem
from bioclip_plugin.items.request import ClassifyRequest
from bioclip_plugin.running.label_choice import choose_labels, label_folder_here


def test_runs_are_listed_with_their_counts(bioclip: Bioclip, classified: str) -> None:
    (line,) = bioclip("runs", "list", "--store", classified, "--json").out.splitlines()
    run = json.loads(line)
    assert (run["run"], run["status"], run["model"], run["sources"]) == (1, "finished", "fake", ["photos"])
    assert (run["listed"], run["done"], run["failed"], run["todo"]) == (4, 3, 1, 0)
    assert "fake\t4\t3\t1\t0\tphotos" in bioclip("runs", "list", "--store", classified).out


@pytest.mark.parametrize("name", ["FORCE_COLOR", "TTY_COMPATIBLE", "CLICOLOR_FORCE"])
def test_a_program_that_reads_the_output_gets_no_table_whatever_the_environment(
    bioclip: Bioclip, classified: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = bioclip("runs", "list", "--store", classified).out
    monkeypatch.setenv(name, "1")
    monkeypatch.setenv("COLUMNS", "30")
    assert bioclip("runs", "list", "--store", classified).out == plain
    assert "fake\t4\t3\t1\t0\tphotos" in plain


def test_a_run_is_shown_with_settings_identities_and_failures(
    bioclip: Bioclip, precision: str, request: pytest.FixtureRequest
) -> None:
    classified = request.getfixturevalue("classified")  # after the precision is set
    said = bioclip("runs", "show", "--store", classified).out
    for line in ("settings.threshold: 0.65", "settings.labels: labels",
                 f"feature_settings.precision: {precision}",
                 "images: 4 listed, 3 done with 3 regions, 1 failed, 0 to do", "  1 x read: the file is empty (0 bytes)"):  # fmt: skip
        assert line in said.splitlines()
    shown = json.loads(bioclip("runs", "show", "1", "--store", classified, "--json").out)
    assert shown["failures"] == [{"stage": "read", "reason": "the file is empty (0 bytes)", "count": 1}]
    assert shown["answer_settings"]["feature_id"] == shown["feature_id"]


def test_a_complete_run_is_proved_in_figures(bioclip: Bioclip, classified: str) -> None:
    proof = bioclip("runs", "verify", "--store", classified)
    assert proof.code == 0
    assert proof.out.startswith("Run 1: 4 listed = 3 answered + 1 failed + 0 to do\n")


def test_a_run_whose_listing_stopped_is_not_called_complete(bioclip: Bioclip, photos: Path, labels: str) -> None:
    rows = "".join(f"{photos.name}/{name}.png,0{day}/04/2024\n" for day, name in enumerate(("red", "green"), start=3))
    Path("table.csv").write_text("image,captured_at\n" + rows)
    asked = ("classify", "photos", "table.csv", "--model", "fake", "--labels", labels, "--store", "s.db")
    assert bioclip(*asked).code == 1
    proof = bioclip("runs", "verify", "--store", "s.db")
    assert proof.code == 1
    assert "The run did not end (status failed)" in proof.out
    assert "Complete" not in proof.out
    shown = json.loads(bioclip("runs", "verify", "--store", "s.db", "--json").out)
    assert (shown["status"], shown["complete"]) == ("failed", False)
    assert bioclip(*asked, "--day-first").code == 3
    assert bioclip("runs", "verify", "--store", "s.db").code == 0


NO_REASONS = "DELETE FROM bioclip_failures;"
WORK_LEFT = NO_REASONS + "UPDATE bioclip_listing SET status = 0 WHERE status = 2;"


@pytest.mark.parametrize(
    ("damage", "said"),
    [(NO_REASONS, "Problem: 1 failed items have no reason: photos/zero.jpg"), (WORK_LEFT, "1 image has neither")],
)
def test_a_run_that_is_not_complete_fails_its_proof(bioclip: Bioclip, classified: str, damage: str, said: str) -> None:
    with sqlite3.connect(classified) as connection:
        connection.executescript(damage)
    proof = bioclip("runs", "verify", "--store", classified)
    assert proof.code == 1
    assert said in proof.out
    assert json.loads(bioclip("runs", "verify", "--store", classified, "--json").out)["complete"] is False


def test_a_run_that_is_not_there_is_refused_with_those_that_are(bioclip: Bioclip, classified: str) -> None:
    refused = bioclip("runs", "show", "7", "--store", classified)
    assert refused.code == 1
    assert "no run 7" in refused.err


def test_upgrading_says_which_version_a_store_has(bioclip: Bioclip, classified: str) -> None:
    said = bioclip("store", "upgrade", "--store", classified)
    assert (said.code, said.out) == (0, "The store sqlite:///results.db already has version 0005.\n")
    assert bioclip("store", "upgrade", "--store", "nowhere.db").code == 1


class Notes:
    """Exporter of a plugin: one line per item."""

    name = "notes"
    description = "a line an item"
    folder = False

    def write(self, path: Path, export: Export) -> int:
        lines = [stored.item.uri for stored in export.items()]
        path.write_text("\n".join(lines))
        return len(lines)

    def recognises(self, path: Path) -> bool:
        return path.suffix == ".notes"

    def check(self, path: Path, options: ExportOptions) -> Iterator[Problem]:
        return iter(())


class NotesPlugin:
    @hookimpl
    def register_exporters(self, register: Callable[[Exporter], None]) -> None:
        register(Notes())


def test_a_plugins_exporter_is_used_and_shown(bioclip: Bioclip, classified: str, manager: BioclipPluginManager) -> None:
    manager.register(NotesPlugin(), name="notes-plugin")
    assert bioclip("export", "--store", classified, "--format", "notes", "--output", "r.txt").code == 0
    assert Path("r.txt").read_text().splitlines() == [
        f"photos/{name}" for name in ("blue.png", "green.png", "red.png", "zero.jpg")
    ]
    said = bioclip("plugins").out
    assert "notes-plugin\t\tregister_exporters" in said
    assert "Export formats: notes, csv, parquet, xlsx, jsonl, megadetector" in said


def test_plugins_that_were_left_out_are_shown_with_the_reason(bioclip: Bioclip, manager: BioclipPluginManager) -> None:
    manager.failures.append(LoadFailure("torn", "torn-plugin", "ImportError: no torn"))
    assert "Skipped: torn (torn-plugin): ImportError: no torn" in bioclip("plugins").out


def test_models_are_listed_without_network(bioclip: Bioclip, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    lines = {line.split("\t")[0]: line.split("\t") for line in bioclip("models", "list").out.splitlines()}
    assert lines["fake"][1] == "here"
    assert lines["bioclip-2"][1:4] == ["not fetched", "MIT", "hf-hub:imageomics/bioclip-2"]


def test_a_models_facts_give_the_origin_of_each_part_of_its_preprocessing(bioclip: Bioclip) -> None:
    said = bioclip("models", "info", "fake").out.splitlines()
    assert "preprocessing: size 8 (registry)" in said
    assert "preprocessing: interpolation bicubic (assumed)" in said
    assert any(line.startswith("runs on: cpu, ") for line in said)


def test_a_model_that_is_not_fetched_is_described_as_far_as_it_is_known(
    bioclip: Bioclip, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    said = bioclip("models", "info", "bioclip-2")
    assert said.code == 0
    assert "licence: MIT" in said.out
    assert "models fetch bioclip-2" in said.out


def test_fetching_without_network_is_one_line_a_model(
    bioclip: Bioclip, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    alone = bioclip("models", "fetch", "hf-hub:nobody/nothing")
    assert alone.code == 1
    assert len(alone.err.splitlines()) == 1
    assert "nobody/nothing" in alone.err
    assert bioclip("models", "fetch", "fake", "hf-hub:nobody/nothing").code == 3
    assert bioclip("models", "info", "no-such-model").code == 1


def test_a_published_label_set_is_found_at_the_place_that_classify_uses(
    bioclip: Bioclip, labels: str, manager: BioclipPluginManager, tmp_path: Path
) -> None:
    entry = manager.models()["fake"]
    published = ModelEntry(**{name: getattr(entry, name) for name in ("name", "source", "preprocessing", "open_encoder")},
                           labels=PublishedLabels("nobody/labels"))  # fmt: skip
    found = find_model("fake", {"fake": published})
    assert label_folder_here(found) is None
    from bioclip_core.identity import settings_id

    key = {"of": found.weights_sha256, "from": "nobody/labels", "at": "main"}
    folder = tmp_path / "cache" / "label_sets" / settings_id(key)
    folder.parent.mkdir(parents=True)
    Path(labels).rename(folder)
    assert label_folder_here(found) == choose_labels(ClassifyRequest(model="fake"), found).folder == folder
