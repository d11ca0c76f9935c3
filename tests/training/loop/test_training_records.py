"""Records in a training run's folder: read whole, or refused in one line; a wrong one would move images between parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from bioclip_core.errors import DataError
from bioclip_training.catalog.options import DEV_FRACTION
from bioclip_training.catalog.trained_models import dev_fraction_of, ladder_of
from bioclip_training.loop.checkpoint import RunFolder
from bioclip_training.loop.finishing import finished_result


def run_folder(output: Path, name: str, text: str) -> RunFolder:
    folder = RunFolder(output)
    folder.training.mkdir(parents=True)
    (folder.training / name).write_text(text, "utf-8")
    return folder


def test_the_share_of_dev_is_the_recorded_one_or_the_default_without_a_record(tmp_path: Path) -> None:
    assert dev_fraction_of(None) == dev_fraction_of(tmp_path) == DEV_FRACTION
    run_folder(tmp_path, "settings.json", '{"config": {"dev_fraction": 0.25, "steps": 3}, "precision": "fp32"}')
    assert dev_fraction_of(tmp_path) == 0.25


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", "is not JSON"),
        ("[]", "expected 'object', got 'array'"),
        ('{"config": 3}', "config: expected 'object', got 'int'"),
        ('{"config": {"dev_fraction": "0.1"}}', "config.dev_fraction: expected 'float', got 'str'"),
        ('{"config": {"dev_fraction": NaN}}', "has the value NaN"),
        ('{"config": {"dev_fraction": 7}}', "dev_fraction is 7.0"),
    ],
)
def test_a_damaged_record_is_not_taken_for_the_default(tmp_path: Path, text: str, fault: str) -> None:
    folder = run_folder(tmp_path, "settings.json", text)
    with pytest.raises(DataError) as refusal:
        dev_fraction_of(tmp_path)
    assert fault in str(refusal.value)
    if "config" not in text:
        with pytest.raises(DataError):
            folder.check_settings({"config": {}})
        (folder.training / "state-00000001.pt").touch()  # a run that has begun
        with pytest.raises(DataError):
            folder.recorded_precision()


def test_a_result_and_a_ladder_that_are_damaged_are_one_line(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, "result.json", '{"output": "/gone", "steps": "many"}')
    with pytest.raises(DataError, match=r"the result of the training run .*steps"):
        finished_result(folder)
    (tmp_path / "ladder.json").write_text('{"part": "dev", "rungs": []}', "utf-8")  # as the end of a run writes it
    assert ladder_of(tmp_path) == {"ladder": {"part": "dev", "rungs": []}}
    (tmp_path / "ladder.json").write_text("[", "utf-8")
    with pytest.raises(DataError, match="the ladder of the training run"):
        ladder_of(tmp_path)
