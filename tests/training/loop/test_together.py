"""Two collections in one training run: one label per taxon, and no image that the other one holds out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from collections_of_discs import TAXA, disc, make_catalog, tiny_config
from pyarrow import parquet

from bioclip_core.errors import DataError, SourceError
from bioclip_core.identity import file_sha256
from bioclip_core.labels.label_set import LabelSet
from bioclip_core.models import find_model
from bioclip_core.taxonomy import Taxon
from bioclip_training.batches.clashing import Collection, without_clashes
from bioclip_training.batches.data import LabelledImages, open_images
from bioclip_training.batches.together import one_label_each, same_labels
from bioclip_training.catalog.rows import Catalog, CatalogRow, table_from
from bioclip_training.catalog.trained_on import trained_on
from bioclip_training.evaluation.already_seen import rows_to_measure
from bioclip_training.evaluation.config import EvaluationConfig
from bioclip_training.loop.recipe import TrainConfig, TrainingProgress
from bioclip_training.loop.run import train

PARTIAL = tuple(Taxon.of((*taxon.lineage[:3], "", *taxon.lineage[4:]), "another name") for taxon in TAXA)
"""The same species without their order."""


def hashed_catalog(folder: Path, rows: list[tuple[Taxon, int, str, str]], **place: Any) -> Path:
    """Write a catalog of taxa, numbers of pictures, groups and splits, with the hashes of the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for taxon, number, group, split in rows:
        file = folder / f"{taxon.genus}-{taxon.species}-{number}.png"
        disc(taxon, number).save(file)
        made.append(CatalogRow(file.name, taxon, group=group, split=split, sha256=file_sha256(file), **place))
    parquet.write_table(table_from(made), folder / "catalog.parquet")
    return folder / "catalog.parquet"


def collections(data: Path, replay: Path) -> tuple[Collection, Collection]:
    images, old = (open_images(file, "train", dev_fraction=0.0) for file in (data, replay))
    return Collection(images, "--data"), Collection(old, "--replay")


ONE, TWO = TAXA[:2]


def test_images_that_the_replay_trains_on_and_the_data_hold_out_are_refused_with_both(tmp_path: Path) -> None:
    data = hashed_catalog(tmp_path / "a", [(ONE, 1, "a1", "train"), (TWO, 2, "a2", "train"), (ONE, 3, "a3", "val")])
    replay = hashed_catalog(tmp_path / "b", [(ONE, 3, "b3", "train"), (TWO, 4, "b4", "train"), (TWO, 5, "b5", "val")])
    with pytest.raises(DataError) as refused:
        without_clashes(*collections(data, replay), "refuse", 0.0)
    said = str(refused.value)
    assert "of the 2 images that --replay trains on, --data holds out 1, by their content or their group" in said
    assert "(first: Rubra-parva-3.png, group b3)" in said
    assert "--clashing-splits held-out" in said
    images, left, notes = without_clashes(*collections(data, replay), "held-out", 0.0)
    assert left is not None
    assert (len(images), [left.key(index) for index in range(len(left))]) == (2, ["Rubra-magna-4.png"])
    assert notes == [
        "of the 2 images that --replay trains on, --data holds out 1, by their content or their group (first: Rubra-parva-3.png, "
        "group b3): not trained on"
    ]
    images, left, notes = without_clashes(*collections(data, replay), "keep", 0.0)
    assert left is not None
    assert (len(images), len(left)) == (2, 2)
    assert notes[0].endswith("trained on all the same")


def test_a_group_in_train_here_and_in_val_there_clashes_too(tmp_path: Path) -> None:
    data = hashed_catalog(tmp_path / "a", [(ONE, 1, "night 1", "train"), (TWO, 2, "a2", "train")])
    replay = hashed_catalog(tmp_path / "b", [(ONE, 4, "night 1", "val"), (TWO, 5, "b5", "train")])
    with pytest.raises(DataError, match=r"of the 2 images that --data trains on, --replay holds out 1.*group night 1"):
        without_clashes(*collections(data, replay), "refuse", 0.0)
    only = hashed_catalog(tmp_path / "c", [(ONE, 1, "night 1", "train")])
    with pytest.raises(SourceError, match="all of its 1 image "):
        without_clashes(*collections(only, replay), "held-out", 0.0)


def test_regions_of_one_picture_and_rows_without_hash_or_group_do_not_clash(tmp_path: Path) -> None:
    data = hashed_catalog(tmp_path / "a", [(ONE, 1, "", "train"), (TWO, 2, "", "train")], box=(0.0, 0.0, 0.5, 1.0))
    replay = hashed_catalog(tmp_path / "b", [(ONE, 1, "", "val"), (TWO, 5, "", "train")], box=(0.5, 0.0, 0.5, 1.0))
    assert without_clashes(*collections(data, replay), "refuse", 0.0)[2] == []
    bare = make_catalog(tmp_path / "c", each=4, val=2)
    other = make_catalog(tmp_path / "d", each=4, val=2, first=100)
    assert without_clashes(*collections(bare, other), "refuse", 0.0)[2] == []


