"""One committed batch: contents, regions, features, answers, decisions and failures, with the same rows when it runs twice."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, delete, select, update

from bioclip_core.classify import Candidate
from bioclip_core.errors import StoreError
from bioclip_plugin.items.media import WHOLE_BOX
from bioclip_plugin.store.database import schema
from bioclip_plugin.store.database.bulk import chunked, find_or_insert, insert_new, rows_with, upsert
from bioclip_plugin.store.detections import BY_DETECTOR, NOTHING_BY_DETECTOR, write_boxes
from bioclip_plugin.store.listing import delete_answers, forget, update_media
from bioclip_plugin.store.media_rows import RegionPlace, capture_of, region_ids, region_key
from bioclip_plugin.store.records import DONE, Box, ItemRecord, RegionRecord, Run
from bioclip_plugin.store.runs import check, fail
from bioclip_plugin.store.taxa import Key, TaxonCache, key_of, rank_code

Regions = dict[int, tuple[ItemRecord, RegionRecord]]
"""By region number, in ascending order, which is the order of the large tables' keys."""


def commit(connection: Connection, run: Run, records: Sequence[ItemRecord], cache: TaxonCache) -> dict[Key, int]:
    """Write a batch; return the numbers of its taxa, to be remembered after the commit.

    Raises:
        StoreError: for a probability or feature that is not a number.
    """
    check(connection, run)
    unique = list({record.listed.media_id: record for record in records}.values())
    for record in unique:
        _check(run, record)
    contents = _contents(connection, unique)
    final = {record.listed.media_id: record.content_sha256 for record in unique}
    replaced = {r.listed.media_id for r in records if r.content_sha256 != final[r.listed.media_id]}
    _media(connection, unique, contents, replaced)
    wanted: dict[RegionPlace, tuple[ItemRecord, RegionRecord]] = {
        (record.listed.media_id, region_key(region.region)): (record, region)
        for record in unique
        if record.failure is None
        for region in record.regions
    }
    ids = region_ids(connection, {place: region.region for place, (_, region) in wanted.items()})
    regions = {ids[place]: wanted[place] for place in sorted(wanted, key=ids.__getitem__)}
    taxa = cache.ids(connection, {key_of(candidate) for _, region in regions.values() for candidate in _named(region)})
    _features(connection, run, regions, contents)
    write_boxes(connection, run, unique, contents)
    _answers(connection, run, regions, taxa)
    # Verdict, event and trail become null, since rules decided on an earlier answer.
    decisions = [
        decision_row(run, number, region.consensus, taxa)
        for number, (_, region) in regions.items()
        if region.region is None or region.region.classified
    ]
    upsert(connection, schema.decisions, decisions)
    _listed_regions(connection, run, unique, ids)
    _statuses(connection, run, unique)
    return taxa


def _named(region: RegionRecord) -> list[Candidate]:
    """Return all candidates of a region, with the one that was decided on."""
    candidates = [candidate for listed in (region.by_rank or {}).values() for candidate in listed]
    return candidates + ([region.consensus] if region.consensus is not None else [])


def _check(run: Run, record: ItemRecord) -> None:
    for region in record.regions:
        for candidate in _named(region):
            if not math.isfinite(candidate.probability):
                raise StoreError(
                    f"{record.item.uri}: {candidate.name!r} has the probability {candidate.probability}, which is not "
                    "stored: the model gave no number; try --precision fp32"
                )
        if region.features is not None:
            _check_features(run, record, region.features)


def _check_features(run: Run, record: ItemRecord, features_D: NDArray[np.float16]) -> None:
    if features_D.dtype != np.float16 or features_D.shape != (run.dimension,):
        raise ValueError(
            f"{record.item.uri}: features of {features_D.dtype} {features_D.shape}; this run stores float16 ({run.dimension},)"
        )
    if not np.isfinite(features_D).all():
        raise StoreError(
            f"{record.item.uri}: its features hold values that are not numbers: the model gave none; try --precision fp32"
        )


def _contents(connection: Connection, records: Sequence[ItemRecord]) -> dict[int, int]:
    """Return the content's number by media number, for records that state their file's content."""
    keys = {
        record.listed.media_id: (record.content_sha256, record.item.frame)
        for record in records
        if record.content_sha256 is not None
    }
    sizes = {
        (record.content_sha256, record.item.frame): (record.stat or (0,))[0]
        if record.content_size is None
        else record.content_size
        for record in records
    }
    table = schema.contents.c
    # Descending, so that of several rows of one content (with other sizes) the oldest counts.
    query = select(table.sha256, table.frame, table.id).order_by(table.id.desc())
    found = find_or_insert(
        connection,
        schema.contents,
        sorted(set(keys.values())),
        lambda: {
            (row.sha256, row.frame): int(row.id)
            for row in rows_with(connection, query, table.sha256, (sha256 for sha256, _ in keys.values()))
        },
        lambda key: {"sha256": key[0], "frame": key[1], "size": sizes[key]},
    )
    return {media: found[key] for media, key in keys.items()}


