"""Evaluations on published sets from their folders to the report: figures by hand, kept work, and folders that are not whole."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from suite_samples import awa2, class_folders, evaluated, fake, nabirds, newt, only, paint, rare_species, write_table

from bioclip_core.errors import BioclipError, DataError
from bioclip_core.models import ModelEntry
from bioclip_training.suites import features, run
from bioclip_training.suites import newt as newt_protocol
from bioclip_training.suites.images import MissingSetError
from bioclip_training.suites.reading_tasks import TRAITS
from bioclip_training.suites.report import means_of
from bioclip_training.suites.result import MEASURED, Figure, SetResult

RED = ("Fictia", "Warmata", "Picta", "Rufales", "Warmidae", "Red", "fictus")
GREEN = ("Fictia", "Coldata", "Picta", "Virides", "Coldidae", "Green", "fictus")


def figures_of(result: SetResult) -> dict[str, tuple[float, float]]:
    return {figure.name: (figure.published, figure.corrected) for figure in result.figures}


def test_accuracies_of_a_set_by_hand(tmp_path: Path) -> None:
    words = [
        ("a red bird", "red", 6),
        ("a green bird", "green", 2),
        ("a blue bird", "blue", 1),
        ("a blue bird", "red", 1),
    ]
    result = only(evaluated(nabirds(tmp_path, words), tmp_path / "out", "nabirds"))
    found = result.figure("zero-shot top-1")
    assert found is not None
    assert found.published == pytest.approx(9 / 10), "over images"
    assert found.corrected == pytest.approx((1 + 1 + 0.5) / 3), "over classes"
    assert found.published_ci95[0] < 0.9 < found.published_ci95[1]
    assert (found.n, found.groups) == (10, 10)
    three = result.figure("zero-shot top-3")
    assert three is not None
    assert three.note == "with 3 classes every answer is among the best 3"
    assert result.findings[0].startswith("it has 10 images instead of 48,562 and 3 classes instead of 555: figures")


def test_underscores_are_asked_as_published_and_as_blanks_corrected(tmp_path: Path) -> None:
    """mteb, pull request 1103: EuroSAT asked with its folder's names, without blanks between words, loses most of its accuracy."""
    words = [("Leaf_red_spot", "red", 1), ("green", "green", 1)]
    result = only(evaluated(nabirds(tmp_path, words), tmp_path / "out", "nabirds"))
    found = result.figure("zero-shot top-1")
    assert found is not None
    assert found.corrected == 1.0
    assert "other words for 1 class ('Leaf_red_spot' is asked as 'Leaf red spot')" in found.corrected_as


def test_words_of_taxa_are_made_as_the_paper_has_them_or_as_asked(tmp_path: Path) -> None:
    root = rare_species(tmp_path, [(RED, "scarlet invention", "red", 7), (GREEN, "", "green", 7)])
    result = only(evaluated(root, tmp_path / "out", "rare-species"))
    assert result.settings["text_type"] == "taxonomic_common"
    assert figures_of(result)["zero-shot top-1"] == (1.0, 1.0)
    assert figures_of(result)["5-shot accuracy"] == (1.0, 1.0)
    common = only(evaluated(root, tmp_path / "common", "rare-species", text_type="common"))
    note = common.figures[0].note
    assert note == "1 class without common words (the first: Green fictus)"
    scientific = only(evaluated(root, tmp_path / "scientific", "rare-species", text_type="scientific"))
    assert figures_of(scientific)["zero-shot top-1"] == (1.0, 1.0)


