"""The columns of AddaxAI's tables: those of AddaxAI 7, and those of EcoAssist and AddaxAI up to 6."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from bioclip_core.cells import column_name
from bioclip_plugin.formats.shared.image_tables import PLACE, Meaning

NEEDED = ("relative_path", "detection_id")
"""Headings of which one of AddaxAI's tables has one."""
CORNERS = ("bboxleft", "bboxtop", "bboxright", "bboxbottom")
"""A box in pixels of the upright image, up to AddaxAI 6."""
SIZE = ("filewidth", "fileheight")
# Dates are written as 31/12/24 up to AddaxAI 6, whatever the language of the computer.
MEANING = Meaning(
    {**PLACE, "captured_at": ("datetimeoriginal", "datetimedigitized", "datetime"), "sequence": ("eventid",)},
    order="day",
)

_TELLING = frozenset(
    column_name(name)
    for name in (
        "absolute_path label confidence human_verified data_type n_detections max_confidence file_id file_type DateTimeOriginal "
        "observation_type classification_label is_verified bbox_left"
    ).split()
)
_TableKind = Literal["files", "detections without names"]


def table_kind(header: Collection[str]) -> _TableKind | None:
    """Return the kind of one of AddaxAI's tables; None for other columns."""
    names = {column_name(name) for name in header}
    if "relativepath" in names and "file" not in names and names & _TELLING:
        return "files"
    return "detections without names" if {"detectionid", "fileid", "detectioncategory"} <= names else None
