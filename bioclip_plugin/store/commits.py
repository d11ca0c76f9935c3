"""One committed batch: contents, regions, features, answers, decisions and failures, with the same rows when it runs twice."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from bioclip_core.classify import Candidate
from bioclip_core.errors import StoreError
from bioclip_plugin.items.media import WHOLE_BOX
from bioclip_plugin.store.database import schema
from bioclip_plugin.store.database.bulk import (
    Part,
    execute,
    find_or_insert,
    insert_fresh,
    insert_new,
    keys_parameter,
    sent_together,
    upsert,
)
from bioclip_plugin.store.detections import BY_DETECTOR, NOTHING_BY_DETECTOR, write_boxes, write_found
from bioclip_plugin.store.listing import delete_answers, forget, update_media
from bioclip_plugin.store.media_rows import CAPTURE, RegionPlace, capture_of, region_ids, region_key
from bioclip_plugin.store.reading import uncollected
from bioclip_plugin.store.records import DONE, Box, Content, FoundBox, ItemRecord, RegionRecord, Run
from bioclip_plugin.store.runs import check, fail
from bioclip_plugin.store.taxa import Numbers, TaxonCache, rank_code

Regions = dict[int, tuple[ItemRecord, RegionRecord]]
"""By region number, in ascending order, which is the order of the large tables' keys."""

DECISION = ("decision_set", "region", "taxon", "rank", "probability", "verdict", "event", "trail")
"""The columns of a decision. Rules add the last three."""
_FILE = ("content", "size", "mtime_ns")
"""The columns of an image that are about its file."""
_UNKNOWN = (None,) * len((*_FILE, *CAPTURE))
"""The values of these columns, and of those of the capture, of an image that was only listed."""
_ANSWER = ("answer_set", "region", "flags")
_LISTED_REGION = ("run", "media", "position", "region", "classified", "confidence")
_CANDIDATE = ("answer_set", "region", "rank", "position", "taxon", "probability")
_FEATURE = ("feature_set", "content", "x", "y", "w", "h", "vector")


def commit(connection: Connection, run: Run, records: Sequence[ItemRecord], cache: TaxonCache) -> Numbers:
    """Write a batch; return the numbers of its taxa, to be remembered after the commit.

    Raises:
        StoreError: for a probability or feature that is not a number.
    """
    check(connection, run, writes=True)
    unique = list({record.listed.media_id: record for record in records}.values())
    wanted: dict[RegionPlace, tuple[ItemRecord, RegionRecord]] = {
        (record.listed.media_id, region_key(region.region)): (record, region)
        for record in unique
        if record.failure is None
        for region in record.regions
    }
    _check(run, unique)
    contents, new_contents = _contents(connection, unique)
    final = {record.listed.media_id: record.content_sha256 for record in unique}
    replaced = {r.listed.media_id for r in records if r.content_sha256 != final[r.listed.media_id]}
    facts = _changed_facts(connection, unique, contents, replaced)
    ids, new_places = region_ids(connection, {place: region.region for place, (_, region) in wanted.items()})
    regions = {ids[place]: wanted[place] for place in sorted(wanted, key=ids.__getitem__)}
    new_regions = {ids[place] for place in new_places}
    write_boxes(connection, run, unique, contents)
    with uncollected():
        with sent_together(connection):
            update_media(connection, _FILE, facts.of_files)
            update_media(connection, (*_FILE, *CAPTURE), facts.whole)
            _listed_regions(connection, run, unique, ids)
            _statuses(connection, run, unique)
            rows = _Rows(run, regions, contents, cache)  # while the server works
        new_taxa = rows.number_taxa(connection)
        _forget_answers(connection, run, [number for number in rows.answered if number not in new_regions])
        known: list[Part] = []
        left = insert_fresh(connection, _fresh(rows.parts(), new_regions, new_contents, known))
    if left or known:
        with sent_together(connection):
            for table, names, of_table in left + known:
                (upsert if table is schema.decisions else insert_new)(connection, table, names, of_table)
    return new_taxa


