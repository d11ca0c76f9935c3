"""One row per event: its time, its images, the result that stands for it, and the most individuals in one image.

An image without an event is an event of its own, so that no listed file is missing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from bioclip_core.classify import Candidate
from bioclip_core.files.scratch import Scratch
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.contracts.export import Export
from bioclip_plugin.formats.shared.image_verdicts import PRECEDENCE, Seen, all_seen, counts_of, threshold_of
from bioclip_plugin.formats.tables.cells import best_cells, media_cells, review_cells
from bioclip_plugin.formats.tables.columns import MEDIA, Cells
from bioclip_plugin.formats.tables.image_rows import event_of, shown
from bioclip_plugin.formats.tables.keys import KeyCells
from bioclip_plugin.store.records import Review, StoredItem, asked_level

_TABLES = """
CREATE TABLE event (number INTEGER PRIMARY KEY, key TEXT UNIQUE, name TEXT, deployment TEXT, starts TEXT, ends TEXT, place TEXT,
    images INTEGER, failed INTEGER, uri TEXT, frame INTEGER, keys TEXT);
CREATE TABLE seen (event INTEGER, name TEXT, verdict TEXT, images INTEGER, boxes INTEGER, most INTEGER, probability REAL,
    candidate TEXT, PRIMARY KEY (event, name, verdict)) WITHOUT ROWID;
