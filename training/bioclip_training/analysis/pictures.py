"""Pictures of an analysis: distances and mistakes by rank, neighbours, traits, variation within species, and maps."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bioclip_core.taxonomy import Rank
from bioclip_training.analysis.classes import Separation
from bioclip_training.analysis.measure import Measure, plural
from bioclip_training.analysis.measuring import Structure, TraitFindings
from bioclip_training.analysis.neighbours import beyond_of
from bioclip_training.analysis.sentences import bounds, rank_of, shown
from bioclip_training.analysis.space import Space, distances
from bioclip_training.analysis.traits import BEYOND_TREE
from bioclip_training.analysis.tree import HIGHEST
from bioclip_training.analysis.within import relative
from bioclip_training.evaluation.plots import new_figure, png_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INK, _BLUE, _ORANGE, _GREY = "#1b1b1b", "#0072b2", "#d55e00", "#8a8f94"


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture with its name as a file and what it shows."""

    name: str
    described: str
    png: bytes
    svg: bytes


def pictures_of(space: Space, found: Structure) -> list[Picture]:
    """Draw all pictures that the figures allow, without the maps."""
    traits = {**found.traits, **found.image_traits}
    drawn = [_distances(space, found), _mistakes(space, found), *map(_purity, found.purity.items())]
    drawn += [_correlations(found.traits), _probes(traits), _within(found), _overlap(found), _separations(found)]
    return [picture for picture in drawn if picture is not None]


def _distances(space: Space, found: Structure) -> Picture | None:
    if found.cophenetic.in_order.is_missing:
        return None
    upper = np.triu_indices(len(space.taxa), 1)
    distance_P, height_P = distances(space.prototypes_TD)[upper], space.heights_TT[upper]
    figure, axes = new_figure(6.0, 4.0)
    heights = [int(height) for height in np.unique(height_P)]
    for height in heights:
        low, middle, high = np.quantile(distance_P[height_P == height], (0.1, 0.5, 0.9))
        axes.plot([height, height], [low, high], color=_BLUE, linewidth=2, solid_capstyle="butt")
        axes.plot(height, middle, "o", color=_BLUE, markersize=6)
    axes.set_xticks(
        heights, [f"{rank_of(height)}\n{(height_P == height).sum()} pairs" for height in heights], fontsize=8
    )
    axes.set(xlabel="lowest rank that two species share", ylabel="1 − cosine of their prototypes")
    order = found.cophenetic.in_order
    title = (
        f"Distance between species by their place in the tree (median, and the middle 80% of pairs)\n"
        f"{shown(order.value, as_share=True)} of comparisons are in order ({bounds(order, as_share=True)}; chance 50%)"
    )
    return finished(figure, "distances", title)


def _mistakes(space: Space, found: Structure) -> Picture | None:
    counts = found.errors.mistakes_at
    if not counts:
        return None
    figure, axes = new_figure(6.0, 4.0)
    heights = np.arange(1, HIGHEST + 1)
    share = np.array([counts.get(int(height), 0) for height in heights]) / sum(counts.values())
    off = space.heights_TT[~np.eye(len(space.taxa), dtype=bool)]
    random = np.array([(off == height).mean() for height in heights])
    kept = (share > 0) | (random > 0)
    x = np.arange(int(kept.sum()))
    axes.bar(x, share[kept], 0.6, color=_BLUE, label="wrong nearest species")
    axes.plot(x, random[kept], "D", color=_ORANGE, markersize=7, label="a wrong species at random")
    axes.set_xticks(x, [rank_of(int(height)) for height in heights[kept]])
    axes.set(xlabel="lowest rank that answer and truth share", ylabel="share of mistakes", ylim=(0, 1.02))
    wrong = found.errors.mistakes
    title = (
        f"How far up the tree {sum(counts.values())} mistakes lie\n{shown(wrong.value)} ranks on average ({bounds(wrong)}; at random "
        f"{shown(wrong.chance)})"
    )
    return finished(figure, "mistakes", title, legend=True)


