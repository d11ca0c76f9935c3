"""Compaction: what nobody needs goes, the file becomes smaller, and runs and reviews stay as they are."""

from __future__ import annotations

import shutil
import signal
import sqlite3
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ready_processes import Ready
from sqlalchemy import delete, event, insert
from sqlalchemy.engine import Engine
from store_samples import PLAN, QUICK, STAT, answer_all, list_uris
from upkeep_samples import BOXES, Made, broken_references, counts, make, plan_of, random_runs, review, seen

from bioclip_plugin.store import Store
from bioclip_plugin.store.database import schema

SMALL = Made(plan_of(0, 0, 0, 0), {f"{n}.jpg": (f"sha-{n}", ()) for n in range(3)})


def opened(address: str) -> Store:
    return Store.open(address, retry=QUICK)


def execute(store: Store, *statements: Any) -> None:
    store._database.write(lambda connection: [connection.execute(statement) for statement in statements])


@pytest.mark.parametrize("seed", range(3))
def test_a_store_without_orphans_stays_as_it_is(store: Store, seed: int) -> None:
    runs = [make(store, made) for made in random_runs(seed, open_runs=True)]
    review(store, "0.jpg")
    before, rows = [seen(store, run) for run in runs], counts(store)
    compaction = store.compact()
    assert (dict(compaction.rows), compaction.left) == ({}, ())
    assert counts(store) == rows
    assert [seen(store, run) for run in runs] == before


def test_orphans_of_every_kind_are_removed(store: Store) -> None:
    run = make(store, SMALL)
    before, rows = seen(store, run), counts(store)
    other = make(store, Made(plan_of(1, 1, 1, 1), {"9.jpg": ("sha-9", BOXES[:1]), "8.jpg": None}))
    # As a kill of some earlier version may have left them.
    execute(
        store,
        *(
            delete(table).where(table.c.run == other.id)
            for table in (schema.listing, schema.listed_regions, schema.failures)
        ),
        delete(schema.runs).where(schema.runs.c.id == other.id),
        insert(schema.candidates).values(answer_set=99, region=99, rank=0, position=0, taxon=1, probability=0.5),
        insert(schema.contents).values(sha256="nobody's", frame=0, size=1),
    )
    would = store.compact(dry_run=True)
    assert (would.rows["features"], would.rows["media"], would.rows["decisions"]) == (1, 2, 1)
    compaction = store.compact()
    assert counts(store) == {**rows, "taxa": rows["taxa"] + 1}  # the newest, whose number must not be given again
    assert compaction.rows["candidates"] == 5
    assert seen(store, run) == before
    assert dict(store.compact().rows) == {}


def test_a_changed_file_leaves_nothing_of_its_earlier_content(store: Store) -> None:
    run = make(store, SMALL)
    changed = (STAT[0] + 1, STAT[1])
    listed = list_uris(store, run, "0.jpg", stat=changed)
    answer_all(store, run, listed)
    before = seen(store, run)
    compaction = store.compact()
    assert (compaction.rows["features"], compaction.rows["contents"]) == (1, 1)
    assert seen(store, run) == before


def test_boxes_that_were_replaced_go(store: Store) -> None:
    run = make(store, Made(PLAN, {"0.jpg": ("sha-0", BOXES[:2])}))
    run = make(store, Made(PLAN, {"0.jpg": ("sha-0", BOXES[2:])}))
    before = seen(store, run)
    compaction = store.compact()
    assert {name: compaction.rows[name] for name in ("features", "regions", "answers", "decisions")} == {
        "features": 2, "regions": 2, "answers": 2, "decisions": 2
    }  # fmt: skip
    assert seen(store, run) == before
    assert store.verify(run).complete


