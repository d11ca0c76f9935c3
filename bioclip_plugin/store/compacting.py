"""Compaction: half deleted runs finished, rows that nobody needs removed, and their space given back."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection, Table, delete, func, select, text, union

from bioclip_core.errors import StoreError
from bioclip_core.process import system
from bioclip_plugin.store.cleaning import (
    MEDIA_AT_ONCE,
    Cleaning,
    clean_contents,
    clean_media,
    clean_sets,
    has_indexes,
    make_indexes,
    make_indexes_to_count,
    remaining_runs,
)
from bioclip_plugin.store.database import schema
from bioclip_plugin.store.database.bulk import chunked, rows_with
from bioclip_plugin.store.database.connection import Database
from bioclip_plugin.store.deleting import Progress, delete_runs, estimated_bytes
from bioclip_plugin.store.records import Compaction
from bioclip_plugin.store.runs import half_deleted, held_runs

CANDIDATES_AT_ONCE = 2_000  # answers whose candidates are looked at in one transaction
Stage = Callable[[str], Progress]
"""Called with the name of a stage of the work; returns the function that its progress is reported to."""


def compact(database: Database, stage: Stage, *, full: bool) -> Compaction:
    """Remove rows that no run and no review needs, and give their space back."""
    before = size_of(database)
    rows: Counter[str] = Counter()
    begun = database.read(half_deleted)
    if begun:
        rows += Counter(delete_runs(database, begun, stage("Finishing deletions")).rows)
    if not database.read(has_indexes):
        database.remove(make_indexes)
    rows += _walk(database, schema.media, _clean_media, stage("Looking through images"))
    rows += _walk(database, schema.contents, _clean_contents, stage("Looking through contents"))
    rows += _clean_candidates(database, stage("Looking through candidates"))
    rows += database.remove(_clean_sets)
    stage("Looking through taxa")
    taxa, held = database.remove(_clean_taxa, database)
    rows += taxa
    left = []
    if held:
        kept = ", and the file keeps its size" if database.is_sqlite else ", and tables keep their size" if full else ""
        left.append(
            f"a program works on run {', '.join(map(str, held))}: unused taxa stay{kept}; when it has ended, run the command again"
        )
    if not held and database.is_sqlite:
        stage("Rewriting the file")
        left += _vacuum_sqlite(database)
    elif not database.is_sqlite:
        left += _vacuum_postgres(database, stage("Vacuuming tables"), full=full and not held)
    return Compaction(tuple(begun), dict(+rows), before, size_of(database), tuple(left))


def count(database: Database, progress: Progress) -> Compaction:
    """Count the rows that a compaction would remove, without unused taxa and candidates that lost their answer."""
    rows: Counter[str] = Counter()
    after, done = 0, 0
    total = database.read(_count, schema.media)
    make_indexes_to_count(database, total)
    while batch := database.read(_ids_after, schema.media, after):
        rows += database.read(_count_media, batch)
        after, done = batch[-1], done + len(batch)
        progress(done, total)
    size = size_of(database)
    return Compaction(tuple(database.read(half_deleted)), dict(+rows), size, size - estimated_bytes(rows))


def size_of(database: Database) -> int:
    """Return the bytes of a store: of the SQLite file with its log, or of our tables on PostgreSQL."""
    if database.is_sqlite:
        path = Path(str(database.url.database))
        return sum(part.stat().st_size for part in (path, Path(f"{path}-wal")) if part.exists())
    return database.read(_postgres_size)


def free_bytes(connection: Connection) -> int:
    """Return the bytes of the unused pages of an SQLite file."""
    pages, size = (
        connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("freelist_count", "page_size")
    )
    return int(pages * size)


def _postgres_size(connection: Connection) -> int:
    names = [str(table.name) for table in schema.metadata.sorted_tables]
    query = text("SELECT sum(pg_total_relation_size(to_regclass(name))) FROM unnest(CAST(:names AS text[])) AS name")
    return int(connection.execute(query, {"names": names}).scalar_one())


Work = Callable[[Connection, list[int]], Counter[str]]


def _walk(database: Database, table: Table, work: Work, progress: Progress) -> Counter[str]:
    """Do the work for all rows of a table, some at a time, in the order of their numbers."""
    rows: Counter[str] = Counter()
    after, done, total = 0, 0, database.read(_count, table)
    while batch := database.read(_ids_after, table, after):
        rows += database.remove(work, batch)
        after, done = batch[-1], done + len(batch)
        progress(done, max(done, total))
    return rows


def _ids_after(connection: Connection, table: Table, after: int) -> list[int]:
    query = select(table.c.id).where(table.c.id > after).order_by(table.c.id).limit(MEDIA_AT_ONCE)
    return list(connection.execute(query).scalars())


def _count(connection: Connection, table: Table) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def _clean_media(connection: Connection, media: list[int]) -> Counter[str]:
    cleaning = Cleaning(remaining_runs(connection))
    clean_media(connection, cleaning, media, contents=False)
    return cleaning.rows


def _count_media(connection: Connection, media: list[int]) -> Counter[str]:
    cleaning = Cleaning(remaining_runs(connection), removes=False, walked=media[-1])
    clean_media(connection, cleaning, media)
    return cleaning.rows


def _clean_contents(connection: Connection, contents: list[int]) -> Counter[str]:
    cleaning = Cleaning(remaining_runs(connection))
    clean_contents(connection, cleaning, contents)
    return cleaning.rows


def _clean_sets(connection: Connection) -> Counter[str]:
    cleaning = Cleaning(remaining_runs(connection))
    clean_sets(connection, cleaning)
    return cleaning.rows


def _clean_candidates(database: Database, progress: Progress) -> Counter[str]:
    """Remove candidates without an answer; they have no foreign keys."""
    rows: Counter[str] = Counter()
    done, place = 0, (0, 0)
    while (found := database.read(_candidates_after, *place)) is not None:
        place, lost = found
        if lost:
            rows += database.remove(_remove_candidates, place[0], lost)
        done += CANDIDATES_AT_ONCE
        progress(done, done)
    return rows


def _candidates_after(connection: Connection, answer_set: int, region: int) -> tuple[tuple[int, int], list[int]] | None:
    """Return the place of the last of the next answers with candidates, and the regions among them without an answer."""
    here = schema.candidates.c
    query = select(here.region).where(here.answer_set == answer_set, here.region > region)
    regions = list(connection.execute(query.distinct().order_by(here.region).limit(CANDIDATES_AT_ONCE)).scalars())
    if regions:
        return (answer_set, regions[-1]), _without_answer(connection, answer_set, regions)
    following = connection.execute(
        select(here.answer_set).where(here.answer_set > answer_set).order_by(here.answer_set).limit(1)
    ).scalar()
    return None if following is None else ((following, -1), [])


def _without_answer(connection: Connection, answer_set: int, regions: list[int]) -> list[int]:
    answered = schema.answers.c
    query = select(answered.region).where(answered.answer_set == answer_set)
    known = {row.region for row in rows_with(connection, query, answered.region, regions)}
    return [region for region in regions if region not in known]


def _remove_candidates(connection: Connection, answer_set: int, regions: list[int]) -> Counter[str]:
    rows: Counter[str] = Counter()
    here = schema.candidates.c
    for chunk in chunked(_without_answer(connection, answer_set, regions)):
        gone = delete(schema.candidates).where(here.answer_set == answer_set, here.region.in_(chunk))
        rows["candidates"] += connection.execute(gone).rowcount
    return rows


def _clean_taxa(connection: Connection, database: Database) -> tuple[Counter[str], list[int]]:
    """Remove taxa without candidates, decisions and reviews, unless a program works on a run; return such runs.

    A program remembers the numbers of taxa while it works on a run. The newest taxon stays, since SQLite would give its number
    again.
    """
    held = held_runs(connection, database.holds)
    if held:
        return Counter(), held
    taxa = schema.taxa.c
    used = union(
        *(
            select(table.c.taxon).where(table.c.taxon.is_not(None))
            for table in (schema.candidates, schema.decisions, schema.reviews)
        )
    ).subquery()
    newest = connection.execute(select(func.max(taxa.id))).scalar()
    query = select(taxa.id).where(taxa.id.not_in(select(used.c.taxon)), taxa.id != newest)
    rows: Counter[str] = Counter()
    for chunk in chunked(connection.execute(query).scalars().all()):
        rows["taxa"] += connection.execute(delete(schema.taxa).where(taxa.id.in_(chunk))).rowcount
    return rows, []


def _vacuum_sqlite(database: Database) -> list[str]:
    """Rewrite the file without its unused pages; return the reason if that was not possible."""
    path = Path(str(database.url.database))
    if (missing := _missing_room(path, database.read(_used_bytes))) is not None:
        return [missing]
    try:
        with database.alone() as execute:
            execute("VACUUM")
            (busy, *_), *_ = execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except StoreError as error:  # the rows are removed all the same
        return [f"the file keeps its size: {error}"]
    return ["another program reads the store: the file becomes smaller when that has ended"] if busy else []


def _used_bytes(connection: Connection) -> int:
    pages, size = (connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("page_count", "page_size"))
    return int(pages * size) - free_bytes(connection)


def _missing_room(path: Path, needed: int) -> str | None:
    """Return the reason if a disk lacks the room for rewriting a file: that of a temporary file, and that of its log."""
    folders = Counter[int]()
    paths: dict[int, Path] = {}
    for folder in (path.resolve().parent, _folder_of_sqlite()):
        device = folder.stat().st_dev
        folders[device] += needed
        paths.setdefault(device, folder)
    for device, bytes_needed in folders.items():
        free = shutil.disk_usage(paths[device]).free
        if free < bytes_needed:
            return (
                f"rewriting the file needs {bytes_needed / 1e6:,.1f} MB of free space in {paths[device]}, which has "
                f"{free / 1e6:,.1f} MB: the file keeps its size, and later runs use what was freed in it; make room (or set "
                "SQLITE_TMPDIR to a folder on another disk) and run the command again"
            )
    return None


def _folder_of_sqlite() -> Path:
    """Return the folder in which SQLite makes temporary files."""
    if system.is_windows():
        return Path(tempfile.gettempdir())
    named = (os.environ.get("SQLITE_TMPDIR"), os.environ.get("TMPDIR"), "/var/tmp", "/usr/tmp", "/tmp")
    return next((Path(name) for name in named if name and os.access(name, os.W_OK | os.X_OK)), Path.cwd())


def _vacuum_postgres(database: Database, progress: Progress, *, full: bool) -> list[str]:
    """Vacuum our tables one by one; return the reasons why some were not."""
    tables, warnings = schema.metadata.sorted_tables, list[str]()
    with database.alone(warnings) as execute:
        for done, table in enumerate(tables, start=1):
            execute(f"VACUUM (ANALYZE{', FULL' if full else ''}) {table.name}")
            progress(done, len(tables))
    if not warnings:
        return []
    return [f"{len(warnings)} tables were not vacuumed, the first one because the server says: {warnings[0]}"]
