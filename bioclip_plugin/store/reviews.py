"""Reviews: what a person said about an image, a region or an event. Written once, never by a machine."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Row, Select, func, or_, select, text

from bioclip_core.errors import StoreError
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.items.media import MediaItem, Region
from bioclip_plugin.items.verdicts import REVIEW_VERDICTS
from bioclip_plugin.store.database import schema
from bioclip_plugin.store.database.bulk import chunked, insert_new, rows_with
from bioclip_plugin.store.database.values import clean_text, from_json, moment_of, moment_text, stored_uri, to_json
from bioclip_plugin.store.listing import EMPTY
from bioclip_plugin.store.media_rows import RegionPlace, item_of_row, region_ids, region_key, region_of_row
from bioclip_plugin.store.reading import PAGE
from bioclip_plugin.store.records import TARGET_KINDS, MediaName, Review, ReviewTarget, Run, StatedReview
from bioclip_plugin.store.taxa import NAMES, TaxonCache, key_of_taxon
from bioclip_plugin.store.undone import UNDOES, Statement, not_in_force, undone_uid


def check_review(review: StatedReview) -> None:
    """Check that a review can be stored.

    Raises:
        StoreError: naming the part that is missing or does not fit.
    """
    kind, verdict = review.target.kind, review.verdict
    if kind not in TARGET_KINDS:
        raise StoreError(f"a review of {kind!r}: allowed are {', '.join(TARGET_KINDS)}")
    if verdict not in REVIEW_VERDICTS:
        raise StoreError(f"the verdict {verdict!r}: allowed are {', '.join(REVIEW_VERDICTS)}")
    if (verdict == "taxon") != (review.taxon is not None):
        raise StoreError(f"the verdict {verdict!r} {'needs a taxon' if verdict == 'taxon' else 'takes no taxon'}")
    if not review.reviewer.strip():
        raise StoreError("a review needs the reviewer's name")
    if kind == "event" and not review.target.event:
        raise StoreError("a review of an event needs the event's name")
    if kind != "event" and not review.target.uri:
        raise StoreError(f"a review of a {kind} needs the image's uri")


def add_all(
    connection: Connection, reviews: Sequence[StatedReview], undated_at: datetime
) -> tuple[dict[str, int], int]:
    """Insert reviews; one whose ``uid`` is stored already is left as it is.

    Args:
        undated_at: time of reviews without one.

    Returns:
        The numbers of all by ``uid``, and the number of new ones.

    Raises:
        StoreError: for an image that is not in the store; then nothing is to be stored.
    """
    known = _numbers(connection, reviews)
    first: dict[str, StatedReview] = {}
    for review in reviews:
        if review.uid not in known:
            first.setdefault(review.uid, review)
    fresh = list(first.values())
    media = _media_ids(connection, [review.target for review in fresh if review.target.kind != "event"])
    places: dict[str, RegionPlace] = {
        review.uid: (media[_media_name(review.target)], region_key(review.target.region))
        for review in fresh
        if review.target.kind == "region"
    }
    regions, _ = region_ids(connection, {place: first[uid].target.region for uid, place in places.items()})
    # Not from the cache: no run is marked as worked on, so that a compaction may have removed a remembered taxon.
    taxa = TaxonCache().ids(connection, {key_of_taxon(review.taxon) for review in fresh if review.taxon})
    names = "uid kind media region event verdict taxon reviewer reviewed_at comment details".split()
    rows = [
        (
            review.uid,
            review.target.kind,
            None if review.target.kind == "event" else media[_media_name(review.target)],
            regions[places[review.uid]] if review.uid in places else None,
            review.target.event if review.target.kind == "event" else None,
            review.verdict,
            taxa[key_of_taxon(review.taxon)] if review.taxon else None,
            review.reviewer,
            moment_text(review.reviewed_at or undated_at),
            review.comment,
            to_json(review.details) if review.details else None,
        )
        for review in fresh
    ]
    insert_new(connection, schema.reviews, names, rows)
    return known | _numbers(connection, fresh), len(fresh)


def _numbers(connection: Connection, reviews: Iterable[StatedReview]) -> dict[str, int]:
    """Return the numbers of those reviews that are stored, by ``uid``."""
    table = schema.reviews.c
    query = select(table.uid, table.id)
    return {row.uid: row.id for row in rows_with(connection, query, table.uid, (review.uid for review in reviews))}


def page(
    connection: Connection, after: int, cache: TaxonCache, hidden: Collection[int] = ()
) -> tuple[list[Review], int]:
    """Return the next reviews after a number, oldest first, and the number of the last one; hidden ones are left out."""
    query, found = _joined().order_by(schema.reviews.c.id).limit(PAGE), list[Any]()
    while not found and (rows := connection.execute(query.where(schema.reviews.c.id > after)).all()):
        found, after = [row for row in rows if row.id not in hidden], rows[-1].id
    return _reviews(connection, found, cache), after


def hidden(connection: Connection) -> set[int]:
    """Return the numbers of the reviews that say nothing any more: undone ones, and those that undo."""
    table = schema.reviews.c
    query = select(table.id, table.uid, table.kind, table.media, table.event, table.details)
    undoing = connection.execute(query.where(table.details.like(f'%"{UNDOES}"%'))).all()
    wanted = {undone_uid(from_json(row.details)) for row in undoing} - {""}
    rows = {row.id: row for row in (*undoing, *rows_with(connection, query, table.uid, wanted))}.values()
    return not_in_force(
        Statement(row.id, row.uid, (row.kind == "event", row.media, row.event), undone_uid(from_json(row.details)))
        for row in rows
    )


def of_media(
    connection: Connection, media: Sequence[MediaName], cache: TaxonCache, *, undone: bool = False
) -> dict[MediaName, list[Review]]:
    """Return the reviews of these images and their regions, oldest first; images without a review are absent.

    Args:
        undone: True to include reviews that were undone, and those that undo.
    """
    wanted = {(stored_uri(uri), frame): (uri, frame) for uri, frame in media}
    query, uris = _joined(of_media=True).order_by(schema.reviews.c.id), {uri for uri, _ in wanted}
    rows = [row for row in rows_with(connection, query, schema.media.c.uri, uris) if (row.uri, row.frame) in wanted]
    silent: set[int] = set()
    if not undone and any(row.details for row in rows):
        silent = not_in_force(Statement(row.id, row.uid, row.media, undone_uid(from_json(row.details))) for row in rows)
    found: dict[MediaName, list[Review]] = {}
    for row, review in zip(rows, _reviews(connection, rows, cache), strict=True):
        if row.id not in silent:
            found.setdefault(wanted[row.uri, row.frame], []).append(review)
    return found


def reviewed_positions(connection: Connection, run: Run, events: Collection[str]) -> NDArray[np.int64]:
    """Return the positions in a run's listing of the images with a review of their own or of these events, in order.

    The queries begin at the reviews and not at the listing, as SQLite would if they were joined: reviews are few beside the
    images of a large run.
    """
    listed, reviews, media, decisions = schema.listing.c, schema.reviews.c, schema.media.c, schema.decisions.c
    found = set(connection.execute(select(reviews.media).where(reviews.media.is_not(None))).scalars())
    names = {clean_text(event) for event in events}
    found.update(row.id for row in rows_with(connection, select(media.id), media.sequence, names))
    made = select(schema.regions.c.media).join(schema.decisions, decisions.region == schema.regions.c.id)
    made = made.where(decisions.decision_set == run.decision_set)
    found.update(row.media for row in rows_with(connection, made, decisions.event, names))
    query = select(listed.position).where(listed.run == run.id)
    return np.sort(np.fromiter((row.position for row in rows_with(connection, query, listed.media, found)), np.int64))


def _joined(*, of_media: bool = False) -> Select[Any]:
    """Return a query of reviews with their images and regions.

    Args:
        of_media: only reviews of images; the query then begins at the images in question, not at all reviews.
    """
    reviews, media, regions = schema.reviews, schema.media, schema.regions
    columns = [regions.c[name] for name in "x y w h detector detector_version category confidence".split()]
    image = reviews.c.media == media.c.id
    found = media.join(reviews, image) if of_media else reviews.outerjoin(media, image)
    return select(reviews, media.c.uri, media.c.frame, *columns).select_from(
        found.outerjoin(regions, reviews.c.region == regions.c.id)
    )


def _reviews(connection: Connection, rows: Sequence[Row[Any]], cache: TaxonCache) -> list[Review]:
    taxa = cache.taxa(connection, [row.taxon for row in rows if row.taxon is not None])
    return [
        Review(
            id=row.id,
            target=ReviewTarget(
                row.kind, row.uri, row.frame or 0, region_of_row(row) if row.kind == "region" else None, row.event
            ),
            verdict=row.verdict,
            taxon=taxa[row.taxon][0] if row.taxon is not None else None,
            reviewer=row.reviewer,
            reviewed_at=moment_of(row.reviewed_at),
            comment=row.comment,
            uid=row.uid,
            details=from_json(row.details),
        )
        for row in rows
    ]


def _media_name(target: ReviewTarget) -> MediaName:
    return stored_uri(target.uri or ""), target.frame


def _media_ids(connection: Connection, targets: Sequence[ReviewTarget]) -> dict[MediaName, int]:
    media = schema.media.c
    query, uris = select(media.uri, media.frame, media.id), {_media_name(target)[0] for target in targets}
    found = {(row.uri, row.frame): row.id for row in rows_with(connection, query, media.uri, uris)}
    for target in targets:
        if _media_name(target) not in found:
            raise StoreError(
                f"there is no image {target.uri!r} (frame {target.frame}) in this store: classify it first"
            )
    return found


# -- look-ups for files of reviews: the images, boxes, events and names that a store knows ---------------------------------


def regions_of(connection: Connection, media: Iterable[MediaName]) -> dict[MediaName, list[Region | None]]:
    """Return every region that a run or a reviewer gave these images; images that are not stored are absent."""
    wanted = {(stored_uri(uri), frame): (uri, frame) for uri, frame in media}
    regions, items = schema.regions, schema.media
    query = (
        select(items.c.uri, items.c.frame, regions.c.id.label("known"), regions)
        .select_from(items.outerjoin(regions, regions.c.media == items.c.id))
        .order_by(regions.c.id)
    )
    found: dict[MediaName, list[Region | None]] = {}
    for row in rows_with(connection, query, items.c.uri, (uri for uri, _ in wanted)):
        if (row.uri, row.frame) in wanted:
            known = [region_of_row(row)] if row.known is not None else []
            found.setdefault(wanted[row.uri, row.frame], []).extend(known)
    return found


def contents_of(connection: Connection, media: Iterable[MediaName]) -> dict[MediaName, str]:
    """Return the sha256 of the files of these images as they were last read; images that were not are absent."""
    wanted = {(stored_uri(uri), frame): (uri, frame) for uri, frame in media}
    items, contents = schema.media, schema.contents
    query = select(items.c.uri, items.c.frame, contents.c.sha256).join(contents, contents.c.id == items.c.content)
    rows = rows_with(connection, query, items.c.uri, {uri for uri, _ in wanted})
    return {wanted[row.uri, row.frame]: row.sha256 for row in rows if (row.uri, row.frame) in wanted}


def items_named(connection: Connection, media: Iterable[MediaName]) -> dict[MediaName, MediaItem]:
    """Return the stored images of these names; images that are not stored are absent."""
    wanted = {(stored_uri(uri), frame): (uri, frame) for uri, frame in media}
    table = schema.media
    rows = rows_with(connection, select(table), table.c.uri, {uri for uri, _ in wanted})
    return {wanted[row.uri, row.frame]: item_of_row(row) for row in rows if (row.uri, row.frame) in wanted}


def items_of_events(connection: Connection, events: Collection[str]) -> dict[str, list[tuple[MediaItem, bool]]]:
    """Return the images of these events, by number, and whether a detector found nothing in each.

    An event is a sequence of images, or one that a rule of a run made.
    """
    names, media, listed = set(map(clean_text, events)), schema.media, schema.listing.c
    query = select(media.c.id, media.c.sequence.label("event"))
    of_event = {(row.event, row.id) for row in rows_with(connection, query, media.c.sequence, names)}
    decisions, regions = schema.decisions, schema.regions
    made = select(regions.c.media.label("id"), decisions.c.event).join(decisions, decisions.c.region == regions.c.id)
    of_event |= {(row.event, row.id) for row in rows_with(connection, made.distinct(), decisions.c.event, names)}
    numbers = {number for _, number in of_event}
    items = {row.id: item_of_row(row) for row in rows_with(connection, select(media), media.c.id, numbers)}
    # The newest listing of an image counts, since the later rows of a dict overwrite the earlier ones.
    query = select(listed.media, listed.stated).order_by(listed.run)
    stated = {row.media: row.stated for row in rows_with(connection, query, listed.media, numbers)}
    found: dict[str, list[tuple[MediaItem, bool]]] = {}
    for event, number in sorted(of_event):
        found.setdefault(event, []).append((items[number], stated.get(number) in EMPTY))
    return found


_EVENTS = (("media", "sequence"), ("decisions", "event"))
"""The columns with names of events, which are searched only for reviews of events."""
SEARCHED_WITHOUT_INDEXES = 50_000
"""Images up to which each search may read all rows."""


def lacks_event_indexes(connection: Connection) -> bool:
    """Return True if a store is so large that a search for events needs indexes that it does not have."""
    last = connection.execute(select(func.max(schema.media.c.id))).scalar() or 0
    if last < SEARCHED_WITHOUT_INDEXES:
        return False
    for table, column in _EVENTS:
        name = schema.PREFIX + table
        if f"ix_{name}_{column}" not in {index["name"] for index in connection.dialect.get_indexes(connection, name)}:
            return True
    return False


def make_event_indexes(connection: Connection) -> None:
    """Make the indexes by which the images of events are found; a store without reviews of events does not carry them."""
    for table, column in _EVENTS:
        name = schema.PREFIX + table
        of_column = f"ON {name} ({column}) WHERE {column} IS NOT NULL"
        connection.execute(text(f"CREATE INDEX IF NOT EXISTS ix_{name}_{column} {of_column}"))


def known_events(connection: Connection, events: Collection[str]) -> set[str]:
    """Return those of the names that a sequence of the store has, or that a rule gave to one."""
    names = {clean_text(event) for event in events}
    columns: tuple[Any, ...] = (schema.media.c.sequence, schema.decisions.c.event)
    return {row[0] for column in columns for row in rows_with(connection, select(column).distinct(), column, names)}


def taxa_named(connection: Connection, names: Collection[str]) -> list[Taxon]:
    """Return the stored taxa with one of these names, ignoring case: a binomial, a higher taxon or a common name."""
    table = schema.taxa.c
    *higher, _species, common_name, _source_id = (func.lower(table[name]) for name in NAMES)
    columns = (func.lower(table.genus + " " + table.species), *higher, common_name)
    found: dict[Taxon, None] = {}
    for chunk in chunked(sorted({clean_text(name).lower() for name in names} - {""})):
        query = select(*(table[name] for name in NAMES)).where(or_(*(column.in_(chunk) for column in columns)))
        found.update(dict.fromkeys(Taxon(*row) for row in connection.execute(query.order_by(table.id))))
    return list(found)