def _media(
    connection: Connection, records: Sequence[ItemRecord], contents: Mapping[int, int], replaced: Collection[int]
) -> None:
    """Write the facts about the files; a file with another content than before loses its old answers first.

    Args:
        replaced: numbers of the media that had another content earlier in the batch, under the same name.
    """
    numbers = [record.listed.media_id for record in records]
    stored = {row.id: row for row in rows_with(connection, select(schema.media), schema.media.c.id, numbers)}
    changed = [n for n, content in contents.items() if n in replaced or stored[n].content not in (None, content)]
    forget(connection, changed)
    rows = []
    for number, record in zip(numbers, records, strict=True):
        size, mtime_ns = record.stat or (None, None)
        values = {"content": contents.get(number), "size": size, "mtime_ns": mtime_ns, **capture_of(record.item)}
        if number in changed or any(value not in (None, getattr(stored[number], n)) for n, value in values.items()):
            rows.append({"media": number, **values})
    update_media(connection, rows)


def _features(connection: Connection, run: Run, regions: Regions, contents: Mapping[int, int]) -> None:
    rows: dict[tuple[int, Box], dict[str, Any]] = {}
    for record, region in regions.values():
        content = contents.get(record.listed.media_id)
        if region.features is not None and content is not None:
            x, y, w, h = box = region.region.box if region.region is not None else WHOLE_BOX
            rows[content, box] = {
                "feature_set": run.feature_set,
                "content": content,
                "x": x,
                "y": y,
                "w": w,
                "h": h,
                "vector": region.features.astype("<f2").tobytes(),
            }
    insert_new(connection, schema.features, list(rows.values()))


def _answers(connection: Connection, run: Run, regions: Regions, taxa: Mapping[Key, int]) -> None:
    fresh = {number: region for number, (_, region) in regions.items() if region.by_rank is not None}
    table = schema.answers.c
    query = select(table.answer_set, table.region).where(table.answer_set == run.answer_set)
    delete_answers(connection, [(row[0], row[1]) for row in rows_with(connection, query, table.region, fresh)])
    answers = [
        {"answer_set": run.answer_set, "region": number, "flags": " ".join(region.flags)}
        for number, region in fresh.items()
    ]
    candidates = [
        {
            "answer_set": run.answer_set,
            "region": number,
            "rank": rank,
            "position": position,
            "taxon": taxa[key_of(candidate)],
            "probability": float(candidate.probability),
        }
        for number, region in fresh.items()
        for rank, listed in sorted((rank_code(rank), listed) for rank, listed in (region.by_rank or {}).items())
        for position, candidate in enumerate(listed)
    ]
    insert_new(connection, schema.answers, answers)
    insert_new(connection, schema.candidates, candidates)


def decision_row(run: Run, region: int, best: Candidate | None, taxa: Mapping[Key, int]) -> dict[str, Any]:
    """Return the row of a decision, without what rules added to it."""
    return {
        "decision_set": run.decision_set,
        "region": region,
        "taxon": taxa[key_of(best)] if best else None,
        "rank": rank_code(best.rank) if best else None,
        "probability": float(best.probability) if best else None,
        "verdict": None,
        "event": None,
        "trail": None,
    }


def _listed_regions(
    connection: Connection, run: Run, records: Sequence[ItemRecord], ids: Mapping[RegionPlace, int]
) -> None:
    table = schema.listed_regions
    for chunk in chunked(record.listed.media_id for record in records):
        connection.execute(delete(table).where(table.c.run == run.id, table.c.media.in_(chunk)))
    rows = []
    for media, record in [(record.listed.media_id, record) for record in records if record.failure is None]:
        of_region = {ids[media, region_key(one.region)]: one.region for one in record.regions}
        rows += [
            {
                "run": run.id, "media": media, "position": position, "region": number,
                "classified": int(region is None or region.classified),
                "confidence": None if region is None or region.confidence is None else float(region.confidence),
            }
            for position, (number, region) in enumerate(of_region.items())
        ]  # fmt: skip
    insert_new(connection, table, rows)


def _statuses(connection: Connection, run: Run, records: Sequence[ItemRecord]) -> None:
    listed, failed = schema.listing, schema.failures
    for chunk in chunked(record.listed.media_id for record in records if record.failure is None):
        connection.execute(update(listed).where(listed.c.run == run.id, listed.c.media.in_(chunk)).values(status=DONE))
        connection.execute(delete(failed).where(failed.c.run == run.id, failed.c.media.in_(chunk)))
    for words, is_empty in ((BY_DETECTOR, False), (NOTHING_BY_DETECTOR, True)):
        detected = (record.listed.media_id for record in records
                    if record.failure is None and record.by_detector and bool(record.regions) != is_empty)  # fmt: skip
        for chunk in chunked(detected):
            mine = (listed.c.run == run.id, listed.c.media.in_(chunk), listed.c.stated != words)
            connection.execute(update(listed).where(*mine).values(stated=words))
    fail(connection, run, {record.listed.media_id: record.failure for record in records if record.failure is not None})
