"""Stored results, read in bulk: features, whole runs in listing order, failures, media, counts."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, and_, func, not_, or_, select

from bioclip_plugin.items.answers import Failure
from bioclip_plugin.items.media import MediaItem
from bioclip_plugin.store import stored_regions
from bioclip_plugin.store.database import schema
from bioclip_plugin.store.database.bulk import rows_with
from bioclip_plugin.store.database.values import clean_text, moment_of
from bioclip_plugin.store.media_rows import MEDIA, item_of_row, item_of_values
from bioclip_plugin.store.records import (
    DONE,
    ITEM_STATUSES,
    FeatureKey,
    Run,
    StoredFailure,
    StoredItem,
    Summary,
)
from bioclip_plugin.store.stored_regions import Ranks
from bioclip_plugin.store.taxa import TaxonCache

PAGE = 500  # items read at a time: 500 × 11 candidates are a few megabytes


def features(
    connection: Connection, feature_set: int, keys: Sequence[FeatureKey]
) -> dict[FeatureKey, NDArray[np.float16]]:
    """Return the stored vectors of these keys."""
    wanted = set(keys)
    table, contents = schema.features, schema.contents
    query = (
        select(contents.c.sha256, contents.c.frame, table)
        .select_from(table.join(contents, table.c.content == contents.c.id))
        .where(table.c.feature_set == feature_set, table.c.vector.is_not(None))
    )
    found: dict[FeatureKey, NDArray[np.float16]] = {}
    for row in rows_with(connection, query, contents.c.sha256, (sha256 for sha256, *_ in wanted)):
        key = (row.sha256, row.frame, (row.x, row.y, row.w, row.h))
        if key in wanted:
            found[key] = np.frombuffer(row.vector, dtype="<f2").astype(np.float16)
    return found


@contextmanager
def uncollected() -> Iterator[None]:
    """Switch the garbage collector off while a page's objects are made: searching them took a third of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def page_of_items(
    connection: Connection, run: Run, after: int, limit: int, cache: TaxonCache, ranks: Ranks = None
) -> tuple[list[StoredItem], int]:
    """Return the next items of the listing after a position, and the position of the last one.

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
        rows = connection.execute(query).all()
        done = [number for number, _, status, *_ in rows if status == DONE]
        regions = stored_regions.of_run(connection, run, done, cache, ranks)
        failed = _failures(connection, run, [number for number, _, status, *_ in rows if status != DONE])
        items = []
        for number, _, status, stated, *values in rows:
            stored = regions.get(number, [])
            boxes = tuple([region.region for region in stored if region.region is not None])
            item = item_of_values(values, boxes, detected=stated is not None)
            items.append(StoredItem(item, ITEM_STATUSES[status], failed.get(number), stored))
        return items, rows[-1].position if rows else after


def _failures(connection: Connection, run: Run, media: Iterable[int]) -> dict[int, Failure]:
    table = schema.failures.c
    query = select(table.media, table.stage, table.reason).where(table.run == run.id)
    return {row.media: Failure(row.stage, row.reason) for row in rows_with(connection, query, table.media, media)}


def page_of_failures(connection: Connection, run: Run, after: int) -> tuple[list[StoredFailure], int]:
    """Return the next failures in listing order after a position, and the position of the last one."""
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
    """Return the number of failed items by stage and reason, most frequent first."""
    table = schema.failures.c
    count = func.count()
    query = select(table.stage, table.reason, count).where(table.run == run.id).group_by(table.stage, table.reason)
    rows = connection.execute(query.order_by(count.desc(), table.stage, table.reason))
    return {(stage, reason): number for stage, reason, number in rows}


def page_of_media(connection: Connection, address: str | None, after: int) -> tuple[list[MediaItem], int]:
    """Return the next media under an address after a number, and the number of the last one."""
    media = schema.media
    query = select(media).where(media.c.id > after).order_by(media.c.id).limit(PAGE)
    rows = connection.execute(query if address is None else query.where(_under(address))).all()
    return [item_of_row(row) for row in rows], rows[-1].id if rows else after


def _under(address: str) -> Any:
    uri = schema.media.c.uri
    if address in ("", ".", "./"):  # the working directory: names that are not absolute, above it or elsewhere
        return not_(or_(uri.startswith("/"), uri.startswith("../"), uri.contains("://")))
    folder = clean_text(address).rstrip("/\\")
    inside = [func.substr(uri, 1, len(folder) + 1) == folder + separator for separator in "/\\"]
    return or_(uri == clean_text(address), *inside)


def summary(connection: Connection, run: Run) -> Summary:
    """Return the number of items by status."""
    listed, regions = schema.listing.c, schema.listed_regions
    query = select(listed.status, func.count()).where(listed.run == run.id).group_by(listed.status)
    counts: dict[int, int] = {row[0]: row[1] for row in connection.execute(query)}
    answered = connection.execute(select(func.count()).select_from(regions).where(regions.c.run == run.id))
    todo, done, failed = (counts.get(status, 0) for status in range(len(ITEM_STATUSES)))
    return Summary(todo + done + failed, done, failed, todo, answered.scalar_one())
