"""The regions of a run in a pass of rules: open regions, their stored answers, and decisions written in batches."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, or_, select, update

from bioclip_plugin.items.media import WHOLE_BOX, MediaItem
from bioclip_plugin.store.commits import DECISION, decision_row
from bioclip_plugin.store.database import schema
from bioclip_plugin.store.database.bulk import chunked, rows_with, upsert
from bioclip_plugin.store.database.connection import Database
from bioclip_plugin.store.database.values import to_json, vector_of
from bioclip_plugin.store.media_rows import MEDIA, item_of_values
from bioclip_plugin.store.reading import regions_of_run
from bioclip_plugin.store.records import DONE, Run, StoredDecision, StoredRegion
from bioclip_plugin.store.runs import check
from bioclip_plugin.store.taxa import Numbers, TaxonCache

PAGE = 2000  # images whose time and camera are read in one query


@dataclass(frozen=True, slots=True)
class Stamp:
    """One image of a run, as it is put into the order of events."""

    media_id: int
    position: int
    """Position in the run's listing."""
    item: MediaItem
    """The image without its regions."""
    is_open: bool
    """True if one of its regions is not decided yet."""


@dataclass(frozen=True, slots=True)
class AnsweredRegion:
    """One region with the model's own answer, which is empty for a region that is not classified."""

    stored: StoredRegion
    content: int | None
    """Number of the content that its features are stored under."""

    @property
    def feature_key(self) -> tuple[int | None, int, int, int, int]:
        """Content and box, under which its features are stored."""
        region = self.stored.region
        return (self.content, *(region.box if region else WHOLE_BOX))


@dataclass(frozen=True, slots=True)
class AnsweredImage:
    """One image with its regions."""

    item: MediaItem
    regions: Sequence[AnsweredRegion]


