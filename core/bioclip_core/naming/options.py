"""Options about names that are not scientific ones, wherever names are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from bioclip_core.options import check_options


@dataclass(frozen=True, slots=True, kw_only=True)
class NameOptions:
    """Decisions about names that are refused otherwise."""

    plain_labels: bool = False
    """Take every name as a word without a taxonomy, so that "red fox" is a label; words for verdicts are still left out."""
    split_names: bool = False
    """Read each name of a cell that holds several; an image is labelled by the lowest taxon that all of them share."""
    name_map: Path | None = field(default=None, metadata={"flag": "--map", "metavar": "FILE"})
    """Table with the columns written_name and map_to: a scientific name, a verdict, `keep`, or `plain` with --plain-labels."""

    def __post_init__(self) -> None:
        check_options(self)
