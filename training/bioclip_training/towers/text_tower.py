"""Captions to features, without the work that cannot reach a feature.

CLIP's text transformer is causal and pools at the end-of-text token. So tokens behind it are not computed, the last block is
computed for that one token, and only the rows of the embedding that occur are trained. The config of a model tells if that
holds for it, and a batch proves it against the model's own forward, which is used otherwise.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from open_clip import CLIP
from open_clip.transformer import TextTransformer
from torch import nn
from torch.nn.functional import embedding, normalize

from bioclip_training.towers.blocks import DTYPES, Kernels, Packing, agree, run_block
from bioclip_training.towers.checkpointing import set_checkpointing, text_of
from bioclip_training.towers.token_table import TokenTable

log = logging.getLogger("bioclip_plugin.training")

_AT_ONCE = 256  # captions of a locked tower that are encoded together
_KEPT = 200_000  # captions whose tokens or features stay in memory: 0.5 to 2 kB each
_TOKENIZED_AT_ONCE = 4096

Tokenizer = Callable[[list[str]], torch.Tensor]


class TextTower(nn.Module):
    """The text half of an open_clip model; ``captions`` are all that will ever be trained on, unless ``every_token`` is trained."""

    def __init__(
        self, model: Any, tokenizer: Tokenizer, captions: Sequence[str], *, locked: bool, checkpointing: bool, every_token: bool = False
    ) -> None:  # fmt: skip
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
        if self._text is not None and not self._agrees(captions):
            self._text = None
            self._tokens.clear()
        if checkpointing and self._text is None:
            set_checkpointing(text_of(model), True)
        log.debug("captions are %s", "encoded at their whole length" if self._text is None else "cut where they end")
        if self._text is not None and not locked:
            weight_VD = self._text.token_embedding.weight
            used = set(range(len(weight_VD))) if every_token else self._used(captions)
            self.table = TokenTable(weight_VD, used or {0})
            self._text.token_embedding.requires_grad_(False)

    def forward(self, captions: Sequence[str]) -> torch.Tensor:
        """Return the features of U captions, U×D, L2-normalised fp32."""
        if not self._locked:
            return self._encoded(captions)
        if len(self._features) > _KEPT:
            self._features.clear()
        missing = [caption for caption in dict.fromkeys(captions) if caption not in self._features]
        with torch.no_grad():
            for start in range(0, len(missing), _AT_ONCE):
                part = missing[start : start + _AT_ONCE]
                self._features.update(zip(part, self._encoded(part), strict=True))
        return torch.stack([self._features[caption] for caption in captions])

    def forget(self) -> None:
        """Drop the features of a locked tower, after its weights were replaced."""
        self._features.clear()

    @property
    def fast(self) -> bool:
        """True if captions are cut where they end and only their own tokens are trained."""
        return self._text is not None

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """The blocks that the kernels are for; none if the model's own forward is used."""
        return [] if self._text is None else list(self._text.transformer.resblocks)

    @property
    def embedding_name(self) -> str:
        """Name of the token embedding in the model's state."""
        return "token_embedding.weight" if self._text is self._model[0] else "text.token_embedding.weight"

    def lengths(self, captions: Sequence[str]) -> list[int]:
        """Return the number of tokens of each caption, with those for start and end."""
        self._tokenize(captions)
        return [len(self._tokens[caption]) for caption in captions]

    def _encoded(self, captions: Sequence[str]) -> torch.Tensor:
        self._tokenize(captions)
        if self._text is not None:
            return normalize(self._cut_forward(self._text, captions).float(), dim=-1)
        tokens_UT = torch.stack([self._tokens[caption] for caption in captions]).to(self._device)
        dtype = DTYPES[self.kernels.activations]
        with torch.autocast(self._device.type, dtype, enabled=dtype != torch.float32):
            features_UD = self._model[0].encode_text(tokens_UT)
        return normalize(features_UD.float(), dim=-1)

    def _cut_forward(self, text: Any, captions: Sequence[str]) -> torch.Tensor:
        tokens = [self._tokens[caption] for caption in captions]
        packing = Packing.of([len(tokens_T) for tokens_T in tokens], self._device)
        tokens_N = torch.cat(tokens).to(self._device)
        whole = text.token_embedding
        embedded_ND = whole(tokens_N) if self.table is None else self.table(tokens_N, whole.weight)
        positions_ND = embedding(packing.place_N % packing.longest, text.positional_embedding)
        x_ND = (embedded_ND + positions_ND).to(DTYPES[self.kernels.activations])
        *blocks, last = text.transformer.resblocks
        for block in blocks:
            x_ND = run_block(block, x_ND, self.kernels, packing=packing, checkpointing=self._checkpointing)
        pooled_U1D = run_block(
            last, x_ND, self.kernels, packing=packing, pooled_B=packing.ends_B, checkpointing=self._checkpointing
        )
        features_UD: torch.Tensor = text.ln_final(pooled_U1D[:, 0].float())
        if isinstance(text.text_projection, nn.Module):
            features_UD = text.text_projection(features_UD)
        elif text.text_projection is not None:
            features_UD = features_UD @ text.text_projection
        return features_UD

    def _used(self, captions: Sequence[str]) -> set[int]:
        """Return the tokens of all captions, in parts, since published captions may be millions of sentences."""
        distinct = list(dict.fromkeys(captions))
        used: set[int] = set()
        for start in range(0, len(distinct), _TOKENIZED_AT_ONCE):
            part = distinct[start : start + _TOKENIZED_AT_ONCE]
            self._tokenize(part)
            used.update(torch.cat([self._tokens[caption] for caption in part]).tolist())
        return used

    def _tokenize(self, captions: Sequence[str]) -> None:
        if len(self._tokens) > _KEPT:
            self._tokens.clear()
        missing = [caption for caption in dict.fromkeys(captions) if caption not in self._tokens]
        for caption, tokens_T in zip(missing, self._tokenizer(missing) if missing else (), strict=True):
            length = len(tokens_T) if self._text is None else _end(self._text, tokens_T) + 1
            self._tokens[caption] = tokens_T[:length].clone()

    @torch.no_grad()
    def _agrees(self, captions: Sequence[str]) -> bool:
        """Return True if some captions, cut and computed by us, have the features of the model's own forward."""
        sample = list(dict.fromkeys(captions))[:4] or ["an animal"]
        self._tokenize(sample)
        theirs_UD = self._model[0].encode_text(self._tokenizer(sample).to(self._device))
        return agree(self._cut_forward(self._text, sample), theirs_UD)

    @property
    def _device(self) -> torch.device:
        return self._model[0].logit_scale.device  # type: ignore[no-any-return]


def _causal_text(model: Any) -> Any:
    """Return the module with the parts of CLIP's own causal text transformer, in which nothing behind the end reaches a feature."""
    text = model if isinstance(model, CLIP) else getattr(model, "text", None)
    if not isinstance(text, (CLIP, TextTransformer)) or getattr(text, "attn_mask", None) is None:
        return None
    if getattr(text, "cls_emb", None) is not None or getattr(text, "use_pad_mask", False):
        return None
    return text if _pool_type(text) in {"argmax", "eos"} and hasattr(text.transformer, "resblocks") else None


def _end(text: Any, tokens_T: torch.Tensor) -> int:
    """Return the place of the end-of-text token, whose output is the caption's feature."""
    if _pool_type(text) == "eos":
        return int((tokens_T == (text.text_eos_id if isinstance(text, CLIP) else text.eos_id)).int().argmax())
    return int(tokens_T.argmax())  # it has the highest number


def _pool_type(text: Any) -> str:
    return str(text.text_pool_type if isinstance(text, CLIP) else text.pool_type)
