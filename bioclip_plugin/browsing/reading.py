"""Rows of a run out of its store: plain columns in one pass, by blocks of the listing, so that a block can be read again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Select, and_, case, func, literal_column, select

from bioclip_plugin.browsing.columns import UNKNOWN_MOMENT, VERDICTS
from bioclip_plugin.browsing.places import Place, PlaceNumbers
from bioclip_plugin.browsing.words import Flags, Reasons, Words
from bioclip_plugin.formats.shared.image_verdicts import threshold_of
from bioclip_plugin.items.categories import kind_of_category
from bioclip_plugin.items.finding_deployments import Deployments
from bioclip_plugin.store.database import schema
from bioclip_plugin.store.database.bulk import execute
from bioclip_plugin.store.database.values import wall_time
from bioclip_plugin.store.media_rows import MEDIA, item_of_values
from bioclip_plugin.store.reading import confidence_in, uncollected
from bioclip_plugin.store.records import DONE, FAILED, Run, asked_level
from bioclip_plugin.store.runs import check
from bioclip_plugin.store.taxa import rank_code

BLOCK = 1 << 14
"""Positions of the listing that are read, and read again, together."""
_ROWS_AT_ONCE = 10_000

RAW_TYPES: dict[str, Any] = {
    "media": np.int64, "region": np.int64, "position": np.int64, "taxon": np.int64, "rank": np.int8, "probability": np.float32,
    "best": np.float32, "margin": np.float32, "verdict": np.int8, "flags": np.uint32, "place": np.int32, "event": np.int32,
    "moment": np.int64, "failure": np.int16,
}  # fmt: skip
"""Arrays of rows as they are read: numbers of taxa are the store's, and other numbers those of :class:`Vocabulary`."""

Raw = dict[str, NDArray[Any]]
Blocks = NDArray[np.int64]
"""Answered and failed images of each block of the listing (B×2)."""


@dataclass(slots=True)
class Vocabulary:
    """Words of a run's rows by number; new ones are added at the end, so that numbers stay."""

    events: Words = field(default_factory=Words)
    flags: Flags = field(default_factory=Flags)
    failures: Reasons = field(default_factory=Reasons)
    places: PlaceNumbers = field(default_factory=PlaceNumbers)
    deployments: Deployments | None = None
    """Given if a table or a pattern of deployments decides, by the name and the time of each image."""


def blocks_of(connection: Connection, run: Run) -> Blocks:
    """Return how many images of each block are answered, and how many failed: a block with other numbers was changed.

    Raises:
        StoreError: for a run that was deleted.
    """
    check(connection, run)
    statement = (
        f"SELECT position / {BLOCK}, status, count(*) FROM {schema.listing.name} "
        f"WHERE run = ? AND status <> 0 GROUP BY position / {BLOCK}, status"
    )
    rows = execute(connection, statement, run.id).all()
    blocks = np.zeros((1 + max((row[0] for row in rows), default=-1), 2), np.int64)
    for block, status, count in rows:
        blocks[block, 0 if status == DONE else 1] = count
    return blocks


def totals_of(connection: Connection, run: Run) -> list[int]:
    """Return how many images of a run are answered, and how many failed; in a twentieth of the time of :func:`blocks_of`.

    Raises:
        StoreError: for a run that was deleted.
    """
    check(connection, run)
    statement = f"SELECT status, count(*) FROM {schema.listing.name} WHERE run = ? GROUP BY status"
    counts = {row[0]: row[1] for row in execute(connection, statement, run.id)}
    return [counts.get(DONE, 0), counts.get(FAILED, 0)]


def read_block(connection: Connection, run: Run, block: int, vocabulary: Vocabulary) -> Raw:
    """Return the rows of one block of a run's listing, by position and, within an image, by region number.

    Raises:
        StoreError: for a run that was deleted.
    """
    with uncollected():
        images = _images(connection, run, block, vocabulary)
        regions = _regions(connection, run, block, vocabulary)
    check(connection, run)
    return _joined(images, regions)


def _columns_of(connection: Connection, query: Select[Any], count: int) -> list[list[Any]]:
    """Return the columns of a query's rows."""
    columns: list[list[Any]] = [[] for _ in range(count)]
    for rows in connection.execute(query).partitions(_ROWS_AT_ONCE):
        for column, values in zip(columns, zip(*rows, strict=True), strict=True):
            column.extend(values)
    return columns


def _within(query: Select[Any], run: Run, block: int) -> Select[Any]:
    listed = schema.listing.c
    return query.where(
        listed.run == run.id,
        listed.position >= block * BLOCK,
        listed.position < (block + 1) * BLOCK,
        listed.status != 0,
    ).order_by(listed.position)


