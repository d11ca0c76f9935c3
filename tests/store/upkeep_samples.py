"""Stores with several runs that share media, contents, boxes and layers, and everything that is to be seen of a run."""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sqlalchemy import Connection, func, select
from store_samples import BY_RANK, CONSENSUS, LYNX, PLAN, STAT

from bioclip_core.classify import Candidate
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.items.answers import Failure
from bioclip_plugin.items.media import MediaItem, Region
from bioclip_plugin.store import ItemRecord, RegionRecord, ReviewTarget, Run, RunPlan, Store
from bioclip_plugin.store.database import schema
from bioclip_plugin.store.records import StoredDecision

BOXES = tuple(Region(n / 10, 0.1, 0.1, 0.2, "detector", "1", "animal", 0.9) for n in range(4))


@dataclass(frozen=True)
class Made:
    """One run to be made: its layers and its images, each with its content and boxes; None has failed."""

    plan: RunPlan
    items: dict[str, tuple[str, tuple[Region, ...]] | None]
    status: Any = "finished"
    todo: tuple[str, ...] = ()


def plan_of(feature: int, answer: int, rule: int, source: int) -> RunPlan:
    name = f"{feature}.{answer}"
    return replace(
        PLAN,
        sources=(f"photos {source}",),
        feature_id=f"f{feature}",
        answer_id=f"a{name}",
        rule_id=f"r{name}.{rule}",
        rule_settings={"rules": ["consensus", "events"]},
    )


def random_runs(seed: int, runs: int = 5, images: int = 12, *, open_runs: bool = False) -> list[Made]:
    """Return runs over the same images, some with equal layers, some with other boxes.

    Args:
        open_runs: True leaves something to do in some.
    """
    chance = random.Random(seed)
    contents = {f"{n}.jpg": f"sha-{chance.randrange(images)}" for n in range(images)}
    empty = set(chance.sample(sorted(contents), 2))
    found: dict[str, Made] = {}
    while len(found) < runs:
        plan = plan_of(chance.randrange(2), chance.randrange(2), chance.randrange(2), chance.randrange(3))
        names = chance.sample(sorted(contents), chance.randrange(1, images))
        items = {
            name: None if name in empty else (contents[name], tuple(chance.sample(BOXES, chance.randrange(3))))
            for name in names
        }
        todo = tuple(set(contents) - set(names)) if open_runs and chance.random() < 0.4 else ()
        found[str((plan.sources, plan.rule_id))] = Made(plan, items, "interrupted" if todo else "finished", todo)
    return list(found.values())


def make(store: Store, made: Made) -> Run:
    """Classify, as far as the store sees of it; what is known is not stored again."""
    run = store.begin_run(made.plan)
    entries = [
        MediaItem(uri, sequence=f"event {int(uri.split('.')[0]) % 3}", regions=(made.items.get(uri) or ("", ()))[1])
        for uri in [*made.items, *made.todo]
    ]
    listed = store.list_items(run, entries, [STAT] * len(entries))
    store.commit(run, [_record(made, one) for one in listed if one.item.uri in made.items])
    decisions = {
        region.region_id: StoredDecision("taxon", CONSENSUS, f"rule's event {n % 2}", ({"rule": "events", "did": "x"},))
        for n, item in enumerate(store.items_of(run))
        for region in item.regions
    }
    store.deciding(run).write(decisions)
    store.end_run(run, made.status, {"done": len(made.items)})
    return run


def _record(made: Made, listed: Any) -> ItemRecord:
    entry = made.items[listed.item.uri]
    if entry is None:
        return ItemRecord(listed, listed.item, STAT, failure=Failure("decode", "it is empty"))
    sha256, boxes = entry
    number = int(sha256.rpartition("-")[2])
    vector = np.array([number, 1, 2, 3], dtype=np.float16)
    own = Candidate(Taxon(*LYNX.lineage[:6], f"species{number}"), "species", 0.5)
    by_rank = {**BY_RANK, "species": (own, *BY_RANK["species"])}
    regions = tuple(RegionRecord(box, vector, by_rank, (), CONSENSUS) for box in boxes or (None,))
    return ItemRecord(listed, listed.item, STAT, sha256, STAT[0], regions)


def seen(store: Store, run: Run) -> dict[str, Any]:
    """Return everything that readers of a run see."""
    now = store.run(run.id)
    return {
        "run": now,
        "items": [(i.item, i.status, i.failure, _without_number(i.regions)) for i in store.items_of(run)],
        "failures": list(store.failures(run)),
        "verify": store.verify(run),
        "summary": store.summary(run),
    }


def _without_number(regions: Any) -> Any:
    return [(r.region, r.by_rank, r.flags, r.decision) for r in regions]


def counts(store: Store) -> dict[str, int]:
    """Return the number of rows of every table."""
    return store._database.read(
        lambda connection: {
            name.removeprefix(schema.PREFIX): connection.execute(select(func.count()).select_from(table)).scalar_one()
            for name, table in schema.metadata.tables.items()
        }
    )


def broken_references(store: Store) -> list[str]:
    """Return the references that lead to nothing, also those that PostgreSQL does not check."""

    def find(connection: Connection) -> list[str]:
        broken = []
        for table in schema.metadata.sorted_tables:
            for key in table.foreign_keys:
                lost = ~select(key.column).where(key.column == key.parent).exists()
                if connection.execute(select(key.parent).where(key.parent.is_not(None), lost)).first():
                    broken.append(f"{table.name}.{key.parent.name}")
        return broken

    return store._database.read(find)


def review(store: Store, uri: str | None = None, event: str | None = None, region: Region | None = None) -> None:
    """Store a review of an image, a box or an event."""
    kind: Any = "event" if event else "region" if region else "media"
    store.add_review(ReviewTarget(kind, uri, 0, region, event), "taxon", LYNX, reviewer="Ann")


def without(rows: dict[str, int], *tables: str) -> dict[str, int]:
    """Return counts of rows without some tables."""
    return {name: number for name, number in rows.items() if name not in tables}


def numbers_of(runs: Collection[Run]) -> list[int]:
    """Return the numbers of runs."""
    return [run.id for run in runs]
