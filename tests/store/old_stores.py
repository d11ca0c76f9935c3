"""A small project of every kind of input, and the stores that version 0.1.0 wrote for it, as SQL text."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from bioclip_plugin.store.database.address import parse_address
from bioclip_plugin.testing import FakeModel

FIXTURE = Path(__file__).parent / "written_by_0_1_0"
LOGIT_SCALE = 10.0
MODIFIED_NS = 1_700_000_000_000_000_000

PHOTOS = {
    "cam1/a.ppm": (255, 0, 0),
    "cam1/b.ppm": (250, 90, 0),
    "cam1/c.ppm": (0, 200, 0),
    "cam2/d.ppm": (0, 0, 255),
    "cam2/e.ppm": (120, 120, 140),
    "cam2/f.ppm": (10, 0, 255),
}
TAXA = """\
kingdom,family,genus,specificEpithet,vernacularName
Fictia,Warmidae,Red,fictus,scarlet invention
Fictia,Coldidae,Green,fictus,
Fictia,Coldidae,Blue,pictus,azure invention
"""
TABLE = """\
image,eventDate,deploymentID,decimalLatitude,decimalLongitude,countryCode,sequence,catalogNumber,scientificName
photos/cam1/a.ppm,2024-05-01T06:00:00+02:00,cam1,52.5,5.25,NL,,0007,Red fictus
photos/cam1/b.ppm,2024-05-01T06:00:20+02:00,cam1,52.5,5.25,NL,,0008,Red fictus
photos/cam1/c.ppm,2024-05-01T09:00:00+02:00,cam1,52.5,5.25,NL,,0009,
photos/cam2/d.ppm,2024-05-02T10:00:00+02:00,cam2,-12.125,130.5,AU,s1,0010,Blue pictus
photos/cam2/e.ppm,2024-05-02T10:00:05+02:00,cam2,-12.125,130.5,AU,s1,,
photos/cam2/f.ppm,,cam2,,,,,0012,Gröön ßæ
photos/broken.jpg,2024-05-02,cam2,,,,,0013,
photos/missing.jpg,2024-05-03,cam2,,,,,0014,
"""
DEPLOYMENTS = """\
deploymentID,latitude,longitude,timeZone
cam1,52.5,5.25,Europe/Amsterdam
cam2,-12.125,130.5,Australia/Darwin
"""
BOXES: dict[str, Any] = {
    "info": {"format_version": "1.4", "detector": "md_v5a.0.0.pt"},
    "detection_categories": {"1": "animal", "2": "person", "3": "vehicle"},
    "images": [
        {
            "file": "cam1/a.ppm",
            "detections": [
                {"category": "1", "conf": 0.9, "bbox": [0.0, 0.0, 0.5, 1.0]},
                {"category": "2", "conf": 0.8, "bbox": [0.5, 0.0, 0.5, 0.5]},
                {"category": "1", "conf": 0.05, "bbox": [0.5, 0.5, 0.5, 0.5]},
            ],
        },
        {"file": "cam1/c.ppm", "detections": []},
        {"file": "cam2/d.ppm", "detections": [{"category": "3", "conf": 0.7, "bbox": [0.25, 0.25, 0.5, 0.5]}]},
        {"file": "broken.jpg", "failure": "truncated"},
    ],
}
REVIEWS = """\
image,bbox,event,verdict,scientificName,reviewer,reviewedAt,comment,count
photos/cam1/a.ppm,,,taxon,Red fictus,Ann,2025-01-02T03:04:05Z,sure,2
photos/cam1/a.ppm,"[0.0, 0.0, 0.5, 1.0]",,taxon,Green fictus,Bo,2025-01-02T03:05:00Z,"a ""quoted"" word; über",1
photos/cam2/f.ppm,,,blank,,Bo,2025-01-02T03:06:00Z,,
,,s1,taxon,Blue pictus,Cy,2025-01-03T00:00:00Z,the whole event,
photos/broken.jpg,,,unidentifiable,,Ann,2025-01-04T00:00:00Z,,
"""
CLASSIFY: tuple[tuple[str, ...], ...] = (
    ("photos",),
    ("table.csv", "--rule", "sequences:gap=60", "--rule", "unknown:below=0.4", "--deployments", "cameras.csv"),
    ("md.json", "--base-folder", "photos", "--rule", "blanks:confidence=0.2"),
)
"""The classifications of the project: what ``classify`` is given beside the model, the labels and the store."""
RUNS = {1: "photos", 2: "table", 3: "boxes", 4: "derived"}
EXPORTS: dict[str, tuple[str, ...]] = {
    "csv": ("--format", "csv", "--keep-columns", "*"),
    "jsonl": ("--format", "jsonl"),
    "image.csv": ("--format", "csv", "--per", "image"),
    "event.csv": ("--format", "csv", "--per", "event"),
    "megadetector": ("--format", "megadetector", "--base-folder", "photos"),
    "speciesnet": ("--format", "speciesnet", "--base-folder", "photos"),
    "camtrap-dp": ("--format", "camtrap-dp", "--deployments", "cameras.csv", "--time-zone", "Europe/Brussels"),
    "darwin-core": ("--format", "darwin-core"),
    "wildlife-insights": ("--format", "wildlife-insights", "--deployments", "cameras.csv"),
}
"""The expected exports of the run ``table`` and the options of each; the other runs have the first two."""
_TABLES = {".csv", ".txt", ".tsv", ""}
"""Endings of the expected files: descriptions of columns and packages may change with a later version."""


def model() -> FakeModel:
    """Return the model of the project."""
    return FakeModel(logit_scale=LOGIT_SCALE)


def classify(given: tuple[str, ...], store: str) -> list[str]:
    """Return the command line of one of the project's classifications."""
    return ["classify", *given, "--model", "fake", "--labels", "labels", "--precision", "fp32", "--store", store]


