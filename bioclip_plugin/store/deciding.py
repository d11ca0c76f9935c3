"""A run's regions on their way through its rules: which are to be decided, what is known of them, decisions written in batches."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, and_, exists, func, or_, select, update

from bioclip_plugin.items.media import WHOLE_BOX, MediaItem
from bioclip_plugin.store import stored_regions
from bioclip_plugin.store.database import schema
from bioclip_plugin.store.database.bulk import chunked, upsert
from bioclip_plugin.store.database.connection import Database
from bioclip_plugin.store.database.values import to_json
from bioclip_plugin.store.listing import DONE
from bioclip_plugin.store.media_rows import MEDIA, item_of_values
from bioclip_plugin.store.records import Run, StoredDecision, StoredRegion
from bioclip_plugin.store.taxa import Key, TaxonCache, key_of, rank_code

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PAGE = 2000  # images whose time and camera are looked at in one query


@dataclass(frozen=True, slots=True)
class Stamp:
    """One image of a run, as it is put into the order of events."""

    media_id: int
    position: int
    """In the run's listing."""
    item: MediaItem
    """Without its regions."""
    is_open: bool
    """Whether a region of it is not decided yet."""


@dataclass(frozen=True, slots=True)
class AnsweredRegion:
    """One region with the model's own answer, which is empty where the model was not to name it."""

    stored: StoredRegion
    content: int | None
    """The content that its features are stored under."""

    @property
    def feature_key(self) -> tuple[int | None, int, int, int, int]:
        """Content and box: what its features are stored under."""
        region = self.stored.region
        return (self.content, *(region.box if region else WHOLE_BOX))


@dataclass(frozen=True, slots=True)
class AnsweredImage:
    """One image with its regions."""

    item: MediaItem
    regions: Sequence[AnsweredRegion]


