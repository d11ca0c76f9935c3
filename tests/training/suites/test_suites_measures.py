"""Measures of evaluation sets: places of classes, few-shot folds, attributes and clusters, with values worked out by hand."""

from __future__ import annotations

import random

import numpy as np
import pytest
from suite_samples import unit

from bioclip_core.taxonomy import Taxon
from bioclip_training.suites.attribute_tasks import awa2_figures
from bioclip_training.suites.attributes import (
    PUBLISHED_THRESHOLD,
    THRESHOLD,
    corrected_scores,
    exact_match,
    f1_of_attributes,
    published_macro_f1,
)
from bioclip_training.suites.discovery import matched, matched_separately, semi_supervised_clusters
from bioclip_training.suites.few_shot import few_shot_figures, published_fold
from bioclip_training.suites.probes import AttributeLogits, attribute_logits, svm_answers
from bioclip_training.suites.published_figures import PUBLISHED, published_for
from bioclip_training.suites.report import suite_html
from bioclip_training.suites.result import MEASURED, SetResult
from bioclip_training.suites.zero_shot import corrected_words, places, published_words

WITHOUT_ORDER = Taxon.of(["Animalia", "Chordata", "Aves", "", "Psittacidae", "Ara", "ambiguus"], "great green macaw")


def test_words_of_a_lineage_with_a_hole_have_two_blanks_as_published_and_one_as_in_training() -> None:
    assert published_words(WITHOUT_ORDER, "taxonomic") == "Animalia Chordata Aves  Psittacidae Ara ambiguus"
    assert corrected_words(WITHOUT_ORDER, "taxonomic") == "Animalia Chordata Aves Psittacidae Ara ambiguus"
    assert published_words(WITHOUT_ORDER, "scientific_common") == "Ara ambiguus with common name great green macaw"
    assert published_words(WITHOUT_ORDER, "common") == "great green macaw"


def test_a_common_name_that_is_the_scientific_one_is_not_repeated_in_corrected_words() -> None:
    taxon = Taxon.of(["", "", "", "", "", "Ara", "ambiguus"], "Ara ambiguus")
    assert published_words(taxon, "scientific_common") == "Ara ambiguus with common name Ara ambiguus"
    assert corrected_words(taxon, "scientific_common") == "Ara ambiguus"


def test_places_of_the_right_class_by_hand() -> None:
    images = unit([[1, 0, 0], [0.8, 0.6, 0], [0, 0, 1]])
    found = places(images, unit([[1, 0, 0], [0, 1, 0], [0, 0, 1]]).astype(np.float32), np.array([0, 1, 1]))
    assert found.above_N.tolist() == [0, 1, 1], "blue is nearer to the last image; red and green are equally far"
    assert found.equal_N.tolist() == [1, 1, 2]
    assert found.hits(1).tolist() == [1, 0, 0]
    assert found.hits(2).tolist() == [1, 1, 0.5]
    assert found.listed_hits(2).tolist() == [1, 1, 0], "red is listed before green"


def test_classes_with_equal_words_share_the_chance_of_being_named() -> None:
    """open_clip, issue 917: two classes of ImageNet have one name, and the one that is listed first takes all images of both."""
    words = unit([[1, 0], [1, 0], [0, 1]]).astype(np.float32)
    found = places(unit([[1, 0], [1, 0]]), words, np.array([0, 1]))
    assert found.hits(1).tolist() == [0.5, 0.5]
    assert found.listed_hits(1).tolist() == [1, 0]
    assert found.hits(2).tolist() == [1, 1]


def test_scale_bias_and_sigmoid_leave_the_places_as_they_are() -> None:
    """open_clip, issue 716: logits of SigLIP have a bias and a sigmoid, which a softmax in their place changes into other numbers."""
    generator = np.random.default_rng(3)
    images, words = unit(generator.normal(size=(50, 8))), unit(generator.normal(size=(9, 8))).astype(np.float32)
    class_N = generator.integers(0, 9, 50)
    probability = 1 / (1 + np.exp(-(3.0 * images.astype(np.float32) @ words.T - 10.0)))
    above_N = (probability > probability[np.arange(50), class_N][:, None]).sum(axis=1)
    assert places(images, words, class_N).above_N.tolist() == above_N.tolist()


