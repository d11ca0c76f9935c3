"""``probe``: a logistic regression on features as a label set, with a model that sees colours."""

from __future__ import annotations

import csv
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from command_samples import Bioclip
from PIL import Image
from pyarrow import concat_tables, parquet

from bioclip_core.labels.label_set import LabelSet
from bioclip_core.taxonomy import Taxon
from bioclip_training.catalog.rows import Catalog, CatalogRow, table_from

COLOURS = {"Red": (240, 20, 20), "Yellow": (230, 220, 20), "Purple": (200, 20, 210)}
BUILD = ("probe", "build", "--data", "catalog.parquet", "--model", "fake", "--output", "probe")


@pytest.fixture
def catalog(bioclip: Bioclip) -> Path:
    """Catalog of eight training images and three test images of each colour."""
    assert bioclip  # the fixture sets the working directory
    random = np.random.default_rng(3)
    Path("examples").mkdir()
    rows = []
    for genus, colour in COLOURS.items():
        for number in range(11):
            uri = f"examples/{genus}_{number}.png"
            pixel = np.clip(np.array(colour) + random.integers(-15, 16, 3), 0, 255)
            Image.new("RGB", (12, 12), tuple(pixel.tolist())).save(uri)
            taxon = Taxon("Fictia", family="Mixidae", genus=genus, species="fictus")
            digest = hashlib.sha256(Path(uri).read_bytes()).hexdigest()
            split = "val" if number > 7 else "train"
            rows.append(CatalogRow(uri, taxon, group=f"{genus}{number}", split=split, sha256=digest))
    parquet.write_table(table_from(rows), "catalog.parquet")
    return Path("catalog.parquet")


@pytest.mark.usefixtures("catalog")
def test_a_probe_is_built_measured_and_answers(bioclip: Bioclip) -> None:
    said = bioclip(*BUILD)
    assert said.code == 0
    lines = said.out.splitlines()
    assert any(line.startswith("A probe of 3 taxa, strength ") and "cross-validated by group" in line for line in lines)
    table = {tuple(line.split("\t")[:3]): line.split("\t")[3:5] for line in lines if line.startswith("val\t")}
    assert table["val", "all", "probe"] == ["9", "100.0%"]
    assert {("val", "all", "prototypes"), ("val", "all", "text")} < set(table)
    assert bioclip("classify", "examples", "--model", "fake", "--labels", "probe", "--store", "r.db").code == 0
    assert bioclip("export", "--store", "r.db", "--format", "csv", "--output", "r.csv").code == 0
    with Path("r.csv").open(encoding="utf-8") as file:
        named = {Path(row["uri"]).stem: row["scientific_name"] for row in csv.DictReader(file)}
    assert len(named) == 33
    assert all(answer == f"{name.split('_')[0]} fictus" for name, answer in named.items())


@pytest.mark.usefixtures("catalog")
@pytest.mark.parametrize("kind", ["probe", "prototypes"])
def test_images_that_a_label_set_was_made_of_are_marked_or_refused_when_it_is_evaluated(
    bioclip: Bioclip, kind: str
) -> None:
    asked = (
        "evaluate",
        "--data",
        "catalog.parquet",
        "--model",
        "fake",
        "--labels",
        "probe",
        "--no-few-shot",
        "--output",
    )
    assert bioclip(kind, *BUILD[1:]).code == 0
    learnt = len(Catalog.open("catalog.parquet").rows_of("train"))
    said = bioclip(*asked, "learnt", "--split", "train")
    assert said.code == 0, said.err
    assert f"images of train that the label set was trained on: {learnt}, measured since" in said.out
    page = Path("learnt/report.html").read_text("utf-8")
    assert f"{learnt} of the evaluated images are in the training data of the label set" in page
    held_out = bioclip(*asked, "new", "--split", "val")
    assert (held_out.code, "trained on" in held_out.out) == (0, False)
    assert bioclip(kind, *BUILD[1:], "--split", "all", "--force").code == 0
    refused = bioclip(*asked, "all", "--split", "val")
    assert (refused.code, "9 of its 9 images in the training data of probe" in refused.err) == (1, True)
    assert bioclip("labels", "doctor", "probe").code == 0


def test_examples_without_a_scientific_name_are_skipped_and_counted(bioclip: Bioclip, catalog: Path) -> None:
    rows = [CatalogRow(f"examples/{genus}_0.png", Taxon(common_name="a beast"), split="train") for genus in COLOURS]
    named = parquet.read_table(catalog)
    parquet.write_table(concat_tables([named, table_from(rows).cast(named.schema)]), catalog)
    said = bioclip(*BUILD)
    assert said.code == 0, said.err
    assert "Skipped: 3 images of train without a scientific name; the first is examples/Red_0.png" in said.out
    assert "of val without" not in said.out
    learnt = int(said.out.split("Examples: ")[1].split()[0])
    capped = bioclip(*BUILD, "--force", "--most-examples", learnt)
    assert "(--most-examples)" not in capped.out  # all that have a name are examples


