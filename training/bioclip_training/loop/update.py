"""One optimiser step: features of a batch, the loss over all processes' features, and the gradient back through the towers.

The loss is taken of features, not of images: they are gathered from all processes and all parts of the batch first, and
its gradient with respect to them is what each part is propagated back with. So a batch that is computed in parts, or by
several processes, has the negatives and the gradient of the whole batch (the idea of GradCache, Gao et al. 2021).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bioclip_training.loop.distributed import World
from bioclip_training.loop.recipe import TrainConfig

if TYPE_CHECKING:
    import torch

    from bioclip_training.batches.stream import Batch
    from bioclip_training.towers.model import Towers


SCALARS = frozenset({"logit_scale", "logit_bias"})
"""Parameters of the loss itself; their gradients come with it, not through the towers."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two sources of a step: the data itself, or the replay beside it. Each has a loss of its own."""

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
    """Which taxa of a source are ancestors of which: a caption of one's ancestor is true of it, and no negative."""

    def __init__(self, lineages: Sequence[tuple[str, ...]]) -> None:
        place = {_trimmed(lineage): number for number, lineage in enumerate(lineages)}
        self._of = {
            number: found
            for number, lineage in enumerate(lineages)
            if (found := frozenset(place[up] for up in _prefixes(_trimmed(lineage)) if up in place))
        }

    def related(self, taxa_B: NDArray[np.int64]) -> NDArray[np.bool_] | None:
        """B×B: whether one is the other's ancestor; None where no taxon of the source is."""
        if not self._of:
            return None
        related_BB = np.zeros((len(taxa_B), len(taxa_B)), dtype=bool)
        for row, taxon in enumerate(taxa_B.tolist()):
            if taxon in self._of:
                related_BB[row] = np.isin(taxa_B, list(self._of[taxon]))
        symmetric: NDArray[np.bool_] = related_BB | related_BB.T
        return symmetric


def _trimmed(lineage: tuple[str, ...]) -> tuple[str, ...]:
    """A lineage without the empty names at its end."""
    end = max((place + 1 for place, name in enumerate(lineage) if name), default=0)
    return lineage[:end]