@pytest.mark.parametrize(("shots", "fold"), [(1, 0), (5, 3)])
def test_folds_are_those_of_the_published_code(shots: int, fold: int) -> None:
    class_N = np.array([0, 1, 0, 0, 1, 1, 0, 1, 0, 1, 0, 1, 0])
    before = random.getstate()
    random.seed(fold)
    support, queries = [], []
    for number in (0, 1):
        rows = np.flatnonzero(class_N == number).tolist()
        random.shuffle(rows)
        support += rows[:shots]
        queries += rows[shots:]
    random.setstate(before)
    found = published_fold(class_N, shots, fold)
    assert (found.support.tolist(), found.queries.tolist()) == (support, queries)


def test_examples_are_centred_on_their_mean_before_the_nearest_is_found() -> None:
    """easy-few-shot-learning, issue 108: SimpleShot without its centring is another classifier."""
    generator = np.random.default_rng(8)
    features = unit(generator.normal(size=(24, 4)) + np.repeat(generator.normal(size=(4, 4)), 6, axis=0) + [6, 0, 0, 0])
    class_N = np.repeat(np.arange(4), 6)
    fold = published_fold(class_N, 1, 0)
    support, queries = (features[rows].astype(np.float32) for rows in (fold.support, fold.queries))
    mean = support.mean(axis=0)
    centred, asked = (rows - mean for rows in (support, queries))
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    answers = class_N[fold.support][(asked @ centred.T).argmax(axis=1)]
    without = class_N[fold.support][(queries @ support.T).argmax(axis=1)]
    assert (answers != without).any()
    found = few_shot_figures(features, class_N, np.arange(24), shots=1, folds=1)
    assert found.published == pytest.approx((answers == class_N[fold.queries]).mean())
    assert found.published != pytest.approx((without == class_N[fold.queries]).mean())


def test_accuracy_over_uneven_classes_is_over_images_as_published_and_over_classes_corrected() -> None:
    """CLIP_benchmark gives both, acc1 and mean_per_class_recall; a paper that gives one must say which."""
    features = unit(
        [[1, 0]] * 9 + [[0, 1], [0, 1], [1, 0]]
    )  # the last image of the second class looks like the first class
    class_N = np.array([0] * 9 + [1] * 3)
    assert all(11 not in published_fold(class_N, 1, fold).support for fold in range(5))
    found = few_shot_figures(features, class_N, np.arange(12), shots=1, folds=5)
    assert found.published == pytest.approx(9 / 10), "of ten queries the last image is wrong"
    assert found.corrected == pytest.approx((1 + 1 / 2) / 2)


def test_queries_of_an_examples_sequence_and_its_copies_are_left_out_of_the_corrected_figure() -> None:
    features = unit([[1, 0]] * 4 + [[0, 1]] * 4)
    class_N = np.array([0] * 4 + [1] * 4)
    alone = few_shot_figures(features, class_N, np.arange(8), shots=1, folds=5)
    assert (alone.leaked, alone.corrected_queries, alone.published_queries) == (0, 8, 6)
    together = few_shot_figures(features, class_N, np.array([0, 0, 1, 1, 2, 2, 3, 3]), shots=1, folds=5)
    assert together.leaked == 10, "two of six queries of each fold"
    everything = few_shot_figures(features, class_N, class_N, shots=1, folds=5)
    assert np.isnan(everything.corrected)
    assert everything.published == 1.0


def test_classes_with_too_few_images_end_the_published_figure_and_are_left_out_of_the_corrected_one() -> None:
    features = unit([[1, 0, 0]] * 6 + [[0, 1, 0]] * 6 + [[0, 0, 1]] * 3)
    class_N = np.array([0] * 6 + [1] * 6 + [2] * 3)
    found = few_shot_figures(features, class_N, np.arange(15), shots=5, folds=2)
    assert np.isnan(found.published)
    assert (found.corrected, found.classes, found.short) == (1.0, 2, (2,))
    exactly = few_shot_figures(features[:-1], class_N[:-1], np.arange(14), shots=2, folds=2)
    assert exactly.published == 1.0, "the published code goes on: the class of two images has no query"
    assert (exactly.classes, exactly.short) == (2, (2,))


ATTRIBUTES = 85


