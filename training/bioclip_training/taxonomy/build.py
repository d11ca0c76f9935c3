"""Making the index: a checklist streamed into a SQLite file, checked afterwards, and put in its place when it is whole."""

from __future__ import annotations

import os
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from bioclip_core.errors import SourceError, UsageError
from bioclip_core.taxonomy import RANKS
from bioclip_training.taxonomy.checks import check
from bioclip_training.taxonomy.formats import Checklist, open_checklist
from bioclip_training.taxonomy.rows import HIGHER, Lineages, NameRow, name_rows
from bioclip_training.taxonomy.schema import APPLICATION_ID, FORMAT, INDEXES, TABLES
from bioclip_training.taxonomy.spelling import letters_of

_BATCH = 20_000  # rows a statement; more gains nothing

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class BuiltTaxonomy:
    """What ``build_taxonomy`` made."""

    path: Path
    kind: str
    """What the source was: ``gbif``, ``coldp``, ``darwin-core`` or ``table``."""
    checklist: str
    version: str
    names: int
    by_status: dict[str, int]
    by_rank: dict[str, int]
    odd: dict[str, int]
    """What was odd, counted; nothing of it is fatal, since every large checklist has some."""
    seconds: float


def build_taxonomy(
    sources: Path | Iterable[Path],
    output: Path,
    *,
    checklist: str = "",
    version: str = "",
    progress: Progress | None = None,
) -> BuiltTaxonomy:
    """Make an index of one checklist, in memory that does not grow with its names.

    Args:
        sources: GBIF's ``Taxon.tsv``, ColDP's ``NameUsage.tsv``, a Darwin Core checklist or a table of ranks: files, folders
            or zips. Several are parts of one checklist.
        output: the file to write; it is replaced when the new one is whole, not before.
        checklist, version: what the ids belong to; empty takes what the source says of itself, else the file's name.
        progress: called with the number of names so far, every some thousand.

    Raises:
        SourceError: if a source cannot be read, holds no names, or the output cannot be written.
    """
    started_at = time.monotonic()
    paths = [sources] if isinstance(sources, Path) else list(sources)
    if not paths:
        raise UsageError(
            "no checklist was given to make a taxonomy of: give GBIF's Taxon.tsv, a ColDP or Darwin Core checklist, or a table"
        )
    opened = [open_checklist(path) for path in paths]
    name, dated = _called(opened, checklist, version)
    draft = output.resolve().with_name(f".{output.name}.{os.getpid()}.part")
    try:
        with suppress(FileNotFoundError):
            draft.unlink()
        with closing(sqlite3.connect(draft)) as database:
            odd = _fill(database, opened, name, dated, progress)
            summary = _summary(database)
        if not summary[0]:
            raise SourceError(f"{paths[0]} holds no names: {_said(odd) or 'it is empty'}; nothing was written")
        _put_in_place(draft, output.resolve())
    except (sqlite3.Error, OSError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise SourceError(f"the taxonomy {output} cannot be written: {said}; nothing was kept") from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
    seconds = time.monotonic() - started_at
    return BuiltTaxonomy(output, opened[0].kind, name, dated, *summary, dict(odd.most_common()), seconds)


def _put_in_place(draft: Path, target: Path) -> None:
    with draft.open("rb+") as file:
        os.fsync(file.fileno())
    draft.replace(target)


def _called(opened: list[Checklist], checklist: str, version: str) -> tuple[str, str]:
    said = next((one.description for one in opened if one.description.checklist), opened[0].description)
    return checklist or said.checklist or opened[0].path.stem, version or said.version


def _fill(
    database: sqlite3.Connection, opened: list[Checklist], checklist: str, version: str, progress: Progress | None
) -> Counter[str]:
    """Load, index, check and describe, in this order."""
    # A draft that breaks is thrown away, so it needs no journal and no waiting for the disk.
    for setting in ("journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE", "cache_size = -65536"):
        database.execute(f"PRAGMA {setting}")
    database.executescript(TABLES)
    lineages, words = Lineages(), set[str]()
    for source in opened:
        _load(database, _watched(name_rows(source, lineages), words, progress))
        _load_vernaculars(database, source)
    database.execute("INSERT OR IGNORE INTO vernaculars SELECT id, vernacular FROM names WHERE vernacular != ''")
    rows = [(number, *path) for path, number in lineages.numbers.items()]
    database.executemany("INSERT INTO lineages VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    database.executescript(INDEXES)
    odd: Counter[str] = sum((source.odd for source in opened), Counter())
    if database.execute("SELECT 1 FROM names WHERE parent != '' LIMIT 1").fetchone() is None:
        _add_ancestors(database, lineages, words)
    odd += check(database)
    listed = sorted((word[0], len(word), word, letters_of(word)) for word in words if word)
    database.executemany("INSERT INTO words VALUES (?, ?, ?, ?)", listed)
    known = {"checklist": checklist, "version": version, "source": ", ".join(source.path.name for source in opened)}
    known["ranks"] = " ".join(_ranks_known(database))
    database.executemany(
        "INSERT INTO meta VALUES (?, ?)", [*known.items(), *((f"odd: {k}", str(n)) for k, n in odd.items())]
    )
    database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    database.execute(f"PRAGMA user_version = {FORMAT}")
    database.commit()
    return odd


def _watched(rows: Iterator[NameRow], words: set[str], progress: Progress | None) -> Iterator[NameRow]:
    """The same rows; their first words are gathered, by which misspelt ones are found."""
    count = 0
    for row in rows:
        words.add(row.key.partition(" ")[0])
        count += 1
        if progress is not None and count % _BATCH == 0:
            progress(_BATCH)
        yield row
    if progress is not None:
        progress(count % _BATCH)


def _load(database: sqlite3.Connection, rows: Iterator[NameRow]) -> None:
    database.executemany("INSERT INTO names VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    database.commit()


def _load_vernaculars(database: sqlite3.Connection, source: Checklist) -> None:
    database.executemany("INSERT OR IGNORE INTO vernaculars VALUES (?, ?)", source.vernaculars())
    database.commit()


def _add_ancestors(database: sqlite3.Connection, lineages: Lineages, words: set[str]) -> None:
    """Give a checklist of lineages without parents a row for each higher name that it lists only in columns."""
    seen: set[tuple[str, ...]] = set()
    for path in lineages.numbers:
        for depth, rank in enumerate(HIGHER):
            above = path[: depth + 1]
            if not above[-1] or above in seen:
                continue
            seen.add(above)
            _add_ancestor(database, above, rank, words)
    database.commit()


def _add_ancestor(database: sqlite3.Connection, path: tuple[str, ...], rank: str, words: set[str]) -> None:
    from bioclip_core.names import parse_name

    name = parse_name(path[-1])
    key = name.key
    listed = database.execute(
        "SELECT 1 FROM names JOIN lineages ON lineages.number = names.lineage WHERE key = ? AND rank = ? AND lineages.kingdom IN (?, '')",
        (key, rank, path[0]),
    ).fetchone()
    if listed:
        return
    words.add(key.partition(" ")[0])
    full = (*path, *[""] * (len(HIGHER) - len(path)))
    number = database.execute(
        'SELECT number FROM lineages WHERE (kingdom, phylum, class, "order", family, genus) = (?, ?, ?, ?, ?, ?)', full
    ).fetchone()
    if number is None:
        number = (database.execute("INSERT INTO lineages VALUES (NULL, ?, ?, ?, ?, ?, ?)", full).lastrowid,)
    row = NameRow("|".join(path), key, name.canonical or path[-1], "", rank, "accepted", "", "", number[0], "")
    database.execute("INSERT INTO names VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)


def _ranks_known(database: sqlite3.Connection) -> list[str]:
    """The ranks that the checklist has a name at, anywhere; the others it says nothing about."""
    return [
        rank.value
        for rank in RANKS
        if database.execute("SELECT 1 FROM names WHERE rank = ? LIMIT 1", (rank.value,)).fetchone()
        or (
            rank.value in HIGHER
            and database.execute(f"SELECT 1 FROM lineages WHERE \"{rank.value}\" != '' LIMIT 1").fetchone()
        )
    ]


def _summary(database: sqlite3.Connection) -> tuple[int, dict[str, int], dict[str, int]]:
    """How many names, by status and by rank, most first."""
    (count,) = database.execute("SELECT count(*) FROM names").fetchone()
    by = [
        dict(database.execute(f"SELECT {column}, count(*) FROM names GROUP BY 1 ORDER BY 2 DESC").fetchall())
        for column in ("status", "rank")
    ]
    return count, by[0], by[1]


def _said(odd: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in odd.most_common())
