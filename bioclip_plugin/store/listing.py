"""A run's listing: items put down in order, and what the store knows of each already; changed files are forgotten."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, func, select, tuple_, update

from bioclip_plugin.items.answers import Failure
from bioclip_plugin.items.media import MediaItem, Region, Unlisted
from bioclip_plugin.store.database import schema
from bioclip_plugin.store.database.bulk import chunked, insert_new, upsert
from bioclip_plugin.store.database.values import digest, now
from bioclip_plugin.store.media_rows import CAPTURE, MediaKey, capture_of, media_key, merged, region_key
from bioclip_plugin.store.records import Listed, Run, Stat
from bioclip_plugin.store.runs import LIST_STAGE

DONE, FAILED = 1, 2
NOTHING_FOUND = "nothing found"
"""What is stated of an image that a detector looked at without finding anything."""
Known = dict[MediaKey, Row[Any]]


def list_items(
    connection: Connection,
    run: Run,
    entries: Sequence[MediaItem | Unlisted],
    stats: Sequence[Stat | None],
    first_position: int,
) -> list[Listed]:
    """Put the entries down in the run's listing and say what is known of each, in their order."""
    if len(entries) != len(stats):
        raise ValueError(f"{len(entries)} items with {len(stats)} stats: one stat (or None) an item")
    items = [entry if isinstance(entry, MediaItem) else entry.item for entry in entries]
    keys = [media_key(item) for item in items]
    regions = _stated_regions(items, keys)
    first: dict[MediaKey, int] = {}
    for n, key in enumerate(keys):
        first.setdefault(key, n)
    stated = {key: _stated(regions[key], detected=items[n].detected) for key, n in first.items()}
    known = _known(connection, run, first)
    changed = {key for key, n in first.items() if key in known and _changed(known[key], stats[n])}
    if changed:
        forget(connection, [known[key].id for key in changed])
    _put_down(connection, known, changed, {key: items[n] for key, n in first.items()})
    known |= _known(connection, run, [key for key in first if key not in known or key in changed])
    failed = {key: entries[n] for key, n in first.items() if isinstance(entries[n], Unlisted)}
    _enter(connection, run, known, stated, first_position, failed)
    known |= _known(connection, run, [key for key in first if known[key].position is None])
    listed = []
    for n, (item, key, entry) in enumerate(zip(items, keys, entries, strict=True)):
        row = known[key]
        trusted = item.data is None or stats[n] is not None  # bytes in hand may be others under the same name
        done = trusted and row.status == DONE and row.stated == stated[key]
        failure = Failure(LIST_STAGE, entry.reason) if isinstance(entry, Unlisted) else None
        whole = replace(merged(item, row), regions=regions[key])
        sha256 = row.sha256 if trusted else None
        repeated = first[key] != n
        listed.append(Listed(whole, row.id, row.position, done and failure is None, sha256, repeated, failure))
    return listed


def forget(connection: Connection, media_ids: Sequence[int]) -> None:
    """Forget what these files held: content, capture metadata and answers, in every run. Reviews stay.

    The features stay too: they belong to the content, which another file may share.
    """
    answered = schema.answers.c
    for chunk in chunked(media_ids):
        regions = select(schema.regions.c.id).where(schema.regions.c.media.in_(chunk)).scalar_subquery()
        stale = connection.execute(
            select(answered.answer_set, answered.region).where(answered.region.in_(regions))
        ).all()
        delete_answers(connection, [(row.answer_set, row.region) for row in stale])
        connection.execute(delete(schema.decisions).where(schema.decisions.c.region.in_(regions)))
        for table in (schema.listed_regions, schema.failures):
            connection.execute(delete(table).where(table.c.media.in_(chunk)))
        connection.execute(update(schema.listing).where(schema.listing.c.media.in_(chunk)).values(status=0))
        nothing = dict.fromkeys(["size", "mtime_ns", "content", *CAPTURE])
        connection.execute(update(schema.media).where(schema.media.c.id.in_(chunk)).values(**nothing))


def delete_answers(connection: Connection, places: Iterable[tuple[int, int]]) -> None:
    """Remove answers, given as (answer set, region), and their candidates."""
    for chunk in chunked(places):
        for table in (schema.candidates, schema.answers):
            connection.execute(delete(table).where(tuple_(table.c.answer_set, table.c.region).in_(chunk)))


def _stated_regions(items: Sequence[MediaItem], keys: Sequence[MediaKey]) -> dict[MediaKey, tuple[Region, ...]]:
    """Each item's regions as the source gave them; those of an item that is listed twice are taken together."""
    regions: dict[MediaKey, tuple[Region, ...]] = {}
    for item, key in zip(items, keys, strict=True):
        earlier = regions.get(key, ())
        there = {region_key(region) for region in earlier}
        regions[key] = earlier + tuple(region for region in item.regions if region_key(region) not in there)
    return regions


