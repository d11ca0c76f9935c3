"""One optimiser step: features of a batch, the loss over the features of all processes, and the gradient back to the weights.

The loss is a function of features, not of images: features are first gathered from all processes and all parts of the batch,
and each part is then propagated back with the gradient with respect to its features. So a batch that is computed in parts, or
by several processes, has the negatives and the gradient of the whole batch (the idea of GradCache, Gao et al. 2021).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.modules.batchnorm import _BatchNorm

from bioclip_training.batches.stream import Batch
from bioclip_training.loop.distributed import World
from bioclip_training.loop.losses import clip_loss, siglip_loss, taxon_loss
from bioclip_training.loop.recipe import TrainConfig
from bioclip_training.towers.model import SCALARS, Towers


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two batches of a step: of the data itself, or of the replay beside it. Each has a loss of its own."""

    batch: Batch
    weight: float
    log_prior_C: NDArray[np.float32] | None
    """Natural logarithm of each taxon's share, for logit adjustment."""
    ancestors: Ancestors


@dataclass(frozen=True, slots=True)
class Loss:
    """The losses of one step, over all processes."""

    total: float
    of_data: float
    of_replay: float | None


class Ancestors:
    """The ancestors of each taxon among the taxa of a source: the caption of an ancestor is true of a taxon, not a negative."""

    def __init__(self, lineages: Sequence[tuple[str, ...]]) -> None:
        number = {_trimmed(lineage): taxon for taxon, lineage in enumerate(lineages)}
        self._of: dict[int, list[int]] = {}
        for taxon, lineage in enumerate(map(_trimmed, lineages)):
            prefixes = {_trimmed(lineage[:end]) for end in range(1, len(lineage))} - {lineage}
            if found := [number[prefix] for prefix in prefixes if prefix in number]:
                self._of[taxon] = found

    def related(self, taxa_B: NDArray[np.int64]) -> NDArray[np.bool_] | None:
        """Return B×B pairs in which one taxon is an ancestor of the other; None if no taxon of the source has an ancestor."""
        if not self._of:
            return None
        related_BB = np.stack([np.isin(taxa_B, self._of.get(taxon, [])) for taxon in taxa_B.tolist()])
        symmetric: NDArray[np.bool_] = related_BB | related_BB.T
        return symmetric


def _trimmed(lineage: tuple[str, ...]) -> tuple[str, ...]:
    """Return a lineage without the empty names at its end."""
    return lineage[: max((place + 1 for place, name in enumerate(lineage) if name), default=0)]


def back_propagate(
    towers: Towers, data: Side, replay: Side | None, config: TrainConfig, world: World, seed: Callable[[int], None]
) -> Loss:
    """Fill the gradients of one step: every process ends with the gradient of the whole batch's loss.

    Args:
        towers: the model.
        data: this process's rows of the batch.
        replay: this process's rows of the replay batch.
        config: the recipe.
        world: the processes of the run.
        seed: seeds torch for a part, so that a part that is computed twice drops the same paths both times.
    """
    parts = _parts(data.batch, replay.batch if replay else None, config.accumulate)

    def forward(number: int) -> _Features:
        seed(number)
        return _features_of(towers, parts[number])

    if len(parts) == 1:
        features = forward(0)
    else:
        with torch.no_grad(), _kept_statistics(towers):
            done = [forward(number) for number in range(len(parts))]
        features = (
            torch.cat([d for d, _, _ in done]),
            torch.cat([r for _, r, _ in done]),
            torch.cat([c for _, _, c in done]),
        )
    captions = [caption for part in parts for caption in part.captions]
    loss, gradients = _loss_of_features(towers, features, captions, data, replay, config, world)
    if len(parts) == 1:
        _propagate(features, gradients)
    else:
        for number, part in enumerate(parts):
            _propagate(forward(number), [values[rows] for values, rows in zip(gradients, part.rows, strict=True)])
    of_towers = []
    for item in towers.trainable():
        if item.name not in SCALARS:  # their gradients come with the loss
            if item.parameter.grad is None:  # every process must add up the same ones
                item.parameter.grad = torch.zeros_like(item.parameter)
            of_towers.append(item.parameter.grad)
    world.sum_(of_towers)
    return loss


@contextmanager
def _kept_statistics(towers: Towers) -> Iterator[None]:
    """Keep the running statistics of batch normalisation while open: the pass with gradients counts each part once."""
    norms = [
        module for module in towers.model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats
    ]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


_Features = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Features of data images, replay images and distinct captions, each with rows of D; or the gradient with respect to them."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a step that is computed at once: images of the data, then of the replay; and captions, each once."""

    images_BHWC: torch.Tensor
    replay_from: int
    """Number of the first replay image."""
    captions: tuple[str, ...]
    rows: tuple[slice, slice, slice]
    """Rows of the data images, the replay images and the captions."""


def _propagate(features: _Features, gradients: Iterable[torch.Tensor]) -> None:
    """Propagate gradients back through the computation that made these features."""
    pairs = [
        (values, grad) for values, grad in zip(features, gradients, strict=True) if values.requires_grad and len(values)
    ]
    if pairs:
        torch.autograd.backward([values for values, _ in pairs], [grad for _, grad in pairs])