"""
_WITHOUT_EVENT = "images belong to no event, and each has a row of its own; a rule such as sequences:gap=60 makes events (rules apply)"
_CAPTURED_AT, _DEPLOYMENT = MEDIA.index("captured_at"), MEDIA.index("deployment")
_PLACE = slice(MEDIA.index("latitude"), MEDIA.index("country") + 1)


def event_rows(export: Export, keys: KeyCells) -> Iterator[Cells]:
    """Yield a row for every event of the selected items, in the order of their first images."""
    level, threshold = asked_level(export.run), threshold_of(export.run)
    reviews = _newest_reviews(export)
    with _Events() as events:
        for stored in export.items((level,)):
            if not event_of(stored):
                export.findings.add(_WITHOUT_EVENT, stored.item.uri)
            events.add(stored, all_seen(stored, level, threshold), media_cells(stored, export.options), keys(stored))
        yield from events.rows(reviews)


def _newest_reviews(export: Export) -> dict[str, Review]:
    """Return the newest review of each event."""
    newest: dict[str, Review] = {}
    for review in export.event_reviews():
        name = review.target.event or ""
        if name not in newest or review.reviewed_at >= newest[name].reviewed_at:
            newest[name] = review
    return newest


class _Events(Scratch):
    """Events gathered on disk, since the images of one event need not be listed together."""

    def __init__(self) -> None:
        super().__init__(_TABLES)

    def add(self, stored: StoredItem, found: list[Seen], media: Cells, keys: Cells) -> None:
        """Add an image to its event."""
        number = self._event(stored, media, keys)
        counts = counts_of(found)
        best: dict[tuple[str, str], Seen] = {}
        for seen in found:
            before = best.setdefault((seen.name, seen.verdict), seen)
            if _probability(seen) > _probability(before):
                best[seen.name, seen.verdict] = seen
        for (name, verdict), seen in best.items():
            boxes = sum(one.region is not None and one.region.region is not None for one in found if one.name == name)
            self._database.execute(
                "INSERT INTO seen VALUES (?, ?, ?, 1, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET images = images + 1, "
                "boxes = max(boxes, excluded.boxes), most = max(most, excluded.most), "
                "candidate = CASE WHEN excluded.probability > probability THEN excluded.candidate ELSE candidate END, "
                "probability = max(probability, excluded.probability)",
                (number, name, verdict, boxes, counts[name], _probability(seen), _packed(seen.candidate)),
            )

    def rows(self, reviews: dict[str, Review]) -> Iterator[Cells]:
        """Yield the rows.

        Args:
            reviews: the newest review of each event.
        """
        for (
            number,
            _,
            name,
            deployment,
            starts,
            ends,
            place,
            images,
            failed,
            uri,
            frame,
            keys,
        ) in self._database.execute("SELECT * FROM event ORDER BY number"):
            found = self._database.execute("SELECT * FROM seen WHERE event = ?", (number,)).fetchall()
            best = min(found, key=_weight, default=None)
            verdict, boxes, candidate = (best[2], best[4], _unpacked(best[7])) if best else (None, 0, None)
            counts = Counter({row[1]: row[5] for row in found if row[2] != "blank"})
            yield (
                name, deployment, *(json.loads(moment)[1] if moment else None for moment in (starts, ends)),
                *json.loads(place), images, failed, verdict or None, *best_cells(candidate),
                boxes if verdict and verdict != "blank" and boxes else None, shown(counts), uri, frame,
                *review_cells(reviews.get(name)), *(key or None for key in json.loads(keys)),
            )  # fmt: skip

    def _event(self, stored: StoredItem, media: Cells, keys: Cells) -> int:
        """Add the image to the numbers of its event, and return the number of the event."""
        item, name, deployment = stored.item, event_of(stored), media[_DEPLOYMENT]
        key = json.dumps([name, deployment] if name else [item.uri, item.frame, ""])
        moment = _moment(stored, media[_CAPTURED_AT])
        failed, place = int(stored.failure is not None), list(media[_PLACE])
        found = self._database.execute(
            "SELECT number, starts, ends, place, keys FROM event WHERE key = ?", (key,)
        ).fetchone()
        if found is None:
            cells = (
                key,
                name,
                deployment,
                moment,
                moment,
                json.dumps(place),
                failed,
                item.uri,
                item.frame,
                json.dumps(keys),
            )
            added = self._database.execute("INSERT INTO event VALUES (NULL, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?)", cells)
            return int(added.lastrowid or 0)
        number, starts, ends, known_place, known_keys = found
        moments = [one for one in (starts, ends, moment) if one]
        shared = [_shared(one, other) for one, other in zip(json.loads(known_keys), keys, strict=True)]
        changed = (
            min(moments, default=None), max(moments, default=None),
            json.dumps([one if one is not None else other for one, other in zip(json.loads(known_place), place, strict=True)]),
            failed, json.dumps(shared), number,
        )  # fmt: skip
        self._database.execute(
            "UPDATE event SET images = images + 1, starts = ?, ends = ?, place = ?, failed = failed + ?, keys = ? WHERE number = ?",
            changed,
        )
        return int(number)


def _shared(one: str | bool | None, other: str | None) -> str | bool | None:
    """Return the key that images share, None while none states one; False for different keys."""
    if one is None or other is None:
        return other if one is None else one
    return one if one == other else False


def _moment(stored: StoredItem, shown_moment: Any) -> str | None:
    """Return the time on the clock, by which moments are put in order, with the moment as it is written."""
    captured_at = stored.item.captured_at
    return json.dumps([captured_at.replace(tzinfo=None).isoformat(), shown_moment]) if captured_at else None


def _weight(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the key of the result that stands for an event: verdict, number of images, probability, name."""
    _, name, verdict, images, _, _, probability, _ = row
    return PRECEDENCE.index(verdict), -images, -probability, name


def _probability(seen: Seen) -> float:
    return seen.candidate.probability if seen.candidate else 0.0


def _packed(candidate: Candidate | None) -> str | None:
    if candidate is None:
        return None
    taxon = candidate.taxon
    return json.dumps([[*taxon.lineage, taxon.common_name, taxon.source_id], candidate.rank, candidate.probability])


def _unpacked(text: str | None) -> Candidate | None:
    if text is None:
        return None
    taxon, rank, probability = json.loads(text)
    return Candidate(Taxon(*taxon), rank, probability)
