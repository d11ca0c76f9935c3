"""Steps of the optimiser: learning rates, clipping, the running average, and equality with torch's AdamW on the plain model."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tower_samples import CAPTIONS, own_image_features, own_text_features, small_clip, small_towers, some_images

from bioclip_training.loop.losses import clip_loss
from bioclip_training.loop.optimizer import Optimizer, learning_rate, of_trunk
from bioclip_training.loop.recipe import TrainConfig
from bioclip_training.towers.model import Towers


def config(**options: Any) -> TrainConfig:
    return TrainConfig(data="catalog.parquet", start="new:small", output="out", **{"learning_rate": 1e-4, **options})


def backward(towers: Towers) -> float:
    loss = clip_loss(towers.image_features(some_images(4)), towers.text_features(CAPTIONS), towers.log_scale)
    torch.autograd.backward(loss)
    return loss.item()


def trained(steps: int, **options: Any) -> tuple[Towers, Optimizer]:
    towers = small_towers(small_clip())
    optimizer = Optimizer(towers, config(**options), 10)
    for step in range(steps):
        backward(towers)
        optimizer.step(step)
    return towers, optimizer


def test_the_rate_rises_in_a_line_and_falls_as_half_a_cosine() -> None:
    values = config(learning_rate=1.0, warmup=4)
    rates = [learning_rate(values, step, 12) for step in range(12)]
    assert rates[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert rates[8] == pytest.approx(0.5)  # the middle of the cosine over steps 4 to 12
    assert rates[10] == pytest.approx(0.5 * (1 + math.cos(math.pi * 6 / 8)))
    assert 0 < rates[11] < 0.05


def test_a_warmup_below_one_is_a_share_of_the_steps() -> None:
    assert learning_rate(config(learning_rate=1.0, warmup=0.1), 4, 100) == pytest.approx(0.5)
    assert learning_rate(config(learning_rate=1.0, warmup=0.0), 0, 100) == pytest.approx(1.0)


def plain_groups(model: torch.nn.Module) -> Iterator[dict[str, Any]]:
    def is_matrix(name: str, value: torch.Tensor) -> bool:
        return value.ndim > 1 and "embedding" not in name

    for decay, kind in ((0.2, True), (0.0, False)):
        yield {
            "params": [value for name, value in model.named_parameters() if is_matrix(name, value) == kind],
            "weight_decay": decay,
        }


def test_the_weights_after_some_steps_are_those_of_torchs_adamw_on_the_plain_model() -> None:
    values = config(learning_rate=1e-3, warmup=2, clip_norm=1.0)
    plain = small_clip()
    adam = torch.optim.AdamW(list(plain_groups(plain)), betas=values.betas, eps=values.eps)
    for step in range(4):
        loss = clip_loss(
            own_image_features(plain, some_images(4)), own_text_features(plain, CAPTIONS), plain.logit_scale
        )
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
        for group in adam.param_groups:
            group["lr"] = learning_rate(values, step, 10)
        adam.step()
        adam.zero_grad()
    towers, _ = trained(4, learning_rate=1e-3, warmup=2, clip_norm=1.0)
    exported = towers.export_state()
    start = small_clip().state_dict()
    for name, value in plain.state_dict().items():
        if name.endswith("attn.in_proj_bias"):
            continue  # the gradient of the keys' bias is only rounding, which Adam turns into whole steps
        torch.testing.assert_close(exported[name], value, rtol=0, atol=2e-5, msg=name)
    moved = (exported["visual.proj"] - start["visual.proj"]).abs().max()
    assert moved > 1e-3  # so that the tolerance above is meaningful


def test_the_reported_norm_is_before_clipping_and_the_applied_gradient_is_clipped() -> None:
    towers = small_towers(small_clip())
    backward(towers)
    gradients = [item.parameter.grad for item in towers.trainable() if item.parameter.grad is not None]
    expected = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients))
    optimizer = Optimizer(towers, config(clip_norm=expected / 4, betas=(0.0, 0.0)), 10)
    projection = towers.model.visual.proj
    gradient = projection.grad.clone()
    assert optimizer.step(0) == pytest.approx(expected, rel=1e-5)
    # Without memory of earlier steps, the first moment is the applied gradient.
    moments = optimizer.state_dict()["adam"]["state"]
    applied = [state["exp_avg"] for state in moments.values() if state["exp_avg"].shape == gradient.shape]
    assert any(torch.allclose(moment, gradient / 4, rtol=1e-4, atol=1e-9) for moment in applied)
    assert projection.grad is None


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_gradient_that_is_no_number_is_reported_and_nothing_is_applied(bad: float) -> None:
    towers, optimizer = trained(2, average=0.5)
    before, state = towers.training_state(), optimizer.state_dict()["adam"]["state"][0]["exp_avg"].clone()
    backward(towers)
    towers.model.visual.proj.grad[0, 0] = bad
    assert not math.isfinite(optimizer.step(2))
    assert all(torch.equal(value, before[name]) for name, value in towers.training_state().items())
    assert torch.equal(optimizer.state_dict()["adam"]["state"][0]["exp_avg"], state)
    assert towers.model.visual.proj.grad is None


def test_the_average_is_a_running_one_and_the_weights_come_back() -> None:
    towers = small_towers(small_clip())
    optimizer = Optimizer(towers, config(average=0.75, learning_rate=1e-2, warmup=0), 10)
    expected = towers.log_scale.detach().clone()
    for step in range(3):
        backward(towers)
        optimizer.step(step)
        expected = 0.75 * expected + 0.25 * towers.log_scale.detach()
    own = towers.training_state()
    with optimizer.averaged():
        assert towers.log_scale.item() == pytest.approx(expected.item(), abs=1e-6)
        assert towers.log_scale.item() != own["logit_scale"].item()
    assert all(torch.equal(value, own[name]) for name, value in towers.training_state().items())


def test_without_an_average_the_weights_are_the_models_own() -> None:
    towers, optimizer = trained(1)
    own = towers.training_state()
    with optimizer.averaged():
        assert all(torch.equal(value, own[name]) for name, value in towers.training_state().items())


def test_a_resumed_run_ends_with_the_same_weights_bit_for_bit() -> None:
    whole, _ = trained(5, average=0.9)
    begun, optimizer = trained(2, average=0.9)
    states = begun.training_state(), optimizer.state_dict()
    towers = small_towers(small_clip())
    towers.load_training_state(states[0])
    resumed = Optimizer(towers, config(average=0.9), 10)
    resumed.load_state_dict(states[1])
    for step in range(2, 5):
        backward(towers)
        resumed.step(step)
    ended = towers.training_state()
    assert all(torch.equal(value, ended[name]) for name, value in whole.training_state().items())


def test_the_loss_falls() -> None:
    towers, _ = trained(10, learning_rate=1e-3, warmup=0)
    assert backward(towers) < 0.5 * backward(small_towers(small_clip()))


def test_no_tensor_outlives_its_step() -> None:
    towers = small_towers(small_clip())
    optimizer = Optimizer(towers, config(average=0.9), 10)
    alive = []
    for step in range(6):
        backward(towers)
        optimizer.step(step)
        if step in {1, 5}:  # the first step creates the state of the optimiser
            gc.collect()
            alive.append(sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects()))
    assert alive[0] == alive[1]


def test_the_vision_trunk_has_its_own_share_of_the_learning_rate() -> None:
    assert of_trunk("visual.transformer.resblocks.0.mlp.c_fc.weight")
    others = ("visual.proj", "visual.attnpool.c_proj.weight", "token_table", "transformer.resblocks.0.ln_1.bias")
    assert not any(of_trunk(name) for name in others)
    towers = small_towers(small_clip())
    before = {item.name: item.parameter.detach().clone() for item in towers.trainable()}
    optimizer = Optimizer(towers, config(trunk_rate=0.0, warmup=0, weight_decay=0.0), 10)
    backward(towers)
    optimizer.step(0)
    changed = {item.name for item in towers.trainable() if not torch.equal(before[item.name], item.parameter)}
    assert "visual.proj" in changed
    assert not any(of_trunk(name) for name in changed)


def test_automatic_settings_depend_on_the_start() -> None:
    def settled(random: bool, width: int, **options: Any) -> TrainConfig:
        return TrainConfig(data="", start="", output="", **options).settled(
            images=640, text_width=width, random_weights=random
        )

    tuned = settled(False, 500)
    assert (tuned.learning_rate, tuned.trunk_rate, tuned.steps) == (pytest.approx(4e-4), 0.1, 200)
    assert (settled(True, 200).learning_rate, settled(True, 200).trunk_rate) == (pytest.approx(1e-3), 1.0)
    assert settled(True, 200).steps == 800
    assert settled(False, 500, batch_size=640).steps == 150
    assert settled(False, 500, epochs=2.0).steps == 20
    assert settled(False, 500, steps=7, learning_rate=0.5).steps == 7
