"""``evaluate --suite`` on the command line: output, exit codes and options that do not fit."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from command_samples import Bioclip
from PIL import Image


@pytest.fixture
def sets(bioclip: Bioclip) -> Path:
    """Folder with NABirds of red and green images."""
    folder = Path("sets/nabirds")
    folder.mkdir(parents=True)
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["", "filepath", "class"])
        for number in range(6):
            Image.new("RGB", (12 + number, 10), "red" if number % 2 else (0, 255, 0)).save(folder / f"{number}.png")
            table.writerow([number, f"{number}.png", "a red bird" if number % 2 else "a green bird"])
    return folder.parent


def test_the_summary_has_both_figures_and_the_path_of_the_report(bioclip: Bioclip, sets: Path) -> None:
    said = bioclip(
        "evaluate",
        "--suite",
        "nabirds",
        "--root",
        str(sets),
        "--model",
        "fake",
        "--output",
        "out",
        "--prompts",
        "caption",
    )
    assert said.code == 0, said.err
    assert "1 of 1 set measured" in said.out
    assert "set\tfigure\tas published\tcorrected\t95% interval\tn" in said.out
    assert "nabirds\tzero-shot top-1\t100.0%\t100.0%\t54.1–100.0%\t6" in said.out
    assert "nabirds: no 5-shot accuracy: fewer than two classes have more than 5 images" in said.out
    assert f"Report: {Path('out/report.html')}" in said.out
    assert Path("out/report.html").read_text("utf-8").startswith("<!doctype html>")


def test_a_missing_set_of_a_paper_gives_the_exit_code_of_failures_and_a_line(bioclip: Bioclip, sets: Path) -> None:
    said = bioclip(
        "evaluate",
        "--suite",
        "bioclip-2",
        "--root",
        str(sets),
        "--model",
        "fake",
        "--output",
        "out",
        "--prompts",
        "caption",
    )
    assert said.code == 3
    assert "1 of 19 sets measured" in said.out
    assert "awa2: missing: " in said.out
    assert "get it from https://cvml.ista.ac.at/AwA2/" in said.out
    caution = (
        "not comparable: 9 of 10 columns missing; 1 column of another size, or asked in another way, than published"
    )
    assert f"Mean of bioclip-2: 100.0% as published, 100.0% corrected ({caution})" in said.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "Missing option '--data' (or '--suite' with '--root', for published evaluation sets)"),
        (
            ("--data", "x.parquet", "--root", "sets"),
            "--root is an option of published evaluation sets: give --suite NAME too",
        ),
        (("--suite", "nabirds", "--root", "sets", "--threshold", "0.9"), "--threshold has no effect with --suite"),
        (("--suite", "nabirds"), "root: give the folder that holds the evaluation sets: --root FOLDER"),
        (("--suite", "nabird", "--root", "sets"), "; did you mean nabirds?"),
        (("--suite", "newt", "--root", "sets"), "has no folder of NeWT: expected newt with newt2021_labels.csv"),
        (("--suite", "newt", "--root", "nowhere"), "--root nowhere is not a folder"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    bioclip: Bioclip, sets: Path, words: tuple[str, ...], message: str
) -> None:
    said = bioclip("evaluate", *words, "--model", "fake", "--output", "out")
    assert said.code not in (0, 3)
    assert message in said.err
    assert not Path("out").exists()
