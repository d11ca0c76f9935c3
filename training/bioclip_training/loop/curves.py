"""The curves of a training run as one PNG: loss, accuracy on ``dev``, learning rate, speed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from bioclip_core.process.quiet import importing, quiet
from bioclip_training.loop.checkpoint import checkpoint_file

Lines = Sequence[dict[str, Any]]
_MARGINS = {"left": 0.07, "right": 0.98, "bottom": 0.07, "top": 0.95, "wspace": 0.19, "hspace": 0.3}
"""Room around and between the axes, in shares of the figure and of an axis; a layout that is computed takes as long as the drawing."""


def draw_curves(lines: Lines, file: Path) -> bool:
    """Draw the record of a run; return False if matplotlib (extra ``train``) is not installed.

    Args:
        lines: of ``metrics.jsonl``.
        file: the PNG.
    """
    try:
        with importing():
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure
    except ImportError:
        return False
    with quiet():
        _draw(Figure(figsize=(11, 7)), FigureCanvasAgg, lines, file)
    return True


def _draw(figure: Any, canvas: Any, lines: Lines, file: Path) -> None:
    steps = [line for line in lines if line["kind"] == "step"]
    validations = [line for line in lines if line["kind"] == "validation"]
    # A figure with a canvas of its own leaves the host's matplotlib as it is.
    canvas(figure)
    (loss, accuracy), (rate, speed) = figure.subplots(2, 2, gridspec_kw=_MARGINS)
    _draw_loss(loss, steps, validations)
    _draw_accuracy(accuracy, validations)
    rate.plot(_column(steps, "step"), _column(steps, "learning_rate"))
    rate.set(title="learning rate", xlabel="step")
    speed.plot(_column(steps, "step"), _column(steps, "samples_per_s"), linewidth=0.6)
    speed.set(title="samples/s", xlabel="step", ylim=(0, None))
    with checkpoint_file(file) as draft:
        figure.savefig(draft, format="png", dpi=110)


def _draw_loss(axis: Any, steps: Lines, validations: Lines) -> None:
    places, losses = _column(steps, "step"), _column(steps, "loss")
    smoothed = list(accumulate(losses, lambda mean, loss: 0.95 * mean + 0.05 * loss))  # follows within some 20 steps
    axis.plot(places, losses, linewidth=0.4, alpha=0.5)
    axis.plot(places, smoothed, label="training, smoothed")
    label = "dev, -log p of the own taxon"
    axis.plot(_column(validations, "step"), _column(validations, "nll"), marker=".", label=label)
    axis.set(title="loss", xlabel="step", ylim=(0, None))
    axis.legend()


def _draw_accuracy(axis: Any, validations: Lines) -> None:
    places = _column(validations, "step")
    axis.plot(places, _column(validations, "top1"), marker=".", label="own taxon")
    for rank in ("genus", "family"):
        if any(rank in line["by_rank"] for line in validations):
            axis.plot(places, [line["by_rank"].get(rank) for line in validations], linewidth=0.8, label=rank)
    if best := [line["step"] for line in validations if line.get("best_so_far")]:
        axis.axvline(best[-1], linewidth=0.6, linestyle="--", color="grey")
    images = validations[-1]["images"] if validations else 0
    axis.set(title=f"top-1 on dev ({images} images)", xlabel="step", ylim=(0, 1))
    if validations:
        axis.legend()


def _column(lines: Lines, name: str) -> list[float]:
    return [line[name] for line in lines]
