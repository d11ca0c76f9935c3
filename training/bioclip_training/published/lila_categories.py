"""Categories of COCO Camera Traps JSON as names: species, or by a mapping that the user gives; never guessed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bioclip_core.errors import SourceError, UsageError
from bioclip_core.listed_names import listed
from bioclip_core.names import judge_name, verdict_of_word
from bioclip_core.nouns import number_of
from bioclip_training.published.columns import RANK_COLUMNS
from bioclip_training.published.layout import Implausible, Layout, LayoutOption, ReadOptions, one_of, setting
from bioclip_training.published.reading.tables import ColumnTable, open_columns

CATEGORIES = LayoutOption(
    "categories",
    "scientific or common: the kind of name that categories are; or a table that maps them, such as LILA's taxonomy mapping "
    "(columns query or category, scientific_name, common_name, and ranks), relative to the source's folder.",
    words=("scientific", "common"),
    place="file",
)
DATASET = LayoutOption("dataset", "Name of the data set in a mapping of several (column dataset_name).")
WITHOUT_TAXON = LayoutOption(
    "without_taxon",
    "skip (the default) or keep images that are empty or show people or vehicles.",
    words=("skip", "keep"),
)
UNMAPPED = "annotations of categories that the mapping does not have"
NOT_A_TAXON = "annotations say that there is no animal or plant"
_RANKS = {rank: [rank] for rank in RANK_COLUMNS}


@dataclass(frozen=True, slots=True)
class Category:
    """The meaning of one category."""

    written: str
    cells: Mapping[str, str] = field(default_factory=dict)
    """Columns of records."""
    skipped: str = ""
    """Reason why its annotations are skipped."""


def categories_of(
    found: Mapping[str, Mapping[str, Any]], layout: Layout, root: Path, options: ReadOptions, where: str
) -> dict[str, Category]:
    """Return the meaning of each category by its id.

    Args:
        found: the categories of the file by id.
        layout: for its options.
        root: folder of the source.
        options: has them.
        where: the file, for messages.

    Raises:
        Implausible: if the categories are not all species, and no option says what they are.
        SourceError: for a mapping that has none of the categories.
    """
    names = {number: str(entry.get("name") or "").strip() for number, entry in found.items()}
    keeps = setting(layout, options, "without_taxon", "skip", one_of("skip", "keep")) == "keep"
    given = str(setting(layout, options, "categories", ""))
    blank = {name for name in names.values() if not name or verdict_of_word(name)}
    if given not in ("", "scientific", "common"):
        mapping = _mapping(root / given, layout, options)
        meanings = {name: mapping.get(_key(name)) for name in set(names.values()) - blank}
        if meanings and not any(meanings.values()):
            raise SourceError(f"categories: {given} has none of the categories of {where}: {listed(sorted(meanings))}")
        cells: dict[str, Mapping[str, str] | None] = {**meanings}
    else:
        if dataset := setting(layout, options, "dataset", ""):
            raise UsageError(
                f"dataset: {dataset} is of a table of categories, which is not given: state it as categories: FILE"
            )
        kind = given or _kind_of(sorted(set(names.values()) - blank), where)
        column = "verbatim_name" if kind == "scientific" else "common_name"
        cells = {name: {column: name} for name in set(names.values()) - blank}
    return {number: _category(name, name in blank, cells.get(name), keeps=keeps) for number, name in names.items()}


def _category(name: str, is_blank: bool, cells: Mapping[str, str] | None, *, keeps: bool) -> Category:
    if is_blank:
        return Category(name, {"caption": name}, "" if keeps else NOT_A_TAXON)
    if cells is None:
        return Category(name, {"caption": name}, UNMAPPED)
    language = {"common_name_language": "en"} if cells.get("common_name") else {}
    return Category(name, {**cells, **language, "caption": name})


def _kind_of(names: list[str], where: str) -> str:
    """Return ``scientific`` if all names are species; else the user has to say it."""
    other = [name for name in names if not _is_species(name)]
    if not other:
        return "scientific"
    raise Implausible(
        f"{where}: {number_of(len(other), 'category', 'categories')} of {len(names)} are not names of species ({listed(other)}). "
        "State categories: common if they are common names, categories: scientific if they are taxa, or categories: FILE, "
        "a table with the columns category, scientific_name and common_name, such as LILA's taxonomy mapping"
    )


def _is_species(name: str) -> bool:
    words = name.split()
    return (
        len(words) in (2, 3)
        and name[0].isupper()
        and "_" not in name
        and judge_name(name).is_name
        and words[1].islower()
    )


def _key(name: str) -> str:
    return name.strip().lower()


def _mapping(path: Path, layout: Layout, options: ReadOptions) -> dict[str, Mapping[str, str]]:
    table = open_columns(path, options.findings, options.table)
    query = table.heading("query", "category", "name", "label")
    if not query or not table.heading("scientific_name", *RANK_COLUMNS):
        raise SourceError(
            f"categories: {table.name} needs the columns category (or query) and scientific_name; it has {', '.join(table.header)}"
        )
    wanted = {"query": [query], "verbatim_name": ["scientific_name"], "common_name": ["common_name"], **_RANKS}
    wanted |= {"taxon_rank": ["taxonomy_level", "taxon_rank"], "dataset": ["dataset_name"]}
    rows = [row for batch in table.columns(wanted) for row in batch.to_pylist()]
    rows = _of_dataset(rows, layout, table, options)
    found: dict[str, Mapping[str, str]] = {}
    for row in rows:
        cells = {name: value for name, value in row.items() if name not in ("query", "dataset") and value}
        if set(cells) - {
            "common_name",
            "taxon_rank",
        }:  # LILA's mapping has rows without a taxon, for people and vehicles
            found.setdefault(_key(row["query"]), cells)
    return found


def _of_dataset(
    rows: list[dict[str, str]], layout: Layout, table: ColumnTable, options: ReadOptions
) -> list[dict[str, str]]:
    datasets = sorted({row["dataset"] for row in rows if row["dataset"]})
    wanted = str(setting(layout, options, "dataset", ""))
    if wanted:
        if wanted not in datasets:
            raise SourceError(f"dataset: {wanted} is not in {table.name}; it has {listed(datasets)}")
        return [row for row in rows if row["dataset"] == wanted]
    if len(datasets) > 1:
        raise SourceError(
            f"{table.name} maps the categories of several data sets; state one as dataset: NAME ({listed(datasets)})"
        )
    return rows
