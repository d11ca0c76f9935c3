"""Removal of rows that no run and no review needs, for a few hundred media or contents at a time.

A run needs the regions, answers, decisions and features of its listed regions. Media that it has still to do need every answer
and feature that exists, since a program may be about to use them. Reviews need their media, regions and events.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from operator import eq
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, Row, Table, and_, delete, exists, func, select, text

from bioclip_core.errors import StoreError
from bioclip_plugin.store.audit import audited
from bioclip_plugin.store.database import schema
from bioclip_plugin.store.database.bulk import chunked, rows_with
from bioclip_plugin.store.database.connection import Database
from bioclip_plugin.store.database.values import from_json
from bioclip_plugin.store.detections import detection_of, detector_numbers
from bioclip_plugin.store.listing import EMPTY
from bioclip_plugin.store.records import DONE
from bioclip_plugin.store.runs import HIDDEN

MEDIA_AT_ONCE = 500  # media in one transaction, which takes some tens of milliseconds

# The foreign keys that rows are looked up by when the row they refer to goes. They are made when rows are first removed, so
# that a store in which nothing is ever removed does not carry them.
_INDEXES = (
    ("media", "content"),
    ("features", "content"),
    ("detections", "content"),
    ("listed_regions", "region"),
    ("decisions", "taxon"),
    ("reviews", "region"),
    ("reviews", "taxon"),
    ("reviews", "event"),
)


COUNTED_WITHOUT_INDEXES = 50_000
"""A dry run over as many images makes the indexes first. They change no result."""


class Layers(NamedTuple):
    """Numbers of the layers of a run."""

    decisions: int
    answers: int
    features: int
    detectors: int | None = None
    """The number of its detector, if it has one and that has stored boxes."""


@dataclass(frozen=True, slots=True)
class Cleaning:
    """A removal: the runs that remain, and the rows removed so far, by table."""

    remaining: dict[int, Layers]
    removes: bool = True
    """False counts only."""
    walked: int = 0
    """The last media of this batch, when rows are only counted."""
    rows: Counter[str] = field(default_factory=Counter)

    def delete(self, connection: Connection, table: Table, *where: Any, count: int | None = None) -> None:
        """Delete rows, or count them only."""
        name = table.name.removeprefix(schema.PREFIX)
        if self.removes:
            self.rows[name] += connection.execute(delete(table).where(*where)).rowcount
        elif count is not None:
            self.rows[name] += count


def make_indexes(connection: Connection) -> None:
    """Make the indexes by which the rows that refer to a removed row are found."""
    for table, column in _INDEXES:
        name = schema.PREFIX + table
        connection.execute(text(f"CREATE INDEX IF NOT EXISTS ix_{name}_{column} ON {name} ({column})"))


def make_indexes_to_count(database: Database, images: int) -> None:
    """Make these indexes for a large dry run too, if the store can be written: without them, each page reads all images."""
    if images >= COUNTED_WITHOUT_INDEXES and not database.read(has_indexes):
        with suppress(StoreError):  # a store that can only be read is counted slowly
            database.remove(make_indexes)


def has_indexes(connection: Connection) -> bool:
    """Return True if the indexes of :func:`make_indexes` exist."""
    found = {
        index["name"]
        for table in {table for table, _ in _INDEXES}
        for index in connection.dialect.get_indexes(connection, schema.PREFIX + table)
    }
    return all(f"ix_{schema.PREFIX}{table}_{column}" in found for table, column in _INDEXES)


def remaining_runs(connection: Connection, without: Collection[int] = ()) -> dict[int, Layers]:
    """Return the layers of the runs that are not deleted, nor among those given."""
    runs, decisions, answers = schema.runs.c, schema.decision_sets.c, schema.answer_sets.c
    query = (
        select(runs.id, decisions.id, answers.id, answers.feature_set, decisions.settings)
        .select_from(
            schema.runs.join(schema.decision_sets, runs.decision_set == decisions.id).join(
                schema.answer_sets, decisions.answer_set == answers.id
            )
        )
        .where(runs.status.not_in(HIDDEN))
    )
    detectors = detector_numbers(connection)

    def layers(numbers: Sequence[int], settings: str) -> Layers:
        detection = detection_of(from_json(settings)) if detectors else None
        decisions, answers, features = numbers
        number = None if detection is None else detectors.get(detection["detector_id"])
        return Layers(decisions, answers, features, number)

    return {row[0]: layers(row[1:4], row[4]) for row in connection.execute(query) if row[0] not in without}


def clean_media(connection: Connection, cleaning: Cleaning, media: Sequence[int], *, contents: bool = True) -> None:
    """Remove everything of these media, at most ``MEDIA_AT_ONCE``, that no remaining run and no review needs.

    Args:
        contents: False leaves their contents and features to another call.
    """
    if not media:
        return
    found = _Found(connection, cleaning.remaining, media)
    stale_answers = found.stale_answers()
    stale_decisions = found.stale_decisions()
    regions = found.stale_regions(stale_answers, stale_decisions)
    stale_media = found.stale_media(regions)
    for number, places in _by_first(stale_answers):
        for chunk in chunked(places):
            here = schema.candidates.c
            where = (here.answer_set == number, here.region.in_(chunk))
            count = None if cleaning.removes else _count(connection, schema.candidates, *where)
            cleaning.delete(connection, schema.candidates, *where, count=count)
            mine = schema.answers.c
            cleaning.delete(
                connection, schema.answers, mine.answer_set == number, mine.region.in_(chunk), count=len(chunk)
            )
    for number, places in _by_first(stale_decisions):
        for chunk in chunked(places):
            made = schema.decisions.c
            cleaning.delete(
                connection, schema.decisions, made.decision_set == number, made.region.in_(chunk), count=len(chunk)
            )
    _clean_listings(connection, cleaning, found)
    for chunk in chunked(sorted(found.audited & stale_media)):
        cleaning.delete(connection, schema.audit_items, schema.audit_items.c.media.in_(chunk), count=len(chunk))
    for table, stale in ((schema.regions, regions), (schema.media, stale_media)):
        for chunk in chunked(sorted(stale)):
            cleaning.delete(connection, table, table.c.id.in_(chunk), count=len(chunk))
    if contents:
        numbers = {row.content for row in found.media.values() if row.content is not None}
        clean_contents(connection, cleaning, numbers)


def clean_contents(connection: Connection, cleaning: Cleaning, contents: Collection[int]) -> None:
    """Remove the features and boxes of these contents that no remaining run needs, and contents that no media have."""
    table = schema.features.c
    keys = list(schema.features.primary_key.columns)
    numbers = connection.execute(select(schema.feature_sets.c.id)).scalars().all()
    for chunk in chunked(sorted(contents)):
        needed = _NeededFeatures(connection, cleaning, chunk)
        for number in numbers:
            query = select(*keys).where(table.feature_set == number, table.content.in_(needed.countable))
            stored = [tuple(row) for row in connection.execute(query)]
            kept = {key[1] for key in stored if needed.is_needed(*key)}
            whole = [key[1] for key in stored if key[1] not in kept]
            where = (table.feature_set == number, table.content.in_(sorted(set(whole))))
            if whole:
                cleaning.delete(connection, schema.features, *where, count=len(whole))
            for key in stored:
                if key[1] in kept and not needed.is_needed(*key):
                    cleaning.delete(connection, schema.features, *map(eq, keys, key), count=1)
        here = schema.detections.c
        boxes = select(here.detector_set, here.content).where(here.content.in_(needed.countable))
        stale = [(row[0], row[1]) for row in connection.execute(boxes) if (row[0], row[1]) not in needed.detected]
        for number, gone in _by_first(stale):
            where = (here.detector_set == number, here.content.in_(gone))
            cleaning.delete(connection, schema.detections, *where, count=len(gone))
        unused = sorted(needed.countable - needed.used)
        if unused:
            cleaning.delete(connection, schema.contents, schema.contents.c.id.in_(unused), count=len(unused))


def clean_sets(connection: Connection, cleaning: Cleaning) -> None:
    """Remove feature, answer and decision sets without rows and runs, and detectors likewise."""
    runs, decided, answered = schema.runs.c, schema.decisions.c, schema.answers.c
    sets = schema.decision_sets.c
    for table, *users in (
        (schema.decision_sets, runs.decision_set == sets.id, decided.decision_set == sets.id),
        (
            schema.answer_sets,
            sets.answer_set == schema.answer_sets.c.id,
            answered.answer_set == schema.answer_sets.c.id,
            schema.candidates.c.answer_set == schema.answer_sets.c.id,
        ),
        (
            schema.feature_sets,
            schema.answer_sets.c.feature_set == schema.feature_sets.c.id,
            schema.features.c.feature_set == schema.feature_sets.c.id,
        ),
    ):
        assert isinstance(table, Table)
        unused = and_(*(~exists().where(user).correlate(table) for user in users))
        for number in connection.execute(select(table.c.id).where(unused)).scalars().all():
            cleaning.delete(connection, table, table.c.id == number, count=1)
    used = {layers.detectors for layers in cleaning.remaining.values()}
    found = (
        exists().where(schema.detections.c.detector_set == schema.detector_sets.c.id).correlate(schema.detector_sets)
    )
    for number in connection.execute(select(schema.detector_sets.c.id).where(~found)).scalars().all():
        if number not in used:
            cleaning.delete(connection, schema.detector_sets, schema.detector_sets.c.id == number, count=1)


class _Found:
    """Everything stored about some media."""

    def __init__(self, connection: Connection, remaining: dict[int, Layers], media: Sequence[int]) -> None:
        table, regions, reviews = schema.media.c, schema.regions.c, schema.reviews.c
        self.media = {
            row.id: row
            for row in rows_with(connection, select(table.id, table.content, table.sequence), table.id, media)
        }
        self.regions: dict[int, int] = {
            row.id: row.media for row in rows_with(connection, select(regions.id, regions.media), regions.media, media)
        }
        listed, here, failed = schema.listing.c, schema.listed_regions.c, schema.failures.c
        self.listing = list(rows_with(connection, select(schema.listing), listed.media, media))
        self.listed = list(rows_with(connection, select(schema.listed_regions), here.media, media))
        self.failures = list(rows_with(connection, select(failed.run, failed.media), failed.media, media))
        made, answered = schema.decisions.c, schema.answers.c
        decisions = select(made.decision_set, made.region, made.event)
        self.decisions = list(rows_with(connection, decisions, made.region, self.regions))
        answers = select(answered.answer_set, answered.region)
        self.answers = list(rows_with(connection, answers, answered.region, self.regions))
        names = {row.sequence for row in self.media.values() if row.sequence} | {
            row.event for row in self.decisions if row.event
        }
        query = select(reviews.event).where(reviews.kind == "event").distinct()
        self.events = {row.event for row in rows_with(connection, query, reviews.event, names)}
        rows = list(rows_with(connection, select(reviews.media, reviews.region), reviews.media, media))
        self.reviewed = {row.media for row in rows} | {
            number for number, row in self.media.items() if row.sequence in self.events
        }
        self.reviewed |= {self.regions[row.region] for row in self.decisions if row.event in self.events}
        self.reviewed_regions = {row.region for row in rows if row.region is not None}
        self.remaining = remaining
        self.audited = audited(connection, media)
        """Those of the audit sample; they go with their image."""

    def kept_listing(self, row: Row[Any]) -> bool:
        """Return True if an entry of a listing is needed, also that a detector found nothing in an image of a reviewed event."""
        return row.run in self.remaining or (row.stated in EMPTY and self.media[row.media].sequence in self.events)

    def _used(self, layer: Literal[0, 1]) -> set[tuple[int, int]]:
        return {(self.remaining[row.run][layer], row.region) for row in self.listed if row.run in self.remaining}

    def _open(self, layer: Literal[0, 1]) -> set[tuple[int, int]]:
        """Return the (set, media) that a run has still to do."""
        return {
            (self.remaining[row.run][layer], row.media)
            for row in self.listing
            if row.run in self.remaining and row.status != DONE
        }

    def stale_answers(self) -> set[tuple[int, int]]:
        """Return the answers, as (set, region), that no remaining run needs."""
        used, to_do = self._used(1), self._open(1)
        return {
            (number, region)
            for number, region in self.answers
            if (number, region) not in used and (number, self.regions[region]) not in to_do
        }

    def stale_decisions(self) -> set[tuple[int, int]]:
        """Return the decisions, as (set, region), that no remaining run and no review of an event needs."""
        used, to_do = self._used(0), self._open(0)
        return {
            (number, region)
            for number, region, event in self.decisions
            if (number, region) not in used and (number, self.regions[region]) not in to_do and event not in self.events
        }

    def stale_regions(
        self, stale_answers: Collection[tuple[int, int]], stale_decisions: Collection[tuple[int, int]]
    ) -> set[int]:
        """Return the regions that nothing refers to, except those of reviewed images, whose boxes a review may mean."""
        used = {row.region for row in self.listed if row.run in self.remaining} | self.reviewed_regions
        used |= {region for number, region in self.answers if (number, region) not in stale_answers}
        used |= {region for number, region, _ in self.decisions if (number, region) not in stale_decisions}
        return {region for region, media in self.regions.items() if region not in used and media not in self.reviewed}

    def stale_media(self, stale_regions: Collection[int]) -> set[int]:
        """Return the media that nothing refers to."""
        used = {row.media for rows in (self.listed, self.failures) for row in rows if row.run in self.remaining}
        used |= {row.media for row in self.listing if self.kept_listing(row)} | self.reviewed
        used |= {media for region, media in self.regions.items() if region not in stale_regions}
        return set(self.media) - used


def _clean_listings(connection: Connection, cleaning: Cleaning, found: _Found) -> None:
    """Remove the entries of runs that do not remain."""
    for table, rows in (
        (schema.listed_regions, [row for row in found.listed if row.run not in cleaning.remaining]),
        (schema.failures, [row for row in found.failures if row.run not in cleaning.remaining]),
        (schema.listing, [row for row in found.listing if not found.kept_listing(row)]),
    ):
        numbers = Counter(row.run for row in rows)
        for run, media in _by_first({(row.run, row.media) for row in rows}):
            cleaning.delete(connection, table, table.c.run == run, table.c.media.in_(media), count=numbers[run])


class _NeededFeatures:
    """The features of some contents that a remaining run needs: of its regions, and of media that it has still to do."""

    def __init__(self, connection: Connection, cleaning: Cleaning, contents: Sequence[int]) -> None:
        media, regions, remaining = schema.media.c, schema.regions.c, cleaning.remaining
        here, listed = schema.listed_regions.c, schema.listing.c
        query = select(media.id, media.content)
        content_of = {row.id: row.content for row in rows_with(connection, query, media.content, contents)}
        boxes = [regions[name] for name in ("x", "y", "w", "h")]
        placed = select(here.run, here.media, *boxes).join(schema.regions, here.region == regions.id)
        self._used = {
            (remaining[row.run].features, content_of[row.media], row.x, row.y, row.w, row.h)
            for row in rows_with(connection, placed, here.media, content_of)
            if row.run in remaining
        }
        entries = select(listed.run, listed.media, listed.status)
        rows = list(rows_with(connection, entries, listed.media, content_of))
        self._open = {
            (remaining[row.run].features, content_of[row.media])
            for row in rows
            if row.run in remaining and row.status != DONE
        }
        self.detected = {(remaining[row.run].detectors, content_of[row.media]) for row in rows if row.run in remaining}
        """The boxes of detectors, as (detector, content), that a remaining run needs."""
        self.used = set(content_of.values())
        """The contents that media have."""
        self.countable = set(contents)
        """The contents to work on; a count sees each in the batch of its last media, since it removes nothing meanwhile."""
        if not cleaning.removes:
            reviews = schema.reviews.c
            kept = {row.media for row in rows if row.run in remaining}
            kept |= {row.media for row in rows_with(connection, select(reviews.media), reviews.media, content_of)}
            self.used = {content_of[number] for number in kept}
            self.countable -= {
                content_of[row.media] for row in rows if row.run not in remaining and row.media > cleaning.walked
            }

    def is_needed(self, feature_set: int, content: int, *box: int) -> bool:
        """Return True if a remaining run needs a feature."""
        return (feature_set, content) in self._open or (feature_set, content, *box) in self._used


def _by_first(pairs: Iterable[tuple[int, int]]) -> list[tuple[int, list[int]]]:
    """Return pairs grouped by their first number."""
    groups: dict[int, list[int]] = {}
    for first, second in sorted(pairs):
        groups.setdefault(first, []).append(second)
    return list(groups.items())


def _count(connection: Connection, table: Table, *where: Any) -> int:
    return int(connection.execute(select(func.count()).select_from(table).where(*where)).scalar_one())
