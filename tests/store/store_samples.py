"""Plans, items and records made by hand, for the tests of the store."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from sqlalchemy import event
from sqlalchemy.engine import Engine

from bioclip_core.classify import Candidate
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.items.answers import Failure
from bioclip_plugin.items.media import MediaItem, Region
from bioclip_plugin.store import ItemRecord, Listed, RegionRecord, Retry, Run, RunPlan, Store
from bioclip_plugin.store.database import bulk

DIMENSION = 4
LYNX = Taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Lynx", "fictus", "invented lynx")
FELIDAE = Taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae")
PLAN = RunPlan(
    sources=("photos",),
    settings={"batch_size": 64},
    feature_id="f1",
    feature_settings={"weights_sha256": "w1", "precision": "fp32"},
    dimension=DIMENSION,
    answer_id="a1",
    answer_settings={"labels": "l1"},
    rule_id="r1",
    rule_settings={"threshold": 0.8},
    provenance={"host": "one"},
)
BY_RANK = {
    "species": (Candidate(LYNX, "species", 0.75), Candidate(FELIDAE, "family", 0.25)),
    "family": (Candidate(FELIDAE, "family", 1.0),),
}
CONSENSUS = Candidate(FELIDAE, "family", 1.0)
STAT = (100, 1_700_000_000_000_000_000)
QUICK = Retry(tries=4, first_wait_s=0.05, longest_wait_s=1.0)


@contextmanager
def before_writing(table: str, act: Callable[[], None]) -> Iterator[list[str]]:
    """Call ``act`` before the first statement or ``COPY`` that writes to a table, and yield the list of statements."""
    seen: list[str] = []

    def check(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if re.match(rf"(INSERT INTO|UPDATE) {table}\b", statement):
            seen.append(statement)
            if len(seen) == 1:
                act()

    copying = bulk._copying  # which bypasses SQLAlchemy

    def checked_copying(connection: Any, into: Any, names: Any) -> Any:
        check(connection, None, f"INSERT INTO {into.name}")
        return copying(connection, into, names)

    event.listen(Engine, "before_cursor_execute", check)
    bulk._copying = checked_copying
    try:
        yield seen
    finally:
        bulk._copying = copying
        event.remove(Engine, "before_cursor_execute", check)


def features(*numbers: float) -> np.ndarray[Any, np.dtype[np.float16]]:
    return np.array(numbers or (0.5, -0.5, 0.5, 0.5), dtype=np.float16)


def region_record(region: Region | None = None, **changes: Any) -> RegionRecord:
    return replace(RegionRecord(region, features(), BY_RANK, (), CONSENSUS), **changes)


def record(listed: Listed, *regions: RegionRecord, sha256: str | None = None, **changes: Any) -> ItemRecord:
    """Return a successful record of one file; without ``sha256`` its content is named after the file."""
    whole = ItemRecord(
        listed, listed.item, STAT, sha256 or "sha-" + ascii(listed.item.uri[-30:]).strip("'"), STAT[0], regions
    )
    return replace(whole, **changes)


def failed(listed: Listed, reason: str = "it is empty", stage: str = "decode") -> ItemRecord:
    return ItemRecord(listed, listed.item, STAT, failure=Failure(stage, reason))


def list_uris(store: Store, run: Run, *uris: str, stat: tuple[int, int] | None = STAT) -> list[Listed]:
    return store.list_items(run, [MediaItem(uri) for uri in uris], [stat] * len(uris))


def answer_all(store: Store, run: Run, listed: Sequence[Listed]) -> None:
    store.commit(run, [record(one, region_record()) for one in listed])
