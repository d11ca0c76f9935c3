"""Pictures of figures: labels that stand apart with many taxa and cameras, and nothing of the host's matplotlib."""

from __future__ import annotations

from itertools import pairwise

import pytest
from made_sightings import Row, sightings

from bioclip_core.findings import Findings
from bioclip_core.process.quiet import importing
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.summaries import pictures
from bioclip_plugin.summaries.activity import by_camera, by_date
from bioclip_plugin.summaries.drawing import DARK, LIGHT, Theme
from bioclip_plugin.summaries.effort import effort_of
from bioclip_plugin.summaries.sightings import independent_events


def many(taxa: int, cameras: int, days: int) -> list[Row]:
    """Return sightings of many taxa with long names by many cameras."""
    named = [
        Taxon.of(("Animalia", "", "", "", "", f"Longissimogenus{place}", "tuberculatissimus")) for place in range(taxa)
    ]
    return [
        (named[place % taxa], f"North ridge camera {place % cameras}", f"2024-05-{1 + place % days:02}T10:00:00")
        for place in range(max(taxa, cameras))
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["dates", "cameras"])
def test_labels_stand_apart_and_within_the_picture_with_forty_taxa(kind: str) -> None:
    with importing():
        from matplotlib.backends.backend_agg import FigureCanvasAgg

    given = sightings(many(45, 38, 30))
    events, efforts = independent_events(given, 1800.0), effort_of(given, {}, Findings())
    figure = (
        pictures.dates_picture(by_date(events, efforts), DARK, "")
        if kind == "dates"
        else pictures.cameras_picture(by_camera(events, efforts), LIGHT, "")
    )
    assert figure is not None
    FigureCanvasAgg(figure).draw()
    axes = figure.axes[1 if kind == "dates" else 0]
    rows = [label.get_window_extent() for label in axes.get_yticklabels()]
    columns = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert (len(rows), len(columns)) == ((40, 4) if kind == "dates" else (38, 40))
    assert all(upper.y0 >= lower.y1 or lower.y0 >= upper.y1 for upper, lower in pairwise(rows))
    assert all(left.x1 <= right.x0 for left, right in pairwise(columns))
    width, height = figure.canvas.get_width_height()
    assert all(
        label.x0 >= 0 and label.x1 <= width and label.y0 >= 0 and label.y1 <= height for label in (*rows, *columns)
    )


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_colours_of_words_and_marks_have_contrast_enough(theme: Theme) -> None:
    """WCAG 2.2: 4.5 to 1 for text, 3 to 1 for marks; tiles become steadily lighter or darker."""
    assert min(contrast(colour, theme.ground) for colour in (theme.ink, theme.faint)) >= 4.5
    assert min(contrast(colour, theme.ground) for colour in (theme.blue, theme.orange, theme.ramp[-1])) >= 3
    ramp = [luminance(colour) for colour in (theme.empty, *theme.ramp)]
    assert ramp == sorted(ramp, reverse=theme is LIGHT)


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
