"""The SpeciesNet format as reader, writer and check share it: its version, categories, failures and top level."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bioclip_core.errors import UsageError
from bioclip_plugin.formats.shared.duplicates import Duplicates
from bioclip_plugin.formats.shared.streamed_json import Beginning, elements

FORMAT_VERSION = "20261015"
"""The version of speciesnet 5.x, which is written; it is read beside the 4.x shape, which does not state a version."""
WHOLE_IMAGE = "0"
"""Category of the box of a whole image that was classified."""
LABELS: Mapping[str, str] = {WHOLE_IMAGE: "whole_image_classification", "1": "animal", "2": "human", "3": "vehicle"}
"""The ``label`` of each ``category``."""
FAILURES = ("CLASSIFIER", "DETECTOR", "GEOLOCATION")
FAILED = "SpeciesNet failed: "
"""Beginning of the reason of a failure that a file states; the names of the failed parts follow."""
OLD_FIELDS = ("classifications", "classifications_list", "prediction", "processed_classifications")
"""Fields of an image in files before 5.x; speciesnet 5.0.6 refuses a file with one of them."""


@dataclass
class Survey:
    """Results of the first of two readings of a file."""

    head: dict[str, Any] = field(default_factory=dict)
    """Top-level members; an empty list for an array."""
    duplicates: Duplicates = field(default_factory=Duplicates)
    """Files that are named twice."""
    old_field: tuple[int, str] | None = None
    """Number of the first image with one of OLD_FIELDS, and that field."""


def survey(path: Path) -> Survey:
    """Read a file once, which also finds broken JSON before any image is listed.

    Raises:
        SourceError: if it cannot be read, or is not JSON.
    """
    found = Survey()
    for number, record in elements(path, "predictions", found.head):
        if isinstance(record, dict):
            if isinstance(record.get("filepath"), str):
                found.duplicates.note(record["filepath"])
            if found.old_field is None:
                found.old_field = next(((number, field) for field in OLD_FIELDS if field in record), None)
    return found


def is_speciesnet(seen: Beginning) -> bool:
    """True if a file with this beginning holds SpeciesNet's predictions."""
    listed = seen.members.get("predictions")
    if not isinstance(listed, list):
        return False
    if not listed:  # an empty array, or the first element is longer than the beginning
        return '"filepath"' in seen.text or '"format_version"' in seen.text
    return any(isinstance(one, dict) and "filepath" in one for one in listed)


def check_version(head: Mapping[str, Any]) -> None:
    """Refuse unknown versions of the format; files of 4.x do not state one.

    Raises:
        UsageError: if there is an ``info`` that does not state the version that is read.
    """
    allowed = f"{FORMAT_VERSION!r} (speciesnet 5.x) and files without info (4.x) are read"
    if "info" not in head:
        return
    info = head["info"]
    version = info.get("format_version") if isinstance(info, dict) else None
    if version is None:
        raise UsageError(f"info.format_version is missing: {allowed}")
    if str(version) != FORMAT_VERSION or isinstance(version, bool):
        raise UsageError(f"format_version {version!r} is not known: {allowed}")