def _images(connection: Connection, run: Run, block: int, vocabulary: Vocabulary) -> Raw:
    listed, media, failed = schema.listing.c, schema.media.c, schema.failures.c
    serial = case((media.metadata.like('%"camera_serial_number"%'), _in_metadata(connection, "camera_serial_number")))
    query = select(
        listed.media, listed.position, listed.status, media.uri, media.captured_at, media.deployment, media.sequence,
        serial, failed.stage, failed.reason,
    ).select_from(
        schema.listing.join(schema.media, media.id == listed.media).outerjoin(
            schema.failures, and_(failed.run == listed.run, failed.media == listed.media, listed.status == FAILED)
        )
    )  # fmt: skip
    numbers, positions, statuses, uris, times, deployments, sequences, serials, stages, reasons = _columns_of(
        connection, _within(query, run, block), 10
    )
    places = [
        Place.of(uri, deployment, serial, has_time=at is not None)
        for uri, deployment, serial, at in zip(uris, deployments, serials, times, strict=True)
    ]
    if vocabulary.deployments is not None:
        places, times = _completed(
            connection, run, block, vocabulary.deployments, dict(zip(numbers, times, strict=True))
        )
    failures = [
        vocabulary.failures.number(f"{stage or 'store'}: {reason or 'the reason is not known'}")
        if status == FAILED
        else -1
        for status, stage, reason in zip(statuses, stages, reasons, strict=True)
    ]
    return {
        "media": np.array(numbers, np.int64),
        "position": np.array(positions, np.int64),
        "moment": moments_of(times),
        "place": np.array([vocabulary.places.number(place) for place in places], np.int32),
        "event": np.array([vocabulary.events.number(name) for name in sequences], np.int32),
        "failure": np.array(failures, np.int16),
    }


def _completed(
    connection: Connection, run: Run, block: int, deployments: Deployments, times: dict[int, str | None]
) -> tuple[list[Place], list[str | None]]:
    """Return the deployments and the corrected times of a block's images, by the run's table or pattern."""
    query = select(schema.media.c.id, *(schema.media.c[name] for name in MEDIA)).join(
        schema.listing, schema.media.c.id == schema.listing.c.media
    )
    found: dict[int, tuple[Place, str | None]] = {}
    for number, *values in connection.execute(_within(query, run, block)):
        item = deployments.completed(item_of_values(values))
        found[number] = Place.named(item.deployment), wall_time(item.captured_at)[0]
    every = [found.get(number, (Place.named(None), time)) for number, time in times.items()]
    return [place for place, _ in every], [time for _, time in every]


def _in_metadata(connection: Connection, key: str) -> Any:
    if connection.dialect.name == "sqlite":
        return func.json_extract(schema.media.c.metadata, f"$.{key}")
    return literal_column(f"CAST({schema.media.name}.metadata AS json) ->> '{key}'")


def moments_of(times: Sequence[str | None]) -> NDArray[np.int64]:
    """Return stored wall-clock times (ISO 8601) in seconds since 1970; ``UNKNOWN_MOMENT`` for None and for text that is not a time."""
    # NumPy's own missing value is the same number.
    try:
        found: NDArray[np.int64] = np.array([time or "NaT" for time in times], "datetime64[s]").astype(np.int64)
    except ValueError:  # of a program that wrote into the store
        found = np.array([_moment(time) for time in times], "datetime64[s]").astype(np.int64)
    assert np.iinfo(np.int64).min == UNKNOWN_MOMENT
    return found


def _moment(time: str | None) -> np.datetime64:
    try:
        return np.datetime64(time or "NaT", "s")
    except ValueError:
        return np.datetime64("NaT", "s")


def _regions(connection: Connection, run: Run, block: int, vocabulary: Vocabulary) -> Raw:
    """Return what the store has of the block's regions, without boxes below the run's detection threshold."""
    threshold = threshold_of(run)
    (numbers, media, classified, confidences, categories, flags, decided, taxa, ranks, probabilities, verdicts, events,
     has_trail, best, second) = _columns_of(connection, _within(_query_of_regions(connection, run), run, block), 15)  # fmt: skip
    named = np.array([value != 0 for value in classified], np.bool_)
    below = np.array([value is not None and value < threshold for value in confidences], np.bool_) & ~named
    # As elsewhere (store/reading.py): of a box that the model does not name, rules decide without a taxon.
    is_decided = np.array([value is not None for value in decided], np.bool_)
    is_decided &= named | np.array(
        [bool(trail) and taxon is None for trail, taxon in zip(has_trail, taxa, strict=True)], np.bool_
    )
    said = [
        VERDICTS.index(verdict or ("taxon" if taxon is not None else "unknown"))
        if is_one
        else _of_category(category, name)
        for verdict, taxon, is_one, category, name in zip(
            verdicts, taxa, is_decided.tolist(), categories, named.tolist(), strict=True
        )
    ]
    has_taxon = is_decided & np.array([value is not None for value in taxa], np.bool_)
    best_probability = np.where(named, np.array(best, np.float32), np.float32(np.nan)).astype(np.float32)
    raw: Raw = {
        "media": np.array(media, np.int64),
        "region": np.array(numbers, np.int64),
        "taxon": np.where(has_taxon, np.array([value or 0 for value in taxa], np.int64), -1),
        "rank": np.where(has_taxon, np.array([-1 if value is None else value for value in ranks], np.int64), -1),
        "probability": np.where(has_taxon, np.array(probabilities, np.float32), np.nan),
        "best": best_probability,
        "margin": best_probability - np.array(second, np.float32),
        "verdict": np.array(said, np.int8),
        "flags": np.array([vocabulary.flags.bits(text) if text else 0 for text in flags], np.uint32) * named,
        "event": np.array([vocabulary.events.number(name) for name in events], np.int64),
    }
    return {name: array[~below] for name, array in raw.items()}


