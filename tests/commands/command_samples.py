"""What one call of the command line leaves, for the tests of commands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """What one call of the command line left."""

    code: int
    out: str
    err: str


Bioclip = Callable[..., Outcome]
