"""One committed batch: contents, regions, features, answers, decisions and failures, written so that twice is the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, delete, select, update

from bioclip_core.classify import Candidate
from bioclip_core.errors import StoreError
from bioclip_plugin.items.media import Region
from bioclip_plugin.store.database import schema
from bioclip_plugin.store.database.bulk import chunked, insert_new, upsert
from bioclip_plugin.store.database.values import now
from bioclip_plugin.store.listing import DONE, FAILED, delete_answers, forget, upsert_media
from bioclip_plugin.store.media_rows import RegionKey, capture_of, region_ids, region_key
from bioclip_plugin.store.records import ItemRecord, RegionRecord, Run
from bioclip_plugin.store.taxa import Key, TaxonCache, key_of, rank_code

RegionPlace = tuple[int, RegionKey]
"""Media number and region key."""


def commit(connection: Connection, run: Run, records: Sequence[ItemRecord], cache: TaxonCache) -> dict[Key, int]:
    """Write a batch; returns the taxa's numbers, to be remembered after the commit.

    Raises:
        StoreError: for a probability or feature that is not a number.
    """
    unique = list({record.listed.media_id: record for record in records}.values())
    for record in unique:
        _check(run, record)
    contents = _contents(connection, unique)
    _media(connection, unique, contents)
    done = [record for record in unique if record.failure is None]
    wanted: dict[RegionPlace, tuple[ItemRecord, RegionRecord]] = {
        (record.listed.media_id, region_key(region.region)): (record, region)
        for record in done
        for region in record.regions
    }
    asked: dict[RegionPlace, Region | None] = {place: region.region for place, (_, region) in wanted.items()}
    ids = region_ids(connection, asked)
    regions = {
        ids[place]: (record, region) for place, (record, region) in sorted(wanted.items(), key=lambda p: ids[p[0]])
    }
    taxa = cache.ids(connection, _taxa_of(regions))
    _features(connection, run, regions, contents)
    _answers(connection, run, regions, taxa)
    _decisions(connection, run, regions, taxa)
    _listed_regions(connection, run, unique, ids)
    _statuses(connection, run, unique)
    return taxa


Regions = dict[int, tuple[ItemRecord, RegionRecord]]
"""By region number, in ascending order, which is the order of the big tables' keys."""


def _check(run: Run, record: ItemRecord) -> None:
    for region in record.regions:
        listed = [candidate for candidates in (region.by_rank or {}).values() for candidate in candidates]
        for candidate in [*listed, *([region.consensus] if region.consensus else [])]:
            if not math.isfinite(candidate.probability):
                raise StoreError(
                    f"{record.item.uri}: {candidate.name!r} has the probability {candidate.probability}, which is not "
                    "stored: the model gave no number; try --precision fp32"
                )
        if region.features is not None:
            _check_features(run, record, region)


def _check_features(run: Run, record: ItemRecord, region: RegionRecord) -> None:
    import numpy as np

    features = region.features
    assert features is not None
    if features.dtype != np.float16 or features.shape != (run.dimension,):
        raise ValueError(
            f"{record.item.uri}: features of {features.dtype} {features.shape}; this run stores float16 ({run.dimension},)"
        )
    if not np.isfinite(features).all():
        raise StoreError(
            f"{record.item.uri}: its features hold values that are not numbers: the model gave none; try --precision fp32"
        )


def _contents(connection: Connection, records: Sequence[ItemRecord]) -> dict[int, int]:
    """The content's number by media number, where the record says what the file held."""
    wanted: dict[tuple[str, int], int] = {}
    for record in records:
        if record.content_sha256 is not None:
            size = record.content_size if record.content_size is not None else (record.stat or (0,))[0]
            wanted[record.content_sha256, record.item.frame] = size
    found = _content_ids(connection, wanted)
    missing = [
        {"sha256": sha256, "frame": frame, "size": size}
        for (sha256, frame), size in sorted(wanted.items())
        if (sha256, frame) not in found
    ]
    if missing:
        insert_new(connection, schema.contents, missing)
        found = _content_ids(connection, wanted)
    return {
        record.listed.media_id: found[record.content_sha256, record.item.frame]
        for record in records
        if record.content_sha256 is not None
    }


def _content_ids(connection: Connection, wanted: dict[tuple[str, int], int]) -> dict[tuple[str, int], int]:
    table = schema.contents.c
    found: dict[tuple[str, int], int] = {}
    for chunk in chunked(sorted({sha256 for sha256, _ in wanted})):
        query = select(table.sha256, table.frame, table.id).where(table.sha256.in_(chunk)).order_by(table.id.desc())
        found.update({(row.sha256, row.frame): row.id for row in connection.execute(query)})
    return found


def _media(connection: Connection, records: Sequence[ItemRecord], contents: dict[int, int]) -> None:
    """Write what was learned of the files; a file with another content than before loses its old answers first."""
    numbers = [record.listed.media_id for record in records]
    stored = {
        row.id: row
        for chunk in chunked(numbers)
        for row in connection.execute(select(schema.media).where(schema.media.c.id.in_(chunk)))
    }
    other = [n for n, content in contents.items() if stored[n].content not in (None, content)]
    if other:
        forget(connection, other)
    rows = []
    for record in records:
        number = record.listed.media_id
        size, mtime_ns = record.stat or (None, None)
        values = {"content": contents.get(number), "size": size, "mtime_ns": mtime_ns, **capture_of(record.item)}
        before = stored[number]
        if number in other or any(value not in (None, getattr(before, name)) for name, value in values.items()):
            rows.append({"media": number, **values})
    upsert_media(connection, rows)


