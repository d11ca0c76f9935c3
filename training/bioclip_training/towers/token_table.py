"""The rows of a token embedding that a run's captions use: those alone are parameters, the others stay as they are.

This is exact, since a row that no caption uses has no gradient and embeddings have no weight decay: AdamW would leave it.
Of CLIP's 49,408 rows a collection uses a few hundred to a few thousand; the rest is a sixth of ViT-B/32's weights.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn


class TokenTable(nn.Module):
    """A compact copy of the used rows of an embedding of V tokens."""

    _compact_V: torch.Tensor

    def __init__(self, weight_VD: torch.Tensor, used: Iterable[int]) -> None:
        super().__init__()
        self.used = sorted(set(used))
        chosen = torch.tensor(self.used, dtype=torch.long)
        self.rows = nn.Parameter(weight_VD.detach()[chosen.to(weight_VD.device)].clone())
        compact_V = torch.full((len(weight_VD),), -1, dtype=torch.long)
        compact_V[chosen] = torch.arange(len(self.used))
        self.register_buffer("_compact_V", compact_V.to(weight_VD.device), persistent=False)

    def forward(self, tokens_BT: torch.Tensor, whole_VD: torch.Tensor) -> torch.Tensor:
        """The embeddings B×T×D of tokens as the tokenizer numbers them.

        Tokens outside the table are looked up in ``whole_VD``, which is right for encoding other captions and would be
        wrong in training: their rows would not be trained.
        """
        compact_BT = self._compact_V[tokens_BT]
        unknown_BT = compact_BT < 0
        if not bool(unknown_BT.any()):
            return nn.functional.embedding(compact_BT, self.rows)
        assert not torch.is_grad_enabled(), "a caption that was not named beforehand is trained on"
        known_BTD = nn.functional.embedding(compact_BT.clamp_min(0), self.rows)
        return torch.where(unknown_BT[..., None], nn.functional.embedding(tokens_BT, whole_VD), known_BTD)

    def fill(self, whole_VD: torch.Tensor) -> None:
        """Take the rows of a whole embedding."""
        self.rows.detach().copy_(whole_VD[torch.tensor(self.used, device=whole_VD.device)])

    def restored(self, whole_VD: torch.Tensor) -> torch.Tensor:
        """The whole embedding V×D with the trained rows in their places, on the device and of the type of ``whole_VD``."""
        filled_VD = whole_VD.detach().clone()
        filled_VD[torch.tensor(self.used, device=filled_VD.device)] = self.rows.detach().to(filled_VD)
        return filled_VD
