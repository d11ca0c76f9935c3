"""Databases that refuse or disappear: limited retries, then one line of error; committed results stay."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlalchemy.engine import make_url
from store_samples import DIMENSION, PLAN, QUICK, answer_all, before_writing, failed, list_uris, record, region_record

from bioclip_core.errors import StoreError
from bioclip_plugin.store import Retry, Run, Store


def test_waits_double_up_to_a_limit() -> None:
    assert Retry().waits_s() == [0.5, 1.0, 2.0, 4.0, 8.0]
    assert Retry(tries=5, first_wait_s=4, longest_wait_s=10).waits_s() == [4, 6, 0, 0]
    assert Retry(tries=1).waits_s() == []


@pytest.mark.parametrize(
    "table", ["bioclip_features", "bioclip_answers", "bioclip_decisions", "bioclip_listed_regions", "bioclip_listing"]
)
def test_a_batch_that_stops_half_way_leaves_nothing_behind(store: Store, run: Run, table: str) -> None:
    listed = list_uris(store, run, "a.jpg", "b.jpg")
    answer_all(store, run, listed[:1])

    def stop() -> None:
        raise KeyboardInterrupt

    with before_writing(table, stop), pytest.raises(KeyboardInterrupt):
        answer_all(store, run, listed[1:])
    assert [item.status for item in store.items_of(run)] == ["done", "todo"]
    assert store.answers(run, [listed[1].media_id]) == {}
    assert store.verify(run).problems == []
    answer_all(store, run, listed[1:])
    assert store.verify(run).complete


def test_a_commit_whose_confirmation_was_lost_is_repeated_without_doubling_a_row(
    store: Store, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (listed,) = list_uris(store, run, "a.jpg")
    database = store._database
    attempt, calls = database._attempt, []

    def unconfirmed(engine: Any, work: Any) -> Any:
        result = attempt(engine, work)
        calls.append(result)
        if len(calls) == 1:
            raise database._engine.dialect.loaded_dbapi.OperationalError("database is locked")
        return result

    monkeypatch.setattr(database, "_attempt", unconfirmed)
    store.commit(run, [record(listed, region_record())])
    assert len(calls) == 2
    assert len(list(store.items_of(run))) == 1
    assert store.verify(run).complete


def _terminate(server: Any, store: Store) -> None:
    name = store._database.url.database
    server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")


@pytest.fixture
def on_server(postgres_server: Any) -> Any:
    with Store.open(postgres_server.address(postgres_server.new_database()), retry=QUICK) as store:
        yield store


def test_a_connection_that_was_cut_between_batches_is_made_anew(on_server: Store, postgres_server: Any) -> None:
    run = on_server.begin_run(PLAN)
    listed = list_uris(on_server, run, "a.jpg", "b.jpg")
    answer_all(on_server, run, listed[:1])
    _terminate(postgres_server, on_server)
    answer_all(on_server, run, listed[1:])
    assert on_server.verify(run).complete


@pytest.mark.parametrize("items", [1, 200])  # 200 go by COPY
@pytest.mark.parametrize("table", ["bioclip_features", "bioclip_answers", "bioclip_listing"])
def test_a_connection_that_is_cut_within_a_batch_loses_and_doubles_nothing(
    on_server: Store, postgres_server: Any, items: int, table: str
) -> None:
    run = on_server.begin_run(PLAN)
    listed = list_uris(on_server, run, *(f"{n}.jpg" for n in range(items)))
    with before_writing(table, lambda: _terminate(postgres_server, on_server)) as written:
        answer_all(on_server, run, listed)
    assert len(written) == 2
    assert on_server.summary(run).done == items
    assert on_server.verify(run).complete


def test_a_server_that_stays_away_is_given_up_in_one_line(on_server: Store, postgres_server: Any) -> None:
    run = on_server.begin_run(PLAN)
    listed = list_uris(on_server, run, "a.jpg", "b.jpg")
    answer_all(on_server, run, listed[:1])
    name = on_server._database.url.database
    postgres_server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    _terminate(postgres_server, on_server)
    with pytest.raises(StoreError) as given_up:
        answer_all(on_server, run, listed[1:])
    assert "\n" not in str(given_up.value)
    postgres_server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    assert (on_server.summary(run).done, on_server.summary(run).todo) == (1, 1)
    answer_all(on_server, run, listed[1:])
    assert on_server.verify(run).complete


def test_an_unreachable_server_is_reported_at_once() -> None:
    began = time.monotonic()
    with pytest.raises(StoreError, match="cannot be reached: check host, port") as refusal:
        Store.open("postgresql://somebody:secret@/nothing?host=/nowhere")
    assert time.monotonic() - began < 30  # a server that goes away later is waited for, for minutes
    assert "secret" not in str(refusal.value)
    with pytest.raises(StoreError, match="cannot be reached"):
        Store.open("postgresql://somebody:secret@127.0.0.1:1/nothing")


def test_a_missing_database_a_missing_user_and_a_wrong_password_are_distinguished(postgres_server: Any) -> None:
    url = make_url(postgres_server.address("nothing_of_this_name"))
    with pytest.raises(StoreError, match=r"has no such database: create it first \(createdb\)"):
        Store.open(url.render_as_string(hide_password=False))
    with pytest.raises(StoreError, match="does not know this user"):
        Store.open(url.set(username="stranger", database="postgres").render_as_string(hide_password=False))
    postgres_server.execute("CREATE ROLE guarded LOGIN PASSWORD 'right'")
    rules = postgres_server.data / "pg_hba.conf"
    rules.write_text("local all guarded scram-sha-256\n" + rules.read_text())
    postgres_server.execute("SELECT pg_reload_conf()")
    guarded = url.set(username="guarded", password="secret-word", database="postgres")
    deadline = time.monotonic() + 60
    message = ""
    while "password" not in message and time.monotonic() < deadline:  # the server reads its access rules with a delay
        try:
            Store.open(guarded.render_as_string(hide_password=False), create=False).close()
        except StoreError as refusal:
            message = str(refusal)
    assert "refuses the user name or the password" in message
    assert "secret-word" not in message


def test_a_user_without_rights_is_refused_with_the_reason(postgres_server: Any) -> None:
    name = postgres_server.new_database()
    postgres_server.execute("CREATE ROLE one_who_reads LOGIN")
    address = (
        make_url(postgres_server.address(name)).set(username="one_who_reads").render_as_string(hide_password=False)
    )
    with pytest.raises(StoreError, match="does not allow this user to do that"):
        Store.open(address)


def test_a_database_in_another_encoding_is_refused(postgres_server: Any) -> None:
    name = postgres_server.new_database("ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(StoreError, match=r"is in LATIN1.*ENCODING 'UTF8'"):
        Store.open(postgres_server.address(name))


def test_a_full_disk_ends_the_batch_in_one_line_and_keeps_committed_results(tmp_path: Path) -> None:
    with Store.open(tmp_path / "results.db", retry=QUICK) as store:
        run = store.begin_run(PLAN)
        listed = list_uris(store, run, *(f"{n:04d}.jpg" for n in range(2000)))
        answer_all(store, run, listed[:10])

        def fill(connection: Connection) -> None:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 5}")

        store._database.write(fill)
        with pytest.raises(StoreError, match="the disk is full: make room; what was committed stays"):
            answer_all(store, run, listed[10:])
        assert store.summary(run).done == 10
        store._database.write(lambda connection: connection.exec_driver_sql("PRAGMA max_page_count = 1000000"))
        answer_all(store, run, listed[10:])
        assert store.verify(run).complete


def test_a_writer_that_holds_the_file_is_waited_for_and_in_the_end_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bioclip_plugin.store.database.connection.BUSY_TIMEOUT_MS", 100)
    file = tmp_path / "results.db"
    with Store.open(file, retry=QUICK) as store, Store.open(file, retry=QUICK) as other:
        run = store.begin_run(PLAN)
        listed = list_uris(store, run, "a.jpg", "b.jpg")
        held, release = threading.Event(), threading.Event()

        def hold(connection: Connection) -> None:
            held.set()
            release.wait(20)

        holder = threading.Thread(target=lambda: other._database.write(hold))
        holder.start()
        held.wait(20)
        with pytest.raises(StoreError, match=r"in use by another program.*\(tried 4 times\)"):
            answer_all(store, run, listed)
        assert store.summary(run).todo == 2  # readers never wait
        threading.Timer(0.3, release.set).start()
        answer_all(store, run, listed)
        holder.join(20)
        assert store.verify(run).complete


def test_several_sessions_write_into_one_store_at_once(store_address: str) -> None:
    plans = [replace(PLAN, sources=(f"card {n % 2}",)) for n in range(4)]  # two of them even share a run
    problems: list[BaseException] = []

    def session(number: int) -> None:
        try:
            with Store.open(store_address, retry=QUICK) as store:
                run = store.begin_run(plans[number])
                for batch in range(5):
                    listed = list_uris(store, run, *(f"{batch}-{n}.jpg" for n in range(20)))
                    store.commit(run, [record(one, region_record()) for one in listed[:-1]] + [failed(listed[-1])])
        except BaseException as problem:
            problems.append(problem)

    Store.open(store_address).close()
    threads = [threading.Thread(target=session, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert problems == []
    with Store.open(store_address) as store:
        runs = store.runs()
        assert len(runs) == 2
        for run in runs:
            assert (store.summary(run).done, store.summary(run).failed) == (95, 5)
            assert store.verify(run).problems == []
            assert [item.item.uri for item in store.items_of(run)] == [
                f"{b}-{n}.jpg" for b in range(5) for n in range(20)
            ]
        assert runs[0].dimension == DIMENSION


def test_threads_may_read_while_one_writes(store: Store, run: Run) -> None:
    listed = list_uris(store, run, *(f"{n}.jpg" for n in range(200)))
    seen: list[int] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.append(len(store.answers(run, [one.media_id for one in listed])))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for start in range(0, 200, 20):
        answer_all(store, run, listed[start : start + 20])
    stop.set()
    for reader in readers:
        reader.join(20)
    assert len(store.answers(run, [one.media_id for one in listed])) == 200
    assert all(number % 20 == 0 for number in seen)  # whole batches only
