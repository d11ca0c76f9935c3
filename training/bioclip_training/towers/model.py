"""A model in training: an open_clip model's two towers, their parameters, and what is saved and exported of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from bioclip_core.device import Compute
from bioclip_core.errors import ModelError, UsageError
from bioclip_core.preprocessing import Preprocessing
from bioclip_training.towers.blocks import Kernels
from bioclip_training.towers.probing import probed_kernels
from bioclip_training.towers.text_tower import TextTower, Tokenizer
from bioclip_training.towers.vision_tower import VisionTower

# Parts of parameter names that are no matrices to be kept small, whatever their shape.
_NEVER_DECAYED = (
    "positional_embedding", "class_embedding", "cls_emb", "pos_embed", "cls_token", "reg_token", "mask_token", "position_bias", "query",
    "probe", "latent", "logit_scale", "logit_bias",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trainable:
    """A parameter that a step changes."""

    name: str
    """As open_clip names it in the model; ``token_table`` and ``replay_projection`` are ours."""
    parameter: nn.Parameter
    decayed: bool
    """Whether weight decay applies: matrices only, never embeddings, norms, biases and the logit scale."""


class Towers:
    """An open_clip model (fp32, on the device) set up for training.

    Features of equal inputs and their gradients equal the model's own, whatever is saved on the way; only with bf16 they
    differ in rounding. ``captions`` are all that will be trained on: only the tokens in them are parameters.

    Args:
        replay_projection: copy the visual projection for replayed images (BioCLIP 2, Gu et al. 2025).
        kernels: of an earlier part of the same run, as ``kernels`` gave them; None measures which are fastest.
        images: of a forward pass, for that measurement.

    Raises:
        UsageError: for fp16, and for what the model's kind of vision tower cannot do.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Tokenizer,
        *,
        captions: Sequence[str],
        preprocessing: Preprocessing,
        compute: Compute,
        replay_projection: bool = False,
        gradient_checkpointing: bool = False,
        lock_image: bool = False,
        lock_text: bool = False,
        drop_path: float = 0.0,
        compile: bool = False,  # noqa: A002 -- the name of the option
        kernels: Mapping[str, Mapping[str, Any]] | None = None,
        images: int = 64,
    ) -> None:
        if compute.precision == "fp16":
            raise UsageError(
                "precision fp16 in training: allowed are fp32 and bf16, whose range gradients do not leave"
            )
        self.model = model.to(compute.device).float()
        if not any(parameter.requires_grad for parameter in self.model.parameters()):
            self.model.requires_grad_(True)  # as an encoder leaves it; else a fixed part is meant to stay fixed
        self.compute = compute
        self._lock_image, self._lock_text = lock_image, lock_text
        self.vision = VisionTower(
            self.model, preprocessing, replay_projection=replay_projection, locked=lock_image,
            checkpointing=gradient_checkpointing, drop_path=drop_path, compile=compile,
        )  # fmt: skip
        self.text = TextTower(self.model, tokenizer, captions, locked=lock_text, checkpointing=gradient_checkpointing)
        if kernels is not None:
            self.use_kernels(kernels)
        else:
            self._choose_kernels(captions, images)
        self.train()

    def image_features(self, images_BHWC: torch.Tensor, *, replay_from: int | None = None) -> torch.Tensor:
        """B RGB images, uint8, of the contract's size, to B×D features, L2-normalised fp32.

        Images from number ``replay_from`` on go through the replay projection where there is one.
        """
        features_BD: torch.Tensor = self.vision(images_BHWC, replay_from=replay_from)
        return features_BD

    def text_features(self, captions: Sequence[str]) -> torch.Tensor:
        """U distinct captions to U×D features, L2-normalised fp32; those of a locked tower are computed once a run."""
        features_UD: torch.Tensor = self.text(captions)
        return features_UD

    @property
    def log_scale(self) -> nn.Parameter:
        """The logarithm of what cosines are multiplied by."""
        parameter: nn.Parameter = self.model.logit_scale
        return parameter

    @property
    def bias(self) -> nn.Parameter | None:
        """Added to the logits of the pairwise loss; None where the model has none."""
        parameter: nn.Parameter | None = getattr(self.model, "logit_bias", None)
        return parameter

    @property
    def kernels(self) -> dict[str, dict[str, Any]]:
        """How each tower computes, as plain JSON values: a resumed run takes the same, to be the same in every bit."""
        return {"vision": self.vision.kernels.as_dict(), "text": self.text.kernels.as_dict()}

    def use_kernels(self, kernels: Mapping[str, Mapping[str, Any]]) -> None:
        """Compute as ``kernels`` of an earlier part of the run says."""
        self.vision.kernels, self.text.kernels = Kernels(**kernels["vision"]), Kernels(**kernels["text"])

    def trainable(self) -> list[Trainable]:
        """Every parameter that a step may change, in an order that is the same in every process."""
        return list(self._trainable())

    def _trainable(self) -> Iterator[Trainable]:
        embeddings = {
            id(module.weight) for module in self.model.modules() if isinstance(module, (nn.Embedding, nn.EmbeddingBag))
        }
        for name, parameter in self.model.named_parameters():
            if not parameter.requires_grad or self._locked(name):
                continue
            decayed = parameter.ndim > 1 and id(parameter) not in embeddings
            yield Trainable(name, parameter, decayed and not any(part in name for part in _NEVER_DECAYED))
        if self.text.table is not None:
            yield Trainable("token_table", self.text.table.rows, False)
        if self.vision.replay_projection is not None:
            yield Trainable("replay_projection", self.vision.replay_projection, True)

    def _locked(self, name: str) -> bool:
        if name in {"logit_scale", "logit_bias"}:
            return False
        if name.startswith("visual."):
            return self._lock_image and not (self.vision.fast and name == "visual.proj")
        return self._lock_text

    def export_state(self) -> dict[str, torch.Tensor]:
        """The whole model as open_clip loads it, fp32 on the CPU: token rows in place, the replay projection left out."""
        state = {name: value.detach().to("cpu", copy=True) for name, value in self.model.state_dict().items()}
        if self.text.table is not None:
            name = self.text.embedding_name
            state[name] = self.text.table.restored(state[name])
        return state

    def load_export(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take weights as :meth:`export_state` gives them, for validation; the replay projection stays as it is."""
        self.model.load_state_dict(state)
        if self.text.table is not None:
            self.text.table.fill(state[self.text.embedding_name])
        self.text.forget()

    def training_state(self) -> dict[str, torch.Tensor]:
        """Copies of all that steps change, on the CPU: the rest is the starting model's."""
        state = {item.name: item.parameter.detach().to("cpu", copy=True) for item in self._trainable()}
        return {**state, **{name: value.detach().to("cpu", copy=True) for name, value in self.model.named_buffers()}}

    def load_training_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take back what :meth:`training_state` gave, bit for bit.

        Raises:
            ModelError: if it is of another model or of other captions.
        """
        targets = {item.name: item.parameter.detach() for item in self._trainable()}
        targets |= {name: value.detach() for name, value in self.model.named_buffers()}
        for name in sorted(set(targets) | set(state)):
            here, there = targets.get(name), state.get(name)
            if here is None or there is None or here.shape != there.shape:
                raise ModelError(
                    f"the training state does not fit the model: {name} is {_shape(there)} in the state and {_shape(here)} in the "
                    "model; resume with the options and the data of the run that saved it"
                )
        for name, target in targets.items():
            target.copy_(state[name])
        self.text.forget()

    def train(self) -> None:
        """As in training: stochastic depth and dropout are on, but for locked towers."""
        self.model.train()
        self.vision.train()
        self.text.train()
        if self._lock_image:
            self.model.visual.eval()
            self.vision.eval()

    def eval(self) -> None:
        """As in use."""
        self.model.eval()
        self.vision.eval()
        self.text.eval()

    def _choose_kernels(self, captions: Sequence[str], images: int) -> None:
        """Measure on one block of each tower at the shapes of ``images`` at once, where there is a choice."""
        own_forward = Kernels(activations="bf16" if self.compute.precision == "bf16" else "fp32")
        self.vision.kernels = self.text.kernels = own_forward
        if self.vision.blocks:
            lengths = [self.vision.tokens] * images
            self.vision.kernels = probed_kernels(self.vision.blocks[0], lengths, self.compute, causal=False)
        if self.text.blocks:
            lengths = self.text.lengths(list(dict.fromkeys(captions))[:images])
            self.text.kernels = probed_kernels(self.text.blocks[0], lengths or [8], self.compute, causal=True)


def unique_captions(captions: Sequence[str]) -> tuple[list[str], torch.Tensor]:
    """The distinct captions U in order of first use, and for each of B captions the number of its own: an id of its text."""
    number = {caption: index for index, caption in enumerate(dict.fromkeys(captions))}
    return list(number), torch.tensor([number[caption] for caption in captions], dtype=torch.long)


def _shape(value: torch.Tensor | None) -> str:
    return "missing" if value is None else "×".join(map(str, value.shape)) or "one number"
