"""The stream of batches: its content, equality between runs, and bad samples."""

from __future__ import annotations

import threading
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stream_samples import TAXA, colour_of, rows_with_images, write_catalog

from bioclip_core.captions import captions_for_labels
from bioclip_core.errors import SourceError, UsageError
from bioclip_core.preprocessing import Preprocessing
from bioclip_core.taxonomy import Taxon
from bioclip_training.batches.data import LabelledImages, open_images
from bioclip_training.batches.sample_order import WINDOW_BLOCKS, BalancedOrder, ShuffledOrder
from bioclip_training.batches.stream import Batch, TrainingStream
from bioclip_training.catalog.rows import CatalogRow

CONTRACT = Preprocessing(size=16, resize_mode="squash")
TAXONOMIC = {"taxonomic": 1.0}


@pytest.fixture
def images(tmp_path: Path) -> LabelledImages:
    """23 images of one colour each, of three taxa."""
    return open_images(write_catalog(tmp_path, rows_with_images(tmp_path, 23)), "train", dev_fraction=0.0)


def stream(images: LabelledImages, batch_size: int = 8, **settings: Any) -> TrainingStream:
    defaults: dict[str, Any] = {
        "augmentation": "camera",
        "captions": {"taxonomic": 0.5, "common": 0.5},
        "seed": 4,
        "workers": 2,
    }
    return TrainingStream(images, batch_size=batch_size, preprocessing=CONTRACT, **{**defaults, **settings})


def taken(source: TrainingStream, count: int, first: int = 0) -> list[Batch]:
    batches = source.batches(first)
    found = list(islice(batches, count))
    batches.close()
    return found


def same(one: list[Batch], other: list[Batch]) -> bool:
    return len(one) == len(other) and all(
        (a.images_BHWC == b.images_BHWC).all()
        and (a.taxa_B == b.taxa_B).all()
        and (a.number, a.epoch, a.captions, a.keys, a.bad) == (b.number, b.epoch, b.captions, b.keys, b.bad)
        for a, b in zip(one, other, strict=True)
    )