def test_the_words_of_birds_525_are_said_with_their_reason(tmp_path: Path) -> None:
    rows = []
    for number, (word, colour) in enumerate((("RED BIRD", "red"), ("BLUE BIRD", "blue"))):
        paint(tmp_path / "birds525" / "test" / f"{number}.png", colour, number)
        rows.append(
            {"filepaths": f"test/{number}.png", "labels": word, "data set": "test", "scientific name": "AVIS FICTA"}
        )
    write_table(tmp_path / "birds525" / "birds.csv", rows)
    note = "the text type behind the published figure is not stated"
    result = only(evaluated(tmp_path, tmp_path / "out", "birds-525"))
    assert any(line.startswith(note) for line in result.findings)
    assert result.settings["text_type"] == "class"
    asked = only(evaluated(tmp_path, tmp_path / "asked", "birds-525", text_type="class"))
    assert not any(line.startswith(note) for line in asked.findings)


def test_a_set_without_taxa_has_no_prompts_of_taxa_and_says_so(tmp_path: Path) -> None:
    result = only(
        evaluated(
            nabirds(tmp_path, [("red", "red", 2), ("blue", "blue", 2)]),
            tmp_path / "out",
            "nabirds",
            text_type="scientific",
        )
    )
    assert (
        result.figures[0].note
        == "the set has no taxa, so there are no scientific words; --text-type class asks with its own"
    )
    assert figures_of(result)["1-shot accuracy"] == (1.0, 1.0)


def test_classes_that_share_their_words_are_counted_and_share_the_chance(tmp_path: Path) -> None:
    taxa = [(RED, "invention", "red", 3), (GREEN, "invention", "green", 3)]
    result = only(evaluated(rare_species(tmp_path, taxa), tmp_path / "out", "rare-species", text_type="common"))
    assert (
        "classes share the words of another one in the published prompts: 1 (the first: invention)" in result.findings
    )
    found = result.figures[0]
    assert found.note == "with 1 class every answer is among the best 1", "the published code makes one class of both"


def test_an_image_encoder_without_text_has_few_shot_figures_alone(tmp_path: Path) -> None:
    root = nabirds(tmp_path, [("red", "red", 3), ("blue", "blue", 3)])
    result = only(evaluated(root, tmp_path / "out", "nabirds", entries=fake(text_tower=False)[1]))
    assert "few-shot figures need no text" in result.figures[0].note
    assert figures_of(result)["1-shot accuracy"] == (1.0, 1.0)


def test_unreadable_images_are_counted_with_the_first_example_and_the_others_measured(tmp_path: Path) -> None:
    root = nabirds(tmp_path, [("red", "red", 3), ("blue", "blue", 3)])
    (root / "nabirds" / "0001.png").write_bytes(b"not an image")
    result = only(evaluated(root, tmp_path / "out", "nabirds"))
    assert (result.images, result.failed) == (5, 1)
    assert [(one["stage"], one["images"]) for one in result.failures] == [("decode", 1)]
    assert result.failures[0]["first"].startswith("0001.png: ")
    assert "1 image could not be used (decode); the first is 0001.png" in (tmp_path / "out" / "report.html").read_text(
        "utf-8"
    )


def test_missing_sets_get_a_line_and_the_others_are_measured(tmp_path: Path) -> None:
    root = nabirds(tmp_path, [("red", "red", 2), ("blue", "blue", 2)])
    outcome = evaluated(root, tmp_path / "out", "nabirds", "newt")
    assert [result.status for result in outcome.results] == ["measured", "missing"]
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "1 set missing, 0 not measured" in page
    assert (
        "expected newt with newt2021_labels.csv and newt2021_images/; get it from https://github.com/visipedia/newt"
        in page
    )
    with pytest.raises(MissingSetError, match=r"no folder of NeWT.* \(1 more set of 2 missing too\)"):
        evaluated(root, tmp_path / "other", "newt", "awa2")
    assert not (tmp_path / "other").exists()


def test_a_set_that_cannot_be_measured_ends_neither_the_others_nor_the_report(tmp_path: Path) -> None:
    root = nabirds(tmp_path, [("red", "red", 2), ("blue", "blue", 2)])
    newt(root, {"age": [("red", 0, "train"), ("red", 0, "test")]})
    failed, measured = evaluated(root, tmp_path / "out", "newt", "nabirds").results
    assert (failed.status, measured.status) == ("failed", "measured")
    assert failed.reason.endswith("none of 1 task can be measured")
    assert (
        "tasks have no test images, or training images of one label alone; they are left out: 1 (the first: age)"
        in failed.findings
    )


