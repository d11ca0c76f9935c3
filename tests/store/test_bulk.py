"""Many rows at once: the same rows whatever the batches, one statement's text at every call, and every value as it was."""

from __future__ import annotations

import re
import struct
import threading
import uuid
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, event, select
from store_samples import LYNX, PLAN, QUICK, STAT, answer_all, failed, list_uris, record, region_record

from bioclip_core.classify import Candidate
from bioclip_core.errors import StoreError
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.items.media import MediaItem, Region
from bioclip_plugin.store import Run, Store
from bioclip_plugin.store.database import bulk, copying, schema
from bioclip_plugin.store.runs import check

BOX = Region(0.1, 0.2, 0.3, 0.4, "finder", "2.0", "animal", 0.875)
KINDS = st.sampled_from(["whole", "box", "both", "empty", "failed", "same content"])


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store.open(tmp_path_factory.mktemp("bulk") / "shared.db")


def _commit(store: Store, run: Run, kinds: list[str], ends: set[int], *, again: bool) -> None:
    listed = store.list_items(run, [MediaItem(f"{run.key}/{n}.jpg") for n in range(len(kinds))], [STAT] * len(kinds))
    batch = []
    for n, (one, kind) in enumerate(zip(listed, kinds, strict=True)):
        taxon = Taxon("Animalia", genus="Felis", species=f"species{n % 3}")
        whole = region_record(by_rank={"species": (Candidate(taxon, "species", 0.5),)}, consensus=None)
        regions = {"whole": [whole], "box": [replace(whole, region=BOX)], "empty": []}
        regions |= {"both": [whole, replace(whole, region=BOX)], "same content": [whole]}
        sha256 = "shared" if kind == "same content" else f"{run.key}{n}"
        batch.append(failed(one) if kind == "failed" else record(one, *regions[kind], sha256=sha256))
        if n in ends or n == len(kinds) - 1:
            store.commit(run, batch)
            if again:
                store.commit(run, batch)
            batch = []


@given(st.lists(KINDS, min_size=1, max_size=12), st.sets(st.integers(0, 12)), st.booleans())
@settings(max_examples=25)
def test_batches_of_any_size_and_repeated_ones_give_the_same_rows(
    shared_store: Store, kinds: list[str], ends: set[int], again: bool
) -> None:
    name = uuid.uuid4().hex
    stored = []
    for form, (cut, twice) in {"one": (set(), False), "many": (ends, again)}.items():
        run = shared_store.begin_run(replace(PLAN, sources=(name, form), answer_id=name + form, rule_id=name + form))
        _commit(shared_store, run, kinds, cut, again=twice)
        assert shared_store.verify(run).problems == []
        stored.append([
            (item.status, item.failure, [(r.region, r.by_rank, r.decision) for r in item.regions])
            for item in shared_store.items_of(run)
        ])  # fmt: skip
    assert stored[0] == stored[1]


def test_every_kind_of_value_comes_back_from_one_statement_and_from_copy(store: Store) -> None:
    names = ["id", "uri", "frame", "latitude", "country", "size"]
    odd = ["plain", "ä'\"\\{},% ?", "null", "a\x00b", "\udc80", "日本", "\n\t", ""]
    rows = [(n, f"{n} {odd[n % len(odd)]}", n, n / 7 if n % 3 else None, odd[n % len(odd)] if n % 2 else None, -(2**63))
            for n in range(1, 301)]  # fmt: skip
    query = select(*(schema.media.c[name] for name in names)).order_by(schema.media.c.id)

    def write(connection: Connection, fresh: bool) -> None:
        parts = [(schema.media, names, rows)]
        for part in bulk.insert_fresh(connection, parts) if fresh else parts:
            bulk.insert_new(connection, *part)

    found = []
    for fresh in (False, True):
        store._database.write(write, fresh)
        found.append(store._database.read(lambda connection: [tuple(row) for row in connection.execute(query)]))
        store._database.write(lambda connection: connection.execute(schema.media.delete()))
    assert found[0] == found[1]
    cleaned = [text.replace("\x00", "").replace("\udc80", "\\udc80") for text in odd]
    assert [(row[1], row[3], row[4]) for row in found[0]] == [
        (f"{n} {cleaned[n % len(odd)]}", n / 7 if n % 3 else None, cleaned[n % len(odd)] if n % 2 else None)
        for n in range(1, 301)
    ]


