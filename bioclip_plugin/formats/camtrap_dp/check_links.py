"""What the tables of a Camtrap DP package say of each other: identifiers that are there once and lead somewhere."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bioclip_plugin.contracts.problem import Problem
from bioclip_plugin.formats.camtrap_dp.check_rows import Fault, is_after
from bioclip_plugin.formats.camtrap_dp.package import CamtrapPackage, is_file

_ANIMALS = ("", "Animalia", "Metazoa")
_TABLES = """
PRAGMA journal_mode=OFF;
CREATE TABLE media (id TEXT PRIMARY KEY, deployment TEXT) WITHOUT ROWID;
CREATE TABLE observations (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE files (path TEXT PRIMARY KEY) WITHOUT ROWID;
BEGIN;
"""


class Links:
    """Remembers identifiers as tables are read in the order deployments, media, observations."""

    def __init__(
        self,
        rows: sqlite3.Connection,
        descriptor: Mapping[str, Any],
        base: Path,
        package: CamtrapPackage,
        *,
        asked: bool,
    ) -> None:
        self._rows = rows
        self._base = base
        self._package = package
        self._asked = asked
        self._deployments: dict[str, tuple[str, str]] = {}
        self._kingdoms = _kingdoms(descriptor)
        self._files: Counter[str] = Counter()
        self._missing = ""
        rows.executescript(_TABLES)

    def of(self, table: str, values: Mapping[str, str]) -> Iterator[Fault]:
        """What is wrong with the identifiers of a row."""
        if table == "deployments":
            yield from self._deployment(values)
        elif table == "media":
            yield from self._media(values)
        else:
            yield from self._observation(values)

    def has_observation(self, name: str) -> bool:
        """Whether an observation of that identifier was read."""
        return self._rows.execute("SELECT 1 FROM observations WHERE id = ?", (name,)).fetchone() is not None

    def at_the_end(self) -> Iterator[Problem]:
        """How many media files are not where they are said to be."""
        if self._files["missing"] and (self._asked or self._files["there"]):
            message = f"{self._files['missing']:,} of {self._files.total():,} media files are not in {self._base}"
            yield Problem("media.csv", "", message, self._missing, "warning")

    def _deployment(self, values: Mapping[str, str]) -> Iterator[Fault]:
        name = values.get("deploymentID", "")
        if name in self._deployments:
            yield "deploymentID", "another deployment has this identifier", name, "error"
        elif name:
            self._deployments[name] = (values.get("deploymentStart", ""), values.get("deploymentEnd", ""))

    def _media(self, values: Mapping[str, str]) -> Iterator[Fault]:
        name, deployment, path = values.get("mediaID", ""), values.get("deploymentID", ""), values.get("filePath", "")
        if name and not self._is_new("media", name, deployment):
            yield "mediaID", "another media file has this identifier", name, "error"
        yield from self._of_deployment(deployment)
        starts, ends = self._deployments.get(deployment, ("", ""))
        moment = values.get("timestamp", "")
        if moment and starts and ends and (is_after(starts, moment) or is_after(moment, ends)):
            yield "timestamp", "it is not within its deployment", f"{moment}, {starts} to {ends}", "warning"
        if path and not self._is_new("files", path):
            yield "filePath", "another row has the same file", path, "warning"
        if path and "://" not in path:
            there = self._package.has(path) if self._package.archive else is_file(self._base / path)
            self._files["there" if there else "missing"] += 1
            self._missing = self._missing or ("" if there else path)

    def _observation(self, values: Mapping[str, str]) -> Iterator[Fault]:
        name, media = values.get("observationID", ""), values.get("mediaID", "")
        if name and not self._is_new("observations", name):
            yield "observationID", "another observation has this identifier", name, "error"
        deployment = values.get("deploymentID", "")
        yield from self._of_deployment(deployment)
        if media:
            found = self._rows.execute("SELECT deployment FROM media WHERE id = ?", (media,)).fetchone()
            if found is None:
                yield "mediaID", "no media file has this identifier", media, "error"
            elif deployment and found[0] in self._deployments and found[0] != deployment:
                yield (
                    "deploymentID",
                    "its media file belongs to another deployment",
                    f"{deployment}, {found[0]}",
                    "error",
                )
        yield from self._name(values)

    def _name(self, values: Mapping[str, str]) -> Iterator[Fault]:
        taxon = values.get("scientificName", "")
        if taxon and taxon not in self._kingdoms:
            yield "scientificName", "the name is not among the package's taxonomic", taxon, "error"
        elif values.get("observationType") == "animal" and self._kingdoms.get(taxon, "") not in _ANIMALS:
            kingdom = self._kingdoms[taxon]
            if not kingdom.endswith("animalia"):
                yield "observationType", "what is no animal is unclassified", f"{taxon}, {kingdom}", "error"

    def _of_deployment(self, name: str) -> Iterator[Fault]:
        if name and name not in self._deployments:
            yield "deploymentID", "no deployment has this identifier", name, "error"

    def _is_new(self, table: str, *values: str) -> bool:
        marks = ", ".join("?" * len(values))
        return self._rows.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", values).rowcount == 1


def _kingdoms(descriptor: Mapping[str, Any]) -> dict[str, str]:
    """The kingdoms of the names in the package's ``taxonomic``; the empty text where none is stated."""
    listed = descriptor.get("taxonomic")
    found = {}
    for one in listed if isinstance(listed, list) else []:
        if isinstance(one, dict) and isinstance(one.get("scientificName"), str):
            kingdom = one.get("kingdom")
            found[one["scientificName"]] = kingdom if isinstance(kingdom, str) else ""
    return found
