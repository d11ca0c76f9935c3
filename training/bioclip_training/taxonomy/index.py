"""An open taxonomy file: names looked up by their keys, and the lineage of each."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from types import TracebackType

from bioclip_core.errors import SourceError
from bioclip_core.names import WrittenName, kingdom_named, parse_name
from bioclip_core.taxonomy import Rank, Taxon
from bioclip_training.taxonomy.matching import NameCandidate, find_candidates
from bioclip_training.taxonomy.resolving import Resolution, resolve
from bioclip_training.taxonomy.rows import HIGHER, NameRow
from bioclip_training.taxonomy.schema import APPLICATION_ID, FORMAT
from bioclip_training.taxonomy.spelling import distance, letters_of

_DEPTH = {rank: depth for depth, rank in enumerate((*HIGHER, "species"))}
_NO_NAMES = frozenset(("incertae sedis", "not assigned", "unassigned", "unclassified", "biota", "unknown"))
_DEEPEST = 100  # steps to the root; the Catalogue of Life has about 30
_REMEMBERED = 300_000  # lineages of higher taxa in memory
_ANSWERS_REMEMBERED = 20_000  # a catalog asks for the same name once an image
_COLUMNS = "id, key, name, authorship, rank, status, accepted, parent, lineage, vernacular"

Lineage = tuple[tuple[str, ...], tuple[str, ...]]
"""The seven names, and the id of each."""
_NOTHING: Lineage = (("",) * 7, ("",) * 7)


class TaxonomyIndex:
    """A taxonomy file, open for reading. It may be used from several threads at once.

    Open it with :meth:`open`; make one with :func:`bioclip_training.taxonomy.build_taxonomy`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._higher: dict[str, Lineage] = {}
        self._resolved: dict[tuple[Taxon, str, Rank | None], Resolution] = {}
        self._meta = self._check()
        self.checklist = self._meta["checklist"]
        """The checklist that the ids belong to."""
        self.version = self._meta["version"]
        self.ranks = frozenset(self._meta["ranks"].split())
        """The ranks that the checklist has names at."""
        self._has_vernaculars = self._database.execute("SELECT 1 FROM vernaculars LIMIT 1").fetchone() is not None

    @classmethod
    def open(cls, path: str | Path) -> TaxonomyIndex:
        """Open a taxonomy file.

        Raises:
            SourceError: if it is missing, is no taxonomy file, or is of another version.
        """
        return cls(Path(path))

    def close(self) -> None:
        """Close the file in every thread that used it."""
        while self._connections:
            self._connections.pop().close()
        self._local = threading.local()

    def __enter__(self) -> TaxonomyIndex:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self.close()

    @property
    def label(self) -> str:
        """Checklist and version, for people."""
        return f"{self.checklist} {self.version}".strip()

    def candidates(
        self, name: str, *, kingdom: str = "", rank: Rank | None = None, authorship: str = ""
    ) -> list[NameCandidate]:
        """Every taxon that a name may mean, best first, each with the reason; never empty, since "none" is an answer too.

        Args:
            name: as it is written, with authors, marks and doubts.
            kingdom: where given, names of another kingdom are homonyms.
            rank: where given, names of another rank are wrong.
            authorship: where given, names by the same author come first; the name may hold it as well.
        """
        return find_candidates(self, parse_name(name), kingdom=kingdom, rank=rank, authorship=authorship)

    def resolve(self, taxon: Taxon, verbatim: str = "", *, rank: Rank | None = None) -> Resolution:
        """The accepted name of a taxon with its ranks filled, or none where it is not certain, and why.

        Args:
            taxon: what is known; ranks above the name tell homonyms apart. Its common name is kept.
            verbatim: what the source wrote, for what a taxon cannot hold: authors, "cf.", subspecies. Alone it is the name.
            rank: of the name, where the taxon holds only ranks above it.
        """
        asked = (taxon, verbatim, rank)
        known = self._resolved.get(asked)
        if known is None:
            if len(self._resolved) >= _ANSWERS_REMEMBERED:
                self._resolved.clear()
            known = self._resolved[asked] = resolve(self, taxon, verbatim, rank)
        return known

    def rows(self, key: str) -> list[NameRow]:
        """The names of a key, in the checklist's order."""
        found = self._database.execute(f"SELECT {_COLUMNS} FROM names WHERE key = ? ORDER BY rowid", (key,))
        return [NameRow(*row) for row in found]

    def row(self, taxon_id: str) -> NameRow | None:
        """The name of an id; the first where several have it."""
        found = self._database.execute(
            f"SELECT {_COLUMNS} FROM names WHERE id = ? ORDER BY rowid LIMIT 1", (taxon_id,)
        ).fetchone()
        return NameRow(*found) if found else None

    def accepted_row(self, row: NameRow) -> NameRow | None:
        """The accepted name that a name leads to, through synonyms of synonyms; None where it leads nowhere or in a circle."""
        at: NameRow | None = row
        for _ in range(_DEEPEST):
            if at is None or not at.accepted:
                break
            at = self.row(at.accepted)
        return at if at is not None and not at.accepted and at.status in ("accepted", "doubtful") else None

    def placed(self, row: NameRow) -> tuple[Taxon, str]:
        """The taxon of an accepted name, its ranks filled from its ancestors, and its id.

        What stands below the species or between the seven ranks is the taxon of the next of them above it.
        """
        names, ids = self._lineage(row, 0)
        lowest = next((depth for depth in range(6, -1, -1) if names[depth]), None)
        return Taxon.of(names), (ids[lowest] or row.id) if lowest is not None else row.id

    def vernacular(self, taxon_id: str) -> str:
        """The common name that the checklist has for an id, or nothing."""
        if not self._has_vernaculars:
            return ""
        found = self._database.execute("SELECT name FROM vernaculars WHERE id = ?", (taxon_id,)).fetchone()
        return str(found[0]) if found else ""

    def words_near(self, word: str, most: int) -> list[tuple[str, int]]:
        """First words of names within ``most`` errors of a word that begin with its letter, each with its distance."""
        near = [(word, 0)]
        if most:
            listed = self._database.execute(
                "SELECT word, letters FROM words WHERE first = ? AND length BETWEEN ? AND ?",
                (word[:1], len(word) - most, len(word) + most),
            )
            own = letters_of(word)
            alike = [other for other, letters in listed if (letters ^ own).bit_count() <= 2 * most and other != word]
            near += [(other, away) for other in alike if (away := distance(word, other, most)) <= most]
        return near

    def keys_under(self, first_word: str) -> list[str]:
        """The keys of names of two words that begin with this one."""
        found = self._database.execute(
            "SELECT DISTINCT key FROM names WHERE key >= ? AND key < ?", (f"{first_word} ", f"{first_word}!")
        )
        return [key for (key,) in found if key.count(" ") == 1]

    @property
    def _database(self) -> sqlite3.Connection:
        """This thread's connection: SQLite's must not be shared, and opening one costs next to nothing."""
        mine: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if mine is None:
            # Nobody writes to the file, so nothing needs locking, and it may lie where nothing can be written.
            uri = f"{self.path.resolve().as_uri()}?mode=ro&immutable=1"
            mine = self._local.connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
            self._connections.append(mine)
        return mine

    def _check(self) -> dict[str, str]:
        """The file's description.

        Raises:
            SourceError: if the file is missing, is no taxonomy file, or is of another version.
        """
        make = "make one with: bioclip-plugin taxonomy build CHECKLIST --output FILE.taxonomy"
        try:
            if not self.path.is_file():
                raise SourceError(f"the taxonomy {self.path} does not exist or is no file; {make}")
            application, format_ = (
                self._database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
            )
            if application != APPLICATION_ID:
                raise SourceError(f"{self.path} is a database and no taxonomy; {make}")
            if format_ != FORMAT:
                raise SourceError(
                    f"the taxonomy {self.path} is of version {format_}, and this program reads version {FORMAT}; build it again with: "
                    f"bioclip-plugin taxonomy build CHECKLIST --output {self.path} --force"
                )
            meta = dict(self._database.execute("SELECT name, value FROM meta").fetchall())
            pages, page = (
                self._database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size")
            )
            size = self.path.stat().st_size
            if size < pages * page or not {"checklist", "version", "ranks"} <= meta.keys():
                raise SourceError(
                    f"the taxonomy {self.path} is damaged: it has {size} of {pages * page} bytes; copy it again, or {make}"
                )
            return meta
        except (sqlite3.Error, OSError) as error:
            raise SourceError(f"{self.path} is no taxonomy: {error}; {make}") from error

    def _lineage(self, row: NameRow, steps: int) -> Lineage:
        """Names and ids from a name upwards: its parents, or where there is none the columns of ranks of its own row."""
        above, above_ids = self._of_parent(row.parent, steps + 1) if row.parent else _NOTHING
        names, ids = list(above), list(above_ids)
        own = _DEPTH.get(row.rank, 7)
        if row.lineage is not None and not any(above):
            for depth, name in enumerate(self._columns(row.lineage)[: min(own, 6)]):
                names[depth] = names[depth] or name
        words = parse_name(row.name)
        if words.epithet:
            _set_species(names, ids, row, words)
        elif own < 7:
            names[own:], ids[own:] = [_clean(row.name, own), *[""] * (6 - own)], [row.id, *[""] * (6 - own)]
        return tuple(names), tuple(ids)

    def _of_parent(self, parent: str, steps: int) -> Lineage:
        known = self._higher.get(parent)
        if known is None:
            row = self.row(parent) if steps < _DEEPEST else None  # a circle ends here
            row = self.accepted_row(row) or row if row is not None else None  # a few parents are synonyms
            known = self._lineage(row, steps) if row is not None else _NOTHING
            if len(self._higher) >= _REMEMBERED:
                self._higher.clear()
            self._higher[parent] = known
        return known

    def _columns(self, number: int) -> list[str]:
        found = self._database.execute(
            'SELECT kingdom, phylum, class, "order", family, genus FROM lineages WHERE number = ?', (number,)
        ).fetchone()
        return [_clean(name or "", depth) for depth, name in enumerate(found)] if found else [""] * 6


def _set_species(names: list[str], ids: list[str], row: NameRow, written: WrittenName) -> None:
    """Genus and epithet of a name of two or three words; a subspecies is under the species that is its parent."""
    below_species = bool(written.infraspecific) and bool(names[6])
    if below_species:
        return
    if names[5].removeprefix("× ") != written.genus:  # the name itself says in which genus it is
        names[5], ids[5] = f"× {written.genus}" if written.hybrid_genus else written.genus, ""
    names[6], ids[6] = f"× {written.epithet}" if written.hybrid else written.epithet, row.id


def _clean(name: str, depth: int) -> str:
    if name.lower() in _NO_NAMES:
        return ""
    return kingdom_named(name) if depth == 0 else name
