"""Figures whose layout is not computed, which takes most of the time of a report that nobody looks at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from bioclip_core.process.quiet import importing


@contextmanager
def plain_figures() -> Iterator[None]:
    """Draw figures of matplotlib in the margins that they begin with, where a constrained layout is asked for."""
    with importing():
        from matplotlib.figure import Figure
    own = Figure.set_layout_engine

    def set_layout_engine(self: Figure, layout: Any = None, **named: Any) -> None:
        own(self, "none" if layout == "constrained" else layout, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "set_layout_engine", set_layout_engine)
        yield
