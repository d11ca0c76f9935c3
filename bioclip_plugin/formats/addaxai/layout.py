"""The columns of AddaxAI's tables: those of AddaxAI 7, and those of EcoAssist and AddaxAI up to 6."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from bioclip_core.cells import column_name
from bioclip_plugin.formats.shared.image_tables import PLACE, Meaning, headings_of

_SHEETS = (("bbox_left",), ("relative_path", "detection_id"))
"""Headings of which one of AddaxAI's tables has one; in a workbook the sheet of the detections comes first."""
FIELDS = (
    "relative_path", "absolute_path", "data_type", "file_type", "label", "confidence", "human_verified", "bbox_left",
    "bbox_top", "bbox_right", "bbox_bottom", "file_width", "file_height", "DateTimeOriginal",
)  # fmt: skip
"""The columns of AddaxAI that a column may be read as."""
CORNERS = ("bboxleft", "bboxtop", "bboxright", "bboxbottom")
"""A box in pixels of the upright image, up to AddaxAI 6."""
SIZE = ("filewidth", "fileheight")
# Dates are written as 31/12/24 up to AddaxAI 6, whatever the language of the computer.
MEANING = Meaning(
    {
        **PLACE,
        "captured_at": ("capturedat", "datetimeoriginal", "datetimedigitized", "datetime"),
        "sequence": ("eventid",),
    },
    order="day",
)

_TELLING = frozenset(
    column_name(name)
    for name in (
        "absolute_path label confidence human_verified data_type n_detections max_confidence file_id file_type DateTimeOriginal "
        "observation_type classification_label is_verified bbox_left"
    ).split()
)
TableKind = Literal["files", "detections without names"]
"""A table that names files, or one that has ids of them only."""


def table_at(address: str) -> tuple[TableKind | None, tuple[str, ...]]:
    """Return the kind of a table, None for one that is not AddaxAI's, and the headings by which its sheet is found."""
    for needed in _SHEETS:
        if (kind := table_kind(headings_of(address, needed))) is not None:
            return kind, needed
    return None, ()


def table_kind(header: Collection[str]) -> TableKind | None:
    """Return the kind of one of AddaxAI's tables; None for other columns."""
    names = {column_name(name) for name in header}
    if "relativepath" in names and "file" not in names and names & _TELLING:
        return "files"
    return "detections without names" if {"detectionid", "fileid", "detectioncategory"} <= names else None
