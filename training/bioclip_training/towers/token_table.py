"""The rows of a token embedding that a run's captions use: only they are parameters, the others stay as they are.

This is exact: a row that no caption uses gets neither gradient nor weight decay, so AdamW would not change it.
Of CLIP's 49,408 rows a collection uses a few hundred to a few thousand; the rest is a sixth of ViT-B/32's weights.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn import functional


class TokenTable(nn.Module):
    """A compact copy of the used rows of an embedding of V tokens."""

    _compact_V: torch.Tensor

    def __init__(self, weight_VD: torch.Tensor, used: Iterable[int]) -> None:
        super().__init__()
        self.used = sorted(set(used))
        chosen = torch.tensor(self.used, device=weight_VD.device)
        self.rows = nn.Parameter(weight_VD.detach()[chosen].clone())
        compact_V = torch.full((len(weight_VD),), -1, device=weight_VD.device)
        compact_V[chosen] = torch.arange(len(self.used), device=weight_VD.device)
        self.register_buffer("_compact_V", compact_V, persistent=False)

    def forward(self, tokens_N: torch.Tensor, whole_VD: torch.Tensor) -> torch.Tensor:
        """Return the embeddings N×D of tokens as the tokenizer numbers them.

        Tokens outside the table are looked up in ``whole_VD``. That is right for encoding other captions and would be wrong
        in training: their rows would not be trained.
        """
        compact_N = self._compact_V[tokens_N]
        unknown_N = compact_N < 0
        if not bool(unknown_N.any()):
            return functional.embedding(compact_N, self.rows)
        assert not torch.is_grad_enabled(), "training on a caption that was not named beforehand"
        known_ND = functional.embedding(compact_N.clamp_min(0), self.rows)
        return torch.where(unknown_N[..., None], functional.embedding(tokens_N, whole_VD), known_ND)

    def fill(self, whole_VD: torch.Tensor) -> None:
        """Take the rows from a whole embedding."""
        self.rows.detach().copy_(whole_VD[torch.tensor(self.used, device=whole_VD.device)])

    def restored(self, whole_VD: torch.Tensor) -> torch.Tensor:
        """Return the whole embedding V×D with the trained rows in their places, on the device and of the type of ``whole_VD``."""
        filled_VD = whole_VD.detach().clone()
        filled_VD[torch.tensor(self.used, device=filled_VD.device)] = self.rows.detach().to(filled_VD)
        return filled_VD
