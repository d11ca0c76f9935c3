"""Building of the index: a checklist streamed into a SQLite file, checked, and put in place once it is whole."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bioclip_core.errors import SourceError, UsageError
from bioclip_core.files.whole import replacing_file
from bioclip_core.names import parse_name
from bioclip_core.progress import silent
from bioclip_core.taxonomy import RANKS
from bioclip_training.taxonomy.checks import check
from bioclip_training.taxonomy.formats import Checklist, open_checklist
from bioclip_training.taxonomy.rows import HIGHER, Lineages, NameRow, name_rows
from bioclip_training.taxonomy.schema import APPLICATION_ID, FORMAT, INDEXES, TABLES
from bioclip_training.taxonomy.spelling import letters_of

_BATCH = 20_000  # names between two calls of progress
_INSERT_NAME = f"INSERT INTO names VALUES ({', '.join('?' * len(NameRow._fields))})"


@dataclass(frozen=True, slots=True)
class BuiltTaxonomy:
    """Result of ``build_taxonomy``."""

    path: Path
    kind: str
    """Kind of the source: ``gbif``, ``coldp``, ``darwin-core`` or ``table``."""
    checklist: str
    version: str
    names: int
    by_status: dict[str, int]
    by_rank: dict[str, int]
    odd: dict[str, int]
    """Counts of oddities; none of them is fatal, since every large checklist has some."""
    seconds: float


def build_taxonomy(
    sources: Path | Iterable[Path],
    output: Path,
    *,
    checklist: str = "",
    version: str = "",
    progress: Callable[[int], None] = silent,
) -> BuiltTaxonomy:
    """Build the index of one checklist, in memory that does not grow with its names.

    Args:
        sources: GBIF's ``Taxon.tsv``, ColDP's ``NameUsage.tsv``, a Darwin Core checklist or a table of ranks: files, folders
            or zips. Several are parts of one checklist.
        output: the file to write; an old one is replaced when the new one is whole, not before.
        checklist: name that the ids belong to; empty takes the source's own name, else that of its file.
        version: of the checklist; empty takes the source's own.
        progress: called with the number of names since the last call, every 20,000 names.

    Raises:
        SourceError: if a source cannot be read or holds no names, or the output cannot be written.
    """
    started_at = time.monotonic()
    paths = [sources] if isinstance(sources, Path) else list(sources)
    if not paths:
        raise UsageError(
            "no checklist was given to build a taxonomy from: give GBIF's Taxon.tsv, a ColDP or Darwin Core checklist, or a table"
        )
    opened = [open_checklist(path) for path in paths]
    described = next((part.description for part in opened if part.description.checklist), opened[0].description)
    meta = {
        "checklist": checklist or described.checklist or opened[0].path.stem,
        "version": version or described.version,
        "source": ", ".join(path.name for path in paths),
    }
    try:
        with replacing_file(output) as draft:
            with closing(sqlite3.connect(draft)) as database:
                odd = _fill(database, opened, meta, progress)
                (names,) = database.execute("SELECT count(*) FROM names").fetchone()
                by_status, by_rank = _counts(database, "status"), _counts(database, "rank")
            if not names:
                oddities = ", ".join(f"{count} {what}" for what, count in odd.most_common())
                raise SourceError(f"{paths[0]} holds no names: {oddities or 'it is empty'}; nothing was written")
    except (sqlite3.Error, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise SourceError(f"the taxonomy {output} cannot be written: {reason}; nothing was kept") from error
    return BuiltTaxonomy(
        output, opened[0].kind, meta["checklist"], meta["version"], names, by_status, by_rank, dict(odd.most_common()),
        time.monotonic() - started_at,
    )  # fmt: skip


def _fill(
    database: sqlite3.Connection, opened: list[Checklist], meta: dict[str, str], progress: Callable[[int], None]
) -> Counter[str]:
    """Load, index, check and describe, in this order; return the oddities."""
    # A draft that breaks is thrown away, so it needs no journal and no waiting for the disk.
    for setting in ("journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE", "cache_size = -65536"):
        database.execute(f"PRAGMA {setting}")
    database.executescript(TABLES)
    lineages, words = Lineages(), set[str]()
    for source in opened:
        database.executemany(_INSERT_NAME, _watched(name_rows(source, lineages), words, progress))
        database.executemany("INSERT OR IGNORE INTO vernaculars VALUES (?, ?)", source.vernaculars())
        database.commit()
    database.execute("INSERT OR IGNORE INTO vernaculars SELECT id, vernacular FROM names WHERE vernacular != ''")
    rows = ((number, *path) for path, number in lineages.numbers.items())
    database.executemany("INSERT INTO lineages VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    database.executescript(INDEXES)
    odd: Counter[str] = sum((source.odd for source in opened), Counter())
    if database.execute("SELECT 1 FROM names WHERE parent != '' LIMIT 1").fetchone() is None:
        _add_ancestors(database, lineages, words)
    odd += check(database)
    listed = sorted((word[0], len(word), word, letters_of(word)) for word in words if word)
    database.executemany("INSERT INTO words VALUES (?, ?, ?, ?)", listed)
    meta = {**meta, "ranks": " ".join(_ranks_known(database)), **{f"odd: {what}": str(n) for what, n in odd.items()}}
    database.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
    database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    database.execute(f"PRAGMA user_version = {FORMAT}")
    database.commit()
    return odd


def _watched(rows: Iterator[NameRow], words: set[str], progress: Callable[[int], None]) -> Iterator[NameRow]:
    """Yield the same rows; collect their first words, by which misspelt ones are found, and call ``progress``."""
    count = 0
    for count, row in enumerate(rows, 1):
        words.add(row.key.partition(" ")[0])
        if count % _BATCH == 0:
            progress(_BATCH)
        yield row
    progress(count % _BATCH)


def _add_ancestors(database: sqlite3.Connection, lineages: Lineages, words: set[str]) -> None:
    """Give a checklist without parents a row for each higher name that it lists only in rank columns."""
    paths = (path[: depth + 1] for path in lineages.numbers for depth in range(len(HIGHER)) if path[depth])
    for path in dict.fromkeys(paths):
        name, rank = parse_name(path[-1]), HIGHER[len(path) - 1]
        if database.execute(
            "SELECT 1 FROM names JOIN lineages ON lineages.number = names.lineage "
            "WHERE key = ? AND rank = ? AND lineages.kingdom IN (?, '')",
            (name.key, rank, path[0]),
        ).fetchone():
            continue
        words.add(name.key.partition(" ")[0])
        full = (*path, *[""] * (len(HIGHER) - len(path)))
        number = database.execute(
            'SELECT number FROM lineages WHERE (kingdom, phylum, class, "order", family, genus) = (?, ?, ?, ?, ?, ?)',
            full,
        ).fetchone()
        if number is None:
            number = (database.execute("INSERT INTO lineages VALUES (NULL, ?, ?, ?, ?, ?, ?)", full).lastrowid,)
        row = NameRow("|".join(path), name.key, name.canonical or path[-1], "", rank, "accepted", "", "", number[0], "")
        database.execute(_INSERT_NAME, row)
    database.commit()


def _ranks_known(database: sqlite3.Connection) -> Iterator[str]:
    """Yield the ranks at which the checklist has a name; it makes no statement about the others."""
    for rank in RANKS:
        questions = [f"SELECT 1 FROM names WHERE rank = '{rank.value}' LIMIT 1"]
        if rank.value in HIGHER:
            questions.append(f"SELECT 1 FROM lineages WHERE \"{rank.value}\" != '' LIMIT 1")
        if any(database.execute(question).fetchone() for question in questions):
            yield rank.value


def _counts(database: sqlite3.Connection, column: str) -> dict[str, int]:
    """Return the number of names per value of a column, the most frequent first."""
    return dict(database.execute(f"SELECT {column}, count(*) FROM names GROUP BY 1 ORDER BY 2 DESC").fetchall())
