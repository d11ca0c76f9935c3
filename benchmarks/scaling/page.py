"""The page of the scaling study: a table of every figure at every size, its trend, and the pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scaling.cells import UNTRAINED, Size
from benchmarks.scaling.measuring import FIGURES, TRAINED, Figure, key_of
from benchmarks.scaling.trends import Trend, trend

Found = Mapping[int, Mapping[int, Mapping[str, Mapping[str, Any]]]]
"""Figures by seed of the world, size of the collection, and key."""

_KINDS = ("accuracy", "hierarchy", "between species", "within species")
_BLUE, _ORANGE, _GREY, _INK = "#1f5a93", "#b4540a", "#8a8f94", "#1b1b1b"


def values_of(found: Found, figure: Figure) -> dict[int, dict[int, float | None]]:
    """Return a figure's values by seed and size."""
    key = key_of(figure)
    return {seed: {size: cell[key]["value"] for size, cell in of_size.items()} for seed, of_size in found.items()}


def page(found: Found, size: Size, conclusion: str) -> str:
    """Return the page in Markdown.

    Args:
        found: the figures.
        size: the model and the sizes of the collections.
        conclusion: the conclusion in words, written by whoever looked at the figures; empty if nobody has yet.
    """
    sizes = [UNTRAINED, *size.sizes]
    lines = [
        "# Scaling study", "",
        f"How the structure of the space of features changes with the number of training images: {len(found)} invented worlds of "
        f"{size.species} species, nested random subsets of a long-tailed pool of plates, a small ResNet and text tower from random "
        f"weights, {size.steps:,} steps of {size.batch_size} images with every subset. Figures are those of {size.plates} held-out "
        "plates per species: of species that even the smallest subset holds (trained), and of species that no subset holds (unseen).",
        "", "    python -m benchmarks.scaling", "",
    ]  # fmt: skip
    if conclusion:
        lines += ["## Conclusion", "", conclusion.strip(), ""]
    lines += ["![Figures by number of training images](scaling.svg)", ""]
    for kind in _KINDS:
        lines += [
            f"## {kind.capitalize()}",
            "",
            *_table(found, [one for one in FIGURES if one.kind == kind], sizes, size),
            "",
        ]
    lines += [
        "A cell is the mean over worlds. 0 images are the first random weights. The slope is per doubling of the images, with the 95% "
        "interval of Student's t over worlds; the untrained model does not count for it. Verdicts: the figure moves as Gu et al. 2025 say "
        "it should, moves against it, or shows no trend in these worlds.", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _table(found: Found, figures: Sequence[Figure], sizes: Sequence[int], size: Size) -> list[str]:
    head = ["figure", "species", "chance", *(f"{images:,}" for images in sizes), "slope per doubling", "verdict"]
    rows = []
    for figure in figures:
        values = values_of(found, figure)
        means = [_mean([of_size.get(images) for of_size in values.values()]) for images in sizes]
        chances = [cell[key_of(figure)].get("chance") for of_size in found.values() for cell in of_size.values()]
        change = trend(values, size.sizes)
        is_first = figure is next(one for one in figures if one.name == figure.name)
        name = f"{figure.name}: {figure.what}" if is_first else figure.name
        rows.append([name, figure.species, _mean(chances), *means, _slope(change), change.verdict(figure)])
    return [f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows)]


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{np.mean(known):.3f}" if known else ""


def _slope(change: Trend) -> str:
    if not change.worlds:
        return ""
    low, high = change.ci95
    return f"{change.slope:+.4f}" + ("" if change.worlds < 2 else f" [{low:+.4f}, {high:+.4f}]")


def draw(found: Found, size: Size, file: Path) -> None:
    """Draw every figure over the number of training images: a line per world, the mean thick, trained blue and unseen orange."""
    import matplotlib
    from matplotlib.figure import Figure as Picture

    matplotlib.rcParams["svg.hashsalt"] = "bioclip"  # the same ids, so that the same figures give the same file
    matplotlib.rcParams["svg.fonttype"] = "none"
    names = list(dict.fromkeys(figure.name for figure in FIGURES))
    columns = 4
    picture = Picture(figsize=(13, 2.7 * -(-len(names) // columns)), layout="constrained")
    places = picture.subplots(-(-len(names) // columns), columns, squeeze=False).ravel()
    at = {images: place for place, images in enumerate([UNTRAINED, *size.sizes])}
    for axes, name in zip(places, names, strict=False):
        for figure in (one for one in FIGURES if one.name == name):
            colour, dash = (_BLUE, "-") if figure.species == TRAINED else (_ORANGE, "--")
            values = values_of(found, figure)
            for of_size in values.values():
                known = [(at[images], value) for images, value in sorted(of_size.items()) if value is not None]
                axes.plot(*zip(*known, strict=True), dash, color=colour, linewidth=0.8, alpha=0.45)
            by_place = {
                place: [value for of_size in values.values() if (value := of_size.get(images)) is not None]
                for images, place in at.items()
            }
            means = [(place, float(np.mean(known))) for place, known in by_place.items() if known]
            axes.plot(
                *zip(*means, strict=True),
                dash,
                marker="o",
                markersize=4,
                color=colour,
                linewidth=2,
                label=figure.species,
            )
        chances = [cell[key_of(figure)].get("chance") for of_size in found.values() for cell in of_size.values()]
        if known := [value for value in chances if value is not None]:
            axes.axhline(float(np.mean(known)), color=_GREY, linewidth=1, linestyle=":", label="chance")
        axes.set_title(name, fontsize=10, color=_INK)
        axes.set_xticks(list(at.values()), [f"{images:,}" for images in at], fontsize=8)
        axes.tick_params(axis="y", labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in places[len(names) :]:
        axes.set_axis_off()
    lines = {
        line.get_label(): line
        for axes in places
        for line in axes.get_lines()
        if not str(line.get_label()).startswith("_")
    }
    places[-1].legend(
        lines.values(),
        lines.keys(),
        fontsize=10,
        frameon=False,
        loc="center",
        title="plates of species\n(thin: one world)",
    )
    picture.supxlabel("training images (0: random weights)", fontsize=10)
    picture.savefig(file, format="svg", metadata={"Date": None})
