"""Stored results, read in bulk: features, runs in listing order, failures, media, counts, regions with their answers."""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, Select, and_, func, literal, not_, or_, select

from bioclip_core.classify import Candidate
from bioclip_plugin.items.answers import Failure
from bioclip_plugin.items.media import BOX_UNIT, WHOLE_BOX, MediaItem, Region
from bioclip_plugin.items.verdicts import Verdict
from bioclip_plugin.store.database import schema
from bioclip_plugin.store.database.bulk import chunked, one_of, rows_with
from bioclip_plugin.store.database.schema import RANK_CODES
from bioclip_plugin.store.database.values import clean_text, from_json, moment_of, vector_of
from bioclip_plugin.store.database.versions import lacks_confidences
from bioclip_plugin.store.media_rows import MEDIA, item_of_row, item_of_values
from bioclip_plugin.store.reasons import ReasonCounts
from bioclip_plugin.store.records import (
    DONE,
    ITEM_STATUSES,
    Content,
    FeatureKey,
    Run,
    StoredDecision,
    StoredFailure,
    StoredItem,
    StoredRegion,
    Summary,
)
from bioclip_plugin.store.taxa import TaxonCache, rank_code

PAGE = 500  # items read at a time: 500 × 11 candidates are a few megabytes
LISTED_PAGE = 2_000  # items without results


Ranks = Collection[str] | None
"""The levels whose candidates are wanted; None: all of them. Asking for one reads a tenth of the rows."""

ByRank = dict[str, tuple[Candidate, ...]]
Found = dict[int, list[StoredRegion]]
"""By media number, in the order of the query."""


def names_of_contents(connection: Connection, hashes: Iterable[str]) -> dict[int, Content]:
    """Return sha256 and frame of the stored contents with one of these hashes, by number.

    Rows of a layer are looked up by these numbers in a second query: of one query with a join SQLite, which does not know
    how many rows there are, reads all rows of the layer.
    """
    contents = schema.contents.c
    query = select(contents.id, contents.sha256, contents.frame)
    return {row.id: (row.sha256, row.frame) for row in rows_with(connection, query, contents.sha256, hashes)}


def features(
    connection: Connection, feature_set: int, keys: Sequence[FeatureKey]
) -> dict[FeatureKey, NDArray[np.float16]]:
    """Return the stored vectors of these keys."""
    wanted, table = set(keys), schema.features.c
    names = names_of_contents(connection, (sha256 for sha256, *_ in wanted))
    query = select(table.content, table.x, table.y, table.w, table.h, table.vector)
    query = query.where(table.feature_set == feature_set, table.vector.is_not(None))
    found: dict[FeatureKey, NDArray[np.float16]] = {}
    for content, x, y, w, h, vector in rows_with(connection, query, table.content, names):
        key = (*names[content], (x, y, w, h))
        if key in wanted:
            found[key] = vector_of(vector)
    return found


@contextmanager
def uncollected() -> Iterator[None]:
    """Switch the garbage collector off while the objects of a page or a batch are made: it took a third of the time."""
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
    position = schema.listing.c.position
    rows = connection.execute(_listed_media(run).where(position > after).limit(limit)).all()
    return _items_of_rows(connection, run, rows, cache, ranks), rows[-1].position if rows else after


def items_at(
    connection: Connection, run: Run, positions: Sequence[int], cache: TaxonCache, ranks: Ranks = None
) -> list[StoredItem]:
    """Return the items at these positions of the listing, in its order."""
    query = _listed_media(run).where(one_of(connection, schema.listing.c.position, positions))
    return _items_of_rows(connection, run, connection.execute(query).all(), cache, ranks)


def item_numbered(connection: Connection, run: Run, media: int, cache: TaxonCache) -> StoredItem | None:
    """Return one item of a run by the number of its media; None if the run did not list it."""
    rows = connection.execute(_listed_media(run).where(schema.media.c.id == media)).all()
    return next(iter(_items_of_rows(connection, run, rows, cache, None)), None)


def _listed_media(run: Run) -> Select[Any]:
    """Return a query of a run's media in listing order."""
    listed, media = schema.listing, schema.media
    return (
        select(media.c.id, listed.c.position, listed.c.status, listed.c.stated, *(media.c[name] for name in MEDIA))
        .join(listed, listed.c.media == media.c.id)
        .where(listed.c.run == run.id)
        .order_by(listed.c.position)
    )


def _items_of_rows(
    connection: Connection, run: Run, rows: Sequence[Any], cache: TaxonCache, ranks: Ranks
) -> list[StoredItem]:
    """Return the items of the rows of a query of :func:`_listed_media`, with their results."""
    with uncollected():
        done = (number for number, _, status, *_ in rows if status == DONE)
        regions = regions_of_run(connection, run, done, cache, ranks)
        failed = _failures(connection, run, [number for number, _, status, *_ in rows if status != DONE])
        items = []
        for number, _, status, stated, *values in rows:
            stored = regions.get(number, [])
            boxes = tuple([region.region for region in stored if region.region is not None])
            item = item_of_values(values, boxes, detected=stated is not None)
            items.append(StoredItem(item, ITEM_STATUSES[status], failed.get(number), stored))
        return items


