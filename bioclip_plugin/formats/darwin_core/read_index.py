"""The rows of an archive's core by their ids, on disk: a museum's core does not fit into memory, and media come in any order."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

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
        """Put down a row of the core; False where its id was there before."""
        row = json.dumps(dict(values), ensure_ascii=False)
        done = self._database.execute("INSERT OR IGNORE INTO core VALUES (?, ?, ?)", (core_id, where, row))
        return done.rowcount == 1

    def row(self, core_id: str) -> dict[str, str] | None:
        """The values of a row of the core."""
        found = self._database.execute("SELECT row FROM core WHERE id = ?", (core_id,)).fetchone()
        values: dict[str, str] | None = json.loads(found[0]) if found else None
        return values

    def add_name(self, core_id: str, weight: str, values: Mapping[str, str]) -> None:
        """Put down an identification of a specimen; the one with the greatest weight stays, of equal ones the first."""
        self._database.execute(
            "INSERT INTO named VALUES (?, ?, ?) ON CONFLICT (core) DO UPDATE SET weight = excluded.weight, row = excluded.row "
            "WHERE excluded.weight > named.weight",
            (core_id, weight, json.dumps(dict(values), ensure_ascii=False)),
        )

    def name_of(self, core_id: str) -> dict[str, str]:
        """The terms of a specimen's identification; none where there is none."""
        found = self._database.execute("SELECT row FROM named WHERE core = ?", (core_id,)).fetchone()
        values: dict[str, str] = json.loads(found[0]) if found else {}
        return values

    def add_region(self, parent: str, where: str, box: Sequence[float]) -> None:
        """Put down a region of interest of the image with the identifier ``parent``."""
        self._database.execute(
            "INSERT INTO region (parent, place, box) VALUES (?, ?, ?)", (parent, where, json.dumps(list(box)))
        )

    def regions_of(self, identifier: str) -> list[list[float]]:
        """The boxes of an image, in the order of the file."""
        found = self._database.execute(
            "SELECT box FROM region WHERE parent = ? ORDER BY number", (identifier,)
        ).fetchall()
        if found:
            self._database.execute("UPDATE region SET used = 1 WHERE parent = ?", (identifier,))
        return [json.loads(box) for (box,) in found]

    def unused_regions(self) -> Iterator[tuple[str, str]]:
        """Where regions stand whose image was never asked for, with its identifier."""
        yield from self._database.execute("SELECT place, parent FROM region WHERE used = 0 ORDER BY number")

    def first_to_show(self, uri: str, core_id: str) -> str | None:
        """The core row that an image was listed for before; None, and put down, where this is the first."""
        found = self._database.execute("SELECT core FROM shown WHERE uri = ?", (uri,)).fetchone()
        if found:
            return str(found[0])
        self._database.execute("INSERT INTO shown VALUES (?, ?)", (uri, core_id))
        return None