def _purity(of: tuple[str, Mapping[Rank, Measure]]) -> Picture | None:
    kind, found = of
    known = {rank: measure for rank, measure in found.items() if not measure.is_missing}
    if not known:
        return None
    figure, axes = new_figure(6.4, 4.0)
    stricter = {rank: beyond_of(measure) for rank, measure in known.items()}
    for shift, measures, colour, mark, label in (
        (-0.14, known, _BLUE, "o", "of the same clade, with 95% interval"),
        (0.14, stricter, _ORANGE, "s", "the same outside of the clade one rank lower"),
    ):
        drawn = [(place + shift, measures[rank]) for place, rank in enumerate(known) if not measures[rank].is_missing]
        for place, measure in drawn:
            axes.plot([place, place], measure.ci95, color=colour, linewidth=1.5)
        x = [place for place, _ in drawn]
        axes.plot(x, [measure.value for _, measure in drawn], mark, color=colour, markersize=7, label=label)
        axes.plot(x, [measure.chance for _, measure in drawn], "_", color=_INK, markersize=14, markeredgewidth=2)
    axes.plot([], [], "_", color=_INK, markersize=14, markeredgewidth=2, label="chance")
    axes.set_xticks(np.arange(len(known)), [rank.value for rank in known])
    axes.set(xlim=(-0.5, len(known) - 0.5), ylim=(0, 1.05), ylabel="share of nearest neighbours")
    what = "images of other groups" if kind == "images" else "species prototypes"
    return finished(figure, f"purity_{kind}", f"Nearest neighbours among {what}", legend=True)


def _correlations(traits: Mapping[str, TraitFindings]) -> Picture | None:
    rows = [
        (name, found.correlation)
        for name, found in traits.items()
        if found.correlation is not None and not found.correlation.is_missing
    ]
    if not rows:
        return None
    figure, axes = new_figure(7.0, 1.7 + 0.5 * len(rows))
    y = np.arange(len(rows))[::-1]
    held = [
        replace(measure, value=measure.more[BEYOND_TREE], ci95=tuple(measure.more["beyond_tree_ci95"]))
        for _, measure in rows
    ]
    for shift, measures, colour, mark, label in (
        (0.14, [measure for _, measure in rows], _BLUE, "o", "rank correlation, with 95% interval"),
        (-0.14, held, _ORANGE, "s", "with the tree held"),
    ):
        axes.plot([measure.value for measure in measures], y + shift, mark, color=colour, markersize=6, label=label)
        for place, measure in zip(y + shift, measures, strict=True):
            _interval(axes, measure, place, colour)
    axes.axvline(0, color=_GREY, linewidth=1)
    axes.set_yticks(y, [_wrapped(name) for name, _ in rows], fontsize=8)
    axes.set(
        ylim=(-0.6, len(rows) - 0.4), xlabel="rank correlation of distance between species with difference in the trait"
    )
    return finished(figure, "trait_correlations", "Traits and distances between species", legend=True)


def _probes(traits: Mapping[str, TraitFindings]) -> Picture | None:
    rows = [
        (f"{_wrapped(trait)}: {plural(rank.value)}", measure)
        for trait, found in traits.items()
        for rank, measure in found.probes.items()
        if not measure.is_missing
    ]
    if not rows:
        return None
    figure, axes = new_figure(7.0, 1.6 + 0.34 * len(rows))
    y = np.arange(len(rows))[::-1]
    for place, (_, measure) in zip(y, rows, strict=True):
        _interval(axes, measure, place)
    values, relatives, chance = (
        [measure.value for _, measure in rows],
        [measure.more["relatives"] for _, measure in rows],
        [measure.chance for _, measure in rows],
    )
    axes.plot(values, y, "o", color=_BLUE, markersize=6, label="probe, with 95% interval")
    axes.plot(relatives, y, "D", color=_ORANGE, fillstyle="none", markersize=7, label="nearest relatives")
    axes.plot(chance, y, "|", color=_INK, markersize=14, markeredgewidth=2, label="chance")
    axes.set_yticks(y, [text for text, _ in rows], fontsize=8)
    axes.set_xlabel("share right (words), or rank correlation (numbers)")
    return finished(
        figure, "traits", "Traits predicted for species, genera and families that are held out", legend=True
    )


