"""Items that wait for a review, as columns: what a strategy puts in order, one of a plugin's own included."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class ReviewItems:
    """N items (regions of a run) that are reviewed or wait for it. Their numbers are the places 0 to N-1 in these columns."""

    taxon_N: NDArray[np.int32]
    """Number of the taxon that was decided on, an index of ``taxa``; -1 without one."""
    taxa: tuple[str, ...]
    """Names of the taxa."""
    probability_N: NDArray[np.float32]
    """Calibrated probability of the decision; NaN if it is not known."""
    margin_N: NDArray[np.float32]
    """Calibrated probability of the best candidate minus that of the second one; NaN if it is not known."""
    event_N: NDArray[np.int32]
    """Number of the event (sequence of images); -1 for an item that is an event of its own."""
    camera_N: NDArray[np.int32]
    """Number of the camera or deployment; -1 if it is not known."""
    reviewed_N: NDArray[np.bool_]
    """True for items with a review, which are never put in order again."""
    features_ND: NDArray[np.float16] | None = None
    """L2-normalised features of the image tower, perhaps a memory map; a row of zeros is unknown. None without any."""
    disagreement_N: NDArray[np.float32] | None = None
    """Extent to which the model contradicts a rule or the catalogue, from 0 to 1; NaN where there is nothing to compare with.
    None without any."""
    labels_T: NDArray[np.int32] | None = None
    """Reviews that are held of each of the T ``taxa`` in the whole project; None counts the reviewed items of each."""

    def __len__(self) -> int:
        return len(self.taxon_N)

    def __post_init__(self) -> None:
        columns = ("probability_N", "margin_N", "event_N", "camera_N", "reviewed_N", "features_ND", "disagreement_N")
        for name in columns:
            column: Any = getattr(self, name)
            if column is not None and len(column) != len(self):
                raise ValueError(
                    f"{name} has {len(column)} entries, taxon_N has {len(self)}; one for each item is needed"
                )
        if self.labels_T is not None and len(self.labels_T) != len(self.taxa):
            raise ValueError(
                f"labels_T has {len(self.labels_T)} entries; one for each of {len(self.taxa)} taxa is needed"
            )

    def read_only(self) -> ReviewItems:
        """Return the same items as views that cannot be written to."""
        views: dict[str, Any] = {}
        for field in fields(self):
            value: Any = getattr(self, field.name)
            if hasattr(value, "setflags"):
                views[field.name] = value.view()
                views[field.name].setflags(write=False)
        return replace(self, **views)
