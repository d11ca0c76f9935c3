"""Evaluation sets of the papers as image tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from bioclip_training.published.image_tables import ImageTable

_LINEAGE = {
    "kingdom": "kingdom", "phylum": "phylum", "class": "cls", "order": "order", "family": "family", "genus": "genus",
    "species": "species",
}  # fmt: skip
_NABIRDS_FILE = re.compile(r"\d{4}/[0-9a-f]{32}\.jpg", re.IGNORECASE)

RARE_SPECIES_TABLE = ImageTable(
    name="rare-species-table",
    title="Rare Species in the form of BioCLIP's evaluation",
    needs="metadata.csv with the columns kingdom … cls … species, filepath and class",
    marks=("kingdom", "cls", "species", "filepath", "class", "common_name"),
    file="filepath",
    columns={**_LINEAGE, "verbatim_name": "class", "common_name": "common_name"},
    meanings=(
        ("kingdom, phylum, cls … species", "ranks; cls is the class"),
        ("class", "name of the species; it is not the rank"),
        ("common_name", "common name"),
    ),
    language="en",
    first_row=lambda row: bool(row.get("filepath")),
)
IDLE_OO = ImageTable(
    name="idle-oo",
    title="an IDLE-OO camera-trap set",
    needs="a table SET-balanced.csv with the columns original_label, scientific_name, filepath, location_id and sequence_id",
    marks=("original_label", "scientific_name", "filepath", "location_id", "sequence_id"),
    file="filepath",
    columns={
        **_LINEAGE,
        "verbatim_name": "scientific_name",
        "common_name": "common_name",
        "url": "url",
        "event_id": "sequence_id",
        "locality": "location_id",
        "caption": "original_label",
    },
    meanings=(
        ("kingdom, phylum, cls … species, scientific_name", "ranks and name; cls is the class"),
        ("original_label", "caption: the label before it was mapped to a taxon"),
        ("location_id, sequence_id", "place and event"),
    ),
    tables=("", "data"),
    language="en",
)
BIRDS_525 = ImageTable(
    name="birds525",
    title="Birds 525",
    needs="birds.csv with the columns class id, filepaths, labels, data set",
    marks=("class id", "filepaths", "labels", "data set"),
    file="filepaths",
    columns={
        "verbatim_name": "scientific name",
        "common_name": "labels",
        "caption": "labels",
        "source_taxon_id": "class id",
        "published_split": "data set",
    },
    meanings=(
        ("labels", "common name, and caption"),
        ("scientific name", "name, in capitals as written"),
        ("data set", "split"),
    ),
    language="en",
)
FISHNET = ImageTable(
    name="fishnet",
    title="FishNet",
    needs="train.csv and test.csv with the columns image, Folder, Order, Family, Genus, Species, and Image_Library",
    marks=("image", "Folder", "Order", "Family", "Genus", "Species"),
    file="image",
    columns={"order": "Order", "family": "Family", "genus": "Genus", "species": "Species"},
    meanings=(("Order, Family, Genus, Species", "ranks"), ("name of the table", "split")),
    tables=("", "anns"),
    images=("Image_Library", "../Image_Library", ""),
    split=lambda file: file.stem,
)
META_ALBUM = ImageTable(
    name="meta-album",
    title="a Meta-Album set",
    needs="labels.csv with the columns FILE_NAME and CATEGORY, and images",
    marks=("FILE_NAME", "CATEGORY"),
    file="FILE_NAME",
    columns={},
    meanings=(),
    images=("images", ""),
    label="CATEGORY",
)


def _of_bioclip(
    name: str, title: str, folders: str, first_row: Callable[[Mapping[str, str]], bool], language: str = ""
) -> ImageTable:
    """Return a set in the form of BioCLIP's evaluation: a table of files and classes, which the first row tells apart."""
    return ImageTable(
        name=name,
        title=f"{title} in the form of BioCLIP's evaluation",
        needs=f"metadata.csv with the columns filepath and class, and images in folders {folders}",
        marks=("filepath", "class"),
        file="filepath",
        columns={},
        meanings=(),
        label="class",
        language=language,
        first_row=first_row,
    )


def _is_of_nabirds(row: Mapping[str, str]) -> bool:
    return bool(_NABIRDS_FILE.fullmatch(row["filepath"]))


META_ALBUM_TABLE = _of_bioclip(
    "meta-album-table",
    "a Meta-Album set",
    "of their class",
    lambda row: not _is_of_nabirds(row) and row["filepath"].rpartition("/")[0].endswith(row["class"]),
)
NABIRDS_TABLE = _of_bioclip("nabirds-table", "NABirds", "of four digits", _is_of_nabirds, "en")
NEWT = ImageTable(
    name="newt",
    title="NeWT",
    needs="newt2021_labels.csv with the columns id, task, label, text_label and split, and newt2021_images",
    marks=("id", "task", "label", "text_label", "split"),
    file="id",
    columns={"caption": "text_label", "observation_id": "id", "published_split": "split"},
    meanings=(
        ("text_label", "caption: the answer to the task, not a taxon"),
        ("task and id", "id of the record: one row per image and task"),
    ),
    images=("newt2021_images", "images", ""),
    suffix=".jpg",
    record_id=("task", "id"),
)
IMAGE_TABLES = (
    RARE_SPECIES_TABLE, IDLE_OO, BIRDS_525, FISHNET, META_ALBUM, META_ALBUM_TABLE, NABIRDS_TABLE, NEWT,
)  # fmt: skip
