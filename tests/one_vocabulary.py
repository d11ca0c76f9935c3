"""Tokenizers of open_clip that share their tables: each reads the same file again, and many tests open a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def made_from_one(init: Callable[..., None]) -> Callable[..., None]:
    """Return ``SimpleTokenizer.__init__`` that makes the tables of plain tokenizers once, since nothing changes them."""
    made: dict[str, Any] = {}

    def share(self: Any, *given: Any, **named: Any) -> None:
        if given or named.keys() - {"context_length"}:
            init(self, *given, **named)
            return
        if not made:
            init(self)
            made.update(vars(self), cache=dict(self.cache))
        vars(self).update(made, cache=dict(made["cache"]))
        self.context_length = named.get("context_length", made["context_length"])

    return share