class Deciding:
    """The decisions of one run. A region counts as decided when a pass of rules has written its trail, even an empty one."""

    def __init__(self, database: Database, taxa: TaxonCache, run: Run, *, unclassified: bool) -> None:
        """``unclassified``: True to decide on regions that are not classified, too."""
        self._database, self._taxa, self._run, self._unclassified = database, taxa, run, unclassified

    def count(self) -> int:
        """Return the number of regions that are still to be decided."""
        return self._database.read(_scalar, self._open_regions(func.count()))

    def count_images(self) -> int:
        """Return the number of images with a region that is still to be decided."""
        return self._database.read(_scalar, self._open_regions(func.count(schema.listed_regions.c.media.distinct())))

    def has_open(self) -> bool:
        """True if a region is still to be decided, without counting them."""
        return bool(self._database.read(_rows, self._open_regions(1).limit(1)))

    def stamps(self) -> Iterator[Stamp]:
        """Yield every answered image of the run in listing order, with one page in memory."""
        listed, media = schema.listing.c, schema.media
        is_open = exists(self._open_regions(1).where(schema.listed_regions.c.media == media.c.id))
        query = (
            select(listed.media, listed.position, is_open, *(media.c[name] for name in MEDIA))
            .select_from(media)
            .join(schema.listing, listed.media == media.c.id)
        )
        for page in self._pages(query):
            for number, position, is_open_here, *values in page:
                yield Stamp(number, position, item_of_values(values), bool(is_open_here))

    def open_images(self) -> Iterator[int]:
        """Yield the numbers of the images with an undecided region, in listing order, with one page in memory."""
        listed = schema.listing.c
        is_open = exists(self._open_regions(1).where(schema.listed_regions.c.media == listed.media))
        for page in self._pages(select(listed.media, listed.position).where(is_open)):
            yield from (number for number, _ in page)

    def _pages(self, query: Select[Any]) -> Iterator[Sequence[Any]]:
        """Yield the rows of a query over the run's answered images, whose second column is the position."""
        listed, after = schema.listing.c, 0
        query = query.where(listed.run == self._run.id, listed.status == DONE).order_by(listed.position).limit(PAGE)
        while page := self._database.read(_rows, query.where(listed.position > after)):
            yield page
            after = page[-1][1]

    def images(self, media_ids: Sequence[int]) -> list[AnsweredImage]:
        """Return these images with their regions and the model's own answers, in this order."""
        found = self._database.read(self._images, media_ids)
        return [found[number] for number in media_ids if number in found]

    def _images(self, connection: Connection, media_ids: Sequence[int]) -> dict[int, AnsweredImage]:
        regions = regions_of_run(connection, self._run, media_ids, self._taxa)
        media = schema.media
        query = select(media.c.id, media.c.content, *(media.c[name] for name in MEDIA))
        found: dict[int, AnsweredImage] = {}
        for number, content, *values in rows_with(connection, query, media.c.id, media_ids):
            answered = [AnsweredRegion(region, content) for region in regions.get(number, [])]
            boxes = tuple(region.stored.region for region in answered if region.stored.region is not None)
            found[number] = AnsweredImage(item_of_values(values, boxes), answered)
        return found

    def features(self, regions: Sequence[AnsweredRegion]) -> dict[int, NDArray[np.float16]]:
        """Return the stored features (D numbers each) of regions by their numbers; missing features are absent."""
        wanted: dict[tuple[int | None, int, int, int, int], list[int]] = {}
        for region in regions:
            wanted.setdefault(region.feature_key, []).append(region.stored.region_id)
        table = schema.features.c
        query = select(table.content, table.x, table.y, table.w, table.h, table.vector).where(
            table.feature_set == self._run.feature_set, table.vector.is_not(None)
        )
        contents = {region.content for region in regions if region.content is not None}
        rows = self._database.read(lambda connection: list(rows_with(connection, query, table.content, contents)))
        return {
            number: vector_of(row.vector)
            for row in rows
            for number in wanted.get((row.content, row.x, row.y, row.w, row.h), ())
        }

    def reopen(self, media_ids: Sequence[int]) -> None:
        """Mark the decisions on these images as not made by rules; they stay until they are overwritten."""
        self._database.write(self._reopen, media_ids)

    def _reopen(self, connection: Connection, media_ids: Sequence[int]) -> None:
        check(connection, self._run)
        here, decided = schema.listed_regions.c, schema.decisions.c
        for chunk in chunked(media_ids):
            regions = select(here.region).where(here.run == self._run.id, here.media.in_(chunk)).scalar_subquery()
            mine = (decided.decision_set == self._run.decision_set, decided.region.in_(regions))
            connection.execute(update(schema.decisions).where(*mine).values(trail=None))

    def write(self, decisions: Mapping[int, StoredDecision]) -> None:
        """Write decisions by the numbers of their regions, in one transaction, over earlier decisions."""
        if decisions:
            self._taxa.remember(self._database.write(self._write, decisions))

    def _write(self, connection: Connection, decisions: Mapping[int, StoredDecision]) -> Numbers:
        check(connection, self._run, writes=True)
        named = {region: decision.candidate for region, decision in decisions.items() if decision.candidate is not None}
        numbers, taxa = self._taxa.numbers(connection, list(named.values()))
        taxon_of = dict(zip(named, numbers, strict=True))
        rows = [
            (
                *decision_row(self._run, region, decision.candidate, taxon_of.get(region)),
                decision.verdict, decision.event, _trail_text(decision.trail),
            )
            for region, decision in sorted(decisions.items())
        ]  # fmt: skip
        upsert(connection, schema.decisions, DECISION, rows)
        return taxa

    def _open_regions(self, column: Any) -> Select[Any]:
        """Return a query of the run's regions without a decision by rules, whose trail is never null."""
        here, decided = schema.listed_regions.c, schema.decisions.c
        decision = and_(decided.decision_set == self._run.decision_set, decided.region == here.region)
        query = select(column).select_from(schema.listed_regions.outerjoin(schema.decisions, decision))
        query = query.where(here.run == self._run.id, decided.trail.is_(None))
        return query if self._unclassified else query.where(is_classified())


def is_classified() -> ColumnElement[bool]:
    """Return the condition that a listed region is to be answered by the model."""
    classified = schema.listed_regions.c.classified
    return or_(classified.is_(None), classified != 0)


def _scalar(connection: Connection, query: Select[Any]) -> int:
    return int(connection.execute(query).scalar_one())


def _rows(connection: Connection, query: Select[Any]) -> Sequence[Any]:
    return connection.execute(query).all()


def _trail_text(trail: Sequence[Mapping[str, Any]]) -> str:
    """Return a trail as JSON. Most trails are a few plain words, for which ``to_json`` takes four times as long."""
    if not trail:
        return "[]"
    text = json.dumps(trail, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=dict)
    return text if text.isascii() and "\\u0000" not in text and "NaN" not in text else to_json(list(trail))