def _taxa_of(regions: Regions) -> set[Key]:
    keys: set[Key] = set()
    for _, region in regions.values():
        for candidates in (region.by_rank or {}).values():
            keys.update(key_of(candidate) for candidate in candidates)
        if region.consensus is not None:
            keys.add(key_of(region.consensus))
    return keys


def _features(connection: Connection, run: Run, regions: Regions, contents: dict[int, int]) -> None:
    rows: dict[tuple[int, RegionKey], dict[str, Any]] = {}
    for record, region in regions.values():
        content = contents.get(record.listed.media_id)
        if region.features is None or content is None:
            continue
        key = region_key(region.region)
        x, y, w, h = key[0]
        vector = region.features.astype("<f2").tobytes()
        box = {"x": x, "y": y, "w": w, "h": h}
        rows[content, (key[0], "", "", "")] = {
            "feature_set": run.feature_set,
            "content": content,
            **box,
            "vector": vector,
        }
    insert_new(connection, schema.features, list(rows.values()))


def _answers(connection: Connection, run: Run, regions: Regions, taxa: dict[Key, int]) -> None:
    fresh = {number: region for number, (_, region) in regions.items() if region.by_rank is not None}
    table = schema.answers.c
    for chunk in chunked(fresh):
        query = select(table.region).where(table.answer_set == run.answer_set, table.region.in_(chunk))
        delete_answers(connection, [(run.answer_set, number) for number in connection.execute(query).scalars()])
    answers = [
        {"answer_set": run.answer_set, "region": number, "flags": " ".join(region.flags)}
        for number, region in fresh.items()
    ]
    insert_new(connection, schema.answers, answers)
    insert_new(connection, schema.candidates, _candidate_rows(run.answer_set, fresh, taxa))


def _candidate_rows(answer_set: int, fresh: dict[int, RegionRecord], taxa: dict[Key, int]) -> list[dict[str, Any]]:
    rows = []
    for number, region in fresh.items():
        by_code: list[tuple[int, tuple[Candidate, ...]]] = sorted(
            (rank_code(rank), candidates) for rank, candidates in (region.by_rank or {}).items()
        )
        for rank, candidates in by_code:
            for position, candidate in enumerate(candidates):
                rows.append(
                    {
                        "answer_set": answer_set,
                        "region": number,
                        "rank": rank,
                        "position": position,
                        "taxon": taxa[key_of(candidate)],
                        "probability": float(candidate.probability),
                    }
                )
    return rows


def _decisions(connection: Connection, run: Run, regions: Regions, taxa: dict[Key, int]) -> None:
    rows = []
    for number, (_, region) in regions.items():
        if region.region is not None and not region.region.classified:
            continue
        best = region.consensus
        rows.append(
            {
                "decision_set": run.decision_set,
                "region": number,
                "taxon": taxa[key_of(best)] if best else None,
                "rank": rank_code(best.rank) if best else None,
                "probability": float(best.probability) if best else None,
                **dict.fromkeys(("verdict", "event", "trail")),  # what rules said of an earlier answer
            }
        )
    upsert(connection, schema.decisions, rows)


def _listed_regions(
    connection: Connection, run: Run, records: Sequence[ItemRecord], ids: dict[RegionPlace, int]
) -> None:
    table = schema.listed_regions
    for chunk in chunked(record.listed.media_id for record in records):
        connection.execute(delete(table).where(table.c.run == run.id, table.c.media.in_(chunk)))
    rows = []
    for record in records:
        if record.failure is None:
            media = record.listed.media_id
            classified = {
                ids[media, region_key(one.region)]: int(one.region is None or one.region.classified)
                for one in record.regions
            }
            rows += [
                {"run": run.id, "media": media, "position": position, "region": number, "classified": named}
                for position, (number, named) in enumerate(classified.items())
            ]
    insert_new(connection, table, rows)


def _statuses(connection: Connection, run: Run, records: Sequence[ItemRecord]) -> None:
    listed, failed = schema.listing.c, schema.failures
    for status in (DONE, FAILED):
        numbers = [record.listed.media_id for record in records if (record.failure is not None) == (status == FAILED)]
        for chunk in chunked(numbers):
            here = and_(listed.run == run.id, listed.media.in_(chunk))
            connection.execute(update(schema.listing).where(here).values(status=status))
            if status == DONE:
                connection.execute(delete(failed).where(failed.c.run == run.id, failed.c.media.in_(chunk)))
    moment = now()
    rows = [
        {
            "run": run.id,
            "media": record.listed.media_id,
            "stage": record.failure.stage,
            "reason": record.failure.reason,
            "failed_at": moment,
            "attempts": 1,
        }
        for record in records
        if record.failure is not None
    ]
    upsert(connection, failed, rows, changing={"attempts": failed.c.attempts + 1})
