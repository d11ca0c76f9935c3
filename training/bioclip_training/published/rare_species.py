"""Rare Species as on its hub: folders of seven names, with the catalog or without."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from bioclip_core.errors import SourceError
from bioclip_core.tables.rows import shown_path
from bioclip_training.published.columns import RANK_COLUMNS
from bioclip_training.published.layout import ReadOptions, Recognition, check_settings
from bioclip_training.published.reading.finishing import finished
from bioclip_training.published.reading.folders import names_of_folders
from bioclip_training.published.reading.hashed import image_names
from bioclip_training.published.reading.tables import has_columns, header_of, open_columns
from bioclip_training.published.records import batches_of

# Seven names with one separator. Only the last one, the epithet, may hold the separator itself.
_FOLDER = re.compile(r"(?P<kingdom>[A-Z][a-z]+)(?P<separator>[-_])" + r"(?:[A-Z][a-z]*(?P=separator)){5}[a-z].*")
_FILE = re.compile(r"(\d+)_(\d+)_eol.*")
_CATALOG_COLUMNS = ("rarespecies_id", "eol_content_id", "eol_page_id")
NO_ROW = "images that the catalog does not list; their ranks are those of their folder"
NO_IMAGE = "rows of the catalog without an image file"
OTHER_TAXON = "rows of the catalog whose genus and species differ from the folder's; the catalog's are used"


class RareSpecies:
    """Rare Species: ``dataset/Kingdom_Phylum_…_epithet/CONTENT_PAGE_eol….jpg`` and ``rarespecies-catalog.csv``."""

    name = "rare-species"
    title = "Rare Species"
    needs = "folders Kingdom_Phylum_Class_Order_Family_Genus_epithet (or with hyphens), also in dataset, and rarespecies-catalog.csv"
    options = ()

    def recognise(self, path: Path) -> Recognition | None:
        place = _place(path)
        if place is None:
            return None
        catalog = _catalog(path)
        example = next(name for name in names_of_folders(path / place) if _FOLDER.fullmatch(name))
        taken = [(example, "ranks: " + ", ".join(lineage_of(example)))]
        if catalog:
            taken.append((f"{catalog.name}: rarespecies_id", "id of the record"))
            taken.append(
                (f"{catalog.name}: kingdom … species, sciName, common", "ranks, name and common name of the image")
            )
        return Recognition(
            layout=self.name,
            taken=tuple(taken),
            confidence="its folders are named by seven ranks",
            missing=()
            if catalog
            else ("rarespecies-catalog.csv: there are no common names, and EOL's content id is the id of the record",),
            files=(catalog,) if catalog else (),
        )

    def read(self, path: Path, options: ReadOptions) -> Iterator[pa.RecordBatch]:
        check_settings(self, options)
        place = _place(path)
        if place is None:
            raise SourceError(f"{shown_path(path)} is not {self.title} as published: needed is {self.needs}")
        catalog = _catalog(path)
        rows = _rows(catalog, options) if catalog else None
        yield from finished(batches_of(_records(path, place, rows, options)), path, options, None)
        for content, row in (rows or {}).items():
            options.skip(NO_IMAGE, f"{content}_{row['page']}: {row['name']}")


def lineage_of(folder: str) -> tuple[str, ...]:
    """Return the seven names of a folder's name; of an epithet with the separator in it, all of it.

    >>> lineage_of("Animalia-Chordata-Aves-Apterygiformes-Apterygidae-Apteryx-novae-zelandiae")[-2:]
    ('Apteryx', 'novae-zelandiae')
    """
    found = _FOLDER.fullmatch(folder)
    return tuple(folder.split(found["separator"], 6)) if found else ()


def _place(path: Path) -> str | None:
    """Return the folder with the folders of species."""
    for place in ("dataset", ""):
        if any(_FOLDER.fullmatch(name) for name in names_of_folders(path / place)[:50]):
            return place
    return None


def _catalog(path: Path) -> Path | None:
    files = [*sorted(path.glob("*.csv")), *sorted(path.glob("metadata/*.csv"))]
    return next((file for file in files if has_columns(header_of(file), *_CATALOG_COLUMNS)), None)


def _rows(catalog: Path, options: ReadOptions) -> dict[str, dict[str, str]]:
    wanted = {
        "id": "rarespecies_id",
        "content": "eol_content_id",
        "page": "eol_page_id",
        "name": ["sciName", "canonicalName"],
        "common": "common",
        **{rank: rank for rank in RANK_COLUMNS},
    }
    table = open_columns(catalog, options.findings, options.table)
    rows = (row for batch in table.columns(wanted) for row in batch.to_pylist())
    return {row["content"].removesuffix(".0"): row for row in rows}


def _records(
    path: Path, place: str, rows: dict[str, dict[str, str]] | None, options: ReadOptions
) -> Iterator[dict[str, str]]:
    for folder in names_of_folders(path / place):
        ranks = dict(zip(RANK_COLUMNS, lineage_of(folder), strict=False))
        inside = f"{place}/{folder}" if place else folder
        if not ranks:
            options.skip("folders whose name is not seven ranks", inside)
            continue
        for uri in image_names(path, inside, options=options):
            found = _FILE.fullmatch(uri.rsplit("/", 1)[-1])
            content, page = (found[1], found[2]) if found else ("", "")
            record = {"record_id": content or uri, "uri": uri, **ranks, "eol_content_id": content, "eol_page_id": page}
            record["source_taxon_id"] = page
            row = rows.pop(content, None) if rows is not None else None
            if row is not None:
                record |= _of_row(row, ranks, uri, options)
            elif rows is not None:
                options.findings.add(NO_ROW, uri)
            yield record


def _of_row(row: dict[str, str], ranks: dict[str, str], uri: str, options: ReadOptions) -> dict[str, str]:
    if (row["genus"], row["species"]) != (ranks["genus"], ranks["species"]):
        options.findings.add(OTHER_TAXON, f"{uri}: {row['genus']} {row['species']}")
    return {
        "record_id": row["id"] or uri,
        "verbatim_name": row["name"],
        "common_name": row["common"],
        "common_name_language": "en" if row["common"] else "",
        **{rank: row[rank] for rank in RANK_COLUMNS},
    }
