"""Pictures of a report as PNG bytes: accuracy by rank, reliability, coverage against accuracy, confusions."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bioclip_training.evaluation.scores import Reliability

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _BLUE, _ORANGE, _GREY = "#1b1b1b", "#1f5a93", "#b4540a", "#8a8f94"
_DPI = 150
_LONGEST_NAME = 28


def accuracy_by_level(zero_shot: Mapping[str, Any]) -> bytes:
    """Draw top-1 with its interval and top-5 at every level."""
    figure, axes = new_figure(4.6, 3.6)
    levels = list(zero_shot)
    top1 = np.array([zero_shot[level]["top1"] for level in levels])
    low, high = np.array([zero_shot[level]["top1_ci95"] for level in levels], dtype=np.float64).T  # None becomes NaN
    x = np.arange(len(levels))
    axes.bar(x, top1, 0.6, color=_BLUE, label="right, with 95% interval")
    axes.errorbar(
        x, top1, yerr=np.clip([top1 - low, high - top1], 0, None), fmt="none", ecolor=_INK, capsize=3, linewidth=1
    )
    axes.plot(
        x, [zero_shot[level]["top5"] for level in levels], "o", color=_ORANGE, markersize=5, label="among the best five"
    )
    axes.set_xticks(x, levels, rotation=30, ha="right")
    axes.set(ylim=(0, 1.02), ylabel="share of images")
    return png_of(figure, legend_of=axes)


def learning_curve(curve: Mapping[str, Any]) -> bytes:
    """Draw the steps of a learning curve: each over its own taxa, so neighbouring steps need not meet."""
    figure, axes = new_figure(4.6, 3.6)
    kinds = (
        ("by_images", _BLUE, "o-", "images of each species"),
        ("by_share", _ORANGE, "s--", "25, 50, 100% of the labels"),
    )
    highest = 0.0
    for name, colour, style, label in kinds:
        for place, step in enumerate(curve[name]):
            x, y = [step["fewer_images"], step["more_images"]], [step["fewer_top1"], step["more_top1"]]
            axes.plot(x, y, style, color=colour, markersize=4, linewidth=1.2, label="" if place else label)
            highest = max(highest, *y)
    axes.set_xscale("log")
    ticks = sorted({step[end] for step in curve["by_images"] for end in ("fewer", "more")})
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set(
        ylim=(0, min(1.02, 1.15 * highest + 0.05)),
        xlabel="labelled images per species",
        ylabel="share of test images that is right",
    )
    return png_of(figure, legend_of=axes)


def reliability_diagram(found: Reliability) -> bytes:
    """Draw accuracy against probability, one point per bin."""
    figure, axes = new_figure(4.6, 4.6)
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1, label="perfect calibration")
    axes.vlines(found.probability_B, found.probability_B, found.accuracy_B, color=_ORANGE, linewidth=1, label="gap")
    axes.plot(
        found.probability_B, found.accuracy_B, "o-", color=_BLUE, markersize=4, linewidth=1, label="bins of equal mass"
    )
    axes.set(
        xlim=(0, 1), ylim=(0, 1), xlabel="probability of the best answer", ylabel="share that is right", aspect="equal"
    )
    return png_of(figure, legend_of=axes)


def coverage_curve(points: Sequence[Mapping[str, float]], finest: str, threshold: float) -> bytes:
    """Draw the accuracy of the consensus against the share of images that get one, over thresholds."""
    figure, axes = new_figure(4.6, 3.8)
    for name, colour, suffix in (("any rank", _BLUE, ""), (f"at {finest}", _ORANGE, f"_{finest}")):
        rows = [point for point in points if point[f"accuracy{suffix}"] is not None]
        x, y = ([point[f"{what}{suffix}"] for point in rows] for what in ("coverage", "accuracy"))
        axes.plot(x, y, "o-", color=colour, markersize=3, linewidth=1, label=f"consensus {name}")
        for point in rows:
            if point["threshold"] == threshold:
                place = (point[f"coverage{suffix}"], point[f"accuracy{suffix}"])
                axes.plot(*place, "o", color=colour, markersize=9, fillstyle="none")
                axes.annotate(f"{threshold:g}", place, textcoords="offset points", xytext=(6, 7), fontsize=8)
    axes.set(
        xlim=(0, 1.02),
        ylim=(0, 1.02),
        xlabel="share of images with a consensus (coverage)",
        ylabel="share of them that is right",
    )
    return png_of(figure, legend_of=axes)


def confusion_map(counts_TA: NDArray[np.float64], truths: Sequence[str], answers: Sequence[str]) -> bytes:
    """Draw the shares of each true taxon's images (rows) that were answered with each taxon (columns)."""
    width, height = (0.23 * max(len(names), 8) for names in (answers, truths))
    figure, axes = new_figure(min(2.6 + width, 11), min(2.2 + height, 11))
    shown = axes.imshow(counts_TA, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(np.arange(len(answers)), [short_label(name) for name in answers], rotation=90, fontsize=7)
    axes.set_yticks(np.arange(len(truths)), [short_label(name) for name in truths], fontsize=7)
    axes.set(xlabel="answer", ylabel="truth")
    figure.colorbar(shown, ax=axes, shrink=0.6, label="share of the true taxon's images")
    return png_of(figure)


def new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure of a size in inches with one pair of axes, without the state of pyplot."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")  # pyplot's would change the state of the process
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def short_label(name: str) -> str:
    """Return a name for an axis: cut if it is long, and with dollar signs as they are."""
    name = name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
    return name.replace("$", r"\$")  # matplotlib would read it as mathematics


def png_of(figure: Figure, *, legend_of: Axes | None = None) -> bytes:
    """Return a figure as PNG with a transparent ground, with the legend of some axes below it."""
    if legend_of is not None:
        legend_of.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, frameon=False, fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, transparent=True)
    return buffer.getvalue()
