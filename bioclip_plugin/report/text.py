"""Text that people or cameras wrote, made safe and legible, and values for the page's data blocks."""

from __future__ import annotations

import json
import re
from typing import Any

_FRACTION = re.compile(r"-?\d+\.\d+")
_ESCAPED = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


def legible(text: object) -> str:
    """Return text on one line, with control characters and signs that change the direction of writing made visible.

    >>> legible("a\\tb")
    'a\\\\tb'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text))


def running(text: object) -> str:
    """Return a remark of several lines as legible text on one line."""
    return legible(" ".join(str(text).split()))


def script_json(value: Any) -> str:
    """Return JSON for a data block: no text in it can end the block or begin a tag.

    >>> script_json("</script>")
    '"\\\\u003c/script\\\\u003e"'
    """
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False).translate(_ESCAPED)


def without_place(text: str, latitude: float | None, longitude: float | None, decimals: int | None) -> str:
    """Return the text with the place's own coordinates rounded wherever they occur; other numbers are left as they are."""
    if decimals is None or latitude is None or longitude is None:
        return text
    half_a_step = 0.5 * 10.0**-decimals + 1e-9

    def rounded(found: re.Match[str]) -> str:
        value = float(found[0])
        finer = len(found[0].partition(".")[2]) > decimals
        near = any(abs(abs(value) - abs(known)) <= half_a_step for known in (latitude, longitude))
        return f"{value:.{decimals}f}" if finer and near else found[0]

    return _FRACTION.sub(rounded, text)
