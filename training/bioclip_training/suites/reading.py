"""Readers of species sets: annotation tables, class folders and NABirds' lists, in the layouts in which they are published."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bioclip_core.errors import DataError
from bioclip_core.files.near_names import near_hint
from bioclip_core.files.present import is_file
from bioclip_core.findings import Findings
from bioclip_core.nouns import number_of
from bioclip_core.tables.options import TableOptions
from bioclip_core.tables.reading import sure_rows
from bioclip_core.taxonomy import Taxon
from bioclip_training.published.columns import RANK_COLUMNS
from bioclip_training.published.label_folders import NABirds
from bioclip_training.published.layout import Layout, ReadOptions
from bioclip_training.published.rare_species import RareSpecies
from bioclip_training.suites.images import MissingSetError, SetImages, in_order_of_appearance

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"})
"""Suffixes that torchvision's ImageFolder, with which the published code lists folders, takes for images."""
NOT_THERE = "images of the annotation file are not in the folder; they are left out"
TWICE = "images are listed more than once with one class; the first row counts"
NOT_LISTED = "images in the folder are not in the annotation file; they are not used"
NO_FILE = "rows name no image; they are left out"
NO_CLASS = "rows have no class; they are left out"
NO_IMAGES = "classes have no image in the folder; they are left out, of the candidates too"
_RANKS = ("kingdom", "phylum", "cls", "order", "family", "genus", "species")


NO_TAXON = Taxon()


@dataclass(frozen=True, slots=True)
class Listed:
    """One row of an annotation file."""

    uri: str
    word: str
    """Its class as written."""
    taxon: Taxon = NO_TAXON
    group: str = ""
    place: str = ""
    """The row for messages; empty if its image is enough."""


@dataclass(frozen=True, slots=True)
class TableLayout:
    """An annotation table: its columns, and where its images are."""

    file: str
    """Heading of the column with the image's name."""
    word: str
    """Heading of the column with the class."""
    bases: tuple[str, ...] = ("",)
    """Folders, relative to the table's, of which the first that has the first image is used."""
    only: tuple[str, str] = ("", "")
    """A column and the value that a row must have to be used."""
    groups: tuple[str, ...] = ()
    """Columns whose values together name the group."""
    grouped_by: str = "image"


ANNOTATION = TableLayout("filepath", "class")
"""``metadata.csv`` in the repositories of BioCLIP and BioCLIP 2; Rare Species' has ranks too."""
BIRDS_525 = TableLayout("filepaths", "labels", only=("data set", "test"))
META_ALBUM = TableLayout("FILE_NAME", "CATEGORY", ("images", ""))


def camera_traps(table: str) -> TableLayout:
    """Return the layout of one of IDLE-OO's tables: images lie beside it, or in a folder of its name as on the hub."""
    return TableLayout(
        "filepath", "class", ("", f"data/test/{table}", f"test/{table}", f"images/{table}", "images", "data"),
        groups=("location_id", "sequence_id"), grouped_by="camera sequence",
    )  # fmt: skip


def read_table(table: Path, layout: TableLayout, findings: Findings) -> SetImages:
    """Read an annotation table.

    Raises:
        MissingSetError: if none of its images is in the folder.
        DataError: if it lacks a column, or a row cannot be read.
    """
    opened, rows = sure_rows(table, TableOptions())
    for name in (layout.file, layout.word, *filter(None, layout.only[:1])):
        if name not in opened.header:
            raise DataError(f"{opened.name} has no column {name!r}; it has {', '.join(opened.header)}")
    has_groups = bool(layout.groups) and all(name in opened.header for name in layout.groups)
    listed = [
        _listed(row.cells, layout, has_groups, f"{table.name}, row {row.number}")
        for row in rows
        if not layout.only[0] or str(row.cells.get(layout.only[0], "")).strip() == layout.only[1]
    ]
    if not listed:
        wanted = f" whose {layout.only[0]} is {layout.only[1]}" if layout.only[0] else ""
        raise DataError(f"{opened.name} has no rows{wanted}")
    root = _base_of(table.parent, layout.bases, listed)
    found = gathered(root, listed, findings, str(table))
    return replace(found, grouped_by=layout.grouped_by) if has_groups else found


def _listed(cells: Mapping[str, object], layout: TableLayout, has_groups: bool, place: str) -> Listed:
    def text(name: str) -> str:
        return str(cells.get(name, "") or "").strip()

    lineage = [text(rank) for rank in _RANKS]
    common = text("common_name") if any(lineage) else ""
    group = "\t".join(text(name) for name in layout.groups) if has_groups and text(layout.groups[-1]) else ""
    if scientific := text("scientific name"):  # Birds 525, in capitals
        words = scientific.split()
        lineage = ["", "", "", "", "", words[0].capitalize(), " ".join(words[1:]).lower()]
        common = text(layout.word)
    return Listed(
        text(layout.file).replace("\\", "/"),
        text(layout.word),
        Taxon.of(lineage, common) if any(lineage) else NO_TAXON,
        group,
        place,
    )


def _base_of(folder: Path, bases: Sequence[str], listed: Sequence[Listed]) -> Path:
    """Return the folder that images are relative to: the first with one of the first images."""
    for base in bases:
        if any(is_file(folder / base / row.uri) for row in listed[:20]):
            return folder / base
    return folder


