"""The losses of a step over the features of a whole batch: ``clip``, ``taxon`` (hierarchy-aware) and ``siglip``.

A process answers for some ``rows`` of the batch: its images against all texts and its texts against all images. With
parts of equal size, the mean over the processes of these local losses is the loss of the whole batch, exactly. Features
come in as L2-normalised fp32; ``taxa_B`` and ``captions_B`` are integer ids, equal where the taxon or the text is equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_ALL = slice(None)


def clip_loss(
    images_BD: torch.Tensor, texts_BD: torch.Tensor, log_scale: torch.Tensor, *, rows: slice | None = None
) -> torch.Tensor:
    """Each image picks its text among all and each text its image (Radford et al. 2021); open_clip's ``ClipLoss``."""
    import torch

    scale, part = log_scale.exp(), rows or _ALL
    target_R = torch.arange(len(images_BD), device=images_BD.device)[part]
    cross_entropy = torch.nn.functional.cross_entropy
    to_texts = cross_entropy(scale * images_BD[part] @ texts_BD.T, target_R)
    to_images = cross_entropy(scale * texts_BD[part] @ images_BD.T, target_R)
    return (to_texts + to_images) / 2


def taxon_loss(
    images_BD: torch.Tensor,
    texts_BD: torch.Tensor,
    log_scale: torch.Tensor,
    taxa_B: torch.Tensor,
    captions_B: torch.Tensor,
    *,
    rows: slice | None = None,
    adjust_B: torch.Tensor | None = None,
    related_BB: torch.Tensor | None = None,
) -> torch.Tensor:
    """The same with every image and caption of one taxon as positives of each other, weighted equally (Khosla et al. 2020).

    A caption that is true of an image without being of its taxon (the same words, or ``related_BB``: row an image, column
    a caption, as "family Sapindaceae" for a maple) is neither a positive nor a negative. Where all taxa and captions
    differ this is :func:`clip_loss`.

    Args:
        adjust_B: added to the logits of each text when an image picks; the logarithm of how frequent its taxon is makes
            rare taxa count as much as common ones (logit adjustment, Menon et al. 2021).
    """
    scale, part = log_scale.exp(), rows or _ALL
    same_RB, open_RB, open_by_text_RB = _relations(taxa_B, captions_B, related_BB, part)
    logits_RB = scale * images_BD[part] @ texts_BD.T
    if adjust_B is not None:
        logits_RB = logits_RB + adjust_B
    to_texts = _many_positives(logits_RB, same_RB, open_RB)
    to_images = _many_positives(scale * texts_BD[part] @ images_BD.T, same_RB, open_by_text_RB)
    return (to_texts + to_images) / 2


def siglip_loss(
    images_BD: torch.Tensor,
    texts_BD: torch.Tensor,
    log_scale: torch.Tensor,
    bias: torch.Tensor,
    taxa_B: torch.Tensor,
    captions_B: torch.Tensor,
    *,
    rows: slice | None = None,
    related_BB: torch.Tensor | None = None,
) -> torch.Tensor:
    """Each pair of an image and a text is true or false on its own (Zhai et al. 2023); open_clip's ``SigLipLoss``.

    Pairs of one taxon are true; pairs that are true in another way (see :func:`taxon_loss`) are left out.
    """
    import torch

    part = rows or _ALL
    same_RB, open_RB, _ = _relations(taxa_B, captions_B, related_BB, part)
    logits_RB = log_scale.exp() * images_BD[part] @ texts_BD.T + bias
    signed_RB = torch.where(same_RB, logits_RB, -logits_RB)
    losses_RB = -torch.nn.functional.logsigmoid(signed_RB).masked_fill(open_RB, 0.0)
    return losses_RB.sum() / len(losses_RB)


def duplicate_share(captions_B: torch.Tensor) -> float:
    """The share of a batch's captions, 0 to 1, that repeat an earlier one of it: what ``clip`` counts as false negatives."""
    return 1 - len(set(captions_B.tolist())) / max(len(captions_B), 1)


def _relations(
    taxa_B: torch.Tensor, captions_B: torch.Tensor, related_BB: torch.Tensor | None, part: slice
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of the rows in hand against the whole batch: of one taxon; and true, but not of it, seen from image and from text."""
    same_RB = taxa_B[part, None] == taxa_B[None, :]
    one_text_RB = captions_B[part, None] == captions_B[None, :]
    if related_BB is None:
        open_RB = one_text_RB & ~same_RB
        return same_RB, open_RB, open_RB
    return same_RB, (one_text_RB | related_BB[part]) & ~same_RB, (one_text_RB | related_BB.T[part]) & ~same_RB


def _many_positives(logits_RB: torch.Tensor, same_RB: torch.Tensor, open_RB: torch.Tensor) -> torch.Tensor:
    """Cross-entropy against a target that is uniform over the positives, without the columns left open."""
    import torch

    log_p_RB = torch.log_softmax(logits_RB.masked_fill(open_RB, float("-inf")), dim=1)
    # where(), since 0 times the -inf of an open column is NaN
    return -(torch.where(same_RB, log_p_RB, 0.0).sum(dim=1) / same_RB.sum(dim=1)).mean()