def test_a_second_run_encodes_nothing_and_measures_what_changed(tmp_path: Path) -> None:
    root, output = nabirds(tmp_path, [("red", "red", 3), ("blue", "blue", 3)]), tmp_path / "out"
    encoder, entries = fake()
    first = only(evaluated(root, output, "nabirds", entries=entries))
    assert encoder.images_encoded == 6
    (output / "report.html").unlink()
    kept = only(evaluated(root, output, "nabirds", entries=entries))
    assert kept.as_json() == first.as_json()
    assert (output / "report.html").exists()
    other = only(evaluated(root, output, "nabirds", entries=entries, folds=2, force=True))
    assert other.settings["folds"] == 2
    assert encoder.images_encoded == 6
    paint(root / "nabirds" / "0000.png", "teal", 7)
    changed = only(evaluated(root, output, "nabirds", entries=entries, folds=2))
    assert encoder.images_encoded == 12
    assert figures_of(changed)["zero-shot top-1"] == (pytest.approx(5 / 6), pytest.approx((1 + 2 / 3) / 2))


def test_a_damaged_part_of_features_is_made_again(tmp_path: Path) -> None:
    root, output = nabirds(tmp_path, [("red", "red", 2), ("blue", "blue", 2)]), tmp_path / "out"
    encoder, entries = fake()
    evaluated(root, output, "nabirds", entries=entries)
    (part,) = (output / "features").rglob("*.npz")
    part.write_bytes(part.read_bytes()[:-40])
    (output / "sets" / "nabirds.json").write_text("{", "utf-8")
    assert figures_of(only(evaluated(root, output, "nabirds", entries=entries)))["zero-shot top-1"] == (1.0, 1.0)
    assert encoder.images_encoded == 8


def test_the_report_of_another_model_of_other_settings_or_of_more_sets_is_not_replaced(tmp_path: Path) -> None:
    root, output = nabirds(tmp_path / "sets", [("red", "red", 2), ("blue", "blue", 2)]), tmp_path / "out"
    newt(root, {"age": [("red", 0, "train"), ("green", 1, "train"), ("red", 0, "test")]})
    encoder, entries = fake()
    evaluated(root, output, "nabirds", entries=entries)
    evaluated(root, output, "nabirds", "newt", entries=entries)
    page = (output / "report.html").read_bytes()
    other_weights = fake()[0]
    other_weights.identity = {**encoder.identity, "weights_sha256": 64 * "0"}
    others = {"other": ModelEntry("other", "fake", open_encoder=lambda _: other_weights)}
    with pytest.raises(
        DataError,
        match=r"holds an evaluation that differs: --model was fake and is now other.* --force to replace its report",
    ):
        evaluated(root, output, "nabirds", "newt", model="other", entries=others)
    with pytest.raises(
        DataError,
        match=r"--text-type was published and is now common; --exact was off and is now on; "
        r"its report also has newt \(it was asked for with --suite nabirds --suite newt\)",
    ):
        evaluated(root, output, "nabirds", entries=entries, text_type="common", exact=True)
    moved = root.rename(tmp_path / "moved")
    evaluated(moved, output, "newt", "nabirds", entries=entries)
    encoded = encoder.images_encoded
    assert encoded == 7, "the same files in another place"
    paint(moved / "nabirds" / "0000.png", "teal", 7)
    evaluated(moved, output, "nabirds", "newt", entries=entries)
    assert encoder.images_encoded == encoded + 4, "files that changed in their place are measured again"
    moved.rename(root)
    paint(root / "nabirds" / "0000.png", "red", 9)
    with pytest.raises(DataError, match=r"nabirds was measured on other files, in .*moved and not in .*sets"):
        evaluated(root, output, "nabirds", "newt", entries=entries)
    assert (output / "report.html").read_bytes() != page
    assert [one.name for one in evaluated(root, output, "nabirds", entries=entries, force=True).results] == ["nabirds"]


