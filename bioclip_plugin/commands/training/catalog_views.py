"""What ``catalog build`` says at its end and ``catalog show`` prints: a catalog in numbers, its taxa, its changes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bioclip_plugin.commands.options import json_option
from bioclip_plugin.commands.reporting import console_for, print_json_line, printable

if TYPE_CHECKING:
    from rich.console import Console

    from bioclip_core.taxonomy import Taxon
    from bioclip_training.catalog.overview import Overview
    from bioclip_training.catalog.rows import Catalog

_HOW = {
    "image": "each image is a group of its own",
    "folder": "the images of a folder are a group",
    "burst": "images of one folder and camera taken within 5 minutes are a group, others stand alone",
}
_LISTED = 5  # names in a line of the summary


@click.command("show")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--taxa", is_flag=True, help="List every taxon with its rows and groups in each split.")
@click.option("--changes", is_flag=True, help="List what was changed in names, and on how many rows.")
@json_option
def show(file: Path, taxa: bool, changes: bool, as_json: bool) -> None:
    """Show what a catalog holds: splits, taxa, duplicates, what was left out.

    \b
    bioclip-plugin catalog show collection.parquet --taxa
    """
    from bioclip_training.catalog.overview import overview
    from bioclip_training.catalog.rows import Catalog

    opened = Catalog.open(file)
    counted = overview(opened)
    if as_json:
        print_json_line(json.dumps(_as_json(opened, counted, taxa, changes), ensure_ascii=False))
        return
    console = console_for()
    if taxa:
        _say_taxa(console, counted)
    if changes:
        _say_changes(console, opened)
    if not taxa and not changes:
        say_overview(console, file, counted, {})


def _as_json(opened: Catalog, counted: Overview, taxa: bool, changes: bool) -> dict[str, Any]:
    from bioclip_training.catalog.overview import changes_of

    said = {"file": str(opened.file), "id": opened.identity, **counted.as_dict()}
    if taxa:
        said["by_taxon"] = [
            {
                "name": one.taxon.scientific_name,
                "rank": one.taxon.rank.value if one.taxon.rank else "",
                **one.taxon.as_dict(),
                "rows": dict(one.rows),
                "groups": dict(one.groups),
            }
            for one in counted.taxa
        ]
    if changes:
        said["changes"] = [
            {"verbatim_name": verbatim, "name": name, "changes": list(done), "rows": rows}
            for verbatim, name, done, rows in changes_of(opened)
        ]
    return said


def say_overview(console: Console, file: Path, counted: Overview, lists: Mapping[str, Path]) -> None:
    """A catalog in numbers, and the files beside it that list what is not in it."""
    facts = counted.facts
    left_out = facts.get("left_out", {})
    read = facts.get("rows_read", counted.rows)
    images = _many(counted.images, "distinct image")
    console.print(
        f"{_many(read, 'row')} read: {counted.rows} in the catalog ({images}), {sum(left_out.values())} left out"
    )
    for kind, count in left_out.items():
        console.print(f"  left out: {count} {kind}")
    if "removed" in lists:
        console.print(f"  listed with their reasons in {lists['removed']}")
    _say_splits(console, counted)
    ranks = ", ".join(f"{count} at {rank}" for rank, count in counted.taxa_by_rank.items())
    console.print(
        f"{_many(len(counted.taxa), 'taxon', 'taxa')} ({ranks}); {counted.without_common_name} without a common name"
    )
    console.print(
        f"Names: {_many(counted.names_changed, 'row')} changed; see: bioclip-plugin catalog show {file} --changes"
    )
    if facts.get("unresolved"):
        where = f", listed in {lists['unresolved']}" if "unresolved" in lists else ""
        console.print(
            f"Not resolved: {_many(facts['unresolved']['names'], 'name')} on {_many(facts['unresolved']['rows'], 'row')}{where}"
        )
    _say_duplicates(console, facts.get("duplicates", {}), lists)
    for said in warnings_of(counted):
        console.print(f"Note: {said}")


def _say_splits(console: Console, counted: Overview) -> None:
    for word, (rows, groups, taxa) in counted.splits.items():
        numbers = (_many(rows, "row"), _many(groups, "group"), _many(taxa, "taxon", "taxa"))
        console.print(f"  {word or '(no split)'}: {', '.join(numbers)}")
    for source in counted.facts.get("sources", ()):
        column = source["group_by"]
        how = _HOW.get(column, f"groups by {column}")
        if column not in _HOW and source["rows_without_group"]:
            how += f"; {_many(source['rows_without_group'], 'row')} without one stand alone"
        console.print(f"  {printable(source['name'])}: {_many(source['rows'], 'row')}, {how}")


def _say_duplicates(console: Console, found: Mapping[str, int], lists: Mapping[str, Path]) -> None:
    if not found:
        return
    where = f", listed in {lists['duplicates']}" if "duplicates" in lists else ""
    console.print(
        f"Duplicates: {_many(found['equal_groups'], 'group')} of identical regions, {_many(found['near_pairs'], 'pair')} of nearly "
        f"equal ones{where}; across splits {found['equal_pairs_across']} and {found['near_pairs_across']} pairs, "
        f"{_many(found['removed'], 'row')} removed from training"
    )


def _many(count: int, one: str, many: str = "") -> str:
    """A number with its noun.

    >>> _many(1, "taxon", "taxa"), _many(2, "row")
    ('1 taxon', '2 rows')
    """
    return f"{count} {one if count == 1 else many or one + 's'}"


def warnings_of(counted: Overview) -> list[str]:
    """What a curator should know before training."""
    facts = counted.facts
    found = facts.get("duplicates", {})
    counts = (
        ("identical images whose labels cannot both be true", found.get("conflicting")),
        ("pairs of nearly equal images with different labels", found.get("near_pairs_of_other_taxa")),
        ("groups on both sides of the sources' own splits, so that the held-out rows look easier", facts.get("groups_on_both_sides")),
        ("rows moved from train to val, since their groups hold a species that is kept unseen", facts.get("moved_to_val")),
        ("rows of train labelled above the species that may show one that is kept unseen", facts.get("trained_above_held_species")),
    )  # fmt: skip
    said = [f"{what}: {count}" for what, count in counts if count]
    names = (
        ("names under several lineages, since ranks are missing in some rows (fill them, or give --taxonomy FILE)", counted.scattered),
        ("taxa with a single example or group in train, of which nothing is held out", _names_of(counted.single)),
        ("taxa without a row in train", _names_of(counted.not_trained) if "train" in counted.splits else ()),
    )  # fmt: skip
    said += [f"{what}: {len(which)} ({_shortened(which)})" for what, which in names if which]
    if "train" in counted.splits and not set(counted.splits) - {"train", "dev"}:
        said.append("no row is held out, so nothing can be evaluated: give a larger --val, or a split column")
    elif facts.get("drawn") and counted.by_image:
        said.append(
            "every group is a single image, so the split is one by image: photos of one individual or moment stand on both sides, "
            "unless they are near duplicates; where a column says what belongs together, name it with --group-by"
        )
    return said


def _names_of(taxa: Sequence[Taxon]) -> Sequence[str]:
    return [taxon.scientific_name for taxon in taxa]


def _shortened(names: Sequence[str]) -> str:
    shown = ", ".join(map(printable, names[:_LISTED]))
    return shown if len(names) <= _LISTED else f"{shown} and {len(names) - _LISTED} more"


def _say_taxa(console: Console, counted: Overview) -> None:
    from rich.table import Table

    words = list(counted.splits)
    table = Table("taxon", "rank", "common name", *(f"{word or 'no split'} rows (groups)" for word in words))
    for one in counted.taxa:
        cells = [f"{one.rows.get(word, 0)} ({one.groups.get(word, 0)})" if one.rows.get(word) else "" for word in words]
        rank = one.taxon.rank.value if one.taxon.rank else ""
        table.add_row(printable(one.taxon.scientific_name), rank, printable(one.taxon.common_name), *cells)
    console.print(table)


def _say_changes(console: Console, opened: Catalog) -> None:
    from bioclip_training.catalog.overview import changes_of

    count = 0
    for verbatim, name, done, rows in changes_of(opened):
        console.print(f"{printable(verbatim)} → {printable(name)} ({rows} rows): {'; '.join(map(printable, done))}")
        count += 1
    if not count:
        console.print("No name was changed.")