def test_every_sample_comes_once_an_epoch_and_epochs_follow_without_a_seam(images: LabelledImages) -> None:
    keys = [key for batch in taken(stream(images), 23) for key in batch.keys]  # 23 batches of 8 are 8 epochs of 23
    assert len(keys) == 8 * 23
    epochs = [keys[start : start + 23] for start in range(0, len(keys), 23)]
    assert all(len(set(epoch)) == 23 for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 8


def test_a_collection_smaller_than_a_batch_runs_through_several_epochs_in_it(images: LabelledImages) -> None:
    (batch,) = taken(stream(images, 60), 1)
    assert Counter(Counter(batch.keys).values()) == {3: 60 - 2 * 23, 2: 3 * 23 - 60}
    assert taken(stream(images, 46), 3)[2].epoch == 4.0


def test_a_sample_carries_its_own_image_taxon_and_caption(images: LabelledImages) -> None:
    for batch in taken(stream(images, augmentation="none", captions=TAXONOMIC), 4):
        for at, key in enumerate(batch.keys):
            number = int(key.removesuffix(".png"))
            taxon = images.taxa[batch.taxa_B[at]]
            assert (batch.images_BHWC[at] == colour_of(number)).all()
            assert taxon.lineage == TAXA[number % 3].lineage
            assert batch.captions[at] == captions_for_labels(taxon)[0]


def test_each_time_that_a_sample_comes_it_is_varied_and_captioned_anew(images: LabelledImages) -> None:
    batches = taken(stream(images, 23), 12)
    seen: dict[str, set[bytes]] = {}
    captions: dict[str, Counter[str]] = {}
    for batch in batches:
        for key, pixels, caption in zip(batch.keys, batch.images_BHWC, batch.captions, strict=True):
            seen.setdefault(key, set()).add(pixels.tobytes())
            captions.setdefault(key, Counter())[caption] += 1
    assert min(len(versions) for versions in seen.values()) >= 9  # an even picture may stay unchanged twice
    named = Counter(
        caption == "a photo of inventia."
        for key in captions
        for caption in captions[key].elements()
        if int(key[:3]) % 3 == 2
    )
    assert abs(named[True] - 42) < 23  # 84 draws of one half: 42 ± 5 standard deviations


@pytest.mark.parametrize("other", [{"workers": 1}, {"workers": 5}, {"cache_mb": 0}])
def test_threads_and_the_cache_change_nothing(images: LabelledImages, other: dict[str, Any]) -> None:
    assert same(taken(stream(images), 9), taken(stream(images, **other), 9))


def test_a_resumed_run_needs_the_number_of_its_next_batch_and_nothing_else(images: LabelledImages) -> None:
    assert same(taken(stream(images), 12)[7:], taken(stream(images), 5, first=7))
    balanced: dict[str, Any] = {"balance": "sampling"}
    assert same(taken(stream(images, **balanced), 12)[7:], taken(stream(images, **balanced), 5, first=7))


def test_another_seed_gives_another_order_and_other_variations(images: LabelledImages) -> None:
    one, other = taken(stream(images), 1)[0], taken(stream(images, seed=5), 1)[0]
    assert one.keys != other.keys


def test_the_processes_of_a_world_have_slices_of_the_same_batch(images: LabelledImages) -> None:
    whole = taken(stream(images, 12), 3)
    parts = [taken(stream(images, 12, rank=rank, world=3), 3) for rank in range(3)]
    for number, batch in enumerate(whole):
        slices = [part[number] for part in parts]
        assert [len(piece.keys) for piece in slices] == [4, 4, 4]
        assert (np.concatenate([piece.images_BHWC for piece in slices]) == batch.images_BHWC).all()
        assert sum((piece.captions for piece in slices), ()) == batch.captions
        assert {piece.epoch for piece in slices} == {batch.epoch}


def test_a_world_that_does_not_divide_the_batch_is_refused_with_the_nearest_batch_that_it_divides(
    images: LabelledImages,
) -> None:
    with pytest.raises(UsageError, match=r"batch of 64 cannot be divided among 3 processes.*--batch-size 63"):
        stream(images, 64, world=3)
    with pytest.raises(UsageError, match="--batch-size 4"):
        stream(images, 2, world=4)
    with pytest.raises(UsageError, match="process 2 of 2"):
        stream(images, 8, rank=2, world=2)


def test_without_variation_images_are_exactly_the_contract(tmp_path: Path) -> None:
    rows = rows_with_images(tmp_path, 6, size=(50, 30))
    images = open_images(write_catalog(tmp_path, rows), "train", dev_fraction=0.0)
    contract = Preprocessing(size=16, resize_mode="longest", fill=9)
    source = TrainingStream(
        images, batch_size=6, preprocessing=contract, augmentation="none", captions=TAXONOMIC, workers=1
    )
    (batch,) = taken(source, 1)
    place = {images.key(index): index for index in range(6)}
    for key, pixels in zip(batch.keys, batch.images_BHWC, strict=True):
        assert (pixels == images.encoded(place[key]).model_input(contract)).all()
        assert (pixels[0] == 9).all()


def test_a_bad_sample_is_named_and_replaced_by_the_next_in_order(images: LabelledImages, tmp_path: Path) -> None:
    good = taken(stream(images), 3)
    (tmp_path / good[0].keys[2]).write_bytes(b"no image")
    (tmp_path / good[0].keys[3]).unlink()
    batches = taken(stream(images), 3)
    assert [key for key, _ in batches[0].bad] == list(good[0].keys[2:4])
    assert "no image" in batches[0].bad[0][1]
    assert "does not exist" in batches[0].bad[1][1]
    expected = list(good[0].keys)
    expected[2] = expected[3] = good[0].keys[4]
    assert list(batches[0].keys) == expected
    assert same(batches, taken(stream(images, workers=1, cache_mb=0), 3))
    assert same(batches[2:], taken(stream(images), 1, first=2))


def test_a_box_outside_the_image_is_a_bad_sample_and_not_the_end(tmp_path: Path) -> None:
    rows = rows_with_images(tmp_path, 4)
    rows[1] = CatalogRow(uri="001.png", taxon=TAXA[1], group="g1", split="train", box=(1.5, 0.0, 0.2, 0.2))
    images = open_images(write_catalog(tmp_path, rows), "train", dev_fraction=0.0)
    (batch,) = taken(stream(images, 4), 1)
    assert [key for key, _ in batch.bad] == ["001.png#xywh=1.5,0,0.2,0.2"]


def test_a_collection_without_any_readable_image_is_refused_with_the_first_reason(tmp_path: Path) -> None:
    rows = rows_with_images(tmp_path, 5)
    file = write_catalog(tmp_path, rows)
    for row in rows:
        (tmp_path / row.uri).unlink()
    with pytest.raises(
        SourceError, match=r"5 images in a row cannot be read, of 5; the first is 00\d.png: .*does not exist"
    ):
        taken(stream(open_images(file, "train", dev_fraction=0.0)), 1)


def test_closing_the_stream_ends_its_threads(images: LabelledImages) -> None:
    batches = stream(images).batches(0)
    next(batches)
    assert any(thread.name.startswith("bioclip-stream") for thread in threading.enumerate())
    batches.close()
    assert not any(thread.name.startswith("bioclip-stream") for thread in threading.enumerate())


def test_samples_without_a_name_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    rows = [*rows_with_images(tmp_path, 3), CatalogRow(uri="000.png", taxon=Taxon(), split="train")]
    images = open_images(write_catalog(tmp_path, rows), "train", dev_fraction=0.0)
    with pytest.raises(SourceError, match="without a name"):
        stream(images)


def test_balanced_sampling_draws_every_taxon_equally_often_and_each_of_its_samples_in_turn() -> None:
    taxon_of_N = np.array([0] * 7 + [3] * 2 + [5])
    order = BalancedOrder(taxon_of_N, seed=1)
    drawn = [order.index_at(position) for position in range(42)]  # 14 rounds over three taxa
    assert Counter(taxon_of_N[drawn].tolist()) == {0: 14, 3: 14, 5: 14}
    assert all(sorted(taxon_of_N[drawn[at : at + 3]].tolist()) == [0, 3, 5] for at in range(0, 42, 3))
    assert Counter(drawn) == {**dict.fromkeys(range(7), 2), 7: 7, 8: 7, 9: 14}
    assert [order.index_at(position) for position in reversed(range(42))] == drawn[::-1]
    rounds = [tuple(taxon_of_N[drawn[at : at + 3]].tolist()) for at in range(0, 42, 3)]
    assert len(set(rounds)) > 2


def test_shards_are_mixed_within_windows_and_the_windows_change_each_epoch() -> None:
    blocks = [(10 * shard, 10 * shard + 10) for shard in range(20)]
    order = ShuffledOrder(blocks, seed=2)
    epochs = [[order.index_at(200 * epoch + place) for place in range(200)] for epoch in range(2)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(200))
        windows = [{index // 10 for index in epoch[at : at + 80]} for at in range(0, 200, 80)]
        assert [len(window) for window in windows] == [WINDOW_BLOCKS, WINDOW_BLOCKS, 4]
        assert len({index // 10 for index in epoch[:10]}) > 3  # samples of one shard do not follow each other
    assert set(epochs[0][:80]) != set(epochs[1][:80])
    assert order.index_at(333) == epochs[1][133]