def test_images_of_the_other_collections_dev_are_not_trained_on(tmp_path: Path) -> None:
    groups = [f"g{number}" for number in range(20)]
    rows = [(TAXA[number % 2], number, group, "train") for number, group in enumerate(groups)]
    data = hashed_catalog(tmp_path / "a", rows)
    replay = hashed_catalog(
        tmp_path / "b", [(taxon, number, f"other {group}", split) for taxon, number, group, split in rows]
    )
    pair = [
        Collection(open_images(file, "train", dev_fraction=0.3), name)
        for file, name in ((data, "--data"), (replay, "--replay"))
    ]
    images, left, notes = without_clashes(pair[0], pair[1], "refuse", 0.3)
    assert left is not None
    dev = {
        name
        for part, file in ((images, data), (left, replay))
        for name in names_in(open_images(file, "dev", dev_fraction=0.3))
    }
    assert not dev & {*names_in(images), *names_in(left)}
    assert all("they belong to the dev part of" in note for note in notes)


def names_in(images: LabelledImages) -> list[str]:
    return [images.key(index) for index in range(len(images))]


def test_a_model_remembers_what_it_and_its_start_were_trained_on(tmp_path: Path) -> None:
    rows = [
        (taxon, number, f"{taxon.species} {number}", "val" if number > 6 else "train")
        for taxon in (ONE, TWO)
        for number in range(8)
    ]
    first = hashed_catalog(tmp_path / "a", rows)
    second = hashed_catalog(
        tmp_path / "b", [(taxon, 50 + number, f"new {group}", split) for taxon, number, group, split in rows]
    )
    settings = {"steps": 1, "batch_size": 2, "workers": 1, "device": "cpu", "precision": "fp32", "dev_fraction": 0.0}
    train(TrainConfig(data=str(first), start=tiny_config(tmp_path), output=str(tmp_path / "one"), **settings), {})
    train(
        TrainConfig(data=str(second), start=f"local-dir:{tmp_path / 'one'}", output=str(tmp_path / "two"), **settings),
        {},
    )
    # A catalog that holds out pictures of the first model's train: one is in val here, and another one is in a known group.
    there = hashed_catalog(
        tmp_path / "c",
        [
            (ONE, 0, "x", "val"),
            (TWO, 90, "magna 3", "val"),
            (ONE, 91, "y", "val"),
            (ONE, 1, "z", "train"),
            (TWO, 92, "w", "val"),
        ],
    )
    catalog = Catalog.open(there)
    for name in ("one", "two"):
        model = find_model(f"local-dir:{tmp_path / name}", {})
        config = EvaluationConfig(data=str(there), model=model.name, output="report", splits=("val",))
        with pytest.raises(
            DataError, match=r"val: 1 of its 4 images in the training data of .*first: Rubra-parva-0.png"
        ):
            rows_to_measure(config, catalog, catalog.rows_of("val"), [model])
        left, found = rows_to_measure(
            replace(config, trained_images="leave-out"), catalog, catalog.rows_of("val"), [model]
        )
        assert [catalog.key(row) for row in left] == ["Rubra-magna-90.png", "Rubra-parva-91.png", "Rubra-magna-92.png"]
        assert (found.images, found.of_groups) == (1, 1)
        assert found.lines[0].endswith(", left out")
        kept, found = rows_to_measure(replace(config, trained_images="keep"), catalog, catalog.rows_of("val"), [model])
        assert (len(kept), found.lines[0].endswith("so that the figures are too good")) == (4, True)
        own = Catalog.open(first)
        assert len(rows_to_measure(config, own, own.rows_of("val"), [model])[0]) == 2
        asked, found = rows_to_measure(config, own, own.rows_of("train"), [model])
        assert len(asked) > 2  # asked for by name
        dev = len(own.rows_of("dev"))
        assert (found.images, found.of_train >= len(asked) - dev > 0, found.is_measured) == (0, True, True)
        assert found.lines[0].startswith(
            f"images of train that the model was trained on: {found.of_train}, measured since"
        )
        assert rows_to_measure(config, own, own.rows_of("val"), [model])[1].of_train == 0


def test_a_damaged_record_of_the_training_images_is_named(tmp_path: Path) -> None:
    assert trained_on(tmp_path) is None
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "trained_on.npz").write_bytes(b"PK no zip")
    with pytest.raises(DataError, match=r"trained_on\.npz is damaged"):
        trained_on(tmp_path)


def test_two_spellings_of_one_taxon_are_one_label(tmp_path: Path) -> None:
    data = open_images(make_catalog(tmp_path / "data", taxa=PARTIAL[:3], each=4, val=1), "train")
    replay = open_images(make_catalog(tmp_path / "replay", taxa=TAXA, each=6, val=1), "train")
    names = [taxon.scientific_name for taxon in data.taxa]
    before = [names[number] for number in data.taxon_of_N]
    (line,) = one_label_each([data, replay])
    assert line.startswith("taxa that are written with ranks missing somewhere, and are one label each: 3 (Rubra magna")
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
    assert any("ranks missing somewhere, and are one label each: " in line for line in said)