def _prefixes(lineage: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [_trimmed(lineage[:end]) for end in range(1, len(lineage)) if _trimmed(lineage[:end]) != lineage]


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
    import torch

    parts = _parts(data.batch, replay.batch if replay else None, config.accumulate)
    if len(parts) == 1:
        seed(0)
        computed = _forward(towers, parts[0])
        features = computed
    else:
        with torch.no_grad():
            features = _joined([_seeded_forward(towers, part, number, seed) for number, part in enumerate(parts)])
    loss, gradients = _loss_of_features(towers, features, parts, data, replay, config, world)
    if len(parts) == 1:
        computed.backward(gradients)
    else:
        for number, part in enumerate(parts):
            _seeded_forward(towers, part, number, seed).backward(gradients.of_part(part))
    parameters = [item.parameter for item in towers.trainable() if item.name not in SCALARS]
    for parameter in parameters:  # every process must add up the same ones
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    world.sum_([parameter.grad for parameter in parameters if parameter.grad is not None])
    return loss


@dataclass(frozen=True, slots=True)
class _Part:
    """What is computed at once: images of the data, then of the replay; and captions, each once."""

    images_BHWC: torch.Tensor
    replay_from: int
    """The first replay image."""
    captions: tuple[str, ...]
    data_rows: slice
    replay_rows: slice
    caption_rows: slice


@dataclass(slots=True)
class _Features:
    """Features of data images, replay images and distinct captions; or the gradient with respect to them."""

    data_BD: torch.Tensor
    replay_BD: torch.Tensor
    captions_UD: torch.Tensor

    def of_part(self, part: _Part) -> _Features:
        return _Features(
            self.data_BD[part.data_rows], self.replay_BD[part.replay_rows], self.captions_UD[part.caption_rows]
        )

    def backward(self, gradient: _Features) -> None:
        """Propagate back through whatever made these features."""
        import torch

        pairs = [
            (features, grad)
            for features, grad in (
                (self.data_BD, gradient.data_BD), (self.replay_BD, gradient.replay_BD), (self.captions_UD, gradient.captions_UD),
            )
            if features.requires_grad and len(features)
        ]  # fmt: skip
        if pairs:
            torch.autograd.backward([features for features, _ in pairs], [grad for _, grad in pairs])


def _parts(data: Batch, replay: Batch | None, count: int) -> list[_Part]:
    """Cut a step into parts of about equal size."""
    import torch

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
        parts.append(_Part(both, size, captions[of_captions], of_data, of_replay, of_captions))
    return parts


def _forward(towers: Towers, part: _Part) -> _Features:
    images_BD = towers.image_features(part.images_BHWC, replay_from=part.replay_from)
    # Fewer captions than parts leave a part without any.
    captions_UD = towers.text_features(part.captions) if part.captions else images_BD[:0].detach()
    return _Features(images_BD[: part.replay_from], images_BD[part.replay_from :], captions_UD)


def _seeded_forward(towers: Towers, part: _Part, number: int, seed: Callable[[int], None]) -> _Features:
    seed(number)
    return _forward(towers, part)


def _joined(parts: list[_Features]) -> _Features:
    import torch

    return _Features(
        torch.cat([part.data_BD for part in parts]), torch.cat([part.replay_BD for part in parts]),
        torch.cat([part.captions_UD for part in parts]),
    )  # fmt: skip


def _loss_of_features(
    towers: Towers,
    features: _Features,
    parts: list[_Part],
    data: Side,
    replay: Side | None,
    config: TrainConfig,
    world: World,
) -> tuple[Loss, _Features]:
    """The loss of the step and its gradient with respect to this process's features; fills the logit scale's own."""
    import torch

    number = {text: row for row, text in enumerate(caption for part in parts for caption in part.captions)}
    gradient = _Features(
        torch.zeros_like(features.data_BD), torch.zeros_like(features.replay_BD), torch.zeros_like(features.captions_UD)
    )
    scalars = [
        parameter for parameter in (towers.log_scale, towers.bias) if parameter is not None and parameter.requires_grad
    ]
    scalar_gradients = [torch.zeros_like(parameter) for parameter in scalars]
    losses = []
    for side, images_BD, into_BD in (
        (data, features.data_BD, gradient.data_BD), (replay, features.replay_BD, gradient.replay_BD),
    ):  # fmt: skip
        if side is None:
            continue
        rows_B = torch.tensor([number[text] for text in side.batch.captions], device=images_BD.device)
        texts_BD = features.captions_UD.detach()[rows_B]
        loss, images_grad, texts_grad, scalars_grad = _side_loss(
            towers, side, images_BD.detach(), texts_BD, scalars, config, world
        )
        losses.append(loss)
        into_BD.copy_(side.weight * images_grad)
        gradient.captions_UD.index_add_(0, rows_B, side.weight * texts_grad)
        for total, own in zip(scalar_gradients, scalars_grad, strict=True):
            total += side.weight * own
    for parameter, total in zip(scalars, scalar_gradients, strict=True):
        parameter.grad = total if parameter.grad is None else parameter.grad + total
    total_loss = losses[0] * data.weight + (losses[1] * replay.weight if replay else 0.0)
    return Loss(total_loss, losses[0], losses[1] if replay else None), gradient


def _side_loss(
    towers: Towers, side: Side, images_BD: torch.Tensor, texts_BD: torch.Tensor, scalars: Sequence[torch.Tensor], config: TrainConfig,
    world: World,
) -> tuple[float, torch.Tensor, torch.Tensor, list[torch.Tensor]]:  # fmt: skip
    """One side's loss over all processes, and its gradient with respect to this process's features and the scalars."""
    import torch

    own = world.rows(len(images_BD))
    images_ND, texts_ND = (world.gathered(rows).requires_grad_() for rows in (images_BD, texts_BD))
    taxa_N = world.gathered(torch.from_numpy(side.batch.taxa_B).to(images_BD.device))
    captions_N = world.gathered(
        torch.tensor([caption_id(text) for text in side.batch.captions], device=images_BD.device)
    )
    loss = _chosen_loss(towers, side, images_ND, texts_ND, taxa_N, captions_N, own, config)
    gradients = [
        torch.zeros_like(wanted) if found is None else found
        for found, wanted in zip(
            torch.autograd.grad(loss, [images_ND, texts_ND, *scalars], allow_unused=True), [images_ND, texts_ND, *scalars], strict=True
        )
    ]  # fmt: skip
    summed = loss.detach().reshape(1).clone()
    world.sum_([*gradients, summed])
    images_grad, texts_grad, *scalars_grad = (found / world.size for found in gradients)
    return float(summed) / world.size, images_grad[own], texts_grad[own], scalars_grad


def _chosen_loss(
    towers: Towers, side: Side, images_ND: torch.Tensor, texts_ND: torch.Tensor, taxa_N: torch.Tensor, captions_N: torch.Tensor,
    own: slice, config: TrainConfig,
) -> torch.Tensor:  # fmt: skip
    import torch

    from bioclip_training.loop.losses import clip_loss, siglip_loss, taxon_loss

    if config.loss == "clip":
        return clip_loss(images_ND, texts_ND, towers.log_scale, rows=own)
    if config.loss == "siglip":
        assert towers.bias is not None, "the start gives the pairwise loss its bias"
        return siglip_loss(images_ND, texts_ND, towers.log_scale, towers.bias, taxa_N, captions_N, rows=own)
    device = images_ND.device
    related = side.ancestors.related(taxa_N.cpu().numpy())
    adjust_N = None
    if side.log_prior_C is not None:
        adjust_N = torch.from_numpy(side.log_prior_C).to(device)[taxa_N]
    return taxon_loss(
        images_ND, texts_ND, towers.log_scale, taxa_N, captions_N, rows=own, adjust_B=adjust_N,
        related_BB=None if related is None else torch.from_numpy(related).to(device),
    )  # fmt: skip


def caption_id(text: str) -> int:
    """A number for a caption that is the same in every process."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def log_priors(taxon_of_N: NDArray[np.int64], taxa: int) -> NDArray[np.float32]:
    """Natural logarithm of each taxon's share of the samples; a taxon without samples counts as half of one."""
    counts_C = np.maximum(np.bincount(taxon_of_N, minlength=taxa), 0.5)
    logs: NDArray[Any] = np.log(counts_C / counts_C.sum())
    return logs.astype(np.float32)