def _within(found: Structure) -> Picture | None:
    rows = [
        (name, measure)
        for name, measure in (
            ("all species means", found.within.orthogonal),
            ("main directions", found.within.main_orthogonal),
        )
        if not measure.is_missing
    ]
    if not rows:
        return None
    figure, axes = new_figure(6.0, 2.6)
    y = np.arange(len(rows))[::-1]
    axes.barh(y, [measure.value for _, measure in rows], 0.5, color=_BLUE, label="outside, with 95% interval")
    for place, (_, measure) in zip(y, rows, strict=True):
        _interval(axes, measure, place, _INK)
    axes.plot(
        [measure.chance for _, measure in rows],
        y,
        "|",
        color=_ORANGE,
        markersize=16,
        markeredgewidth=3,
        label="random directions",
    )
    size = [f"{measure.more['directions']:.0f} of {measure.more['dimension']} dimensions" for _, measure in rows]
    axes.set_yticks(y, [f"{name}\n({of})" for (name, _), of in zip(rows, size, strict=True)], fontsize=8)
    axes.set(xlim=(0, 1.02), xlabel="share of variance within species outside of the span")
    return finished(figure, "within", "Variation within species that is not along differences of species", legend=True)


def _overlap(found: Structure) -> Picture | None:
    overlap = relative(found.within.overlap)
    if overlap.is_missing:
        return None
    figure, axes = new_figure(6.0, 1.9)
    axes.barh([0], [overlap.value], 0.5, color=_BLUE, label="overlap, with 95% interval")
    _interval(axes, overlap, 0, _INK)
    random = 1 / found.within.overlap.more["same_shape"]
    axes.plot([random], [0], "|", color=_ORANGE, markersize=16, markeredgewidth=3, label="random directions")
    highest = max(1.0, overlap.value, overlap.ci95[1] if overlap.ci95[1] == overlap.ci95[1] else 0.0)
    axes.set_yticks([])
    axes.set(
        xlim=(min(0.0, overlap.value), 1.05 * highest), xlabel="0: orthogonal; 1: individuals vary as species differ"
    )
    return finished(figure, "overlap", "Variation within species along the differences between them", legend=True)


def _separations(found: Structure) -> Picture | None:
    spans: dict[str, Separation] = {
        name: of["main"] for name, of in found.classes.items() if not of["main"].gain.is_missing
    }
    if not spans:
        return None
    figure, axes = new_figure(6.0, 1.8 + 0.7 * len(spans))
    y = np.arange(len(spans))[::-1]
    for shift, name, colour, mark, label in (
        (0.2, "outside", _BLUE, "o", "outside the main span, with 95% interval"),
        (0.0, "inside", _ORANGE, "s", "inside the main span"),
        (-0.2, "whole", _GREY, "D", "in all directions"),
    ):
        measures = [getattr(separation, name) for separation in spans.values()]
        axes.plot([measure.value for measure in measures], y + shift, mark, color=colour, markersize=6, label=label)
        for place, measure in zip(y + shift, measures, strict=True):
            _interval(axes, measure, place, colour)
    axes.axvline(0, color=_GREY, linewidth=1)
    axes.set_yticks(y, [_wrapped(name) for name in spans])
    axes.set(
        ylim=(-0.6, len(spans) - 0.4), xlabel="Fisher ratio: variance between the values over variance within them"
    )
    return finished(figure, "classes", "Life stage, sex and other classes within species", legend=True)


_LONGEST_LABEL, _LINES = 30, 2
_PER_INCH = 11.5
"""Characters of a title per inch of a figure, so that it does not run over its right edge, whatever stands left of the axes."""


def _wrapped(name: str) -> str:
    """Return a name for an axis on at most two lines, with dollar signs as they are; only a longer one is cut."""
    lines = textwrap.wrap(name, _LONGEST_LABEL) or [name]
    if len(lines) > _LINES:
        lines = [*lines[: _LINES - 1], f"{lines[_LINES - 1][: _LONGEST_LABEL - 1]}…"]
    return "\n".join(lines).replace("$", r"\$")


def _interval(axes: Any, measure: Measure, place: float, colour: str = _BLUE) -> None:
    if measure.ci95[0] == measure.ci95[0]:
        axes.plot(measure.ci95, [place, place], color=colour, linewidth=1.5)


def finished(figure: Figure, name: str, title: str, *, legend: bool = False) -> Picture:
    """Return a figure with one pair of axes as a picture, with a title, and below it a legend."""
    import matplotlib as mpl

    axes = figure.axes[0]
    lines = [
        line for given in title.split("\n") for line in textwrap.wrap(given, int(_PER_INCH * figure.get_figwidth()))
    ]
    axes.set_title("\n".join(lines), fontsize=10, loc="left")
    if legend:
        figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    png = png_of(figure)
    figure.set_layout_engine("none")  # the layout stays as it is, instead of being computed again
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):  # equal figures give equal files
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return Picture(name, title.replace("\n", " "), png, buffer.getvalue())
