"""Look-ups in an open taxonomy file: names by key or id, accepted names, lineages and similar words."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Self

from bioclip_core.errors import SourceError
from bioclip_core.files.drives import sqlite_address
from bioclip_core.files.near_names import near_hint
from bioclip_core.files.present import is_file
from bioclip_core.names import PLACEHOLDER, parse_name
from bioclip_core.next_commands import command
from bioclip_core.taxonomy import Taxon, kingdom_named
from bioclip_training.taxonomy.rows import ACCEPTED, DOUBTFUL, HIGHER, NameRow
from bioclip_training.taxonomy.schema import APPLICATION_ID, FORMAT
from bioclip_training.taxonomy.spelling import AlikeWords, distance

_DEPTH = {rank: depth for depth, rank in enumerate((*HIGHER, "species"))}
_PLACEHOLDERS = frozenset(("biota", "life", "cellular organisms"))  # roots, which are at none of the seven ranks
_DEEPEST = 100  # steps to the root; the Catalogue of Life has about 30
_REMEMBERED = 300_000  # lineages of higher taxa in memory
_COLUMNS = ", ".join(NameRow._fields)
_MAKE = f"make one with: {command('taxonomy build', 'CHECKLIST', output='FILE.taxonomy')}"

Lineage = tuple[tuple[str, ...], tuple[str, ...]]
"""The seven names, and the id of each."""
_EMPTY: Lineage = (("",) * 7, ("",) * 7)


class TaxonomyFile:
    """A taxonomy file, open for reading. It may be used from several threads at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._higher: dict[str, Lineage] = {}
        self._first_words: dict[tuple[str, int], AlikeWords] = {}
        meta = self._read_meta()
        self.checklist = meta["checklist"]
        """Name of the checklist that the ids belong to."""
        self.version = meta["version"]
        self.ranks = frozenset(meta["ranks"].split())
        """Ranks at which the checklist has names."""

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open a taxonomy file.

        Raises:
            SourceError: if the file is missing, is not a taxonomy, is damaged, or has another version.
        """
        return cls(Path(path))

    def close(self) -> None:
        """Close the file in every thread that used it."""
        while self._connections:
            self._connections.pop().close()
        self._local = threading.local()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def label(self) -> str:
        """Checklist and version, for messages."""
        return f"{self.checklist} {self.version}".strip()

    def rows(self, key: str) -> list[NameRow]:
        """Return the names with a key, in the checklist's order."""
        found = self._asked(f"SELECT {_COLUMNS} FROM names WHERE key = ? ORDER BY rowid", key)
        return [NameRow(*row) for row in found]

    def row(self, taxon_id: str) -> NameRow | None:
        """Return the name with an id; the first one if the id is duplicated."""
        found = self._first(f"SELECT {_COLUMNS} FROM names WHERE id = ? ORDER BY rowid LIMIT 1", taxon_id)
        return NameRow(*found) if found else None

    def accepted_row(self, row: NameRow) -> NameRow | None:
        """Return the accepted name that a name leads to, through synonyms of synonyms.

        Returns:
            None if the references lead to a missing name or in a circle.
        """
        at: NameRow | None = row
        for _ in range(_DEEPEST):
            if at is None or not at.accepted:
                break
            at = self.row(at.accepted)
        return at if at is not None and not at.accepted and at.status in (ACCEPTED, DOUBTFUL) else None

    def placed(self, row: NameRow) -> tuple[Taxon, str]:
        """Return the taxon of an accepted name, its ranks filled from its ancestors, and its id.

        A name below the species or between the seven ranks gives the taxon of the next of the seven ranks above it.
        """
        names, ids = self._lineage(row, 0)
        lowest = next((depth for depth in range(6, -1, -1) if names[depth]), None)
        return Taxon.of(names), (ids[lowest] or row.id) if lowest is not None else row.id

    def vernacular(self, taxon_id: str) -> str:
        """Return the common name of an id, or an empty text."""
        found = self._first("SELECT name FROM vernaculars WHERE id = ?", taxon_id)
        return str(found[0]) if found else ""

    def named_by_common(self, names: Collection[str]) -> Iterator[tuple[str, str]]:
        """Yield the scientific names of taxa with one of these common names (in lower case), if only one taxon has it."""
        for key, taxa in self.taxa_by_common(names).items():
            if len(taxa) == 1:
                yield key, next(iter(taxa)).scientific_name

    def taxa_by_common(self, names: Collection[str]) -> dict[str, dict[Taxon, str]]:
        """Return the accepted taxa of common names (in lower case), each with its id; names that no taxon has are missing."""
        found: dict[str, dict[Taxon, str]] = {}
        for taxon_id, name in self._asked("SELECT id, name FROM vernaculars ORDER BY id"):
            if (key := " ".join(name.split()).casefold()) not in names or (row := self.row(taxon_id)) is None:
                continue
            if (accepted := self.accepted_row(row)) is not None:
                taxon, accepted_id = self.placed(accepted)
                found.setdefault(key, {})[taxon] = accepted_id
        return found

    def words_near(self, word: str, most: int) -> list[tuple[str, int]]:
        """Return the word itself, then first words of names within ``most`` errors of it, each with its distance.

        Only words with the same first letter are compared.
        """
        if not most:
            return [(word, 0)]
        alike = (
            other
            for length in range(len(word) - most, len(word) + most + 1)
            for other in self._words(word[:1], length).alike(word, most)
            if other != word
        )
        return [(word, 0), *((other, away) for other in alike if (away := distance(word, other, most)) <= most)]

    def _words(self, first: str, length: int) -> AlikeWords:
        """Return the first words of names with a first letter and a length."""
        known = self._first_words.get((first, length))
        if known is None:
            found = self._asked("SELECT word FROM words WHERE first = ? AND length = ? ORDER BY word", first, length)
            known = self._first_words[first, length] = AlikeWords([word for (word,) in found])
        return known

    def keys_under(self, first_word: str) -> list[str]:
        """Return the keys of two words that begin with a word."""
        found = self._asked(
            "SELECT DISTINCT key FROM names WHERE key >= ? AND key < ?", f"{first_word} ", f"{first_word}!"
        )
        return [key for (key,) in found if key.count(" ") == 1]

    @property
    def _database(self) -> sqlite3.Connection:
        """The connection of the current thread: SQLite connections must not be shared, and opening one costs next to nothing."""
        mine: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if mine is None:
            # The file never changes, so nothing needs locking, and its folder may be read-only.
            mine = self._local.connection = sqlite3.connect(
                sqlite_address(self.path.resolve(), "mode=ro&immutable=1"), uri=True, check_same_thread=False
            )
            self._connections.append(mine)
        return mine

    def _first(self, question: str, *values: str | int) -> tuple[Any, ...] | None:
        return next(iter(self._asked(question, *values)), None)

    def _asked(self, question: str, *values: str | int) -> list[tuple[Any, ...]]:
        try:
            found: list[tuple[Any, ...]] = self._database.execute(question, values).fetchall()
        except sqlite3.Error as error:
            raise SourceError(f"the taxonomy {self.path} is damaged: {error}; copy it again, or {_MAKE}") from error
        if any(type(cell) is bytes for row in found for cell in row):
            raise SourceError(f"the taxonomy {self.path} is damaged: it has a name that is not text; {_MAKE}")
        return found

    def _read_meta(self) -> dict[str, str]:
        try:
            if not is_file(self.path):
                raise SourceError(
                    f"the taxonomy {self.path} does not exist or is not a file{near_hint(self.path)}; {_MAKE}"
                )
            names = ("application_id", "user_version", "page_count", "page_size")
            application, version, pages, page = (
                self._database.execute(f"PRAGMA {name}").fetchone()[0] for name in names
            )
            if application != APPLICATION_ID:
                raise SourceError(f"{self.path} is a database but not a taxonomy; {_MAKE}")
            if version != FORMAT:
                raise SourceError(
                    f"the taxonomy {self.path} has format version {version}, and this program reads version {FORMAT}; build it again "
                    f"with: {command('taxonomy build', 'CHECKLIST', output=self.path, force=True)}"
                )
            meta = dict(self._asked("SELECT name, value FROM meta"))
            size = self.path.stat().st_size
            if size < pages * page or not {"checklist", "version", "ranks"} <= meta.keys():
                raise SourceError(
                    f"the taxonomy {self.path} is damaged: it has {size} of {pages * page} bytes; copy it again, or {_MAKE}"
                )
            return meta
        except (sqlite3.Error, OSError) as error:
            raise SourceError(f"{self.path} is not a taxonomy: {error}; {_MAKE}") from error

    def _lineage(self, row: NameRow, steps: int) -> Lineage:
        """Return names and ids from a name upwards: those of its parents, or without a parent the rank columns of its own row."""
        above, above_ids = self._of_parent(row.parent, steps + 1) if row.parent else _EMPTY
        names, ids = list(above), list(above_ids)
        own = _DEPTH.get(row.rank, 7)
        if row.lineage is not None and not any(above):
            columns = self._first(
                'SELECT kingdom, phylum, class, "order", family, genus FROM lineages WHERE number = ?', row.lineage
            )
            for depth, name in enumerate((columns or ())[:own]):
                names[depth] = _without_placeholder(name or "", depth)
        written = parse_name(row.name)
        if not written.epithet:
            if own < 7:
                below = [""] * (6 - own)
                names[own:], ids[own:] = [_without_placeholder(row.name, own), *below], [row.id, *below]
        elif not (written.infraspecific and names[6]):  # a subspecies below a listed species keeps that species
            if names[5].removeprefix("× ") != written.genus:  # the name itself says in which genus it is
                names[5], ids[5] = f"× {written.genus}" if written.hybrid_genus else written.genus, ""
            names[6], ids[6] = f"× {written.epithet}" if written.hybrid else written.epithet, row.id
        return tuple(names), tuple(ids)

    def _of_parent(self, parent: str, steps: int) -> Lineage:
        known = self._higher.get(parent)
        if known is None:
            row = self.row(parent) if steps < _DEEPEST else None  # a circle ends here
            # A few parents are synonyms.
            known = self._lineage(self.accepted_row(row) or row, steps) if row is not None else _EMPTY
            if len(self._higher) >= _REMEMBERED:
                self._higher.clear()
            self._higher[parent] = known
        return known


def _without_placeholder(name: str, depth: int) -> str:
    if name.lower() in _PLACEHOLDERS or parse_name(name).unread == PLACEHOLDER:
        return ""
    return kingdom_named(name) if depth == 0 else name