def page_of_listed(connection: Connection, run: Run, after: int, *, only_answered: bool) -> tuple[list[MediaItem], int]:
    """Return the next items of the listing after a position without regions and results, and the position of the last one."""
    listed, media = schema.listing.c, schema.media
    query = (
        select(listed.position, *(media.c[name] for name in MEDIA))
        .join(schema.listing, listed.media == media.c.id)
        .where(listed.run == run.id, listed.position > after)
        .order_by(listed.position)
        .limit(LISTED_PAGE)
    )
    if only_answered:
        query = query.where(listed.status == DONE)
    rows = connection.execute(query).all()
    return [item_of_values(values) for _, *values in rows], rows[-1].position if rows else after


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
    """Return the number of failed items by stage and reason, most frequent first; see :class:`ReasonCounts`."""
    table = schema.failures.c
    count = func.count()
    query = select(table.stage, table.reason, count).where(table.run == run.id).group_by(table.stage, table.reason)
    counts = ReasonCounts()
    for stage, reason, number in connection.execute(query.order_by(count.desc(), table.stage, table.reason)):
        counts.add(stage, reason, number)
    return counts.by_reason()


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


def regions_of_run(
    connection: Connection, run: Run, media: Iterable[int], cache: TaxonCache, ranks: Ranks = None
) -> Found:
    """Return the regions that these media have in a run, in their order."""
    regions, listed = schema.regions, schema.listed_regions.c
    query = _with_decisions(run, listed.classified, confidence_in(connection))
    query = query.join(schema.listed_regions, listed.region == regions.c.id).where(listed.run == run.id)
    return _found(connection, run, query.order_by(listed.media, listed.position), listed.media, media, cache, ranks)


def answers(connection: Connection, run: Run, media: Iterable[int], cache: TaxonCache) -> Found:
    """Return the regions of these media that have an answer in the run's answer set, whichever run wrote it."""
    regions, answers = schema.regions.c, schema.answers.c
    # As IS NOT NULL, the condition would make an inner join of the outer one, of which SQLite reads all answers of the set.
    is_answered = func.coalesce(answers.region, 0) != 0
    query = _with_decisions(run, literal(1), schema.regions.c.confidence).where(is_answered)
    return _found(connection, run, query.order_by(regions.id), regions.media, media, cache, None)


def confidence_in(connection: Connection) -> ColumnElement[float | None]:
    """Return the confidence of a listed region in its run: another detector may give the same box another one.

    Runs of earlier versions have only that of the region.
    """
    of_region = schema.regions.c.confidence
    return of_region if lacks_confidences(connection) else func.coalesce(schema.listed_regions.c.confidence, of_region)


def _with_decisions(run: Run, classified: Any, confidence: ColumnElement[float | None]) -> Select[Any]:
    """Return a query of regions with flags and decision; both may be missing."""
    regions, answers, decisions = schema.regions, schema.answers.c, schema.decisions.c
    columns = [regions.c[name] for name in "media id x y w h detector detector_version category".split()]
    decided = [decisions[name] for name in "region taxon rank probability verdict event trail".split()]
    return select(*columns, confidence, classified, answers.flags, *decided).select_from(
        regions.outerjoin(schema.answers, and_(answers.region == regions.c.id, answers.answer_set == run.answer_set))
        .outerjoin(schema.decisions, and_(decisions.region == regions.c.id, decisions.decision_set == run.decision_set))
    )  # fmt: skip


def _found(
    connection: Connection, run: Run, query: Select[Any], of: Any, media: Iterable[int], cache: TaxonCache, ranks: Ranks
) -> Found:
    found: Found = {}
    for chunk in chunked(sorted(set(media))):
        rows = connection.execute(query.where(of.in_(chunk))).all()
        candidates = _candidates(connection, run, [row[1] for row in rows], cache, ranks)
        taxa = cache.taxa(connection, {row[13] for row in rows if row[13] is not None})
        for (number, region, x, y, w, h, detector, version, category, confidence, classified, flags, decided, taxon,
             rank, probability, verdict, event, trail) in rows:  # fmt: skip
            box = decision = None
            if detector or category or (x, y, w, h) != WHOLE_BOX:
                box = Region(
                    x / BOX_UNIT, y / BOX_UNIT, w / BOX_UNIT, h / BOX_UNIT, detector, version, category, confidence,
                    classified != 0,
                )  # fmt: skip
            is_named = box is None or box.classified
            # A box below this run's threshold may have been named in a run with a lower one: rules alone decide on it here.
            if decided is not None and (is_named or (trail and taxon is None)):
                best = Candidate(taxa[taxon][0], RANK_CODES[rank], probability) if taxon is not None else None
                said: Verdict = verdict or ("taxon" if best else "unknown")
                decision = StoredDecision(said, best, event, tuple(from_json(trail)) if trail else ())
            words = tuple(flags.split()) if flags and is_named else ()
            by_rank = candidates.get(region, {}) if is_named else {}
            found.setdefault(number, []).append(StoredRegion(box, region, by_rank, words, decision))
    return found


def _candidates(
    connection: Connection, run: Run, regions: Iterable[int], cache: TaxonCache, ranks: Ranks
) -> dict[int, ByRank]:
    """Return the candidates at each wanted level by region number, most probable first."""
    table = schema.candidates.c
    query = select(table.region, table.rank, table.taxon, table.probability).where(table.answer_set == run.answer_set)
    if ranks is not None:
        query = query.where(table.rank.in_([rank_code(rank) for rank in ranks]))
    query = query.order_by(table.region, table.rank, table.position)
    found: dict[int, ByRank] = {}
    for chunk in chunked(regions):
        rows = connection.execute(query.where(table.region.in_(chunk))).all()
        taxa = cache.taxa(connection, {row[2] for row in rows})
        named = {number: (taxon, RANK_CODES[code]) for number, (taxon, code) in taxa.items()}
        for (region, rank), level in groupby(rows, itemgetter(0, 1)):  # rows are in the order of region and rank
            found.setdefault(region, {})[RANK_CODES[rank]] = tuple(
                [Candidate(*named[number], probability) for _, _, number, probability in level]
            )
    return found