def inverted_but_for_two() -> tuple[AttributeLogits, np.ndarray, np.ndarray]:
    """Return logits that have 2 of 85 attributes right and 83 inverted, the truth of ten classes of four images, and the classes."""
    truth_CA = (np.random.default_rng(5).random((10, ATTRIBUTES)) < 0.5).astype(np.int8)
    truth_CA[0], truth_CA[1] = 0, 1  # each attribute is there in some classes and lacking in others
    class_N = np.repeat(np.arange(10), 4)
    truth_NA = truth_CA[class_N]
    logits_NA = np.where(truth_NA > 0, 4.0, -4.0).astype(np.float32)
    logits_NA[:, 2:] *= -1
    return AttributeLogits(logits_NA, logits_NA), truth_NA, class_N


def test_83_inverted_attributes_of_85_are_perfect_as_published_and_caught_by_the_corrected_figures() -> None:
    run, truth_NA, class_N = inverted_but_for_two()
    assert published_macro_f1(run.with_dropout_NA, truth_NA) == 1.0
    found = corrected_scores(run.logits_NA, truth_NA, class_N)
    assert found.judged == ATTRIBUTES
    assert found.macro_f1 == pytest.approx(2 / 85)
    assert found.balanced == pytest.approx(2 / 85)
    assert found.balanced_ci95[1] < 0.4
    right = corrected_scores(np.where(truth_NA > 0, 4.0, -4.0), truth_NA, class_N)
    assert (right.macro_f1, right.balanced) == (pytest.approx(1.0), pytest.approx(1.0))


def test_the_report_shows_both_figures_of_inverted_attributes_side_by_side() -> None:
    run, truth_NA, class_N = inverted_but_for_two()
    figures, constant = awa2_figures([run], truth_NA, class_N, [f"attribute {number}" for number in range(ATTRIBUTES)])
    assert constant == ()
    low, high = figures[0].corrected_ci95
    assert 0 <= low < 2 / 85 < high < 0.4
    assert figures[0].published_ci95 == pytest.approx((0.69, 1.0), abs=0.01), "ten classes of ten"
    result = SetResult(
        "awa2",
        "Animals with Attributes 2",
        MEASURED,
        images=40,
        classes=85,
        groups=10,
        grouped_by="class",
        figures=figures,
    )
    made = {"model": {"name": "inverted", "source": "a test", "revision": "", "weights_sha256": "0"}, "preprocessing": {}, "device": "cpu",
            "options": {"suites": ["awa2"]}, "versions": {}, "made_at": "now"}  # fmt: skip
    page = suite_html([result], made)
    row = page[page.index("<tr><td>macro-F1") :].partition("</tr>")[0]
    assert ">100.0%<" in row
    assert ">2.4%<" in row
    assert "of 2 attributes (attribute 0, attribute 1), logits above 0.5, dropout at work" in page
    assert "scikit-learn takes for the first two of the 85 attributes" in page
    assert "69.5%" in page, "BioCLIP 2's published figure"


def test_attributes_that_all_test_images_share_are_not_judged() -> None:
    truth_NA = np.array([[1, 0, 1], [1, 1, 0]], dtype=np.int8)
    found = corrected_scores(np.array([[-1, -1, 1], [-1, 1, 1]]), truth_NA, np.arange(2))
    assert (found.judged, found.constant) == (2, (0,))
    assert found.balanced == pytest.approx((1 + 0.5) / 2)
    assert found.macro_f1 == pytest.approx((1 + 2 / 3) / 2)
    nothing = corrected_scores(np.ones((2, 1)), np.ones((2, 1), np.int8), np.arange(2))
    assert np.isnan(nothing.macro_f1)
    assert nothing.judged == 0


def test_f1_of_an_attribute_that_is_neither_there_nor_predicted_is_0() -> None:
    """LibMultiLabel, pull request 135: which labels a macro-F1 is over, and what an absent one counts, changes it."""
    predicted, truth = np.array([[True, False], [False, False]]), np.array([[1, 0], [1, 0]], np.int8)
    assert f1_of_attributes(predicted, truth).tolist() == [pytest.approx(2 / 3), 0.0]


def test_logits_between_0_and_one_half_are_no_as_published_and_yes_corrected() -> None:
    logits, truth = np.array([[0.3, -2.0], [0.6, -2.0]]), np.array([[1, 0], [1, 0]], np.int8)
    assert exact_match(logits, truth, PUBLISHED_THRESHOLD).tolist() == [False, True]
    assert exact_match(logits, truth, THRESHOLD).tolist() == [True, True]


