"""A run's listing: items in order, each with the stored knowledge about it; changed files lose theirs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, and_, bindparam, case, delete, func, select, tuple_, update

from bioclip_plugin.items.answers import Failure
from bioclip_plugin.items.media import MediaItem, Region, Unlisted
from bioclip_plugin.store.database import schema
from bioclip_plugin.store.database.bulk import chunked, insert_new, rows_with
from bioclip_plugin.store.database.values import digest
from bioclip_plugin.store.detections import BY_DETECTOR, NOTHING_BY_DETECTOR, detection_of, is_stated
from bioclip_plugin.store.media_rows import CAPTURE, capture_of, media_key, merged, region_key
from bioclip_plugin.store.records import DONE, TODO, Listed, MediaName, Run, Stat
from bioclip_plugin.store.runs import LIST_STAGE, check, fail

NOTHING_FOUND = "nothing found"
"""The stated regions of an image in which the detector of a file found nothing."""
EMPTY = (NOTHING_FOUND, NOTHING_BY_DETECTOR)
"""The stated regions of an image in which any detector found nothing."""
Known = dict[MediaName, Row[Any]]


class _Content(NamedTuple):
    """The name of a listed item, with the content that it has in memory."""

    uri: str
    frame: int
    data: bytes | None
    image: int
    """The ``id`` of the image, or of None."""


def list_items(
    connection: Connection,
    run: Run,
    entries: Sequence[MediaItem | Unlisted],
    stats: Sequence[Stat | None],
    first_position: int,
) -> list[Listed]:
    """Add the entries to the run's listing; return the stored knowledge about each, in their order."""
    check(connection, run)
    if len(entries) != len(stats):
        raise ValueError(f"{len(entries)} items with {len(stats)} stats: give one stat (or None) per item")
    items = [entry if isinstance(entry, MediaItem) else entry.item for entry in entries]
    keys = [media_key(item) for item in items]
    first = {key: n for n, key in reversed(list(enumerate(keys)))}
    names = [_Content(*key, item.data, id(item.image)) for key, item in zip(keys, items, strict=True)]
    together = _regions(items, names)
    regions = {key: together[names[first[key]]] for key in keys}
    files = {key: stat for key, stat in reversed(list(zip(keys, stats, strict=True))) if stat is not None}
    alone = None if detection_of(run.rule_settings) is None else BY_DETECTOR
    stated = {key: _stated(regions[key], detected=items[first[key]].detected) or alone for key in regions}
    known = _known(connection, run, regions)
    changed = {key for key in known if _changed(known[key], files.get(key))}
    forget(connection, [known[key].id for key in changed])
    _write_media(connection, known, changed, {key: items[first[key]] for key in regions})
    known |= _known(connection, run, [key for key in regions if key not in known or key in changed])
    _enter(connection, run, known, stated, first_position)
    fail(connection, run, {known[key].id: failure for key in regions if (failure := _failure(entries[first[key]]))})
    known |= _known(connection, run, [key for key in regions if known[key].position is None])
    listed = []
    for n, (item, key) in enumerate(zip(items, keys, strict=True)):
        row, failure = known[key], _failure(entries[n])
        trusted = not item.is_in_memory or stats[n] is not None  # an image in hand may be another under the same name
        done = failure is None and trusted and row.status == DONE and is_stated(row.stated, stated[key])
        whole, sha256 = (merged(item, row), row.sha256) if trusted else (item, None)
        whole = replace(whole, regions=together[names[n]])
        listed.append(Listed(whole, row.id, row.position, done, sha256, failure))
    return listed


def forget(connection: Connection, media_ids: Sequence[int]) -> None:
    """Forget the knowledge about these files in every run: content, capture metadata and answers. Reviews stay.

    Features stay too: they belong to the content, which another file may share.
    """
    answers, decisions, listed, media = schema.answers, schema.decisions, schema.listing, schema.media
    for chunk in chunked(media_ids):
        regions = select(schema.regions.c.id).where(schema.regions.c.media.in_(chunk)).scalar_subquery()
        stale = select(answers.c.answer_set, answers.c.region).where(answers.c.region.in_(regions))
        delete_answers(connection, [(row[0], row[1]) for row in connection.execute(stale).all()])
        connection.execute(delete(decisions).where(decisions.c.region.in_(regions)))
        for table in (schema.listed_regions, schema.failures):
            connection.execute(delete(table).where(table.c.media.in_(chunk)))
        connection.execute(update(listed).where(listed.c.media.in_(chunk)).values(status=TODO))
        nothing = dict.fromkeys(("size", "mtime_ns", "content", *CAPTURE))
        connection.execute(update(media).where(media.c.id.in_(chunk)).values(nothing))


def delete_answers(connection: Connection, places: Iterable[tuple[int, int]]) -> None:
    """Delete answers, given as (answer set, region), and their candidates."""
    for chunk in chunked(places):
        for table in (schema.candidates, schema.answers):
            connection.execute(delete(table).where(tuple_(table.c.answer_set, table.c.region).in_(chunk)))


