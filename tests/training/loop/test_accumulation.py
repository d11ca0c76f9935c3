"""A batch in parts, in bf16 and with activations computed twice: the whole batch's gradients, fp32 weights, and exact resumption."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from collections_of_discs import TAXA, TINY, disc, make_catalog, tiny_config
from open_clip import CLIP, ClipLoss, get_tokenizer
from safetensors.torch import load_file

from bioclip_core.device import Compute
from bioclip_core.preprocessing import Preprocessing
from bioclip_training.batches.stream import Batch
from bioclip_training.loop.distributed import World
from bioclip_training.loop.optimizer import Optimizer
from bioclip_training.loop.recipe import Loss, TrainConfig, TrainingStopped
from bioclip_training.loop.run import train
from bioclip_training.loop.update import Ancestors, Side, back_propagate
from bioclip_training.towers.model import Towers

CONTRACT = Preprocessing(size=32, resize_mode="squash")
TOKENIZER = get_tokenizer("ViT-B-32")
IMAGES = np.stack([np.asarray(disc(TAXA[number % 6], number).resize((32, 32))) for number in range(12)])
# Two of the twelve captions are duplicates, so that parts of the captions and of the images do not match.
CAPTIONS = tuple(
    f"a photo of {TAXA[number % 6].scientific_name} number {number // 6 * (number % 6 > 1)}" for number in range(12)
)


def tiny_model(bias: float | None = None) -> CLIP:
    config = TINY["model_cfg"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return CLIP(config["embed_dim"], config["vision_cfg"], config["text_cfg"], init_logit_bias=bias)


def towers_of(model: CLIP, precision: Any = "fp32", *, checkpointing: bool = False) -> Towers:
    return Towers(
        model, TOKENIZER, captions=CAPTIONS, preprocessing=CONTRACT, compute=Compute("cpu", precision, "for tests"),
        gradient_checkpointing=checkpointing,
    )  # fmt: skip


def gradients(towers: Towers, parts: int, loss: Loss = "clip") -> dict[str, torch.Tensor]:
    """Return the gradients of one step that is computed in this number of parts."""
    batch = Batch(0, 0.0, IMAGES, np.arange(12) % 6, CAPTIONS, tuple(map(str, range(12))), ())
    config = TrainConfig(data="", start="", output="", loss=loss, batch_size=12, accumulate=parts)
    back_propagate(towers, Side(batch, 1.0, None, Ancestors([])), None, config, World(), lambda _part: None)
    return {item.name: item.parameter.grad for item in towers.trainable() if item.parameter.grad is not None}


def gradients_of_open_clip(model: CLIP) -> dict[str, torch.Tensor]:
    """Return the gradients of open_clip's loss on the whole batch, by its own forward pass."""
    mean, std = (torch.tensor(values) * 255 for values in (CONTRACT.mean, CONTRACT.std))
    images = ((torch.from_numpy(IMAGES).float() - mean) / std).permute(0, 3, 1, 2)
    torch.autograd.backward(ClipLoss()(*model(images, TOKENIZER(list(CAPTIONS)))[:3]))
    return {name: value.grad for name, value in model.named_parameters() if value.grad is not None}


@pytest.mark.parametrize("parts", [1, 3, 12])
def test_a_batch_in_parts_has_the_gradients_of_open_clips_loss_on_the_whole_batch(parts: int) -> None:
    """The scale of the cosines takes part in the loss once, however many parts there are (open_clip 761 and 957)."""
    theirs, towers = gradients_of_open_clip(tiny_model()), towers_of(tiny_model())
    ours = gradients(towers, parts)
    assert towers.text.table is not None
    torch.testing.assert_close(
        ours.pop("token_table"), theirs.pop("token_embedding.weight")[towers.text.table.used], rtol=1e-4, atol=1e-5
    )
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("parts", [3, 12])
def test_the_pairwise_loss_in_parts_has_the_whole_batchs_gradients_of_weights_scale_and_bias(parts: int) -> None:
    whole, in_parts = (gradients(towers_of(tiny_model(-10.0)), count, "siglip") for count in (1, parts))
    assert whole["logit_bias"].abs() > 1e-3
    assert in_parts.keys() == whole.keys()
    for name, gradient in whole.items():
        torch.testing.assert_close(in_parts[name], gradient, rtol=1e-4, atol=1e-5, msg=name)


