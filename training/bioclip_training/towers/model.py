"""A model in training: the two towers of an open_clip model, their parameters, and their saved and exported states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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

_PROBED = (
    256  # sequences that kernels are measured with at most: more take minutes, and do not change which one is fastest
)
SCALARS = frozenset({"logit_scale", "logit_bias"})
"""Parameters of the loss itself: never locked, and their gradients come with the loss, not through the towers."""

# Parts of the names of parameters that never decay, whatever their shape.
_NEVER_DECAYED = (
    "positional_embedding", "class_embedding", "cls_emb", "pos_embed", "cls_token", "reg_token", "mask_token", "position_bias", "query",
    "probe", "latent", "logit_scale", "logit_bias",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trainable:
    """A parameter that a step changes."""

    name: str
    """Name in the open_clip model; ``token_table`` and ``replay_projection`` are ours."""
    parameter: nn.Parameter
    decayed: bool
    """True if weight decay applies: to matrices only, never to embeddings, norms, biases and the logit scale."""


class Towers:
    """An open_clip model (fp32, on the device) set up for training.

    Features and their gradients equal the model's own, in spite of all savings; only with bf16 they differ in rounding.

    Args:
        model: the open_clip model.
        tokenizer: its tokenizer.
        captions: all captions that will be trained on: only the tokens in them are parameters.
        every_token: further captions than these will be trained on, so that all tokens are parameters.
        preprocessing: the contract of the images.
        compute: device and precision.
        replay_projection: copy the visual projection for replayed images (BioCLIP 2, Gu et al. 2025).
        gradient_checkpointing: compute activations twice instead of keeping them.
        lock_image: keep the vision tower as it is, its projection excepted.
        lock_text: keep the text tower as it is.
        drop_path: stochastic depth of the vision tower, at its last block.
        compile: compile the vision tower.
        kernels: the kernels of an earlier part of the same run; None measures which are fastest.
        images: number of images in a forward pass, for that measurement.

    Raises:
        UsageError: for fp16, and for options that the model's kind of vision tower cannot have.
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
        every_token: bool = False,
    ) -> None:
        if compute.precision == "fp16":
            raise UsageError(
                "precision fp16 in training: allowed are fp32 and bf16, whose range gradients do not leave"
            )
        self.model = model.to(compute.device).float()
        if not any(parameter.requires_grad for parameter in self.model.parameters()):
            self.model.requires_grad_(True)  # as an encoder leaves it; otherwise a frozen part is frozen on purpose
        self.log_scale: nn.Parameter = self.model.logit_scale
        """The logarithm of the factor of cosines."""
        self.bias: nn.Parameter | None = getattr(self.model, "logit_bias", None)
        """The bias of the pairwise loss; None if the model has none."""
        self.compute = compute
        self._lock_image, self._lock_text = lock_image, lock_text
        self.vision = VisionTower(
            self.model, preprocessing, replay_projection=replay_projection, locked=lock_image,
            checkpointing=gradient_checkpointing, drop_path=drop_path, compile=compile,
        )  # fmt: skip
        self.text = TextTower(
            self.model, tokenizer, captions, locked=lock_text, checkpointing=gradient_checkpointing, every_token=every_token
        )  # fmt: skip
        if kernels is not None:
            self.use_kernels(kernels)
        else:
            self._choose_kernels(captions, images)
        self.train()

    def image_features(self, images_BHWC: torch.Tensor, *, replay_from: int | None = None) -> torch.Tensor:
        """Return the features of B RGB images, uint8, of the contract's size, as B×D, L2-normalised fp32.

        Images from number ``replay_from`` on go through the replay projection, if there is one.
        """
        return self.vision.forward(images_BHWC, replay_from=replay_from)

    def text_features(self, captions: Sequence[str]) -> torch.Tensor:
        """Return the features of U captions as U×D, L2-normalised fp32; a locked tower computes each once per run."""
        return self.text.forward(captions)

    @property
    def kernels(self) -> dict[str, dict[str, Any]]:
        """The kernels of each tower as plain JSON values: a resumed run uses the same, to be equal in every bit."""
        return {"vision": self.vision.kernels.as_dict(), "text": self.text.kernels.as_dict()}

    def use_kernels(self, kernels: Mapping[str, Mapping[str, Any]]) -> None:
        """Compute with the ``kernels`` of an earlier part of the run."""
        self.vision.kernels, self.text.kernels = Kernels(**kernels["vision"]), Kernels(**kernels["text"])

    def trainable(self) -> list[Trainable]:
        """Return every parameter that a step may change, in the same order in every process."""
        embeddings = {
            id(module.weight) for module in self.model.modules() if isinstance(module, (nn.Embedding, nn.EmbeddingBag))
        }
        found = []
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad and not self._locked(name):
                decayed = parameter.ndim > 1 and id(parameter) not in embeddings
                found.append(Trainable(name, parameter, decayed and not any(part in name for part in _NEVER_DECAYED)))
        if self.text.table is not None:
            found.append(Trainable("token_table", self.text.table.rows, False))
        if self.vision.replay_projection is not None:
            found.append(Trainable("replay_projection", self.vision.replay_projection, True))
        return found

    def _locked(self, name: str) -> bool:
        if name in SCALARS:
            return False
        if name.startswith("visual."):
            return self._lock_image and not (self.vision.fast and name == "visual.proj")
        return self._lock_text

    def export_state(self) -> dict[str, torch.Tensor]:
        """Return the whole model as open_clip loads it, fp32 on the CPU: with the token rows, without the replay projection."""
        state = {name: value.detach().to("cpu", copy=True) for name, value in self.model.state_dict().items()}
        if self.text.table is not None:
            state[self.text.embedding_name] = self.text.table.restored(state[self.text.embedding_name])
        return state

    def load_export(self, state: Mapping[str, torch.Tensor]) -> None:
        """Load weights as :meth:`export_state` returns them, for validation; the replay projection stays as it is."""
        self.model.load_state_dict(state)
        if self.text.table is not None:
            self.text.table.fill(state[self.text.embedding_name])
        self.text.forget()

    def training_state(self) -> dict[str, torch.Tensor]:
        """Return CPU copies of everything that steps change: the rest is the starting model's."""
        return {name: value.to("cpu", copy=True) for name, value in self._changing().items()}

    def load_training_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore the result of :meth:`training_state`, bit for bit.

        Raises:
            ModelError: if it is of another model or of other captions.
        """
        targets = self._changing()
        for name in sorted({*targets, *state}):
            target, stored = targets.get(name), state.get(name)
            if target is None or stored is None or target.shape != stored.shape:
                raise ModelError(
                    f"the training state does not fit the model: {name} is {_shape(stored)} in the state and {_shape(target)} in the "
                    "model; resume with the options and the data of the run that saved it"
                )
        for name, target in targets.items():
            target.copy_(state[name])
        self.text.forget()

    def _changing(self) -> dict[str, torch.Tensor]:
        parameters = {item.name: item.parameter.detach() for item in self.trainable()}
        return {**parameters, **{name: value.detach() for name, value in self.model.named_buffers()}}

    def train(self) -> None:
        """Switch to training: stochastic depth and dropout are on, except in locked towers."""
        self.model.train()
        self.vision.train()
        self.text.train()
        if self._lock_image:
            self.model.visual.eval()
            self.vision.eval()

    def eval(self) -> None:
        """Switch to evaluation."""
        self.model.eval()
        self.vision.eval()
        self.text.eval()

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Evaluate without gradients while open, and return to training at the end."""
        self.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.train()

    def _choose_kernels(self, captions: Sequence[str], images: int) -> None:
        """Measure one block of each tower at the shapes of a forward pass, where there is a choice."""
        own_forward = Kernels(activations="bf16" if self.compute.precision == "bf16" else "fp32")
        self.vision.kernels = self.text.kernels = own_forward
        if self.vision.blocks:
            lengths = [self.vision.tokens] * min(images, _PROBED)
            self.vision.kernels = probed_kernels(self.vision.blocks[0], lengths, self.compute, causal=False)
        if self.text.blocks:
            lengths = self.text.lengths(list(dict.fromkeys(captions))[: min(images, _PROBED)])
            self.text.kernels = probed_kernels(self.text.blocks[0], lengths or [8], self.compute, causal=True)


def _shape(value: torch.Tensor | None) -> str:
    return "missing" if value is None else "×".join(map(str, value.shape)) or "one number"
