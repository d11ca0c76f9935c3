"""The report of an evaluation: its verdict, its headings, what it lists, and how it looks in Chromium at three widths."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from evaluation_samples import BLUE, GREEN, RED, TRAIN, VAL, Listed, colour_catalog, second_model

from bioclip_core.model_names import described, short_name
from bioclip_training.evaluation.comparing.by_taxon import worth_labels
from bioclip_training.evaluation.comparing.verdict import KEEP_OLD, LABEL_MORE, NONE, SAME, USE_NEW, verdict_of
from bioclip_training.evaluation.config import EvaluationConfig
from bioclip_training.evaluation.remarks import few_examples, meaningless, trained_images
from bioclip_training.evaluation.report import first_screen
from bioclip_training.evaluation.run import evaluate
from bioclip_training.evaluation.truth import EXACT

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def compared(
    low: float | None, high: float | None, difference: float = 0.0, trained: dict[str, str] | None = None
) -> dict[str, Any]:
    row = {
        "n": 40,
        "top1": 0.5 + difference,
        "other_top1": 0.5,
        "difference": difference,
        "difference_ci95": [low, high],
        "gained": 9,
        "lost": 5,
    }
    return {
        "other": "before", "labels": "", "other_labels": "", "other_model": "bioclip-2", "other_trained": trained,
        "only_here": 0, "only_there": 0, "by_rank": {EXACT: row},
    }  # fmt: skip


NEW = {"name": "local-dir:/data/my_model", "trained": {"start": "bioclip-2", "method": "full", "data_sha256": "a" * 64}}


@pytest.mark.parametrize(
    ("low", "high", "difference", "verdict", "reason"),
    [
        (0.02, 0.2, 0.11, USE_NEW, "more than chance"),
        (-0.2, -0.02, -0.11, KEEP_OLD, "more than chance"),
        (-0.015, 0.015, 0.0, KEEP_OLD, "as good as each other"),
        (-0.05, 0.2, 0.08, LABEL_MORE, "may be chance. More test images of other groups would decide it. val: 40 images in 40 groups"),
        (None, None, 0.08, LABEL_MORE, "Keep the old model until then"),
    ],
)  # fmt: skip
def test_the_verdict_follows_the_interval(
    low: float | None, high: float | None, difference: float, verdict: str, reason: str
) -> None:
    found = verdict_of(compared(low, high, difference), NEW, ["val"], "a" * 64, range(40))
    assert found["verdict"] == verdict
    assert reason in found["reason"]
    assert "my_model is right for" in found["sentence"]
    assert "40 images in 40 groups" in found["sentence"]
    assert found["cautions"] == []


def test_the_same_model_and_labels_are_no_reason_to_label_more() -> None:
    same = {**compared(-0.1, 0.1), "is_same": True}
    same["by_rank"][EXACT] |= {"gained": 0, "lost": 0}
    found = verdict_of(same, {"name": "bioclip-2"}, ["val"], "a" * 64, range(40))
    assert (found["verdict"], found["sentence"], found["reason"]) == (
        SAME, "The same model and labels: equal answers, right for 50.0% of 40 images in 40 groups.", "There is nothing to choose between.",
    )  # fmt: skip
    same["by_rank"][EXACT] |= {"gained": 3}
    changed = verdict_of(same, {"name": "bioclip-2"}, ["val"], "a" * 64, range(40))
    assert changed["reason"].startswith("3 of the images count otherwise than before")
    del same["is_same"]
    same["by_rank"][EXACT] |= {"gained": 0}
    few = verdict_of(same, {"name": "bioclip-2"}, ["val"], "a" * 64, range(3))
    assert few["reason"].startswith(
        "Keep the old model until then: both are right for the same images. More test images"
    )
    assert "no difference of two models can be seen, however large" in few["reason"]


@pytest.mark.parametrize(
    ("new", "old", "labels", "other_labels", "said"),
    [
        ("local-dir:a/m", "local-dir:b/n", "x", "x", ("m", "n")),
        ("local-dir:a/m", "local-dir:b/m", "x", "y", ("local-dir:a/m", "local-dir:b/m")),
        ("m", "m", "the label set a, b/p, 15 labels", "text labels of the same taxa: 15 labels (taxonomic captions)",
         ("m with the label set a, b/p", "m with text labels of the same taxa")),
        ("m", "m", "the label set p, 15 labels", "the label set p, 16 labels", ("m now", "m before")),
        ("m", "m", "the label set p, 15 labels", "", ("m now", "m before")),
    ],
)  # fmt: skip
def test_the_two_of_a_verdict_have_different_names(
    new: str, old: str, labels: str, other_labels: str, said: tuple[str, str]
) -> None:
    both = {**compared(0.1, 0.2), "other_model": old, "labels": labels, "other_labels": other_labels}
    found = verdict_of(both, {"name": new}, ["val"], "a" * 64, range(40))
    assert (found["new"], found["old"]) == said


def test_images_that_a_model_was_trained_on_give_no_verdict() -> None:
    found = verdict_of(compared(0.1, 0.3, 0.2), NEW, ["val", "train"], "a" * 64, range(40))
    assert (found["verdict"], found["cautions"]) == (
        NONE, ["my_model was trained or chosen on images of train, so its figures here are too good."],
    )  # fmt: skip
    elsewhere = verdict_of(compared(0.1, 0.3, 0.2), NEW, ["val"], "b" * 64, range(40))
    assert elsewhere["verdict"] == USE_NEW
    assert "trained on another catalog" in elsewhere["cautions"][0]
    listed = {**NEW, "trained": {**NEW["trained"], "lists_images": True}}  # type: ignore[dict-item]
    assert verdict_of(compared(0.1, 0.3, 0.2), listed, ["val"], "b" * 64, range(40))["cautions"] == []
    kept = verdict_of(compared(0.1, 0.3, 0.2), listed, ["val"], "b" * 64, range(40), ["3 images"], measures_seen=True)
    assert (kept["verdict"], kept["cautions"]) == (NONE, ["3 images."])


@pytest.mark.parametrize(
    ("name", "trained", "text"),
    [
        ("local-dir:/data/my_model/", {"start": "local-dir:old\\base", "method": "lora"}, "my_model (fine-tuned from base with LoRA)"),
        ("my_model", {"start": "new:small", "method": "full"}, "my_model (trained from nothing)"),
        ("hf-hub:imageomics/bioclip-2", None, "imageomics/bioclip-2"),
        ("bioclip-2", {}, "bioclip-2"),
        ("local-dir:.", None, "local-dir:."),
    ],
)  # fmt: skip
def test_a_heading_says_what_the_model_is(name: str, trained: dict[str, str] | None, text: str) -> None:
    assert described(name, trained) == text
    assert text.startswith(short_name(name))


def test_taxa_with_many_mistakes_and_few_labels_are_worth_more_labels_first() -> None:
    def row(taxon: str, top1: float, images: int, labelled: int) -> dict[str, Any]:
        return {
            "taxon": taxon,
            "top1": top1,
            "images": images,
            "labelled": labelled,
            "groups": images,
            "few": False,
            "top1_ci95": [],
        }

    listed = worth_labels(
        [row("good", 0.9, 10, 1), row("many", 0.2, 10, 500), row("rare", 0.2, 10, 2), row("once", 0.0, 1, 2)]
    )
    assert [one["taxon"] for one in listed] == ["rare", "once", "many"]


def test_figures_that_mean_little_are_marked_on_the_first_screen(tmp_path: Path) -> None:
    one = tuple((colour, RED, split, group) for colour, _, split, group in (*TRAIN[:2], *VAL))
    config = EvaluationConfig(data=str(colour_catalog(tmp_path, one)), model="fake", output=str(tmp_path / "out"))
    found = evaluate(replace(config, compare="blind"), second_model())
    assert found["comparison"]["verdict"]["verdict"] == NONE
    assert found["comparison"]["verdict"]["reason"].startswith("Only one answer is possible")
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert page.index("Only one answer is possible") < page.index("<h2")
    assert "4 images in 3 groups, 1 taxon." in page
    assert few_examples(found["few_shot"], 1) == "; one taxon only, so that no answer can be wrong"


def test_images_that_the_model_was_trained_on_are_counted_in_one_sentence() -> None:
    seen = {"images": 0, "of_groups": 0, "decision": "refuse", "first": "", "of_train": 0}
    assert trained_images(seen) == ""
    assert trained_images({**seen, "images": 3, "decision": "leave-out"}) == ""
    assert trained_images({**seen, "images": 1, "decision": "keep"}).startswith(
        "1 of the evaluated images is in the training data"
    )
    assert trained_images({**seen, "of_train": 7}).startswith(
        "7 of the evaluated images are in the training data of the model: that"
    )
    assert meaningless(2, 8, 7) == ""
    assert meaningless(2, 8, 8).startswith("No answer can be right: the label set has none of the taxa")
    assert few_examples({"k5_taxa": 4, "k5_short": 4}, 5) == "; all of the taxa have fewer"
    assert few_examples({"k5_taxa": 4, "k5_short": 0}, 5) == ""


def test_of_species_with_many_labelled_images_the_labels_are_to_be_checked() -> None:
    rows = [
        {"taxon": name, "labelled": labelled, "top1": 0.25, "images": 8} for name, labelled in (("A a", 84), ("B b", 5))
    ]
    said = first_screen._next(SimpleNamespace(metrics={"worth_labels": rows}))  # type: ignore[arg-type]
    assert "Label more training images of: B b (5 labelled; 2 of 8 right)." in said
    assert "Check the labels and the confused pairs of: A a." in said


def test_without_training_images_the_number_of_labelled_ones_is_unknown_and_orders_nothing(tmp_path: Path) -> None:
    config = EvaluationConfig(data=str(colour_catalog(tmp_path, VAL)), model="fake", output=str(tmp_path / "out"))
    found = evaluate(config, second_model())
    assert [(row["taxon"], row["labelled"]) for row in found["worth_labels"]] == [("Green fictus", None)]
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "(1 of 2 right). This catalog has no training images, so how many are labelled is unknown." in page
    assert (" labelled; " in page, "few labelled images" in page, ">None<" in page) == (False, False, False)
    header, first, *_ = (tmp_path / "out" / "by_taxon.csv").read_text("utf-8").splitlines()
    assert first.split(",")[header.split(",").index("labelled")] == ""


def colours(folder: Path, **options: Any) -> tuple[dict[str, Any], str]:
    listed: tuple[Listed, ...] = (
        *TRAIN, *VAL, ("teal", GREEN, "val", "d"), ("green", BLUE, "val", "e"), *(("red", RED, "val", f"r{n}") for n in range(5)),
    )  # fmt: skip
    config = EvaluationConfig(
        data=str(colour_catalog(folder, listed)), model="fake", output=str(folder / "out"), **options
    )
    return evaluate(config, second_model()), (folder / "out" / "report.html").read_text("utf-8")


def test_the_first_screen_of_a_comparison_is_its_verdict(tmp_path: Path) -> None:
    found, page = colours(tmp_path, compare="blind")
    assert "<h1>Accuracy of fake, compared with blind</h1>" in page
    verdict = found["comparison"]["verdict"]
    assert verdict["sentence"] in page
    assert page.index(verdict["sentence"]) < page.index("<h2")
    assert "ero-shot" not in page
    header, *rows = (tmp_path / "out" / "by_taxon.csv").read_text("utf-8").splitlines()
    assert header.startswith("taxon,images,groups,few,labelled,top1,top1_ci95_low,top1_ci95_high,before,")
    assert [row.split(",")[0] for row in rows] == ["Blue pictus", "Red fictus", "Green fictus"]


def test_confused_pairs_show_the_wrong_answer_beside_the_species_that_was_answered(tmp_path: Path) -> None:
    found, page = colours(tmp_path)
    pairs = {(pair["first"], pair["second"]): pair for pair in found["confused_pairs"]}
    assert set(pairs) == {("Green fictus", "Blue pictus"), ("Green fictus", "Red fictus")}
    both = pairs["Green fictus", "Blue pictus"]
    assert (both["wrong"], both["back"], both["first_images"], both["second_images"]) == (1, 1, 3, 2)
    assert [(one["truth"], one["answer"]) for one in both["examples"]] == [
        ("Green fictus", "Blue pictus"), ("Blue pictus", "Blue pictus"), ("Blue pictus", "Green fictus"), ("Green fictus", "Green fictus"),
    ]  # fmt: skip
    assert page.count("<figure>") == 6
    assert page.count("data:image/webp;base64,") + page.count("data:image/jpeg;base64,") == 6


def test_a_picture_that_is_gone_leaves_its_place_empty(tmp_path: Path) -> None:
    from bioclip_training.catalog.rows import Catalog
    from bioclip_training.evaluation.pairs import thumbnail

    catalog = Catalog.open(colour_catalog(tmp_path))
    (tmp_path / "red-0.png").unlink()
    (tmp_path / "red-1.png").write_bytes(b"no image")
    assert thumbnail(catalog, 0) is None
    assert thumbnail(catalog, 1) is None
    assert thumbnail(catalog, 2)


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_width_makes_the_report_scroll_sideways_and_all_text_can_be_read(
    tmp_path: Path, browser: Browser, scheme: Any
) -> None:
    colours(tmp_path, compare="blind")
    for width in (390, 1000, 1400):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page = context.new_page()
        page.goto((tmp_path / "out" / "report.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator(".verdict").bounding_box()["y"] < 900  # type: ignore[index]
        assert page.locator("img:not([alt])").count() == 0
        species = page.locator(".wide", has=page.locator(".extra")).first
        fits = species.evaluate("(one) => [one.scrollWidth, one.clientWidth]")
        assert width != 390 or fits[0] <= fits[1], "before, after and change are seen without scrolling"
        assert page.locator(".narrow").first.is_visible() == page.locator(".extra").first.is_hidden() == (width == 390)
        colours_of = page.evaluate(
            "[...document.querySelectorAll('h1,h2,p,td,th,li,dd,dt,small,strong,figcaption span,a')].map((one) => {"
            "let under = one; const colour = (of) => getComputedStyle(of).backgroundColor;"
            "while (under.parentElement && colour(under) === 'rgba(0, 0, 0, 0)') under = under.parentElement;"
            "return [getComputedStyle(one).color, colour(under)]; })"
        )
        assert min(contrast(*pair) for pair in {tuple(pair) for pair in colours_of}) >= 4.5
        context.close()


def contrast(ink: str, ground: str) -> float:
    """Return the ratio of two CSS colours' luminances, as WCAG 2 defines it."""
    lights = []
    for colour in (ink, ground):
        shares = np.array([float(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]) / 255
        linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
        lights.append(float(linear @ [0.2126, 0.7152, 0.0722]) + 0.05)
    return max(lights) / min(lights)


def test_the_recommendation_of_the_training_run_is_shown_with_its_commands(tmp_path: Path) -> None:
    from bioclip_training.evaluation.report.accuracy import ladder

    rung = {"name": "probe", "top1": 0.5, "top1_ci95": [None, None], "old_top1": None, "images": 4, "groups": 1}
    advice = {"rung": "probe", "sentence": "Use the probe.", "commands": ["bioclip-plugin probe build --data 'a b'"]}
    found = {"rungs": [rung], "kept": "probe", "recommendation": advice}
    shown = ladder(SimpleNamespace(metrics={"ladder": found}))  # type: ignore[arg-type]
    assert "Use the probe." in shown
    assert '<pre tabindex="0">bioclip-plugin probe build --data &#x27;a b&#x27;</pre>' in shown
    assert "<pre" not in ladder(SimpleNamespace(metrics={"ladder": {**found, "recommendation": None}}))  # type: ignore[arg-type]
    assert ladder(SimpleNamespace(metrics={})) == ""  # type: ignore[arg-type]
