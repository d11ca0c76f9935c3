"""The curves of a training run as one PNG: loss, accuracy on ``dev``, learning rate, speed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bioclip_training.loop.checkpoint import whole


def draw_curves(lines: Sequence[dict[str, Any]], file: Path) -> bool:
    """Draw what a run wrote down; False where matplotlib (extra ``train``) is not installed.

    Args:
        lines: of ``metrics.jsonl``.
        file: the PNG.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return False
    steps = [line for line in lines if line["kind"] == "step"]
    validations = [line for line in lines if line["kind"] == "validation"]
    # A figure with a canvas of its own leaves the host's matplotlib as it is.
    figure = Figure(figsize=(11, 7), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 2)
    _loss(axes[0][0], steps, validations)
    _accuracy(axes[0][1], validations)
    axes[1][0].plot(_column(steps, "step"), _column(steps, "learning_rate"))
    axes[1][0].set(title="learning rate", xlabel="step")
    axes[1][1].plot(_column(steps, "step"), _column(steps, "samples_per_s"), linewidth=0.6)
    axes[1][1].set(title="samples/s", xlabel="step", ylim=(0, None))
    with whole(file) as draft:
        figure.savefig(draft, format="png", dpi=110)
    return True


def _loss(axis: Any, steps: Sequence[dict[str, Any]], validations: Sequence[dict[str, Any]]) -> None:
    places, losses = _column(steps, "step"), _column(steps, "loss")
    axis.plot(places, losses, linewidth=0.4, alpha=0.5)
    axis.plot(places, _smoothed(losses), label="training, smoothed")
    axis.plot(
        _column(validations, "step"), _column(validations, "nll"), marker=".", label="dev, -log p of the own taxon"
    )
    axis.set(title="loss", xlabel="step", ylim=(0, None))
    axis.legend()


def _accuracy(axis: Any, validations: Sequence[dict[str, Any]]) -> None:
    places = _column(validations, "step")
    axis.plot(places, _column(validations, "top1"), marker=".", label="own taxon")
    for rank in ("genus", "family"):
        values = [line["by_rank"].get(rank) for line in validations]
        if any(value is not None for value in values):
            axis.plot(places, values, linewidth=0.8, label=rank)
    best = [line for line in validations if line.get("best_so_far")]
    if best:
        axis.axvline(best[-1]["step"], linewidth=0.6, linestyle="--", color="grey")
    axis.set(title="top-1 on dev", xlabel="step", ylim=(0, 1))
    if validations:
        axis.legend()


def _column(lines: Sequence[dict[str, Any]], name: str) -> list[float]:
    return [line[name] for line in lines]


def _smoothed(values: Sequence[float]) -> list[float]:
    """A running mean that follows within some twenty steps."""
    out: list[float] = []
    for value in values:
        out.append(value if not out else 0.95 * out[-1] + 0.05 * value)
    return out
