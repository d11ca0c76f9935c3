"""The demo checkpoint, opened as the software opens it, on scenes that it has not seen; and the script that makes it."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
import time
import zlib
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from bioclip_core.errors import UsageError
from bioclip_core.images import decode_regions
from bioclip_core.labels import LabelSet
from bioclip_core.taxonomy import Rank
from bioclip_training.biosphere import Biosphere, render_scene
from bioclip_training.catalog.rows import Catalog
from bioclip_training.demo_checkpoint.__main__ import main, make
from bioclip_training.demo_checkpoint.evaluation import agreement, open_demo
from bioclip_training.demo_checkpoint.learning import train_config
from bioclip_training.demo_checkpoint.recipe import DemoRecipe
from bioclip_training.demo_checkpoint.scenes import write_scenes
from bioclip_training.demo_checkpoint.writing import packable, put_in_place

DEMO = Path(str(files("bioclip_plugin") / "demo_model"))
WEIGHTS = DEMO / "open_clip_model.safetensors"
TINY = DemoRecipe(
    families=2, species=4, scenes=8, night_scenes=4, dev_scenes=4, steps=3, warmup_steps=1, batch_size=4,
    image_size=24, vision_layers=1, vision_width=64, text_layers=1, text_width=64, embed_dim=16,
)  # fmt: skip


@pytest.fixture(scope="module")
def biosphere() -> Biosphere:
    return Biosphere.grow(seed=DemoRecipe().biosphere_seed)


def test_the_checkpoint_is_under_30_mb_in_float16_and_states_its_preprocessing() -> None:
    assert sum(path.stat().st_size for path in DEMO.rglob("*") if path.is_file()) < 30_000_000
    with safe_open(WEIGHTS, "pt") as weights:
        names = weights.keys()
        assert {weights.get_tensor(name).dtype for name in names} == {torch.float16}
        assert weights.get_slice("token_embedding.weight").get_shape() == [49408, 128]
    config = json.loads((DEMO / "open_clip_config.json").read_text(encoding="utf-8"))
    assert config == {"model_cfg": DemoRecipe().model_cfg(), "preprocess_cfg": DemoRecipe().preprocess_cfg()}


def test_the_weights_pack_to_less_than_half_for_git_and_the_wheel() -> None:
    content = WEIGHTS.read_bytes()
    assert len(zlib.compress(content, 6)) < 0.5 * len(content)


def test_the_label_set_holds_the_species_of_the_biosphere_and_was_made_by_these_weights(biosphere: Biosphere) -> None:
    labels = LabelSet.open(DEMO / "label_set")
    labels.check_encoder(open_demo(DEMO).identity)
    assert {labels.taxon(row).lineage for row in range(len(labels))} == {taxon.lineage for taxon in biosphere.taxa}
    assert labels.kept_N.all()


def test_unseen_scenes_are_named_right_to_species_for_80_and_to_family_for_95_of_100(biosphere: Biosphere) -> None:
    encoder, labels = open_demo(DEMO), LabelSet.open(DEMO / "label_set")
    right = []
    for first in range(0, 120, 40):
        pixels = [unseen_scene(biosphere, number, encoder.preprocessing) for number in range(first, first + 40)]
        features_BD = encoder.encode_images(np.stack(pixels)).astype(np.float32)
        best = (features_BD @ np.asarray(labels.embeddings_ND, dtype=np.float32).T).argmax(axis=1)
        truth = [biosphere.taxa[number * 7 % 72] for number in range(first, first + 40)]
        right += [agreement(labels.taxon(int(row)), taxon) for row, taxon in zip(best, truth, strict=True)]
    by_rank = np.array(right).mean(axis=0)
    assert by_rank[Rank.SPECIES.depth] >= 0.80
    assert by_rank[Rank.FAMILY.depth] >= 0.95


def unseen_scene(biosphere: Biosphere, number: int, preprocessing: object) -> np.ndarray:
    """A JPEG of 512 pixels, infrared at the ordinary share, through the software's own decoding."""
    scene = render_scene(biosphere.species[number * 7 % 72], np.random.default_rng([404, number]), (512, 384))
    buffer = io.BytesIO()
    scene.save(buffer, "JPEG", quality=88)
    (pixels,) = decode_regions(buffer.getvalue(), [None], preprocessing)  # type: ignore[arg-type]
    return pixels


def test_a_finished_folder_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    for name in ("demo", ".demo.partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "from.txt").write_text(name)
    put_in_place(tmp_path / ".demo.partial", tmp_path / "demo")
    assert (tmp_path / "demo" / "from.txt").read_text() == ".demo.partial"
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


def test_the_script_makes_a_folder_that_opens_with_its_labels_and_says_how_good_it_is(tmp_path: Path) -> None:
    make(tmp_path / "demo", TINY, images=4, threads=1, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]
    labels = LabelSet.open(tmp_path / "demo" / "label_set")
    labels.check_encoder(open_demo(tmp_path / "demo").identity)
    assert len(labels) == 4
    assert "4 unseen camera-trap scenes" in (tmp_path / "demo" / "README.md").read_text(encoding="utf-8")


def test_the_script_refuses_to_replace_a_folder_that_is_no_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    assert main(["--output", str(tmp_path)]) == 1
    assert "is no checkpoint" in capsys.readouterr().err
    assert (tmp_path / "mine.txt").read_text() == "kept"


def test_a_recipe_that_cannot_be_trained_is_refused() -> None:
    with pytest.raises(UsageError, match="an image size that the patch divides"):
        DemoRecipe(image_size=70)
    with pytest.raises(UsageError, match="0 steps"):
        Phase(steps=0, learning_rate=0.1)
