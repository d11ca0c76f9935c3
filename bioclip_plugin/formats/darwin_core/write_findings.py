"""What a run and its reviewers say of each specimen, gathered on disk: images of one specimen need not be listed together."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from bioclip_core.files.scratch import Scratch
from bioclip_core.taxonomy import RANKS, Taxon
from bioclip_plugin.formats.darwin_core.identities import derived_occurrence, known_occurrence, media_id, nameable
from bioclip_plugin.formats.darwin_core.write_occurrences import media_terms, occurrence_terms

if TYPE_CHECKING:
    from bioclip_plugin.contracts.export import Export
    from bioclip_plugin.items.media import MediaItem
    from bioclip_plugin.store import Review, StoredItem, StoredRegion

_AT_ONCE = 256
_TABLES = """
CREATE TABLE occurrence (number INTEGER PRIMARY KEY, id TEXT UNIQUE, terms TEXT);
CREATE TABLE vote (number INTEGER PRIMARY KEY, occurrence INTEGER, media TEXT, taxon TEXT, probability REAL, candidates TEXT);
CREATE INDEX vote_occurrence ON vote (occurrence);
CREATE TABLE said (number INTEGER PRIMARY KEY, occurrence INTEGER, media TEXT, taxon TEXT, reviewer TEXT, moment TEXT, comment TEXT);
CREATE INDEX said_occurrence ON said (occurrence);
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
class Said:
    """A person's last word on an image of a specimen."""

    media: str
    taxon: Taxon
    reviewer: str
    moment: str
    """ISO 8601, UTC."""
    comment: str


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One specimen, or what is seen in one region, with everything that was said of it."""

    id: str
    terms: Mapping[str, str]
    votes: list[Vote]
    said: list[Said]
    images: list[tuple[str, str, dict[str, str]]]
    """Id, uri and terms of each image, and of each region after its image."""


class Findings(Scratch):
    """Specimens, their images and what was said of them, on disk. To be used with ``with``."""

    def __init__(self) -> None:
        super().__init__(_TABLES)
        self.left_out: Counter[str] = Counter()
        """Regions that give no identification, by the reason."""

    def gather(self, export: Export) -> None:
        """Take in everything that is to be exported."""
        items = export.items()
        while batch := list(islice(items, _AT_ONCE)):
            reviews = export.reviews_of(batch)
            for stored in batch:
                self._take(stored, reviews.get((stored.item.uri, stored.item.frame), []), export)

    def occurrences(self) -> Iterator[Occurrence]:
        """Every specimen, in the order in which they were listed first; also those of which nothing is said."""
        ask = self._database.execute
        for number, name, terms in ask("SELECT number, id, terms FROM occurrence ORDER BY number"):
            votes = ask(
                "SELECT media, taxon, probability, candidates FROM vote WHERE occurrence = ? ORDER BY number", (number,)
            )
            said = ask(
                "SELECT media, taxon, reviewer, moment, comment FROM said WHERE occurrence = ? ORDER BY number",
                (number,),
            )
            images = ask("SELECT media, uri, terms FROM image WHERE occurrence = ? ORDER BY number", (number,))
            yield Occurrence(
                name,
                json.loads(terms),
                [Vote(media, Taxon(*json.loads(taxon)), p, json.loads(listed)) for media, taxon, p, listed in votes],
                [Said(media, Taxon(*json.loads(taxon)), who, when, why) for media, taxon, who, when, why in said],
                [(media, uri, json.loads(terms)) for media, uri, terms in images],
            )

    def uris(self) -> Iterator[str]:
        """The uris of all images."""
        return (uri for (uri,) in self._database.execute("SELECT uri FROM image ORDER BY number"))

    def _take(self, stored: StoredItem, reviews: Sequence[Review], export: Export) -> None:
        item = stored.item
        known = known_occurrence(item.metadata)
        classified = [region for region in stored.regions if region.classified]
        for region in classified:
            box = region.region.box if region.region else None
            occurrence = self._occurrence(known or derived_occurrence(item.uri, item.frame, box), item, known, export)
            self._vote(occurrence, region, item, box, export)
        for review in _last_words(reviews):
            box = review.target.region.box if review.target.region else None
            if review.target.kind == "media" and len(classified) == 1 and classified[0].region is not None:
                box = classified[0].region.box  # the one thing that there is to see
            occurrence = self._occurrence(known or derived_occurrence(item.uri, item.frame, box), item, known, export)
            self._say(occurrence, review, item, box)

    def _vote(self, occurrence: int, region: StoredRegion, item: MediaItem, box: Box | None, export: Export) -> None:
        decision = region.decision
        if decision is None or decision.candidate is None or decision.verdict != "taxon":
            self.left_out[decision.verdict if decision else "not decided"] += 1
            return
        taxon = nameable(decision.candidate.taxon, decision.candidate.rank)
        if taxon is None:
            self.left_out["no scientific name"] += 1
            return
        listed = json.dumps(_candidates(region, export.options.top), ensure_ascii=False)
        media = self._image(occurrence, item, box)
        values = (occurrence, media, _packed(taxon), decision.candidate.probability, listed)
        self._database.execute(
            "INSERT INTO vote (occurrence, media, taxon, probability, candidates) VALUES (?, ?, ?, ?, ?)", values
        )

    def _say(self, occurrence: int, review: Review, item: MediaItem, box: Box | None) -> None:
        taxon = nameable(review.taxon) if review.taxon is not None else None
        if review.verdict != "taxon" or taxon is None:
            return
        moment = review.reviewed_at.isoformat(timespec="seconds").replace("+00:00", "Z")
        values = (
            occurrence,
            self._image(occurrence, item, box),
            _packed(taxon),
            review.reviewer,
            moment,
            review.comment,
        )
        self._database.execute(
            "INSERT INTO said (occurrence, media, taxon, reviewer, moment, comment) VALUES (?, ?, ?, ?, ?, ?)", values
        )

    def _occurrence(self, name: str, item: MediaItem, known: str | None, export: Export) -> int:
        found = self._database.execute("SELECT number FROM occurrence WHERE id = ?", (name,)).fetchone()
        if found:
            return int(found[0])
        terms = json.dumps(occurrence_terms(name, item, export.options, is_known=known is not None), ensure_ascii=False)
        done = self._database.execute("INSERT INTO occurrence (id, terms) VALUES (?, ?)", (name, terms))
        return int(done.lastrowid or 0)

    def _image(self, occurrence: int, item: MediaItem, box: Box | None) -> str:
        """Put down an image, and the region of it; the id of what was looked at."""
        whole = media_id(item.uri, item.frame, None)
        looked_at: list[tuple[str, Box | None]] = [(whole, None)]
        if box is not None:
            looked_at.append((media_id(item.uri, item.frame, box), box))
        insert = "INSERT OR IGNORE INTO image (occurrence, media, uri, terms) VALUES (?, ?, ?, ?)"
        for media, region in looked_at:
            terms = json.dumps(media_terms(media, item, region, whole), ensure_ascii=False)
            self._database.execute(insert, (occurrence, media, item.uri, terms))
        return looked_at[-1][0]


def _last_words(reviews: Sequence[Review]) -> list[Review]:
    """Each person's last word on each target; the reviews come oldest first."""
    last: dict[tuple[str, Box | None], Review] = {}
    for review in reviews:
        key = (review.reviewer, review.target.region.box if review.target.region else None)
        if key not in last or review.reviewed_at >= last[key].reviewed_at:
            last.pop(key, None)
            last[key] = review
    return list(last.values())


def _packed(taxon: Taxon) -> str:
    return json.dumps([*taxon.lineage, taxon.common_name, taxon.source_id], ensure_ascii=False)


def _candidates(region: StoredRegion, top: int) -> list[list[Any]]:
    """The best at each level, the most specific level first; levels of a custom label set before all."""
    rows: list[list[Any]] = []
    depths = {rank.value: -rank.depth for rank in RANKS}
    for level, candidates in sorted(
        region.by_rank.items(), key=lambda pair: (depths.get(pair[0], -len(RANKS)), pair[0])
    ):
        for place, one in enumerate(candidates[:top], start=1):
            taxon = nameable(one.taxon, one.rank) or one.taxon
            rows.append([level, place, one.probability, one.name, one.rank, *taxon.lineage])
    return rows
