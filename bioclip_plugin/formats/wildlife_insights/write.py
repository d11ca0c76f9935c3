"""The Wildlife Insights exporter: the four tables of a batch upload."""

from __future__ import annotations

import csv
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bioclip_core.cells import column_name
from bioclip_core.errors import UsageError
from bioclip_core.files.present import is_file
from bioclip_plugin.contracts.export import Export
from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.contracts.problem import Problem
from bioclip_plugin.formats.shared.image_tables import headings_of
from bioclip_plugin.formats.shared.image_verdicts import all_seen, threshold_of
from bioclip_plugin.formats.shared.relative_names import CommonFolder, NamesUnder, RelativeNames
from bioclip_plugin.formats.wildlife_insights.layout import (
    CAMERAS,
    COLUMNS,
    DEPLOYMENTS,
    IMAGES,
    NEEDED,
    PROJECTS,
    image_tables,
    is_images_table,
)
from bioclip_plugin.formats.wildlife_insights.write_identifications import identifications, is_animal
from bioclip_plugin.items.media import MediaItem
from bioclip_plugin.items.time_zones import in_zone
from bioclip_plugin.store.records import StoredItem, asked_level

_CLOCK = "%Y-%m-%d %H:%M:%S"
_LICENCES = ("CC0", "CC-BY", "CC-BY-NC")
_NO_CAMERA = "Unknown"
_FAILED = "images without an answer (failed, or not processed yet) are not written"
_NO_IMAGE = "frames of videos and pages of TIFFs are not written, since Wildlife Insights takes images"
_NO_DEPLOYMENT = "images belong to no deployment and are not written; give --deployments or --deployment-from"
_NO_TIME = "images do not have a time, which Wildlife Insights needs"
_NO_ANIMAL = "identifications are not animals and are written as No CV Result"
_NO_PLACE = "deployments do not have coordinates; give them with --deployments"
_TO_FILL_IN = "columns that Wildlife Insights needs are empty; fill them in before the upload"


class WildlifeInsightsExporter:
    """The tables of Wildlife Insights' batch upload: images.csv with one row per image and taxon, and three more.

    - An image that people have reviewed has their identifications, any other those of the rules or the model, which are
      ``Computer vision``.
    - ``location`` is the address that the image came with, or its name below ``base_folder``.
    - Nothing is invented: columns on the setting of cameras and the project that the run does not know are empty.
    """

    name = "wildlife-insights"
    description = "the tables of a batch upload to Wildlife Insights (images, deployments, cameras, projects)"
    folder = True
    options = frozenset(
        {
            "time_zone", "coordinate_precision", "deployments", "deployment_from", "base_folder", "title", "contributor",
            "licence",
        }
    )  # fmt: skip
    files = (IMAGES, DEPLOYMENTS, CAMERAS, PROJECTS)
    names_deployments = True

    def write(self, path: Path, export: Export) -> int:
        names = _names(export)
        with ExitStack() as stack:
            tables = {name: _Table(path / name, COLUMNS[name], stack) for name in self.files}
            writer = _Writer(export, names, tables)
            level, threshold = asked_level(export.run), threshold_of(export.run)
            for stored, reviews in export.reviewed_items(None if export.selection else (level,)):
                if not writer.takes(stored):
                    continue
                taxa = [seen.candidate.taxon for seen in all_seen(stored, level, threshold) if seen.candidate]
                for taxon in taxa:
                    if not is_animal(taxon):
                        export.findings.add(_NO_ANIMAL, f"{stored.item.uri}: {taxon.scientific_name}")
                of_image = [review for review in reviews if review.target.kind in ("media", "region")]
                writer.add(stored, identifications(all_seen(stored, level, threshold), of_image))
            writer.finish()
            return tables[IMAGES].count

    def recognises(self, path: Path) -> bool:
        return bool(image_tables(path)) or (is_file(path) and is_images_table(headings_of(str(path), NEEDED)))

    def check(self, path: Path, options: ExportOptions) -> Iterator[Problem]:  # noqa: ARG002 - the same for all options
        from bioclip_plugin.formats.wildlife_insights.check import problems_of

        return problems_of(path)


class _Table:
    """One table while it is written."""

    def __init__(self, path: Path, columns: tuple[str, ...], stack: ExitStack) -> None:
        file = stack.enter_context(path.open("w", encoding="utf-8", newline=""))
        self._rows = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        self._rows.writeheader()
        self.count = 0

    def write(self, cells: Mapping[str, Any]) -> None:
        self._rows.writerow({name: _one_line(cell) for name, cell in cells.items()})
        self.count += 1


def _one_line(cell: Any) -> str:
    return "" if cell is None else " ".join(str(cell).split())


@dataclass(slots=True)
class _Deployment:
    """Facts about a deployment, from its images and from the table of deployments."""

    first: datetime | None = None
    last: datetime | None = None
    place: tuple[float, float] | None = None
    camera: str = _NO_CAMERA
    cells: Mapping[str, str] | None = None
    starts: datetime | None = None
    ends: datetime | None = None


