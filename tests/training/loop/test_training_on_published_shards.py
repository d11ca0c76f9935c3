"""Training on published shards as they are: taxa and captions from the members, and replay of images without taxa."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from collections_of_discs import TAXA, make_catalog, tiny_config
from published_samples import write_img2dataset, write_treeoflife

from bioclip_core.errors import SourceError, UsageError
from bioclip_core.labels.label_set import LabelSet
from bioclip_core.preprocessing import Preprocessing
from bioclip_training.batches import stream
from bioclip_training.batches.data import open_images
from bioclip_training.loop.recipe import TrainConfig, TrainingProgress
from bioclip_training.loop.run import train

SENTENCES = [
    "a dog on a sofa",
    "two cats",
    "the Eiffel tower at night",
    "a bowl of soup",
    "a dog on a sofa",
    "a red car",
]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_treeoflife(tmp_path_factory.mktemp("treeoflife"), each=6)


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_img2dataset(tmp_path_factory.mktemp("laion"), SENTENCES)


@pytest.fixture
def config(shards: Path, tmp_path: Path) -> TrainConfig:
    return TrainConfig(
        data=str(shards), start=tiny_config(tmp_path), output=str(tmp_path / "model"), steps=2, batch_size=8, warmup=1,
        dev_fraction=0.3, validate_every=2, save_every=2, workers=1, device="cpu", precision="fp32", measure=False,
    )  # fmt: skip


def test_a_single_taxon_is_named_and_no_command_is_printed_that_cannot_read_published_shards(
    config: TrainConfig, tmp_path: Path
) -> None:
    one = write_treeoflife(tmp_path / "one", taxa=TAXA[:1], each=6)
    with pytest.raises(SourceError, match=f"of a single taxon, {TAXA[0].name}, and a contrast needs two; add another$"):
        train(replace(config, data=str(one)), {})


def drawn(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], list[str]]:
    """Train, and return the captions that were drawn and the messages."""
    captions: list[str] = []
    whole = stream.TrainingStream._caption

    def kept(self: stream.TrainingStream, index: int, taxon: int, chance: float) -> str:
        captions.append(whole(self, index, taxon, chance))
        return captions[-1]

    messages: list[str] = []

    def tell(progress: TrainingProgress) -> None:
        messages.append(progress.message)

    monkeypatch.setattr(stream.TrainingStream, "_caption", kept)
    train(replace(config, tell=tell), {})
    return captions, messages


def test_shards_of_treeoflife_train_as_they_are_with_captions_replayed(
    config: TrainConfig, replay: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captions, messages = drawn(replace(config, replay=str(replay)), monkeypatch)
    assert {text for text in captions if not text.startswith("a photo of ")} <= set(SENTENCES)
    assert set(SENTENCES) & set(captions)
    labels = LabelSet.open(Path(config.output) / "label_set")
    assert {labels.taxon(row).scientific_name for row in range(len(labels))} == {
        taxon.scientific_name for taxon in TAXA
    }
    assert len(labels) == len(TAXA), "what is replayed by captions adds no labels"
    lines = [json.loads(line) for line in (Path(config.output) / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert [line["loss_of_replay"] > 0 for line in lines if "loss_of_replay" in line] == [True, True]
    text = "\n".join(messages)
    assert "read as published shards: 36 images in 2 files, 36 with a taxon, split train" in text
    assert "captions are made from the names; --caption-source published takes those in the shards" in text
    assert "no recorded sha256, so that they are read unverified" in text
    assert f"{replay}: 6 images without a taxon, replayed by the captions in the shards" in text


def test_captions_in_the_shards_are_trained_if_that_is_asked_for(shards: Path) -> None:
    images = open_images(shards, "train", captions="published")
    stream_of = partial(
        stream.TrainingStream, images, batch_size=12, preprocessing=Preprocessing(size=16), augmentation="none",
        captions={"common": 1.0}, workers=1,
    )  # fmt: skip
    batches = stream_of().batches()
    batch = next(batches)
    batches.close()
    assert set(batch.captions) <= {f"a photo of {taxon.common_name}." for taxon in TAXA}


def test_captions_as_published_need_shards(config: TrainConfig, tmp_path: Path) -> None:
    catalog = make_catalog(tmp_path / "discs", each=2, val=0)
    with pytest.raises(UsageError, match="caption-source published"):
        train(replace(config, data=str(catalog), caption_source="published"), {})
