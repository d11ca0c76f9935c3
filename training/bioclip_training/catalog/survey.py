"""The first look at the sources: how many rows, which columns have values, what says which images belong together."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from bioclip_core.cells import column_name, plain_cells
from bioclip_core.errors import UsageError
from bioclip_core.taxonomy import Taxon
from bioclip_training.catalog.labelling import Labeller, clean_name_kept, given_split
from bioclip_training.catalog.options import BURST, FOLDER, IMAGE, BuildOptions
from bioclip_training.catalog.rows import LabelledItem
from bioclip_training.catalog.sources import LabelledSource, LeftOut
from bioclip_training.catalog.splits import GROUP_COLUMNS, chosen_species


@dataclass(slots=True)
class _Seen:
    """What one source has."""

    kind: str
    rows: int = 0
    labelled: int = 0
    """Rows that are not left out from the beginning."""
    grouped: int = 0
    """Rows with a value in a column that groups are of."""
    without_split: int = 0
    columns: dict[str, int] = field(default_factory=dict)
    """How many rows have a value, by plain name."""
    written: dict[str, str] = field(default_factory=dict)
    """The columns' own names by their plain ones."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What is known of the sources before any image is read."""

    rows: int
    group_columns: Mapping[str, tuple[str, ...]]
    """For each source the plain names of the columns that its groups are of, the first that a row has a value in; or one of
    ``image``, ``folder`` and ``burst``."""
    held_species: tuple[Taxon, ...]
    counts: Mapping[str, tuple[str, int, int, str]]
    """For each source its kind, its rows, how many have no value in those columns, and the columns' own names."""

    def facts(self) -> dict[str, Any]:
        """As stored with the catalog."""
        return {
            "sources": [
                {"name": name, "kind": kind, "rows": rows, "group_by": columns, "rows_without_group": alone}
                for name, (kind, rows, alone, columns) in self.counts.items()
            ],
            "held_species": [taxon.scientific_name for taxon in self.held_species],
        }


def survey(sources: Sequence[LabelledSource], labeller: Labeller, options: BuildOptions) -> Survey:
    """Read every source once, without its images.

    Raises:
        UsageError: if ``group_by`` names no column, nothing says which images belong together, or no species would be left.
    """
    asked = GROUP_COLUMNS if options.group_by is None else (column_name(options.group_by),)
    seen: dict[str, _Seen] = {}
    taxa: dict[tuple[str, ...], Taxon] = {}
    for source in sources:
        own = seen[source.name] = _Seen(source.kind)
        for item in source.items():
            own.rows += 1
            if isinstance(item, LeftOut):
                continue
            own.labelled += 1
            cells = plain_cells(item.cells)
            own.without_split += not given_split(cells)
            own.grouped += any(clean_name_kept(cells.get(name)) for name in asked)
            for written, value in item.cells.items():
                if clean_name_kept(value):
                    name = column_name(written)
                    own.columns[name] = own.columns.get(name, 0) + 1
                    own.written.setdefault(name, str(written))
            taxon = labeller.label(cells).taxon
            taxa.setdefault(taxon.lineage, taxon)
    chosen = {name: _group_columns(own, options) for name, own in seen.items()}
    _check_groups(seen, chosen, options)
    held = chosen_species(list(taxa.values()), options.holdout_share, options.holdout_names)
    columns = {name: found or (IMAGE,) for name, found in chosen.items()}
    counts = {
        name: (
            own.kind,
            own.rows,
            own.labelled - own.grouped,
            " or ".join(own.written.get(c, c) for c in columns[name]),
        )
        for name, own in seen.items()
    }
    return Survey(sum(own.rows for own in seen.values()), columns, tuple(held), counts)


def group_of(columns: Sequence[str], cells: Mapping[str, Any], item: LabelledItem, root: Path | None) -> str:
    """What a row's group is called; empty where nothing is known and its image stands alone.

    Args:
        root: the source's folder, so that the name of a group is the same wherever the collection lies.
    """
    if columns[0] == FOLDER:
        folder = Path(item.path or item.uri).parent
        return f"folder {PurePath(os.path.relpath(folder, root) if root else folder).as_posix()}"
    return next((text for column in columns if (text := clean_name_kept(cells.get(column)))), "")


def _group_columns(own: _Seen, options: BuildOptions) -> tuple[str, ...]:
    """The columns of a source's groups; where none was asked for, each that has values, up to one that every row has."""
    if options.group_by is not None:
        name = column_name(options.group_by)
        return (name,) if name in (IMAGE, FOLDER) or name in own.columns else ()
    found: list[str] = []
    for name in GROUP_COLUMNS:
        if name in own.columns:
            found.append(name)
            if own.columns[name] == own.labelled:
                break
    return tuple(found) or (() if own.kind == "table" else (BURST,))


def _check_groups(seen: Mapping[str, _Seen], chosen: Mapping[str, tuple[str, ...]], options: BuildOptions) -> None:
    if options.group_by is not None and not any(chosen.values()):
        columns = sorted({column for own in seen.values() for column in own.written.values()})
        raise UsageError(
            f"--group-by {options.group_by}: no source has values in such a column; there are {', '.join(columns) or 'none'}, "
            f"and beside them {IMAGE} (each file alone) and {FOLDER} (the files of a folder)"
        )
    for name, own in seen.items():
        if (
            not chosen[name]
            and own.kind == "table"
            and own.without_split
            and options.val > 0
            and options.group_by is None
        ):
            raise UsageError(
                f"{name}: nothing says which images belong together, so frames of a burst or photos of a specimen would stand on "
                f"both sides of the split: name its column with --group-by COLUMN (there are {', '.join(own.written.values())}), "
                f"give the table a split column, or say --group-by {IMAGE} if every image is of another individual"
            )