class _Writer:
    """One export: the open tables, and what the last three need from the images."""

    def __init__(self, export: Export, names: RelativeNames, tables: Mapping[str, _Table]) -> None:
        self._export, self._names, self._tables = export, names, tables
        self._options = export.options
        title = export.options.title or "Images classified with bioclip-plugin"
        self._project = re.sub(r"[^A-Za-z0-9]+", "_", title).strip("_")[:40] or "project"
        self._title = title
        self._deployments: dict[str, _Deployment] = {}
        self._cameras: dict[str, tuple[str, str]] = {}

    def takes(self, stored: StoredItem) -> bool:
        """Return True for an image that the tables can hold; others are counted."""
        item = stored.item
        if stored.status != "done" or stored.failure is not None:
            self._export.findings.add(_FAILED, item.uri)
        elif item.frame or "video_seconds" in item.metadata or "frame_rate" in item.metadata:
            self._export.findings.add(_NO_IMAGE, f"{item.uri}, frame {item.frame}")
        elif not _deployment_of(item):
            self._export.findings.add(_NO_DEPLOYMENT, item.uri)
        else:
            return True
        return False

    def add(self, stored: StoredItem, rows: Iterator[dict[str, Any]]) -> None:
        """Write the rows of an image."""
        item, name = stored.item, _deployment_of(stored.item)
        moment = in_zone(item.captured_at, self._options.time_zone) if item.captured_at else None
        if moment is None:
            self._export.findings.add(_NO_TIME, item.uri)
        self._note(name, item, moment)
        cells = {
            "project_id": self._project,
            "deployment_id": name,
            "image_id": _image_id(item),
            "location": self._location(item),
            "timestamp": moment and moment.strftime(_CLOCK),
        }
        for row in rows:
            self._tables[IMAGES].write({**cells, **row})

    def _location(self, item: MediaItem) -> str:
        known = item.metadata.get("location")
        if isinstance(known, str) and "://" in known:
            return known
        return self._names(item.uri)

    def _note(self, name: str, item: MediaItem, moment: datetime | None) -> None:
        """Note what an image says about its deployment and its camera."""
        deployment = self._deployments.get(name)
        if deployment is None:
            deployment = self._deployments[name] = _Deployment()
            row = item.membership.row if item.membership is not None else None
            if row is not None:
                deployment.cells, deployment.starts, deployment.ends = row.cells or {}, row.starts, row.ends
                if row.latitude is not None and row.longitude is not None:
                    deployment.place = (row.latitude, row.longitude)
        if moment is not None:
            wall = moment.replace(tzinfo=None)
            deployment.first = min(deployment.first or wall, wall)
            deployment.last = max(deployment.last or wall, wall)
        place = item.place
        if deployment.place is None and place.latitude is not None and place.longitude is not None:
            deployment.place = (place.latitude, place.longitude)
        serial = str(
            (deployment.cells or {}).get("cameraid") or item.metadata.get("camera_serial_number") or ""
        ).strip()
        if deployment.camera == _NO_CAMERA and serial:
            deployment.camera = serial
        make, model = (str(item.metadata.get(f"camera_{key}") or "") for key in ("make", "model"))
        known = self._cameras.get(deployment.camera, ("", ""))
        self._cameras[deployment.camera] = (known[0] or make, known[1] or model)

    def finish(self) -> None:
        """Write the tables of deployments, cameras and the project.

        Raises:
            UsageError: if there is no image.
        """
        if not self._deployments:
            raise UsageError("there is nothing to export: no image of the run has an answer and a deployment")
        used = {deployment.camera for deployment in self._deployments.values()}
        for name, deployment in sorted(self._deployments.items()):
            self._tables[DEPLOYMENTS].write(self._deployment_cells(name, deployment))
        for camera, (make, model) in sorted(self._cameras.items()):
            if camera in used:
                serial = "" if camera == _NO_CAMERA else camera
                self._tables[CAMERAS].write(
                    {
                        "project_id": self._project,
                        "camera_id": camera,
                        "make": make,
                        "model": model,
                        "serial_number": serial,
                    }
                )
        licence = (self._options.licence or "").upper().removesuffix("-4.0").removesuffix("-1.0")
        licence = licence if licence in _LICENCES else ""
        self._tables[PROJECTS].write(
            {
                "project_name": self._title,
                "project_id": self._project,
                "project_short_name": self._title[:43],
                "project_admin": self._options.contributor,
                "metadata_license": licence,
                "image_license": licence,
            }
        )
        self._export.findings.add(
            _TO_FILL_IN, "feature_type, camera_functioning, sensor_height and sensor_orientation of deployments", 1
        )

    def _deployment_cells(self, name: str, deployment: _Deployment) -> dict[str, Any]:
        cells = deployment.cells or {}

        def stated(*columns: str) -> str:
            return next((str(cells[column]) for column in map(column_name, columns) if cells.get(column)), "")

        place = deployment.place
        if place is None:
            self._export.findings.add(_NO_PLACE, name)
        elif self._options.coordinate_precision is not None:
            place = (
                round(place[0], self._options.coordinate_precision),
                round(place[1], self._options.coordinate_precision),
            )
        starts, ends = deployment.starts or deployment.first, deployment.ends or deployment.last
        return {
            **{column: stated(column) for column in COLUMNS[DEPLOYMENTS]},
            "project_id": self._project,
            "deployment_id": name,
            "placename": stated("locationName", "placename", "locationID") or name,
            "latitude": place and place[0],
            "longitude": place and place[1],
            "start_date": starts and starts.strftime(_CLOCK),
            "end_date": ends and ends.strftime(_CLOCK),
            "camera_id": deployment.camera,
            "bait_type": stated("bait_type", "baitType"),
            "recorded_by": stated("recorded_by", "setupBy"),
        }


def _names(export: Export) -> RelativeNames:
    if export.options.base_folder is not None:
        return NamesUnder(export.options.base_folder)
    return CommonFolder(item.uri for item in export.store.listed_items(export.run)).names()


def _deployment_of(item: MediaItem) -> str:
    return (item.membership.deployment if item.membership is not None else "") or item.deployment or ""


def _image_id(item: MediaItem) -> str:
    """Return the id that an image came with, else one that is the same in every export."""
    known = item.metadata.get("image_id")
    return str(known) if known else str(uuid.uuid5(uuid.NAMESPACE_URL, f"{item.uri}#{item.frame}"))