def test_a_document_of_another_version_is_refused(tmp_path: Path) -> None:
    root = nabirds(tmp_path, [("red", "red", 2), ("blue", "blue", 2)])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "suite.json").write_text('{"sets": {}}', "utf-8")
    with pytest.raises(DataError, match="was not written by this version of the program; give another --output"):
        evaluated(root, tmp_path / "out", "nabirds")


def test_without_any_set_that_can_be_read_there_is_a_line_and_no_report(tmp_path: Path) -> None:
    (tmp_path / "nabirds").mkdir()
    (tmp_path / "nabirds" / "metadata.csv").write_text("", "utf-8")
    with pytest.raises(DataError, match=r"^the table .*metadata\.csv is empty$"):
        evaluated(tmp_path, tmp_path / "out", "nabirds")
    with pytest.raises(DataError, match=r"is empty \(1 more set of 2 cannot be read too\)$"):
        evaluated(tmp_path, tmp_path / "out", "nabirds", "newt")
    assert not (tmp_path / "out").exists()
    class_folders(tmp_path / "plantdoc" / "train", {"apple": ("red", 1), "pear": ("blue", 1)})
    class_folders(tmp_path / "plantdoc" / "test", {"apple": ("red", 1), "pear": ("blue", 1)}, first=50)
    failed, measured = evaluated(tmp_path, tmp_path / "out", "nabirds", "plantdoc").results
    assert (failed.status, measured.status) == ("failed", "measured")


def test_an_output_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    root = nabirds(tmp_path, [("red", "red", 2), ("blue", "blue", 2)])
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("", "utf-8")
    with pytest.raises(DataError, match=r"holds chapter\.txt and is not the folder of an evaluation on published sets"):
        evaluated(root, tmp_path / "thesis", "nabirds")


def test_the_document_of_a_run_has_figures_and_what_they_were_made_with(tmp_path: Path) -> None:
    root = nabirds(tmp_path, [("red", "red", 2), ("blue", "blue", 2)])
    evaluated(root, tmp_path / "out", "nabirds", resize="squash", exact=True)
    held = json.loads((tmp_path / "out" / "suite.json").read_text("utf-8"))
    assert (held["preprocessing"]["resize_mode"], held["preprocessing"]["decode"]) == ("squash", "full")
    assert held["model"]["source"] == "fake"
    data_id = held["sets"]["nabirds"]["data_id"]
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert f"sha256 of names, labels and bytes {data_id}" in page
    table = root / "nabirds" / "metadata.csv"
    table.write_text(table.read_text("utf-8").replace("0001.png,red", "0001.png,blue"), "utf-8")
    assert only(evaluated(root, tmp_path / "other", "nabirds")).data_id not in ("", data_id)
    assert len(held["model"]["weights_sha256"]) == 64
    (figure,) = [one for one in held["sets"]["nabirds"]["figures"] if one["name"] == "1-shot accuracy"]
    assert (figure["published"], figure["corrected"]) == (1.0, 1.0)
    assert held["sets"]["nabirds"]["figures"][1]["published"] is None, "JSON has no NaN"


def test_an_interrupted_newt_continues_within_the_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [("red", 0, "train"), ("green", 1, "train"), ("red", 0, "test"), ("green", 0, "test")]
    root, fitted = newt(tmp_path, dict.fromkeys(("age", "health", "context"), images)), []
    own = newt_protocol.svm_answers

    def stopping(*rows: Any, **options: Any) -> Any:
        fitted.append(1)
        if len(fitted) == 3:
            raise KeyboardInterrupt
        return own(*rows, **options)

    monkeypatch.setattr(newt_protocol, "svm_answers", stopping)
    with pytest.raises(KeyboardInterrupt):
        evaluated(root, tmp_path / "out", "newt")
    kept = tmp_path / "out" / "sets" / "newt.tasks"
    assert len(list(kept.iterdir())) == 2
    result = only(evaluated(root, tmp_path / "out", "newt"))
    assert len(fitted) == 4, "one fit for the third task"
    assert result.details["tasks"] == {"age": 0.5, "health": 0.5, "context": 0.5}
    assert not kept.exists()
    assert result.as_json()["figures"] == only(evaluated(root, tmp_path / "whole", "newt")).as_json()["figures"]


