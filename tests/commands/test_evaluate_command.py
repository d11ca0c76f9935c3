"""``evaluate`` on the command line: output, exit codes and errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_samples import Bioclip
from PIL import Image
from pyarrow import parquet

from bioclip_core.taxonomy import Taxon
from bioclip_plugin.contracts.manager import BioclipPluginManager
from bioclip_plugin.testing import FakeModel
from bioclip_training.catalog.rows import CatalogRow, table_from

TAXA = {
    "red": Taxon.of(["Fictia", "", "", "", "Warmidae", "Red", "fictus"], "scarlet invention"),
    "green": Taxon.of(["Fictia", "", "", "", "Coldidae", "Green", "fictus"], "leafy invention"),
}


@pytest.fixture
def catalog(bioclip: Bioclip, tmp_path: Path) -> str:
    """Catalog of red and green images: three of each in train, and in val one of each and a red one labelled green."""
    rows = []
    for number, (colour, truth, split) in enumerate(
        [*[(colour, colour, "train") for colour in ("red", "green") * 3], ("red", "red", "val"), ("green", "green", "val"),
         ("red", "green", "val")]
    ):  # fmt: skip
        Image.new("RGB", (12, 10), colour if colour == "red" else (0, 255, 0)).save(f"{number}.png")
        rows.append(CatalogRow(f"{number}.png", TAXA[truth], split=split, group=f"g{number}"))
    parquet.write_table(table_from(rows), "catalog.parquet")
    return "catalog.parquet"


def test_the_summary_has_every_rank_and_the_path_of_the_report(bioclip: Bioclip, catalog: str) -> None:
    said = bioclip("evaluate", "--data", catalog, "--model", "fake", "--output", "out")
    assert said.code == 0, said.err
    lines = dict(line.split("\t", 1) for line in said.out.splitlines() if "\t" in line)
    assert lines["species"].startswith("66.7%\t")
    assert lines["species"].endswith("\t100.0%\t3\t3"), "images and groups"
    assert "val: 3 images in 3 groups: no difference of two models can be seen, however large" in said.out
    assert "every taxon of the catalog, all splits: 2 labels" in said.out
    assert "Few-shot over 5 draws, 2 taxa: 1 example: 66.7% ± 0.0% (of 3 images)" in said.out
    assert "Calibration error: " in said.out
    assert f"Report: {Path('out/report.html')}" in said.out
    assert "\nExamples\n" not in said.out, "a stage without anything to encode"
    assert Path("out/report.html").read_text("utf-8").startswith("<!doctype html>")
    metrics = json.loads(Path("out/metrics.json").read_text("utf-8"))
    assert metrics["zero_shot"]["species"]["top1"] == pytest.approx(2 / 3)
    assert len(metrics["zero_shot"]["species"]["top1_ci95"]) == 2
    assert 0 <= metrics["calibration"]["ece"] <= 1
    assert metrics["few_shot"]["k1"] == pytest.approx(2 / 3)


def test_images_that_cannot_be_read_give_the_exit_code_of_failures(bioclip: Bioclip, catalog: str) -> None:
    Path("7.png").unlink()
    said = bioclip("evaluate", "--data", catalog, "--model", "fake", "--output", "out", "--no-few-shot")
    assert said.code == 3
    assert "1 could not be used" in said.out


def test_a_comparison_is_printed(bioclip: Bioclip, catalog: str) -> None:
    assert bioclip("evaluate", "--data", catalog, "--model", "fake", "--output", "one", "--no-few-shot").code == 0
    said = bioclip(
        "evaluate", "--data", catalog, "--model", "fake", "--output", "two", "--no-few-shot", "--compare", "one"
    )
    assert said.code == 0
    assert "Compared with fake (one)" in said.out
    assert "species\t66.7%\t66.7%\t+0.0\t-82.9 to +82.9\t3\t3" in said.out
    assert (
        "Verdict: equal answers. The same model and labels: equal answers, right for 66.7% of 3 images in 3 groups."
        in said.out
    )
    assert said.out.index("Verdict: ") < said.out.index("3 images in 3 groups, 2 taxa"), "before every table"
    assert ("\nlabel\t" in said.out, said.out.count("\nexact taxon\t66.7%")) == (False, 2), "one word in both tables"


def test_words_of_ones_own_are_measured_against_a_column(bioclip: Bioclip, catalog: str) -> None:
    said = bioclip(
        "evaluate",
        "--data",
        catalog,
        "--model",
        "fake",
        "--output",
        "out",
        "--label",
        "red",
        "--label",
        "green",
        "--truth-column",
        "genus",
    )
    assert said.code == 0, said.err
    assert "label\t66.7%" in said.out
    Path("words.csv").write_text("label,group\nred,warm\ngreen,cold\nblue,cold\n")
    said = bioclip(
        "evaluate", "--data", catalog, "--model", "fake", "--output", "grouped", "--labels", "words.csv", "--truth-column", "genus",
    )  # fmt: skip
    assert "group\t66.7%" in said.out


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (("--split", "unseen"), "it has train 6 (of which dev"),
        (("--labels", "nowhere"), "no such folder"),
        (("--threshold", "2"), "threshold 2.0"),
        (("--data", "missing.parquet"), "catalog build"),
        (("--data", "."), "the folder . holds no shards: it lacks shards.json"),
        (("--label", "red", "--labels", "nowhere"), "one kind of label"),
        (("--label", "red", "--truth-column", "colour"), "allowed are kingdom"),
    ],
)
def test_bad_input_is_one_line_with_advice(
    bioclip: Bioclip, catalog: str, options: tuple[str, ...], wanted: str
) -> None:
    said = bioclip("evaluate", "--data", catalog, "--model", "fake", "--output", "out", *options)
    assert said.code in (1, 2)
    assert (wanted in said.err, len(said.err.splitlines())) == (True, 1), said.err
    assert not Path("out").exists()


def test_an_image_only_model_needs_labels(bioclip: Bioclip, catalog: str, manager: BioclipPluginManager) -> None:
    manager.register(FakeModel("blind", text_tower=False), name="blind")
    said = bioclip("evaluate", "--data", catalog, "--model", "blind", "--output", "out")
    assert said.code == 1
    assert "prototypes build" in said.err


def test_shards_give_the_figures_of_the_catalog_that_they_were_written_from(bioclip: Bioclip, catalog: str) -> None:
    written = bioclip("shards", "write", catalog, "--output", "shards", "--split", "train", "--split", "val")
    assert written.code == 0, written.err
    for data, output in ((catalog, "of_files"), ("shards", "of_shards")):
        assert bioclip("evaluate", "--data", data, "--model", "fake", "--output", output).code == 0
    of_files, of_shards = (
        json.loads(Path(name, "metrics.json").read_text("utf-8")) for name in ("of_files", "of_shards")
    )
    assert of_files["images"] == of_shards["images"]
    assert of_files["zero_shot"].keys() == of_shards["zero_shot"].keys()
    for rank, figures in of_files["zero_shot"].items():
        assert [of_shards["zero_shot"][rank][name] for name in ("n", "top1", "top1_ci95")] == [
            figures[name] for name in ("n", "top1", "top1_ci95")
        ]
    moved = bioclip("evaluate", "--data", "shards", "--model", "fake", "--output", "moved", "--replace-prefix", "a=b")
    assert "--replace-prefix is without effect on the shards shards" in moved.out
