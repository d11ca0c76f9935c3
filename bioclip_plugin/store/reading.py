"""What is stored, read in bulk: features, answers with their decisions, whole runs in listing order, failures."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, and_, func, not_, or_, select

from bioclip_plugin.items.answers import Failure
from bioclip_plugin.items.media import MediaItem
from bioclip_plugin.store import stored_regions
from bioclip_plugin.store.database import schema
from bioclip_plugin.store.database.bulk import chunked
from bioclip_plugin.store.database.values import clean_text, moment_of
from bioclip_plugin.store.listing import DONE
from bioclip_plugin.store.media_rows import MEDIA, item_of_row, item_of_values
from bioclip_plugin.store.records import (
    ITEM_STATUSES,
    FeatureKey,
    Run,
    StoredFailure,
    StoredItem,
    StoredRegion,
    Summary,
)
from bioclip_plugin.store.stored_regions import Ranks
from bioclip_plugin.store.taxa import TaxonCache

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PAGE = 500  # items read at a time: 500 × 11 candidates are a few megabytes


def features(
    connection: Connection, feature_set: int, keys: Sequence[FeatureKey]
) -> dict[FeatureKey, NDArray[np.float16]]:
    """The vectors that are stored, by their keys."""
    import numpy as np

    wanted = set(keys)
    table, contents = schema.features, schema.contents
    query = select(contents.c.sha256, contents.c.frame, table).select_from(
        table.join(contents, table.c.content == contents.c.id)
    )
    query = query.where(table.c.feature_set == feature_set, table.c.vector.is_not(None))
    found: dict[FeatureKey, NDArray[np.float16]] = {}
    for chunk in chunked(sorted({key[0] for key in wanted})):
        for row in connection.execute(query.where(contents.c.sha256.in_(chunk))):
            key = (row.sha256, row.frame, (row.x, row.y, row.w, row.h))
            if key in wanted:
                found[key] = np.frombuffer(row.vector, dtype="<f2").astype(np.float16)
    return found


def answers(
    connection: Connection, run: Run, media_ids: Sequence[int], cache: TaxonCache
) -> dict[int, list[StoredRegion]]:
    """By media number, every region that has an answer in the run's answer set."""
    return stored_regions.answered(connection, run, media_ids, cache)


def page_of_items(
    connection: Connection, run: Run, after: int, limit: int, cache: TaxonCache, ranks: Ranks = None
) -> tuple[list[StoredItem], int]:
    """The next items of the listing behind the position ``after``, and the last one's position.

    Args:
        ranks: the levels whose candidates are wanted; None: all.
    """
    listed, media = schema.listing, schema.media
    query = (
        select(media.c.id, listed.c.position, listed.c.status, listed.c.stated, *(media.c[name] for name in MEDIA))
        .join(listed, listed.c.media == media.c.id)
        .where(listed.c.run == run.id, listed.c.position > after)
        .order_by(listed.c.position)
        .limit(limit)
    )
    with uncollected():
        return _page(connection, run, connection.execute(query).all(), after, cache, ranks)


@contextmanager
def uncollected() -> Iterator[None]:
    """Leave the garbage collector alone while a page's objects are made: none is garbage yet, and looking took a third of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _page(
    connection: Connection, run: Run, rows: Sequence[Any], after: int, cache: TaxonCache, ranks: Ranks
) -> tuple[list[StoredItem], int]:
    if not rows:
        return [], after
    done = [number for number, _, status, *_ in rows if status == DONE]
    regions = stored_regions.of_run(connection, run, done, cache, ranks)
    others = [number for number, _, status, *_ in rows if status != DONE]
    failed = {row.id: failure for row, failure in _failures(connection, run, others)} if others else {}
    items = []
    for number, _, status, stated, *values in rows:
        stored = regions.get(number, [])
        boxes = tuple([region.region for region in stored if region.region is not None])
        item = item_of_values(values, boxes, detected=stated is not None)
        items.append(StoredItem(item, ITEM_STATUSES[status], failed.get(number), stored))
    return items, rows[-1][1]


def _failures(connection: Connection, run: Run, media_ids: Sequence[int]) -> list[tuple[Any, Failure]]:
    table = schema.failures.c
    found: list[tuple[Any, Failure]] = []
    for chunk in chunked(media_ids):
        query = select(table.media.label("id"), table.stage, table.reason)
        for row in connection.execute(query.where(table.run == run.id, table.media.in_(chunk))):
            found.append((row, Failure(row.stage, row.reason)))
    return found


def page_of_failures(connection: Connection, run: Run, after: int) -> tuple[list[StoredFailure], int]:
    """The next failures by listing position behind ``after``, and the last one's position."""
    listed, failed, media = schema.listing.c, schema.failures.c, schema.media
    query = (
        select(media, listed.position, failed.stage, failed.reason, failed.failed_at, failed.attempts)
        .select_from(
            schema.failures.join(schema.listing, and_(listed.run == failed.run, listed.media == failed.media)).join(
                media, media.c.id == failed.media
            )
        )
        .where(failed.run == run.id, listed.position > after)
        .order_by(listed.position)
        .limit(PAGE)
    )
    rows = connection.execute(query).all()
    found = [
        StoredFailure(item_of_row(row), Failure(row.stage, row.reason), moment_of(row.failed_at), row.attempts)
        for row in rows
    ]
    return found, rows[-1].position if rows else after


def failure_counts(connection: Connection, run: Run) -> dict[tuple[str, str], int]:
    """How many items failed, by stage and reason, most frequent first."""
    table = schema.failures.c
    count = func.count()
    query = select(table.stage, table.reason, count).where(table.run == run.id).group_by(table.stage, table.reason)
    rows = connection.execute(query.order_by(count.desc(), table.stage, table.reason))
    return {(stage, reason): number for stage, reason, number in rows}


def page_of_media(connection: Connection, address: str | None, after: int) -> tuple[list[MediaItem], int]:
    """The next media under an address behind the number ``after``, and the last one's number."""
    media = schema.media
    query = select(media).where(media.c.id > after).order_by(media.c.id).limit(PAGE)
    if address is not None:
        query = query.where(_under(address))
    rows = connection.execute(query).all()
    return [item_of_row(row) for row in rows], rows[-1].id if rows else after


def _under(address: str) -> Any:
    uri = schema.media.c.uri
    folder = clean_text(address).rstrip("/\\")
    if address in ("", ".", "./"):  # the working directory: whatever is neither absolute nor above it nor elsewhere
        return not_(or_(uri.startswith("/"), uri.startswith("../"), uri.contains("://")))
    inside = [func.substr(uri, 1, len(folder) + 1) == folder + separator for separator in "/\\"]
    return or_(uri == clean_text(address), *inside)


def summary(connection: Connection, run: Run) -> Summary:
    """How many items are in which state."""
    listed, regions = schema.listing.c, schema.listed_regions.c
    query = select(listed.status, func.count()).where(listed.run == run.id).group_by(listed.status)
    counts: dict[int, int] = {row[0]: row[1] for row in connection.execute(query)}
    answered = connection.execute(select(func.count()).select_from(schema.listed_regions).where(regions.run == run.id))
    todo, done, failed = (counts.get(status, 0) for status in range(3))
    return Summary(todo + done + failed, done, failed, todo, answered.scalar_one())