def test_figures_of_another_protocol_or_size_are_not_put_beside_the_papers_without_a_word(tmp_path: Path) -> None:
    root = rare_species(tmp_path, [(RED, "scarlet invention", "red", 7), (GREEN, "lime invention", "green", 3)])
    result = only(evaluated(root, tmp_path / "out", "rare-species", text_type="common", prompts="caption", folds=2))
    assert result.findings[1] == (
        "asked with text type common instead of taxonomic_common, prompts caption instead of templates, folds 2 instead of 5: figures "
        "cannot be compared with the published ones"
    )
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert page.count("not comparable</td>") == 4, "two tables of zero-shot, two figures of the third"
    assert "All figures are as published" not in page


def test_the_groups_and_classes_of_a_few_shot_figure_are_those_that_were_asked(tmp_path: Path) -> None:
    words = [("a red bird", "red", 8), ("a green bird", "green", 7), ("a blue bird", "blue", 3)]
    found = only(evaluated(nabirds(tmp_path, words), tmp_path / "out", "nabirds")).figure("5-shot accuracy")
    assert found is not None
    assert found.groups == found.n <= 15
    assert found.corrected_as.startswith("mean over 2 of 3 classes")
    assert found.published_as == ""


def test_larger_tasks_of_newt_count_more_as_published_and_equally_corrected(tmp_path: Path) -> None:
    """biobench aggregates the tasks' examples; NeWT's own figure is over tasks."""
    right = [("red", 0, "train"), ("green", 1, "train")] * 3 + [("red", 0, "test"), ("green", 1, "test")]
    upside_down = [("red", 0, "train"), ("green", 1, "train")] * 3 + [("red", 1, "test"), ("green", 0, "test")] * 4
    result = only(evaluated(newt(tmp_path, {"right": right, "upside down": upside_down}), tmp_path / "out", "newt"))
    assert figures_of(result) == {"accuracy of the tasks": (pytest.approx(2 / 10), pytest.approx(1 / 2))}
    assert result.details["tasks"] == {"right": 1.0, "upside down": 0.0}
    assert (result.classes, result.images) == (2, 22)


def test_copies_of_training_images_are_left_out_of_newts_corrected_figure(tmp_path: Path) -> None:
    images = [("red", 0, "train"), ("green", 1, "train")] * 2 + [("red", 1, "test"), ("green", 1, "test")]
    root = newt(tmp_path, {"age": images})
    folder = root / "newt" / "newt2021_images"
    (folder / "image-0004.jpg").write_bytes((folder / "image-0000.jpg").read_bytes())
    result = only(evaluated(root, tmp_path / "out", "newt", workers=2))
    assert figures_of(result) == {"accuracy of the tasks": (0.5, 1.0)}
    assert any(
        line.startswith("test images have the bytes of a training image of their task") for line in result.findings
    )


def test_classes_of_plantdoc_that_test_lacks_shift_the_published_numbers(tmp_path: Path) -> None:
    """CLIP_benchmark, issue 21: prompts of KITTI were in another order than the classes of its folder."""
    class_folders(tmp_path / "plantdoc" / "train", {"apple": ("red", 2), "mites": ("green", 2), "zinnia": ("blue", 2)})
    class_folders(tmp_path / "plantdoc" / "test", {"apple": ("red", 3), "zinnia": ("blue", 1)}, first=50)
    result = only(evaluated(tmp_path, tmp_path / "out", "plantdoc"))
    assert figures_of(result) == {"1-shot accuracy": (pytest.approx(3 / 4), pytest.approx(1.0))}
    assert result.findings[0] == "it has 3 classes instead of 28: figures cannot be compared with the published ones"
    assert result.findings[1].startswith(
        "classes are in one of train and test alone; the published code numbers both apart"
    )
    assert result.findings[1].endswith("1 (the first: mites)")


