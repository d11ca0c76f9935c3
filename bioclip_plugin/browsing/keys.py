"""Names of items in addresses: the store's numbers of a run, an image and a region, never a path."""

from __future__ import annotations

import re
from typing import NamedTuple

from bioclip_core.errors import UsageError

_KEY = re.compile(r"([1-9]\d{0,17})-([1-9]\d{0,17})-(0|[1-9]\d{0,17})", re.ASCII)
"""Numbers below 10^18, which both databases can compare with theirs."""


class ItemKey(NamedTuple):
    """A region of an image in a run, by the store's numbers."""

    run: int
    media: int
    region: int
    """0: an image without regions, such as one that failed."""

    def __str__(self) -> str:
        return f"{self.run}-{self.media}-{self.region}"


def parse_key(text: str) -> ItemKey:
    """Return the item that an address names.

    >>> parse_key("3-120-0")
    ItemKey(run=3, media=120, region=0)

    Raises:
        UsageError: for any other text.
    """
    if (match := _KEY.fullmatch(text)) is None:
        raise UsageError(f"item {text[:60]!r} is not known; an item is named RUN-MEDIA-REGION, such as 1-42-7")
    return ItemKey(*map(int, match.groups()))