def write_project(folder: Path) -> None:
    """Write the project's images and tables, with the times that version 0.1.0 found."""
    for name, colour in PHOTOS.items():
        path = folder / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"P6 8 8 255\n" + bytes(colour) * 64)
    (folder / "photos" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not an image")
    for path in (folder / "photos").rglob("*.*"):
        os.utime(path, ns=(MODIFIED_NS, MODIFIED_NS))
    tables = {"taxa.csv": TAXA, "table.csv": TABLE, "cameras.csv": DEPLOYMENTS, "reviews.csv": REVIEWS}
    for name, text in {**tables, "md.json": json.dumps(BOXES)}.items():
        (folder / name).write_text(text, "utf-8")
    if (FIXTURE / "labels").is_dir():
        shutil.copytree(FIXTURE / "labels", folder / "labels")


def restore(address: str) -> None:
    """Fill an empty database with the store that version 0.1.0 wrote."""
    url = parse_address(address)
    if url.get_backend_name() == "sqlite":
        with closing(sqlite3.connect(str(url.database))) as connection:
            connection.executescript(_dump("sqlite.sql"))
        return
    engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        cursor = connection.connection.cursor()
        cursor.execute(_dump("postgresql.sql"))
        cursor.close()
    engine.dispose()


def _dump(name: str) -> str:
    """Return a dump of the store as if it was written in the working directory, where the project is now."""
    return (FIXTURE / name).read_text("utf-8").replace("/tmp/wolf-survey", str(Path.cwd()))


def exports() -> Iterator[tuple[int, str, str]]:
    """Yield the number and name of each run with each kind of its expected exports."""
    for number, name in RUNS.items():
        for kind in EXPORTS if name == "table" else ("csv", "jsonl"):
            yield number, name, kind


def exported(path: Path) -> dict[str, str]:
    """Return the text of an export, a file or the tables of a folder, by the files' names."""
    if path.is_file():
        return {"": path.read_text("utf-8")}
    return {file.name: file.read_text("utf-8") for file in sorted(path.iterdir()) if file.suffix in _TABLES}
