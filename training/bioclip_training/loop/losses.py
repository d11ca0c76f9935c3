"""The losses of a step over the features of a whole batch: ``clip``, ``taxon`` (hierarchy-aware) and ``siglip``.

A process computes the loss of some ``rows`` of the batch: its images against all texts and its texts against all images.
With parts of equal size, the mean of these local losses over the processes is exactly the loss of the whole batch. Features
are L2-normalised fp32; ``taxa_B`` and ``captions_B`` are integer ids, equal where the taxon or the text is equal.
"""

from __future__ import annotations

import torch
from torch.nn import functional

_ALL = slice(None)


def clip_loss(
    images_BD: torch.Tensor, texts_BD: torch.Tensor, log_scale: torch.Tensor, *, rows: slice = _ALL
) -> torch.Tensor:
    """Return the loss with which each image picks its text among all and each text its image.

    Source: Radford et al. 2021; equal to open_clip's ``ClipLoss``.
    """
    scale = log_scale.exp()
    target_R = torch.arange(len(images_BD), device=images_BD.device)[rows]
    to_texts = functional.cross_entropy(scale * images_BD[rows] @ texts_BD.T, target_R)
    to_images = functional.cross_entropy(scale * texts_BD[rows] @ images_BD.T, target_R)
    return (to_texts + to_images) / 2


def taxon_loss(
    images_BD: torch.Tensor,
    texts_BD: torch.Tensor,
    log_scale: torch.Tensor,
    taxa_B: torch.Tensor,
    captions_B: torch.Tensor,
    *,
    rows: slice = _ALL,
    adjust_B: torch.Tensor | None = None,
    related_BB: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the CLIP loss with all images and captions of one taxon as positives of each other, weighted equally.

    A caption that is true of an image of another taxon (equal words, or ``related_BB``) is neither a positive nor a negative.
    Where all taxa and captions differ this is :func:`clip_loss`. Source: supervised contrastive learning, Khosla et al. 2020.

    Args:
        adjust_B: added to the logits of each text when an image picks. The logarithm of the frequency of its taxon gives rare
            taxa the weight of common ones (logit adjustment, Menon et al. 2021).
        related_BB: True where the caption of the column is true of the image of the row, as "family Sapindaceae" for a maple.
    """
    scale = log_scale.exp()
    same_RB, open_RB, open_by_text_RB = _relations(taxa_B, captions_B, related_BB, rows)
    logits_RB = scale * images_BD[rows] @ texts_BD.T
    if adjust_B is not None:
        logits_RB = logits_RB + adjust_B
    to_texts = _cross_entropy(logits_RB, same_RB, open_RB)
    to_images = _cross_entropy(scale * texts_BD[rows] @ images_BD.T, same_RB, open_by_text_RB)
    return (to_texts + to_images) / 2


def siglip_loss(
    images_BD: torch.Tensor,
    texts_BD: torch.Tensor,
    log_scale: torch.Tensor,
    bias: torch.Tensor,
    taxa_B: torch.Tensor,
    captions_B: torch.Tensor,
    *,
    rows: slice = _ALL,
    related_BB: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the loss for which each pair of an image and a text is true or false on its own.

    Pairs of one taxon are true; pairs that are true in another way (see :func:`taxon_loss`) do not count.
    Source: Zhai et al. 2023; with distinct captions equal to open_clip's ``SigLipLoss``.
    """
    same_RB, open_RB, _ = _relations(taxa_B, captions_B, related_BB, rows)
    logits_RB = log_scale.exp() * images_BD[rows] @ texts_BD.T + bias
    signed_RB = torch.where(same_RB, logits_RB, -logits_RB)
    losses_RB = -functional.logsigmoid(signed_RB).masked_fill(open_RB, 0.0)
    return losses_RB.sum() / len(losses_RB)


def _relations(
    taxa_B: torch.Tensor, captions_B: torch.Tensor, related_BB: torch.Tensor | None, rows: slice
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the pairs of one taxon, and the pairs that are true without it: from images to texts, and from texts to images."""
    same_RB = taxa_B[rows, None] == taxa_B[None, :]
    true_RB = by_text_RB = captions_B[rows, None] == captions_B[None, :]
    if related_BB is not None:
        true_RB, by_text_RB = true_RB | related_BB[rows], true_RB | related_BB.T[rows]
    return same_RB, true_RB & ~same_RB, by_text_RB & ~same_RB


def _cross_entropy(logits_RB: torch.Tensor, same_RB: torch.Tensor, open_RB: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy against a target that is uniform over the positives, without the open columns."""
    log_p_RB = torch.log_softmax(logits_RB.masked_fill(open_RB, float("-inf")), dim=1)
    # torch.where, since 0 times the -inf of an open column would be NaN
    return -(torch.where(same_RB, log_p_RB, 0.0).sum(dim=1) / same_RB.sum(dim=1)).mean()
