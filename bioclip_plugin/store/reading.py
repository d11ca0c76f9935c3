"""What is stored, read in bulk: features, answers with their decisions, whole runs in listing order, failures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, and_, func, not_, or_, select

from bioclip_core.classify import Candidate
from bioclip_plugin.answers import Failure
from bioclip_plugin.media import MediaItem
from bioclip_plugin.store import schema
from bioclip_plugin.store.bulk import chunked
from bioclip_plugin.store.listing import DONE
from bioclip_plugin.store.media_rows import item_of_row, region_of_row
from bioclip_plugin.store.records import (
    ITEM_STATUSES,
    DecisionVerdict,
    FeatureKey,
    Run,
    StoredDecision,
    StoredFailure,
    StoredItem,
    StoredRegion,
    Summary,
)
from bioclip_plugin.store.schema import RANK_CODES
from bioclip_plugin.store.taxa import Key, TaxonCache
from bioclip_plugin.store.values import clean_text, from_json, moment_of

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
    regions, answered = schema.regions, schema.answers.c
    query = select(regions).join(
        schema.answers, and_(answered.region == regions.c.id, answered.answer_set == run.answer_set)
    )
    found: dict[int, list[StoredRegion]] = {}
    for chunk in chunked(sorted(set(media_ids))):
        rows = connection.execute(query.where(regions.c.media.in_(chunk)).order_by(regions.c.id)).all()
        for row, stored in zip(rows, _stored_regions(connection, run, rows, cache), strict=True):
            found.setdefault(row.media, []).append(stored)
    return found


def page_of_items(
    connection: Connection, run: Run, after: int, limit: int, cache: TaxonCache
) -> tuple[list[StoredItem], int]:
    """The next items of the listing behind the position ``after``, and the last one's position."""
    listed, media = schema.listing, schema.media
    query = (
        select(media, listed.c.position.label("listed_position"), listed.c.status, listed.c.stated)
        .join(listed, listed.c.media == media.c.id)
        .where(listed.c.run == run.id, listed.c.position > after)
        .order_by(listed.c.position)
        .limit(limit)
    )
    rows = connection.execute(query).all()
    if not rows:
        return [], after
    numbers = [row.id for row in rows]
    regions = _regions_of_run(connection, run, [row.id for row in rows if row.status == DONE], cache)
    failed = {row.id: failure for row, failure in _failures(connection, run, numbers)}
    items = []
    for row in rows:
        stored = regions.get(row.id, [])
        item = item_of_row(row, tuple(region.region for region in stored if region.region is not None))
        if row.stated is not None:
            item = replace(item, detected=True)
        items.append(StoredItem(item, ITEM_STATUSES[row.status], failed.get(row.id), stored))
    return items, rows[-1].listed_position


def _regions_of_run(
    connection: Connection, run: Run, media_ids: Sequence[int], cache: TaxonCache
) -> dict[int, list[StoredRegion]]:
    regions, listed = schema.regions, schema.listed_regions.c
    query = (
        select(regions, listed.classified)
        .join(schema.listed_regions, listed.region == regions.c.id)
        .where(listed.run == run.id)
        .order_by(listed.media, listed.position)
    )
    found: dict[int, list[StoredRegion]] = defaultdict(list)
    for chunk in chunked(media_ids):
        rows = connection.execute(query.where(listed.media.in_(chunk))).all()
        for row, stored in zip(rows, _stored_regions(connection, run, rows, cache), strict=True):
            found[row.media].append(stored)
    return found


def _stored_regions(
    connection: Connection, run: Run, rows: Sequence[Row[Any]], cache: TaxonCache
) -> list[StoredRegion]:
    flags: dict[int, str] = {}
    listed: dict[int, list[Row[Any]]] = defaultdict(list)
    decided: dict[int, Row[Any]] = {}
    answered, candidates, decisions = schema.answers.c, schema.candidates.c, schema.decisions.c
    for chunk in chunked(row.id for row in rows):
        here = and_(answered.answer_set == run.answer_set, answered.region.in_(chunk))
        found = connection.execute(select(answered.region, answered.flags).where(here))
        flags.update((row.region, row.flags) for row in found)
        here = and_(candidates.answer_set == run.answer_set, candidates.region.in_(chunk))
        ordered = (
            select(schema.candidates).where(here).order_by(candidates.region, candidates.rank, candidates.position)
        )
        for candidate in connection.execute(ordered):
            listed[candidate.region].append(candidate)
        here = and_(decisions.decision_set == run.decision_set, decisions.region.in_(chunk))
        for decision in connection.execute(select(schema.decisions).where(here)):
            decided[decision.region] = decision
    numbers = {candidate.taxon for found in listed.values() for candidate in found}
    numbers |= {decision.taxon for decision in decided.values() if decision.taxon is not None}
    taxa = cache.taxa(connection, numbers)
    return [
        StoredRegion(
            region_of_row(row),
            row.id,
            _by_rank(listed.get(row.id, []), taxa),
            tuple(flags.get(row.id, "").split()),
            _decision(decided[row.id], taxa) if row.id in decided else None,
        )
        for row in rows
    ]


def _by_rank(rows: Iterable[Row[Any]], taxa: dict[int, Key]) -> dict[str, tuple[Candidate, ...]]:
    found: dict[str, list[Candidate]] = {}
    for row in rows:
        taxon, rank = taxa[row.taxon]
        found.setdefault(RANK_CODES[row.rank], []).append(Candidate(taxon, RANK_CODES[rank], row.probability))
    return {rank: tuple(candidates) for rank, candidates in found.items()}


def _decision(row: Row[Any], taxa: dict[int, Key]) -> StoredDecision:
    candidate = None
    if row.taxon is not None:
        candidate = Candidate(taxa[row.taxon][0], RANK_CODES[row.rank], row.probability)
    verdict: DecisionVerdict = row.verdict or ("taxon" if candidate else "unknown")
    return StoredDecision(verdict, candidate, row.event, tuple(from_json(row.trail) or ()))


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
