"""The results of a search, the same from every way of searching."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bioclip_core.classify import Candidate
from bioclip_core.errors import UsageError
from bioclip_plugin.items.media import MediaItem, Region

Kind = Literal["image", "item", "name", "words"]
KINDS: tuple[Kind, ...] = ("image", "item", "name", "words")
NameFrom = Literal["labels", "reviews"]
NAMES_FROM: tuple[NameFrom, ...] = ("labels", "reviews")
MOST_HITS = 10_000


@dataclass(frozen=True, slots=True)
class Query:
    """A query as a vector, with the way in which it came about."""

    kind: Kind
    vector_D: NDArray[np.floating[Any]]
    described: str
    """A sentence about its vector: "the image cat.jpg", "the name Lynx: mean of 4 text rows of the label set"."""
    item: tuple[int, int] | None = None
    """Media and region of an item of the store, which is not among its own results."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One result: a region of an image, with all regions whose pixels are equal."""

    run: int
    media: int
    region: int
    """Numbers of the store: together the key of an item."""
    cosine: float
    """Cosine of its feature and the query, -1 to 1."""
    copies: int
    """Further regions of the run with the same content and box, which are not listed."""
    item: MediaItem
    box: Region | None
    """None: the whole image."""
    answer: Candidate | None
    """The taxon that the run decided on."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "key": f"{self.run}-{self.media}-{self.region}",
            "uri": self.item.uri,
            "frame": self.item.frame,
            "region": None if self.box is None else self.box.xywh,
            "cosine": round(self.cosine, 6),
            "copies": self.copies,
            "taxon": None if self.answer is None else self.answer.name,
            "rank": None if self.answer is None else self.answer.rank,
            "probability": None if self.answer is None else round(self.answer.probability, 6),
        }


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The hits of a search, most similar first; hits with equal cosines are in the order in which they were stored."""

    hits: tuple[Hit, ...]
    is_exact: bool
    """True if every feature was compared; False if an index was used, which may miss some."""
    query: str
    """A sentence about the query's vector."""
    kind: Kind
    run: int
    compared: int
    """Features of the run that could have been a result: distinct contents and boxes that pass the filter."""
    method: str
    """``usearch``, ``torch`` or ``numpy`` over the matrix, or ``pgvector``."""
    notes: tuple[str, ...] = ()
    """Sentences about what else happened: regions without a feature, a matrix that was built anew."""

    def as_dict(self) -> Mapping[str, Any]:
        """Return plain JSON values."""
        return {
            "query": self.query,
            "kind": self.kind,
            "run": self.run,
            "exact": self.is_exact,
            "method": self.method,
            "compared": self.compared,
            "notes": list(self.notes),
            "hits": [hit.as_dict() for hit in self.hits],
        }


def check_top(top: Any) -> int:
    """Return the number of results.

    Raises:
        UsageError: for anything but a whole number from 1 to 10,000.
    """
    if isinstance(top, bool) or not isinstance(top, int) or not 1 <= top <= MOST_HITS:
        raise UsageError(f"top {top!r}: give a whole number from 1 to {MOST_HITS:,}")
    return top
