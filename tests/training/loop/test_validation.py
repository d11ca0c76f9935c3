"""Accuracy on held-out images: in runs of bounded size, whatever the number of labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from collections_of_discs import TAXA, make_catalog

from bioclip_core.preprocessing import preprocessing_of
from bioclip_training.batches.data import open_images
from bioclip_training.loop import validation
from bioclip_training.loop.validation import HeldOut


@pytest.mark.parametrize("cells", [1, 13, 10**9])
def test_the_figures_do_not_depend_on_the_size_of_the_runs(
    cells: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = open_images(make_catalog(tmp_path, each=4, val=2), "val")
    held_out = HeldOut(images, preprocessing_of(16), 1)
    logits_NC = np.random.default_rng(3).normal(0, 2, (len(images), len(TAXA))).astype(np.float32)
    monkeypatch.setattr(validation, "_CELLS", cells)
    found = held_out.scored(logits_NC)
    # By hand: softmax, and at the rank of the genus the sums of its two species.
    probability_NC = np.exp(logits_NC.astype(np.float64))
    probability_NC /= probability_NC.sum(axis=1, keepdims=True)
    truth_N = images.taxon_of_N
    own_N = probability_NC[np.arange(len(truth_N)), truth_N]
    genera = sorted({taxon.genus for taxon in images.taxa})
    genus_C = np.array([genera.index(taxon.genus) for taxon in images.taxa])
    summed_NG = np.stack([probability_NC[:, genus_C == genus].sum(axis=1) for genus in range(3)], axis=1)
    assert found.top1 == (probability_NC.argmax(axis=1) == truth_N).mean()
    assert found.nll == pytest.approx(-np.log(own_N).mean())
    assert found.by_rank["genus"] == (summed_NG.argmax(axis=1) == genus_C[truth_N]).mean()
    assert found.by_rank["family"] == 1.0
    assert found.hits_N.tolist() == (probability_NC.argmax(axis=1) == truth_N).tolist()


def test_labels_in_any_order_are_summed_by_their_number() -> None:
    probability_RC = np.arange(12.0).reshape(2, 6)
    summed = validation._summed(probability_RC, np.array([0, 1, 0, 2, 1, 0]))
    assert summed.tolist() == [[0 + 2 + 5, 1 + 4, 3], [6 + 8 + 11, 7 + 10, 9]]
