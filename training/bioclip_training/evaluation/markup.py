"""Parts of a report as HTML: sections, tables, pictures and numbers in the form that readers expect. Every text is escaped here."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

_LONG = 20
_NUMBER = re.compile(r"–|[+-]?[\d.]+%?(–[\d.]+%| to [+-][\d.]+)?")


def section(title: str, *parts: str, anchor: str = "") -> str:
    """Return a heading with the parts below it."""
    name = f' id="{anchor}"' if anchor else ""
    return f"<h2{name}>{escape(title)}</h2>\n{''.join(parts)}"


def remark(text: str) -> str:
    """Return a paragraph in small print."""
    return f'<p class="note">{escape(text)}</p>'


def commands(lines: Iterable[str]) -> str:
    """Return commands to copy; empty without any. They scroll by themselves on a narrow screen."""
    text = "\n".join(lines)
    return f'<pre tabindex="0">{escape(text)}</pre>' if text else ""


def image(png: bytes, described: str, *, wide: bool = False) -> str:
    """Return a plot inside the page; a wide one scrolls by itself on a narrow screen."""
    kind = "plot map" if wide else "plot"
    plot = f'<img class="{kind}" alt="{escape(described)}" src="data:image/png;base64,{b64encode(png).decode()}">'
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{escape(described)}">{plot}</div>'
        if wide
        else f"<p>{plot}</p>"
    )


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[Any]],
    described: str = "table",
    *,
    tall: bool = False,
    wide_only: Sequence[str] = (),
) -> str:
    """Return a table that scrolls by itself on a narrow screen, with columns of numbers aligned to the right.

    A long table that is ``tall`` scrolls downwards too, so that the sections below it are found. The columns of ``wide_only`` are left
    out on a phone, which a line above the table says.
    """
    listed = list(rows)
    numeric = [all(_NUMBER.fullmatch(str(row[column])) for row in listed) for column in range(len(header))]
    classes = [
        " ".join([*(["n"] if of_numbers else []), *(["extra"] if name in wide_only else [])])
        for of_numbers, name in zip(numeric, header, strict=True)
    ]
    kinds = [f' class="{names}"' if names else "" for names in classes]
    head = "".join(f'<th scope="col"{kind}>{escape(name)}</th>' for kind, name in zip(kinds, header, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{kind}>{escape(str(cell))}</td>" for kind, cell in zip(kinds, row, strict=True)) + "</tr>"
        for row in listed
    )
    kind = "wide tall" if tall and len(listed) > _LONG else "wide"
    hidden = ", ".join(dict.fromkeys(name for name in header if name in wide_only))
    said = f'<p class="note narrow">A wider screen, or paper, also shows: {escape(hidden)}.</p>' if hidden else ""
    return (
        f'{said}<div class="{kind}" role="region" tabindex="0" aria-label="{escape(described)}"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def percent(share: float | None) -> str:
    """Return a share as a percentage: "49.4%"; a dash without one."""
    return "–" if share is None or share != share else f"{100 * share:.1f}%"


def points(share: float | None, *, sign: bool = True) -> str:
    """Return a difference of shares in percentage points: "+3.2"."""
    return "–" if share is None or share != share else f"{100 * share:{'+' if sign else ''}.1f}"


def points_interval(ends: Sequence[float | None]) -> str:
    """Return the ends of an interval of a difference: "-3.2 to +4.1"; of one group, whose ends are None, that it has none."""
    return "none: 1 group" if ends[0] is None or ends[1] is None else f"{points(ends[0])} to {points(ends[1])}"


def interval(ends: Sequence[float | None] | None) -> str:
    """Return the ends of an interval: "41.8–57.1%"."""
    if ends is None or ends[0] is None or ends[1] is None or ends[0] != ends[0]:
        return "–"
    return f"{100 * ends[0]:.1f}–{100 * ends[1]:.1f}%"


def number(value: float | None) -> str:
    """Return a number with three digits; a dash without one."""
    return "–" if value is None or value != value else f"{value:.3g}"