def gathered(root: Path, listed: Iterable[Listed], findings: Findings, source: str) -> SetImages:
    """Return the images of rows, without those that are missing or doubled, each counted with the first example.

    Raises:
        MissingSetError: if no image is left.
        DataError: for an image with two classes, since one of them is wrong; if no row has an image and a class.
    """
    kept = _checked(root, listed, findings, source)
    rows = tuple(kept.values())
    count_unlisted(root, kept, findings)
    classes, class_N = in_order_of_appearance([row.word for row in rows])
    taxon_of: dict[str, Taxon] = {}
    for row in rows:
        if (known := taxon_of.setdefault(row.word, row.taxon)) != row.taxon:
            findings.add(
                "rows have another lineage or common name than the first row of their class; that of the first counts",
                f"{row.uri}: {row.taxon.taxonomic_name or '(none)'}, not {known.taxonomic_name or '(none)'}",
            )
    taxa = tuple(taxon_of[word] for word in classes)
    groups = tuple(row.group or f"image {row.uri}" for row in rows) if any(row.group for row in rows) else ()
    return SetImages(root, tuple(kept), class_N, classes, taxa if any(taxon.genus for taxon in taxa) else (), groups)


def _checked(root: Path, listed: Iterable[Listed], findings: Findings, source: str) -> dict[str, Listed]:
    """Return the usable rows by their image; the others are findings."""
    kept: dict[str, Listed] = {}
    missing: list[Listed] = []
    for row in listed:
        if not row.uri:
            findings.add(NO_FILE, row.place)
        elif not row.word:
            findings.add(NO_CLASS, ": ".join(filter(None, (row.place, row.uri))))
        elif row.uri in kept:
            if kept[row.uri].word != row.word:
                raise DataError(
                    f"{source}: the image {row.uri} has the classes {kept[row.uri].word!r} and {row.word!r}; remove one of the rows"
                )
            findings.add(TWICE, row.uri)
        elif not is_file(root / row.uri):
            missing.append(row)
        else:
            kept[row.uri] = row
    if not kept:
        raise (_none_there(missing, root, source) if missing else none_listed(findings, source))
    if missing:
        findings.add(NOT_THERE, f"{missing[0].uri}{near_hint(root / missing[0].uri)}", len(missing))
    here = {row.word for row in kept.values()}
    if gone := [word for word in dict.fromkeys(row.word for row in missing) if word not in here]:
        findings.add(NO_IMAGES, gone[0], len(gone))
    return kept


def _none_there(missing: Sequence[Listed], root: Path, source: str) -> MissingSetError:
    return MissingSetError(
        f"none of {number_of(len(missing), 'image')} of {source} is in {root}; the first is {missing[0].uri}"
        f"{near_hint(root / missing[0].uri)}"
    )


def none_listed(findings: Findings, source: str) -> DataError:
    """Return the error for a list without a usable row, with what is wrong with its rows."""
    reasons = "; ".join(findings.lines())
    return DataError(f"{source} lists no image with a class{f' ({reasons})' if reasons else ''}; get it again")


def count_unlisted(root: Path, listed: Collection[str], findings: Findings) -> None:
    """Count images beside the listed ones, in the folders that hold listed ones."""
    for folder in sorted({os.path.dirname(uri) for uri in listed}):  # noqa: PTH120 - a name inside the set
        for name in images_in(root / folder):
            uri = f"{folder}/{name}" if folder else name
            if uri not in listed:
                findings.add(NOT_LISTED, uri)


def images_in(folder: Path) -> list[str]:
    """Return the names of a folder's images in the order of sorted names; empty if it cannot be listed.

    Hidden files are no images: macOS puts ``._photo.jpg``, which holds no picture, beside ``photo.jpg``.
    """
    try:
        with os.scandir(folder) as entries:
            names = [
                entry.name
                for entry in entries
                if Path(entry.name).suffix.lower() in IMAGE_SUFFIXES
                and not entry.name.startswith(".")
                and entry.is_file()
            ]
    except OSError:
        return []
    return sorted(names)


def read_rare_species(folder: Path, findings: Findings) -> SetImages:
    """Read Rare Species as on its hub: a folder per species, named by its seven ranks, and common names from its catalog.

    Raises:
        SourceError: if there are no such folders.
    """
    return _of_records(RareSpecies(), folder, findings, lambda record: f"{record['genus']} {record['species']}")


def read_nabirds(folder: Path, findings: Findings) -> SetImages:
    """Read NABirds as downloaded: ``images.txt``, ``image_class_labels.txt`` and ``classes.txt``, images below ``images``.

    All images are used, as in the annotation table of BioCLIP 2, whose test is not that of ``train_test_split.txt``.

    Raises:
        SourceError: if a file or all images are missing.
    """
    return _of_records(NABirds(), folder, findings, lambda record: record["caption"])


def _of_records(
    layout: Layout, folder: Path, findings: Findings, word_of: Callable[[Mapping[str, str]], str]
) -> SetImages:
    """Return the images that a reader of published collections gives; what it skips is a finding."""
    options = ReadOptions(findings=findings)
    listed = [
        Listed(record["uri"], word_of(record), Taxon.of([record[rank] for rank in RANK_COLUMNS], record["common_name"]))
        for batch in layout.read(folder, options)
        for record in batch.to_pylist()
    ]
    for text, count, example in options.skipped.found():
        findings.add(text, example, count)
    return gathered(folder, listed, findings, str(folder))
