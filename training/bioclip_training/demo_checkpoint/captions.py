"""The captions of a biosphere as tokens, one drawn a sample, and their encoding without padding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bioclip_core.captions import Caption, caption_of
from bioclip_core.taxonomy import Taxon
from bioclip_training.demo_checkpoint.recipe import CAPTION_MIX, END_OF_TEXT

if TYPE_CHECKING:
    import torch


class CaptionTable:
    """Every caption of every species as token ids, over the few tokens that occur (``used``, ascending)."""

    def __init__(self, taxa: tuple[Taxon, ...]) -> None:
        import open_clip

        entries = [(index, kind, caption_of(taxon, kind)) for index, taxon in enumerate(taxa) for kind in CAPTION_MIX]
        kept = [(index, kind, text) for index, kind, text in entries if text]
        tokens = open_clip.get_tokenizer("ViT-B-32")([text for _, _, text in kept]).numpy()
        # Ascending order keeps end-of-text the largest id, by which the text tower finds it.
        self.used, compact = np.unique(tokens, return_inverse=True)
        self.tokens = compact.reshape(tokens.shape)
        self.lengths = (tokens == END_OF_TEXT).argmax(axis=1) + 1
        self.taxon = np.array([index for index, _, _ in kept])
        self.rows = [
            {kind: row for row, (owner, kind, _) in enumerate(kept) if owner == index} for index in range(len(taxa))
        ]

    def draw(self, species: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The rows of the different captions of a batch, one caption drawn for each sample."""
        kinds = rng.choice(len(CAPTION_MIX), size=len(species), p=list(CAPTION_MIX.values()))
        names = list(CAPTION_MIX)
        drawn = [
            self.rows[index].get(names[kind], self.rows[index][Caption.TAXONOMIC])
            for index, kind in zip(species, kinds, strict=True)
        ]
        return np.unique(drawn)

    def of(self, kind: Caption) -> np.ndarray:
        """The rows of one kind, a species without it falling back to its taxonomic caption."""
        return np.array([rows.get(kind, rows[Caption.TAXONOMIC]) for rows in self.rows])


def encode_captions(model: Any, captions: CaptionTable, rows: np.ndarray) -> torch.Tensor:
    """Normalised features of captions, R×D, cut to the longest: exact, since the tower is causal and pools at end-of-text."""
    import torch
    from torch.nn import functional

    length = int(captions.lengths[rows].max())
    tokens = torch.from_numpy(captions.tokens[rows, :length])
    hidden = model.token_embedding(tokens) + model.positional_embedding[:length]
    hidden = model.ln_final(model.transformer(hidden, attn_mask=model.attn_mask[:length, :length]))
    pooled = hidden[torch.arange(len(rows)), tokens.argmax(dim=-1)]
    return functional.normalize(pooled @ model.text_projection, dim=-1)
