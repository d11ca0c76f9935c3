"""The demo checkpoint, opened as the software opens it, on unseen scenes; and the script that makes it."""

from __future__ import annotations

import io
import json
import re
import shutil
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
from bioclip_core.images.decoding import decode_regions
from bioclip_core.labels.label_set import LabelSet
from bioclip_core.taxonomy import Rank
from bioclip_training.biosphere import Biosphere, photograph
from bioclip_training.catalog.rows import Catalog
from bioclip_training.demo_checkpoint.__main__ import claim, main, make
from bioclip_training.demo_checkpoint.evaluation import agreement, open_demo
from bioclip_training.demo_checkpoint.learning import train_configs, write_architecture
from bioclip_training.demo_checkpoint.recipe import DemoRecipe
from bioclip_training.demo_checkpoint.scenes import is_infrared, write_scenes, write_unseen
from bioclip_training.demo_checkpoint.writing import packable
from bioclip_training.loop.recipe import TrainingStopped
from bioclip_training.loop.run import train

DEMO = Path(str(files("bioclip_plugin") / "demo_model"))
WEIGHTS = DEMO / "open_clip_model.safetensors"
TINY = DemoRecipe(
    families=2, species=4, scenes=8, night_scenes=4, dev_scenes=4, steps=3, night_steps=2, warmup_steps=1, batch_size=4,
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


def test_unseen_scenes_are_named_as_well_as_the_readme_says(biosphere: Biosphere) -> None:
    encoder, labels = open_demo(DEMO), LabelSet.open(DEMO / "label_set")
    right = []
    for first in range(0, 120, 40):
        pixels = [unseen_scene(biosphere, number, encoder.preprocessing) for number in range(first, first + 40)]
        features_BD = encoder.encode_images(np.stack(pixels)).astype(np.float32)
        best = (features_BD @ np.asarray(labels.embeddings_ND, dtype=np.float32).T).argmax(axis=1)
        truth = [biosphere.taxa[number * 7 % 72] for number in range(first, first + 40)]
        right += [agreement(labels.taxon(int(row)), taxon) for row, taxon in zip(best, truth, strict=True)]
    by_rank, said = np.array(right).mean(axis=0), said_by_rank()
    for rank in (Rank.SPECIES, Rank.FAMILY):
        # The tolerance is three standard errors of 120 images.
        assert by_rank[rank.depth] >= said[rank.value] - 3 * (said[rank.value] * (1 - said[rank.value]) / 120) ** 0.5


def test_the_readme_says_at_least_94_of_100_for_species_96_for_family_and_74_by_night() -> None:
    text = (DEMO / "README.md").read_text(encoding="utf-8")
    assert "Right on 720 unseen camera-trap scenes" in text
    assert said_by_rank()["species"] >= 0.94
    assert said_by_rank()["family"] >= 0.96
    night = re.search(r"infrared scenes alone, which have no colour: ([\d.]+)%", text)
    assert night is not None
    assert float(night[1]) >= 74.4


def said_by_rank() -> dict[str, float]:
    """Return the accuracy by rank from the README's table."""
    text = (DEMO / "README.md").read_text(encoding="utf-8")
    return {
        rank: float(percent) / 100 for rank, percent in re.findall(r"^\| (\w+) \| ([\d.]+)% \|$", text, re.MULTILINE)
    }


def unseen_scene(biosphere: Biosphere, number: int, preprocessing: object) -> np.ndarray:
    """Return a JPEG of 512 pixels, infrared at the usual share, decoded by the software itself."""
    scene = photograph(biosphere.species[number * 7 % 72], np.random.default_rng([404, number]), (512, 384)).image
    buffer = io.BytesIO()
    scene.save(buffer, "JPEG", quality=88)
    (pixels,) = decode_regions(buffer.getvalue(), [None], preprocessing)  # type: ignore[arg-type]
    return pixels


def test_scenes_are_rendered_once_and_those_that_are_lost_come_out_the_same(tmp_path: Path) -> None:
    ordinary, everything = write_scenes(TINY, tmp_path, workers=1)
    assert len(Catalog.open(ordinary)) == 12
    rows = Catalog.open(everything)
    assert [rows.column("split").count(part) for part in ("train", "dev")] == [12, 4]
    assert [rows.taxon(row) for row in (0, 5, 15)] == [TINY.biosphere().taxa[place] for place in (0, 1, 3)]
    written = {rows.path(row): rows.path(row).read_bytes() for row in range(len(rows))}
    assert len(set(written.values())) == 16
    kept = write_unseen(TINY, tmp_path, 2, workers=1)
    before = [file.stat().st_mtime_ns for file in (*written, *kept)]
    write_scenes(TINY, tmp_path, workers=1)
    write_unseen(TINY, tmp_path, 2, workers=1)
    assert [file.stat().st_mtime_ns for file in (*written, *kept)] == before
    shutil.rmtree(rows.path(0).parent)
    write_scenes(TINY, tmp_path, workers=1)
    assert {file: file.read_bytes() for file in written} == written


def test_infrared_unseen_scenes_are_colourless(tmp_path: Path) -> None:
    files = write_unseen(TINY, tmp_path, 8, workers=1)  # number 6 is the first at night
    seen = [has_no_colour(file) for file in files]
    assert seen == [is_infrared(number) for number in range(8)]
    assert set(seen) == {True, False}


def has_no_colour(file: Path) -> bool:
    pixels_HWC = np.asarray(Image.open(file)).astype(int)
    return int(np.ptp(pixels_HWC, axis=2).max()) <= 2  # the deviation from grey that JPEG leaves


def test_a_token_row_that_training_left_alone_is_written_without_noise() -> None:
    first_VD = torch.tensor([[0.011, -0.004], [0.5, -0.5], [-0.03, 0.0]])
    trained_VD = torch.tensor([[0.011, -0.004], [0.5, -0.4], [-0.03, 0.0]])
    expected_VD = torch.tensor([[0.02, -0.02], [0.5, -0.4], [-0.02, 0.02]])
    assert torch.equal(packable(trained_VD, first_VD), expected_VD)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the tiny checkpoint and its work folder."""
    folder = tmp_path_factory.mktemp("made")
    make(folder / "demo", TINY, work=folder / "work", images=4, threads=1, workers=1)
    return folder


def test_the_script_makes_a_folder_that_opens_with_its_labels_and_says_how_good_it_is(
    made: Path, tmp_path: Path
) -> None:
    assert sorted(path.name for path in made.iterdir()) == ["demo", "work"]
    labels = LabelSet.open(made / "demo" / "label_set")
    labels.check_encoder(open_demo(made / "demo").identity)
    assert len(labels) == 4
    assert "4 unseen camera-trap scenes" in (made / "demo" / "README.md").read_text(encoding="utf-8")
    (tmp_path / "like").touch()  # as the umask has it
    modes = {path.stat().st_mode for path in (made / "demo").rglob("*") if path.is_file()}
    assert modes == {(tmp_path / "like").stat().st_mode}


def test_an_interrupted_call_goes_on_and_ends_with_the_same_weights(made: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    shutil.copytree(made / "work" / "scenes", work / "scenes")  # rendered as in the test of the scenes
    (work / "recipe.json").write_bytes((made / "work" / "recipe.json").read_bytes())
    first, _ = train_configs(TINY, *write_scenes(TINY, work, workers=1), workers=1)
    write_architecture(TINY, work)
    reached: list[int] = []
    with pytest.raises(TrainingStopped, match="step 2 of 3"):
        train(
            replace(first, tell=lambda told: reached.append(told.step), should_stop=lambda: max(reached, default=0) == 2), {}
        )  # fmt: skip
    make(tmp_path / "in_two", TINY, work=work, images=4, threads=1, workers=1)
    one, two = (load_file(folder / WEIGHTS.name) for folder in (made / "demo", tmp_path / "in_two"))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_work_folder_of_another_recipe_or_of_something_else_is_refused(tmp_path: Path) -> None:
    claim(tmp_path / "work", TINY)
    claim(tmp_path / "work", TINY)
    with pytest.raises(UsageError, match="steps was 3 and is 4"):
        claim(tmp_path / "work", replace(TINY, steps=4))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "text.txt").write_text("kept")
    with pytest.raises(UsageError, match="holds something else"):
        claim(tmp_path / "mine", TINY)


def test_the_script_refuses_to_replace_a_folder_that_is_no_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    assert main(["--output", str(tmp_path)]) == 1
    assert "is not a checkpoint" in capsys.readouterr().err
    assert (tmp_path / "mine.txt").read_text() == "kept"


def test_a_recipe_that_cannot_be_trained_is_refused() -> None:
    with pytest.raises(UsageError, match="an image size that the patch divides"):
        DemoRecipe(image_size=70)
    with pytest.raises(UsageError, match="scenes for a batch"):
        DemoRecipe(scenes=40)
