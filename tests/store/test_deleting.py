"""Runs deleted: the others and every review are as before, and nothing is left that nobody needs."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, update
from sqlalchemy.engine import Engine
from store_samples import PLAN, QUICK, answer_all, list_uris
from upkeep_samples import (
    BOXES,
    Made,
    broken_references,
    counts,
    make,
    plan_of,
    random_runs,
    review,
    seen,
    without,
)

from benchmarks.store_plans import plan, queries
from bioclip_core.errors import StoreError
from bioclip_plugin.items.media import MediaItem
from bioclip_plugin.store import Keep, Store, cleaning
from bioclip_plugin.store.database import schema


def opened(address: str) -> Store:
    return Store.open(address, retry=QUICK)


@pytest.mark.parametrize(("seed", "open_runs"), [(0, False), (2, False), (4, True)])
def test_after_a_deletion_the_store_is_as_if_the_runs_had_never_been(
    new_store_address: Callable[[], str], seed: int, open_runs: bool
) -> None:
    made = random_runs(seed, open_runs=open_runs)
    gone = random.Random(seed).sample(range(len(made)), 2)
    with opened(new_store_address()) as store, opened(new_store_address()) as other:
        runs = [make(store, one) for one in made]
        for n, one in enumerate(made):
            if n not in gone:
                make(other, one)
        before = {n: seen(store, run) for n, run in enumerate(runs) if n not in gone}
        counted, rows = store.delete_runs([runs[n] for n in gone], dry_run=True), counts(store)
        removed = store.delete_runs([runs[n] for n in gone])
        assert {n: seen(store, run) for n, run in enumerate(runs) if n not in gone} == before
        left, never = without(counts(store), "taxa"), without(counts(other), "taxa")
        # What a run has still to do may need all that is known of it.
        assert left == never or (open_runs and all(left[name] >= never[name] for name in left))
        assert broken_references(store) == []
        assert [run.id for run in store.runs()] == [run.id for n, run in enumerate(runs) if n not in gone]
        after = counts(store)
        sets = ("feature_sets", "answer_sets", "decision_sets")
        assert without(dict(removed.rows), *sets) == without(dict(counted.rows), *sets)
        assert {name: number for name, number in removed.rows.items() if number} == {
            name: rows[name] - number for name, number in after.items() if rows[name] != number
        }


def test_reviews_keep_their_image_box_and_event(store: Store) -> None:
    run = make(store, Made(plan_of(0, 0, 0, 0), {f"{n}.jpg": (f"sha-{n}", BOXES[:2]) for n in range(6)}))
    review(store, "0.jpg")
    review(store, "1.jpg", region=BOXES[1])
    review(store, event="event 2")
    review(store, event="rule's event 1")
    before, of_events = list(store.reviews()), store.items_of_events(["event 2"])
    known = store.regions_of([(f"{n}.jpg", 0) for n in range(6)])
    store.delete_run(run)
    assert store.runs() == []
    assert list(store.reviews()) == before
    assert store.items_of_events(["event 2"]) == of_events
    assert store.known_events(["event 2", "rule's event 1", "event 0"]) == {"event 2", "rule's event 1", "event 0"}
    kept = store.regions_of([(f"{n}.jpg", 0) for n in range(6)])
    assert {name: kept[name] for name in [("0.jpg", 0), ("1.jpg", 0), ("2.jpg", 0), ("5.jpg", 0)]} == {
        name: known[name] for name in [("0.jpg", 0), ("1.jpg", 0), ("2.jpg", 0), ("5.jpg", 0)]
    }
    assert counts(store)["features"] == counts(store)["candidates"] == counts(store)["listing"] == 0


def test_an_image_of_a_reviewed_event_in_which_nothing_was_found_stays_blank(store: Store) -> None:
    run = store.begin_run(PLAN)
    item = MediaItem("blank.jpg", sequence="night", detected=True)
    listed = store.list_items(run, [item, MediaItem("other.jpg")], [None, None])
    answer_all(store, run, listed[1:])
    store.end_run(run, "finished", {})
    review(store, event="night")
    before = store.items_of_events(["night"])
    assert before["night"][0][1]
    store.delete_run(run)
    assert store.items_of_events(["night"]) == before
    assert store.runs() == []
    with pytest.raises(StoreError, match="no runs in this store"):
        store.run()
    again = store.begin_run(PLAN)
    assert not again.resumed
    assert store.summary(again).listed == 0


def test_a_derived_run_outlives_the_run_that_it_was_derived_from(store: Store) -> None:
    run = make(store, Made(plan_of(0, 0, 0, 0), {"0.jpg": ("sha-0", BOXES[:1]), "1.jpg": None}))
    derived = store.derive_run(run, replace(plan_of(0, 0, 0, 0), rule_id="other"))
    store.end_run(derived, "finished", {})
    before = seen(store, derived)
    store.delete_run(run)
    assert seen(store, derived) == before
    with pytest.raises(StoreError, match=f"run {run.id} was deleted while it was in use"):
        store.derive_run(run, replace(plan_of(0, 0, 0, 0), rule_id="third"))


def test_a_run_that_a_living_program_works_on_is_refused(store: Store, store_address: str) -> None:
    run = store.begin_run(PLAN)
    with opened(store_address) as other:
        for one in (store, other):
            with pytest.raises(StoreError, match=f"run {run.id} is being worked on by a program now"):
                one.delete_run(run.id)
            with pytest.raises(StoreError, match="worked on"):
                one.delete_runs([run], dry_run=True)
    store.close()
    with opened(store_address) as later:  # as after a kill: still "running", but nobody works on it
        assert later.run(run.id).status == "running"
        later.delete_run(run.id)
        assert later.runs() == []


def test_unknown_runs_are_refused_before_any_is_deleted(store: Store) -> None:
    run = make(store, Made(plan_of(0, 0, 0, 0), {"0.jpg": ("sha-0", ())}))
    with pytest.raises(StoreError, match="no run 77"):
        store.delete_runs([run.id, 77])
    assert store.run(run.id).status == "finished"


def failing_at(number: int) -> Any:
    """Fail at the n-th statement that writes, as a kill does: the transaction is rolled back."""
    seen_so_far = [0]

    def check(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith(("DELETE", "UPDATE", "CREATE", "INSERT")):
            seen_so_far[0] += 1
            if seen_so_far[0] == number:
                raise KeyboardInterrupt

    class Failing:
        def __enter__(self) -> None:
            event.listen(Engine, "before_cursor_execute", check)

        def __exit__(self, *_: object) -> None:
            event.remove(Engine, "before_cursor_execute", check)

    return Failing()


def test_a_deletion_that_stops_at_any_statement_leaves_the_other_runs_whole_and_is_finished_by_the_next(
    new_store_address: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bioclip_plugin.store.deleting.MEDIA_AT_ONCE", 3)
    made, stops = random_runs(2, runs=3, images=8), 0
    with opened(new_store_address()) as store:
        others = [make(store, one) for one in made[1:]]
        before = [seen(store, run) for run in others]
        rows = counts(store)
        finished = False
        while not finished:
            stops += 2 if store._database.is_sqlite else 5
            run = make(store, made[0])
            try:
                with failing_at(stops):
                    store.delete_run(run)
                finished = True
            except KeyboardInterrupt:
                assert [seen(store, other) for other in others] == before
                assert broken_references(store) == []
                if store.half_deleted():
                    with pytest.raises(StoreError, match=f"run {run.id} is half deleted: `bioclip-plugin runs delete"):
                        store.run(run.id)
                    if stops % 2:
                        again = make(store, made[0])  # the same command begins a new run
                        assert not again.resumed
                        whole = seen(store, again)
                        assert whole["verify"].problems == []
                        store.delete_run(run.id)
                        assert seen(store, again) == whole
                        store.delete_run(again)
                    else:
                        store.delete_run(run.id)
                else:
                    store.delete_run(run.id)
                assert without(counts(store), "taxa") == without(rows, "taxa")
        assert stops > 15


def test_a_reader_of_a_run_that_is_deleted_meanwhile_ends_with_an_error(store: Store) -> None:
    run = make(store, Made(plan_of(0, 0, 0, 0), {f"{n}.jpg": (f"sha-{n}", ()) for n in range(3)}))
    items, listed = store.items_of(run), store.listed_items(run)
    next(items), next(listed)
    store.delete_run(run)
    for reader in (items, listed):
        with pytest.raises(StoreError, match=f"run {run.id} was deleted while it was in use"):
            list(reader)
    with pytest.raises(StoreError, match="was deleted"):
        store.verify(run)


def test_a_writer_whose_run_was_deleted_ends_with_an_error(store: Store) -> None:
    run = store.begin_run(PLAN)
    listed = list_uris(store, run, "a.jpg")
    store.end_run(run, "interrupted", {})
    store.delete_run(run)
    make(store, Made(PLAN, {"0.jpg": ("sha-0", ())}))  # with the same number on SQLite
    for write in (
        lambda: answer_all(store, run, listed),
        lambda: list_uris(store, run, "b.jpg"),
        lambda: store.end_run(run, "finished", {}),
    ):
        with pytest.raises(StoreError, match=f"run {run.id} was deleted"):
            write()


RUNS = (("a", "finished"), ("b", "failed"), ("a", "interrupted"), ("b", "finished"), ("a", "running"))


@pytest.mark.parametrize(
    ("keep", "gone"),
    [
        (Keep(newest=2), [1, 2, 3]),
        (Keep(newest=9), []),
        (Keep(newest=1, by_sources=True), [1, 2, 3]),
        (Keep(newest=2, by_sources=True), [1]),
        (Keep(days=1), []),
        (Keep(days=0), [1, 2, 3, 4, 5]),
        (Keep(statuses=("failed", "interrupted")), [2, 3]),
        (Keep(statuses=("running",)), [5]),
        (Keep(newest=4, statuses=("finished",)), [1]),
    ],
)
def test_what_no_part_of_keep_keeps_is_pruned(tmp_path: Path, keep: Keep, gone: list[int]) -> None:
    with opened(str(tmp_path / "results.db")) as store:
        for number, (source, status) in enumerate(RUNS):
            run = store.begin_run(replace(PLAN, sources=(source,), rule_id=str(number)))
            store.end_run(run, "interrupted" if status == "running" else status, {})  # type: ignore[arg-type]
            if status == "running":  # as after a kill
                store._database.write(
                    lambda c: c.execute(update(schema.runs).where(schema.runs.c.id == 5).values(status="running"))
                )
        going, held = store.prunable(keep)
        assert ([run.id for run in going], held) == (gone, [])
        assert store.prune(keep).runs == tuple(gone)
        assert [run.id for run in store.runs()] == [number for number in range(1, 6) if number not in gone]


def test_pruning_keeps_a_run_that_is_worked_on(store: Store) -> None:
    run = store.begin_run(PLAN)
    going, held = store.prunable(Keep(days=0))
    assert (going, held) == ([], [run])
    assert store.prune(Keep(days=0)).runs == ()


def test_the_mark_of_a_run_is_a_file_only_while_it_is_worked_on(tmp_path: Path) -> None:
    path, mark = tmp_path / "results.db", tmp_path / "results.db-run-1"
    with opened(str(path)) as store, opened(str(path)) as other:
        run = store.begin_run(PLAN)
        assert other.begin_run(PLAN).id == run.id
        store.end_run(run, "interrupted", {})
        assert mark.exists()  # the other program goes on
        with pytest.raises(StoreError, match="worked on"):
            store.delete_run(run)
        other.end_run(run, "finished", {})
        assert not mark.exists()
        mark.touch()  # as a killed program leaves it
        store.delete_run(run)
        assert not mark.exists()


def test_a_large_dry_run_makes_the_indexes_that_it_needs_and_counts_the_same(
    store_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(store_address) as store:
        for name in ("one", "two"):
            run = store.begin_run(replace(PLAN, sources=(name,)))
            answer_all(store, run, list_uris(store, run, "a.jpg", f"{name}.jpg"))
            store.end_run(run, "finished", {})
        before = store.delete_runs([2], dry_run=True)
        assert not store._database.read(cleaning.has_indexes)
        monkeypatch.setattr(cleaning, "COUNTED_WITHOUT_INDEXES", 1)
        assert store.delete_runs([2], dry_run=True) == before
        assert store._database.read(cleaning.has_indexes)


def test_no_page_of_a_dry_run_over_several_runs_sorts_all_that_they_list(tmp_path: Path) -> None:
    """With a million images in each of two runs, every 500 images had all the others sorted again."""
    with Store.open(tmp_path / "results.db") as store:
        made = random_runs(0, runs=3)
        runs = [make(store, one).id for one in made]
        with queries() as seen_queries:
            store.delete_runs(runs[:2], dry_run=True)
        of_listing = [query for query in seen_queries if " FROM bioclip_listing WHERE" in query[0]]
        assert len(of_listing) >= 3
        assert not [line for query in of_listing for line in store._database.read(plan, query) if "TEMP B-TREE" in line]