def test_one_cluster_is_right_for_a_known_and_for_a_new_class_only_if_they_are_matched_apart() -> None:
    cluster_N, class_N = np.array([0, 0, 0, 0, 1]), np.array([0, 0, 1, 1, 1])
    is_known_N = class_N == 0
    assert matched_separately(cluster_N, class_N, is_known_N).tolist() == [True, True, True, True, False]
    assert matched(cluster_N, class_N).tolist() == [True, True, False, False, True]


def test_clusters_find_a_new_class_and_keep_the_labelled_ones() -> None:
    labelled = unit([[1, 0, 0], [0, 1, 0]]).astype(np.float32)
    rest = unit([[1, 0.1, 0], [0.1, 1, 0], [0, 0, 1], [0, 0.1, 1]]).astype(np.float32)
    found = semi_supervised_clusters(labelled, np.array([4, 7]), rest, 3, seed=0)
    assert found[:2].tolist() == [0, 1], "clusters of the labelled classes come first"
    assert found[2] == found[3] == 2


def test_a_cluster_that_loses_its_images_keeps_its_centre() -> None:
    labelled = unit([[1, 0]]).astype(np.float32)
    rest = np.tile(unit([[0, 1]]).astype(np.float32), (4, 1))  # equal images: k-means++ draws the same centre twice
    found = semi_supervised_clusters(labelled, np.array([0]), rest, 4, seed=1)
    assert len({*found.tolist()}) == 1
    assert 0 not in found


def test_the_network_of_attributes_drops_at_random_as_published_and_gives_one_answer_corrected() -> None:
    train = unit([[1, 0], [0, 1]] * 8).astype(np.float32) * 20
    found = attribute_logits(train, np.array([[1], [0]] * 8, np.int8), train, learning_rate=1e-2, seed=0)
    assert ((found.logits_NA[:, 0] > 0) == ([True, False] * 8)).all()
    equal_images = found.with_dropout_NA[::2, 0]
    assert len({*equal_images.tolist()}) > 1, "eight equal images"
    assert len({*found.logits_NA[::2, 0].tolist()}) == 1
    again = attribute_logits(train, np.array([[1], [0]] * 8, np.int8), train, learning_rate=1e-2, seed=0)
    assert (again.with_dropout_NA == found.with_dropout_NA).all()


def test_an_svm_of_few_images_has_as_many_parts_as_images_of_its_rarer_label() -> None:
    train = unit([[1, 0.1 * number] for number in range(3)] + [[0, 1], [0.1, 1]]).astype(np.float32)
    answers, parts = svm_answers(
        train, np.array([0, 0, 0, 1, 1]), unit([[1, 0.15], [0.05, 1]]).astype(np.float32), draws=2, seed=0
    )
    assert parts == 2
    answers, parts = svm_answers(train[2:4], np.array([0, 1]), train[:1], draws=2, seed=0)
    assert (answers.tolist(), parts) == ([0], 0)


def test_published_figures_are_those_of_the_papers_tables() -> None:
    of_bioclip_2 = {one.set_name: one.percent for one in PUBLISHED if one.model == "BioCLIP 2"}
    assert of_bioclip_2 == {
        "nabirds": 74.9, "plankton": 3.9, "insects": 55.3, "insects-2": 27.7, "camera-traps": 53.9, "plantnet": 96.8, "fungi": 83.8,
        "plantvillage": 25.1, "medicinal-leaf": 57.8, "rare-species": 76.8, "bioclip-2": 55.6, "fishnet": 39.8, "newt": 89.1,
        "awa2": 69.5, "herbarium-19": 48.6, "plantdoc": 40.4,
    }  # fmt: skip
    columns = [
        one.percent
        for one in PUBLISHED
        if one.model == "BioCLIP 2" and one.figure == "zero-shot top-1" and one.set_name != "bioclip-2"
    ]
    assert np.mean(columns) == pytest.approx(55.6, abs=0.05), "the table's own mean"
    assert [one.percent for one in published_for("rare-species", "5-shot accuracy")] == [46.1, 47.5, 55.7, 65.7]
    assert all(one.source for one in PUBLISHED)