def test_a_half_deleted_run_is_finished(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make(store, SMALL)

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("bioclip_plugin.store.deleting._end", stop)
        with pytest.raises(KeyboardInterrupt):
            store.delete_run(run)
    assert store.half_deleted() == [run.id]
    assert store.runs() == []
    assert store.compact().finished == (run.id,)
    assert {name: number for name, number in counts(store).items() if number} == {"taxa": 1}


def test_while_a_run_is_worked_on_taxa_stay_and_the_result_says_so(store: Store, store_address: str) -> None:
    make(store, SMALL)
    run = store.begin_run(PLAN)
    listed = list_uris(store, run, "7.jpg")
    with opened(store_address) as other:
        other.delete_run(1)
        (left,) = other.compact().left
        assert f"a program works on run {run.id}: unused taxa stay" in left
    answer_all(store, run, listed)  # with numbers of taxa that it remembers
    store.end_run(run, "finished", {})
    assert store.verify(run).complete
    assert store.compact().left == ()


def test_a_program_that_remembers_removed_taxa_stores_new_ones(store: Store, store_address: str) -> None:
    run = make(store, SMALL)
    make(store, Made(plan_of(1, 0, 0, 1), {"8.jpg": ("sha-8", ())}))
    assert list(store.items_of(run))
    with opened(store_address) as other:
        other.delete_run(run)
        assert other.compact().rows["taxa"] > 0
    again = make(store, SMALL)
    assert store.verify(again).complete
    assert [item.regions[0].by_rank["species"][0].name for item in store.items_of(again)] == [
        f"Lynx species{n}" for n in range(3)
    ]
    review(store, "0.jpg")


def test_the_file_becomes_smaller_and_keeps_its_log_empty(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    with opened(str(path)) as store:
        run = make(store, Made(PLAN, {f"{n}.jpg": (f"sha-{n}", BOXES) for n in range(300)}))
        kept = make(store, SMALL)
        before = seen(store, kept)
        store.delete_run(run)
        compaction = store.compact()
        assert compaction.bytes_after < compaction.bytes_before / 4
        assert path.stat().st_size == compaction.bytes_after
        assert seen(store, kept) == before
        assert (
            store._database.read(lambda connection: connection.exec_driver_sql("PRAGMA journal_mode").scalar()) == "wal"
        )


def test_without_room_for_a_rewritten_file_the_rows_go_and_the_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(str(tmp_path / "results.db")) as store:
        run, kept = make(store, SMALL), make(store, Made(plan_of(1, 1, 1, 1), {"9.jpg": ("sha-9", ())}))
        before = seen(store, kept)
        store.delete_run(run)
        usage = namedtuple("usage", "total used free")(10, 0, 10)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
        (left,) = store.compact().left
        assert "rewriting the file needs" in left
        assert "the file keeps its size, and later runs use what was freed in it" in left
        assert seen(store, kept) == before


def test_a_reader_at_work_only_delays_the_smaller_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bioclip_plugin.store.database.connection.BUSY_TIMEOUT_MS", 200)
    path = tmp_path / "results.db"
    with opened(str(path)) as store:
        make(store, SMALL)
        reader = sqlite3.connect(path)
        reader.execute("BEGIN")
        rows = reader.execute("SELECT count(*) FROM bioclip_media").fetchall()
        (left,) = store.compact().left
        assert "another program reads the store" in left
        assert reader.execute("SELECT count(*) FROM bioclip_media").fetchall() == rows
        reader.close()
        assert store.compact().left == ()


def test_a_writer_at_work_leaves_the_file_as_it_is_and_the_result_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bioclip_plugin.store.database.connection.BUSY_TIMEOUT_MS", 200)
    path = tmp_path / "results.db"
    with opened(str(path)) as store:
        run = make(store, SMALL)
        writer = sqlite3.connect(path, isolation_level=None)
        cleaned = store._database.remove

        def then_write(work: Any, *given: Any) -> Any:
            result = cleaned(work, *given)
            if work.__name__ == "_clean_taxa":
                writer.execute("BEGIN IMMEDIATE")
            return result

        monkeypatch.setattr(store._database, "remove", then_write)
        (left,) = store.compact().left
        assert "the file keeps its size: the store" in left
        assert "is in use by another program" in left
        writer.close()
        assert store.verify(run).problems == []


def test_tables_that_the_user_may_not_vacuum_are_named(postgres_server: Any) -> None:
    database = postgres_server.new_database()
    with opened(postgres_server.address(database)) as owner:
        run = make(owner, SMALL)
        owner.delete_run(run)  # makes the indexes, which only the owner may
    role = f"worker_{database}"
    for statement in (
        f"CREATE ROLE {role} LOGIN",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}",
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}",
    ):
        postgres_server.execute(statement, database)
    address = postgres_server.url.set(database=database, username=role).render_as_string(hide_password=False)
    with opened(address) as store:
        (left,) = store.compact().left
        assert "tables were not vacuumed, the first one because the server says" in left


