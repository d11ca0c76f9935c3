"""`verify` finds every kind of damage that it claims to find."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from store_samples import PLAN, answer_all, failed, list_uris

from bioclip_plugin.store import Run, Store

DAMAGE = [
    ("DELETE FROM bioclip_failures", "1 failed items have no reason: bad.jpg"),
    ("UPDATE bioclip_listing SET status = 1 WHERE status = 2", "1 items that are not failed have a failure: bad.jpg"),
    ("UPDATE bioclip_listing SET status = 0 WHERE position = 1", "1 items that are not done have regions: 0.jpg"),
    ("UPDATE bioclip_listing SET status = 9 WHERE position = 1", "1 items have a status that does not exist: 0.jpg"),
    ("DELETE FROM bioclip_listing WHERE status = 2", "1 failures are of items not listed: bad.jpg"),
    ("DELETE FROM bioclip_listing WHERE position = 1", "1 regions are of items not listed: 0.jpg"),
    ("DELETE FROM bioclip_answers WHERE region IN (1, 2)", "2 regions have no answer: 0.jpg, 1.jpg"),
    ("DELETE FROM bioclip_answers WHERE region = 1", "3 candidates belong to no answer: 0.jpg, 0.jpg, 0.jpg"),
    ("DELETE FROM bioclip_decisions", "4 regions have no decision: 0.jpg, 1.jpg, 2.jpg, …"),
    ("DELETE FROM bioclip_features", "4 regions have no features of 4 numbers: 0.jpg, 1.jpg, 2.jpg, …"),
    ("UPDATE bioclip_features SET w = 5 WHERE content = 1", "1 regions have no features of 4 numbers: 0.jpg"),
    ("UPDATE bioclip_feature_sets SET dimension = 5", "4 regions have no features of 5 numbers: 0.jpg, 1.jpg, 2.jpg, …"),
    ("UPDATE bioclip_candidates SET probability = 2 WHERE region = 1 AND rank = 4",
     "1 candidates have a probability outside 0 to 1: 0.jpg"),
    ("UPDATE bioclip_candidates SET taxon = 99 WHERE region = 1 AND rank = 4", "1 candidates have no taxon: 0.jpg"),
    ("UPDATE bioclip_listed_regions SET region = 2 WHERE region = 1", "1 regions are of another image: 0.jpg"),
]  # fmt: skip


@pytest.mark.parametrize(("statement", "problem"), DAMAGE)
def test_damage_is_found_and_named(store: Store, run: Run, statement: str, problem: str) -> None:
    listed = list_uris(store, run, "0.jpg", "1.jpg", "2.jpg", "3.jpg", "bad.jpg")
    answer_all(store, run, listed[:4])
    store.commit(run, [failed(listed[4])])
    assert store.verify(run).complete
    store._database.write(lambda connection: connection.execute(text(statement)))
    run = store.run(run.id)
    assert problem in store.verify(run).problems
    assert not store.verify(run).complete


def test_a_verification_counts_listed_answered_failed_and_open_items(store: Store, run: Run) -> None:
    listed = list_uris(store, run, *(f"{n}.jpg" for n in range(6)))
    answer_all(store, run, listed[:3])
    store.commit(run, [failed(listed[3]), failed(listed[4])])
    verified = store.verify(run)
    assert (verified.listed, verified.answered, verified.failed, verified.todo) == (6, 3, 2, 1)
    assert verified.problems == []
    assert not verified.complete


def test_other_runs_do_not_count(store: Store, run: Run) -> None:
    from dataclasses import replace

    other = store.begin_run(replace(PLAN, sources=("other",)))
    answer_all(store, other, list_uris(store, other, "a.jpg"))
    verified = store.verify(run)
    assert (verified.listed, verified.problems) == (0, [])
