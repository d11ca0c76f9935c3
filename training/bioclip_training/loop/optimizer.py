"""AdamW with its groups, the learning rate of each step, clipping, and the running average of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bioclip_training.loop.recipe import TrainConfig

if TYPE_CHECKING:
    import torch

    from bioclip_training.towers.model import Towers


_PROJECTIONS = frozenset(
    {"visual.proj", "visual.attnpool.c_proj.weight", "visual.attnpool.c_proj.bias", "visual.head.proj.weight"}
)


def learning_rate(config: TrainConfig, step: int, total: int) -> float:
    """The rate of step 0 to total - 1: a straight rise to ``config.learning_rate``, then half a cosine down to nearly zero."""
    rise = config.warmup * total if config.warmup < 1 else config.warmup
    rise = min(round(rise), total)
    assert config.learning_rate is not None, "settled() comes first"
    if step < rise:
        return config.learning_rate * (step + 1) / rise
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(total - rise, 1)))


def of_trunk(name: str) -> bool:
    """Whether a parameter is the vision tower's, but not of its projection into the space of captions."""
    return name.startswith("visual.") and name not in _PROJECTIONS and ".lora_" not in name


class Optimizer:
    """What a step does to a model's trainable parameters once their gradients are there."""

    def __init__(self, towers: Towers, config: TrainConfig, total_steps: int) -> None:
        import torch

        self._config, self._total = config, total_steps
        trainable = towers.trainable()
        self._parameters: list[torch.Tensor] = [item.parameter for item in trainable]
        groups = [
            {
                "params": [
                    item.parameter for item in trainable if item.decayed == decayed and of_trunk(item.name) == trunk
                ],
                "weight_decay": config.weight_decay if decayed else 0.0,
                "share": (1.0 if config.trunk_rate is None else config.trunk_rate) if trunk else 1.0,
            }
            for decayed in (True, False)
            for trunk in (True, False)
        ]
        # One pass over the memory instead of one an operation.
        self._adam = torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=learning_rate(config, 0, total_steps),
            betas=config.betas,
            eps=config.eps,
            fused=True,
        )
        self._average = [value.detach().clone() for value in self._parameters] if config.average else []

    def step(self, step: int) -> float:
        """Clip the gradients and apply them as step number ``step``; the gradients are gone afterwards.

        Returns:
            The norm of all gradients together before clipping. If it is not a finite number nothing was applied.
        """
        import torch

        gradients = [value.grad for value in self._parameters if value.grad is not None]
        norm = float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))) if gradients else 0.0
        if math.isfinite(norm):
            limit = self._config.clip_norm
            if limit and norm > limit:
                torch._foreach_mul_(gradients, limit / norm)
            for group in self._adam.param_groups:
                group["lr"] = group["share"] * learning_rate(self._config, step, self._total)
            self._adam.step()
            if self._average:
                with torch.no_grad():
                    torch._foreach_lerp_(self._average, self._parameters, 1 - self._config.average)
        self.zero_grad()
        return norm

    @property
    def groups(self) -> list[list[torch.Tensor]]:
        """The parameters in the order in which ``state_dict()["adam"]`` numbers them, those that decay first."""
        return [list(group["params"]) for group in self._adam.param_groups]

    def zero_grad(self) -> None:
        """Forget all gradients."""
        self._adam.zero_grad(set_to_none=True)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """While open, the model has the running average of its weights; without an average, its own."""
        import torch

        kept = [value.detach().clone() for value in self._parameters] if self._average else []
        with torch.no_grad():
            for parameter, average in zip(self._parameters, self._average, strict=False):
                parameter.copy_(average)
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, own in zip(self._parameters, kept, strict=False):
                    parameter.copy_(own)

    def state_dict(self) -> dict[str, Any]:
        """Moments, step counts and averages, for an exact resume."""
        return {"adam": self._adam.state_dict(), "average": list(self._average)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave."""
        import torch

        self._adam.load_state_dict(state["adam"])
        with torch.no_grad():
            for here, there in zip(self._average, state["average"], strict=True):
                here.copy_(there)
