"""Reviews: what a person said of an image, a region or an event. Written once, never by a machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, select

from bioclip_core.errors import StoreError
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.items.verdicts import REVIEW_VERDICTS, ReviewVerdict
from bioclip_plugin.store.database import schema
from bioclip_plugin.store.database.bulk import chunked, insert_new
from bioclip_plugin.store.database.values import from_json, moment_of, moment_text, now, stored_uri, to_json
from bioclip_plugin.store.media_rows import MediaKey, RegionKey, region_ids, region_key, region_of_row
from bioclip_plugin.store.reading import PAGE
from bioclip_plugin.store.records import TARGET_KINDS, Review, ReviewTarget, StatedReview
from bioclip_plugin.store.taxa import Key, TaxonCache


def check_review(target: ReviewTarget, verdict: ReviewVerdict, taxon: Taxon | None, reviewer: str) -> None:
    """See that a review says something that can be stored.

    Raises:
        StoreError: naming what is missing or one too many.
    """
    if target.kind not in TARGET_KINDS:
        raise StoreError(f"a review of {target.kind!r}: allowed are {', '.join(TARGET_KINDS)}")
    if verdict not in REVIEW_VERDICTS:
        raise StoreError(f"the verdict {verdict!r}: allowed are {', '.join(REVIEW_VERDICTS)}")
    if (verdict == "taxon") != (taxon is not None):
        raise StoreError(f"the verdict {verdict!r} {'needs a taxon' if verdict == 'taxon' else 'takes no taxon'}")
    if not reviewer.strip():
        raise StoreError("a review needs the reviewer's name")
    if target.kind == "event" and not target.event:
        raise StoreError("a review of an event needs the event's name")
    if target.kind != "event" and not target.uri:
        raise StoreError(f"a review of a {target.kind} needs the image's uri")


def add_all(connection: Connection, said: Sequence[StatedReview], cache: TaxonCache) -> tuple[dict[str, int], int]:
    """Insert reviews, leaving those alone whose ``uid`` is there already; the numbers of all by ``uid``, and how many are new.

    Raises:
        StoreError: for an image that is not in the store; then nothing is to be kept.
    """
    known = _numbers(connection, [one.uid for one in said])
    first: dict[str, StatedReview] = {}
    for one in said:
        if one.uid not in known:
            first.setdefault(one.uid, one)
    fresh = list(first.values())
    media = _media_ids(connection, [one.target for one in fresh if one.target.kind != "event"])
    places = {
        (media[_media_key(one.target)], region_key(one.target.region)): one.target.region
        for one in fresh
        if one.target.kind == "region"
    }
    regions = region_ids(connection, places)
    taxa = cache.ids(connection, {_taxon_key(one.taxon) for one in fresh if one.taxon})
    rows = [_row(one, media, regions, taxa) for one in fresh]
    insert_new(connection, schema.reviews, rows)
    return known | _numbers(connection, [one.uid for one in fresh]), len(fresh)


def _row(
    said: StatedReview,
    media: Mapping[MediaKey, int],
    regions: Mapping[tuple[int, RegionKey], int],
    taxa: Mapping[Key, int],
) -> dict[str, Any]:
    target = said.target
    number = None if target.kind == "event" else media[_media_key(target)]
    region = None
    if target.kind == "region" and number is not None:
        region = regions[number, region_key(target.region)]
    return {
        "uid": said.uid,
        "kind": target.kind,
        "media": number,
        "region": region,
        "event": target.event if target.kind == "event" else None,
        "verdict": said.verdict,
        "taxon": taxa[_taxon_key(said.taxon)] if said.taxon else None,
        "reviewer": said.reviewer,
        "reviewed_at": moment_text(said.reviewed_at) if said.reviewed_at else now(),
        "comment": said.comment,
        "details": to_json(said.details) if said.details else None,
    }


def _numbers(connection: Connection, uids: Iterable[str]) -> dict[str, int]:
    """The reviews that are stored under these texts."""
    table = schema.reviews.c
    found: dict[str, int] = {}
    for chunk in chunked(uids):
        rows = connection.execute(select(table.uid, table.id).where(table.uid.in_(chunk)))
        found.update({row.uid: row.id for row in rows})
    return found


def page(connection: Connection, after: int, cache: TaxonCache) -> tuple[list[Review], int]:
    """The next reviews behind the number ``after``, oldest first, and the last one's number."""
    query = _joined().where(schema.reviews.c.id > after).order_by(schema.reviews.c.id).limit(PAGE)
    rows = connection.execute(query).all()
    return _reviews(connection, rows, cache), rows[-1].id if rows else after


def of_media(
    connection: Connection, media: Sequence[tuple[str, int]], cache: TaxonCache
) -> dict[tuple[str, int], list[Review]]:
    """Reviews of these images (uri and frame) and their regions, oldest first; an image without one is not in the result."""
    wanted = {(stored_uri(uri), frame): (uri, frame) for uri, frame in media}
    found: dict[tuple[str, int], list[Review]] = {}
    for chunk in chunked(sorted({uri for uri, _ in wanted})):
        query = _joined(of_media=True).where(schema.media.c.uri.in_(chunk)).order_by(schema.reviews.c.id)
        rows = [row for row in connection.execute(query) if (row.uri, row.frame) in wanted]
        for row, review in zip(rows, _reviews(connection, rows, cache), strict=True):
            found.setdefault(wanted[row.uri, row.frame], []).append(review)
    return found


def _joined(*, of_media: bool = False) -> Select[Any]:
    """Reviews with their images and regions.

    Args:
        of_media: only those of images: then the query begins at the images that are asked for, not at all reviews.
    """
    reviews, media, regions = schema.reviews, schema.media, schema.regions
    columns = [regions.c[name] for name in "x y w h detector detector_version category confidence".split()]
    whole = reviews.c.media == media.c.id
    found = media.join(reviews, whole) if of_media else reviews.outerjoin(media, whole)
    joined = found.outerjoin(regions, reviews.c.region == regions.c.id)
    return select(reviews, media.c.uri, media.c.frame, *columns).select_from(joined)


def _reviews(connection: Connection, rows: Sequence[Row[Any]], cache: TaxonCache) -> list[Review]:
    taxa = cache.taxa(connection, [row.taxon for row in rows if row.taxon is not None])
    return [_review(row, taxa[row.taxon][0] if row.taxon is not None else None) for row in rows]


def _review(row: Row[Any], taxon: Taxon | None) -> Review:
    region = region_of_row(row) if row.kind == "region" else None
    target = ReviewTarget(row.kind, row.uri, row.frame or 0, region, row.event)
    moment, details = moment_of(row.reviewed_at), from_json(row.details)
    return Review(row.id, target, row.verdict, taxon, row.reviewer, moment, row.comment, row.uid, details)


def _media_key(target: ReviewTarget) -> MediaKey:
    return stored_uri(target.uri or ""), target.frame


def _media_ids(connection: Connection, targets: Sequence[ReviewTarget]) -> dict[MediaKey, int]:
    media = schema.media.c
    query = select(media.uri, media.frame, media.id)
    found: dict[MediaKey, int] = {}
    for chunk in chunked(sorted({_media_key(target)[0] for target in targets})):
        found.update({(row.uri, row.frame): row.id for row in connection.execute(query.where(media.uri.in_(chunk)))})
    for target in targets:
        if _media_key(target) not in found:
            raise StoreError(
                f"there is no image {target.uri!r} (frame {target.frame}) in this store: classify it first"
            )
    return found


def _taxon_key(taxon: Taxon) -> Key:
    rank = taxon.rank
    return taxon, schema.RANK_CODES.index(rank.value if rank else "label")