def test_a_bias_that_the_loss_does_not_use_stays_as_it_is() -> None:
    """A model of the pairwise loss can be tuned with the other loss (open_clip 1076)."""
    towers = towers_of(tiny_model(-10.0))
    optimizer = Optimizer(towers, TrainConfig(data="", start="", output="", learning_rate=1e-3), 10)
    found = gradients(towers, 2)
    assert found["logit_bias"] == 0
    assert found["logit_scale"] != 0
    optimizer.step(0)
    assert towers.bias is not None
    assert float(towers.bias.detach()) == -10.0


@pytest.mark.parametrize("checkpointing", [False, True])
def test_in_bf16_parts_have_the_whole_batchs_gradients_up_to_rounding_and_all_that_is_kept_is_fp32(
    checkpointing: bool,
) -> None:
    exact, towers = gradients(towers_of(tiny_model()), 1), towers_of(tiny_model(), "bf16", checkpointing=checkpointing)
    optimizer = Optimizer(towers, TrainConfig(data="", start="", output="", learning_rate=1e-3), 10)
    before = towers.training_state()
    found = {name: value.clone() for name, value in gradients(towers, 3).items()}
    for name in (
        "visual.conv1.weight",
        "visual.transformer.resblocks.0.mlp.c_fc.weight",
        "text_projection",
        "logit_scale",
    ):
        assert torch.nn.functional.cosine_similarity(found[name].flatten(), exact[name].flatten(), dim=0) > 0.98, name
    optimizer.step(0)
    moments = [value for state in optimizer.state_dict()["adam"]["state"].values() for value in state.values()]
    kept = [*found.values(), *towers.training_state().values(), *towers.export_state().values(), *moments]
    assert {value.dtype for value in kept} == {torch.float32}
    changed = towers.training_state()
    # A change of a thousandth of a weight is lost where weights are bf16.
    moved = (changed["text_projection"] - before["text_projection"]).abs()
    assert (moved > 0).float().mean() > 0.99


def test_the_running_statistics_of_batch_norms_take_each_part_once() -> None:
    """The first of the two forward passes is there for the loss alone."""
    vision = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 16}
    config = TINY["model_cfg"]
    whole, once = (towers_of(CLIP(config["embed_dim"], vision, config["text_cfg"])) for _ in range(2))
    once.model.load_state_dict(whole.model.state_dict())
    before = whole.model.visual.bn1.running_mean.clone()
    gradients(whole, 3)
    for part in np.split(IMAGES, 3):
        once.image_features(torch.from_numpy(part))
    assert not torch.equal(before, whole.model.visual.bn1.running_mean)
    assert whole.model.visual.bn1.num_batches_tracked == 3
    for (name, ours), theirs in zip(whole.model.named_buffers(), once.model.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs, msg=name)


def test_an_interrupted_run_in_bf16_in_parts_and_with_checkpointing_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    catalog, start = make_catalog(tmp_path / "discs", val=0), tiny_config(tmp_path / "config")
    whole = TrainConfig(
        data=str(catalog), start=start, output=str(tmp_path / "whole"), steps=6, batch_size=12, learning_rate=2e-3, warmup=2,
        validate_every=3, save_every=3, workers=1, device="cpu", precision="bf16", measure=False, accumulate=3,
        gradient_checkpointing=True, drop_path=0.2, dev_fraction=0.0,
    )  # fmt: skip
    train(whole, {})
    steps: list[int] = []
    stopped = replace(
        whole, output=str(tmp_path / "stopped"), tell=lambda p: steps.append(p.step), should_stop=lambda: 4 in steps
    )
    with pytest.raises(TrainingStopped):
        train(stopped, {})
    (state,) = (torch.load(path, weights_only=True) for path in (tmp_path / "stopped/training").glob("state-*4.pt"))
    assert {value.dtype for value in state["towers"].values()} == {torch.float32}
    train(replace(stopped, should_stop=None), {})
    first, second = (load_file(Path(run.output) / "open_clip_model.safetensors") for run in (whole, stopped))
    assert {value.dtype for value in first.values()} == {torch.float32}
    assert all(torch.equal(first[name], second[name]) for name in first)