def _fresh(
    parts: Iterable[Part], new_regions: Collection[int], new_contents: Collection[int], known: list[Part]
) -> Iterator[Part]:
    """Yield the rows with a new number, whose keys cannot exist; the others are added to ``known``."""
    for table, names, rows in parts:
        new = new_contents if table is schema.features else new_regions
        fresh = [row for row in rows if row[1] in new]
        if len(fresh) < len(rows):
            known.append((table, names, [row for row in rows if row[1] not in new]))
        if fresh:
            yield table, names, fresh


def _candidates_of(region: RegionRecord) -> list[Candidate]:
    """Return all candidates of a region, with the one that was decided on."""
    found = [] if region.consensus is None else [region.consensus]
    for listed in (region.by_rank or {}).values():
        found += listed
    return found


def _check(run: Run, records: Iterable[ItemRecord]) -> None:
    """Refuse probabilities and features that are not numbers."""
    regions = [(record, region) for record in records for region in record.regions]
    if not np.isfinite([c.probability for _, region in regions for c in _candidates_of(region)]).all():
        _refuse_probability(regions)
    vectors = [(record, region.features) for record, region in regions if region.features is not None]
    for record, features_D in vectors:
        if features_D.dtype != np.float16 or features_D.shape != (run.dimension,):
            raise ValueError(
                f"{record.item.uri}: features of {features_D.dtype} {features_D.shape}; this run stores float16 "
                f"({run.dimension},)"
            )
    if not vectors:
        return
    finite_B = np.isfinite(np.stack([features_D for _, features_D in vectors])).all(axis=1)
    if not finite_B.all():
        raise StoreError(
            f"{vectors[int(finite_B.argmin())][0].item.uri}: its features hold values that are not numbers: the model gave "
            "none; try --precision fp32"
        )


def _refuse_probability(regions: Iterable[tuple[ItemRecord, RegionRecord]]) -> None:
    for record, region in regions:
        for candidate in _candidates_of(region):
            if not math.isfinite(candidate.probability):
                raise StoreError(
                    f"{record.item.uri}: {candidate.name!r} has the probability {candidate.probability}, which is not "
                    "stored: the model gave no number; try --precision fp32"
                )


def _contents(connection: Connection, records: Sequence[ItemRecord]) -> tuple[dict[int, int], set[int]]:
    """Return the content's number by media number, for records that state their file's content, and the new numbers."""
    keys, sizes = {}, {}
    for record in records:
        if record.content_sha256 is not None:
            key = (record.content_sha256, record.item.frame)
            keys[record.listed.media_id] = key
            sizes[key] = (record.stat or (0,))[0] if record.content_size is None else record.content_size
    found, new = _content_numbers(connection, sizes)
    return {media: found[key] for media, key in keys.items()}, new


def keep_boxes(connection: Connection, run: Run, found: Mapping[Content, tuple[int, Sequence[FoundBox]]]) -> None:
    """Write boxes of the run's detector by content, before the images that have it are committed."""
    check(connection, run)
    numbers, _ = _content_numbers(connection, {content: size for content, (size, _) in found.items()})
    write_found(connection, run, {numbers[content]: boxes for content, (_, boxes) in found.items()})


def _content_numbers(connection: Connection, sizes: Mapping[Content, int]) -> tuple[dict[Content, int], set[int]]:
    """Return the numbers of contents, and those of them that are new, with their sizes."""
    if not sizes:
        return {}, set()

    def stored() -> dict[tuple[str, int], int]:
        # Descending, so that of several rows of one content (with other sizes) the oldest counts.
        query = f"SELECT sha256, frame, id FROM {schema.contents.name} WHERE sha256 {{keys}} ORDER BY id DESC"
        hashes = keys_parameter(connection, list({sha256 for sha256, _ in sizes}))
        return {(sha256, frame): number for sha256, frame, number in execute(connection, query, hashes)}

    found, new = find_or_insert(
        connection,
        schema.contents,
        ("sha256", "frame", "size"),
        list(sizes) if connection.dialect.name == "sqlite" else sorted(sizes),
        stored,
        lambda key: (*key, sizes[key]),
        lambda _, number: number,
    )
    return found, {found[key] for key in new}