def test_copies_of_plantdocs_examples_are_no_queries_of_the_corrected_figure(tmp_path: Path) -> None:
    class_folders(tmp_path / "plantdoc" / "train", {"apple": ("red", 1), "pear": ("blue", 1)})
    class_folders(tmp_path / "plantdoc" / "test", {"apple": ("red", 1), "pear": ("blue", 2)})
    found = only(evaluated(tmp_path, tmp_path / "out", "plantdoc")).figures[0]
    assert (found.published, found.corrected, found.n) == (1.0, 1.0, 1), (
        "one test image has other bytes than the examples"
    )


def test_known_and_new_classes_of_herbarium_that_look_alike_are_both_right_only_as_published(tmp_path: Path) -> None:
    class_folders(
        tmp_path / "herbarium19" / "small-train",
        {"0": ("red", 5), "1": ("green", 5), "2": ("red", 4), "3": ("blue", 4)},
    )
    result = only(evaluated(tmp_path, tmp_path / "out", "herbarium-19"))
    found = result.figures[0]
    assert found.published > found.corrected
    assert [figure.name for figure in result.figures[1:]] == [
        "clustering accuracy, known classes",
        "clustering accuracy, new classes",
    ]
    assert result.settings == {"runs": 1, "known_classes": 2, "class_split": "first half", "labelled_images": 8}
    assert any("the first half of the classes is known" in line for line in result.findings)


def test_traits_of_new_species_and_of_a_fixed_answer_are_given_beside_fishnets_figure(tmp_path: Path) -> None:
    rows: dict[str, list[dict[str, object]]] = {"train": [], "test": []}
    kinds = {"Red fish": ("red", "pelagic", 1), "Blue fish": ("blue", "benthic", 0), "New fish": ("red", "pelagic", 1)}
    for split, species, count in (
        ("train", "Red fish", 6),
        ("train", "Blue fish", 4),
        ("test", "Blue fish", 2),
        ("test", "New fish", 2),
    ):
        colour, feeding, tropical = kinds[species]
        for number in range(count):
            name = f"{species.split()[0]}_{split}{number}.png"
            paint(
                tmp_path / "fishnet" / "Image_Library" / "Fishes" / name,
                colour,
                len(rows["train"]) + 20 * len(rows["test"]),
            )
            genus, epithet = species.split()
            held = dict(zip(TRAITS, (feeding, tropical, *[0] * 7), strict=True))
            rows[split].append(
                {"image": f"Fishes/{name}", "Folder": "Fishes", "Genus": genus, "Species": epithet, **held}
            )
    for split, listed in rows.items():
        write_table(tmp_path / "fishnet" / f"{split}.csv", listed)
    result = only(evaluated(tmp_path, tmp_path / "out", "fishnet"))
    found = {figure.name: figure for figure in result.figures}
    exact = "exact match of all traits"
    assert found[f"{exact}, species not in train.csv"].n == 2
    assert found[f"{exact}, always the commonest traits of train.csv"].corrected == 0.5
    assert found["balanced accuracy of traits"].corrected_as.startswith("of 2 of 9 attributes")
    assert (result.groups, result.grouped_by) == (3, "species")
    assert any(line.startswith("the encoder gives normalised features alone") for line in result.findings)
    assert result.findings[0].startswith("size unknown: the published number of images is not recorded here")
    assert not result.comparable


