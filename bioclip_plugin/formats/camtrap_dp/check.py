"""Checks of Camtrap DP 1.0.2 packages: what the profile and its schemas demand, and the traps that these do not catch.

Tables are read row by row; identifiers wait in a database in a temporary file, so memory stays flat.
"""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

from bioclip_core.errors import SourceError, UsageError
from bioclip_plugin.contracts.problem import Problem
from bioclip_plugin.formats.camtrap_dp.check_descriptor import descriptor_problems
from bioclip_plugin.formats.camtrap_dp.check_links import Links
from bioclip_plugin.formats.camtrap_dp.check_rows import (
    Fault,
    TableRow,
    deployment_faults,
    media_faults,
    observation_faults,
    read_rows,
)
from bioclip_plugin.formats.camtrap_dp.package import DESCRIPTOR, CamtrapPackage, opened_package
from bioclip_plugin.formats.camtrap_dp.schema import TABLES

SHOWN = 100
"""Problems of one kind in one file that are told one by one; the rest is counted."""
_FAULTS: Mapping[str, Callable[[dict[str, str]], Iterator[Fault]]] = {
    "deployments": deployment_faults,
    "media": media_faults,
    "observations": observation_faults,
}
_AFTER_A_BRACKET = re.compile(r"^.*?\)\s*")


def camtrap_dp_problems(path: Path, base_folder: Path | None = None) -> Iterator[Problem]:
    """What is wrong with a package: its folder, its ``datapackage.json`` or a zip file of it.

    Args:
        base_folder: where its media are; files that are missing there are told of. Without it that is looked at only where
            some of them lie beside the package.
    """
    try:
        with opened_package(str(path), any_version=True) as package:
            yield from _limited(_problems(package, base_folder))
    except SourceError as error:
        yield Problem(DESCRIPTOR, "", str(error))


def _limited(problems: Iterator[Problem]) -> Iterator[Problem]:
    """The first problems of each kind, and how many more there are."""
    counts: Counter[tuple[str, str, str]] = Counter()
    last: dict[tuple[str, str, str], Problem] = {}
    for problem in problems:
        # The same message in the same column is the same kind.
        kind = (problem.file, _AFTER_A_BRACKET.sub("", problem.record), problem.message)
        if problem.file != DESCRIPTOR:
            counts[kind] += 1
            if counts[kind] > SHOWN:
                last[kind] = problem
                continue
        yield problem
    for kind, problem in last.items():
        more = f"and {counts[kind] - SHOWN:,} more of this: {problem.message}"
        yield Problem(problem.file, "", more, problem.value, problem.severity)


def _problems(package: CamtrapPackage, base_folder: Path | None) -> Iterator[Problem]:
    yield from descriptor_problems(package.descriptor)
    with closing(sqlite3.connect("", isolation_level=None)) as rows:
        links = Links(rows, package.descriptor, base_folder or package.folder, package, asked=base_folder is not None)
        for table in TABLES:
            try:
                yield from _table(package, table, links)
            except (SourceError, UsageError) as error:
                yield Problem(DESCRIPTOR, f"resources {table}", str(error))
        yield from links.at_the_end()
        yield from _other_tables(package, links)


def _table(package: CamtrapPackage, table: str, links: Links) -> Iterator[Problem]:
    dialect = package.resource(table).get("dialect")
    delimiter = dialect.get("delimiter", ",") if isinstance(dialect, dict) else ","
    if not isinstance(delimiter, str) or len(delimiter) != 1:
        yield Problem(DESCRIPTOR, f"resources {table}", "the delimiter is to be one character", str(delimiter))
        return
    for name in package.files(table):
        problems: list[Problem] = []
        with package.open(name) as file:
            for row in read_rows(file, name, TABLES[table], delimiter, problems):
                yield from problems
                problems.clear()
                yield from _row(row, name, table, links)
        yield from problems


def _row(row: TableRow, file: str, table: str, links: Links) -> Iterator[Problem]:
    for column, message, value, severity in (*_FAULTS[table](row.values), *links.of(table, row.values)):
        if not row.is_spoilt(column):
            yield Problem(file, f"{row.record} {column}", message, value, severity)


def _other_tables(package: CamtrapPackage, links: Links) -> Iterator[Problem]:
    """Files of further resources that are not there, their observationIDs that lead nowhere, and answers that our export left out."""
    resources = package.descriptor.get("resources")
    for one in resources if isinstance(resources, list) else []:
        if not isinstance(one, dict) or one.get("name") in TABLES or "path" not in one:
            continue
        count, first = 0, None
        try:
            for row in package.other_rows(one):
                if one.get("name") == "left-out" and row.values.get("stage") == "export":
                    count, first = count + 1, first or row
                found = row.values.get("observationID")
                if found and not links.has_observation(found):
                    record = f"line {row.line} ({found}) observationID"
                    yield Problem(row.file, record, "no observation has this observationID", found)
        except SourceError as error:
            yield Problem(DESCRIPTOR, f"resources {one.get('name')}", str(error))
        if first is not None:
            message = (
                f"{count:,} answered images are not in the package; the first one: {first.values.get('reason', '')}"
            )
            yield Problem(first.file, "", message, first.values.get("uri", ""), "warning")
