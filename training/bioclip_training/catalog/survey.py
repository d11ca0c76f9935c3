"""Survey of the sources: number of rows, columns with values, and the columns that say which images belong together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bioclip_core.cells import DateOrder, column_name, dated_of, plain_cells
from bioclip_core.errors import DataError
from bioclip_core.taxonomy import Taxon
from bioclip_training.catalog.clashes import check_clashes, find_clashes
from bioclip_training.catalog.evidence import Evidence, date_cell, date_fault
from bioclip_training.catalog.naming.labelling import Labeller, first_cell
from bioclip_training.catalog.naming.likeness import Spellings
from bioclip_training.catalog.naming.one_taxon import OneTaxon, WrittenTaxa
from bioclip_training.catalog.options import BURST, FOLDER, HELD_OUT, IMAGE, BuildOptions
from bioclip_training.catalog.sources import LabelledSource, SkippedRow
from bioclip_training.catalog.splits import GROUP_COLUMNS, chosen_species, split_word


@dataclass(slots=True)
class _Seen:
    """Content of one source."""

    kind: str
    rows: int = 0
    labelled: int = 0
    """Rows that the source itself does not skip."""
    grouped: int = 0
    """Rows with a value in a column that groups are made of."""
    without_split: int = 0
    columns: Counter[str] = field(default_factory=Counter)
    """Rows with a value, by the column's plain name."""
    written: dict[str, str] = field(default_factory=dict)
    """The columns' own names by their plain ones."""
    orders: set[DateOrder] = field(default_factory=set)
    """Orders of day and month that dates of identification show."""
    undated: int = 0
    """Rows with a date of identification or review that does not count: it cannot be read, or is after today."""
    first_undated: str = ""

    def described(self, name: str, group_columns: Sequence[str]) -> dict[str, Any]:
        """Return what is stored about the source with the catalog."""
        return {
            "name": name,
            "kind": self.kind,
            "rows": self.rows,
            "group_by": " or ".join(self.written.get(column, column) for column in group_columns),
            "rows_without_group": self.labelled - self.grouped,
        }

    def add_review(self, said: Evidence | None) -> None:
        """Note the date of a review."""
        if said is not None and said.date_fault:
            self.undated += 1
            self.first_undated = self.first_undated or said.date_fault

    def add_date(self, cells: Mapping[str, Any], given: DateOrder | None) -> None:
        """Note the date of identification of a row."""
        if (written := date_cell(cells)) is None:
            return
        dated = dated_of(written, given)
        if dated is not None and dated.order is not None:
            self.orders.add(dated.order)
        if fault := date_fault(written, dated):
            self.undated += 1
            self.first_undated = self.first_undated or f"{written}: {fault}"


@dataclass(frozen=True, slots=True)
class Survey:
    """Knowledge about the sources before any image is read."""

    rows: int
    group_columns: Mapping[str, tuple[str, ...]]
    """Per source the plain names of its group columns, of which a row's first one with a value counts; or one of ``image``,
    ``folder`` and ``burst``."""
    held_species: tuple[Taxon, ...]
    taxa: OneTaxon
    """One lineage and one common name for each taxon."""
    held_out_groups: Mapping[str, str]
    """Groups that one source trains on and another one holds out, with the held-out split to which all their rows go."""
    sources: list[dict[str, Any]]
    """Per source its name, kind, rows, group columns by their own names, and the rows without a value in these."""
    date_orders: Mapping[str, DateOrder | None]
    """Per source the order of day and month in its dates of identification: the given one, or the one that the dates show."""
    dates_not_read: tuple[int, str]
    """Rows with a date of identification or review that does not count, and the first such date with the reason."""

    def facts(self) -> dict[str, Any]:
        """Return what is stored with the catalog."""
        held = [taxon.scientific_name for taxon in self.held_species]
        facts = {"sources": self.sources, "held_species": held, **self.taxa.facts()}
        rows, first = self.dates_not_read
        return {**facts, "dates_not_read": {"rows": rows, "first": first}} if rows else facts


