"""The rows of an archive's core by their ids, on disk: a museum's core does not fit into memory, and media come in any order."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bioclip_core.files.scratch import Scratch

_TABLES = """
CREATE TABLE core (id TEXT PRIMARY KEY, place TEXT, row TEXT);
CREATE TABLE region (number INTEGER PRIMARY KEY, parent TEXT, place TEXT, box TEXT, used INTEGER DEFAULT 0);
CREATE INDEX region_parent ON region (parent);
CREATE TABLE named (core TEXT PRIMARY KEY, weight TEXT, row TEXT);
CREATE TABLE shown (uri TEXT PRIMARY KEY, core TEXT) WITHOUT ROWID;
"""


class ArchiveIndex(Scratch):
    """The rows of a core, on disk. To be used with ``with``."""

    def __init__(self) -> None:
        super().__init__(_TABLES)

    def add(self, core_id: str, where: str, values: Mapping[str, str]) -> bool:
        """Store a row of the core; False if a row has this id already."""
        done = self._database.execute("INSERT OR IGNORE INTO core VALUES (?, ?, ?)", (core_id, where, _json(values)))
        return done.rowcount == 1

    def row(self, core_id: str) -> dict[str, str] | None:
        """Return the values of a row of the core."""
        values: dict[str, str] | None = self._values("SELECT row FROM core WHERE id = ?", core_id)
        return values

    def add_name(self, core_id: str, weight: str, values: Mapping[str, str]) -> None:
        """Store an identification of a specimen; the one with the greatest weight stays, the first of equal ones."""
        self._database.execute(
            "INSERT INTO named VALUES (?, ?, ?) ON CONFLICT (core) DO UPDATE SET weight = excluded.weight, row = excluded.row "
            "WHERE excluded.weight > named.weight",
            (core_id, weight, _json(values)),
        )

    def name_of(self, core_id: str) -> dict[str, str]:
        """Return the terms of a specimen's identification, empty without one."""
        return self._values("SELECT row FROM named WHERE core = ?", core_id) or {}

    def add_region(self, parent: str, where: str, box: Sequence[float]) -> None:
        """Store a region of interest of the image with the identifier ``parent``."""
        self._database.execute(
            "INSERT INTO region (parent, place, box) VALUES (?, ?, ?)", (parent, where, json.dumps(list(box)))
        )

    def regions_of(self, identifier: str) -> list[list[float]]:
        """Return the boxes of an image, in the order of the file."""
        ask = "SELECT box FROM region WHERE parent = ? ORDER BY number"
        found = self._database.execute(ask, (identifier,)).fetchall()
        if found:
            self._database.execute("UPDATE region SET used = 1 WHERE parent = ?", (identifier,))
        return [json.loads(box) for (box,) in found]

    def unused_regions(self) -> Iterator[tuple[str, str]]:
        """Yield file and line of the regions whose image was never asked for, with its identifier."""
        yield from self._database.execute("SELECT place, parent FROM region WHERE used = 0 ORDER BY number")

    def first_to_show(self, uri: str, core_id: str) -> str | None:
        """Return the core row for which an image is listed already; None, and store this one, if it is the first."""
        found = self._database.execute("SELECT core FROM shown WHERE uri = ?", (uri,)).fetchone()
        if found:
            return str(found[0])
        self._database.execute("INSERT INTO shown VALUES (?, ?)", (uri, core_id))
        return None

    def _values(self, query: str, core_id: str) -> Any:
        found = self._database.execute(query, (core_id,)).fetchone()
        return json.loads(found[0]) if found else None


def _json(values: Mapping[str, str]) -> str:
    return json.dumps(dict(values), ensure_ascii=False)
