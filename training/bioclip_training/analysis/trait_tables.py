"""Tables of traits of species and of properties of images, matched with a catalog; what does not match is counted or refused."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.cells import column_name, is_unknown, number_of, plain_cells
from bioclip_core.errors import DataError
from bioclip_core.files.homes import with_home
from bioclip_core.files.present import is_folder
from bioclip_core.findings import Findings
from bioclip_core.listed_names import listed
from bioclip_core.names import key_of
from bioclip_core.nouns import number_of as counted
from bioclip_core.tables.options import IMAGE_COLUMNS
from bioclip_core.tables.reading import open_table
from bioclip_core.tables.rows import Table
from bioclip_core.taxonomy import RANKS, Taxon, read_row
from bioclip_training.analysis.traits import Trait
from bioclip_training.catalog.rows import Catalog

NAME_COLUMNS = frozenset(
    (
        *(rank.value for rank in RANKS), "scientificname", "verbatimscientificname", "specificepithet", "infraspecificepithet",
        "taxonrank", "verbatimtaxonrank", "scientificnameauthorship", "vernacularname", "commonname", "common", "taxonid", "sourceid",
        "identificationqualifier", "nameaccordingto",
    )
)  # fmt: skip
"""Columns of names, in comparable form, which are not traits."""
CLASS_COLUMNS = ("lifestage", "sex")
IMAGE_TRAIT_COLUMNS = ("habitat",)

KEY = "key"
"""Column of a curation's catalog and of its shards that names a record."""
_SPECIES_COLUMNS = frozenset(("scientificname", "species", "specificepithet"))
_MIXED = "columns of traits hold numbers and words, and all are taken for words"
_SAME = "traits of species have several values, in several rows; numbers are averaged, and words that differ count as unknown"
_UNITS = "columns of traits hold numbers with a unit or a range, and are taken for words"
_STARTS_WITH_NUMBER = re.compile(r"[<>~≈±]?\s*[-+]?[.,]?\d")
_UNKNOWN_NUMBERS = (-999.0, -9999.0)
"""Numbers that published tables, such as PanTHERIA, have in place of unknown values."""
_PLACEHOLDERS = "cells are -999 or -9999, as tables mark unknown values, and are read as unknown"


@dataclass(frozen=True, slots=True)
class SpeciesTraits:
    """Traits of the species of a catalog."""

    traits: tuple[Trait, ...]
    """One value per taxon that was asked for; NaN where the table has none."""
    rows: int
    matched: int
    """Rows of the table whose name is a taxon of the catalog."""
    has_row_T: NDArray[np.bool_]
    """Mask of the taxa with a row."""
    unmatched: tuple[str, ...]
    """Names of rows that are no taxon of the catalog, or fit several."""


def read_species_traits(file: str, columns: Sequence[str], taxa: Sequence[Taxon], findings: Findings) -> SpeciesTraits:
    """Read a trait table, whose names are matched by the parser of scientific names: authors, subspecies and case do not matter.

    Args:
        file: the table.
        columns: its columns to read; empty: all but those of names.
        taxa: the taxa that traits are needed of.
        findings: for rows that match nothing and rows that say different things.

    Raises:
        DataError: if no name matches, a column is missing, or no column is a trait.
    """
    table = open_table(with_home(file), None, findings)
    chosen = _chosen(table, f"--traits {file}", columns, lambda name: name not in NAME_COLUMNS)
    if not _SPECIES_COLUMNS & {column_name(heading) for heading in table.header}:
        raise DataError(
            f"--traits {file}: it has no column of names, only {table.headings.shown()}; rename the column of the species' names to "
            "scientificName, or give the columns genus and specificEpithet"
        )
    place_of: dict[str, list[int]] = {}
    for place, taxon in enumerate(taxa):
        place_of.setdefault(key_of(taxon.scientific_name), []).append(place)
    cells: list[dict[str, list[Any]]] = [{} for _ in taxa]
    has_row_T = np.zeros(len(taxa), dtype=bool)
    rows = matched = 0
    unmatched: list[str] = []
    for row in table:
        rows += 1
        named = read_row(plain_cells(row.cells)).taxon
        places = [place for place in place_of.get(key_of(named.scientific_name), ()) if _fits(named, taxa[place])]
        if len(places) != 1:
            unmatched.append(named.scientific_name or f"row {row.number}")
            _say_unmatched(findings, named, row.number, [taxa[place] for place in places], list(place_of))
            continue
        matched += 1
        has_row_T[places[0]] = True
        for heading in chosen:
            cell = _known(row.cells.get(heading), f"row {row.number}, {heading}", findings)
            if not is_unknown(cell):
                cells[places[0]].setdefault(heading, []).append(cell)
    if not matched:
        raise _nothing_matches(file, rows, unmatched, taxa)
    traits = tuple(
        Trait.of(
            heading,
            [_one_value(of.get(heading, ()), heading, taxon, findings) for of, taxon in zip(cells, taxa, strict=True)],
        )
        for heading in chosen
    )
    _say_mixed(traits, findings)
    return SpeciesTraits(traits, rows, matched, has_row_T, tuple(dict.fromkeys(unmatched)))


