"""The share of ``train`` to hold out as ``dev``, so that something can be chosen on it."""

from __future__ import annotations

from bioclip_training.catalog.options import DEV_FRACTION
from bioclip_training.catalog.rows import Catalog
from bioclip_training.evidence.minima import Evidence

_LARGEST, _STEP = 50, 5


def enough_dev(catalog: Catalog, dev_fraction: float = DEV_FRACTION) -> float | None:
    """Return the smallest share above the present one whose ``dev`` has enough groups to choose on.

    None if half of ``train`` is too little, or if the catalog has a ``dev`` of its own.

    Args:
        catalog: an open catalog.
        dev_fraction: the present share.
    """
    if "dev" in catalog.numbered("split")[1]:
        return None
    for percent in range(_STEP, _LARGEST + 1, _STEP):
        share = percent / 100
        if share > dev_fraction:
            rows = catalog.rows_of("dev", dev_fraction=share)
            if Evidence.of("dev", [catalog.group(row) for row in rows.tolist()]).can_choose:
                return share
    return None


def advice_on_dev(share: float | None) -> str:
    """Return the option that makes ``dev`` large enough, as a sentence without its end; or what else to do."""
    if share is None:
        return "more groups (other individuals, places, days) are needed to choose on"
    return f"train with --dev-fraction {share:g}, which holds out enough groups to choose on"