def _stated(regions: Sequence[Region], *, detected: bool) -> str | None:
    if regions:
        return digest(*sorted((*region_key(region), region.classified) for region in regions))[:32]
    return NOTHING_FOUND if detected else None


def _changed(row: Row[Any], stat: Stat | None) -> bool:
    known = row.content is not None or row.size is not None
    return known and stat is not None and (row.size, row.mtime_ns) != tuple(stat)


def _known(connection: Connection, run: Run, keys: Iterable[MediaKey]) -> Known:
    """The media rows of these keys, each with its content's sha256 and its place in the run's listing, if any."""
    wanted = set(keys)
    media, listed = schema.media, schema.listing
    query = select(media, schema.contents.c.sha256, listed.c.position, listed.c.status, listed.c.stated).select_from(
        media.outerjoin(schema.contents, media.c.content == schema.contents.c.id).outerjoin(
            listed, and_(listed.c.media == media.c.id, listed.c.run == run.id)
        )
    )
    found: Known = {}
    for chunk in chunked(sorted({uri for uri, _ in wanted})):
        for row in connection.execute(query.where(media.c.uri.in_(chunk))):
            if (row.uri, row.frame) in wanted:
                found[row.uri, row.frame] = row
    return found


def _put_down(connection: Connection, known: Known, changed: set[MediaKey], items: dict[MediaKey, MediaItem]) -> None:
    """Insert media that are new, and what the source says of known ones where that is new."""
    new, says = [], []
    for key, item in items.items():
        stated = capture_of(item)
        row = known.get(key)
        if row is None:
            new.append({"uri": key[0], "frame": key[1], **stated})
        elif key in changed:
            says.append({"media": row.id, **stated})
        else:
            whole = capture_of(merged(item, row))
            if any(whole[name] != getattr(row, name) for name in CAPTURE):
                says.append({"media": row.id, **whole})
    insert_new(connection, schema.media, new)
    upsert_media(connection, says)


def upsert_media(connection: Connection, rows: list[dict[str, Any]]) -> None:
    """Write columns of known media; ``media`` is the number, None leaves a column as it is."""
    if not rows:
        return
    from sqlalchemy import bindparam

    table = schema.media
    names = [name for name in rows[0] if name != "media"]
    values = {name: func.coalesce(bindparam("new_" + name, type_=table.c[name].type), table.c[name]) for name in names}
    statement = update(table).where(table.c.id == bindparam("number")).values(values)
    parameters = [{"number": row["media"], **{"new_" + name: row[name] for name in names}} for row in rows]
    connection.execute(statement, parameters)


def _enter(
    connection: Connection,
    run: Run,
    known: Known,
    stated: dict[MediaKey, str | None],
    first_position: int,
    failed: dict[MediaKey, MediaItem | Unlisted],
) -> None:
    listed = schema.listing
    new = [key for key in stated if known[key].position is None]
    if new:
        # One writer at a time counts on, so that no position is given twice.
        connection.execute(select(schema.runs.c.id).where(schema.runs.c.id == run.id).with_for_update())
        last = connection.execute(select(func.max(listed.c.position)).where(listed.c.run == run.id)).scalar() or 0
        start = max(first_position, last + 1)
        rows = [
            {"run": run.id, "media": known[key].id, "position": start + n, "status": 0, "stated": stated[key]}
            for n, key in enumerate(new)
        ]
        insert_new(connection, listed, rows)
    for key, said in stated.items():
        row = known[key]
        if row.position is not None and row.stated != said:
            here = and_(listed.c.run == run.id, listed.c.media == row.id)
            connection.execute(update(listed).where(here).values(stated=said, status=0))
    _fail(
        connection, run, {known[key].id: entry.reason for key, entry in failed.items() if isinstance(entry, Unlisted)}
    )


def _fail(connection: Connection, run: Run, reasons: dict[int, str]) -> None:
    if not reasons:
        return
    moment = now()
    rows = [
        {"run": run.id, "media": media, "stage": LIST_STAGE, "reason": reason, "failed_at": moment, "attempts": 1}
        for media, reason in reasons.items()
    ]
    upsert(connection, schema.failures, rows, changing={"attempts": schema.failures.c.attempts + 1})
    here = and_(schema.listing.c.run == run.id, schema.listing.c.media.in_(list(reasons)))
    connection.execute(update(schema.listing).where(here).values(status=FAILED))
