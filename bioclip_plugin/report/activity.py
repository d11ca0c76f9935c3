"""Hours of the photographs as a picture of 24 bars that the page's script can redraw."""

from __future__ import annotations

from collections.abc import Sequence

WIDTH, HEIGHT = 480, 150
_LEFT, _TOP, _BOTTOM = 4, 16, 22
_STEP = (WIDTH - 2 * _LEFT) / 24


def activity_svg(hours: Sequence[int]) -> str:
    """Return bars of regions by hour: pale ones for all, and full ones for the filtered regions, at first all."""
    most = max(hours)
    floor, room = HEIGHT - _BOTTOM, HEIGHT - _BOTTOM - _TOP
    busiest = hours.index(most)
    label = (
        f"Regions by hour of the day; most, {most:,}, between {busiest}:00 and {busiest + 1}:00"
        if most
        else "No regions"
    )
    parts = [
        f'<svg class="activity" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}"'
        f' data-floor="{floor}" data-room="{room}">'
        f'<line class="axis" x1="0" x2="{WIDTH}" y1="{floor + 0.5}" y2="{floor + 0.5}"/>'
        f'<text class="most" x="{_LEFT}" y="11">{f"busiest hour: {most:,}" if most else ""}</text>'
    ]
    for hour, count in enumerate(hours):
        height = round(room * count / most, 2) if most else 0
        place = (
            f'x="{_LEFT + hour * _STEP + 1.5:.2f}" y="{floor - height:.2f}" width="{_STEP - 3:.2f}" height="{height}"'
        )
        parts.append(
            f"<g><title>{hour:02}:00–{hour:02}:59: {count:,}</title>"
            f'<rect class="all" {place}/><rect class="left" data-hour="{hour}" {place}/></g>'
        )
    anchors = dict.fromkeys(range(0, 25, 3), "middle") | {0: "start", 24: "end"}
    parts += [
        f'<text x="{_LEFT + hour * _STEP:.1f}" y="{HEIGHT - 6}" text-anchor="{anchor}">{hour}</text>'
        for hour, anchor in anchors.items()
    ]
    return "".join(parts) + "</svg>"
