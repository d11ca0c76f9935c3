"""Checks of Wildlife Insights' tables: the rules of its batch upload, row by row."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bioclip_core.cells import column_name, degrees_of, plain_number_of
from bioclip_core.errors import BioclipError
from bioclip_core.files.present import is_file, is_folder
from bioclip_core.files.scratch import Scratch
from bioclip_core.tables.reading import open_table
from bioclip_plugin.contracts.problem import Problem, Severity
from bioclip_plugin.formats.wildlife_insights.layout import (
    CAMERAS,
    COLUMNS,
    DEPLOYMENTS,
    IMAGES,
    PROJECTS,
    RANKS,
    image_tables,
    kind_of,
)
from bioclip_plugin.formats.wildlife_insights.write_identifications import AGES, MOST_OBJECTS, SEXES

MOST = 1_000
"""Number of errors, and of warnings, that are reported."""
_CLOCK = re.compile(r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01]) (?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d")
_CERTAINTIES = ("Absolutely sure", "Pretty sure", "Not sure", "Don't know", "Other")
_WORDS = {"age": AGES, "sex": SEXES, "uncertainty": _CERTAINTIES}
_NEEDED = {
    IMAGES: ("project_id", "deployment_id", "image_id", "location", "identified_by"),
    DEPLOYMENTS: ("project_id", "deployment_id", "placename", "camera_id"),
    CAMERAS: ("project_id", "camera_id"),
    PROJECTS: ("project_id", "project_name"),
}
# The upload needs them, and a run does not know them.
_TO_FILL_IN = {
    IMAGES: ("timestamp", "wi_taxon_id"),
    DEPLOYMENTS: (
        "latitude", "longitude", "start_date", "end_date", "feature_type", "camera_functioning", "sensor_height",
        "sensor_orientation",
    ),
    CAMERAS: ("make", "model"),
    PROJECTS: (
        "project_short_name", "project_objectives", "project_species", "project_sensor_layout", "project_bait_use",
        "project_stratification", "project_sensor_method", "project_individual_animals", "project_blank_images",
        "project_sensor_cluster", "project_admin", "project_admin_email", "country_code", "embargo", "metadata_license",
        "image_license",
    ),
}  # fmt: skip
_Row = Mapping[str, str]
_Found = tuple[int, str, str, Severity]  # row, message, value, severity


def problems_of(path: Path) -> Iterator[Problem]:
    """Yield the problems of a folder of tables, or of a table of images with those beside it.

    At most :data:`MOST` errors, and as many warnings, per table.
    """
    folder = path if is_folder(path) else path.parent
    deployments: dict[str, _Row] = {}
    cameras: set[str] = set()
    projects: set[str] = set()
    for name in (PROJECTS, CAMERAS, DEPLOYMENTS):
        table = folder / name
        if not is_file(table):
            yield Problem(name, "", "the table is missing, which a batch upload needs", severity="warning")
            continue
        yield from _limited(name, _table_problems(table, name, deployments, cameras, projects))
    with _Images() as images:
        for table in image_tables(folder) if is_folder(path) else [path]:
            yield from _limited(table.name, _image_problems(table, images, deployments, projects))
        unused = sorted(set(deployments) - images.deployments)
        if unused:
            yield Problem(
                DEPLOYMENTS,
                "",
                f"{len(unused)} deployments are without images",
                ", ".join(unused[:5]),
                severity="warning",
            )


def _limited(name: str, found: Iterator[_Found]) -> Iterator[Problem]:
    counts: Counter[Severity] = Counter()
    for number, message, value, severity in found:
        counts[severity] += 1
        if counts[severity] <= MOST:
            yield Problem(name, f"row {number}" if number else "", message, value, severity)
    for severity, count in counts.items():
        if count > MOST:
            yield Problem(name, "", f"{count - MOST:,} more {severity}s, of {count:,}", severity=severity)


def _rows(path: Path, name: str) -> Iterator[_Row | _Found]:
    """Yield the rows of a table by the names of the template, after the faults of its header."""
    table = open_table(path)
    names = {heading: column_name(heading) for heading in table.header}
    wanted = {column_name(column): column for column in COLUMNS[name]}
    missing = [column for key, column in wanted.items() if key not in names.values()]
    needed = [column for column in missing if column in _NEEDED[name]]
    if needed:
        yield 0, "columns are missing", ", ".join(needed), "error"
    if others := [column for column in missing if column not in needed]:
        yield 0, "columns of the batch upload are missing", ", ".join(others), "warning"
    for row in table:
        if row.fault:
            yield row.number, f"it cannot be read: {row.fault}", "", "error"
            continue
        cells = {names.get(heading, heading): str(value).strip() for heading, value in row.cells.items()}
        yield {"": str(row.number), **{wanted.get(key, key): value for key, value in cells.items()}}


def _table_problems(
    path: Path, name: str, deployments: dict[str, _Row], cameras: set[str], projects: set[str]
) -> Iterator[_Found]:
    """Yield the problems of one of the three small tables, and note their ids."""
    key = {PROJECTS: "project_id", CAMERAS: "camera_id", DEPLOYMENTS: "deployment_id"}[name]
    seen: set[str] = set()
    empty: Counter[str] = Counter()
    try:
        for row in _rows(path, name):
            if not isinstance(row, Mapping):
                yield row
                continue
            number, identifier = int(row[""]), row.get(key, "")
            yield from ((number, f"{column} is empty", "", "error") for column in _NEEDED[name] if not row.get(column))
            empty.update(column for column in _TO_FILL_IN[name] if not row.get(column))
            if identifier in seen:
                yield number, f"duplicate {key}", identifier, "error"
            seen.add(identifier)
            if name == PROJECTS:
                projects.add(identifier)
                continue
            if projects and row.get("project_id", "") not in projects:
                yield number, f"project_id is not in {PROJECTS}", row.get("project_id", ""), "error"
            if name == CAMERAS:
                cameras.add(identifier)
                continue
            deployments[identifier] = row
            yield from _deployment_faults(number, row, cameras)
    except BioclipError as error:
        yield 0, str(error), "", "error"
    if empty:
        shown = ", ".join(f"{column} ({count})" for column, count in empty.items())
        yield 0, "cells that the upload needs are empty; fill them in", shown, "warning"


def _deployment_faults(number: int, row: _Row, cameras: set[str]) -> Iterator[_Found]:
    for column, limit in (("latitude", 90), ("longitude", 180)):
        if row.get(column) and degrees_of(row[column], limit) is None:
            yield (
                number,
                f"{column} must be degrees from -{limit} to {limit}, with a decimal point",
                row[column],
                "error",
            )
    starts, ends = row.get("start_date", ""), row.get("end_date", "")
    for column in ("start_date", "end_date"):
        if row.get(column) and not _CLOCK.fullmatch(row[column]):
            yield number, f"{column} must be written as 2024-05-31 12:00:00", row[column], "error"
    if _CLOCK.fullmatch(starts) and _CLOCK.fullmatch(ends) and ends < starts:
        yield number, "end_date is before start_date", f"{starts}, {ends}", "error"
    if cameras and row.get("camera_id") and row["camera_id"] not in cameras:
        yield number, f"camera_id is not in {CAMERAS}", row["camera_id"], "error"


class _Images(Scratch):
    """The images of the rows so far, on disk."""

    def __init__(self) -> None:
        super().__init__(
            "CREATE TABLE images (id TEXT PRIMARY KEY, deployment TEXT, location TEXT) WITHOUT ROWID;"
            "CREATE TABLE locations (location TEXT PRIMARY KEY, id TEXT) WITHOUT ROWID;"
            "CREATE TABLE taxa (id TEXT, taxon TEXT, person TEXT, PRIMARY KEY (id, taxon, person)) WITHOUT ROWID"
        )
        self.deployments: set[str] = set()

    def faults(self, row: _Row) -> Iterator[tuple[str, str]]:
        """Yield what contradicts an earlier row."""
        image, deployment, location = (row.get(name, "") for name in ("image_id", "deployment_id", "location"))
        self.deployments.add(deployment)
        run = self._database.execute
        if not run("INSERT OR IGNORE INTO images VALUES (?, ?, ?)", (image, deployment, location)).rowcount:
            known = run("SELECT deployment, location FROM images WHERE id = ?", (image,)).fetchone()
            if known != (deployment, location):
                yield "duplicate image_id, with another deployment or location", image
        if not run("INSERT OR IGNORE INTO locations VALUES (?, ?)", (location, image)).rowcount:
            (known_image,) = run("SELECT id FROM locations WHERE location = ?", (location,)).fetchone()
            if known_image != image:
                yield "duplicate location, with another image_id", location
        taxon = ";".join(row.get(name, "") for name in (*RANKS, "common_name"))
        entry = (image, taxon, row.get("identified_by", ""))
        if not run("INSERT OR IGNORE INTO taxa VALUES (?, ?, ?)", entry).rowcount:
            yield "duplicate row: the same taxon of the same image", f"{image}, {row.get('common_name', '')}"


def _image_problems(
    path: Path, images: _Images, deployments: Mapping[str, _Row], projects: set[str]
) -> Iterator[_Found]:
    empty: Counter[str] = Counter()
    try:
        for row in _rows(path, IMAGES):
            if not isinstance(row, Mapping):
                yield row
                continue
            number = int(row[""])
            yield from (
                (number, f"{column} is empty", "", "error") for column in _NEEDED[IMAGES] if not row.get(column)
            )
            empty.update(column for column in _TO_FILL_IN[IMAGES] if not row.get(column))
            yield from ((number, message, value, "error") for message, value in images.faults(row))
            yield from _image_faults(number, row, deployments, projects)
    except BioclipError as error:
        yield 0, str(error), "", "error"
    if empty:
        shown = ", ".join(f"{column} ({count})" for column, count in empty.items())
        yield 0, "cells that the upload needs are empty; fill them in", shown, "warning"


def _image_faults(number: int, row: _Row, deployments: Mapping[str, _Row], projects: set[str]) -> Iterator[_Found]:
    if projects and row.get("project_id", "") not in projects:
        yield number, f"project_id is not in {PROJECTS}", row.get("project_id", ""), "error"
    deployment, moment = deployments.get(row.get("deployment_id", "")), row.get("timestamp", "")
    if deployments and deployment is None:
        yield number, f"deployment_id is not in {DEPLOYMENTS}", row.get("deployment_id", ""), "error"
    if moment and not _CLOCK.fullmatch(moment):
        yield number, "timestamp must be written as 2024-05-31 12:00:00", moment, "error"
    elif moment and deployment is not None:
        starts, ends = deployment.get("start_date", ""), deployment.get("end_date", "")
        if (starts and moment < starts) or (ends and moment > ends):
            yield number, "timestamp is outside its deployment", f"{moment}: {starts} to {ends}", "warning"
    for column, words in _WORDS.items():
        if row.get(column) and row[column] not in words:
            yield number, f"{column} must be one of {', '.join(words)}", row[column], "error"
    count = row.get("number_of_objects", "")
    if count and not _is_count(count):
        yield number, f"number_of_objects must be a whole number from 1 to {MOST_OBJECTS}, or empty", count, "error"
    yield from _name_faults(number, row)


def _is_count(cell: str) -> bool:
    value = plain_number_of(cell)
    return value is not None and value == int(value) and 1 <= value <= MOST_OBJECTS


def _name_faults(number: int, row: _Row) -> Iterator[_Found]:
    cells: dict[str, Any] = {column_name(name): value for name, value in row.items()}
    ranks = [row.get(rank, "") for rank in RANKS]
    kind = kind_of(cells)
    if kind is None:
        yield number, "it names neither a taxon nor Blank, a human, a vehicle or No CV Result", "", "error"
    elif kind in ("blank", "vehicle", "unknown") and any(ranks):
        yield number, f"{row.get('common_name', '')} must not have a taxon", " ".join(filter(None, ranks)), "error"
    if row.get("species") and not row.get("genus"):
        yield number, "species is the epithet and needs a genus", row["species"], "error"
    if " " in row.get("species", "").replace("× ", "×"):
        yield number, "species must be the epithet alone", row["species"], "warning"
    if row.get("genus", "").endswith("."):
        yield number, "genus must not be abbreviated", row["genus"], "error"
