"""Captions as a collection publishes them, in place of those that are made from its names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.captions import Caption
from bioclip_core.errors import SourceError
from bioclip_training.shards.published_parts import CAPTION_COLUMNS, FREE_CAPTION

FREE_SHARE = 0.5
"""Share of a sample's own text where it has captions of its names too."""


class PublishedCaptions:
    """The captions that some rows of an index of published shards have."""

    def __init__(self, table: Any, rows: NDArray[np.int64]) -> None:
        """Take the captions of some rows.

        Args:
            table: the index.
            rows: ascending numbers of its rows.
        """
        self._columns = {kind: table.column(name).take(rows).combine_chunks() for kind, name in CAPTION_COLUMNS.items()}
        self._free = table.column(FREE_CAPTION).take(rows).combine_chunks()

    def count(self) -> int:
        """Return the number of rows with a caption of any kind."""
        has_N = np.zeros(len(self._free), dtype=bool)
        for column in (*self._columns.values(), self._free):
            has_N |= _is_text(column)
        return int(has_N.sum())

    def distinct(self, most: int | None = None) -> list[str] | None:
        """Return every caption that can be drawn, each once, sorted; None if there are more than ``most``."""
        found: set[str | None] = set()
        for column in (*self._columns.values(), self._free):
            texts = column.unique()
            if most is not None and len(texts) > most + 2:  # one may be empty and one null
                return None
            found.update(texts.to_pylist())
            if most is not None and len(found - {"", None}) > most:
                return None
        return sorted(text for text in found if text)

    def draw(self, index: int, chance: float, shares: Mapping[Caption, float]) -> str | None:
        """Return the caption of a sample that an evenly distributed number from 0 to 1 picks; None if it has none.

        The shares of captions that the sample lacks go to its others. A text of its own, which is not of a name, has
        ``FREE_SHARE`` beside captions of names, and all of it without them.
        """
        named = [(text, share) for kind, share in shares.items() if (text := self._columns[kind][index].as_py())]
        own = self._free[index].as_py()
        total = sum(share for _, share in named)
        possible = [(text, share / total * (1 - FREE_SHARE if own else 1)) for text, share in named]
        if own:
            possible.append((own, FREE_SHARE if named else 1.0))
        for text, share in possible:
            chance -= share
            if chance < 0:
                return str(text)
        return str(possible[-1][0]) if possible else self._any(index)

    def _any(self, index: int) -> str | None:
        """Return a caption of a kind without a share, for a sample that has no other."""
        texts = (self._columns[kind][index].as_py() for kind in (Caption.TAXONOMIC, Caption.SCIENTIFIC, Caption.COMMON))
        return next(filter(None, texts), None)


def caption_numbers(table: Any, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a number for the own text of each row, equal where the texts are.

    Raises:
        SourceError: for a row without a text.
    """
    texts = table.column(FREE_CAPTION).take(rows).combine_chunks()
    if not _is_text(texts).all():
        raise SourceError("there are samples without a caption, and nothing can be learnt from them")
    numbers_N: NDArray[np.int64] = texts.dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return numbers_N


def has_own_text(table: Any) -> NDArray[np.bool_]:
    """Return a mask of the rows with a text that is not of a name."""
    return _is_text(table.column(FREE_CAPTION).combine_chunks())


def _is_text(column: Any) -> NDArray[np.bool_]:
    from pyarrow import compute, types

    plain = column.dictionary_decode() if types.is_dictionary(column.type) else column
    found: NDArray[np.bool_] = compute.not_equal(plain.fill_null(""), "").to_numpy(zero_copy_only=False).astype(bool)
    return found