@pytest.mark.usefixtures("catalog")
def test_a_probe_is_shown_searched_healthy_and_a_label_set_for_every_command(bioclip: Bioclip) -> None:
    assert bioclip(*BUILD).code == 0
    shown = bioclip("labels", "show", "probe").out
    assert "3 rows, probe, weights " in shown
    assert "captions: None" not in shown
    doctor = bioclip("labels", "doctor", "probe")
    assert (doctor.code, "3 labels, 3 of them usable" in doctor.out) == (0, True)
    assert "Purple" in bioclip("labels", "search", "purple", "--labels", "probe").out
    some = ("--labels", "probe", "--store", "s.db", "--taxa", "Yellow", "--taxa", "Purple")
    assert bioclip("classify", "examples/Red_0.png", "--model", "fake", *some).code == 0
    evaluated = bioclip(
        "evaluate",
        "--data",
        "catalog.parquet",
        "--model",
        "fake",
        "--labels",
        "probe",
        "--output",
        "report",
        "--no-few-shot",
    )
    assert evaluated.code == 0
    metrics = json.loads(Path("report/metrics.json").read_text("utf-8"))
    assert metrics["zero_shot"]["label"]["top1"] == 1.0
    refused = bioclip(
        "prototypes", "build", "--data", "catalog.parquet", "--model", "fake", "--output", "j", "--join", "probe"
    )
    assert (refused.code, len(refused.err.splitlines())) == (1, 1)
    assert "holds a probe; prototypes are joined to a label set of text alone" in refused.err


@pytest.mark.usefixtures("catalog")
def test_a_probe_is_the_same_every_time_and_replaced_only_when_asked(bioclip: Bioclip) -> None:
    assert bioclip(*BUILD).code == 0
    first = LabelSet.open("probe").manifest["id"]
    refused = bioclip(*BUILD)
    assert (refused.code, "--force to replace it" in refused.err) == (1, True)
    assert bioclip(*BUILD, "--force").code == 0
    assert LabelSet.open("probe").manifest["id"] == first
    few = bioclip(*BUILD, "--force", "--most-examples", "2")
    assert "2 of 24 images are examples (--most-examples)" in few.out
    assert "1 taxon without an example, and so never an answer:" in few.out
    assert bioclip(*BUILD, "--force", "--most-examples", "6").code == 0
    assert LabelSet.open("probe").manifest["examples"] == 6
    assert len(LabelSet.open("probe")) == 3  # each taxon gave two


@pytest.mark.usefixtures("catalog")
def test_a_probe_of_shards_is_that_of_their_catalog(bioclip: Bioclip) -> None:
    assert bioclip("shards", "write", "catalog.parquet", "--output", "shards").code == 0
    assert bioclip(*BUILD).code == 0
    shards = ["shards" if word == "catalog.parquet" else word for word in BUILD]
    assert bioclip(*shards[:-1], "of_shards").code == 0
    one, other = (LabelSet.open(name) for name in ("probe", "of_shards"))
    assert len(one) == len(other) == 3
    np.testing.assert_allclose(one.embeddings_ND.astype(float), other.embeddings_ND.astype(float), atol=2e-3)


@pytest.mark.usefixtures("catalog")
def test_classifying_by_a_probe_does_not_need_scikit_learn(bioclip: Bioclip, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bioclip(*BUILD).code == 0
    for name in [name for name in sys.modules if name.partition(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)  # importing it fails
    assert bioclip("classify", "examples", "--model", "fake", "--labels", "probe", "--store", "n.db").code == 0


@pytest.mark.usefixtures("catalog")
def test_labels_of_a_catalog_are_its_taxa_also_where_they_are_words(bioclip: Bioclip) -> None:
    words = (Taxon(species="red morph", common_name="red morph"), Taxon(species="pale morph", common_name="pale morph"))
    parquet.write_table(
        table_from(CatalogRow(f"{word.species}.png", word, split="train") for word in words), "w.parquet"
    )
    said = bioclip("labels", "build", "w.parquet", "--model", "fake", "--output", "words")
    assert said.code == 0, said.err
    labels = LabelSet.open("words")
    assert [labels.taxon(row).lineage for row in range(2)] == [words[1].lineage, words[0].lineage]
    assert bioclip("labels", "build", "catalog.parquet", "--model", "fake", "--output", "taxa").code == 0
    assert [LabelSet.open("taxa").taxon(row).genus for row in range(3)] == ["Purple", "Red", "Yellow"]
