"""Pictures of the figures: one function per figure, in either variant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.nouns import number_of
from bioclip_plugin.summaries.activity import HOURS, ByCamera, ByDate, ByHour
from bioclip_plugin.summaries.drawing import (
    ROW,
    Theme,
    column_names,
    files_of,
    row_names,
    themed,
    themed_figure,
    tiles,
    titled,
)
from bioclip_plugin.summaries.effort import shown_day
from bioclip_plugin.summaries.rates import Rates
from bioclip_plugin.summaries.reviewers import ReviewerAgreement
from bioclip_plugin.summaries.richness import Accumulation, Estimate
from bioclip_training.evaluation.plots import short_label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_TAXA = 40
"""Taxa in a picture; tables have all of them."""
MOST_CAMERAS = 200
_MOST_REVIEWERS = 40
_BESIDE, _DATE = 4.2, 0.8
"""Inches beside the tiles of a picture, for long names and the scale, and of a date below them."""


def drawn(name: str, figure: object, theme: Theme, formats: Sequence[str], about: str = "") -> dict[str, bytes] | None:
    """Return a figure's picture as files by their endings; None if there is nothing to draw.

    Args:
        name: the figure's name.
        figure: the figure.
        theme: the variant.
        formats: ``png``, ``svg``.
        about: how events were counted, for the line below the picture.
    """
    draw = _PICTURES.get(type(figure))
    picture = draw(figure, theme, about) if draw else None
    return None if picture is None else files_of(picture, name, formats)


def hours_picture(found: ByHour, theme: Theme, about: str) -> Figure | None:
    """Draw events by hour of the day; None without anything to draw."""
    counts_TH = found.counts_TH[:MOST_TAXA]
    kept = counts_TH.sum(1) > 0
    if not kept.any():
        return None
    names = _counted(_first(found.names, kept), counts_TH[kept].sum(1))
    figure, axes = themed_figure(8.5, 1.9 + ROW * len(names), theme)
    share_TH = 100 * counts_TH[kept] / counts_TH[kept].sum(1, keepdims=True)
    tiles(axes, share_TH, theme, "% of the taxon's events", power=1.0)
    row_names(axes, names, theme)
    axes.set_xticks(np.arange(0, HOURS + 1, 3) - 0.5, [f"{hour}:00" for hour in range(0, HOURS + 1, 3)])
    axes.set_xlabel("hour of the camera's clock", fontsize=9, color=theme.ink)
    untimed = int(found.untimed_T.sum())
    missing = f"{number_of(untimed, 'event')} of unknown time not shown." if untimed else ""
    titled(axes, theme, "Activity by hour of the day", _joined(about, _more(found.names, "taxa", MOST_TAXA), missing))
    return figure


def dates_picture(found: ByDate, theme: Theme, about: str) -> Figure | None:
    """Draw events by date, below the cameras at work; None without anything to draw."""
    counts_TB = found.counts_TB[:MOST_TAXA]
    kept = counts_TB.sum(1) > 0
    if not kept.any():
        return None
    names = _counted(_first(found.names, kept), counts_TB[kept].sum(1))
    width = max(7.5, 3.6 + 0.11 * len(found.starts))
    figure, lower = themed_figure(width, 2.9 + ROW * len(names), theme)
    lower.remove()
    upper, axes = figure.subplots(2, 1, sharex=True, height_ratios=(0.75, 0.35 + ROW * len(names)))
    for one in (upper, axes):
        themed(one, theme)
    upper.spines[["top", "right"]].set_visible(False)
    upper.bar(np.arange(len(found.starts)), found.cameras_B, 0.9, color=theme.orange)
    upper.set_ylabel("cameras\nat work", fontsize=8, color=theme.ink)
    upper.set_yticks([0, int(found.cameras_B.max())])
    upper.tick_params(axis="x", length=0, labelbottom=False)
    share_TB = 100 * counts_TB[kept] / counts_TB[kept].sum(1, keepdims=True)
    tiles(axes, share_TB, theme, "% of the taxon's events", of=(upper, axes))
    row_names(axes, names, theme)
    step = -(-len(found.starts) // max(int((width - _BESIDE) / _DATE), 2))
    ticks = range(0, len(found.starts), step)
    axes.set_xticks(list(ticks), [_shown_period(found, place) for place in ticks], fontsize=8, color=theme.ink)
    axes.set_xlabel(
        {"day": "day", "week": "week from", "month": "month", "year": "year"}[found.period], fontsize=9, color=theme.ink
    )
    untimed = int(found.untimed_T.sum())
    missing = f"{number_of(untimed, 'event')} of unknown time not shown." if untimed else ""
    titled(axes, theme, "Events by date", _joined(about, _more(found.names, "taxa", MOST_TAXA), missing))
    return figure


def cameras_picture(found: ByCamera, theme: Theme, about: str) -> Figure | None:
    """Draw events by camera; None without anything to draw."""
    counts_CT = found.counts_CT[:MOST_CAMERAS, :MOST_TAXA]
    if not counts_CT.size:
        return None
    days = [one.days for one in found.cameras[:MOST_CAMERAS]]
    cameras = [
        f"{short(one.camera)} · {one.days:,.0f} d" if one.is_known else f"{short(one.camera)} · ? d"
        for one in found.cameras[:MOST_CAMERAS]
    ]
    names = found.names[:MOST_TAXA]
    figure, axes = themed_figure(max(6.5, 4.4 + 0.2 * len(names)), 3.4 + ROW * len(cameras), theme)
    rates_CT = np.where(np.isfinite(days), days, np.nan)[:, None]
    tiles(axes, 100 * counts_CT / rates_CT, theme, "events per 100 camera-days")
    row_names(axes, cameras, theme)
    column_names(axes, names, theme)
    elsewhere = int(found.elsewhere_T.sum())
    silent = int((found.counts_CT.sum(1) == 0).sum())
    titled(
        axes,
        theme,
        "Events by camera",
        _joined(
            "Cameras with their camera-days.",
            about,
            f"{number_of(silent, 'camera')} without any taxon." if silent else "",
            "Rows without tiles are cameras of unknown effort." if not np.isfinite(days).all() else "",
            _more(found.cameras, "cameras", MOST_CAMERAS),
            _more(found.names, "taxa", MOST_TAXA),
            f"{number_of(elsewhere, 'event')} of unknown cameras not shown." if elsewhere else "",
        ),
    )
    return figure


def rates_picture(found: Rates, theme: Theme, about: str) -> Figure | None:
    """Draw detection rates and naive occupancy; None without anything to draw."""
    taxa = found.taxa[:MOST_TAXA]
    if not taxa:
        return None
    figure, left = themed_figure(9.0, 1.9 + ROW * len(taxa), theme)
    left.remove()
    axes = figure.subplots(1, 2, sharey=True)
    y = np.arange(len(taxa))
    per_100 = [found.per_100_days(one) for one in taxa]
    axes[0].barh(y, per_100, 0.7, color=theme.blue)
    axes[0].set_xlabel("events per 100 camera-days", fontsize=9)
    share = np.array([one.cameras / found.cameras for one in taxa])
    low, high = np.array([one.occupancy_ci95 for one in taxa]).T
    axes[1].hlines(y, 100 * low, 100 * high, color=theme.orange, linewidth=1.5)
    axes[1].plot(100 * share, y, "o", color=theme.orange, markersize=5)
    axes[1].set(xlim=(0, 102))
    axes[1].set_xlabel(f"% of {number_of(found.cameras, 'camera')} that saw it, with 95% interval", fontsize=9)
    for one in axes:
        themed(one, theme)
        one.spines[["top", "right"]].set_visible(False)
        one.grid(axis="x", color=theme.line, linewidth=0.5)
        one.set_axisbelow(True)
        one.tick_params(axis="y", length=0)
    axes[0].set(ylim=(len(taxa) - 0.4, -0.6))
    row_names(axes[0], [f"{short(one.name)} · {one.events:,}" for one in taxa], theme)
    effort = f"{number_of(found.cameras, 'camera')}, {found.camera_days:,.0f} camera-days."
    titled(axes[0], theme, "Naive detection rates", _joined(effort, about, _more(found.taxa, "taxa", MOST_TAXA)))
    return figure


def accumulation_picture(found: Accumulation, theme: Theme, about: str) -> Figure | None:
    """Draw the accumulation of taxa; None without anything to draw."""
    figure, axes = themed_figure(7.0, 4.6, theme)
    axes.fill_between(found.days_P, found.low_P, found.high_P, color=theme.blue, alpha=0.25, linewidth=0,
                      label=f"95% of {found.permutations} random orders")  # fmt: skip
    axes.plot(found.days_P, found.mean_P, color=theme.blue, linewidth=1.8, label="mean")
    last = int(found.days_P[-1])
    for shift, name, one, mark in ((1.06, "Chao1", found.chao1, "s"), (1.12, "Chao2", found.chao2, "D")):
        axes.plot([shift * last] * 2, one.ci95, color=theme.orange, linewidth=1.5)
        axes.plot(shift * last, one.value, mark, color=theme.orange, markersize=6, label=f"{name}: {_estimated(one)}")
    axes.set(xlim=(0, 1.17 * last), ylim=(0, None), xlabel="camera-days", ylabel="taxa")
    axes.grid(color=theme.line, linewidth=0.5)
    axes.set_axisbelow(True)
    themed(axes, theme)
    # The intervals of Chao's estimates may be wide: the curve keeps at least half of the height.
    axes.set_ylim(0, min(max(found.chao1.ci95[1], found.chao2.ci95[1]) * 1.05, 2.2 * found.observed))
    axes.legend(loc="lower right", frameon=False, fontsize=8, labelcolor=theme.ink)
    title = f"{number_of(found.observed, 'taxon', 'taxa')} in {last:,} camera-days (calendar days)"
    warning = f"Chao's estimates grow with every wrong name: {number_of(found.chao1.once, 'taxon has', 'taxa have')} one event only."
    titled(axes, theme, title, _joined(about, warning if found.chao1.once else ""))
    return figure


def reviewers_picture(found: ReviewerAgreement, theme: Theme, _about: str = "") -> Figure | None:
    """Draw the agreement of pairs of reviewers; None without anything to draw."""
    pairs = found.pairs[:_MOST_REVIEWERS]
    if not pairs:
        return None
    figure, axes = themed_figure(7.5, 2.2 + ROW * len(pairs), theme)
    y = np.arange(len(pairs))
    low, high = np.array([one.share_ci95 for one in pairs]).T
    axes.hlines(y, 100 * low, 100 * high, color=theme.blue, linewidth=1.5, label="equal, with 95% interval")
    axes.plot([100 * one.equal / one.items for one in pairs], y, "o", color=theme.blue, markersize=5)
    above = [100 * one.compatible / one.items for one in pairs]
    axes.plot(
        above, y, "|", color=theme.orange, markersize=10, markeredgewidth=2, label="equal, or a taxon above the other's"
    )
    axes.set(xlim=(0, 102), ylim=(len(pairs) - 0.4, -0.6), xlabel="% of the items that both reviewed")
    axes.grid(axis="x", color=theme.line, linewidth=0.5)
    axes.tick_params(axis="y", length=0)
    themed(axes, theme)
    names = [f"{short(one.reviewers[0])} – {short(one.reviewers[1])} · {one.items:,}" for one in pairs]
    row_names(axes, names, theme)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize=8, labelcolor=theme.ink)
    alpha = f"Krippendorff's alpha {found.alpha:.2f}." if np.isfinite(found.alpha) else ""
    title = f"Agreement of reviewers on {number_of(found.items, 'item')}"
    titled(axes, theme, title, _joined(alpha, _more(found.pairs, "pairs of reviewers", _MOST_REVIEWERS)))
    return figure


_PICTURES: dict[type, Callable[[Any, Theme, str], Figure | None]] = {
    ByHour: hours_picture,
    ByDate: dates_picture,
    ByCamera: cameras_picture,
    Rates: rates_picture,
    Accumulation: accumulation_picture,
    ReviewerAgreement: reviewers_picture,
}


def short(name: str) -> str:
    """Return a name for an axis, cut if it is long."""
    return short_label(name).replace(r"\$", "$")


def _counted(names: Sequence[str], counts: NDArray[np.int64]) -> list[str]:
    return [f"{short(name)} · {count:,}" for name, count in zip(names, counts, strict=True)]


def _first(names: Sequence[str], kept: NDArray[np.bool_]) -> list[str]:
    return [name for name, is_kept in zip(names, kept, strict=False) if is_kept]


def _more(of: Sequence[object], what: str, limit: int) -> str:
    return f"The first {limit} of {len(of):,} {what}; the table has all." if len(of) > limit else ""


def _joined(*sentences: str) -> str:
    return " ".join(filter(None, sentences))


def _shown_period(found: ByDate, place: int) -> str:
    day = shown_day(found.starts[place])
    return {"month": day[:7], "year": day[:4]}.get(found.period, day)


def _estimated(one: Estimate) -> str:
    return f"{one.value:.1f} ({one.ci95[0]:.1f} to {one.ci95[1]:.1f})"
