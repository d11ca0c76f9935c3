"""Numbers and shares in cells, with a decimal point or a decimal comma."""

from __future__ import annotations

import math
import re

MINUS = {ord(sign): "-" for sign in "\u2010\u2011\u2212\ufe63\uff0d"}
"""Signs that are written for a minus, without dashes, which stand for a range."""
_COMMA = re.compile(r"[+-]?\d*,\d+", re.ASCII)
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}", re.ASCII)
_ROUNDING = 1e-3  # by which a share may lie outside 0 to 1; it is clipped then


def plain_number_of(cell: object) -> float | None:
    """Return the finite number that a cell holds as programs write it, with a decimal point; None for anything else.

    >>> plain_number_of(" 4.5 "), plain_number_of(True), plain_number_of("1_000"), plain_number_of("nan"), plain_number_of("4,5")
    (4.5, None, None, None, None)
    """
    if isinstance(cell, bool) or (isinstance(cell, str) and "_" in cell):  # float() reads both
        return None
    try:
        number = float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def number_of(cell: object) -> float | None:
    """Return the finite number that a cell holds, also with a decimal comma or a typographic minus; None for anything else.

    A comma before three digits may separate thousands, so such a cell is not read.

    >>> number_of(4.5), number_of("4,5"), number_of("\u22120,125"), number_of("1,234"), number_of("1.234,5")
    (4.5, 4.5, -0.125, None, None)
    """
    if not isinstance(cell, str):
        return plain_number_of(cell)
    try:
        number = float(cell)
    except ValueError:
        pass
    else:
        return number if math.isfinite(number) and "_" not in cell else None
    text = cell.strip().translate(MINUS)
    return None if _THOUSANDS.fullmatch(text) else comma_number_of(text)


def comma_number_of(text: str) -> float | None:
    """Return the number that a text holds if its comma, or its point, separates the decimals.

    >>> comma_number_of("1,234"), comma_number_of("-33,45"), comma_number_of("1.234,5")
    (1.234, -33.45, None)
    """
    text = text.strip().translate(MINUS)
    return float(text.replace(",", ".")) if _COMMA.fullmatch(text) else plain_number_of(text)


def share_of(cell: object) -> float | None:
    """Return a confidence or probability from 0 to 1, clipped if it is outside by rounding; None for anything else.

    >>> share_of(0.93), share_of("0,93"), share_of("93 %"), share_of(">0.9"), share_of(93)
    (0.93, 0.93, 0.93, None, None)
    """
    if type(cell) is float and 0 <= cell <= 1:
        return cell
    share = plain_number_of(cell)
    if share is None and isinstance(cell, str):
        text = cell.strip()
        share = comma_number_of(text.rstrip("%"))
        if share is not None and text.endswith("%"):
            share /= 100
    return min(max(share, 0.0), 1.0) if share is not None and -_ROUNDING <= share <= 1 + _ROUNDING else None
