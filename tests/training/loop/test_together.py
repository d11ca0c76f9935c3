"""Two collections in one training run: one label per taxon, and no image that the other one holds out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from collections_of_discs import TAXA, make_catalog, tiny_config

from bioclip_core.labels.label_set import LabelSet
from bioclip_core.taxonomy import Taxon
from bioclip_training.batches.data import open_images
from bioclip_training.batches.together import one_label_each, same_labels
from bioclip_training.loop.recipe import TrainConfig, TrainingProgress
from bioclip_training.loop.run import train

PARTIAL = tuple(Taxon.of((*taxon.lineage[:3], "", *taxon.lineage[4:]), "another name") for taxon in TAXA)
"""The same species without their order."""


def test_two_spellings_of_one_taxon_are_one_label(tmp_path: Path) -> None:
    data = open_images(make_catalog(tmp_path / "data", taxa=PARTIAL[:3], each=4, val=1), "train")
    replay = open_images(make_catalog(tmp_path / "replay", taxa=TAXA, each=6, val=1), "train")
    names = [taxon.scientific_name for taxon in data.taxa]
    before = [names[number] for number in data.taxon_of_N]
    (line,) = one_label_each([data, replay])
    assert line.startswith("3 taxa are written with ranks missing somewhere and are one label each: Rubra magna")
    assert (
        {taxon.lineage for taxon in data.taxa}
        < {taxon.lineage for taxon in replay.taxa}
        == {taxon.lineage for taxon in TAXA}
    )
    assert [data.taxa[number].scientific_name for number in data.taxon_of_N] == before
    assert (
        {taxon.common_name for taxon in data.taxa}
        <= {taxon.common_name for taxon in replay.taxa}
        == {taxon.common_name for taxon in TAXA}
    )


def test_a_catalog_that_has_a_taxon_twice_is_renumbered(tmp_path: Path) -> None:
    mixed = make_catalog(tmp_path, taxa=(*TAXA[:2], *PARTIAL[:2]), each=4, val=1)
    images, dev = (open_images(mixed, part, dev_fraction=0.5) for part in ("train", "dev"))
    truth = [dev.taxa[number].scientific_name for number in dev.taxon_of_N]
    assert len(images.taxa) == 4
    one_label_each([images])
    same_labels(dev, images)
    assert [taxon.lineage for taxon in images.taxa] == sorted(taxon.lineage for taxon in TAXA[:2])
    assert np.unique(images.taxon_of_N).tolist() == [0, 1]
    assert [dev.taxa[number].scientific_name for number in dev.taxon_of_N] == truth


def test_one_collection_without_holes_stays_as_it_is(tmp_path: Path) -> None:
    images = open_images(make_catalog(tmp_path, each=3, val=1), "train")
    taxa, numbers = images.taxa, images.taxon_of_N.tolist()
    assert one_label_each([images]) == []
    assert (images.taxa, images.taxon_of_N.tolist()) == (taxa, numbers)


@pytest.mark.parametrize("partial_is_data", [True, False])
def test_training_with_replay_makes_one_label_per_taxon(partial_is_data: bool, tmp_path: Path) -> None:
    taxa = (PARTIAL[:3], TAXA) if partial_is_data else (TAXA[:3], PARTIAL)
    data = make_catalog(tmp_path / "data", taxa=taxa[0], each=4, val=1, first=100)
    replay = make_catalog(tmp_path / "replay", taxa=taxa[1], each=4, val=1)
    said: list[str] = []

    def tell(progress: TrainingProgress) -> None:
        said.append(progress.message)

    config = TrainConfig(
        data=str(data), replay=str(replay), start=tiny_config(tmp_path), output=str(tmp_path / "model"), steps=2, batch_size=4,
        workers=1, device="cpu", precision="fp32", tell=tell,
    )  # fmt: skip
    train(config, {})
    labels = LabelSet.open(tmp_path / "model" / "label_set")
    # The three species of both are complete; the others are as complete as their collection, whose order their family shares.
    assert {labels.taxon(row).lineage for row in range(len(labels))} == {taxon.lineage for taxon in TAXA}
    assert any("3 taxa are written" in line or "6 taxa are written" in line for line in said)