class _Facts(NamedTuple):
    """Rows of facts about files that are to be written, each with the number of its image behind them."""

    of_files: list[tuple[Any, ...]]
    """Of images whose capture metadata are stored already: nearly all of them."""
    whole: list[tuple[Any, ...]]


def _changed_facts(
    connection: Connection, records: Sequence[ItemRecord], contents: Mapping[int, int], replaced: Collection[int]
) -> _Facts:
    """Return the facts about the files that are not stored yet; a file with another content than before loses its old answers.

    Args:
        replaced: numbers of the media that had another content earlier in the batch, under the same name.
    """
    columns = [f'"{name}"' for name in (*_FILE, *CAPTURE)]
    # Nothing is known yet of most images.
    is_known = " OR ".join(f"{column} IS NOT NULL" for column in columns)
    query = f"SELECT id, {', '.join(columns)} FROM {schema.media.name} WHERE id {{keys}} AND ({is_known})"
    numbers = keys_parameter(connection, [record.listed.media_id for record in records])
    stored = {row[0]: tuple(row[1:]) for row in execute(connection, query, numbers)}
    changed = {
        n for n, content in contents.items() if n in replaced or stored.get(n, _UNKNOWN)[0] not in (None, content)
    }
    forget(connection, sorted(changed))
    found, last = _Facts([], []), len(_FILE)
    for record in records:
        number = record.listed.media_id
        file, capture = (contents.get(number), *(record.stat or (None, None))), capture_of(record.item)
        here = stored.get(number, _UNKNOWN)
        if number in changed or _adds(capture, here[last:]):
            found.whole.append((*file, *capture, number))
        elif _adds(file, here[:last]):
            found.of_files.append((*file, number))
    return found


def _adds(given: tuple[Any, ...], stored: tuple[Any, ...]) -> bool:
    """True if a value is given that is not stored."""
    return given != stored and any(new is not None and new != old for new, old in zip(given, stored, strict=True))


class _Rows:
    """The rows of a batch's answers, decisions and features, made table by table."""

    def __init__(self, run: Run, regions: Regions, contents: Mapping[int, int], cache: TaxonCache) -> None:
        self._run, self._regions, self._contents = run, regions, contents
        self.answered = {number: region for number, (_, region) in regions.items() if region.by_rank is not None}
        """Regions with an answer, by number."""
        self._levels = [
            (number, code, by_rank[rank])
            for number, region in self.answered.items()
            if (by_rank := region.by_rank)
            for code, rank in _in_order(tuple(by_rank))
        ]
        self._decided = {
            number: region.consensus
            for number, (_, region) in regions.items()
            if region.region is None or region.region.classified
        }
        best = [candidate for candidate in self._decided.values() if candidate is not None]
        self._search = cache.search([candidate for _, _, listed in self._levels for candidate in listed] + best)
        self._taxa: list[int] = []

    def number_taxa(self, connection: Connection) -> Numbers:
        """Insert new taxa; return what is to be remembered after the commit."""
        self._taxa, new = self._search.finish(connection)
        return new

    def parts(self) -> Iterator[Part]:
        """Yield the rows of each table, once taxa have numbers; the second value is the number of the region, or the content."""
        taxon = iter(self._taxa)
        yield schema.candidates, _CANDIDATE, self._candidates(taxon)
        yield schema.features, _FEATURE, self._features()
        answer_set = self._run.answer_set
        answers = [(answer_set, number, " ".join(region.flags)) for number, region in self.answered.items()]
        yield schema.answers, _ANSWER, answers
        yield schema.decisions, DECISION, self._decisions(taxon)

    def _candidates(self, taxon: Iterator[int]) -> list[tuple[Any, ...]]:
        answer_set = self._run.answer_set
        return [
            (answer_set, number, code, position, next(taxon), float(candidate.probability))
            for number, code, listed in self._levels
            for position, candidate in enumerate(listed)
        ]

    def _decisions(self, taxon: Iterator[int]) -> list[tuple[Any, ...]]:
        # Verdict, event and trail become null, since rules decided on an earlier answer.
        return [
            (*decision_row(self._run, number, best, None if best is None else next(taxon)), None, None, None)
            for number, best in self._decided.items()
        ]

    def _features(self) -> list[tuple[Any, ...]]:
        vectors: dict[tuple[int, Box], NDArray[np.float16]] = {}
        for record, region in self._regions.values():
            content = self._contents.get(record.listed.media_id)
            if region.features is not None and content is not None:
                vectors[content, region.region.box if region.region is not None else WHOLE_BOX] = region.features
        return [
            (self._run.feature_set, content, *box, features_D.astype("<f2", copy=False).tobytes())
            for (content, box), features_D in vectors.items()
        ]