def test_full_rewrites_the_tables_on_postgresql(store: Store) -> None:
    run = make(store, SMALL)
    before = seen(store, run)
    assert store.compact(full=True).left == ()
    assert seen(store, run) == before


@pytest.mark.parametrize("seed", [1])
def test_a_compaction_that_stops_at_any_statement_changes_no_run_and_is_finished_by_the_next(
    new_store_address: Callable[[], str], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr("bioclip_plugin.store.deleting.MEDIA_AT_ONCE", 3)
    monkeypatch.setattr("bioclip_plugin.store.compacting.MEDIA_AT_ONCE", 3)
    made = random_runs(seed, runs=4)
    with opened(new_store_address()) as store:
        runs = [make(store, one) for one in made]
        review(store, "0.jpg")
        gone = runs[0]
        execute(store, *(delete(t).where(t.c.run == gone.id) for t in (schema.listing, schema.listed_regions, schema.failures)),
                delete(schema.runs).where(schema.runs.c.id == gone.id))  # fmt: skip
        before = [seen(store, run) for run in runs[1:]]
        stop, stops = 0, 0

        def check(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            nonlocal stop
            if statement.startswith(("DELETE", "UPDATE", "CREATE", "VACUUM")):
                stop -= 1
                if stop == 0:
                    raise KeyboardInterrupt

        event.listen(Engine, "before_cursor_execute", check)
        try:
            while stop <= 0:
                stops += 1
                stop = stops  # each call comes a little further
                try:
                    store.compact()
                except KeyboardInterrupt:
                    stop = 0
                    assert [seen(store, run) for run in runs[1:]] == before
                    assert broken_references(store) == []
        finally:
            event.remove(Engine, "before_cursor_execute", check)
        assert stops > 3
        rows = counts(store)
        assert dict(store.compact().rows) == {}
        assert counts(store) == rows
        assert [seen(store, run) for run in runs[1:]] == before


ENDLESS = """
import sys
from sqlalchemy import event
from sqlalchemy.engine import Engine
from bioclip_plugin.store import Store

def begun():
    print("begun", flush=True)

event.listen(Engine, "connect", lambda connection, _: connection.create_function("begun", 0, begun))
with Store.open(sys.argv[1], create=False) as store:
    try:
        with store._database.alone() as execute:
            execute("WITH RECURSIVE c(x) AS (SELECT begun() UNION ALL SELECT 1 FROM c) SELECT count(*) FROM c")
    except KeyboardInterrupt:
        (run,) = store.runs()
        print(store.verify(run).problems, store.compact().left)
"""


def test_an_interruption_ends_a_statement_that_takes_long(tmp_path: Path) -> None:
    """In a process of its own, which alone the signal is for, and which the test can end."""
    path = tmp_path / "results.db"
    with opened(str(path)) as store:
        make(store, SMALL)
    process = Ready(ENDLESS, str(path))
    process.wait_for_output()
    process.send_signal(signal.SIGINT)
    assert process.communicate() == (0, "begun\n[] ()\n", "")


def test_tables_of_a_host_in_the_same_file_stay(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    with opened(str(path)) as store:
        with sqlite3.connect(path) as host:
            host.execute("CREATE TABLE host (id INTEGER PRIMARY KEY, name TEXT)")
            host.execute("INSERT INTO host VALUES (7, 'x')")
        host.close()
        run = make(store, SMALL)
        store.delete_run(run)
        store.compact()
    with sqlite3.connect(path) as host:
        assert host.execute("SELECT * FROM host").fetchall() == [(7, "x")]
    host.close()
