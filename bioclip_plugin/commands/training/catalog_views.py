"""Output of ``catalog build`` and ``catalog show``: a catalog in numbers, its taxa, its changes of names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from bioclip_core.next_commands import command
from bioclip_core.nouns import number_of
from bioclip_core.taxonomy import PLAIN_LABEL, Taxon
from bioclip_plugin.commands.options import json_option
from bioclip_plugin.commands.reporting import (
    console_for,
    first_of,
    print_json,
    print_lines,
    print_table,
    printable,
)

if TYPE_CHECKING:
    from bioclip_training.catalog.overview import Overview
    from bioclip_training.evidence.minima import Evidence

_GROUPING = {
    "image": "each image is a group of its own",
    "folder": "the images of a folder are a group",
    "burst": "images of one folder and camera taken within 5 minutes are a group, others are alone",
}
_SHOWN_NAMES = 5
MERGED, UNDECIDED = "merged", "undecided"
"""Kinds of rows in the counts of a catalog that stand on the summary's first line."""


@click.command("show")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--taxa", is_flag=True, help="List every taxon with its rows and groups in each split.")
@click.option("--changes", is_flag=True, help="List the changes of names, each with its number of rows.")
@json_option
def show(file: Path, taxa: bool, changes: bool, as_json: bool) -> None:
    """Show what a catalog holds: splits, taxa, duplicates, skipped rows.

    \b
    bioclip-plugin catalog show collection.parquet --taxa
    """
    from bioclip_training.catalog.overview import changes_of, overview
    from bioclip_training.catalog.rows import Catalog

    catalog = Catalog.open(file)
    counted = overview(catalog)
    renamed = list(changes_of(catalog)) if changes else []
    if as_json:
        values = {"file": str(catalog.file), "id": catalog.identity, **counted.as_dict()}
        if taxa:
            values["by_taxon"] = [
                {
                    "name": entry.taxon.scientific_name,
                    "rank": _rank_of(entry.taxon),
                    **entry.taxon.as_dict(),
                    "rows": dict(entry.rows),
                    "groups": dict(entry.groups),
                }
                for entry in counted.taxa
            ]
        if changes:
            keys = ("verbatim_name", "name", "changes", "rows")
            values["changes"] = [dict(zip(keys, change, strict=True)) for change in renamed]
        print_json(values)
        return
    console = console_for()
    if taxa:
        _print_taxa(console, counted)
    print_lines(
        console,
        *(
            f"{printable(verbatim)} → {printable(name)} ({number_of(rows, 'row')}): {'; '.join(map(printable, done))}"
            for verbatim, name, done, rows in renamed
        ),
        "No name was changed." if changes and not renamed else "",
        *(() if taxa or changes else described(file, counted, {})),
    )


def described(file: Path, counted: Overview, lists: Mapping[str, Path]) -> list[str]:
    """Return a catalog in numbers as lines, with the files beside it that list the rows that are not in it."""
    facts = counted.facts
    skipped, unresolved, duplicates, apart, merging = (
        facts.get(name, {}) for name in ("left_out", "unresolved", "duplicates", "names_apart", "merging")
    )
    ranks = ", ".join(
        f"{count} at {rank}" if rank != PLAIN_LABEL else number_of(count, PLAIN_LABEL)
        for rank, count in counted.taxa_by_rank.items()
    )
    listed_in = {kind: f", listed in {path}" for kind, path in lists.items()}
    return [
        _first_line(counted),
        *(
            f"  skipped: {count} {kind}{_first_of(facts, kind)}"
            for kind, count in skipped.items()
            if kind not in (MERGED, UNDECIDED)
        ),
        f"  labels of a source replaced by those of one that comes first: {merging['replaced_labels']}{listed_in.get('merged', '')}"
        if merging.get("replaced_labels")
        else "",
        f"  undecided: {number_of(merging['undecided_images'], 'image')} with contradictory labels"
        f"{listed_in.get('merged', '')}; review these images or correct one of the labels"
        f"{', or say which source counts with --prefer TABLE' if merging['undecided_between_sources'] else ''}"
        if merging.get("undecided_images")
        else "",
        f"  listed with their reasons in {lists['removed']}" if "removed" in lists else "",
        *_splits_and_sources(counted),
        *(line for found in counted.evidence for line in _shown_by(found, counted.enough_dev)),
        f"{number_of(len(counted.taxa), 'taxon', 'taxa')} ({ranks}); {counted.without_common_name} without a common name",
        f"Names: {number_of(counted.names_changed, 'row')} changed; see: {command('catalog show', file, changes=True)}",
        *(
            f"  {kind}: {number_of(rows, 'row')} (for example {printable(first)})"
            for kind, rows, first in counted.changes
        ),
        f"Kept apart: {number_of(apart['names'], 'name')} with contradictory lineages (the first: {printable(apart['first'])})"
        f"{listed_in.get('apart', '')}; if they are one taxon, correct the sources or give --taxonomy FILE"
        if apart.get("names")
        else "",
        f"Not resolved: {number_of(unresolved['names'], 'name')} on {number_of(unresolved['rows'], 'row')}"
        f"{listed_in.get('unresolved', '')}"
        if unresolved
        else "",
        f"Duplicates: {number_of(duplicates['equal_groups'], 'group')} of identical regions, "
        f"{number_of(duplicates['near_pairs'], 'pair')} of nearly equal ones{listed_in.get('duplicates', '')}; across splits "
        f"{duplicates['equal_pairs_across']} and {duplicates['near_pairs_across']} pairs, "
        f"{number_of(duplicates['removed'], 'row')} removed from training"
        if duplicates
        else "",
        *(f"Note: {text}" for text in warnings_of(counted)),
    ]


