"""Outputs in which a curation would replace what is not its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tiny_stages import STAGES, configured

from bioclip_core.errors import BioclipError, SourceError, UsageError
from bioclip_training.curation.configuration import Curation, SourceConfig
from bioclip_training.curation.plan import plan
from bioclip_training.curation.running import run_stages


def refused(config: Curation, kind: type[BioclipError] = UsageError) -> str:
    """Return the message of a call that must write nothing; the plan says the same."""
    with pytest.raises(kind) as planned:
        plan(config, STAGES)
    with pytest.raises(kind) as error:
        run_stages(config, STAGES)
    assert str(error.value) == str(planned.value)
    assert not (config.output / "curate.lock").exists()
    return str(error.value)


@pytest.mark.parametrize("name", ["numbers", "squares", "temporary", "kept"])
def test_a_folder_of_the_user_with_the_name_of_a_stage_is_kept(tmp_path: Path, name: str) -> None:
    config = configured(tmp_path)
    (config.output / name).mkdir(parents=True)
    (config.output / name / "mine.jpg").write_text("mine")
    assert f"has {name}, made by something else" in refused(config)
    assert (config.output / name / "mine.jpg").read_text() == "mine"


def test_a_document_of_the_user_is_not_replaced(tmp_path: Path) -> None:
    config = configured(tmp_path)
    config.output.mkdir()
    (config.output / "report.md").write_text("mine")
    assert "has report.md, made by something else" in refused(config)


def test_a_folder_of_the_user_that_is_put_into_a_finished_output_is_kept(tmp_path: Path) -> None:
    config = configured(tmp_path)
    run_stages(config, STAGES, until="numbers")
    (config.output / "squares").mkdir()
    (config.output / "squares/mine.jpg").write_text("mine")
    with pytest.raises(UsageError, match="has squares, made by something else"):
        run_stages(config, STAGES)
    assert (config.output / "squares/mine.jpg").exists()


def test_an_output_that_is_a_file_is_refused(tmp_path: Path) -> None:
    config = configured(tmp_path)
    config.output.write_text("")
    assert "is a file" in refused(config)


@pytest.mark.parametrize("within", ["", "deep/out"])
def test_an_output_in_a_source_is_refused(tmp_path: Path, within: str) -> None:
    source = tmp_path / "collection"
    source.mkdir()
    config = replace(configured(tmp_path), output=source / within, sources={"c": SourceConfig(source)})
    assert "lies in source c" in refused(config)
    assert not list(source.iterdir())


def test_a_source_in_a_folder_that_the_curation_replaces_is_refused(tmp_path: Path) -> None:
    config = configured(tmp_path)
    source = config.output / "numbers/collection"
    source.mkdir(parents=True)
    assert "which the curation replaces" in refused(replace(config, sources={"c": SourceConfig(source)}))


def test_sources_beside_the_stages_of_an_output_are_read(tmp_path: Path) -> None:
    config = configured(tmp_path)
    assert run_stages(replace(config, output=tmp_path), STAGES)[-1].manifest.rows_out == 5


def test_a_missing_source_is_found_before_a_lock_is_made(tmp_path: Path) -> None:
    config = configured(tmp_path)
    assert "does not exist" in refused(replace(config, sources={"c": SourceConfig(tmp_path / "gone")}), SourceError)
