"""Checks of Camtrap DP 1.0.2 packages: the demands of the profile and its schemas, and traps that these do not catch.

Tables are read row by row; identifiers are kept in a database in a temporary file, so memory stays flat.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from bioclip_core.errors import SourceError, UsageError
from bioclip_core.files.present import is_file
from bioclip_core.files.scratch import Scratch
from bioclip_plugin.contracts.problem import Problem
from bioclip_plugin.formats.camtrap_dp.check_descriptor import descriptor_problems
from bioclip_plugin.formats.camtrap_dp.check_rows import FAULTS, Fault, checked_rows, is_after
from bioclip_plugin.formats.camtrap_dp.naming import is_of_animals
from bioclip_plugin.formats.camtrap_dp.package import DESCRIPTOR, CamtrapPackage, opened_package
from bioclip_plugin.formats.camtrap_dp.schema import TABLES

SHOWN = 100
"""Largest number of problems of one kind in one file that are reported one by one; the rest is counted."""
_TABLES = """
CREATE TABLE media (id TEXT PRIMARY KEY, deployment TEXT) WITHOUT ROWID;
CREATE TABLE observations (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE files (path TEXT PRIMARY KEY) WITHOUT ROWID;
"""
_UP_TO_BRACKET = re.compile(r"^.*?\)\s*")


def camtrap_dp_problems(path: Path, base_folder: Path | None = None) -> Iterator[Problem]:
    """Yield the problems of a package.

    Args:
        path: the package's folder, its ``datapackage.json`` or a zip file of it.
        base_folder: folder of its media; missing files are reported. Without it, they are reported only if some of them
            lie beside the package.
    """
    counts: Counter[tuple[str, str, str]] = Counter()
    last: dict[tuple[str, str, str], Problem] = {}
    for problem in _all_problems(path, base_folder):
        # The same message in the same column is the same kind.
        kind = (problem.file, _UP_TO_BRACKET.sub("", problem.record), problem.message)
        counts[kind] += 1
        if counts[kind] > SHOWN and problem.file != DESCRIPTOR:
            last[kind] = problem
        else:
            yield problem
    for kind, problem in last.items():
        yield replace(problem, record="", message=f"and {counts[kind] - SHOWN:,} more of this: {problem.message}")


def _all_problems(path: Path, base_folder: Path | None) -> Iterator[Problem]:
    try:
        with opened_package(str(path), any_version=True) as package, Links(package, base_folder) as links:
            yield from descriptor_problems(package.descriptor)
            for table in TABLES:
                try:
                    yield from _table_problems(package, table, links)
                except (SourceError, UsageError) as error:
                    yield Problem(DESCRIPTOR, f"resources {table}", str(error))
            yield from links.missing_files()
            yield from _other_problems(package, links)
    except SourceError as error:
        yield Problem(DESCRIPTOR, "", str(error))


def _table_problems(package: CamtrapPackage, table: str, links: Links) -> Iterator[Problem]:
    for file, rows in package.csv_files(package.table(table), strict=True):
        for row in checked_rows(rows, file, table):
            if isinstance(row, Problem):
                yield row
                continue
            for fault in (*FAULTS[table](row.values), *links.faults(table, row.values)):
                if not row.follows_from_reported(fault.column):
                    yield Problem(file, f"{row.record} {fault.column}", fault.message, fault.value, fault.severity)


def _other_problems(package: CamtrapPackage, links: Links) -> Iterator[Problem]:
    """Yield missing files of further resources, their unknown observationIDs, and answers that our export skipped."""
    for resource in package.resources:
        name = str(resource.get("name"))
        if name in TABLES or "path" not in resource:
            continue
        skipped, first = 0, None
        try:
            for row in package.rows(resource):
                if name == "left-out" and row.values.get("stage") == "export":
                    skipped, first = skipped + 1, first or row
                observation = row.values.get("observationID")
                if observation and not links.has_observation(observation):
                    where = f"line {row.line} ({observation}) observationID"
                    yield Problem(row.file, where, "no observation has this observationID", observation)
        except SourceError as error:
            yield Problem(DESCRIPTOR, f"resources {name}", str(error))
        if first is not None:
            yield Problem(
                first.file,
                "",
                f"{skipped:,} answered images are not in the package; the first one: {first.values.get('reason', '')}",
                first.values.get("uri", ""),
                "warning",
            )


class Links(Scratch):
    """Checks identifiers across tables, and keeps them while tables are read in the order deployments, media, observations."""

    def __init__(self, package: CamtrapPackage, base_folder: Path | None) -> None:
        """Set up.

        Args:
            package: the package.
            base_folder: folder of the media; None: the package's own, which need not have any of them.
        """
        super().__init__(_TABLES)
        self._package = package
        self._base = base_folder or package.folder
        self._needs_files = base_folder is not None
        self._deployments: dict[str, tuple[str, str]] = {}
        self._taxa = package.taxonomic
        self._files: Counter[str] = Counter()
        self._first_missing = ""

    def faults(self, table: str, values: Mapping[str, str]) -> Iterator[Fault]:
        """Yield the faults of a row's identifiers, and keep them for later rows."""
        deployment = values["deploymentID"]
        if table == "deployments":
            if deployment in self._deployments:
                yield Fault("deploymentID", "another deployment has this identifier", deployment)
            elif deployment:
                self._deployments[deployment] = (values["deploymentStart"], values["deploymentEnd"])
            return
        if deployment and deployment not in self._deployments:
            yield Fault("deploymentID", "no deployment has this identifier", deployment)
        yield from (self._media_faults if table == "media" else self._observation_faults)(values, deployment)

    def has_observation(self, name: str) -> bool:
        """True if an observation of that identifier was read."""
        return self._database.execute("SELECT 1 FROM observations WHERE id = ?", (name,)).fetchone() is not None

    def missing_files(self) -> Iterator[Problem]:
        """Yield one problem if media files are missing from their folder."""
        if self._files["missing"] and (self._needs_files or self._files["found"]):
            message = f"{self._files['missing']:,} of {self._files.total():,} media files are not in {self._base}"
            yield Problem("media.csv", "", message, self._first_missing, "warning")

    def _media_faults(self, values: Mapping[str, str], deployment: str) -> Iterator[Fault]:
        name, path, moment = values["mediaID"], values["filePath"], values["timestamp"]
        if name and not self._is_new("media", name, deployment):
            yield Fault("mediaID", "another media file has this identifier", name)
        starts, ends = self._deployments.get(deployment, ("", ""))
        if moment and starts and ends and (is_after(starts, moment) or is_after(moment, ends)):
            yield Fault(
                "timestamp",
                "the time is outside that of the deployment",
                f"{moment}, {starts} to {ends}",
                "warning",
            )
        if path and not self._is_new("files", path):
            yield Fault("filePath", "another row has the same file", path, "warning")
        if path and "://" not in path:
            is_found = self._package.has_member(path) if self._package.archive else is_file(self._base / path)
            self._files["found" if is_found else "missing"] += 1
            self._first_missing = self._first_missing or ("" if is_found else path)

    def _observation_faults(self, values: Mapping[str, str], deployment: str) -> Iterator[Fault]:
        name, media, taxon = values["observationID"], values["mediaID"], values["scientificName"]
        if name and not self._is_new("observations", name):
            yield Fault("observationID", "another observation has this identifier", name)
        if media:
            found = self._database.execute("SELECT deployment FROM media WHERE id = ?", (media,)).fetchone()
            if found is None:
                yield Fault("mediaID", "no media file has this identifier", media)
            elif deployment and found[0] in self._deployments and found[0] != deployment:
                yield Fault("deploymentID", "its media file belongs to another deployment", f"{deployment}, {found[0]}")
        kingdom = self._taxa.get(taxon, {}).get("kingdom")
        if taxon and taxon not in self._taxa:
            yield Fault("scientificName", "the package's taxonomic does not have this name", taxon)
        elif (
            isinstance(kingdom, str)
            and kingdom
            and not is_of_animals(kingdom)
            and values["observationType"] == "animal"
        ):
            yield Fault(
                "observationType", "an organism that is not an animal must be unclassified", f"{taxon}, {kingdom}"
            )

    def _is_new(self, table: str, *values: str) -> bool:
        insert = f"INSERT OR IGNORE INTO {table} VALUES ({', '.join('?' * len(values))})"
        return self._database.execute(insert, values).rowcount == 1
