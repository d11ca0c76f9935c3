"""Commands whose outputs are written and replaced on a disk that refuses what one of Windows refuses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from command_samples import Bioclip
from test_changed_images import COMMANDS, images  # noqa: F401 - a fixture
from windows_disk import refused, windows_disk


def refusals() -> list[str]:
    """Return what was refused, but for opening a folder, which is only tried, and the mark of a run while it is open."""
    return [text for text in refused if not text.startswith("open ") and "-run-" not in text]


def test_results_are_written_replaced_and_compacted(bioclip: Bioclip, photos: Path, labels: str) -> None:
    run = ("classify", "photos", "--model", "fake", "--labels", labels, "--store", "s.db")
    with windows_disk(photos.parent):
        assert bioclip(*run).code == 3
        for name, more in (("csv", ()), ("parquet", ()), ("folders", ("--link", "copy"))):
            command = ("export", "--store", "s.db", "--format", name, "--output", f"out.{name}", *more)
            assert [bioclip(*command, *again).code for again in ((), ("--force",))] == [0, 0]
        assert [
            bioclip("report", "--store", "s.db", "--output", "r.html", *again).code for again in ((), ("--force",))
        ] == [0, 0]
        assert bioclip("store", "compact", "--store", "s.db").code == 0
        assert refusals() == []
    assert not [path.name for path in photos.parent.iterdir() if path.name.startswith(".")]


@pytest.mark.usefixtures("images")
def test_an_evaluation_gets_its_name_although_its_label_set_was_mapped(bioclip: Bioclip, tmp_path: Path) -> None:
    with windows_disk(tmp_path):
        assert bioclip(*COMMANDS["evaluate"]).code == 0


def test_a_link_that_windows_refuses_is_refused_with_the_kinds_that_work(
    bioclip: Bioclip, photos: Path, labels: str
) -> None:
    assert bioclip("classify", "photos", "--model", "fake", "--labels", labels, "--store", "s.db").code == 3
    with windows_disk(photos.parent):
        said = bioclip("export", "--store", "s.db", "--format", "folders", "--output", "out")
        assert said.code == 1
        assert "give --link hardlink or --link copy" in said.err
        assert (
            bioclip("export", "--store", "s.db", "--format", "folders", "--output", "out", "--link", "hardlink").code
            == 0
        )


def test_outputs_and_reviews_may_be_on_another_drive_than_the_working_directory(
    bioclip: Bioclip, photos: Path, labels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str, start: str = "") -> str:
        raise ValueError(f"path is on mount 'D:', start on mount 'C:': {path} {start}")

    assert bioclip("classify", "photos", "--model", "fake", "--labels", labels, "--store", "s.db").code == 3
    monkeypatch.setattr(os.path, "relpath", refuse)
    for more in ((), ("--force",)):
        assert bioclip("export", "--store", "s.db", "--format", "csv", "--output", "out.csv", *more).code == 0
    (photos.parent / "seen.csv").write_text("uri,review_verdict,reviewer\nphotos/red.png,blank,Ann\n")
    said = bioclip("review", "import", "seen.csv", "--store", "s.db")
    assert said.code == 0, said.err


def test_a_package_of_images_on_two_drives_is_refused_with_the_reason(
    bioclip: Bioclip, photos: Path, labels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_paths: list[str]) -> str:
        raise ValueError("Paths don't have the same drive")

    assert bioclip("classify", "photos", "--model", "fake", "--labels", labels, "--store", "s.db").code == 3
    monkeypatch.setattr(os.path, "commonpath", refuse)
    said = bioclip("export", "--store", "s.db", "--format", "camtrap-dp", "--output", "dp", "--time-zone", "UTC")
    assert said.code == 1
    assert "images are on more than one drive" in said.err
