"""Prototypes from a catalog: the selected images, and accuracy worked out by hand."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pyarrow import parquet

from bioclip_core.device import Compute
from bioclip_core.errors import SourceError
from bioclip_core.labels.joining import join_prototypes
from bioclip_core.labels.prototypes import build_prototypes
from bioclip_core.models import find_model
from bioclip_core.open_clip_encoder import open_encoder
from bioclip_core.taxonomy import Taxon, taxon_from_row
from bioclip_plugin.testing import FakeEncoder
from bioclip_training.catalog.rows import Catalog, CatalogRow, hashed_share, table_from
from bioclip_training.evaluation.features import FeatureBook
from bioclip_training.evaluation.prototyping import (
    Accuracy,
    Sample,
    accuracy_of,
    compare_alone,
    compare_joined,
    examples_of,
    held_out_of,
    sample_of,
    standing_of,
    text_labels,
)

COMPUTE = Compute("cpu", "fp32", "for the test")
RED, GREEN, BLUE = (
    Taxon("Fictia", family="Coloridae", genus=name, species="fictus") for name in ("Red", "Green", "Blue")
)
UNIT = {"r": (255, 0, 0), "g": (0, 255, 0), "b": (0, 0, 255)}


def open_catalog(folder: Path, images: list[tuple[str, Taxon, str]]) -> Catalog:
    """Write and open a catalog of one-coloured images, given by colour, taxon and split."""
    rows = []
    for number, (colour, taxon, split) in enumerate(images):
        Image.new("RGB", (8, 8), UNIT[colour]).save(folder / f"{number}.png")
        rows.append(CatalogRow(f"{number}.png", taxon, group=f"group {number}", split=split))
    parquet.write_table(table_from(rows), folder / "catalog.parquet")
    return Catalog.open(folder / "catalog.parquet")


def book_of(catalog: Catalog) -> FeatureBook:
    return FeatureBook(catalog, FakeEncoder())


def test_examples_are_the_named_images_of_a_part_rounded_as_the_main_job_does(tmp_path: Path) -> None:
    catalog = open_catalog(tmp_path, [("r", RED, "train"), ("b", Taxon(), "train"), ("g", GREEN, "val")])
    examples = examples_of(catalog, "train", book_of(catalog))
    assert (examples.taxa, examples.features_ND.tolist()) == ((RED,), [[1, 0, 0]])
    assert examples.features_ND.dtype == np.float16
    with pytest.raises(SourceError, match="no usable image in 'unseen'; its splits are: train, val"):
        examples_of(catalog, "unseen", book_of(catalog))


def test_held_out_parts_share_no_image_with_the_examples(tmp_path: Path) -> None:
    images = [("r", RED, "train"), ("g", GREEN, "dev"), ("b", BLUE, "val")]
    catalog = open_catalog(tmp_path, images)
    parts = {
        split: [s.part for s in held_out_of(catalog, split, book_of(catalog))] for split in ("train", "val", "all")
    }
    assert parts == {"train": ["dev", "val"], "val": ["dev"], "all": []}


def test_of_many_images_the_same_ones_are_drawn_every_time(tmp_path: Path) -> None:
    catalog = open_catalog(tmp_path, [("r", RED, "val")] * 10 + [("g", GREEN, "val")] * 10)
    drawn = [sample_of(catalog, "val", book_of(catalog), most=5).features_ND.tolist() for _ in range(2)]
    assert drawn[0] == drawn[1]
    lowest = sorted(range(20), key=lambda row: hashed_share(f"held out {row}.png"))[:5]
    assert drawn[0] == [[1, 0, 0] if row < 10 else [0, 1, 0] for row in sorted(lowest)]


def test_accuracy_counts_whole_names_and_genera_of_those_that_have_one(tmp_path: Path) -> None:
    family = Taxon("Fictia", family="Coloridae")
    features = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]], dtype=np.float16)
    labels = build_prototypes(
        features, [RED, RED, GREEN, GREEN, family, family], FakeEncoder().identity, tmp_path / "set"
    )
    # red: right; red answered as green: wrong; blue is the family's own label: right, without a genus that could be right
    sample = Sample("val", features[[0, 0, 4]], (RED, GREEN, family))
    found = accuracy_of(labels, sample, "prototypes")
    assert (found.images, found.label, found.genus) == (3, pytest.approx(2 / 3), 0.5)


def test_prototypes_are_compared_with_text_on_images_of_their_own_taxa(tmp_path: Path) -> None:
    # Red and Green of the collection are swapped compared with the text tower.
    features = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0]], dtype=np.float16)
    encoder = FakeEncoder()
    labels = build_prototypes(features, [GREEN, GREEN, RED, RED], encoder.identity, tmp_path / "set")
    held = Sample("val", np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=np.float16), (GREEN, RED, BLUE))
    found = compare_alone({"prototypes": labels, "text": text_labels([RED, GREEN], encoder)}, [held])
    assert [(one.answers, one.images, one.label) for one in found] == [("prototypes", 2, 1.0), ("text", 2, 0.0)]
    assert compare_alone({"prototypes": labels}, [held.where([False, False, True])]) == []


def test_joined_labels_are_compared_on_old_and_on_new_taxa(tmp_path: Path) -> None:
    encoder = FakeEncoder(logit_scale=20.0)
    new = Taxon("Fictia", family="Coloridae", genus="Novus", species="fictus")
    text = text_labels([RED, GREEN], encoder)
    near = np.array([[0.05, 0, 1], [0, 0.05, 1], [0, 0, 1]], dtype=np.float32)
    features = (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float16)
    joined, _ = join_prototypes(text, features, [new] * 3, tmp_path / "joined")
    held = Sample(
        "val", np.array([[1, 0, 0], [0, 0, 1], [0, 0, 1]], dtype=np.float16), (RED, new, BLUE)
    )  # none of the labels is blue
    found = compare_joined(text, joined, [held])
    assert [(one.taxa, one.answers, one.images, one.label) for one in found] == [
        ("old", "text", 1, 1.0), ("old", "stacked", 1, 1.0), ("old", "joined", 1, 1.0),
        ("new", "text", 1, 0.0), ("new", "stacked", 1, 1.0), ("new", "joined", 1, 1.0),
    ]  # fmt: skip


@pytest.mark.shared_data
def test_joined_to_text_new_leaves_are_named_and_old_ones_mostly_still(tmp_path: Path) -> None:
    root = Path(os.environ["BIOCLIP_DATA"])
    table = pd.read_csv(root / "data" / "leaves" / "collection.csv", dtype=str, keep_default_na=False)
    known = sorted({taxon_from_row(row) for row in table[table.split == "train"].to_dict("records")}, key=str)  # type: ignore[arg-type]
    rows = []
    for row in table[table.split != "train"].to_dict("records"):
        unseen = row["split"] == "unseen"
        split = "train" if unseen and hashed_share(row["image"]) < 0.5 else "val"
        uri = str(root / "data" / "leaves" / row["image"])
        rows.append(CatalogRow(uri, taxon_from_row(row), group=row["occurrenceID"], split=split))  # type: ignore[arg-type]
    parquet.write_table(table_from(rows), tmp_path / "catalog.parquet")
    catalog = Catalog.open(tmp_path / "catalog.parquet")
    encoder = open_encoder(find_model(f"local-dir:{root / 'models' / 'mini'}", {}), COMPUTE)
    book = FeatureBook(catalog, encoder)
    examples, held_out = examples_of(catalog, "train", book), held_out_of(catalog, "train", book)
    text = text_labels(known, encoder)
    joined, fit = join_prototypes(text, examples.features_ND, examples.taxa, tmp_path / "joined")
    assert fit.added == 14
    found = {(one.taxa, one.answers): one for one in compare_joined(text, joined, held_out) if one.part == "val"}
    assert found["new", "text"].label == 0.0
    # Half of the images of fourteen species, by hash: 59% in the mean of three draws.
    assert found["new", "joined"].label >= 0.4  # of 70 images; one tenth of them is two standard errors
    assert found["old", "joined"].label > found["old", "text"].label - 0.15


@pytest.mark.parametrize(
    ("made", "text", "said"),
    [
        (50, 10, "prototypes is better than text by more than chance (83.3% against 16.7%)."),
        (10, 50, "text is better than prototypes by more than chance (83.3% against 16.7%); classify with text labels until there are "
                 "more examples."),
        (48, 50, "prototypes and text cannot be told apart (text is ahead, 83.3% against 80.0%, which may be chance)."),
        (50, 50, "prototypes and text cannot be told apart (as many are right)."),
    ],
)  # fmt: skip
def test_the_labels_that_were_made_are_compared_with_the_others_in_words(made: int, text: int, said: str) -> None:
    found = [
        Accuracy(answers, "dev", "all", 60, right / 60, None, 60, None, np.arange(60) < right, np.arange(60))
        for answers, right in (("prototypes", made), ("text", text))
    ]
    assert standing_of(found) == [f"On dev: {said}"]
    one_group = [Accuracy(a, "val", "old", 2, n / 2, None, 1, None, np.arange(2) < n, np.zeros(2, dtype=np.int64)) for a, n in
                 (("text", 2), ("joined", 0))]  # fmt: skip
    assert standing_of(one_group) == [
        "On val, old taxa: joined and text cannot be told apart (text is ahead, 100.0% against 0.0%, which may be chance)."
    ]
