"""Lines on the boxes of a run's detector, for ``classify`` and ``runs show``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bioclip_plugin.store import Run, Store


def box_lines(store: Store, run: Run) -> Iterator[str]:
    """Yield the numbers of the boxes that the run's detector found, with advice if nothing was named; nothing without one."""
    if run.detector is not None:
        yield from store.box_counts(run).lines(run.detector, run.settings.get("detection_threshold"))
