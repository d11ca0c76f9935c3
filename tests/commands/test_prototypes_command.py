"""``prototypes``: label sets of example images, alone and joined to text labels, with a model that sees colours."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from command_samples import Bioclip
from PIL import Image
from pyarrow import parquet

from bioclip_core.labels.label_set import LabelSet
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.contracts.manager import BioclipPluginManager
from bioclip_plugin.testing import FakeModel
from bioclip_training.catalog.rows import CatalogRow, table_from

# Yellow and Purple are new: the label set of text has Red, Green and Blue.
COLOURS = {"Red": (240, 20, 20), "Yellow": (230, 220, 20), "Purple": (200, 20, 210)}


def catalog_of(counts: dict[str, tuple[int, int]], file: str = "catalog.parquet") -> str:
    """Write a catalog of slightly different one-coloured images, given the numbers in ``train`` and ``val`` per genus."""
    random = np.random.default_rng(3)
    rows = []
    Path("examples").mkdir(exist_ok=True)
    for genus, parts in counts.items():
        for split, count in zip(("train", "val"), parts, strict=True):
            for number in range(count):
                colour = np.clip(np.array(COLOURS[genus]) + random.integers(-15, 16, 3), 0, 255)
                uri = f"examples/{genus}_{split}_{number}.png"
                Image.new("RGB", (12, 12), tuple(colour.tolist())).save(uri)
                family = "Warmidae" if genus == "Red" else "Mixidae"
                taxon = Taxon("Fictia", family=family, genus=genus, species="fictus")
                rows.append(CatalogRow(uri, taxon, group=f"{genus}{split}{number}", split=split))
    parquet.write_table(table_from(rows), file)
    return file


@pytest.fixture
def new_taxa(bioclip: Bioclip) -> str:
    """Catalog with eight training and three test images of each new taxon, and three images of an old one."""
    assert bioclip  # the fixture sets the working directory
    return catalog_of({"Yellow": (8, 3), "Purple": (8, 3), "Red": (0, 3)})


def named(bioclip: Bioclip, labels: str, store: str = "results.db") -> dict[str, str]:
    """Return the best species of an image of each colour."""
    Path("query").mkdir(exist_ok=True)
    for genus, colour in {**COLOURS, "Green": (10, 250, 10)}.items():
        Image.new("RGB", (10, 10), colour).save(f"query/{genus}.png")
    assert bioclip("classify", "query", "--model", "fake", "--labels", labels, "--store", store).code == 0
    assert bioclip("export", "--store", store, "--format", "csv", "--output", f"{store}.csv", "--force").code == 0
    with Path(f"{store}.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {Path(row["uri"]).stem: row["scientific_name"] for row in rows}


def test_prototypes_alone_answer_with_the_taxa_of_the_examples(bioclip: Bioclip, new_taxa: str) -> None:
    said = bioclip("prototypes", "build", "--data", new_taxa, "--model", "fake", "--output", "set")
    assert said.code == 0
    lines = said.out.splitlines()
    assert any(line.startswith("Examples: ") and line.endswith("of 2 taxa (part train)") for line in lines)
    assert "val\tall\tprototypes\t6\t100.0%\t100.0%\t6\t54.1% to 100.0%" in lines, "0.025 to the power 1/6"
    assert (
        "val\tall\ttext\t6\t50.0%\t50.0%\t6\t11.8% to 88.2%" in lines
    )  # the text tower cannot tell the two new colours apart
    assert "Not counted: 3 images of val with a taxon that no label has." in lines
    labels = LabelSet.open("set")
    assert [labels.taxon(row).scientific_name for row in range(2)] == ["Purple fictus", "Yellow fictus"]


def test_joined_labels_answer_with_new_and_old_taxa(bioclip: Bioclip, new_taxa: str, labels: str) -> None:
    said = bioclip("prototypes", "build", "--data", new_taxa, "--model", "fake", "--output", "joined", "--join", labels)
    assert said.code == 0
    assert "3 text labels and 2 prototypes (2 of new taxa, 0 in place of a text label): 5 labels" in said.out
    table = {
        tuple(line.split("\t")[:3]): line.split("\t")[4] for line in said.out.splitlines() if line.startswith("val\t")
    }
    assert table["val", "old", "text"] == table["val", "old", "joined"] == "100.0%"
    assert (table["val", "new", "text"], table["val", "new", "joined"]) == ("0.0%", "100.0%")
    assert ("val", "new", "stacked") in table
    answers = named(bioclip, "joined")
    assert {genus: answers[genus].split()[0] for genus in answers} == {
        g: g for g in ("Red", "Yellow", "Purple", "Green")
    }
    identities = {json.loads(Path(folder, "label_set.json").read_text())["id"] for folder in ("joined", labels)}
    assert len(identities) == 2


def test_joined_labels_are_shown_searched_and_healthy(bioclip: Bioclip, new_taxa: str, labels: str) -> None:
    bioclip("prototypes", "build", "--data", new_taxa, "--model", "fake", "--output", "joined", "--join", labels)
    shown = bioclip("labels", "show", "joined").out
    assert "3 rows in 2 runs, text, scale 10, bias 0" in shown  # Blue and Green, then Purple and Yellow, then Red
    assert "rows 2 to 4, prototype, scale " in shown
    assert "captions: taxonomic" in shown
    doctor = bioclip("labels", "doctor", "joined")
    assert (doctor.code, "5 labels, 5 of them usable" in doctor.out) == (0, True)
    assert "Purple" in bioclip("labels", "search", "purple", "--labels", "joined").out


def test_text_labels_of_the_catalog_can_be_made_on_the_way(bioclip: Bioclip, new_taxa: str) -> None:
    said = bioclip("prototypes", "build", "--data", new_taxa, "--model", "fake", "--output", "joined", "--join", "text")
    assert said.code == 0
    assert "3 text labels and 2 prototypes (0 of new taxa, 2 in place of a text label): 3 labels" in said.out


def test_images_that_fail_are_named_and_left_out(bioclip: Bioclip, new_taxa: str) -> None:
    Path("examples/Yellow_train_2.png").unlink()
    Path("examples/Purple_val_0.png").write_bytes(b"no image")
    said = bioclip("prototypes", "build", "--data", new_taxa, "--model", "fake", "--output", "set")
    assert said.code == 3
    assert said.out.count("Failed: ") == 2
    assert all(name in said.out for name in ("examples/Yellow_train_2.png", "examples/Purple_val_0.png", "2 failed"))
    assert len(LabelSet.open("set")) == 2


def test_a_taxon_with_one_example_is_reported_and_answered(bioclip: Bioclip) -> None:
    data = catalog_of({"Yellow": (5, 1), "Purple": (1, 1)})
    said = bioclip("prototypes", "build", "--data", data, "--model", "fake", "--output", "set")
    assert said.code == 0
    assert "With a single example, so that its quality cannot be measured: Purple fictus" in said.out
    assert "val\tall\tprototypes\t2\t100.0%\t100.0%" in said.out


def test_a_model_without_a_text_tower_has_prototypes_alone(
    bioclip: Bioclip, new_taxa: str, manager: BioclipPluginManager
) -> None:
    manager.register(FakeModel("blind", text_tower=False), name="blind")
    said = bioclip("prototypes", "build", "--data", new_taxa, "--model", "blind", "--output", "set")
    assert said.code == 0
    assert "The model has no text tower" in said.out
    assert "val\tall\tprototypes\t6\t100.0%\t100.0%" in said.out
    refused = bioclip(
        "prototypes", "build", "--data", new_taxa, "--model", "blind", "--output", "other", "--join", "text"
    )
    assert (refused.code, "no text tower" in refused.err) == (1, True)


def test_an_output_is_replaced_only_when_asked(bioclip: Bioclip, new_taxa: str, labels: str) -> None:
    build = ("prototypes", "build", "--data", new_taxa, "--model", "fake", "--output", "set")
    assert bioclip(*build).code == 0
    refused = bioclip(*build, "--join", labels)
    assert (refused.code, "--force to replace it" in refused.err) == (1, True)
    assert len(LabelSet.open("set")) == 2
    assert bioclip(*build, "--join", labels, "--force").code == 0
    assert len(LabelSet.open("set")) == 5
    assert not list(Path().glob(".set*"))


def test_unusable_input_is_refused_in_one_line(
    bioclip: Bioclip, new_taxa: str, labels: str, manager: BioclipPluginManager
) -> None:
    manager.register(FakeModel("other"), name="other")
    build = ("prototypes", "build", "--data", new_taxa, "--output", "x")
    cases = {
        "was made for fake": bioclip(*build, "--model", "other", "--join", labels),
        "label set of model 'fake' is not on this machine": bioclip(*build, "--model", "fake", "--join", "own"),
        "no such folder": bioclip(*build, "--model", "fake", "--join", "nowhere"),
        "its splits are: train, val": bioclip(*build, "--model", "fake", "--split", "test"),
        "examples of at least two taxa": bioclip(
            "prototypes",
            "build",
            "--data",
            catalog_of({"Red": (3, 0)}, "one.parquet"),
            "--model",
            "fake",
            "--output",
            "x",
        ),
        "none.parquet does not exist": bioclip(
            "prototypes", "build", "--data", "none.parquet", "--model", "fake", "--output", "x"
        ),
    }
    for expected, refused in cases.items():
        assert (refused.code, len(refused.err.splitlines())) == (1, 1)
        assert expected in refused.err
    assert not Path("x/label_set.json").exists()