@lru_cache(maxsize=64)
def _in_order(ranks: tuple[str, ...]) -> list[tuple[int, str]]:
    """Return the ranks with their codes, in the order of the codes."""
    return sorted((rank_code(rank), rank) for rank in ranks)


def _forget_answers(connection: Connection, run: Run, regions: Sequence[int]) -> None:
    if regions:
        query = f"SELECT region FROM {schema.answers.name} WHERE answer_set = ? AND region {{keys}}"
        found = execute(connection, query, run.answer_set, keys_parameter(connection, regions)).scalars()
        delete_answers(connection, [(run.answer_set, region) for region in found])


def decision_row(run: Run, region: int, best: Candidate | None, taxon: int | None) -> tuple[Any, ...]:
    """Return the row of a decision, without what rules added to it: the first columns of ``DECISION``."""
    if best is None:
        return run.decision_set, region, None, None, None
    return run.decision_set, region, taxon, rank_code(best.rank), float(best.probability)


def _listed_regions(
    connection: Connection, run: Run, records: Sequence[ItemRecord], ids: Mapping[RegionPlace, int]
) -> None:
    table = schema.listed_regions
    media = keys_parameter(connection, [record.listed.media_id for record in records])
    execute(connection, f"DELETE FROM {table.name} WHERE run = ? AND media {{keys}}", run.id, media)
    rows = []
    for number, record in [(record.listed.media_id, record) for record in records if record.failure is None]:
        of_region = {ids[number, region_key(one.region)]: one.region for one in record.regions}
        rows += [
            (
                run.id, number, position, place, int(region is None or region.classified),
                None if region is None or region.confidence is None else float(region.confidence),
            )
            for position, (place, region) in enumerate(of_region.items())
        ]  # fmt: skip
    insert_new(connection, table, _LISTED_REGION, rows)


def _statuses(connection: Connection, run: Run, records: Sequence[ItemRecord]) -> None:
    listed, failed = schema.listing.name, schema.failures.name
    done = [record for record in records if record.failure is None]
    if done:
        media = keys_parameter(connection, [record.listed.media_id for record in done])
        execute(connection, f"UPDATE {listed} SET status = {DONE} WHERE run = ? AND media {{keys}}", run.id, media)
        execute(connection, f"DELETE FROM {failed} WHERE run = ? AND media {{keys}}", run.id, media)
    for words, is_empty in ((BY_DETECTOR, False), (NOTHING_BY_DETECTOR, True)):
        detected = [r.listed.media_id for r in done if r.by_detector and bool(r.regions) != is_empty]
        if detected:
            update = f"UPDATE {listed} SET stated = ? WHERE run = ? AND stated <> ? AND media {{keys}}"
            execute(connection, update, words, run.id, words, keys_parameter(connection, detected))
    fail(connection, run, {record.listed.media_id: record.failure for record in records if record.failure is not None})