def test_attributes_of_awa2_are_measured_over_classes_that_were_not_learnt(tmp_path: Path) -> None:
    animals = {
        "ape": ("red", (1, 0, 1), "train", 3), "bat": ("blue", (0, 1, 0), "train", 3), "cat": ("orange", (1, 0, 1), "test", 2),
        "dog": ("teal", (0, 1, 0), "test", 2),
    }  # fmt: skip
    result = only(evaluated(awa2(tmp_path, animals, ["black", "white", "furry"]), tmp_path / "out", "awa2"))
    found = {figure.name: figure for figure in result.figures}
    assert found["macro-F1"].published_as.startswith("of 2 attributes (black, white)")
    assert found["balanced accuracy of attributes"].groups == 2
    assert list(result.details["attributes"]) == ["black", "white", "furry"]
    assert (result.images, result.classes) == (10, 3)
    assert found["macro-F1"].corrected_as.endswith("of which there are none here: fewer than 6 independent units (2.0)")


def test_a_mean_of_fewer_sets_than_the_papers_is_marked() -> None:
    def result(name: str, published: float) -> SetResult:
        return SetResult(name, name, MEASURED, figures=(Figure("zero-shot top-1", published, corrected=published / 2),))

    found = means_of([result("plankton", 0.2), result("fungi", 0.4), result("rare-species", 0.6)], ["bioclip"])[
        "bioclip"
    ]
    assert (found.published, found.corrected) == (pytest.approx(0.4), pytest.approx(0.2))
    assert found.caution == "not comparable: 7 of 10 columns missing"
    traps = [
        result(f"camera-traps-{name}", 0.5)
        for name in ("desert-lion", "ena24", "island", "orinoquia", "ohio-small-animals")
    ]
    means = means_of([*traps, result("plankton", 0.1)], ["bioclip-2"])
    assert (means["camera-traps"].published, means["camera-traps"].caution) == (pytest.approx(0.5), "")
    assert means["bioclip-2"].published == pytest.approx(0.3), "camera traps are one column of ten"
    small = replace(result("fungi", 0.4), comparable=False)
    assert means_of([small], ["bioclip"])["bioclip"].caution.endswith(
        "missing; 1 column of another size, or asked in another way, than published"
    )


def test_palette_and_transparent_images_are_read(tmp_path: Path) -> None:
    root = nabirds(tmp_path, [("red", "red", 2), ("blue", "blue", 2)])
    Image.new("RGBA", (20, 20), (255, 0, 0, 255)).save(root / "nabirds" / "0000.png")
    Image.new("RGB", (20, 20), (0, 0, 255)).convert("P").save(root / "nabirds" / "0002.png")
    assert figures_of(only(evaluated(root, tmp_path / "out", "nabirds")))["zero-shot top-1"] == (1.0, 1.0)


def test_sets_that_need_scikit_learn_are_refused_without_it_before_anything_is_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = run.find_spec
    monkeypatch.setattr(run, "find_spec", lambda name: None if name == "sklearn" else there(name))
    with pytest.raises(
        BioclipError, match=r"^newt: scikit-learn is needed, .* get it with: pip install 'bioclip-plugin\[train\]'$"
    ):
        evaluated(tmp_path, tmp_path / "out", "newt")
    root = nabirds(tmp_path, [("red", "red", 2), ("blue", "blue", 2)])
    assert only(evaluated(root, tmp_path / "out", "nabirds")).status == MEASURED


def test_an_interrupted_run_continues_with_the_parts_that_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, output = nabirds(tmp_path, [("red", "red", 3), ("blue", "blue", 3)]), tmp_path / "out"
    monkeypatch.setattr(features, "PART", 2)
    encoder, entries = fake()
    own = encoder.encode_images

    def stopping(images_BHWC: Any) -> Any:
        if encoder.images_encoded >= 4:
            raise KeyboardInterrupt
        return own(images_BHWC)

    encoder.encode_images = stopping  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        evaluated(root, output, "nabirds", entries=entries)
    assert len(list((output / "features").rglob("part-*.npz"))) == 2
    encoder.encode_images = own  # type: ignore[method-assign]
    assert figures_of(only(evaluated(root, output, "nabirds", entries=entries)))["zero-shot top-1"] == (1.0, 1.0)
    assert encoder.images_encoded == 6
