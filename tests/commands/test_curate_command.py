"""`curate` on the command line: example, plan, stages, and what is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_samples import Bioclip
from PIL import Image
from published_numbers import CsvLayout, write_source

from bioclip_training.curation.kinds import KindsStage
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
    bioclip("curate", config, "--stage", "kinds")
    assert "## kinds" in (report := (config.parent / "out/report.md").read_text())
    bioclip(
        "curate", config, "--stage", "records"
    )  # the results of later stages stay, and so does the report about them
    assert (config.parent / "out/report.md").read_text() == report
    config.write_text(config.read_text() + "kinds: {by_source: {roses: specimen}}\n")
    bioclip("curate", config, "--stage", "records")
    assert "## kinds" not in (config.parent / "out/report.md").read_text()  # it is of other settings


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


def test_an_error_leaves_the_report_of_the_stages_before_it_and_the_next_run_says_what_it_was(
    bioclip: Bioclip, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(
            KindsStage, "run", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device", "x"))
        )
        done = bioclip("curate", config, "--stage", "kinds")
    assert done.code == 1
    stopped = "the stage kinds stopped: x: No space left on device"
    report = (config.parent / "out/report.md").read_text()
    assert "| [records](#records) | 2 | 1 |" in report
    assert f"**Not finished:** kinds. kinds stopped: {stopped}" in report
    assert (
        f"kinds\twould run\tit stopped with an error: {stopped}"
        in bioclip("curate", config, "--plan", "--stage", "kinds").out
    )
    assert bioclip("curate", config, "--stage", "kinds").code == 0
    assert "Not finished" not in (config.parent / "out/report.md").read_text()


def test_images_that_cannot_be_read_are_failures_and_those_without_a_file_are_not(
    bioclip: Bioclip, config: Path
) -> None:
    (config.parent / "a/1.jpg").write_bytes(b"no image")
    for _ in range(2):  # the second time the stage is finished already
        done = bioclip("curate", config, "--stage", "images")
        assert done.code == 3
        assert "Failures: 1 image that cannot be read" in done.out
    write_source(
        config.parent / "a",
        [{"record_id": "1", "uri": "", "url": "https://example.org/1.jpg"}, {"record_id": "2", "uri": "2.jpg"}],
    )
    Image.new("RGB", (9, 9)).save(config.parent / "a/2.jpg")
    assert bioclip("curate", config, "--stage", "images").code == 0


def test_a_source_that_is_missing_is_named(bioclip: Bioclip, config: Path) -> None:
    (config.parent / "a/records.csv").unlink()
    done = bioclip("curate", config)
    assert done.code == 1
    assert "source roses: " in done.err
    assert "has no known layout" in done.err
