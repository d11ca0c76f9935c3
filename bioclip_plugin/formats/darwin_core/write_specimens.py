"""Specimens with their images, answers and reviews, gathered on disk: images of one specimen need not be listed together."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bioclip_core.files.scratch import Scratch
from bioclip_core.taxonomy import RANKS, Taxon
from bioclip_plugin.contracts.export import Export
from bioclip_plugin.formats.darwin_core.identities import derived, known_occurrence, media_id, nameable
from bioclip_plugin.formats.darwin_core.write_terms import Stated, media_terms, merged, occurrence_terms
from bioclip_plugin.items.media import MediaItem
from bioclip_plugin.store.records import Review, StoredRegion

_TABLES = """
CREATE TABLE occurrence (number INTEGER PRIMARY KEY, id TEXT UNIQUE, stated TEXT);
CREATE TABLE vote (number INTEGER PRIMARY KEY, occurrence INTEGER, media TEXT, taxon TEXT, probability REAL, candidates TEXT);
CREATE INDEX vote_occurrence ON vote (occurrence);
CREATE TABLE review (number INTEGER PRIMARY KEY, occurrence INTEGER, media TEXT, taxon TEXT, reviewer TEXT, moment TEXT, comment TEXT);
CREATE INDEX review_occurrence ON review (occurrence);
CREATE TABLE image (number INTEGER PRIMARY KEY, occurrence INTEGER, media TEXT, uri TEXT, terms TEXT, UNIQUE (occurrence, media));
"""

Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Vote:
    """The decision for one image of a specimen, or one region of it."""

    media: str
    taxon: Taxon
    probability: float
    candidates: list[list[Any]]
    """Level, place, probability, taxonomic names; the best first."""


@dataclass(frozen=True, slots=True)
class ReviewedName:
    """The name in a reviewer's last review of an image of a specimen."""

    media: str
    taxon: Taxon
    reviewer: str
    moment: str
    """ISO 8601, UTC."""
    comment: str


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One specimen, or the organism in one region, with all answers and reviews."""

    id: str
    terms: Mapping[str, str]
    votes: list[Vote]
    reviews: list[ReviewedName]
    images: list[tuple[str, dict[str, str]]]
    """Uri and terms of each image, and of each region after its image."""


class Specimens(Scratch):
    """Specimens, their images, answers and reviews, on disk. To be used with ``with``."""

    def __init__(self) -> None:
        super().__init__(_TABLES)
        self.left_out: Counter[str] = Counter()
        """Number of regions without an identification, by the reason."""
        self._last: tuple[tuple[str, str, int], int] = (("", "", 0), 0)

    def gather(self, export: Export) -> None:
        """Read all items and reviews of an export."""
        for stored, reviews in export.reviewed_items():
            item = stored.item
            classified = [region for region in stored.regions if region.classified]
            for region in classified:
                box = region.region.box if region.region else None
                self._vote(self._occurrence(item, box, export), region, item, box, export)
            for review in _last_reviews(reviews):
                box = review.target.region.box if review.target.region else None
                if review.target.kind == "media" and len(classified) == 1 and classified[0].region is not None:
                    box = classified[0].region.box  # a review of an image with one region is about that region
                self._say(self._occurrence(item, box, export), review, item, box)

    def occurrences(self) -> Iterator[Occurrence]:
        """Yield every specimen, also without an answer, in the order of the listing."""
        for number, name, stated in self._database.execute("SELECT number, id, stated FROM occurrence ORDER BY number"):
            votes = self._rows("media, taxon, probability, candidates", "vote", number)
            reviews = self._rows("media, taxon, reviewer, moment, comment", "review", number)
            yield Occurrence(
                name,
                Stated.unpacked(stated).terms,
                [Vote(media, Taxon(*json.loads(taxon)), p, json.loads(listed)) for media, taxon, p, listed in votes],
                [ReviewedName(media, Taxon(*json.loads(taxon)), *rest) for media, taxon, *rest in reviews],
                [(uri, json.loads(terms)) for uri, terms in self._rows("uri, terms", "image", number)],
            )

    def uris(self) -> Iterator[str]:
        """Return the uris of all images."""
        return (uri for (uri,) in self._database.execute("SELECT uri FROM image ORDER BY number"))

    def _rows(self, columns: str, table: str, number: int) -> Iterator[Any]:
        return self._database.execute(f"SELECT {columns} FROM {table} WHERE occurrence = ? ORDER BY number", (number,))

    def _insert(self, table: str, **values: Any) -> int:
        """Insert a row unless it is there, and return its number."""
        insert = f"INSERT OR IGNORE INTO {table} ({', '.join(values)}) VALUES (:{', :'.join(values)})"
        return int(self._database.execute(insert, values).lastrowid or 0)

    def _vote(self, occurrence: int, region: StoredRegion, item: MediaItem, box: Box | None, export: Export) -> None:
        decision = region.decision
        if decision is None or decision.candidate is None or decision.verdict != "taxon":
            self.left_out[decision.verdict if decision else "not decided"] += 1
        elif (taxon := nameable(decision.candidate.taxon, decision.candidate.rank)) is None:
            self.left_out["no scientific name"] += 1
        else:
            self._insert(
                "vote", occurrence=occurrence, media=self._image(occurrence, item, box), taxon=_packed(taxon),
                probability=decision.candidate.probability, candidates=_json(_candidates(region, export.options.top)),
            )  # fmt: skip

    def _say(self, occurrence: int, review: Review, item: MediaItem, box: Box | None) -> None:
        taxon = nameable(review.taxon) if review.taxon is not None and review.verdict == "taxon" else None
        if taxon is not None:
            moment = review.reviewed_at.isoformat(timespec="seconds").replace("+00:00", "Z")
            self._insert(
                "review", occurrence=occurrence, media=self._image(occurrence, item, box), taxon=_packed(taxon),
                reviewer=review.reviewer, moment=moment, comment=review.comment,
            )  # fmt: skip

    def _occurrence(self, item: MediaItem, box: Box | None, export: Export) -> int:
        """Return the number of the specimen that a region shows."""
        known = known_occurrence(item.metadata)
        name = known or f"urn:uuid:{derived('occurrence', item.uri, item.frame, box)}"
        place = (name, item.uri, item.frame)
        if self._last[0] == place:  # another region or review of the same image
            return self._last[1]
        number = self._merged(name, item, export, is_known=known is not None)
        self._last = (place, number)
        return number

    def _merged(self, name: str, item: MediaItem, export: Export, *, is_known: bool) -> int:
        """Store what an image states about a specimen, and return the number of the specimen."""
        stated = occurrence_terms(name, item, export, is_known=is_known)
        found = self._database.execute("SELECT number, stated FROM occurrence WHERE id = ?", (name,)).fetchone()
        if found is None:
            return self._insert("occurrence", id=name, stated=stated.packed())
        number, before = found
        if (packed := merged(Stated.unpacked(before), stated, export.findings).packed()) != before:
            self._database.execute("UPDATE occurrence SET stated = ? WHERE number = ?", (packed, number))
        return int(number)

    def _image(self, occurrence: int, item: MediaItem, box: Box | None) -> str:
        """Store an image, and the region of it; return the id of the region, or of the image without one."""
        whole = media_id(item.uri, item.frame, None)
        region = media_id(item.uri, item.frame, box)
        for media, part in dict.fromkeys(((whole, None), (region, box))):
            self._insert(
                "image", occurrence=occurrence, media=media, uri=item.uri, terms=_json(media_terms(media, item, part, whole))
            )  # fmt: skip
        return region


def _last_reviews(reviews: Sequence[Review]) -> list[Review]:
    """Return each reviewer's last review of each target; the reviews come oldest first."""
    last: dict[tuple[str, Box | None], Review] = {}
    for review in reviews:
        key = (review.reviewer, review.target.region.box if review.target.region else None)
        if key not in last or review.reviewed_at >= last[key].reviewed_at:
            last.pop(key, None)
            last[key] = review
    return list(last.values())


def _packed(taxon: Taxon) -> str:
    return _json([*taxon.lineage, taxon.common_name, taxon.source_id])


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _candidates(region: StoredRegion, top: int) -> list[list[Any]]:
    """Return the best candidates of each level: those of a custom label set, then from species up."""
    rows: list[list[Any]] = []
    depths = {rank.value: -rank.depth for rank in RANKS}
    for level in sorted(region.by_rank, key=lambda level: (depths.get(level, -len(RANKS)), level)):
        for place, candidate in enumerate(region.by_rank[level][:top], start=1):
            taxon = nameable(candidate.taxon, candidate.rank) or candidate.taxon
            rows.append([level, place, candidate.probability, candidate.name, candidate.rank, *taxon.lineage])
    return rows
