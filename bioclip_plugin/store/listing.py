"""A run's listing: items in order, each with the stored knowledge about it; changed files lose theirs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, and_, select

from bioclip_plugin.items.answers import Failure
from bioclip_plugin.items.media import MediaItem, Region, Unlisted, place_of
from bioclip_plugin.store.database import schema
from bioclip_plugin.store.database.bulk import (
    chunked,
    execute,
    insert_fresh,
    insert_new,
    insert_numbered,
    keys_parameter,
    rows_with,
    update_present,
)
from bioclip_plugin.store.database.values import digest
from bioclip_plugin.store.detections import BY_DETECTOR, NOTHING_BY_DETECTOR, detection_of, is_stated
from bioclip_plugin.store.media_rows import CAPTURE, capture_of, media_key, merged, region_key
from bioclip_plugin.store.records import DONE, TODO, Listed, MediaName, Run, Stat
from bioclip_plugin.store.runs import LIST_STAGE, check, fail

NOTHING_FOUND = "nothing found"
"""The stated regions of an image in which the detector of a file found nothing."""
EMPTY = (NOTHING_FOUND, NOTHING_BY_DETECTOR)
"""The stated regions of an image in which any detector found nothing."""
_MEDIA = ("uri", "frame", *CAPTURE)
_LISTING = ("run", "media", "position", "status", "stated")


@dataclass(slots=True)
class _Medium:
    """The stored knowledge about one image, with its entry in the run's listing, if any."""

    id: int
    row: Row[Any] | None = None
    """None for an image that is new."""
    position: int | None = None
    status: int | None = None
    stated: str | None = None


Known = dict[MediaName, _Medium]


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
    check(connection, run, alone=True)
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
    changed = {key for key in known if _changed(known[key].row, files.get(key))}
    forget(connection, [known[key].id for key in changed])
    known |= _write_media(connection, run, known, changed, {key: items[first[key]] for key in regions})
    if changed:
        known |= _known(connection, run, changed)
    _enter(connection, run, known, stated, first_position)
    fail(connection, run, {known[key].id: failure for key in regions if (failure := _failure(entries[first[key]]))})
    listed = []
    for n, (item, key) in enumerate(zip(items, keys, strict=True)):
        medium, failure = known[key], _failure(entries[n])
        assert medium.position is not None
        trusted = not item.is_in_memory or stats[n] is not None  # an image in hand may be another under the same name
        done = failure is None and trusted and medium.status == DONE and is_stated(medium.stated, stated[key])
        whole, sha256 = _whole(item, medium.row) if trusted else (item, None)
        if whole.regions != together[names[n]]:
            whole = replace(whole, regions=together[names[n]])
        listed.append(Listed(whole, medium.id, medium.position, done, sha256, failure))
    return listed


def _whole(item: MediaItem, row: Row[Any] | None) -> tuple[MediaItem, str | None]:
    """Return an item completed from the store, and the sha256 of its content if that is known."""
    if row is not None:
        return merged(item, row), row.sha256
    place = place_of(item)
    return item if place is item.place else replace(item, place=place), None


def forget(connection: Connection, media_ids: Sequence[int]) -> None:
    """Forget the knowledge about these files in every run: content, capture metadata and answers. Reviews stay.

    Features stay too: they belong to the content, which another file may share.
    """
    for chunk in chunked(media_ids):
        media = keys_parameter(connection, chunk)
        regions = f"SELECT id FROM {schema.regions.name} WHERE media {{keys}}"
        stale = execute(
            connection, f"SELECT answer_set, region FROM {schema.answers.name} WHERE region IN ({regions})", media
        )
        delete_answers(connection, [(row[0], row[1]) for row in stale.all()])
        execute(connection, f"DELETE FROM {schema.decisions.name} WHERE region IN ({regions})", media)
        for table in (schema.listed_regions, schema.failures):
            execute(connection, f"DELETE FROM {table.name} WHERE media {{keys}}", media)
        execute(connection, f"UPDATE {schema.listing.name} SET status = {TODO} WHERE media {{keys}}", media)
        nothing = ", ".join(f'"{name}" = NULL' for name in ("size", "mtime_ns", "content", *CAPTURE))
        execute(connection, f"UPDATE {schema.media.name} SET {nothing} WHERE id {{keys}}", media)


