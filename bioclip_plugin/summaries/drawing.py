"""The look of the pictures: a light and a dark variant, tables of tiles, names on axes, and figures as PNG and SVG."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bioclip_training.evaluation.plots import new_figure, short_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW = 0.2
"""Inches of a row with a name."""
_DPI = 150
_LARGEST_PIXELS = 16_000
_PER_INCH = 11.5
"""Characters of a title per inch of a figure."""
_TALL = 40  # rows
_MANY_TILES = 5_000
"""Tiles from which on they are one image within an SVG."""


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of one variant. Those of lines are from Okabe and Ito (2008) and differ for colour-blind readers, and in lightness."""

    name: str
    ground: str
    ink: str
    faint: str
    line: str
    blue: str
    orange: str
    empty: str
    """Of a tile without anything."""
    ramp: tuple[str, ...]
    """From the least tile to the fullest one, of steadily changing lightness and one hue."""


LIGHT = Theme(
    "light",
    "#ffffff",
    "#1b1b1b",
    "#5f666d",
    "#d9dde1",
    "#0072b2",
    "#d55e00",
    "#f1f4f7",
    ("#d3e5f4", "#6aaed6", "#2171b5", "#08306b"),
)
DARK = Theme(
    "dark",
    "#14181c",
    "#e8eaed",
    "#a3abb3",
    "#3a424a",
    "#56b4e9",
    "#e69f00",
    "#20262c",
    ("#20486a", "#3f86bd", "#7fbfee", "#e3f3ff"),
)
THEMES = {theme.name: theme for theme in (LIGHT, DARK)}


def themed_figure(width: float, height: float, theme: Theme) -> tuple[Figure, Axes]:
    """Return a figure of a size in inches with one pair of axes in the colours of a variant."""
    figure, axes = new_figure(width, height)
    figure.set_facecolor(theme.ground)
    themed(axes, theme)
    return figure, axes


def themed(axes: Axes, theme: Theme) -> None:
    """Give axes the colours of a variant."""
    axes.set_facecolor(theme.ground)
    axes.tick_params(colors=theme.ink, which="both", labelsize=8, width=0.6)
    for spine in axes.spines.values():
        spine.set_color(theme.faint)
        spine.set_linewidth(0.6)
    for text in (axes.xaxis.label, axes.yaxis.label, axes.title):
        text.set_color(theme.ink)
        text.set_fontsize(9)


def tiles(
    axes: Axes, values_RC: NDArray[Any], theme: Theme, label: str, *, power: float = 0.5, of: Sequence[Axes] = ()
) -> None:
    """Draw a table as tiles whose lightness is a value, with a scale beside it.

    Args:
        axes: where to draw; rows go downwards.
        values_RC: values from 0; NaN is not drawn.
        theme: the colours.
        label: of the scale.
        power: exponent of the scale; 0.5 shows small values beside large ones.
        of: the axes beside which the scale stands; empty: ``axes``.
    """
    from matplotlib.colors import LinearSegmentedColormap, PowerNorm

    rows, columns = values_RC.shape
    highest = float(np.nanmax(values_RC)) if values_RC.size and np.isfinite(values_RC).any() else 0.0
    colours = LinearSegmentedColormap.from_list(theme.name, theme.ramp).with_extremes(under=theme.empty)
    shown = axes.pcolormesh(
        np.arange(columns + 1) - 0.5,
        np.arange(rows + 1) - 0.5,
        np.where(values_RC == 0, -1.0, values_RC),  # below the scale, so that little differs from nothing
        cmap=colours,
        norm=PowerNorm(power, 0.0, highest or 1.0),
        edgecolors=theme.ground,
        linewidth=0.6,
        rasterized=values_RC.size > _MANY_TILES,
    )
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    height = float(axes.get_figure(root=True).get_size_inches()[1])  # type: ignore[union-attr]
    scale = axes.figure.colorbar(shown, ax=list(of) or axes, shrink=min(1.0, 1.6 / max(height - 1.2, 1.0)),
                                 aspect=12, anchor=(0, 1.0), pad=0.02)  # fmt: skip
    scale.outline.set_visible(False)
    themed(scale.ax, theme)
    scale.set_label(label, color=theme.ink, fontsize=8)
    scale.locator = _whole_ticks(highest, whole=bool(np.all(np.mod(values_RC[np.isfinite(values_RC)], 1) == 0)))
    scale.update_ticks()


def _whole_ticks(highest: float, *, whole: bool) -> Any:
    """Return ticks of a scale: few enough to stand apart although small values take much room."""
    from matplotlib.ticker import FixedLocator, MaxNLocator

    steps = MaxNLocator(4, integer=whole).tick_values(0, highest or 1.0)
    return FixedLocator([step for step in steps if 0 <= step <= (highest or 1.0)])


def row_names(axes: Axes, names: Sequence[str], theme: Theme) -> None:
    """Write the names of rows, which are short already."""
    shown = [name.replace("$", r"\$") for name in names]  # matplotlib would read it as mathematics
    axes.set_yticks(np.arange(len(names)), shown, fontsize=8, color=theme.ink)


def column_names(axes: Axes, names: Sequence[str], theme: Theme) -> None:
    """Write the names of columns, upright; also above a table that is taller than a screen."""
    shown = [short_label(name) for name in names]
    axes.set_xticks(np.arange(len(names)), shown, fontsize=8, rotation=90, color=theme.ink)
    axes.tick_params(labeltop=axes.get_ylim()[0] > _TALL)


def titled(axes: Axes, theme: Theme, title: str, below: str = "") -> None:
    """Write a title, and below it smaller lines that say what is counted and what is missing."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    width = int(_PER_INCH * figure.get_figwidth())
    figure.suptitle("\n".join(textwrap.wrap(title, width)), x=0.01, ha="left", fontsize=11, color=theme.ink)
    if below:
        lines = textwrap.wrap(below, int(1.45 * width))
        figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=7.5, color=theme.faint)


def files_of(figure: Figure, name: str, formats: Sequence[str]) -> dict[str, bytes]:
    """Return a figure as files by their endings (``png``, ``svg``); equal figures give equal files."""
    import matplotlib as mpl

    found = {}
    longest = max(figure.get_figwidth(), figure.get_figheight())
    dpi = min(_DPI, int(_LARGEST_PIXELS / longest))
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        for ending in formats:
            buffer = io.BytesIO()
            metadata = {"Date": None} if ending == "svg" else {}
            figure.savefig(buffer, format=ending, dpi=dpi, facecolor=figure.get_facecolor(), metadata=metadata)
            found[ending] = buffer.getvalue()
            figure.set_layout_engine("none")  # the layout stays as it is, instead of being computed again
    return found
