"""`curate` on the command line: example, plan, stages, and what is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_samples import Bioclip
from published_numbers import CsvLayout, write_source

from bioclip_training.published import known


@pytest.fixture(autouse=True)
def csv_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "layouts", lambda: (CsvLayout(),))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    write_source(tmp_path / "a", [{"record_id": "1", "uri": "1.jpg"}, {"record_id": "2", "uri": ""}])
    file = tmp_path / "curation.yaml"
    file.write_text("output: out\nsources:\n  roses: {path: a}\n")
    return file


def test_a_first_configuration_is_written_and_never_over_another(bioclip: Bioclip, tmp_path: Path) -> None:
    done = bioclip("curate", "--example", "mine.yaml")
    assert done.code == 0
    assert "Next: bioclip-plugin curate mine.yaml --plan" in done.out
    assert bioclip("curate", "--example").out == (tmp_path / "mine.yaml").read_text()
    again = bioclip("curate", "--example", "mine.yaml")
    assert again.code == 1
    assert again.err.strip() == "Error: the output mine.yaml exists already: give another name"  # it has no --force


def test_a_run_says_what_each_stage_dropped_and_a_second_one_has_nothing_to_do(bioclip: Bioclip, config: Path) -> None:
    done = bioclip("curate", config, "--stage", "records")
    assert done.code == 0
    assert "records: 2 rows in, 1 out" in done.out
    assert "  1 source roses: rows without an image (such as 2)" in done.out
    assert "records\t2\t1\t1\t" in done.out
    assert "records: it was not run yet" in done.err
    report = (config.parent / "out/report.md").read_text()
    assert "| source roses: rows without an image | 1 | 2 |" in report
    again = bioclip("curate", config, "--stage", "records")
    assert "records: finished already (1 row)" in again.out
    assert (config.parent / "out/report.md").read_text() == report


def test_a_plan_says_what_would_run_and_why_and_writes_nothing(bioclip: Bioclip, config: Path) -> None:
    done = bioclip("curate", config, "--plan", "--stage", "records")
    assert done.code == 0
    assert "records\twould run\tit was not run yet" in done.out
    assert "The rows are not known before the stage records" in done.out
    assert not (config.parent / "out").exists()
    bioclip("curate", config, "--stage", "records")
    after = bioclip("curate", config, "--plan", "--stage", "records").out
    assert "records\tfinished\t\t1\t" in after
    assert "Disk needed for 1 rows" in after


def test_words_that_are_not_known_are_refused_with_the_nearest_one(bioclip: Bioclip, config: Path) -> None:
    stage = bioclip("curate", config, "--stage", "record")
    assert stage.code == 2
    assert "--stage 'record' is not known; did you mean records?" in stage.err
    assert (
        "CONFIG.yaml is missing; write one with: bioclip-plugin curate CONFIG.yaml --example" in bioclip("curate").err
    )
    config.write_text(config.read_text() + "seeed: 1\n")
    typo = bioclip("curate", config)
    assert typo.code == 2
    assert "seeed is not known; did you mean seed?" in typo.err


def test_a_source_that_is_missing_is_named(bioclip: Bioclip, config: Path) -> None:
    (config.parent / "a/records.csv").unlink()
    done = bioclip("curate", config)
    assert done.code == 1
    assert "source roses: " in done.err
    assert "has no known layout" in done.err