def _failure(entry: MediaItem | Unlisted) -> Failure | None:
    return Failure(LIST_STAGE, entry.reason) if isinstance(entry, Unlisted) else None


def _regions(items: Sequence[MediaItem], names: Sequence[_Content]) -> dict[_Content, tuple[Region, ...]]:
    """Return each item's regions as the source states them; those of a repeated item are put together."""
    regions: dict[_Content, dict[Any, Region]] = {}
    for item, name in zip(items, names, strict=True):
        together = regions.setdefault(name, {})
        for region in item.regions:
            together.setdefault(region_key(region), region)
    return {name: tuple(together.values()) for name, together in regions.items()}


def _stated(regions: Sequence[Region], *, detected: bool) -> str | None:
    if regions:
        return digest(*sorted((*region_key(region), region.classified) for region in regions))[:32]
    return NOTHING_FOUND if detected else None


def _changed(row: Row[Any], stat: Stat | None) -> bool:
    return (row.content, row.size) != (None, None) and stat is not None and (row.size, row.mtime_ns) != tuple(stat)


def _known(connection: Connection, run: Run, keys: Iterable[MediaName]) -> Known:
    """Return the stored media of these keys, each with its content's sha256 and its entry in the run's listing, if any."""
    media, listed, contents = schema.media, schema.listing, schema.contents
    query = select(media, contents.c.sha256, listed.c.position, listed.c.status, listed.c.stated).select_from(
        media.outerjoin(contents, media.c.content == contents.c.id).outerjoin(
            listed, and_(listed.c.media == media.c.id, listed.c.run == run.id)
        )
    )
    wanted = set(keys)
    rows = rows_with(connection, query, media.c.uri, (uri for uri, _ in wanted))
    return {(row.uri, row.frame): row for row in rows if (row.uri, row.frame) in wanted}


def _write_media(
    connection: Connection, known: Known, changed: set[MediaName], items: Mapping[MediaName, MediaItem]
) -> None:
    """Insert new media, and update known ones whose capture metadata the source states or changes."""
    new, updates = [], []
    cleared: dict[tuple[str, ...], list[int]] = {}
    for key, item in items.items():
        row = known.get(key)
        if row is None:
            new.append({"uri": key[0], "frame": key[1], **capture_of(item)})
        elif key in changed:
            updates.append({"media": row.id, **capture_of(item)})
        else:
            whole = capture_of(merged(item, row))
            if any(whole[name] != getattr(row, name) for name in CAPTURE):
                updates.append({"media": row.id, **whole})
            # Values of the camera, from an earlier run, that the source's own statement does not admit.
            if gone := tuple(name for name in CAPTURE if whole[name] is None and getattr(row, name) is not None):
                cleared.setdefault(gone, []).append(row.id)
    insert_new(connection, schema.media, new)
    update_media(connection, updates)
    for names, numbers in cleared.items():
        for chunk in chunked(numbers):
            connection.execute(update(schema.media).where(schema.media.c.id.in_(chunk)).values(dict.fromkeys(names)))


def update_media(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write columns of stored media; ``media`` is the number, and None leaves a column as it is."""
    if not rows:
        return
    table = schema.media
    names = [name for name in rows[0] if name != "media"]
    new = {name: bindparam("new_" + name, type_=table.c[name].type) for name in names}
    values: dict[str, Any] = {name: func.coalesce(new[name], table.c[name]) for name in names}
    if "captured_at" in new:  # the offset belongs to the time
        offset = new["utc_offset_minutes"]
        values["utc_offset_minutes"] = case((new["captured_at"].is_not(None), offset), else_=table.c.utc_offset_minutes)
    connection.execute(
        update(table).where(table.c.id == bindparam("number")).values(values),
        [{"number": row["media"], **{"new_" + name: row[name] for name in names}} for row in rows],
    )


def _enter(
    connection: Connection, run: Run, known: Known, stated: Mapping[MediaName, str | None], first_position: int
) -> None:
    """Give new items the next positions of the listing; items whose stated regions changed are to do again."""
    listed = schema.listing
    new = [key for key in stated if known[key].position is None]
    if new:
        # Locks the run, so that two writers never give one position twice.
        connection.execute(select(schema.runs.c.id).where(schema.runs.c.id == run.id).with_for_update())
        last = connection.execute(select(func.max(listed.c.position)).where(listed.c.run == run.id)).scalar() or 0
        rows = [
            {"run": run.id, "media": known[key].id, "position": position, "status": TODO, "stated": stated[key]}
            for position, key in enumerate(new, max(first_position, last + 1))
        ]
        insert_new(connection, listed, rows)
    for key, text in stated.items():
        row = known[key]
        if row.position is not None and not is_stated(row.stated, text):
            connection.execute(
                update(listed).where(listed.c.run == run.id, listed.c.media == row.id).values(stated=text, status=TODO)
            )
