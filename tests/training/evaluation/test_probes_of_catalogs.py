"""Probes of examples: what is learnt, how the penalty is chosen, and what is refused."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bioclip_core.classify import Classifier
from bioclip_core.errors import BioclipError, DataError, LabelSetError
from bioclip_core.taxonomy import Taxon
from bioclip_training.evaluation import probing
from bioclip_training.evaluation.probing import STRENGTHS, UNCHOSEN, fit_probe

MADE_FOR = {"weights_sha256": "c0ffee" * 10 + "cafe", "source": "local-dir:invented", "revision": ""}
TAXA = [Taxon("Plantae", genus=name, species="x") for name in ("Acer", "Fagus", "Quercus", "Tilia")]


def examples(
    each: int, noise: float, taxa: int = 4, seed: int = 0
) -> tuple[NDArray[np.float16], list[Taxon], list[str]]:
    """Return unit features around an axis per taxon, with common part and noise, two images per group."""
    random = np.random.default_rng(seed)
    numbers = np.arange(taxa).repeat(each)
    rows = np.eye(8)[numbers] + 2.0 + noise * random.normal(size=(len(numbers), 8))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    groups = [f"{number}-{place // 2}" for place, number in enumerate(numbers)]
    return rows.astype(np.float16), [TAXA[number] for number in numbers], groups


def answers(features_ND: NDArray[np.float16], taxa: list[Taxon], groups: list[str]) -> list[str]:
    labels = fit_probe(features_ND, taxa, groups)[0].in_memory(MADE_FOR)
    return [found.by_rank["species"][0].taxon.genus for found in Classifier(labels).classify(features_ND)]


@pytest.mark.parametrize("taxa", [2, 3, 4])  # of two taxa scikit-learn gives one row of weights
def test_a_probe_tells_the_taxa_of_its_examples_apart(taxa: int) -> None:
    rows, names, groups = examples(8, 0.1, taxa)
    assert answers(rows, names, groups) == [taxon.genus for taxon in names]


@pytest.mark.parametrize("taxa", [2, 4])
def test_the_label_set_has_the_probabilities_of_scikit_learns_model(taxa: int) -> None:
    from sklearn.linear_model import LogisticRegression

    rows, names, groups = examples(8, 0.3, taxa)
    probe, fit, _ = fit_probe(rows, names, groups)
    centred = rows.astype(np.float64) - rows.astype(np.float32).mean(axis=0)
    centred *= 10 / np.linalg.norm(centred, axis=1, keepdims=True)
    genera = [taxon.genus for taxon in names]
    learner = LogisticRegression(C=fit.strength, max_iter=1000, class_weight="balanced").fit(centred, genera)
    expected = learner.predict_proba(centred)
    labels = probe.in_memory(MADE_FOR)
    own = [str(labels.taxon(row).genus) for row in range(taxa)]
    assert own == learner.classes_.tolist()
    logits = Classifier(labels).logits(rows).double().softmax(dim=1).numpy()
    np.testing.assert_allclose(logits, expected, atol=2e-3)  # weights and features are in float16


def test_the_same_examples_give_the_same_probe_and_its_order_does_not_matter() -> None:
    rows, names, groups = examples(6, 0.5, 2)
    (one, fit, _), (again, _, _) = (fit_probe(rows, names, groups) for _ in range(2))
    assert np.array_equal(one.weights_CD, again.weights_CD)
    order = np.random.default_rng(1).permutation(len(names))
    shuffled = fit_probe(rows[order], [names[row] for row in order], [groups[row] for row in order])
    assert shuffled[1].strength == fit.strength


def test_more_noise_asks_for_a_stronger_penalty() -> None:
    clean, noisy = (fit_probe(*examples(20, noise))[1] for noise in (0.05, 1.5))
    assert noisy.strength < clean.strength
    assert {clean.strength, noisy.strength} <= set(STRENGTHS)
    assert (clean.folds, clean.tested, clean.examples, clean.groups) == (5, 80, 80, 40)
    assert (clean.top1 or 0) > (noisy.top1 or 1)


def test_a_group_is_never_on_both_sides_of_the_cross_validation() -> None:
    groups = ["a"] * 5 + ["b"] * 3 + ["c"] * 4 + ["d"] * 2 + ["e", "f", "g"]
    labels = np.array([0] * 8 + [1] * 6 + [0, 1, 2])
    folds = probing._folds(groups, labels)
    assert all(len({fold for fold, own in zip(folds, groups, strict=True) if own == name}) == 1 for name in groups)
    assert set(folds.tolist()) == {0, 1, 2, 3, 4}


def test_one_group_per_taxon_leaves_the_penalty_unchosen_and_says_so() -> None:
    rows, names, _ = examples(4, 0.1)
    for groups in ([taxon.genus for taxon in names], ["one"] * len(names)):
        _, fit, _ = fit_probe(rows, names, groups)
        assert (fit.strength, fit.folds, fit.top1, fit.tested) == (UNCHOSEN, 0, None, 0)
        assert "not cross-validated: no taxon has examples in two groups" in fit.described


def test_a_taxon_with_one_image_is_learnt_and_not_tested() -> None:
    rows, names, groups = examples(6, 0.1)
    kept = [row for row, taxon in enumerate(names) if taxon is not TAXA[3]] + [len(names) - 1]
    probe, fit, tested = fit_probe(rows[kept], [names[row] for row in kept], [groups[row] for row in kept])
    assert (len(probe.taxa), fit.examples, fit.tested) == (4, 19, 18)
    assert sorted(tested.rows_T.tolist()) == list(range(18))


def test_examples_that_teach_nothing_are_refused(tmp_path: Path) -> None:
    rows, names, groups = examples(4, 0.0, 2)
    with pytest.raises(LabelSetError, match="the examples are all alike"):
        fit_probe(np.repeat(rows[:1], 8, axis=0), names, groups)[0].in_memory(MADE_FOR)
    with pytest.raises(LabelSetError, match="examples of at least two taxa are needed"):
        fit_probe(rows[:4], names[:4], groups[:4])


def test_too_many_taxa_are_refused_before_hours_of_fitting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "_MOST_PRODUCTS", 1000)
    with pytest.raises(DataError, match="prototypes build"):
        fit_probe(*examples(8, 0.1))


def test_without_scikit_learn_the_way_to_install_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(probing, "find_spec", lambda name: None if name == "sklearn" else there(name))
    with pytest.raises(BioclipError, match=r"pip install 'bioclip-plugin\[train\]'"):
        fit_probe(*examples(2, 0.1))