COLUMNS = st.one_of(
    st.tuples(st.just("int8"), st.integers(-(2**63), 2**63 - 1)),
    st.tuples(st.just("float8"), st.floats(allow_nan=False)),
    st.tuples(st.just("text"), st.text(st.characters(exclude_characters="\x00", codec="utf-8"), max_size=3)),
    st.tuples(st.just("bytea"), st.binary(max_size=2)),
)


def _field(kind: str, value: Any) -> bytes:
    """Return a value as PostgreSQL's manual describes it: its length, -1 for null, and its bytes, the first one first."""
    if value is None:
        return struct.pack(">i", -1)
    if kind in ("int8", "float8"):
        value = struct.pack(">q" if kind == "int8" else ">d", value)
    return struct.pack(">i", len(value := value.encode() if kind == "text" else value)) + value


@given(st.lists(COLUMNS, min_size=1, max_size=4), st.integers(1, 3), st.data())
@settings(max_examples=50)
def test_packed_rows_are_those_of_the_manual(columns: list[tuple[str, Any]], count: int, data: st.DataObject) -> None:
    """Columns of one length, of different lengths, with some and with only nulls."""
    kinds = [kind for kind, _ in columns]
    others = st.tuples(*(st.sampled_from([value, value * 2 if kind in ("text", "bytea") else value, None])
                         for kind, value in columns))  # fmt: skip
    rows = [tuple(value for _, value in columns), *data.draw(st.lists(others, min_size=count, max_size=count))]
    for given_rows in (rows, rows[1:], rows[:1] * 2):
        expected = b"".join(struct.pack(">h", len(kinds)) + b"".join(map(_field, kinds, row)) for row in given_rows)
        assert copying.packed(kinds, list(zip(*given_rows, strict=True))) == expected


def test_keys_that_hold_quotation_marks_and_brackets_are_found(store: Store, run: Run) -> None:
    names = ["a'b.jpg", 'a"b.jpg', "{a,b}.jpg", "a\\b.jpg", "[1].jpg", "100%.jpg", "?.jpg", "ä 日本.jpg", "null"]
    first = list_uris(store, run, *names)
    assert [one.media_id for one in list_uris(store, run, *names)] == [one.media_id for one in first]
    assert len({one.media_id for one in first}) == len(names)


def test_sqlite_of_older_systems_takes_every_statement(tmp_path: Path) -> None:
    """``UPDATE … FROM`` came with SQLite 3.33 and ``RETURNING`` with 3.35; Ubuntu 20.04 has 3.31 and RHEL 8 has 3.26."""
    seen: list[str] = []
    with Store.open(tmp_path / "old.db") as store:
        engine = store._database._engine
        event.listen(engine, "before_cursor_execute", lambda _c, _cursor, statement, *_: seen.append(statement))
        run = store.begin_run(PLAN)
        for size in (1, 2):  # new images, then changed ones
            (one,) = store.list_items(run, [MediaItem("a.jpg", captured_at=datetime(2031, 5, size))], [(size, 1)])
            store.commit(run, [replace(record(one, region_record(), sha256=f"{size}"), stat=(size, 1))])
    for statement in seen:
        while (outside := re.sub(r"\([^()]*\)", "", statement)) != statement:
            statement = outside
        assert not re.search(r"^UPDATE .* FROM |RETURNING", statement), statement
    assert any(statement.startswith(f"UPDATE {schema.media.name} ") for statement in seen)


def test_a_listing_waits_for_the_disk_with_the_next_commit(waits_for_the_disk: None, store: Store) -> None:
    def setting(connection: Connection) -> object:
        name = "PRAGMA synchronous" if connection.dialect.name == "sqlite" else "SHOW synchronous_commit"
        return connection.exec_driver_sql(name).scalar_one()

    usual = store._database.write(setting)
    assert store._database.write_unsynced(setting) == (1 if store._database.is_sqlite else "off")
    assert store._database.write(setting) == usual
    if store._database.is_sqlite:
        assert usual == 2  # FULL


