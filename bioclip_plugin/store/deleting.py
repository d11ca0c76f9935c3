"""Deletion of runs in short transactions, each of which leaves a consistent store; it can be repeated after a kill."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from heapq import merge
from itertools import groupby

from sqlalchemy import Connection, delete, func, select, update

from bioclip_core.errors import StoreError
from bioclip_plugin.store.cleaning import (
    MEDIA_AT_ONCE,
    Cleaning,
    clean_media,
    clean_sets,
    has_indexes,
    make_indexes,
    make_indexes_to_count,
    remaining_runs,
)
from bioclip_plugin.store.database import schema
from bioclip_plugin.store.database.bulk import chunked
from bioclip_plugin.store.database.connection import Database
from bioclip_plugin.store.database.values import digest
from bioclip_plugin.store.records import Keep, Removal, Run
from bioclip_plugin.store.runs import DELETED, DELETING, HIDDEN, all_runs, half_deleted, one_run

Progress = Callable[[int, int], None]
"""Called with the number of images done and of all."""


def no_progress(_done: int, _total: int) -> None:
    """Report progress to nobody."""


def delete_runs(database: Database, numbers: Collection[int], progress: Progress = no_progress) -> Removal:
    """Delete runs, and everything that no other run and no review needs.

    Raises:
        StoreError: for an unknown run and one that a program works on; then nothing is deleted.
    """
    if not database.read(has_indexes):
        database.remove(make_indexes)
    wanted = sorted(set(numbers))
    total = database.remove(_mark, database, wanted)
    rows: Counter[str] = Counter()
    done = 0
    for run in wanted:
        for batch in chunked(_media_of(database, run), MEDIA_AT_ONCE):
            rows += database.remove(_clean, batch)
            done += len(batch)
            progress(done, max(done, total))
        while not (last := database.remove(_end, run))[1]:
            rows += last[0]
        rows += last[0]
    return Removal(tuple(wanted), dict(rows), estimated_bytes(rows))


def count_runs(database: Database, numbers: Collection[int], progress: Progress = no_progress) -> Removal:
    """Count the rows that the deletion of these runs would remove.

    Raises:
        StoreError: for an unknown run and one that a program works on.
    """
    wanted = sorted(set(numbers))
    total = database.read(_check_all, database, wanted)
    rows: Counter[str] = Counter(runs=len(wanted))
    done = 0
    make_indexes_to_count(database, total)
    media = (number for number, _ in groupby(merge(*(_media_of(database, run) for run in wanted))))
    for batch in chunked(media, MEDIA_AT_ONCE):
        rows += database.read(_count_clean, wanted, batch)
        done += len(batch)
        progress(done, max(done, total))
    return Removal(tuple(wanted), dict(rows), estimated_bytes(rows))


def prunable(connection: Connection, database: Database, keep: Keep, now: datetime) -> tuple[list[Run], list[Run]]:
    """Return the runs that ``keep`` does not keep, oldest first, and those among them that a program works on."""
    newest: Counter[tuple[str, ...]] = Counter()
    found: list[Run] = []
    for run in sorted(all_runs(connection), key=lambda run: (run.begun_at, run.id), reverse=True):
        group = run.sources if keep.by_sources else ()
        newest[group] += 1
        is_kept = (
            (keep.newest is not None and newest[group] <= keep.newest)
            or (keep.days is not None and run.begun_at >= now - timedelta(days=keep.days))
            or (bool(keep.statuses) and run.status not in keep.statuses)
        )
        if not is_kept:
            found.append(run)
    held = [run for run in found if database.holds.is_held(connection, run.id)]
    return [run for run in reversed(found) if run not in held], held


def _check_all(connection: Connection, database: Database, numbers: Sequence[int]) -> int:
    """Return the number of listed images of these runs, after a check that they may be deleted."""
    begun = half_deleted(connection)
    for number in numbers:
        if number not in begun:
            one_run(connection, number)
        if database.holds.is_held(connection, number):
            raise StoreError(
                f"run {number} is being worked on by a program now: wait until it ends, or end it, then delete the run"
            )
    listed = schema.listing.c
    query = select(func.count()).select_from(schema.listing).where(listed.run.in_(numbers))
    return int(connection.execute(query).scalar_one())


def _mark(connection: Connection, database: Database, numbers: Sequence[int]) -> int:
    """Mark runs as half deleted. Their new key lets the same classify command begin a new run meanwhile."""
    total = _check_all(connection, database, numbers)
    runs = schema.runs
    for number in numbers:
        change = {"status": DELETING, "key": digest(DELETING, number)}
        connection.execute(update(runs).where(runs.c.id == number, runs.c.status.not_in(HIDDEN)).values(change))
    return total


def _media_of(database: Database, run: int) -> Iterator[int]:
    """Yield the media that a run lists, in the order of their numbers, with one page in memory.

    Runs are read one by one: for several at once the database would sort all their media for each page.
    """
    after = 0
    while page := database.read(_listed_after, run, after):
        yield from page
        after = page[-1]


def _listed_after(connection: Connection, run: int, after: int) -> Sequence[int]:
    listed = schema.listing.c
    query = select(listed.media).where(listed.run == run, listed.media > after).order_by(listed.media)
    return connection.execute(query.limit(MEDIA_AT_ONCE)).scalars().all()


def _clean(connection: Connection, media: Sequence[int]) -> Counter[str]:
    cleaning = Cleaning(remaining_runs(connection))
    clean_media(connection, cleaning, media)
    return cleaning.rows


def _count_clean(connection: Connection, without: Sequence[int], media: Sequence[int]) -> Counter[str]:
    cleaning = Cleaning(remaining_runs(connection, without), removes=False, walked=media[-1])
    clean_media(connection, cleaning, media)
    return cleaning.rows


def _end(connection: Connection, run: int) -> tuple[Counter[str], bool]:
    """Remove what is left of a run whose listed images are cleaned; the second result is False if more is left."""
    cleaning, runs, listed = Cleaning(remaining_runs(connection)), schema.runs, schema.listing.c
    # Rows of media that are not in the listing, which no version of ours writes.
    for table in (schema.listed_regions, schema.failures):
        query = select(table.c.media).where(table.c.run == run).distinct().limit(MEDIA_AT_ONCE)
        if left := list(connection.execute(query).scalars()):
            clean_media(connection, cleaning, left)
            return cleaning.rows, False
    if connection.execute(select(listed.media).where(listed.run == run).limit(1)).first() is not None:
        # What a detector did not find in the images of a reviewed event belongs to the review.
        connection.execute(update(runs).where(runs.c.id == run).values(status=DELETED))
        cleaning.rows["runs"] += 1
    else:
        cleaning.rows["runs"] += connection.execute(delete(runs).where(runs.c.id == run)).rowcount
    clean_sets(connection, cleaning)
    return cleaning.rows, True


BYTES_PER_ROW = {
    "features": 1_600,  # 768 numbers of two bytes, and the key
    "candidates": 45,
    "answers": 30,
    "decisions": 90,
    "listing": 60,
    "listed_regions": 40,
    "failures": 200,
    "media": 400,
    "regions": 110,
    "contents": 170,
    "detections": 180,
    "taxa": 300,
    "runs": 6_000,
}
"""About the bytes of a typical row with its indexes."""


def estimated_bytes(rows: Mapping[str, int]) -> int:
    """Return about how many bytes these rows take, by table."""
    return sum(count * BYTES_PER_ROW.get(name, 0) for name, count in rows.items())
