"""Callbacks that report progress."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Function that is called with the number done so far and the total."""


def silent(*_: object) -> None:
    """Report nothing."""
