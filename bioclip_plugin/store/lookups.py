"""What a file of reviews asks of a store: which images, boxes, events and names it knows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, func, or_, select

from bioclip_core.taxonomy import Taxon
from bioclip_plugin.items.media import MediaItem, Region
from bioclip_plugin.store.database import schema
from bioclip_plugin.store.database.bulk import chunked
from bioclip_plugin.store.database.values import clean_text, stored_uri
from bioclip_plugin.store.listing import NOTHING_FOUND
from bioclip_plugin.store.media_rows import item_of_row, region_of_row

MediaName = tuple[str, int]
"""uri and frame."""
_RANKS = ("kingdom", "phylum", "class", "order", "family", "genus")


def regions_of(connection: Connection, media: Iterable[MediaName]) -> dict[MediaName, list[Region | None]]:
    """Every region that any run or reviewer had of these images; an image that the store does not know is not in the result."""
    wanted = {(stored_uri(uri), frame): (uri, frame) for uri, frame in media}
    regions, items = schema.regions, schema.media
    query = (
        select(items.c.uri, items.c.frame, regions.c.id.label("known"), regions)
        .select_from(items.outerjoin(regions, regions.c.media == items.c.id))
        .order_by(regions.c.id)
    )
    found: dict[MediaName, list[Region | None]] = {}
    for chunk in chunked(sorted({uri for uri, _ in wanted})):
        for row in connection.execute(query.where(items.c.uri.in_(chunk))):
            name = wanted.get((row.uri, row.frame))
            if name is not None:
                listed = found.setdefault(name, [])
                if row.known is not None:
                    listed.append(region_of_row(row))
    return found


def items_of_events(connection: Connection, events: Collection[str]) -> dict[str, list[tuple[MediaItem, bool]]]:
    """The images of these events (sequences), in the order of their numbers, and whether a detector found nothing in them."""
    media = schema.media
    found: dict[str, list[tuple[MediaItem, bool]]] = {}
    for chunk in chunked(sorted({clean_text(event) for event in events})):
        rows = connection.execute(select(media).where(media.c.sequence.in_(chunk)).order_by(media.c.id)).all()
        blank = _found_nothing(connection, [row.id for row in rows])
        for row in rows:
            found.setdefault(row.sequence, []).append((item_of_row(row), row.id in blank))
    return found


def _found_nothing(connection: Connection, media: Sequence[int]) -> set[int]:
    """Those of the media in which, by the newest listing, a detector found nothing."""
    listed = schema.listing.c
    newest: dict[int, Any] = {}
    for chunk in chunked(media):
        query = select(listed.media, listed.stated).where(listed.media.in_(chunk)).order_by(listed.run)
        newest.update((row.media, row.stated) for row in connection.execute(query))
    return {number for number, stated in newest.items() if stated == NOTHING_FOUND}


def known_events(connection: Connection, events: Collection[str]) -> set[str]:
    """Those of the names that a sequence of the store has, or that a rule gave to one."""
    found: set[str] = set()
    for column in (schema.media.c.sequence, schema.decisions.c.event):
        for chunk in chunked(sorted({clean_text(event) for event in events} - found)):
            found.update(connection.execute(select(column).where(column.in_(chunk)).distinct()).scalars())
    return found


def taxa_named(connection: Connection, names: Collection[str]) -> list[Taxon]:
    """The store's taxa with one of these names, letter case ignored: a binomial, a higher taxon or a common name."""
    table = schema.taxa.c
    columns = [table[name] for name in (*_RANKS, "species", "common_name", "source_id")]
    binomial = func.lower(table.genus + " " + table.species)
    found: dict[Taxon, None] = {}
    for chunk in chunked(sorted({clean_text(name).lower() for name in names} - {""})):
        named = [func.lower(table[name]).in_(chunk) for name in (*_RANKS, "common_name")]
        for row in connection.execute(select(*columns).where(or_(binomial.in_(chunk), *named)).order_by(table.id)):
            found[Taxon(*row)] = None
    return list(found)