class Deciding:
    """The decisions of one run. A region counts as decided when a pass of rules has written what it did, be it nothing."""

    def __init__(self, database: Database, taxa: TaxonCache, run: Run, *, unclassified: bool) -> None:
        """``unclassified``: whether regions that the model was not to name are decided on too."""
        self._database = database
        self._taxa = taxa
        self._run = run
        self._unclassified = unclassified

    def count(self) -> int:
        """How many regions are still to be decided."""
        query = select(func.count()).select_from(_with_decision(self._run)).where(self._is_open())
        return int(self._database.read(lambda connection: connection.execute(query).scalar_one()))

    def count_images(self) -> int:
        """How many images have a region that is still to be decided."""
        here = schema.listed_regions.c.media
        query = select(func.count(here.distinct())).select_from(_with_decision(self._run)).where(self._is_open())
        return int(self._database.read(lambda connection: connection.execute(query).scalar_one()))

    def stamps(self) -> Iterator[Stamp]:
        """Every answered image of the run in listing order, a page in memory at a time."""
        after = 0
        while page := self._database.read(lambda connection, after=after: self._stamps(connection, after)):  # type: ignore[misc]
            yield from page
            after = page[-1].position

    def _stamps(self, connection: Connection, after: int) -> list[Stamp]:
        listed, media, here = schema.listing.c, schema.media, schema.listed_regions.c
        inner = select(1).select_from(_with_decision(self._run)).where(self._is_open(), here.media == media.c.id)
        query = (
            select(listed.media, listed.position, exists(inner), *(media.c[name] for name in MEDIA))
            .select_from(media)
            .join(schema.listing, listed.media == media.c.id)
            .where(listed.run == self._run.id, listed.status == DONE, listed.position > after)
            .order_by(listed.position)
            .limit(PAGE)
        )
        return [
            Stamp(number, position, item_of_values(values), bool(is_open))
            for number, position, is_open, *values in connection.execute(query)
        ]

    def open_images(self) -> Iterator[int]:
        """The numbers of the images with a region that is not decided, in listing order, a page in memory at a time."""
        after = 0
        while page := self._database.read(lambda connection, after=after: self._open(connection, after)):  # type: ignore[misc]
            yield from (number for number, _ in page)
            after = page[-1][1]

    def _open(self, connection: Connection, after: int) -> list[tuple[int, int]]:
        listed, here = schema.listing.c, schema.listed_regions.c
        inner = select(1).select_from(_with_decision(self._run)).where(self._is_open(), here.media == listed.media)
        query = (
            select(listed.media, listed.position)
            .where(listed.run == self._run.id, listed.status == DONE, listed.position > after, exists(inner))
            .order_by(listed.position)
            .limit(PAGE)
        )
        return [(row[0], row[1]) for row in connection.execute(query)]

    def images(self, media_ids: Sequence[int]) -> list[AnsweredImage]:
        """These images with their regions and the model's own answers, in this order."""
        found = self._database.read(lambda connection: self._images(connection, media_ids))
        return [found[number] for number in media_ids if number in found]

    def _images(self, connection: Connection, media_ids: Sequence[int]) -> dict[int, AnsweredImage]:
        regions = stored_regions.of_run(connection, self._run, media_ids, self._taxa)
        media = schema.media
        found: dict[int, AnsweredImage] = {}
        query = select(media.c.id, media.c.content, *(media.c[name] for name in MEDIA))
        for chunk in chunked(media_ids):
            for number, content, *values in connection.execute(query.where(media.c.id.in_(chunk))):
                answered = [AnsweredRegion(one, content) for one in regions.get(number, [])]
                boxes = tuple(one.stored.region for one in answered if one.stored.region is not None)
                found[number] = AnsweredImage(item_of_values(values, boxes), answered)
        return found

    def features(self, regions: Sequence[AnsweredRegion]) -> dict[int, NDArray[np.float16]]:
        """The stored features (D numbers each) of regions, by their numbers; what is not stored is not in the result."""
        return self._database.read(lambda connection: self._features(connection, regions))

    def _features(self, connection: Connection, regions: Sequence[AnsweredRegion]) -> dict[int, NDArray[np.float16]]:
        import numpy as np

        table = schema.features.c
        wanted: dict[tuple[int | None, int, int, int, int], list[int]] = {}
        for region in regions:
            wanted.setdefault(region.feature_key, []).append(region.stored.region_id)
        found: dict[int, NDArray[np.float16]] = {}
        for chunk in chunked(sorted({key[0] for key in wanted if key[0] is not None})):
            query = select(table.content, table.x, table.y, table.w, table.h, table.vector).where(
                table.feature_set == self._run.feature_set, table.content.in_(chunk), table.vector.is_not(None)
            )
            for *key, vector in connection.execute(query):
                for number in wanted.get(tuple(key), ()):
                    found[number] = np.frombuffer(vector, dtype="<f2")
        return found

    def reopen(self, media_ids: Sequence[int]) -> None:
        """Let what was decided on these images count as not decided by rules; the decisions stay until they are overwritten."""
        self._database.write(lambda connection: self._reopen(connection, media_ids))

    def _reopen(self, connection: Connection, media_ids: Sequence[int]) -> None:
        here, decided = schema.listed_regions.c, schema.decisions.c
        for chunk in chunked(media_ids):
            regions = select(here.region).where(here.run == self._run.id, here.media.in_(chunk))
            mine = and_(decided.decision_set == self._run.decision_set, decided.region.in_(regions.scalar_subquery()))
            connection.execute(update(schema.decisions).where(mine).values(trail=None))

    def write(self, decisions: Mapping[int, StoredDecision]) -> None:
        """Write decisions by the numbers of their regions, in one transaction, over what was decided before."""
        if decisions:
            self._taxa.remember(self._database.write(lambda connection: self._write(connection, decisions)))

    def _write(self, connection: Connection, decisions: Mapping[int, StoredDecision]) -> dict[Key, int]:
        found = {one.candidate for one in decisions.values() if one.candidate is not None}
        taxa = self._taxa.ids(connection, {key_of(candidate) for candidate in found})
        rows = []
        for region, decision in sorted(decisions.items()):
            best = decision.candidate
            rows.append(
                {
                    "decision_set": self._run.decision_set,
                    "region": region,
                    "taxon": taxa[key_of(best)] if best else None,
                    "rank": rank_code(best.rank) if best else None,
                    "probability": float(best.probability) if best else None,
                    "verdict": decision.verdict,
                    "event": decision.event,
                    "trail": _trail_text(decision.trail),
                }
            )
        upsert(connection, schema.decisions, rows)
        return taxa

    def _is_open(self) -> ColumnElement[bool]:
        """Of a region beside its decision: there is none, or none by rules (whose trail is never null)."""
        here, decided = schema.listed_regions.c, schema.decisions.c
        conditions = [here.run == self._run.id, decided.trail.is_(None)]
        if not self._unclassified:
            conditions.append(or_(here.classified.is_(None), here.classified != 0))
        return and_(*conditions)


def _trail_text(trail: Sequence[Mapping[str, Any]]) -> str:
    """A trail as JSON. Most are a few plain words, for which the careful way takes four times as long."""
    if not trail:
        return "[]"
    text = json.dumps(trail, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=dict)
    return text if text.isascii() and "\\u0000" not in text and "NaN" not in text else to_json(list(trail))


def _with_decision(run: Run) -> Any:
    here, decided = schema.listed_regions.c, schema.decisions.c
    return schema.listed_regions.outerjoin(
        schema.decisions, and_(decided.decision_set == run.decision_set, decided.region == here.region)
    )