def _say_unmatched(
    findings: Findings, named: Taxon, number: int, possible: Sequence[Taxon], keys: Sequence[str]
) -> None:
    if possible:
        of = " or ".join(taxon.taxonomic_name for taxon in possible)
        findings.add(
            "rows of the trait table fit several taxa of the catalog and are skipped",
            f"row {number}: {named.name} ({of})",
        )
    elif not named.name:
        findings.add("rows of the trait table have no scientific name and are skipped", f"row {number}")
    else:
        near = get_close_matches(key_of(named.scientific_name), keys, 1, 0.85)
        hint = f"; the nearest is {near[0]!r}" if near else ""
        findings.add(
            "names of the trait table are not in the analysed part of the catalog", f"row {number}: {named.name}{hint}"
        )


def _nothing_matches(file: str, rows: int, unmatched: Sequence[str], taxa: Sequence[Taxon]) -> DataError:
    names = {key_of(taxon.scientific_name): taxon.scientific_name for taxon in taxa}
    near = next(
        (
            f"; {name!r} is nearly {names[found[0]]!r}"
            for name in unmatched[:1000]
            if (found := get_close_matches(key_of(name), list(names), 1, 0.7))
        ),
        "",
    )
    has = listed(list(dict.fromkeys(unmatched))[:3]) or "no names"
    return DataError(
        f"--traits {file}: none of its {counted(rows, 'row')} has the name of a species of the catalog{near}. It has {has}; the catalog "
        f"has {listed([taxon.scientific_name for taxon in taxa][:3])}. Names are read from scientificName, species, or genus and "
        "specificEpithet"
    )


def _fits(named: Taxon, taxon: Taxon) -> bool:
    """True if no rank of both has different names, so that a kingdom or family tells homonyms apart."""
    pairs = zip(named.lineage[:5], taxon.lineage[:5], strict=True)
    return all(not own or not other or own.casefold() == other.casefold() for own, other in pairs)


def _one_value(cells: Sequence[Any], heading: str, taxon: Taxon, findings: Findings) -> Any:
    if len(cells) < 2:
        return cells[0] if cells else None
    numbers = [number_of(cell) for cell in cells]
    findings.add(_SAME, f"{taxon.name}, {heading}: {listed([str(cell) for cell in cells])}")
    if all(number is not None for number in numbers):
        return float(np.mean([number for number in numbers if number is not None]))
    words = {" ".join(str(cell).split()).casefold() for cell in cells}
    return cells[0] if len(words) == 1 else None


def _known(cell: Any, place: str, findings: Findings) -> Any:
    """Return a cell; None, with a finding, for a number that stands for an unknown value."""
    if number_of(cell) not in _UNKNOWN_NUMBERS:
        return cell
    findings.add(_PLACEHOLDERS, place)
    return None


def _say_mixed(traits: Sequence[Trait], findings: Findings) -> None:
    """Report traits with numbers that are categories because some cells are no numbers, or all have units."""
    for trait in traits:
        like_numbers = [word for word in trait.words if _STARTS_WITH_NUMBER.match(word)]
        number = next((word for word in trait.words if number_of(word) is not None), None)
        word = next((word for word in trait.words if number_of(word) is None), None)
        if number is not None and word is not None:
            findings.add(_MIXED, f"{trait.name}: {word!r} beside {number!r}; empty such cells if the trait is a number")
        elif number is None and 2 * len(like_numbers) > len(trait.words):
            findings.add(_UNITS, f"{trait.name}: {like_numbers[0]!r}; write numbers alone if the trait is a number")


@dataclass(frozen=True, slots=True)
class ImageProperties:
    """Properties of rows of a catalog."""

    classes: tuple[Trait, ...]
    """Compared within species; one value per row that was asked for."""
    traits: tuple[Trait, ...]
    """Predicted for species left out."""
    rows: int
    matched: int
    """Rows of the catalog with a row in the table."""