def delete_answers(connection: Connection, places: Iterable[tuple[int, int]]) -> None:
    """Delete answers, given as (answer set, region), and their candidates."""
    of_set: dict[int, list[int]] = {}
    for number, region in places:
        of_set.setdefault(number, []).append(region)
    for number, regions in of_set.items():
        for chunk in chunked(regions):
            keys = keys_parameter(connection, chunk)
            for table in (schema.candidates, schema.answers):
                execute(connection, f"DELETE FROM {table.name} WHERE answer_set = ? AND region {{keys}}", number, keys)


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


def _changed(row: Row[Any] | None, stat: Stat | None) -> bool:
    return (
        row is not None
        and (row.content, row.size) != (None, None)
        and stat is not None
        and (row.size, row.mtime_ns) != tuple(stat)
    )


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
    return {
        (row.uri, row.frame): _Medium(row.id, row, row.position, row.status, row.stated)
        for row in rows
        if (row.uri, row.frame) in wanted
    }


def _write_media(
    connection: Connection, run: Run, known: Known, changed: set[MediaName], items: Mapping[MediaName, MediaItem]
) -> Known:
    """Insert new media and return them; update known ones whose capture metadata the source states or changes."""
    updates: list[tuple[Any, ...]] = []
    cleared: dict[tuple[str, ...], list[int]] = {}
    for key, item in items.items():
        medium = known.get(key)
        if medium is None:
            continue
        if key in changed:
            updates.append((*capture_of(item), medium.id))
            continue
        assert medium.row is not None
        whole = dict(zip(CAPTURE, capture_of(merged(item, medium.row)), strict=True))
        if any(whole[name] != getattr(medium.row, name) for name in CAPTURE):
            updates.append((*whole.values(), medium.id))
        # Values of the camera, from an earlier run, that the source's own statement does not admit.
        if gone := tuple(name for name in CAPTURE if whole[name] is None and getattr(medium.row, name) is not None):
            cleared.setdefault(gone, []).append(medium.id)
    update_media(connection, CAPTURE, updates)
    for names, numbers in cleared.items():
        to_null = ", ".join(f'"{name}" = NULL' for name in names)
        media = keys_parameter(connection, numbers)
        execute(connection, f"UPDATE {schema.media.name} SET {to_null} WHERE id {{keys}}", media)
    rows = {key: (*key, *capture_of(item)) for key, item in items.items() if key not in known}
    new = insert_numbered(connection, schema.media, _MEDIA, rows)
    found = {key: _Medium(number) for key, number in new.items()}
    if len(new) < len(rows):  # another program was faster
        found |= _known(connection, run, rows.keys() - new.keys())
    return found


def update_media(connection: Connection, names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    """Write columns of stored media; the last value is the number, and None leaves a column as it is."""
    # The offset belongs to the time.
    offset = (
        'CASE WHEN given."captured_at" IS NOT NULL THEN given."utc_offset_minutes" '
        f'ELSE {schema.media.name}."utc_offset_minutes" END'
    )
    update_present(connection, schema.media, (*names, "id"), rows, {"utc_offset_minutes": offset})


def _enter(
    connection: Connection, run: Run, known: Known, stated: Mapping[MediaName, str | None], first_position: int
) -> None:
    """Give new items the next positions of the listing; items whose stated regions changed are to do again.

    The run is locked (``check``), so that two writers never give one position twice.
    """
    name = schema.listing.name
    new = [key for key in stated if known[key].position is None]
    if new:
        last = execute(connection, f"SELECT coalesce(max(position), 0) FROM {name} WHERE run = ?", run.id).scalar_one()
        for position, key in enumerate(new, max(first_position, last + 1)):
            medium = known[key]
            medium.position, medium.status, medium.stated = position, TODO, stated[key]
        rows = [(run.id, known[key].id, known[key].position, TODO, stated[key]) for key in new]
        # Nobody else lists into the run meanwhile.
        for part in insert_fresh(connection, [(schema.listing, _LISTING, rows)]):
            insert_new(connection, *part)
    for key, text in stated.items():
        medium = known[key]
        if not is_stated(medium.stated, text):
            update = f"UPDATE {name} SET stated = ?, status = {TODO} WHERE run = ? AND media = ?"
            execute(connection, update, text, run.id, medium.id)
            medium.stated, medium.status = text, TODO