def survey(sources: Sequence[LabelledSource], labeller: Labeller, options: BuildOptions) -> Survey:
    """Read every source once, without its images. From here on the labeller gives every taxon one label.

    Raises:
        DataError: if ``group_by`` is not a column, nothing says which images belong together, the splits of two sources clash, or
            no species would be left.
    """
    written, spellings = WrittenTaxa(), Spellings()
    seen = {source.name: _seen(source, labeller, options, written, spellings) for source in sources}
    chosen = {name: _group_columns(own, options) for name, own in seen.items()}
    _check_groups(seen, chosen, options)
    columns = {name: found or (IMAGE,) for name, found in chosen.items()}
    stating = [source for source in sources if seen[source.name].without_split < seen[source.name].labelled]
    clashes = find_clashes(stating, columns)
    check_clashes(clashes, options.clashing_splits)
    held_out = {clash.group: clash.held_out.split for clash in clashes} if options.clashing_splits == HELD_OUT else {}
    taxa = written.joined()
    labeller.join(taxa)
    labeller.suspect(spellings)
    certain = [taxon for taxon in taxa.taxa if not labeller.is_suspect(taxon)]
    held = chosen_species(certain, options.holdout_share, options.holdout_names)
    given = {source.name: source.date_order for source in sources}
    shown = {name: min(own.orders) if len(own.orders) == 1 else None for name, own in seen.items()}
    undated = [own for own in seen.values() if own.undated]
    return Survey(
        sum(own.rows for own in seen.values()), columns, tuple(held), taxa, held_out,
        [own.described(name, columns[name]) for name, own in seen.items()],
        {name: given[name] or shown[name] for name in seen},
        (sum(own.undated for own in undated), undated[0].first_undated if undated else ""),
    )  # fmt: skip


def _seen(
    source: LabelledSource, labeller: Labeller, options: BuildOptions, written: WrittenTaxa, spellings: Spellings
) -> _Seen:
    """Read one source, and add its names to those of the others."""
    asked = GROUP_COLUMNS if options.group_by is None else (column_name(options.group_by),)
    own = _Seen(source.kind)
    for item in source.items():
        own.rows += 1
        about = item.item if isinstance(item, SkippedRow) else item
        own.add_review(about.evidence if about is not None else None)
        if isinstance(item, SkippedRow):
            continue
        own.labelled += 1
        cells = plain_cells(item.cells)
        own.without_split += not split_word(cells.get("split"))
        own.grouped += bool(first_cell(cells, asked))
        if item.evidence is None or not item.evidence.date_fault:
            own.add_date(cells, source.date_order)
        for column in item.cells:
            name = column_name(column)
            if first_cell(item.cells, [column]):
                own.columns[name] += 1
                own.written.setdefault(name, str(column))
        label = labeller.label(cells)
        if not (label.unresolved and options.only_resolved):
            written.add(label, source.name, item.uri)
        labeller.names.learn(label)
        if not label.is_decided:
            spellings.add(label.taxon.scientific_name, source.name, label.taxon.common_name)
    return own


def _group_columns(own: _Seen, options: BuildOptions) -> tuple[str, ...]:
    """Return the columns of a source's groups: the chosen one, else each with values, up to the first without a gap."""
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
    if not any(own.labelled for own in seen.values()):
        return  # no row can be used, and building says why
    if options.group_by is not None:
        if not any(chosen.values()):
            columns = sorted({column for own in seen.values() for column in own.written.values()})
            raise DataError(
                f"--group-by {options.group_by}: no source has values in such a column; there are {', '.join(columns) or 'none'}, "
                f"and beside them {IMAGE} (each file alone) and {FOLDER} (the files of a folder)"
            )
        return
    for name, own in seen.items():
        if not chosen[name] and own.kind == "table" and own.without_split and options.val > 0:
            raise DataError(
                f"{name}: nothing says which images belong together, so frames of a burst or photos of a specimen would be on both "
                f"sides of the split: name its column with --group-by COLUMN (there are {', '.join(own.written.values())}), "
                f"give the table a split column, or use --group-by {IMAGE} if every image shows another individual"
            )
