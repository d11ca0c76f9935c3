"""AdamW with its parameter groups, the learning rate of each step, clipping, and the running average of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from bioclip_training.loop.recipe import TrainConfig
from bioclip_training.towers.model import Towers

_PROJECTIONS = frozenset(
    {"visual.proj", "visual.attnpool.c_proj.weight", "visual.attnpool.c_proj.bias", "visual.head.proj.weight"}
)


def learning_rate(config: TrainConfig, step: int, total: int) -> float:
    """Return the rate of a step, 0 to total - 1: a straight rise to ``config.learning_rate``, then half a cosine to nearly 0."""
    rise = min(round(config.warmup * total if config.warmup < 1 else config.warmup), total)
    assert config.learning_rate is not None, "settled() comes first"
    if step < rise:
        return config.learning_rate * (step + 1) / rise
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(total - rise, 1)))


def of_trunk(name: str) -> bool:
    """Return True if a parameter belongs to the vision tower, but not to its projection into the space of captions."""
    return name.startswith("visual.") and name not in _PROJECTIONS and ".lora_" not in name


class Optimizer:
    """The change that a step makes to a model's trainable parameters, given their gradients."""

    def __init__(self, towers: Towers, config: TrainConfig, total_steps: int) -> None:
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
        self._adam = torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=learning_rate(config, 0, total_steps),
            betas=config.betas,
            eps=config.eps,
            fused=True,  # one pass over the memory instead of one per operation
        )
        self._average = [value.detach().clone() for value in self._parameters] if config.average else []

    def step(self, step: int) -> float:
        """Clip the gradients, apply them as step number ``step``, and drop them.

        Returns:
            The norm of all gradients together before clipping. If it is not a finite number, nothing was applied.
        """
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

    def zero_grad(self) -> None:
        """Drop all gradients."""
        self._adam.zero_grad(set_to_none=True)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Give the model the running average of its weights while open; without an average it keeps its own."""
        own = [value.detach().clone() for value in self._parameters] if self._average else []
        self._take(self._average)
        try:
            yield
        finally:
            self._take(own)

    @torch.no_grad()
    def _take(self, values: list[torch.Tensor]) -> None:
        for parameter, value in zip(self._parameters, values, strict=False):  # none without an average
            parameter.copy_(value)

    def state_dict(self) -> dict[str, Any]:
        """Return moments, step counts and averages, for an exact resume."""
        return {"adam": self._adam.state_dict(), "average": list(self._average)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the result of :meth:`state_dict`."""
        self._adam.load_state_dict(state["adam"])
        for average, stored in zip(self._average, state["average"], strict=True):
            average.copy_(stored)