def _of_category(category: str | None, named: bool) -> int:
    """Return the verdict of a region without a decision: what the detector found, if the model is not asked about it."""
    kind = "" if named else kind_of_category(category or "")
    return VERDICTS.index(kind) if kind in ("person", "vehicle") else -1


def _query_of_regions(connection: Connection, run: Run) -> Select[Any]:
    listed, of_run, regions = schema.listing, schema.listed_regions, schema.regions
    answers, decisions = schema.answers, schema.decisions
    first, second = schema.candidates.alias("first"), schema.candidates.alias("second")
    code = rank_code(asked_level(run))

    def candidate(table: Any, position: int) -> Any:
        at = and_(table.c.answer_set == run.answer_set, table.c.region == regions.c.id)
        return and_(at, table.c.rank == code, table.c.position == position)

    return select(
        regions.c.id, listed.c.media, of_run.c.classified, confidence_in(connection), regions.c.category, answers.c.flags,
        decisions.c.region, decisions.c.taxon, decisions.c.rank, decisions.c.probability, decisions.c.verdict, decisions.c.event,
        case((decisions.c.taxon.is_(None), decisions.c.trail.is_not(None)), else_=False),
        first.c.probability, second.c.probability,
    ).select_from(
        listed.join(of_run, and_(of_run.c.run == listed.c.run, of_run.c.media == listed.c.media, listed.c.status == DONE))
        .join(regions, regions.c.id == of_run.c.region)
        .outerjoin(answers, and_(answers.c.region == regions.c.id, answers.c.answer_set == run.answer_set))
        .outerjoin(decisions, and_(decisions.c.region == regions.c.id, decisions.c.decision_set == run.decision_set))
        .outerjoin(first, candidate(first, 0))
        .outerjoin(second, candidate(second, 1))
    )  # fmt: skip


def _joined(images: Raw, regions: Raw) -> Raw:
    """Return one row per region, and one per image without any."""
    order = np.argsort(images["media"], kind="stable")
    place = order[np.searchsorted(images["media"], regions["media"], sorter=order)] if len(order) else order
    alone = np.setdiff1d(np.arange(len(order)), place)
    image = np.concatenate((place, alone))
    raw: Raw = {name: images[name][image] for name in ("media", "position", "moment", "place", "failure")}
    count, failed = len(alone), images["failure"][alone] >= 0
    blank = np.where(failed, -1, VERDICTS.index("blank"))
    missing = {
        "region": np.zeros(count), "taxon": np.full(count, -1), "rank": np.full(count, -1), "probability": np.full(count, np.nan),
        "best": np.full(count, np.nan), "margin": np.full(count, np.nan), "verdict": blank, "flags": np.zeros(count),
    }  # fmt: skip
    raw |= {name: np.concatenate((regions[name], values)) for name, values in missing.items()}
    of_images = images["event"][image]
    own = np.concatenate((regions["event"], np.full(count, -1)))
    raw["event"] = np.where(own >= 0, own, of_images)
    rows = np.lexsort((raw["region"], raw["position"]))
    return {name: raw[name][rows].astype(kind) for name, kind in RAW_TYPES.items()}


def empty_rows() -> Raw:
    """Return no rows."""
    return {name: np.zeros(0, kind) for name, kind in RAW_TYPES.items()}


def names_in_order(connection: Connection, run: Run) -> NDArray[np.int64]:
    """Return the numbers of a run's images in the order of their names, which is the same on both databases."""
    listed, media = schema.listing.c, schema.media.c
    uri = media.uri if connection.dialect.name == "sqlite" else media.uri.collate("C")
    query = select(media.id).join(schema.listing, listed.media == media.id)
    query = query.where(listed.run == run.id, listed.status != 0).order_by(uri, media.frame)
    # Rows one by one: NumPy looks for other protocols in each row of SQLAlchemy, which takes longer than all else.
    return np.fromiter(connection.execute(query).scalars(), np.int64)


def changed_blocks(old: Blocks, new: Blocks) -> Iterator[int]:
    """Yield the blocks whose numbers differ."""
    for block in range(max(len(old), len(new))):
        one, other = (blocks[block].tolist() if block < len(blocks) else [0, 0] for blocks in (old, new))
        if one != other:
            yield block
