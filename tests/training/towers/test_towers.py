"""Towers in training: every shortcut leaves features and gradients as in open_clip's own forward pass."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from open_clip import CLIP
from open_clip.model import CustomTextCLIP
from tower_samples import (
    CAPTIONS,
    CPU,
    SMALL,
    TOKENIZER,
    own_image_features,
    own_text_features,
    small_clip,
    small_towers,
    some_images,
)  # fmt: skip

from bioclip_core.device import Compute
from bioclip_core.errors import ModelError, UsageError
from bioclip_training.loop.losses import clip_loss
from bioclip_training.towers import text_tower
from bioclip_training.towers.blocks import Kernels
from bioclip_training.towers.checkpointing import towers_without_checkpointing
from bioclip_training.towers.model import Towers

# fp32 sums in a different order; gradients here are between 0.01 and 1.
RTOL, ATOL = 1e-4, 1e-5

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "as CLIP": {},
    "with QuickGELU": {"quick_gelu": True},
    "with the mean of the tokens": {"vision": {"pool_type": "avg", "final_ln_after_pool": True}},
    "with layer scale": {"vision": {"ls_init_value": 0.1}},
    "without the first norm": {"vision": {"no_ln_pre": True}},
    "with a linear text projection": {"text": {"proj_bias": True}},
}


def gradients_of_its_own(model: CLIP, count: int) -> dict[str, torch.Tensor]:
    loss = clip_loss(
        own_image_features(model, some_images(count)), own_text_features(model, CAPTIONS[:count]), model.logit_scale
    )
    torch.autograd.backward(loss)
    return {name: value.grad for name, value in model.named_parameters() if value.grad is not None}


def gradients_of_towers(towers: Towers, count: int) -> dict[str, torch.Tensor]:
    loss = clip_loss(
        towers.image_features(some_images(count)), towers.text_features(CAPTIONS[:count]), towers.log_scale
    )
    torch.autograd.backward(loss)
    return {item.name: item.parameter.grad for item in towers.trainable() if item.parameter.grad is not None}


def assert_same_gradients(towers: Towers, ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert towers.text.table is not None
    embedding = theirs.pop("token_embedding.weight")
    used = torch.tensor(towers.text.table.used)
    torch.testing.assert_close(ours.pop("token_table"), embedding[used], rtol=RTOL, atol=ATOL)
    embedding[used] = 0
    assert not embedding.any()  # tokens that our table leaves out have no gradient in open_clip either
    assert ours.keys() == theirs.keys()
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, theirs[name], rtol=RTOL, atol=ATOL, msg=name)


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_features_and_gradients_are_those_of_the_models_own_forward(kind: str) -> None:
    options = ARCHITECTURES[kind]
    theirs, towers = small_clip(**options), small_towers(small_clip(**options))
    assert towers.vision.fast
    assert towers.text.fast
    torch.testing.assert_close(
        towers.image_features(some_images(3)), own_image_features(theirs, some_images(3)), rtol=0, atol=1e-5
    )
    torch.testing.assert_close(towers.text_features(CAPTIONS), own_text_features(theirs, CAPTIONS), rtol=0, atol=1e-5)
    assert_same_gradients(towers, gradients_of_towers(towers, 4), gradients_of_its_own(theirs, 4))


@pytest.mark.parametrize("kernels", [
    Kernels(attention="explicit"), Kernels(linear="contiguous"), Kernels(linear="mixed"),
])  # fmt: skip
def test_every_way_of_computing_a_block_in_fp32_gives_the_same_gradients(kernels: Kernels) -> None:
    # This processor may multiply in bf16 if ``mixed`` allows it; then the tolerance is that of bf16.
    towers = small_towers(small_clip(), kernels={"vision": kernels.as_dict(), "text": kernels.as_dict()})
    theirs, ours = gradients_of_its_own(small_clip(), 4), gradients_of_towers(towers, 4)
    if kernels.linear != "mixed":
        assert_same_gradients(towers, ours, theirs)
        return
    for name in ("visual.conv1.weight", "visual.transformer.resblocks.0.mlp.c_fc.weight", "text_projection"):
        assert torch.nn.functional.cosine_similarity(ours[name].flatten(), theirs[name].flatten(), dim=0) > 0.995


@pytest.mark.parametrize("kernels", [
    Kernels("bf16", "plain", "fused", "bf16"), Kernels("bf16", "plain", "explicit", "bf16"), Kernels("bf16", "plain", "fused", "fp32"),
    Kernels("bf16", "contiguous", "explicit", "fp32"),
])  # fmt: skip
def test_bf16_gradients_have_the_direction_of_fp32_ones_and_are_kept_in_fp32(kernels: Kernels) -> None:
    towers = small_towers(
        small_clip(),
        compute=Compute("cpu", "bf16", ""),
        kernels={"vision": kernels.as_dict(), "text": kernels.as_dict()},
    )
    theirs, ours = gradients_of_its_own(small_clip(), 4), gradients_of_towers(towers, 4)
    assert {gradient.dtype for gradient in ours.values()} == {torch.float32}
    for name in ours.keys() & theirs.keys() - {"logit_scale"}:
        # The bias of the keys does not affect a softmax, so its gradient is only rounding.
        mine, other = (
            values.flatten()[: 64 if name.endswith("in_proj_bias") else None] for values in (ours[name], theirs[name])
        )
        if other.abs().max() > 1e-4:
            assert torch.nn.functional.cosine_similarity(mine, other, dim=0) > 0.98, name


def test_the_features_of_bf16_are_those_of_fp32_up_to_its_rounding() -> None:
    towers = small_towers(small_clip(), compute=Compute("cpu", "bf16", ""))
    features = towers.image_features(some_images(3))
    assert features.dtype == torch.float32
    torch.testing.assert_close(features, own_image_features(small_clip(), some_images(3)), rtol=0, atol=0.03)


def test_gradient_checkpointing_changes_no_gradient() -> None:
    plain, checkpointed = small_towers(small_clip()), small_towers(small_clip(), gradient_checkpointing=True)
    theirs = gradients_of_towers(plain, 3)
    for name, gradient in gradients_of_towers(checkpointed, 3).items():
        assert torch.equal(gradient, theirs[name]), name


def test_only_the_tokens_of_the_captions_are_trained() -> None:
    towers = small_towers(small_clip(), captions=["fox", "fox fox"])
    assert towers.text.table is not None
    assert towers.text.table.used == sorted({49406, 49407, *TOKENIZER.encode("fox")})
    assert towers.text.table.rows.shape == (3, 64)


def test_an_export_has_the_trained_rows_in_their_places_and_no_replay_projection() -> None:
    towers = small_towers(small_clip(), replay_projection=True)
    assert towers.text.table is not None
    with torch.no_grad():
        towers.text.table.rows.add_(1)
        towers.model.visual.proj += 1
    exported, start = towers.export_state(), small_clip().state_dict()
    assert exported.keys() == start.keys()
    used = torch.tensor(towers.text.table.used)
    torch.testing.assert_close(exported["token_embedding.weight"][used], start["token_embedding.weight"][used] + 1)
    unused = torch.ones(49408, dtype=torch.bool)
    unused[used] = False
    assert torch.equal(exported["token_embedding.weight"][unused], start["token_embedding.weight"][unused])
    reopened = small_clip()
    reopened.load_state_dict(exported)
    torch.testing.assert_close(own_text_features(reopened, CAPTIONS), towers.text_features(CAPTIONS), rtol=0, atol=1e-5)


def test_replayed_images_go_through_a_projection_of_their_own() -> None:
    towers = small_towers(small_clip(), replay_projection=True)
    images = some_images(5)
    assert towers.vision.replay_projection is not None
    copied = towers.image_features(images, replay_from=2)
    torch.testing.assert_close(copied, towers.image_features(images), rtol=0, atol=1e-6)
    with torch.no_grad():
        towers.vision.replay_projection[:, ::2] *= -1
    mixed, plain = towers.image_features(images, replay_from=2), towers.image_features(images)
    torch.testing.assert_close(mixed[:2], plain[:2], rtol=0, atol=1e-6)
    assert not torch.isclose(mixed[2:], plain[2:], atol=1e-3).all(dim=1).any()
    torch.autograd.backward(mixed[2:].sum())
    assert not towers.model.visual.proj.grad.any()
    assert towers.vision.replay_projection.grad is not None
    assert towers.vision.replay_projection.grad.any()


def test_a_locked_vision_tower_trains_its_projection_alone() -> None:
    towers = small_towers(small_clip(), lock_image=True)
    assert [item.name for item in towers.trainable() if item.name.startswith("visual.")] == ["visual.proj"]
    torch.autograd.backward(towers.image_features(some_images(2)).sum())
    assert towers.model.visual.proj.grad.any()
    assert towers.model.visual.conv1.weight.grad is None


def test_a_locked_text_tower_encodes_each_caption_once_a_run() -> None:
    towers = small_towers(small_clip(), lock_text=True)
    first = towers.text_features(CAPTIONS)
    assert not first.requires_grad
    torch.testing.assert_close(first, own_text_features(small_clip(), CAPTIONS).detach(), rtol=0, atol=1e-5)
    with torch.no_grad():
        towers.model.positional_embedding += 1  # without effect, since a locked tower does not compute twice
    assert torch.equal(towers.text_features(CAPTIONS[::-1]), first.flip(0))
    assert not any(item.name.startswith(("transformer.", "token")) for item in towers.trainable())


def test_tokens_of_many_captions_do_not_stay_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.no_grad():
        features_UD = small_towers(small_clip()).text_features(CAPTIONS)
    monkeypatch.setattr(text_tower, "_KEPT", 1)
    monkeypatch.setattr(text_tower, "_TOKENIZED_AT_ONCE", 2)
    towers = small_towers(small_clip())
    assert towers.text.table is not None
    assert towers.text.table.used == sorted(
        {int(token) for caption in CAPTIONS for token in TOKENIZER([caption])[0] if token}
    )
    with torch.no_grad():
        again_UD = torch.cat([towers.text_features((caption,)) for caption in CAPTIONS])
    torch.testing.assert_close(again_UD, features_UD, atol=1e-5, rtol=0)  # sums of fp32 in another order
    assert len(towers.text._tokens) <= 2
    whole = small_towers(small_clip(), every_token=True)
    assert whole.text.table is not None
    assert len(whole.text.table.used) == 49408
    with torch.no_grad():
        torch.testing.assert_close(whole.text_features(CAPTIONS), features_UD, atol=1e-5, rtol=0)


def test_captions_of_labels_that_are_not_trained_on_can_be_encoded_for_validation() -> None:
    towers = small_towers(small_clip())
    other = ("an entirely different zebra", CAPTIONS[0])
    towers.eval()
    with torch.no_grad():
        features = towers.text_features(other)
    torch.testing.assert_close(features, own_text_features(small_clip(), other).detach(), rtol=0, atol=1e-5)


def test_stochastic_depth_is_drawn_from_torchs_seed_and_off_in_evaluation() -> None:
    towers, images = small_towers(small_clip(), drop_path=0.9), some_images(16)
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(towers.image_features(images).detach())
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    towers.eval()
    torch.testing.assert_close(
        towers.image_features(images), own_image_features(small_clip(), images), rtol=0, atol=1e-5
    )


def test_a_training_state_comes_back_bit_for_bit() -> None:
    towers = small_towers(small_clip(), replay_projection=True)
    with torch.no_grad():
        for item in towers.trainable():
            item.parameter.add_(torch.rand_like(item.parameter) * 0.1)
    state = towers.training_state()
    resumed = small_towers(small_clip(), replay_projection=True)
    resumed.load_training_state(state)
    assert torch.equal(resumed.image_features(some_images(2)), towers.image_features(some_images(2)))
    assert torch.equal(resumed.text_features(CAPTIONS), towers.text_features(CAPTIONS))
    assert {name: value.tolist() for name, value in resumed.training_state().items()} == {
        name: value.tolist() for name, value in state.items()
    }


def test_a_state_of_other_captions_is_refused_with_the_numbers() -> None:
    state = small_towers(small_clip()).training_state()
    with pytest.raises(ModelError, match=r"token_table is \d+×64 in the state and 3×64 in the model"):
        small_towers(small_clip(), captions=["fox"]).load_training_state(state)


def test_exported_weights_can_be_taken_back_for_validation() -> None:
    towers, other = small_towers(small_clip()), small_clip()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter += 0.01
    towers.load_export(other.state_dict())
    torch.testing.assert_close(towers.text_features(CAPTIONS), own_text_features(other, CAPTIONS), rtol=0, atol=1e-5)
    torch.testing.assert_close(
        towers.image_features(some_images(2)), own_image_features(other, some_images(2)), rtol=0, atol=1e-5
    )


def two_sided_text() -> CustomTextCLIP:
    """Return a text tower like SigLIP's: every token sees every other, and the last one is pooled."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return CustomTextCLIP(
            embed_dim=32,
            vision_cfg={"image_size": 32, "layers": [1, 1, 1, 1], "width": 16, "patch_size": None},
            text_cfg={"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 4, "layers": 2, "no_causal_mask": True,
                      "pool_type": "last"},
            init_logit_bias=-10,
        )  # fmt: skip


