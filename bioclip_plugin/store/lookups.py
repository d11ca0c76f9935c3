"""Look-ups for files of reviews: the images, boxes, events and names that a store knows."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import Connection, func, or_, select

from bioclip_core.taxonomy import Taxon
from bioclip_plugin.items.media import MediaItem, Region
from bioclip_plugin.store.database import schema
from bioclip_plugin.store.database.bulk import chunked, rows_with
from bioclip_plugin.store.database.values import clean_text, stored_uri
from bioclip_plugin.store.listing import NOTHING_FOUND
from bioclip_plugin.store.media_rows import item_of_row, region_of_row
from bioclip_plugin.store.records import MediaName
from bioclip_plugin.store.taxa import NAMES


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
            listed = found.setdefault(wanted[row.uri, row.frame], [])
            listed += [region_of_row(row)] if row.known is not None else []
    return found


def items_of_events(connection: Connection, events: Collection[str]) -> dict[str, list[tuple[MediaItem, bool]]]:
    """Return the images of these events (sequences), by number, and whether a detector found nothing in each."""
    media, listed = schema.media, schema.listing.c
    rows = list(rows_with(connection, select(media).order_by(media.c.id), media.c.sequence, map(clean_text, events)))
    query = select(listed.media, listed.stated).order_by(listed.run)
    # The newest listing of an image counts, since the later rows of a dict overwrite the earlier ones.
    stated = {row.media: row.stated for row in rows_with(connection, query, listed.media, (row.id for row in rows))}
    found: dict[str, list[tuple[MediaItem, bool]]] = {}
    for row in rows:
        found.setdefault(row.sequence, []).append((item_of_row(row), stated.get(row.id) == NOTHING_FOUND))
    return found


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
