"""The table of deployments that a user gives: where each camera stood, and from when to when."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bioclip_core.cells import column_name
from bioclip_core.errors import UsageError
from bioclip_plugin.formats.camtrap_dp.cells import fault_of
from bioclip_plugin.formats.camtrap_dp.schema import MISSING, TABLES, Column
from bioclip_plugin.items.time_zones import moment_in

NEEDED = ("deploymentID", "latitude", "longitude", "deploymentStart", "deploymentEnd")
"""Columns that the table must have; all others of Camtrap DP's table are taken where they are there."""
_LARGEST = 64 << 20


@dataclass(frozen=True, slots=True)
class Deployment:
    """One camera at one place for a time."""

    name: str
    latitude: float
    longitude: float
    starts: datetime
    """Aware."""
    ends: datetime
    """Aware."""
    cells: Mapping[str, str]
    """The row under the names of Camtrap DP's columns, as text that its table may hold; without what is not known."""


def stamp(moment: datetime) -> str:
    """An aware moment as Camtrap DP writes it: with its offset, without fractions of a second."""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def read_deployments(path: Path, time_zone: str | None) -> dict[str, Deployment]:
    """The deployments of a table in CSV (comma, semicolon or tab; UTF-8), by name.

    Columns are found without regard to case and underscores. Times may be local; then ``time_zone`` is their zone.

    Raises:
        UsageError: naming file, line and value, for a table that cannot be used.
    """
    text = _text(path)
    first_line = text.split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first_line.count))
    try:
        columns = _columns(next(reader, []), path)
        found: dict[str, Deployment] = {}
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            where = f"the table of deployments {path}, line {reader.line_num}"
            deployment = _deployment(columns, cells, time_zone, where)
            if deployment.name in found:
                raise UsageError(
                    f"{where}: deploymentID {deployment.name!r} stands there twice; each needs a name of its own"
                )
            found[deployment.name] = deployment
    except csv.Error as error:
        raise UsageError(
            f"the table of deployments {path}, line {reader.line_num}: it cannot be read: {error}"
        ) from error
    return found


def deployment_of(cells: Mapping[str, str], time_zone: str | None, where: str) -> Deployment:
    """A deployment from the cells of a row, under the names of Camtrap DP's columns.

    Raises:
        UsageError: beginning with ``where``, for a cell that cannot be used.
    """
    good = {}
    for column in TABLES["deployments"]:
        cell = _cell(column, cells.get(column.name, "").strip(), time_zone, where)
        if cell:
            good[column.name] = cell
    starts, ends = (datetime.fromisoformat(good[name]) for name in ("deploymentStart", "deploymentEnd"))
    if ends < starts:
        raise UsageError(
            f"{where}: deploymentEnd {good['deploymentEnd']} is before deploymentStart {good['deploymentStart']}"
        )
    return Deployment(
        good["deploymentID"], float(good["latitude"]), float(good["longitude"]), starts, ends, good
    )  # fmt: skip


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST:
            raise UsageError(
                f"the table of deployments {path} is larger than {_LARGEST >> 20} MB; is it the right file?"
            )
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"the table of deployments {path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f"the table of deployments {path} is no text in UTF-8: {error}; save it as CSV in UTF-8"
        ) from error


def _columns(header: Sequence[str], path: Path) -> list[str]:
    """The names of Camtrap DP for the columns of a header, empty for those that it does not know."""
    known = {column_name(column.name): column.name for column in TABLES["deployments"]}
    names = [known.get(column_name(cell), "") for cell in header]
    lacking = [name for name in NEEDED if name not in names]
    if lacking:
        shown = ", ".join(cell for cell in header if cell) or "no columns"
        raise UsageError(f"the table of deployments {path} lacks {', '.join(lacking)}; it has {shown}")
    return names


def _deployment(columns: Sequence[str], cells: Sequence[str], time_zone: str | None, where: str) -> Deployment:
    if len(cells) > len(columns):
        raise UsageError(f"{where}: it has {len(cells)} cells where the header has {len(columns)}")
    return deployment_of({name: cell for name, cell in zip(columns, cells, strict=False) if name}, time_zone, where)


def _cell(column: Column, cell: str, time_zone: str | None, where: str) -> str:
    if column.kind == "datetime" and cell not in MISSING:
        cell = _moment(column, cell, time_zone, where)
    if column.kind == "integer" and cell.endswith(".0"):  # a spreadsheet's way of writing a whole number
        cell = cell.removesuffix(".0")
    fault = fault_of(column, cell)
    if fault:
        raise UsageError(f"{where}: {column.name} {cell!r}: {fault}")
    if column.kind == "boolean" and cell:
        return "true" if cell.lower() in ("true", "1") else "false"
    return "" if cell in MISSING else cell


def _moment(column: Column, cell: str, time_zone: str | None, where: str) -> str:
    moment = moment_in(cell, time_zone)
    if moment is None:
        raise UsageError(f"{where}: {column.name} {cell!r}: a date and time such as 2020-05-30T04:57:37 is needed")
    if moment.tzinfo is None:
        raise UsageError(
            f"{where}: {column.name} {cell!r} has no offset from UTC: write one (+02:00), or give --time-zone, such as Europe/Brussels"
        )
    return stamp(moment)