def test_a_model_of_another_kind_goes_through_its_own_forward() -> None:
    def tokenizer(texts: list[str]) -> torch.Tensor:
        tokens: torch.Tensor = TOKENIZER(texts, context_length=16)
        return tokens

    model = two_sided_text()
    towers = Towers(model, tokenizer, captions=CAPTIONS, preprocessing=SMALL, compute=CPU)
    assert not towers.text.fast
    assert not towers.vision.fast
    towers.eval()
    with torch.no_grad():
        expected = model.encode_text(tokenizer(list(CAPTIONS)), normalize=True)
        torch.testing.assert_close(towers.text_features(CAPTIONS), expected, rtol=0, atol=1e-6)
        torch.testing.assert_close(
            towers.image_features(some_images(2)), own_image_features(model, some_images(2)), rtol=0, atol=1e-6
        )
    towers.train()
    names = {item.name for item in towers.trainable()}
    assert {"text.token_embedding.weight", "logit_bias"} <= names
    assert towers.export_state().keys() == model.state_dict().keys()


@pytest.mark.parametrize(("option", "value", "said"), [
    ("replay_projection", True, "--replay-projection shared"), ("drop_path", 0.1, "--drop-path 0"),
])  # fmt: skip
def test_options_that_a_vision_tower_lacks_are_refused(option: str, value: object, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        small_towers(two_sided_text(), **{option: value})


def test_half_precision_is_refused() -> None:
    with pytest.raises(UsageError, match="allowed are fp32 and bf16"):
        small_towers(small_clip(), compute=Compute("cpu", "fp16", ""))


def test_matrices_decay_and_embeddings_norms_biases_and_the_scale_do_not() -> None:
    decayed = {item.name: item.decayed for item in small_towers(small_clip(), replay_projection=True).trainable()}
    block = "visual.transformer.resblocks.0"
    for name in ("visual.conv1.weight", "visual.proj", f"{block}.attn.in_proj_weight", f"{block}.mlp.c_fc.weight", "text_projection",
                 "replay_projection"):  # fmt: skip
        assert decayed[name], name
    for name in ("visual.class_embedding", "visual.positional_embedding", f"{block}.attn.in_proj_bias", f"{block}.ln_1.weight",
                 "positional_embedding", "token_table", "logit_scale"):  # fmt: skip
        assert not decayed[name], name


def test_additions_to_the_layers_take_part_in_features_and_gradients() -> None:
    from peft import LoraConfig, inject_adapter_in_model

    model = small_clip()
    config = LoraConfig(r=2, target_modules=["c_fc", "c_proj", "attn"], init_lora_weights=False)
    inject_adapter_in_model(config, model.visual)
    towers = small_towers(model)
    assert towers.vision.fast
    features = towers.image_features(some_images(2))
    assert not torch.isclose(features, own_image_features(small_clip(), some_images(2)), atol=1e-3).all()
    torch.testing.assert_close(features, own_image_features(model, some_images(2)), rtol=0, atol=1e-5)
    torch.autograd.backward(features[0, 0])
    additions = [value for name, value in model.visual.named_parameters() if "lora_" in name]
    assert additions
    assert all(value.grad is not None and value.grad.any() for value in additions)


def kept_bytes(towers: Towers, of: str) -> int:
    """Return the bytes that a forward pass of one tower keeps for its backward pass, each storage once."""
    sizes: dict[int, int] = {}
    alive: list[torch.Tensor] = []

    def keep(value: torch.Tensor) -> torch.Tensor:
        sizes[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        alive.append(value)
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        features = towers.image_features(some_images(8)) if of == "image" else towers.text_features(CAPTIONS)
    del features
    return sum(sizes.values())


ATTENTION_POOLED: dict[str, Any] = {
    "layers": 4, "width": 64, "head_width": 16, "patch_size": 8, "attentional_pool": True, "attn_pooler_heads": 4,
    "attn_pooler_queries": 4,
}  # fmt: skip


def two_sided_text_of_a_transformer(**vision: Any) -> CustomTextCLIP:
    """Return a model of SigLIP's kind, whose text tower has a forward of its own; by default with a vision transformer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return CustomTextCLIP(
            embed_dim=32,
            vision_cfg={"image_size": 32, **(vision or ATTENTION_POOLED)},
            text_cfg={"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 4, "layers": 4, "no_causal_mask": True,
                      "pool_type": "last"},
        )  # fmt: skip


def towers_with_own_forward(model: Any, **options: Any) -> Towers:
    def tokenizer(texts: list[str]) -> torch.Tensor:
        tokens: torch.Tensor = TOKENIZER(texts, context_length=16)
        return tokens

    towers = Towers(model, tokenizer, captions=CAPTIONS, preprocessing=SMALL, **{"compute": CPU, **options})
    assert not towers.text.fast
    assert not towers.vision.fast
    return towers


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_checkpointing_saves_memory_in_towers_with_a_forward_of_their_own_and_changes_no_gradient(
    precision: Any,
) -> None:
    """Under autocast a cast of the first pass must not be found in the second one (pytorch 141896)."""
    compute = Compute("cpu", precision, "")
    plain, twice = (
        towers_with_own_forward(two_sided_text_of_a_transformer(), compute=compute, gradient_checkpointing=checkpointing)
        for checkpointing in (False, True)
    )  # fmt: skip
    for of in ("image", "text"):
        assert kept_bytes(twice, of) < 0.7 * kept_bytes(plain, of), of
    theirs = gradients_of_towers(plain, 4)
    ours = gradients_of_towers(twice, 4)
    assert ours.keys() == theirs.keys()
    for name, gradient in ours.items():
        assert torch.equal(gradient, theirs[name]), name


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_checkpointing_saves_memory_in_our_own_blocks(precision: Any) -> None:
    compute = Compute("cpu", precision, "")
    plain, twice = (
        small_towers(small_clip(vision={"layers": 4}, text={"layers": 4}), compute=compute, gradient_checkpointing=checkpointing)
        for checkpointing in (False, True)
    )  # fmt: skip
    for of in ("image", "text"):
        assert kept_bytes(twice, of) < 0.7 * kept_bytes(plain, of), of


def test_a_tower_that_cannot_compute_activations_twice_is_named() -> None:
    """open_clip accepts the setting for a ResNet, and does nothing."""
    resnet = two_sided_text_of_a_transformer(layers=[1, 1, 1, 1], width=16, patch_size=None)
    (line,) = towers_without_checkpointing(resnet)
    assert line.startswith("--gradient-checkpointing has no effect on the vision tower (ModifiedResNet)")
    assert not towers_with_own_forward(resnet).vision.can_checkpoint
    for model in (small_clip(), two_sided_text_of_a_transformer()):
        assert towers_without_checkpointing(model) == []
        assert not any(getattr(module, "grad_checkpointing", False) for module in model.modules())
