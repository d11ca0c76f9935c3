"""Columns of our tables: one row per region, per image or per event, and the keys that came in with each image."""

from __future__ import annotations

from typing import Any

from bioclip_core.taxonomy import RANKS
from bioclip_plugin.contracts.export_options import RowUnit
from bioclip_plugin.formats.shared.exported import FIRST_IMAGE

Cells = tuple[Any, ...]
"""Text, numbers, or None for an unknown value, in the order of a table's columns."""

IMAGE = ("uri", "frame")
BOX = ("region_x", "region_y", "region_w", "region_h")
DETECTION = ("detector", "detection_category", "detection_confidence")
PLACE = ("latitude", "longitude", "country", "deployment")
MEDIA = ("captured_at", *PLACE, "sequence", "status")
BEST = ("scientific_name", "rank", "probability", *(rank.value for rank in RANKS), "common_name")
CONSENSUS = ("consensus_scientific_name", "consensus_rank", "consensus_probability")
DECISION = ("decision", "event", "rule_trail")
FAILURE = ("failure_stage", "failure_reason")
REVIEW_COLUMNS = ("review_verdict", "review_scientific_name", "reviewer", "reviewed_at", "review_comment")
"""The newest review, beside the model's answer and the rules' decision and never instead of them."""
KEY_COLUMNS = (
    "institutionCode", "collectionCode", "catalogNumber", "otherCatalogNumbers", "barcode", "guid", "occurrenceID",
    "materialSampleID", "mediaID", "RelativePath", "File",
)  # fmt: skip
"""The keys of collection systems, Camtrap DP and Timelapse, by which a table is joined with theirs; always text.

Deployment, sequence (``eventID``) and frame have columns of their own.
"""

COLUMNS_OF: dict[RowUnit, tuple[str, ...]] = {
    "region": (
        *IMAGE, *BOX, *MEDIA, *BEST, *CONSENSUS, "other_candidates", "flags", *FAILURE, *DETECTION, *DECISION, *REVIEW_COLUMNS,
    ),
    "image": (
        *IMAGE, *MEDIA, "decision", *BEST, "regions", "individuals", "counts", "event", "flags", *FAILURE, *REVIEW_COLUMNS,
    ),
    "event": (
        "event", "deployment", "starts_at", "ends_at", "latitude", "longitude", "country", "images", "failed_images",
        "decision", *BEST, "individuals", "counts", FIRST_IMAGE, "first_frame", *REVIEW_COLUMNS,
    ),
}  # fmt: skip
"""The columns before the keys, in the order in which they are written; species is the epithet alone."""
COLUMNS = (*COLUMNS_OF["region"], *KEY_COLUMNS)
"""The columns of a table with one row per region, before those of ``--keep-columns``."""
OWN_COLUMNS = frozenset(name for names in (*COLUMNS_OF.values(), KEY_COLUMNS) for name in names)
"""All columns that we write, whatever a row stands for."""

NUMBERS = {
    **dict.fromkeys(("frame", "first_frame", "regions", "individuals", "images", "failed_images"), "int32"),
    **dict.fromkeys(
        (*BOX, "latitude", "longitude", "probability", "consensus_probability", "detection_confidence"), "float64"
    ),
}
"""The types of the columns that are not text."""