def test_taxa_of_equal_names_have_one_row_whatever_objects_hold_them(store: Store, run: Run) -> None:
    listed = list_uris(store, run, *(f"{n}.jpg" for n in range(6)))
    taxa = [LYNX, replace(LYNX), LYNX, replace(LYNX, species="alter"), replace(LYNX), LYNX]
    for one, taxon in zip(listed, taxa, strict=True):
        by_rank = {"species": (Candidate(taxon, "species", 0.5),), "genus": (Candidate(taxon, "genus", 0.5),)}
        store.commit(run, [record(one, region_record(by_rank=by_rank, consensus=Candidate(taxon, "species", 0.5)))])
    rows = store._database.read(lambda connection: connection.execute(select(schema.taxa)).all())
    assert len(rows) == 4  # two names, each at two ranks
    for one, taxon in zip(listed, taxa, strict=True):
        (region,) = store.answers(run, [one.media_id])[one.media_id]
        assert region.by_rank["species"][0].taxon == region.by_rank["genus"][0].taxon == taxon


def test_programs_that_store_the_same_images_at_once_store_them_once(store_address: str) -> None:
    uris = [f"{n:03d}.jpg" for n in range(150)]
    problems: list[BaseException] = []
    start = threading.Barrier(3)

    def program(number: int) -> None:
        try:
            with Store.open(store_address) as store:
                run = store.begin_run(replace(PLAN, sources=(str(number),)))
                start.wait(20)
                listed = list_uris(store, run, *uris)
                store.commit(run, [record(one, region_record()) for one in listed])
        except BaseException as problem:
            problems.append(problem)

    Store.open(store_address).close()
    threads = [threading.Thread(target=program, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == []
    with Store.open(store_address) as store:
        assert all(store.verify(run).complete for run in store.runs())
        assert {table.name: table.rows for table in store.info().tables if table.name in ("media", "regions", "answers")} \
            == {"media": 150, "regions": 150, "answers": 150}  # fmt: skip


def test_the_first_error_of_statements_that_are_sent_together_is_named_and_undoes_all(store: Store, run: Run) -> None:
    """In a pipeline PostgreSQL answers every statement behind the wrong one with "pipeline aborted", which says nothing."""

    def wrong(connection: Connection) -> None:
        with bulk.sent_together(connection):
            bulk.execute(connection, f"UPDATE {schema.runs.name} SET counts = ? WHERE id = ?", "changed", run.id)
            names = ("run", "media", "position", "region")
            bulk.insert_new(connection, schema.listed_regions, names, [(run.id, 1, 0, 99)])
            for _ in range(20):
                bulk.execute(connection, f"DELETE FROM {schema.failures.name} WHERE run = ?", run.id)

    with pytest.raises(StoreError, match=r"refused: .*(FOREIGN KEY constraint failed|violates foreign key constraint)"):
        store._database.write(wrong)
    assert store.run(run.id).counts == {}
    answer_all(store, run, list_uris(store, run, "a.jpg"))
    assert store.verify(run).complete


def test_a_run_and_its_layers_cannot_be_removed_while_a_batch_is_written(postgres_server: Any) -> None:
    """Rows of a batch refer to them without a foreign key, which would be checked row by row."""
    address = postgres_server.address(postgres_server.new_database())
    with Store.open(address, retry=QUICK) as store, Store.open(address, retry=QUICK) as other:
        run = store.begin_run(PLAN)

        def remove(connection: Connection, table: str, number: int) -> None:
            connection.exec_driver_sql("SET LOCAL lock_timeout = '50ms'")
            connection.exec_driver_sql(f"DELETE FROM bioclip_{table} WHERE id = %s", (number,))

        def write(connection: Connection) -> None:
            check(connection, run, writes=True)
            for table, number in (
                ("runs", run.id),
                ("decision_sets", run.decision_set),
                ("answer_sets", run.answer_set),
                ("feature_sets", run.feature_set),
            ):
                with pytest.raises(StoreError, match=r"lock timeout|violates foreign key constraint"):
                    other._database.write(remove, table, number)

        store._database.write(write)
        store._database.write(remove, "runs", run.id)


def test_a_pooler_that_does_not_take_statements_ahead_gets_them_one_by_one(
    postgres_server: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bulk, "_refusals", [])
    asked = []

    def refused(connection: Any) -> None:
        asked.append(connection)
        raise psycopg.OperationalError("sending query failed: cannot exit pipeline mode while busy")

    monkeypatch.setattr(psycopg.Connection, "pipeline", refused)
    with Store.open(postgres_server.address(postgres_server.new_database()), retry=QUICK) as store:
        run = store.begin_run(PLAN)
        for name in "ab":
            answer_all(store, run, list_uris(store, run, f"{name}.jpg"))
        assert store.verify(run).complete
    assert len(asked) == 1
    assert len(caplog.messages) == 1