def read_image_properties(
    file: str, classes: Sequence[str], traits: Sequence[str], catalog: Catalog, rows_N: NDArray[np.int64], findings: Findings
) -> ImageProperties:  # fmt: skip
    """Read a table of images, matched by file: names are relative to the table's folder, as in every table.

    A table and a catalog that both have the column ``key``, as those of a curation, are matched by it. An image with several
    regions in the catalog is skipped otherwise, since a row of the table says nothing about which of them it is.

    Args:
        file: the table, or a folder of Parquet parts.
        classes: columns that are compared within species; empty: life stage and sex, if it has them.
        traits: columns that are predicted; empty: habitat, if it has it.
        catalog: the catalog.
        rows_N: the rows that properties are needed of.
        findings: for rows that match nothing.

    Raises:
        DataError: if no file matches, or a column is missing.
    """
    path = with_home(file)
    parts = sorted(path.glob("*.parquet")) if is_folder(path) else [path]
    if not parts:
        raise DataError(f"--image-table {file}: the folder has no Parquet parts; give a table")
    tables = [open_table(part, None, findings, needed=IMAGE_COLUMNS) for part in parts]
    by_key = _has_key(tables[0]) and KEY in catalog.table.column_names
    named = KEY if by_key else _image_column(tables[0], file)
    chosen = [
        _chosen(tables[0], f"--image-table {file}", given, lambda name, usual=usual: name in usual, needed=False)
        for given, usual in ((classes, CLASS_COLUMNS), (traits, IMAGE_TRAIT_COLUMNS))
    ]
    if not any(chosen):
        raise DataError(
            f"--image-table {file}: it has no column of life stage, sex or habitat; name columns with --class or --image-trait. It has "
            f"{tables[0].headings.shown()}"
        )
    keys = _keys_of(catalog, rows_N, by_key=by_key)
    cells_of, rows, first = _cells_by_key(tables, named, None if by_key else path.parent, frozenset(keys), findings)
    if not cells_of:
        raise DataError(
            f"--image-table {file}: none of its {counted(rows, 'row')} is an analysed image of {catalog.name}. The table's first one is "
            f"{first or 'missing'}, the catalog's is {keys[0]}"
        )
    single_N = [True] * len(keys) if by_key else _is_single(catalog, rows_N, findings).tolist()
    found = [cells_of.get(key, {}) if single else {} for key, single in zip(keys, single_N, strict=True)]

    def column(heading: str) -> list[Any]:
        return [
            _known(cells.get(heading), f"{key}, {heading}", findings) for key, cells in zip(keys, found, strict=True)
        ]

    made = [
        tuple(Trait.of(heading, column(heading), kind) for heading in headings)
        for headings, kind in zip(chosen, ("categorical", "auto"), strict=True)
    ]
    _say_mixed(made[1], findings)
    return ImageProperties(made[0], made[1], rows, sum(bool(cells) for cells in found))


def _keys_of(catalog: Catalog, rows_N: NDArray[np.int64], *, by_key: bool) -> list[str]:
    """Return what rows of a catalog are matched by: their key, or their file."""
    keys: list[str] = catalog.table.column(KEY).take(rows_N).to_pylist() if by_key else []
    return keys if by_key else [_file_key(catalog.path(row)) for row in rows_N.tolist()]


def _has_key(table: Table) -> bool:
    return any(column_name(heading) == KEY for heading in table.header)


def _image_column(table: Table, file: str) -> str:
    known = {column_name(name): name for name in table.header}
    image = next((known[name] for name in IMAGE_COLUMNS if name in known), None)
    if image is None:
        raise DataError(
            f"--image-table {file}: one of the columns {', '.join(IMAGE_COLUMNS)} is needed; it has {table.headings.shown()}"
        )
    return image


def _cells_by_key(
    tables: Sequence[Table], named: str, folder: Path | None, wanted: frozenset[str], findings: Findings
) -> tuple[dict[str, Mapping[str, Any]], int, str]:
    """Return the cells of wanted images by their key, the number of rows, and the first key.

    Args:
        tables: parts of the table.
        named: its column with the key, or with the file name.
        folder: the folder that file names are relative to; None for keys.
        wanted: keys of the images whose cells are needed.
        findings: for rows without a name, and for a second row of an image.
    """
    cells_of: dict[str, Mapping[str, Any]] = {}
    rows, first = 0, ""
    for table in tables:
        for row in table:
            rows += 1
            name = row.cells.get(named)
            key = "" if not name else str(name) if folder is None else _file_key(folder / str(name))
            first = first or key
            if not name or key in cells_of:
                findings.add(
                    "rows of the image table have no image, or one that an earlier row has, and are skipped",
                    f"{table.name}, row {row.number}: {name or 'no name'}",
                )
            elif key in wanted:
                cells_of[key] = row.cells
    return cells_of, rows, first


def _is_single(catalog: Catalog, rows_N: NDArray[np.int64], findings: Findings) -> NDArray[np.bool_]:
    """Return a mask of the rows whose image has no other row in the catalog."""
    uri_of_N, uris = catalog.numbered("uri")
    count_N = np.bincount(uri_of_N)[uri_of_N[rows_N]]
    for uri in dict.fromkeys(uri_of_N[rows_N[count_N > 1]].tolist()):
        findings.add(
            "images have several regions in the catalog, so that their row of the image table is not used", uris[uri]
        )
    return np.asarray(count_N == 1)


def _file_key(path: Path) -> str:
    return os.path.normcase(os.path.realpath(path))


def _chosen(table: Table, name: str, given: Sequence[str], is_usual: Any, *, needed: bool = True) -> list[str]:
    """Return the headings of the columns that were given, or the usual ones."""
    known = {column_name(heading): heading for heading in table.header}
    for column in given:
        if column_name(column) not in known:
            raise DataError(f"{name}: it has no column {column!r}; it has {table.headings.shown()}")
    chosen = [known[column_name(column)] for column in given] or [
        heading for key, heading in known.items() if is_usual(key)
    ]
    if needed and not chosen:
        raise DataError(
            f"{name}: all of its columns are names ({table.headings.shown()}); a trait needs a column of its own"
        )
    return chosen
