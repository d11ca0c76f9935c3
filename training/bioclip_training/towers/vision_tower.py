"""Images to features: patches as a matrix product, blocks in the chosen way, and a second projection for replayed images.

For open_clip's own vision transformer with a class token the last block is computed for that token alone. Other towers
(timm, ResNet, attention pooling) use their own forward.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from open_clip.transformer import VisionTransformer
from torch import nn
from torch.nn.functional import normalize

from bioclip_core.errors import UsageError
from bioclip_core.preprocessing import Preprocessing
from bioclip_training.towers.blocks import DTYPES, Kernels, agree, linear, run_block
from bioclip_training.towers.checkpointing import set_checkpointing

log = logging.getLogger("bioclip_plugin.training")


class VisionTower(nn.Module):
    """The vision half of an open_clip model.

    Raises:
        UsageError: for ``drop_path`` or a second projection in a tower that cannot have it.
    """

    _mean_3: torch.Tensor
    _std_3: torch.Tensor

    def __init__(
        self,
        model: Any,
        preprocessing: Preprocessing,
        *,
        replay_projection: bool,
        locked: bool,
        checkpointing: bool,
        drop_path: float,
        compile: bool,  # noqa: A002 -- the name of the option
    ) -> None:
        super().__init__()
        # In a tuple, so that the model's parameters are not listed a second time under this module.
        self._model = (model,)
        self._locked, self._checkpointing, self._drop_path = locked, checkpointing, drop_path
        self.kernels = Kernels()
        device, visual = model.logit_scale.device, model.visual
        self.register_buffer("_mean_3", torch.tensor(preprocessing.mean, device=device) * 255, persistent=False)
        self.register_buffer("_std_3", torch.tensor(preprocessing.std, device=device) * 255, persistent=False)
        self.replay_projection: nn.Parameter | None = None
        self.fast = _is_plain_transformer(visual) and self._agrees(preprocessing.size)
        """True if the blocks are computed by us."""
        log.debug("images go through %s", "our own blocks" if self.fast else "the model's own forward")
        if replay_projection and (not self.fast or visual.proj is None):
            raise UsageError(
                f"replay_projection 'second' with a vision tower of kind {type(visual).__name__}: only open_clip's own vision "
                "transformer has a projection to copy; use --replay-projection shared"
            )
        if drop_path and not self.fast:
            raise UsageError(
                f"drop_path {drop_path:g} with a vision tower of kind {type(visual).__name__}: allowed is 0, since only blocks of "
                "open_clip's own vision transformer can be dropped; use --drop-path 0"
            )
        if replay_projection:
            self.replay_projection = nn.Parameter(visual.proj.detach().clone())
        self.can_checkpoint = self.fast or set_checkpointing(visual, checkpointing)
        """True if activations can be computed twice."""
        self._trunk = torch.compile(self._fast_trunk) if compile and self.fast else self._fast_trunk
        if compile and not self.fast:
            visual.compile()

    def forward(self, images_BHWC: torch.Tensor, *, replay_from: int | None = None) -> torch.Tensor:
        """Return the features of B RGB images, uint8, as B×D, L2-normalised fp32; from ``replay_from`` by the second projection."""
        pixels_BHWC = (images_BHWC.to(self._mean_3.device).float() - self._mean_3) / self._std_3
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self._locked):
            outputs_BD = self._trunk(pixels_BHWC) if self.fast else self._own_forward(pixels_BHWC)
        features_BD = self._projected(outputs_BD.float(), replay_from) if self.fast else outputs_BD.float()
        return normalize(features_BD, dim=-1)

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """The blocks that the kernels are for; none if the model's own forward is used."""
        return list(self._model[0].visual.transformer.resblocks) if self.fast else []

    @property
    def tokens(self) -> int:
        """Number of tokens of an image, with the class token."""
        return len(self._model[0].visual.positional_embedding)

    def _own_forward(self, pixels_BHWC: torch.Tensor) -> torch.Tensor:
        dtype = DTYPES[self.kernels.activations]
        with torch.autocast(pixels_BHWC.device.type, dtype, enabled=dtype != torch.float32):
            features_BD: torch.Tensor = self._model[0].encode_image(pixels_BHWC.permute(0, 3, 1, 2))
        return features_BD

    def _fast_trunk(self, pixels_BHWC: torch.Tensor) -> torch.Tensor:
        """Compute everything up to the projection, as B×W."""
        visual = self._model[0].visual
        patches_BNP = _patches(pixels_BHWC, visual.patch_size).to(DTYPES[self.kernels.activations])
        x_BNW = linear(patches_BNP, visual.conv1.weight.flatten(1), None, self.kernels)
        class_token = visual.class_embedding.to(x_BNW.dtype).expand(len(x_BNW), 1, -1)
        x_BTW = torch.cat([class_token, x_BNW], dim=1) + visual.positional_embedding.to(x_BNW.dtype)
        x_BTW = visual.ln_pre(visual.patch_dropout(x_BTW).float()).to(x_BNW.dtype)
        last = len(visual.transformer.resblocks) - 1
        first_B = torch.zeros(len(x_BTW), dtype=torch.long, device=x_BTW.device) if visual.pool_type == "tok" else None
        for index, block in enumerate(visual.transformer.resblocks):
            x_BTW = run_block(
                block, x_BTW, self.kernels, pooled_B=first_B if index == last else None, checkpointing=self._checkpointing,
                drop=self._drop_path * index / max(last, 1) if self.training else 0.0,
            )  # fmt: skip
        pooled_BW: torch.Tensor = visual._pool(x_BTW.float())[0]
        return pooled_BW

    def _projected(self, pooled_BW: torch.Tensor, replay_from: int | None) -> torch.Tensor:
        projection = self._model[0].visual.proj
        if projection is None:
            return pooled_BW
        if replay_from is None or self.replay_projection is None:
            return pooled_BW @ projection  # type: ignore[no-any-return]
        return torch.cat([pooled_BW[:replay_from] @ projection, pooled_BW[replay_from:] @ self.replay_projection])

    @torch.no_grad()
    def _agrees(self, size: int) -> bool:
        """Return True if two images computed by us have the features of the model's own forward."""
        generator = torch.Generator().manual_seed(0)
        pixels_BHWC = torch.randn(2, size, size, 3, generator=generator).to(self._mean_3.device)
        visual, training = self._model[0].visual, self._model[0].visual.training
        visual.eval()
        self.eval()
        is_same = agree(self._projected(self._fast_trunk(pixels_BHWC), None), self._own_forward(pixels_BHWC))
        visual.train(training)
        self.train()
        return is_same


def _patches(pixels_BHWC: torch.Tensor, patch: Sequence[int]) -> torch.Tensor:
    """Cut images into N patches, each a row in the order of a convolution's weight: channel, row, column."""
    b, height, width, channels = pixels_BHWC.shape
    rows, columns = height // patch[0], width // patch[1]
    cut = pixels_BHWC[:, : rows * patch[0], : columns * patch[1]]
    cut = cut.reshape(b, rows, patch[0], columns, patch[1], channels)
    return cut.permute(0, 1, 3, 5, 2, 4).reshape(b, rows * columns, -1)


def _is_plain_transformer(visual: Any) -> bool:
    """Return True for open_clip's own vision transformer that pools the class token or the mean, and returns nothing else."""
    return (
        type(visual) is VisionTransformer
        and visual.attn_pool is None
        and visual.pool_type in {"tok", "avg"}
        and not visual.output_tokens
        and hasattr(visual.transformer, "resblocks")
    )
