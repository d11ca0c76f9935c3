"""A complete evaluation of a fake model that sees colours and of a real one, against figures worked out by hand."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation_samples import BLUE, GREEN, RED, TRAIN, VAL, colour_catalog, entries, second_model
from PIL import Image
from pyarrow import parquet

from bioclip_core.calibration import Calibration
from bioclip_core.classify import Classifier, consensus_of
from bioclip_core.device import Compute
from bioclip_core.errors import BioclipError, LabelSetError, NoTextTower, SourceError, UsageError
from bioclip_core.labels.building import build_label_set
from bioclip_core.labels.label_set import LabelSet
from bioclip_core.labels.manifest import Block
from bioclip_core.labels.writing import write_label_set
from bioclip_core.models import FoundModel, find_model
from bioclip_core.open_clip_encoder import open_encoder
from bioclip_core.progress import silent
from bioclip_core.taxonomy import RANKS, Taxon, taxon_from_row
from bioclip_training.catalog.rows import Catalog, CatalogRow, table_from
from bioclip_training.evaluation.config import EvaluationConfig
from bioclip_training.evaluation.features import FeatureBook
from bioclip_training.evaluation.run import evaluate


def measured(catalog: Path, output: Path, scale: float = 10.0, **options: Any) -> dict[str, Any]:
    config = EvaluationConfig(data=str(catalog), model="fake", output=str(output), **options)
    return evaluate(config, entries(scale))


def examples(output: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = parquet.read_table(output / "examples.parquet").to_pylist()
    return rows


def test_the_figures_are_those_worked_out_by_hand(tmp_path: Path) -> None:
    found = measured(colour_catalog(tmp_path), tmp_path / "out")
    assert found == json.loads((tmp_path / "out" / "metrics.json").read_text("utf-8"))
    species, family = found["zero_shot"]["species"], found["zero_shot"]["family"]
    # red, green and teal (nearest to blue) are right; orange is answered as red, with green second
    assert (species["n"], species["top1"], species["top3"]) == (4, 0.75, 1.0)
    assert species["macro"]["top1"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert family["top1"] == 0.75
    assert found["zero_shot"]["label"] == species
    assert "genus" in found["zero_shot"]
    assert "order" not in found["zero_shot"]  # the images have no name at that rank
    assert found["images"] == {"n": 4, "failed": 0, "without_name": 0, "groups": 3, "taxa": 3}
    assert found["provenance"]["labels"]["described"].startswith(
        "text labels of every taxon of the catalog, all splits: 3 labels"
    )
    assert species["seen"]["n"] == 4
    assert species["unseen"]["n"] == 0


def test_probabilities_and_their_calibration_are_those_of_the_softmax(tmp_path: Path) -> None:
    found = measured(colour_catalog(tmp_path, [*TRAIN, VAL[0], VAL[2]]), tmp_path / "out", scale=2.0)
    sure = math.exp(2) / (math.exp(2) + 2)
    assert [row["truth_probability"] for row in examples(tmp_path / "out")] == pytest.approx([sure, sure], abs=1e-3)
    assert found["calibration"]["ece"] == pytest.approx(1 - sure, abs=1e-3)  # always right, but less confident
    assert found["calibration"]["nll"] == pytest.approx(-math.log(sure), abs=1e-3)


def test_every_example_is_answered_as_by_the_main_job(tmp_path: Path) -> None:
    listed = [*TRAIN, *VAL, ("orange", RED, "val", "d"), ("teal", GREEN, "val", "e")]
    measured(colour_catalog(tmp_path, listed), tmp_path / "out", scale=3.0, threshold=0.5)
    labels = LabelSet.open(tmp_path / "out" / "label_set")
    catalog, encoder = Catalog.open(tmp_path / "catalog.parquet"), open_encoder(find_model("fake", entries(3.0)), CPU)
    book = FeatureBook(catalog, encoder)
    book.encode(catalog.rows_of("val"), "Encoding", silent)
    answers = Classifier(labels).classify(book.of(catalog.rows_of("val")))
    rows = examples(tmp_path / "out")
    assert len(rows) == len(answers) == 6
    for row, answer in zip(rows, answers, strict=True):
        candidates = answer.by_rank["species"]
        assert [row[f"top{place}"] for place in (1, 2, 3)] == [candidate.name for candidate in candidates]
        assert row["top1_probability"] == pytest.approx(candidates[0].probability, abs=1e-6)
        consensus = consensus_of(answer.by_rank, 0.5)
        assert row["consensus"] == (consensus.name if consensus else None)
        assert row["consensus_rank"] == (consensus.rank if consensus else None)


def test_of_equally_probable_answers_the_first_in_the_order_of_labels_is_the_best(tmp_path: Path) -> None:
    black = [("black", taxon, "val", taxon.genus) for taxon in (RED, GREEN, BLUE)]
    catalog = colour_catalog(tmp_path, [*TRAIN, *black])
    for number in (18, 19, 20):
        Image.new("RGB", (8, 8)).save(tmp_path / f"black-{number}.png")
    measured(catalog, tmp_path / "out", few_shot=False)
    # a black image is equally near to every colour; ties follow the families, then the genera: Blue, Green, Red
    assert [row["truth_place"] for row in examples(tmp_path / "out")] == [3, 2, 1]


def test_an_output_that_cannot_be_written_is_reported_and_leaves_nothing(tmp_path: Path) -> None:
    catalog = colour_catalog(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(BioclipError, match="cannot be written: Not a directory"):
        measured(catalog, tmp_path / "file" / "out")


CPU = Compute("cpu", "fp32", "for the test")


def test_an_image_that_cannot_be_read_is_listed_and_part_of_no_figure(tmp_path: Path) -> None:
    catalog = colour_catalog(tmp_path, [*TRAIN, *VAL, ("gone", RED, "val", "z")])
    (tmp_path / "gone-22.png").write_bytes(b"no image")
    found = measured(catalog, tmp_path / "out")
    assert (found["images"]["n"], found["images"]["failed"]) == (4, 1)
    (failed,) = [row for row in examples(tmp_path / "out") if row["failure"]]
    assert failed["uri"] == "gone-22.png"
    assert "not an image" in failed["failure"]
    assert failed["top1"] is None
    assert "gone-22.png" in (tmp_path / "out" / "report.html").read_text("utf-8")


def test_truths_that_the_label_set_lacks_are_counted_and_shown_beside(tmp_path: Path) -> None:
    catalog = colour_catalog(tmp_path)
    encoder = open_encoder(find_model("fake", entries()), CPU)
    build_label_set([RED, BLUE], encoder, tmp_path / "labels")
    found = measured(catalog, tmp_path / "out", labels=str(tmp_path / "labels"))["zero_shot"]
    # red and teal are right; both green images lack a possible answer, but at family rank blue represents Coldidae
    assert (found["species"]["top1"], found["species"]["unanswerable"]) == (0.5, 2)
    assert found["species"]["answerable"] == {
        "n": 2, "groups": 2, "top1": 1.0, "top1_ci95": [pytest.approx(0.025 ** (1 / 2)), 1.0],
    }  # fmt: skip
    assert (found["family"]["unanswerable"], found["family"]["n"]) == (0, 4)


def test_unseen_taxa_are_separated_from_seen_ones(tmp_path: Path) -> None:
    unseen = [("teal", BLUE, "unseen", f"u{number}") for number in range(3)]
    catalog = colour_catalog(tmp_path, [row for row in (*TRAIN, *VAL) if row[1] is not BLUE] + unseen)
    found = measured(catalog, tmp_path / "out", splits=("val", "unseen"))
    assert found["zero_shot"]["species"]["seen"]["n"] == 3
    assert found["zero_shot"]["species"]["unseen"] == {
        "n": 3, "groups": 3, "top1": 1.0, "top1_ci95": [pytest.approx(0.025 ** (1 / 3)), 1.0],
    }  # fmt: skip
    assert set(found["zero_shot"]["species"]["by_split"]) == {"val", "unseen"}


def test_few_shot_learns_from_train_alone(tmp_path: Path) -> None:
    found = measured(colour_catalog(tmp_path), tmp_path / "out", draws=3)["few_shot"]
    # the examples are pure colours: red, green and teal are nearest to their own, orange is nearest to red
    assert (found["k1"], found["k5"], found["k1_spread"]) == (0.75, 0.75, 0.0)
    assert (found["k5_taxa"], found["draws"]) == (3, 3)
    assert measured(colour_catalog(tmp_path), tmp_path / "none", few_shot=False)["few_shot"] == {}


def test_a_consensus_above_the_label_is_judged_at_the_labels_own_rank(tmp_path: Path) -> None:
    genus = Taxon.of([*GREEN.lineage[:6]])
    listed = [*TRAIN, ("green", genus, "val", "a"), ("blue", genus, "val", "b")]
    measured(colour_catalog(tmp_path, listed), tmp_path / "out", labels=_two_species(tmp_path))
    sure, wrong = examples(tmp_path / "out")
    assert (sure["consensus"], sure["consensus_rank"], sure["consensus_right"]) == ("Green fictus", "species", True)
    assert (wrong["consensus"], wrong["consensus_right"]) == ("Blue pictus", False)


def _two_species(tmp_path: Path) -> str:
    build_label_set([GREEN, BLUE], open_encoder(find_model("fake", entries()), CPU), tmp_path / "two")
    return str(tmp_path / "two")


def test_words_are_held_against_a_column(tmp_path: Path) -> None:
    catalog = colour_catalog(tmp_path)
    with pytest.raises(UsageError, match="leafy invention, scarlet invention"):
        measured(catalog, tmp_path / "none", words=("a red fish", "a green fish"))
    found = measured(catalog, tmp_path / "out", words=("Red", "Green"), groups=("warm", "cold"), truth_column="genus")
    # teal's Blue is not a label, so its image cannot be right; red and green are right, orange is not
    assert found["zero_shot"]["label"]["unanswerable"] == 1
    assert (found["zero_shot"]["label"]["n"], found["zero_shot"]["label"]["top1"]) == (4, 0.5)
    assert found["zero_shot"]["group"]["top1"] == 0.5
    assert {row["top1"] for row in examples(tmp_path / "out")} == {"Red", "Green"}
    assert (
        "group" not in measured(catalog, tmp_path / "bare", words=("Red", "Green"), truth_column="genus")["zero_shot"]
    )


def test_two_evaluations_compare_image_by_image(tmp_path: Path) -> None:
    catalog = colour_catalog(tmp_path)
    measured(catalog, tmp_path / "before", labels=_two_species(tmp_path))
    found = measured(catalog, tmp_path / "after", compare=str(tmp_path / "before"))["comparison"]
    species = found["by_rank"]["species"]
    # without red: green and teal are right, red cannot be; orange is answered as green, which is its label
    assert (species["n"], species["top1"], species["other_top1"]) == (4, 0.75, 0.75)
    assert (species["gained"], species["lost"]) == (1, 1)
    low, high = species["difference_ci95"]
    assert low <= 0 <= high
    with pytest.raises(SourceError, match="not an evaluation"):
        measured(catalog, tmp_path / "other", compare=str(tmp_path))


def compared(catalog: Path, output: Path, **options: Any) -> dict[str, Any]:
    config = EvaluationConfig(data=str(catalog), output=str(output), **options)
    return evaluate(config, second_model())


def test_a_model_compares_with_another_one_in_the_same_run(tmp_path: Path) -> None:
    catalog = colour_catalog(tmp_path)
    found = compared(catalog, tmp_path / "out", model="fake", compare="blind")["comparison"]
    assert (found["other"], found["other_model"]) == ("evaluated in the same run", "blind")
    species = found["by_rank"]["species"]
    # red is red to both; green and teal are black to the blind model: as near to every colour, and Blue comes first
    assert (species["top1"], species["other_top1"]) == (0.75, 0.5)
    assert (found["only_here"], found["only_there"]) == (0, 0)
    compared(catalog, tmp_path / "blind", model="blind")
    earlier = compared(catalog, tmp_path / "later", model="fake", compare=str(tmp_path / "blind"))["comparison"]
    assert earlier["by_rank"] == found["by_rank"]


def test_each_model_of_a_comparison_has_its_own_labels_for_the_same_taxa(tmp_path: Path) -> None:
    labels = _two_species(tmp_path)
    found = compared(colour_catalog(tmp_path), tmp_path / "out", model="fake", labels=labels, compare="blind")
    assert found["comparison"]["other_labels"].startswith("text labels of the same taxa: 2 labels")
    own = LabelSet.open(tmp_path / "out" / "compared_label_set")
    own.check_encoder(find_model("blind", second_model()).identity())


def test_a_model_compares_with_itself_only_among_other_labels(tmp_path: Path) -> None:
    catalog = colour_catalog(tmp_path)
    with pytest.raises(UsageError, match="weights of fake itself"):
        compared(catalog, tmp_path / "out", model="fake", compare="fake")
    labels = _two_species(tmp_path)
    found = compared(catalog, tmp_path / "out", model="fake", compare="fake", compare_labels=labels)["comparison"]
    assert (found["by_rank"]["species"]["gained"], found["by_rank"]["species"]["lost"]) == (1, 1)
    both = {"labels": labels, "compare_labels": labels}
    with pytest.raises(UsageError, match="weights of fake itself"):
        compared(catalog, tmp_path / "none", model="fake", compare="fake", **both)
    copied = shutil.copytree(labels, tmp_path / "a copy of the labels")
    with pytest.raises(UsageError, match="with the same labels"):
        compared(catalog, tmp_path / "none", model="fake", labels=labels, compare="fake", compare_labels=str(copied))
    text = compared(catalog, tmp_path / "text", model="fake", labels=labels, compare="fake")["comparison"]
    assert (text["is_same"], text["verdict"]["verdict"]) == (True, "equal answers")
    assert (text["by_rank"]["species"]["gained"], text["by_rank"]["species"]["lost"]) == (
        0,
        0,
    )  # the same labels, made of text
    with pytest.raises(UsageError, match="--compare MODEL"):
        compared(catalog, tmp_path / "none", model="fake", compare_labels=labels)


def test_the_same_labels_at_another_temperature_compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog, labels = colour_catalog(tmp_path), _two_species(tmp_path)
    label_set = LabelSet.open(labels).manifest["id"]
    models = {name: replace(entries()["fake"], name=name) for name in ("fake", "warm")}

    def fitted(model: FoundModel, asked: str) -> Calibration | None:
        return Calibration(2.0, model.weights_sha256, asked, {}) if (model.name, asked) == ("warm", label_set) else None

    monkeypatch.setattr("bioclip_training.evaluation.comparing.second_model.find_calibration", fitted)
    monkeypatch.setattr("bioclip_training.evaluation.answering.find_calibration", fitted)
    config = EvaluationConfig(
        data=str(catalog), output=str(tmp_path / "out"), model="fake", labels=labels, compare="warm", compare_labels=labels
    )  # fmt: skip
    found = evaluate(config, models)["comparison"]
    assert (found["is_same"], found["verdict"]["verdict"]) == (False, "label more test images")
    with pytest.raises(UsageError, match="all answers would be equal"):
        evaluate(replace(config, compare="fake", output=str(tmp_path / "none")), models)


def test_an_earlier_evaluation_of_the_same_model_and_labels_has_equal_answers(tmp_path: Path) -> None:
    catalog = colour_catalog(tmp_path)
    measured(catalog, tmp_path / "one")
    found = measured(catalog, tmp_path / "two", compare=str(tmp_path / "one"))["comparison"]
    assert found["verdict"]["verdict"] == "equal answers"
    assert "The same model and labels: equal answers" in (tmp_path / "two" / "report.html").read_text("utf-8")
    other = measured(catalog, tmp_path / "three", compare=str(tmp_path / "one"), labels=_two_species(tmp_path))
    assert other["comparison"]["verdict"]["verdict"] == "label more test images"
    record = json.loads((tmp_path / "one" / "metrics.json").read_text("utf-8"))
    del record["provenance"]["labels"]["id"]  # of an earlier version
    (tmp_path / "one" / "metrics.json").write_text(json.dumps(record), "utf-8")
    earlier = measured(catalog, tmp_path / "four", compare=str(tmp_path / "one"))["comparison"]
    assert (earlier["is_same"], earlier["verdict"]["verdict"]) == (False, "label more test images")


def test_an_old_model_without_a_right_label_gives_no_verdict(tmp_path: Path) -> None:
    catalog = colour_catalog(tmp_path)
    other = Taxon.of(["Fictia", "", "", "", "Elsewheridae", "Absent", "fictus"])
    build_label_set(
        [other, replace(other, genus="Gone")], open_encoder(find_model("fake", entries()), CPU), tmp_path / "labels"
    )
    labels = str(tmp_path / "labels")
    found = compared(catalog, tmp_path / "out", model="fake", compare="fake", compare_labels=labels)["comparison"]
    assert found["verdict"]["verdict"] == "no verdict"
    assert "The old model, fake" in found["verdict"]["reason"]
    compared(catalog, tmp_path / "before", model="fake", labels=labels)
    earlier = compared(catalog, tmp_path / "later", model="fake", compare=str(tmp_path / "before"))["comparison"]
    assert earlier["verdict"] == found["verdict"]


def test_what_is_neither_a_model_nor_an_evaluation_is_refused_before_anything_is_encoded(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"compare nothing: it is not an evaluation .*, and not a model: .*nothing"):
        compared(colour_catalog(tmp_path), tmp_path / "out", model="fake", compare="nothing")
    assert not (tmp_path / "out").exists()


def test_labels_that_the_compared_model_cannot_answer_with_are_refused_before_anything_is_encoded(
    tmp_path: Path,
) -> None:
    catalog = colour_catalog(tmp_path)
    with pytest.raises(LabelSetError, match="no such folder"):
        compared(catalog, tmp_path / "out", model="fake", compare="blind", compare_labels=str(tmp_path / "gone"))
    with pytest.raises(LabelSetError, match="was made for"):
        compared(catalog, tmp_path / "out", model="fake", compare="blind", compare_labels=_two_species(tmp_path))
    compared(catalog, tmp_path / "before", model="blind", few_shot=False)
    with pytest.raises(UsageError, match="is an earlier evaluation, whose answers are stored"):
        compared(catalog, tmp_path / "out", model="fake", compare=str(tmp_path / "before"), compare_labels="labels")
    images_only = {**entries(), "blind": entries(text_tower=False)["fake"]}
    config = EvaluationConfig(
        data=str(catalog), output=str(tmp_path / "out"), model="fake", compare="blind", replace_prefix=("a=a",)
    )
    images_only["blind"] = replace(images_only["blind"], source="images only")
    with pytest.raises(
        NoTextTower, match=r"give --compare-labels .* prototypes build --data .* --model blind .*--replace-prefix a=a"
    ):
        evaluate(config, images_only)
    assert not (tmp_path / "out").exists()


def test_the_learning_curve_is_part_of_the_figures_unless_it_is_not_wanted(tmp_path: Path) -> None:
    catalog = colour_catalog(tmp_path)
    found = measured(catalog, tmp_path / "out")["learning_curve"]
    assert (found["model"], found["learnt_labels"], found["examples"], found["taxa"]) == ("fake", False, 18, 3)
    assert (found["verdict"], found["images"], found["groups"]) == ("unknown", 4, 3)
    assert [step["more"] for step in found["by_images"]] == [2, 5]
    assert found["sentence"] in (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "learning_curve" not in measured(catalog, tmp_path / "none", learning_curve=False)


def test_the_report_is_one_file_that_asks_for_nothing_and_runs_nothing(tmp_path: Path) -> None:
    odd = Taxon.of(["Fictia", "", "", "", "Warmidae", "<b>Red", "fictus&"])
    catalog = colour_catalog(tmp_path, [*TRAIN, *VAL, ("green", odd, "val", "x")])
    measured(catalog, tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "<script" not in page
    assert "http" not in page.replace("&", "")
    assert "<b>Red" not in page
    assert "&lt;b&gt;Red fictus&amp;" in page
    assert page.count("data:image/png;base64,") == 4
    assert Catalog.open(catalog).identity in page


def test_the_same_settings_give_the_same_figures(tmp_path: Path) -> None:
    catalog = colour_catalog(tmp_path)
    one, two = (measured(catalog, tmp_path / name) for name in ("one", "two"))
    for found in (one, two):
        del found["seconds"], found["provenance"]
    assert one == two


def test_a_part_without_rows_is_refused_with_the_parts_there_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no rows of it; it has train 18 \(of which dev \d+\), val 4"):
        measured(colour_catalog(tmp_path), tmp_path / "out", splits=("unseen",))
    assert not (tmp_path / "out").exists()


def test_a_catalog_whose_images_are_missing_is_refused_with_the_first_one(tmp_path: Path) -> None:
    catalog = colour_catalog(tmp_path / "built")
    moved = tmp_path / "catalog.parquet"
    moved.write_bytes(catalog.read_bytes())
    with pytest.raises(SourceError, match=r"none of 4 images .* red-18\.png.*does not exist.*put the catalog back"):
        measured(moved, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["built", "catalog.parquet"]


def test_a_label_set_of_another_model_is_refused(tmp_path: Path) -> None:
    catalog = colour_catalog(tmp_path)
    other = {"weights_sha256": "f" * 64, "source": "other", "revision": ""}
    rows = np.eye(2, open_encoder(find_model("fake", entries()), CPU).dimension)
    labels = str(tmp_path / "two")
    write_label_set(Path(labels), [GREEN, BLUE], rows, other, Block(0, 2, "text", 10.0), {})
    with pytest.raises(LabelSetError, match="was made for"):
        measured(catalog, tmp_path / "out", labels=labels)


def test_an_image_only_model_without_labels_is_refused_with_a_hint_to_prototypes(tmp_path: Path) -> None:
    config = EvaluationConfig(data=str(colour_catalog(tmp_path)), model="fake", output=str(tmp_path / "out"))
    with pytest.raises(NoTextTower, match="prototypes build --data"):
        evaluate(config, entries(text_tower=False))


def test_an_output_is_replaced_only_if_asked_and_only_by_its_like(tmp_path: Path) -> None:
    catalog = colour_catalog(tmp_path)
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("all of it")
    with pytest.raises(UsageError, match="is not an evaluation"):
        measured(catalog, tmp_path / "precious", force=True)
    measured(catalog, tmp_path / "out", few_shot=False)
    with pytest.raises(UsageError, match="--force"):
        measured(catalog, tmp_path / "out")
    measured(catalog, tmp_path / "out", few_shot=False, splits=("all",), force=True)
    assert len(examples(tmp_path / "out")) == 22
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "by_taxon.csv", "examples.parquet", "label_set", "metrics.json", "report.html",
    ]  # fmt: skip


@pytest.mark.shared_data
def test_real_leaves_are_named_as_by_the_main_job(tmp_path: Path) -> None:
    data = Path(os.environ["BIOCLIP_DATA"]).resolve()
    with (data / "data" / "leaves" / "collection.csv").open(encoding="utf-8") as file:
        rows = [
            CatalogRow(str(data / "data" / "leaves" / row["image"]), taxon_from_row(row), split=row["split"])
            for row in csv.DictReader(file)
        ]
    parquet.write_table(table_from(rows), tmp_path / "leaves.parquet")
    config = EvaluationConfig(
        data=str(tmp_path / "leaves.parquet"), model=f"local-dir:{data / 'models' / 'mini'}", output=str(tmp_path / "out"),
        few_shot=False, device="cpu", precision="fp32",
    )  # fmt: skip
    found = evaluate(config)["zero_shot"]
    # 84 of 170 by classify with the 99 taxa of the collection as labels; two images are of a genus alone
    assert found["label"]["top1"] == pytest.approx(84 / 170)
    assert (found["label"]["n"], found["species"]["n"]) == (170, 168)
    assert [found[rank.value]["top1"] for rank in RANKS] == sorted(
        (found[rank.value]["top1"] for rank in RANKS), reverse=True
    )
    assert np.diff(found["label"]["top1_ci95"]).item() == pytest.approx(2 * 1.96 * math.sqrt(0.25 / 170), rel=0.1)


@pytest.mark.parametrize("colour", ["red", "blue"], ids=["all right", "all wrong"])
@pytest.mark.parametrize(("images", "groups"), [(1, 1), (3, 1), (2, 2)])
def test_few_images_are_reported_with_their_number_and_no_certainty(
    tmp_path: Path, colour: str, images: int, groups: int
) -> None:
    listed = [*TRAIN, *((colour, RED, "val", f"v{number % groups}") for number in range(images))]
    catalog = colour_catalog(tmp_path, listed)
    measured(catalog, tmp_path / "one", few_shot=False)
    found = measured(catalog, tmp_path / "two", few_shot=False, compare=str(tmp_path / "one"))
    species, difference = found["zero_shot"]["species"], found["comparison"]["by_rank"]["species"]
    right = float(colour == "red")
    assert (species["n"], species["groups"], species["top1"]) == (images, groups, right)
    assert (difference["n"], difference["groups"], difference["difference"]) == (images, groups, 0.0)
    page = " ".join((tmp_path / "two" / "report.html").read_text("utf-8").split())
    if groups == 1:
        assert species["top1_ci95"] == species["macro"]["top1_ci95"] == difference["difference_ci95"] == [None, None]
        assert "none: 1 group" in page
        assert "a single observation, without an interval" in page
    else:
        edge = math.sqrt(0.025)  # of none in two groups, and its mirror image
        assert species["top1_ci95"] == pytest.approx([edge, 1.0] if right else [0.0, 1 - edge])
        assert difference["difference_ci95"][0] == -difference["difference_ci95"][1] < -0.9
        assert "no difference of two models can be seen, however large" in page
    assert not re.search(r"\bnan\b", re.sub(r'"data:[^"]*"', "", page), re.IGNORECASE)
