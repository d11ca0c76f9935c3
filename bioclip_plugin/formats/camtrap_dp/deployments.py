"""The table of deployments that a user gives: where each camera stood, and from when to when."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import datetime, time
from pathlib import Path

from bioclip_core.cells import column_name, day_of
from bioclip_core.errors import UsageError
from bioclip_plugin.formats.camtrap_dp.schema import MISSING, TABLES, Column, fault_of
from bioclip_plugin.items.deployments import Deployment, stamp
from bioclip_plugin.items.time_zones import in_zone, moment_in

NEEDED = ("deploymentID", "latitude", "longitude", "deploymentStart", "deploymentEnd")
"""Columns that the table must have; other columns of Camtrap DP's table are used if present."""
_LARGEST = 64 << 20


def read_deployments(path: Path, time_zone: str | None) -> dict[str, Deployment]:
    """Read a table of deployments in CSV (comma, semicolon or tab; UTF-8).

    Column names are compared without case, white space, underscores and hyphens. Times may be local; then ``time_zone`` is their zone.

    Returns:
        The deployments by name.

    Raises:
        UsageError: naming file, line and value, for a table that cannot be used.
    """
    shown = f"the table of deployments {path}"
    text = _text_of(path, shown)
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    found: dict[str, Deployment] = {}
    try:
        columns = _column_names(next(reader, []), shown)
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            where = f"{shown}, line {reader.line_num}"
            if len(cells) > len(columns):
                raise UsageError(f"{where}: {len(cells)} cells where the header has {len(columns)}; remove the surplus")
            named = {name: cell for name, cell in zip(columns, cells, strict=False) if name}
            deployment = deployment_of(named, time_zone, where)
            if deployment.name in found:
                raise UsageError(f"{where}: duplicate deploymentID {deployment.name!r}; give each deployment its own")
            found[deployment.name] = deployment
    except csv.Error as error:
        raise UsageError(f"{shown}, line {reader.line_num}: cannot be read: {error}; save it as CSV") from error
    return found


def deployment_of(cells: Mapping[str, str], time_zone: str | None, where: str) -> Deployment:
    """Return a deployment from the cells of a row, under the column names of Camtrap DP.

    Raises:
        UsageError: beginning with ``where``, for a cell that cannot be used.
    """
    good = {
        name: cell
        for name, column in TABLES["deployments"].items()
        if (cell := _cell(column, cells.get(name, "").strip(), time_zone, where))
    }
    starts, ends = (datetime.fromisoformat(good[name]) for name in ("deploymentStart", "deploymentEnd"))
    if ends < starts:
        raise UsageError(
            f"{where}: deploymentEnd {good['deploymentEnd']} is before deploymentStart {good['deploymentStart']}"
        )
    return Deployment(good["deploymentID"], float(good["latitude"]), float(good["longitude"]), starts, ends, good)


def _text_of(path: Path, shown: str) -> str:
    try:
        if path.stat().st_size > _LARGEST:
            raise UsageError(f"{shown} is larger than {_LARGEST >> 20} MB; is it the right file?")
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{shown} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{shown} is not text in UTF-8: {error}; save it as CSV in UTF-8") from error


def _column_names(header: Sequence[str], shown: str) -> list[str]:
    """Return Camtrap DP's name of each column, empty for columns that it does not have."""
    known = {column_name(name): name for name in TABLES["deployments"]}
    names = [known.get(column_name(cell), "") for cell in header]
    lacking = [name for name in NEEDED if name not in names]
    if lacking:
        found = ", ".join(cell for cell in header if cell) or "no columns"
        raise UsageError(f"{shown} lacks {', '.join(lacking)}; it has {found}")
    return names


def _cell(column: Column, cell: str, time_zone: str | None, where: str) -> str:
    """Return a cell as Camtrap DP writes it, empty for a missing value."""
    shown = f"{where}: {column.name} {cell!r}"
    if column.kind == "datetime" and cell not in MISSING:
        moment = moment_in(cell, time_zone)
        if moment is None and (day := day_of(cell)):
            moment = in_zone(datetime.combine(day, time()), time_zone)  # a day begins and ends deployments at midnight
        if moment is None:
            raise UsageError(f"{shown}: must be a date and time such as 2020-05-30T04:57:37")
        if moment.tzinfo is None:
            raise UsageError(
                f"{shown} lacks an offset from UTC: write one (+02:00), or give --time-zone, such as Europe/Brussels"
            )
        cell = stamp(moment)
    if column.kind == "integer":
        cell = cell.removesuffix(".0")  # a spreadsheet's way of writing a whole number
    if fault := fault_of(column, cell):
        raise UsageError(f"{shown}: {fault}")
    if column.kind == "boolean" and cell:
        return "true" if cell.lower() in ("true", "1") else "false"
    return "" if cell in MISSING else cell
