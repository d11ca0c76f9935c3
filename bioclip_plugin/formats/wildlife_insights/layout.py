"""The tables of Wildlife Insights' batch upload and download, and the words in them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from bioclip_core.cells import column_name
from bioclip_core.files.present import is_folder
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.formats.shared.image_tables import headings_of
from bioclip_plugin.formats.shared.species_labels import Kind, kind_of_word

NEEDED = ("deployment_id",)
"""Heading of which every table of images has one."""
IMAGES, DEPLOYMENTS, CAMERAS, PROJECTS = "images.csv", "deployments.csv", "cameras.csv", "projects.csv"
COLUMNS: Mapping[str, tuple[str, ...]] = {
    PROJECTS: (
        "project_name", "project_id", "project_short_name", "project_objectives", "project_species",
        "project_species_individual", "project_sensor_layout", "project_sensor_layout_targeted_type", "project_bait_use",
        "project_bait_type", "project_stratification", "project_stratification_type", "project_sensor_method",
        "project_individual_animals", "project_blank_images", "project_sensor_cluster", "project_admin",
        "project_admin_email", "country_code", "embargo", "initiative_id", "metadata_license", "image_license",
    ),
    CAMERAS: ("project_id", "camera_id", "make", "model", "serial_number", "year_purchased"),
    DEPLOYMENTS: (
        "project_id", "deployment_id", "subproject_name", "subproject_design", "placename", "longitude", "latitude",
        "start_date", "end_date", "event_name", "event_description", "event_type", "bait_type", "bait_description",
        "feature_type", "feature_type_methodology", "camera_id", "quiet_period", "camera_functioning", "sensor_height",
        "height_other", "sensor_orientation", "orientation_other", "recorded_by",
    ),
    IMAGES: (
        "project_id", "deployment_id", "image_id", "location", "identified_by", "wi_taxon_id", "class", "order", "family",
        "genus", "species", "common_name", "uncertainty", "timestamp", "number_of_objects", "highlighted", "age", "sex",
        "animal_recognizable", "individual_id", "individual_animal_notes", "markings",
    ),
}  # fmt: skip
"""The columns of each table of a batch upload, in their order."""
COMPUTER = "Computer vision"
"""``identified_by`` of an identification that no person has made."""
NO_RESULT = frozenset({"no cv result", "unknown", "unidentifiable", "cannot identify", "unidentified"})
"""Common names of images without an identification, in lower case."""
RANKS = ("class", "order", "family", "genus", "species")

_TELLING = frozenset({"projectid", "deploymentid", "imageid"})
_YES = frozenset({"1", "true", "yes"})


def is_images_table(header: Collection[str]) -> bool:
    """True if the columns of a table are those of Wildlife Insights' images."""
    names = {column_name(name) for name in header}
    return names >= _TELLING and bool(names & {"location", "filename"})


def image_tables(path: Path) -> list[Path]:
    """Return the tables of images of a folder that Wildlife Insights wrote, or reads; empty for any other folder."""
    if not is_folder(path) or not any(path.glob("deployments*.csv")):
        return []
    return [table for table in sorted(path.glob("images*.csv")) if is_images_table(headings_of(str(table), NEEDED))]


def kind_of(cells: Mapping[str, Any]) -> Kind | None:
    """Return the verdict that a row stands for; None for a row that names nothing."""

    def text(name: str) -> str:
        return str(cells.get(name, "")).strip()

    word = text("commonname").lower()
    if text("isblank").lower() in _YES or word == "misfire":
        return "blank"
    if word in NO_RESULT:
        return "unknown"
    if kind := kind_of_word(word):
        return kind
    if word.startswith("human") or (text("genus").lower(), text("species").lower()) == ("homo", "sapiens"):
        return "person"
    if "vehicle" in word:
        return "vehicle"
    return "taxon" if word or any(text(rank) for rank in RANKS) else None


def taxon_of(cells: Mapping[str, Any]) -> Taxon:
    """Return the taxon of a row: an animal, with the ranks that the row states."""
    classis, order, family, genus, species = (str(cells.get(rank, "")).strip() for rank in RANKS)
    common_name = str(cells.get("commonname", "")).strip()
    return Taxon("Animalia", "", classis, order, family, genus, species, common_name)