def _first_line(counted: Overview) -> str:
    """Return the numbers of rows that were read, kept, skipped, merged and left undecided."""
    facts, read = counted.facts, counted.facts.get("rows_read", counted.rows)
    images = number_of(counted.images, "distinct image")
    rows = dict(facts.get("left_out", {}))
    repeated, undecided = rows.pop(MERGED, 0), rows.pop(UNDECIDED, 0)
    parts = [
        f"{number_of(read, 'row')} read: {counted.rows} in the catalog ({images})",
        f"{sum(rows.values())} skipped",
        f"{repeated} merged with these" if repeated else "",
        f"{undecided} undecided",
    ]
    return ", ".join(filter(None, parts))


def _first_of(facts: Mapping[str, Any], kind: str) -> str:
    """Return the first skipped row of a kind in brackets; empty for a catalog that does not store it."""
    first = facts.get("left_out_first", {}).get(kind)
    return f" (the first: {printable(first)})" if first else ""


def _splits_and_sources(counted: Overview) -> Iterator[str]:
    for word, (rows, groups, taxa) in counted.splits.items():
        numbers = (number_of(rows, "row"), number_of(groups, "group"), number_of(taxa, "taxon", "taxa"))
        yield f"  {word or '(no split)'}: {', '.join(numbers)}"
    for source in counted.facts.get("sources", ()):
        column = source["group_by"]
        grouping = _GROUPING.get(column, f"groups by {column}")
        if column not in _GROUPING and source["rows_without_group"]:
            grouping += f"; {number_of(source['rows_without_group'], 'row')} without a group are alone"
        yield f"  {printable(source['name'])}: {number_of(source['rows'], 'row')}, {grouping}"


def _shown_by(found: Evidence, enough: float | None) -> list[str]:
    """Return what the held-out images of a part can show, for a catalog that has any."""
    if not found.images:
        return []
    lines = [found.shows]
    if found.part != "dev" or found.can_choose:
        return lines
    from bioclip_training.catalog.enough_dev import advice_on_dev

    return [*lines, found.rule, advice_on_dev(enough)]


def warnings_of(counted: Overview) -> list[str]:
    """Return what a curator should know before training."""
    facts = counted.facts
    found, merging, undated = (facts.get(name, {}) for name in ("duplicates", "merging", "dates_not_read"))
    counts = (
        ("identical images with contradictory labels", found.get("conflicting")),  # in catalogs of earlier versions
        ("occurrence ids of plain numbers with other taxa in another source, not taken for the same", merging.get("loose_occurrences")),
        (f"dates of identifications or reviews that do not count (the first: {printable(undated.get('first', ''))})", undated.get("rows")),
        ("pairs of nearly equal images with different labels", found.get("near_pairs_of_other_taxa")),
        ("groups on both sides of the sources' own splits, so that the held-out rows look easier", facts.get("groups_on_both_sides")),
        ("rows moved out of train, since another source holds their groups out", facts.get("moved_to_held_out")),
        ("rows moved from train to val, since their groups hold a species that is kept unseen", facts.get("moved_to_val")),
        ("rows of train labelled above the species that may show one that is kept unseen", facts.get("trained_above_held_species")),
    )  # fmt: skip
    warnings = [f"{text}: {count}" for text, count in counts if count]
    names = (
        ("names under several lineages which could be one, since ranks are missing in some rows (build the catalog again, fill the "
         "ranks, or give --taxonomy FILE)", counted.scattered),
        ("taxa with a single example or group in train, so that nothing of them is held out", _names_of(counted.single)),
        ("taxa without a row in train", _names_of(counted.not_trained) if "train" in counted.splits else ()),
    )  # fmt: skip
    warnings += [f"{text}: {len(taxa)} ({first_of(taxa, _SHOWN_NAMES)})" for text, taxa in names if taxa]
    if "train" in counted.splits and not set(counted.splits) - {"train", "dev"}:
        warnings.append(f"no row is held out, so nothing can be evaluated: {_to_hold_out(counted)}")
    elif facts.get("drawn") and counted.by_image:
        warnings.append(
            "every group is a single image: photos of one individual or moment may be on both sides of the split, "
            "unless they are near duplicates; if a column says what belongs together, name it with --group-by"
        )
    return warnings


def _to_hold_out(counted: Overview) -> str:
    """Return what gives a catalog a held-out part."""
    if counted.taxa and len(counted.single) == len(counted.taxa):
        return (
            "each species needs images of a second group (another individual, place or day), or give a split column; a larger --val "
            "changes nothing"
        )
    return "give a larger --val, or a split column"


def _names_of(taxa: Sequence[Taxon]) -> list[str]:
    return [taxon.scientific_name for taxon in taxa]


def _rank_of(taxon: Taxon) -> str:
    """Return the rank as answers state it: ``label`` for a plain label."""
    from bioclip_core.labels.label_set import LABEL

    return LABEL if taxon.words else str(taxon.rank or "")


def _print_taxa(console: Console, counted: Overview) -> None:
    words, rows = list(counted.splits), []
    for entry in counted.taxa:
        cells = [f"{entry.rows[word]} ({entry.groups.get(word, 0)})" if word in entry.rows else "" for word in words]
        rows.append(
            [printable(entry.taxon.scientific_name), _rank_of(entry.taxon), printable(entry.taxon.common_name), *cells]
        )
    print_table(
        console, ("taxon", "rank", "common name", *(f"{word or 'no split'} rows (groups)" for word in words)), rows
    )
