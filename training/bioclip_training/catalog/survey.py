"""The first look at the sources: how many rows, which columns have values, what says which images belong together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bioclip_core.errors import UsageError
from bioclip_core.taxonomy import Taxon
from bioclip_training.catalog.labelling import Labeller, clean_name_kept, given_split
from bioclip_training.catalog.names import plain_cells
from bioclip_training.catalog.options import FOLDER, IMAGE, BuildOptions
from bioclip_training.catalog.rows import LabelledItem
from bioclip_training.catalog.sources import LabelledSource, LeftOut
from bioclip_training.catalog.splits import GROUP_COLUMNS, chosen_species


@dataclass(slots=True)
class _Seen:
    """What one source has."""

    kind: str
    rows: int = 0
    without_split: int = 0
    columns: dict[str, int] = field(default_factory=dict)
    """How many rows have a value, by plain name."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What is known of the sources before any image is read."""

    rows: int
    group_columns: Mapping[str, str]
    """For each source the plain name of the column that its groups are of, ``image`` or ``folder``."""
    held_species: tuple[Taxon, ...]
    counts: Mapping[str, tuple[str, int, int]]
    """For each source its kind, its rows, and how many have a value in the group's column."""

    def facts(self) -> dict[str, Any]:
        """As stored with the catalog."""
        return {
            "sources": [
                {
                    "name": name,
                    "kind": kind,
                    "rows": rows,
                    "group_by": self.group_columns[name],
                    "rows_with_group": grouped,
                }
                for name, (kind, rows, grouped) in self.counts.items()
            ],
            "held_species": [taxon.scientific_name for taxon in self.held_species],
        }


def survey(sources: Sequence[LabelledSource], labeller: Labeller, options: BuildOptions) -> Survey:
    """Read every source once, without its images.

    Raises:
        UsageError: if ``group_by`` names no column, nothing says which images belong together, or no species would be left.
    """
    seen: dict[str, _Seen] = {}
    taxa: dict[tuple[str, ...], Taxon] = {}
    for source in sources:
        own = seen[source.name] = _Seen(source.kind)
        for item in source.items():
            own.rows += 1
            if isinstance(item, LeftOut):
                continue
            cells = plain_cells(item.cells)
            own.without_split += not given_split(cells)
            for name, value in cells.items():
                if clean_name_kept(value):
                    own.columns[name] = own.columns.get(name, 0) + 1
            taxon = labeller.label(cells).taxon
            taxa.setdefault(taxon.lineage, taxon)
    chosen = {name: _group_column(own, options) for name, own in seen.items()}
    _check_groups(seen, chosen, options)
    held = chosen_species(list(taxa.values()), options.holdout_share, options.holdout_names)
    counts = {name: (own.kind, own.rows, own.columns.get(chosen[name] or "", 0)) for name, own in seen.items()}
    return Survey(
        sum(own.rows for own in seen.values()),
        {name: column or IMAGE for name, column in chosen.items()},
        tuple(held),
        counts,
    )


def group_of(column: str, cells: Mapping[str, Any], item: LabelledItem) -> str:
    """What a row's group is called; empty where nothing is known and its image stands alone."""
    if column == IMAGE:
        return ""
    if column == FOLDER:
        return f"folder {item.uri.rpartition('/')[0]}"
    return clean_name_kept(cells.get(column))


def _group_column(own: _Seen, options: BuildOptions) -> str | None:
    if options.group_by is None:
        return next((name for name in GROUP_COLUMNS if name in own.columns), None)
    wanted = plain_cells({options.group_by: ""})
    name = next(iter(wanted))
    return name if name in (IMAGE, FOLDER) or name in own.columns else None


def _check_groups(seen: Mapping[str, _Seen], chosen: Mapping[str, str | None], options: BuildOptions) -> None:
    if options.group_by is not None and not any(chosen.values()):
        columns = sorted({column for own in seen.values() for column in own.columns})
        raise UsageError(
            f"--group-by {options.group_by}: no source has values in such a column; there are {', '.join(columns) or 'none'}, "
            f"and beside them {IMAGE} (each file alone) and {FOLDER} (the files of a folder)"
        )
    for name, own in seen.items():
        if (
            chosen[name] is None
            and own.kind == "table"
            and own.without_split
            and options.val > 0
            and options.group_by is None
        ):
            raise UsageError(
                f"{name}: nothing says which images belong together, so frames of a burst or photos of a specimen would stand on "
                f"both sides of the split: name its column with --group-by COLUMN (there are {', '.join(sorted(own.columns))}), "
                f"give the table a split column, or say --group-by {IMAGE} if every image is of another individual"
            )