def _parts(data: Batch, replay: Batch | None, count: int) -> list[_Part]:
    """Cut a step into parts of about equal size."""
    images = torch.from_numpy(data.images_BHWC)
    others = torch.from_numpy(replay.images_BHWC) if replay else images[:0]
    captions = tuple(dict.fromkeys([*data.captions, *(replay.captions if replay else ())]))
    parts = []
    for number in range(count):
        of_data, of_replay, of_captions = (
            slice(len(rows) * number // count, len(rows) * (number + 1) // count) for rows in (images, others, captions)
        )
        both = torch.cat([images[of_data], others[of_replay]]) if len(others) else images[of_data]
        size = of_data.stop - of_data.start
        parts.append(_Part(both, size, captions[of_captions], (of_data, of_replay, of_captions)))
    return parts


def _features_of(towers: Towers, part: _Part) -> _Features:
    images_BD = towers.image_features(part.images_BHWC, replay_from=part.replay_from)
    # Fewer captions than parts leave a part without any.
    captions_UD = towers.text_features(part.captions) if part.captions else images_BD[:0].detach()
    return images_BD[: part.replay_from], images_BD[part.replay_from :], captions_UD


def _loss_of_features(
    towers: Towers,
    features: _Features,
    captions: Sequence[str],
    data: Side,
    replay: Side | None,
    config: TrainConfig,
    world: World,
) -> tuple[Loss, _Features]:
    """Return the loss of the step and its gradient with respect to this process's features; fill the gradients of the scalars."""
    number = {text: row for row, text in enumerate(captions)}
    data_BD, replay_BD, captions_UD = features
    gradient = torch.zeros_like(data_BD), torch.zeros_like(replay_BD), torch.zeros_like(captions_UD)
    scalars = [scalar for scalar in (towers.log_scale, towers.bias) if scalar is not None and scalar.requires_grad]
    scalar_gradients = [torch.zeros_like(scalar) for scalar in scalars]
    losses = []
    for side, images_BD, into_BD in ((data, data_BD, gradient[0]), (replay, replay_BD, gradient[1])):
        if side is None:
            continue
        rows_B = torch.tensor([number[text] for text in side.batch.captions], device=images_BD.device)
        texts_BD = captions_UD.detach()[rows_B]
        loss, (images_grad, texts_grad, *own) = _side_loss(
            towers, side, images_BD.detach(), texts_BD, scalars, config, world
        )
        losses.append(loss)
        into_BD.copy_(side.weight * images_grad)
        gradient[2].index_add_(0, rows_B, side.weight * texts_grad)
        for total, part in zip(scalar_gradients, own, strict=True):
            total += side.weight * part
    for scalar, total in zip(scalars, scalar_gradients, strict=True):
        scalar.grad = total if scalar.grad is None else scalar.grad + total
    of_data, of_replay = losses[0], losses[1] if replay else None
    total_loss = of_data * data.weight + (losses[1] * replay.weight if replay else 0.0)
    return Loss(total_loss, of_data, of_replay), gradient


def _side_loss(
    towers: Towers, side: Side, images_BD: torch.Tensor, texts_BD: torch.Tensor, scalars: Sequence[torch.Tensor], config: TrainConfig,
    world: World,
) -> tuple[float, list[torch.Tensor]]:  # fmt: skip
    """Return one side's loss over all processes, and its gradient with respect to this process's images, texts and the scalars."""
    own = world.rows(len(images_BD))
    images_ND, texts_ND = (world.gathered(rows).requires_grad_() for rows in (images_BD, texts_BD))
    loss = _chosen_loss(towers, side, images_ND, texts_ND, own, config, world)
    wanted = [images_ND, texts_ND, *scalars]
    gradients = [
        torch.zeros_like(values) if found is None else found
        for found, values in zip(torch.autograd.grad(loss, wanted, allow_unused=True), wanted, strict=True)
    ]
    summed = loss.detach().reshape(1).clone()
    world.sum_([*gradients, summed])
    images_grad, texts_grad, *of_scalars = (found / world.size for found in gradients)
    return float(summed) / world.size, [images_grad[own], texts_grad[own], *of_scalars]


def _chosen_loss(
    towers: Towers, side: Side, images_ND: torch.Tensor, texts_ND: torch.Tensor, own: slice, config: TrainConfig, world: World
) -> torch.Tensor:  # fmt: skip
    if config.loss == "clip":
        return clip_loss(images_ND, texts_ND, towers.log_scale, rows=own)
    device = images_ND.device
    taxa_N = world.gathered(torch.from_numpy(side.batch.taxa_B).to(device))
    captions_N = world.gathered(torch.tensor([_caption_id(text) for text in side.batch.captions], device=device))
    if config.loss == "siglip":
        assert towers.bias is not None, "the start gives the pairwise loss its bias"
        return siglip_loss(images_ND, texts_ND, towers.log_scale, towers.bias, taxa_N, captions_N, rows=own)
    related = side.ancestors.related(taxa_N.cpu().numpy())
    return taxon_loss(
        images_ND, texts_ND, towers.log_scale, taxa_N, captions_N, rows=own,
        adjust_B=None if side.log_prior_C is None else torch.from_numpy(side.log_prior_C).to(device)[taxa_N],
        related_BB=None if related is None else torch.from_numpy(related).to(device),
    )  # fmt: skip


def _caption_id(text: str) -> int:
    """Return a number for a caption that is the same in every process."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def log_priors(taxon_of_N: NDArray[np.int64], taxa: int) -> NDArray[np.float32]:
    """Return the natural logarithm of each taxon's share of the samples; a taxon without samples counts as half of one."""
    counts_C = np.maximum(np.bincount(taxon_of_N, minlength=taxa), 0.5)
    logs_C: NDArray[np.float32] = np.log(counts_C / counts_C.sum()).astype(np.float32)
    return logs_C
