"""Captions to features, without the work that cannot reach a feature.

CLIP's text transformer is causal and pools at the end-of-text token, so what stands behind it is not computed, the last
block is computed for that one token, and only the rows of the embedding that occur are trained. Whether that holds for a
model is read from its config and then proved on a batch against the model's own forward, which is used where it does not.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from open_clip import CLIP
from open_clip.transformer import TextTransformer
from torch import nn
from torch.utils.checkpoint import checkpoint

from bioclip_training.towers.blocks import DTYPES, Kernels, Packing, run_block
from bioclip_training.towers.token_table import TokenTable

log = logging.getLogger("bioclip_plugin.training")

_AT_ONCE = 256  # captions of a locked tower that are encoded together
TOLERANCE = 1e-4  # largest difference of a normalised feature that rounding in fp32 explains

Tokenizer = Callable[[list[str]], torch.Tensor]


class TextTower(nn.Module):
    """The text half of an open_clip model; ``captions`` are all that will ever be trained on."""

    def __init__(
        self,
        model: Any,
        tokenizer: Tokenizer,
        captions: Sequence[str],
        *,
        locked: bool,
        checkpointing: bool,
    ) -> None:
        super().__init__()
        # In a tuple, so that the model's parameters are not listed a second time under this module.
        self._model = (model,)
        self._tokenizer = tokenizer
        self._tokens: dict[str, torch.Tensor] = {}
        self._features: dict[str, torch.Tensor] = {}
        self._locked, self._checkpointing = locked, checkpointing
        self.kernels = Kernels()
        self.table: TokenTable | None = None
        self._text = _causal_text(model)
        self._remember(captions)
        if self._text is not None and not self._agrees(captions):
            self._text = None
            self._tokens.clear()
        log.debug("captions are %s", "encoded at their whole length" if self._text is None else "cut where they end")
        if self._text is not None and not locked:
            used = {int(token) for caption in set(captions) for token in self._tokens[caption]}
            self.table = TokenTable(self._text.token_embedding.weight, used or {0})
            self._text.token_embedding.requires_grad_(False)

    def forward(self, captions: Sequence[str]) -> torch.Tensor:
        """U captions to U×D features, L2-normalised fp32."""
        if self._locked:
            return self._looked_up(captions)
        return self._encoded(captions)

    def forget(self) -> None:
        """The weights were changed from outside: features of a locked tower are computed anew."""
        self._features.clear()

    @property
    def fast(self) -> bool:
        """Whether captions are cut where they end and only their own tokens are trained."""
        return self._text is not None

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """The blocks that the kernels are for; none where the model's own forward is used."""
        return [] if self._text is None else list(self._text.transformer.resblocks)

    @property
    def embedding_name(self) -> str:
        """Of the token embedding in the model's state."""
        return "token_embedding.weight" if self._text is self._model[0] else "text.token_embedding.weight"

    def lengths(self, captions: Sequence[str]) -> list[int]:
        """Tokens of each caption, with those for start and end."""
        self._remember(captions)
        return [len(self._tokens[caption]) for caption in captions]

    def _looked_up(self, captions: Sequence[str]) -> torch.Tensor:
        missing = [caption for caption in dict.fromkeys(captions) if caption not in self._features]
        with torch.no_grad():
            for start in range(0, len(missing), _AT_ONCE):
                part = missing[start : start + _AT_ONCE]
                self._features.update(zip(part, self._encoded(part), strict=True))
        return torch.stack([self._features[caption] for caption in captions])

    def _encoded(self, captions: Sequence[str]) -> torch.Tensor:
        self._remember(captions)
        if self._text is None:
            features_UD = self._own_forward(captions, DTYPES[self.kernels.activations])
        else:
            features_UD = self._cut_forward(self._text, captions)
        return nn.functional.normalize(features_UD.float(), dim=-1)

    def _own_forward(self, captions: Sequence[str], dtype: torch.dtype) -> torch.Tensor:
        tokens_UT = torch.stack([self._tokens[caption] for caption in captions]).to(self._device)
        with torch.autocast(self._device.type, dtype, enabled=dtype != torch.float32):
            features_UD: torch.Tensor = self._model[0].encode_text(tokens_UT)
        return features_UD

    def _cut_forward(self, text: Any, captions: Sequence[str]) -> torch.Tensor:
        tokens = [self._tokens[caption] for caption in captions]
        packing = Packing.of([len(tokens_T) for tokens_T in tokens], self._device)
        tokens_N = torch.cat(tokens).to(self._device)
        embedded_ND = (
            text.token_embedding(tokens_N) if self.table is None else self.table(tokens_N, text.token_embedding.weight)
        )
        positions_ND = nn.functional.embedding(packing.place_N % packing.longest, text.positional_embedding)
        x_ND = (embedded_ND + positions_ND).to(DTYPES[self.kernels.activations])
        *blocks, last = text.transformer.resblocks
        for block in blocks:
            x_ND = self._through(block, x_ND, packing, None)
        pooled_U1D = self._through(last, x_ND, packing, packing.ends_B)
        features_UD: torch.Tensor = text.ln_final(pooled_U1D[:, 0].float())
        if isinstance(text.text_projection, nn.Module):
            features_UD = text.text_projection(features_UD)
        elif text.text_projection is not None:
            features_UD = features_UD @ text.text_projection
        return features_UD

    def _through(
        self, block: nn.Module, x_ND: torch.Tensor, packing: Packing, ends_U: torch.Tensor | None
    ) -> torch.Tensor:
        def run(x: torch.Tensor) -> torch.Tensor:
            return run_block(block, x, self.kernels, packing=packing, pooled_B=ends_U)

        if self._checkpointing and torch.is_grad_enabled():
            y: torch.Tensor = checkpoint(run, x_ND, use_reentrant=False)
            return y
        return run(x_ND)

    def _remember(self, captions: Sequence[str]) -> None:
        missing = [caption for caption in dict.fromkeys(captions) if caption not in self._tokens]
        if not missing:
            return
        for caption, tokens_T in zip(missing, self._tokenizer(missing), strict=True):
            length = len(tokens_T) if self._text is None else _end(self._text, tokens_T) + 1
            self._tokens[caption] = tokens_T[:length].clone()

    def _agrees(self, captions: Sequence[str]) -> bool:
        """Whether a batch cut and computed by us has the features of the model's own forward."""
        sample = list(dict.fromkeys(captions))[:4] or ["an animal"]
        with torch.no_grad():
            self._remember(sample)
            ours = nn.functional.normalize(self._cut_forward(self._text, sample), dim=-1)
            theirs = nn.functional.normalize(
                self._model[0].encode_text(self._tokenizer(sample).to(self._device)), dim=-1
            )
        return bool((ours - theirs).abs().max() < TOLERANCE)

    @property
    def _device(self) -> torch.device:
        return self._model[0].logit_scale.device  # type: ignore[no-any-return]


def _causal_text(model: Any) -> Any:
    """The module with the parts of CLIP's own causal text transformer, or None: nothing behind the end reaches a feature."""
    text = model if isinstance(model, CLIP) else getattr(model, "text", None)
    if not isinstance(text, (CLIP, TextTransformer)) or getattr(text, "attn_mask", None) is None:
        return None
    if getattr(text, "cls_emb", None) is not None or getattr(text, "use_pad_mask", False):
        return None
    return text if _pool_type(text) in {"argmax", "eos"} and hasattr(text.transformer, "resblocks") else None


def _end(text: Any, tokens_T: torch.Tensor) -> int:
    """Where the end-of-text token stands, whose output is the caption's feature."""
    if _pool_type(text) == "eos":
        return int((tokens_T == (text.text_eos_id if isinstance(text, CLIP) else text.eos_id)).int().argmax())
    return int(tokens_T.argmax())  # it has the highest number


def _pool_type(text: Any) -> str:
    return str(text.text_pool_type if isinstance(text, CLIP) else text.pool_type)
