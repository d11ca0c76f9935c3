"""Files that training, shards and evaluation left behind, changed by hand or by accident: one line each."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bioclip_core.errors import BioclipError, ModelError
from bioclip_training.catalog.options import DEV_FRACTION
from bioclip_training.catalog.trained_models import dev_fraction_of, ladder_of
from bioclip_training.evaluation.comparing.comparison import read_other
from bioclip_training.loop.checkpoint import RunFolder
from bioclip_training.loop.finishing import finished_result
from bioclip_training.loop.journal import Journal
from bioclip_training.loop.start import _config_of_file
from bioclip_training.shards.manifest import MANIFEST_FILE, Manifest, Shard
from bioclip_training.taxonomy.build import build_taxonomy
from bioclip_training.taxonomy.index import TaxonomyFile
from bioclip_training.taxonomy.metadata import Described, described

BAD = [
    "",
    "[]",
    "null",
    "3",
    '"a"',
    "{",
    '{"a": 1, "a": 2}',
    "[" * 100_000,
    '{"a": ' * 100_000,
    '{"a": NaN}',
    '{"a": "\\ud800"}',
]


def one_line(read: Callable[[], Any], *words: str, error: type[Exception] = BioclipError) -> None:
    with pytest.raises(error) as caught:
        read()
    said = str(caught.value)
    assert "\n" not in said
    assert len(said) < 600
    for word in words:
        assert word in said


def shards(folder: Path) -> dict[str, Any]:
    shard = Shard("train-000000.tar", "train", 1, 10, "0" * 64)
    Manifest({"catalog": "x"}, (shard,), (), 0, "0" * 64).write(folder)
    described: dict[str, Any] = json.loads((folder / MANIFEST_FILE).read_text())
    described["taxa"]["rows"] = [["Animalia", "", "", "", "", "Lynx", "fictus", "invented lynx"]]
    return described


@pytest.mark.parametrize("text", BAD)
def test_a_manifest_of_shards_that_is_not_one_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST_FILE).write_text(text)
    one_line(lambda: Manifest.read(tmp_path), MANIFEST_FILE)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda found: found["shards"][0].update(samples="1"), ["shards[0].samples: expected 'int', got 'str'"]),
        (lambda found: found["shards"][0].update(file=["a"]), ["shards[0].file: expected 'str'"]),
        (
            lambda found: found["shards"][0].update(file="../../secret.tar"),
            ["'../../secret.tar' is not a file beside it"],
        ),
        (lambda found: found["shards"][0].update(file="/etc/passwd"), ["'/etc/passwd' is not a file beside it"]),
        (lambda found: found["shards"][0].update(bytes=-1), ["is not a file beside it"]),
        (lambda found: found["taxa"].update(rows=[["Animalia"]]), ["taxa.rows[0]"]),
        (lambda found: found["taxa"]["rows"][0].__setitem__(2, {}), ["taxa.rows[0][2]: expected 'str'"]),
        (lambda found: found.pop("taxa"), ["missing required field 'taxa'"]),
        (lambda found: found.update(skipped=10**40), ["skipped: "]),
    ],
)
def test_a_manifest_of_shards_with_a_wrong_value_names_its_place(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], words: list[str]
) -> None:
    found = shards(tmp_path)
    (tmp_path / MANIFEST_FILE).write_text(json.dumps(found))
    assert Manifest.read(tmp_path).taxa[0].scientific_name == "Lynx fictus"
    change(found)
    (tmp_path / MANIFEST_FILE).write_text(json.dumps(found))
    if words == ["skipped: "]:
        assert Manifest.read(tmp_path).skipped == 10**40  # a number is a number; nothing calculates with it
        return
    one_line(lambda: Manifest.read(tmp_path), *words)


@pytest.mark.parametrize("text", BAD)
def test_settings_of_a_training_run_that_are_not_settings_are_one_line(tmp_path: Path, text: str) -> None:
    folder = RunFolder(tmp_path)
    folder.training.mkdir(parents=True)
    folder.settings.write_text(text)
    (folder.training / "state-00000001.pt").touch()  # a run that has begun
    one_line(lambda: folder.check_settings({"config": {}}))
    one_line(folder.recorded_precision)
    one_line(lambda: dev_fraction_of(tmp_path))


def test_the_dev_part_of_a_model_without_a_record_is_the_usual_one_and_a_damaged_record_is_refused(
    tmp_path: Path,
) -> None:
    assert dev_fraction_of(None) == dev_fraction_of(tmp_path) == DEV_FRACTION
    folder = RunFolder(tmp_path)
    folder.training.mkdir(parents=True)
    folder.settings.write_text('{"config": {"dev_fraction": 0.25}}')
    assert dev_fraction_of(tmp_path) == 0.25
    for value in ('"a"', "-1", "1e300", "null", "[]"):
        folder.settings.write_text(f'{{"config": {{"dev_fraction": {value}}}}}')
        one_line(lambda: dev_fraction_of(tmp_path), "dev_fraction")


@pytest.mark.parametrize("text", BAD)
def test_a_result_and_a_ladder_that_are_none_are_one_line(tmp_path: Path, text: str) -> None:
    folder = RunFolder(tmp_path)
    folder.training.mkdir(parents=True)
    assert finished_result(folder) is None
    folder.result.write_text(text)
    one_line(lambda: finished_result(folder), folder.result.name)
    assert ladder_of(tmp_path) == {}


def test_lines_of_a_journal_that_are_not_lines_are_left_out_and_nan_stays(tmp_path: Path) -> None:
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text(
        '{"step": 1, "loss": NaN}\n[1]\nnull\n{"step": "x"}\n{"loss": 1}\n{"step": 2}\n{"step": 3' + "[" * 5000
    )
    journal = Journal(metrics, tmp_path / "quarantine.csv", enabled=True)
    assert [line["step"] for line in journal.lines()] == [1, 2]
    journal.cut_after(1)
    assert metrics.read_text() == '{"step": 1, "loss": NaN}\n'


@pytest.mark.parametrize(
    "text",
    [*BAD, '{"model_cfg": []}', '{"embed_dim": "x", "vision_cfg": {}, "text_cfg": {}}',
     '{"embed_dim": 8, "vision_cfg": [], "text_cfg": {}}', '{"embed_dim": 8, "vision_cfg": {}, "text_cfg": {}, "preprocess_cfg": 3}'],
)  # fmt: skip
def test_a_config_of_a_new_model_that_is_not_one_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.json").write_text(text)
    one_line(lambda: _config_of_file(tmp_path / "c.json"), "c.json", error=ModelError)


@pytest.mark.parametrize(
    "text", [*BAD, "{}", '{"provenance": {"model": []}}', '{"provenance": {"model": {"name": 3}}}']
)
def test_a_folder_that_is_not_an_evaluation_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "metrics.json").write_text(text)
    one_line(lambda: read_other(tmp_path), "it is not an evaluation")


def test_a_list_of_unreadable_samples_that_is_none_is_one_line(tmp_path: Path) -> None:
    quarantine = tmp_path / "quarantine.csv"
    for content in (b"a,b\n1,2\n", b"sample\n\xff\n"):
        quarantine.write_bytes(content)
        one_line(lambda: Journal(tmp_path / "metrics.jsonl", quarantine, enabled=True), "quarantine.csv")


def test_metadata_of_a_checklist_takes_no_longer_for_a_hostile_text(tmp_path: Path) -> None:
    for text in (
        "<title>" + " " * 1_000_000,
        "<title" * 200_000,
        "<pubDate>" * 100_000,
        "<title>" + " \n" * 500_000 + "<",
    ):
        (tmp_path / "eml.xml").write_text(text)
        started = time.process_time()
        assert described(tmp_path) == Described("", "")
        assert time.process_time() - started < 2
    (tmp_path / "eml.xml").write_text(
        "<eml><title lang='en'>\n Flora &amp; Fauna </title><pubDate> 2024 </pubDate></eml>"
    )
    assert described(tmp_path) == Described("Flora & Fauna", "2024")


def test_a_taxonomy_with_a_damaged_table_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("taxonID,scientificName,taxonRank\n1,Lynx fictus,species\n")
    build_taxonomy(tmp_path / "t.csv", tmp_path / "t.taxonomy")
    with TaxonomyFile.open(tmp_path / "t.taxonomy") as whole:
        assert whole.row("1") is not None
    with sqlite3.connect(tmp_path / "t.taxonomy") as database:
        database.execute("UPDATE names SET name = x'ff'")
    database.close()
    with TaxonomyFile.open(tmp_path / "t.taxonomy") as file:
        one_line(lambda: file.row("1"), "is damaged: it has a name that is not text")
    with sqlite3.connect(tmp_path / "t.taxonomy") as database:
        database.execute("DROP TABLE names")
    database.close()
    with TaxonomyFile.open(tmp_path / "t.taxonomy") as file:
        one_line(lambda: file.row("1"), "is damaged: no such table: names")
