"""Several batches in one transaction: stored together, and each with its own error if that is not possible."""

from __future__ import annotations

import logging
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection
from store_samples import BY_RANK, PLAN, QUICK, list_uris, record, region_record

from bioclip_core.classify import Candidate
from bioclip_core.errors import StoreError
from bioclip_plugin.store import ItemRecord, Listed, Run, Store
from bioclip_plugin.store.database import connection as connections
from bioclip_plugin.store.group_commits import commit_each


def _batches(listed: list[Listed], size: int) -> list[list[ItemRecord]]:
    records = [record(one, region_record()) for one in listed]
    return [records[start : start + size] for start in range(0, len(records), size)]


def _transactions(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by the number of records of each transaction that writes answers."""
    begun: list[int] = []
    write = store._database.write

    def noted(work: Any, run: Run, records: Any, *given: Any) -> Any:
        begun.append(len(records))
        return write(work, run, records, *given)

    monkeypatch.setattr(store._database, "write", noted)
    return begun


def test_batches_that_wait_together_are_one_transaction(
    store: Store, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = _batches(list_uris(store, run, *(f"{n}.jpg" for n in range(6))), 2)
    begun = _transactions(store, monkeypatch)
    assert commit_each(store, run, batches) == [None, None, None]
    assert begun == [6]
    assert store.verify(run).complete


def test_a_batch_that_is_refused_keeps_no_other_from_being_stored(
    store: Store, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = _batches(list_uris(store, run, *(f"{n}.jpg" for n in range(6))), 2)
    best = BY_RANK["species"][0]
    wrong = region_record(by_rank={"species": (Candidate(best.taxon, "species", float("nan")),)})
    batches[1][0] = replace(batches[1][0], regions=(wrong,))
    begun = _transactions(store, monkeypatch)
    first, second, third = commit_each(store, run, batches)
    assert (first, third) == (None, None)
    assert isinstance(second, StoreError)
    assert "2.jpg: 'Lynx fictus' has the probability nan" in str(second)
    assert begun == [6, 2, 2, 2]
    assert [item.status for item in store.items_of(run)] == ["done", "done", "todo", "todo", "done", "done"]
    assert store.verify(run).problems == []


def test_on_a_full_disk_the_batches_that_fit_are_stored_and_the_others_are_named(tmp_path: Path) -> None:
    with Store.open(tmp_path / "results.db", retry=QUICK) as store:
        run = store.begin_run(PLAN)
        listed = list_uris(store, run, *(f"{n:04d}.jpg" for n in range(1_000)))

        def leave_room(connection: Connection) -> None:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 40}")

        store._database.write(leave_room)
        small, large = _batches(listed[:10], 10)[0], _batches(listed[10:], 990)[0]
        first, second = commit_each(store, run, [small, large])
        assert first is None
        assert "the disk is full: make room; what was committed stays" in str(second)
        assert store.summary(run).done == 10
        assert store.verify(run).problems == []


def test_a_store_that_another_program_holds_is_waited_for_once_and_not_once_per_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connections, "BUSY_TIMEOUT_MS", 10)
    with Store.open(tmp_path / "results.db", retry=QUICK) as store:
        run = store.begin_run(PLAN)
        batches = _batches(list_uris(store, run, *(f"{n}.jpg" for n in range(6))), 2)
        holder = sqlite3.connect(tmp_path / "results.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with caplog.at_level(logging.WARNING):
            errors = commit_each(store, run, batches)
        holder.close()
        assert len({str(error) for error in errors}) == 1
        assert "in use by another program" in str(errors[0])
        assert len(caplog.messages) == QUICK.tries - 1
        assert commit_each(store, run, batches) == [None, None, None]


def test_the_log_of_a_store_shrinks_again_after_a_long_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader keeps SQLite from folding the log into the file, so that it grows; by default it would keep that size."""
    monkeypatch.setattr(connections, "_LOG_PAGES", 20)
    monkeypatch.setattr(connections, "_LOG_BYTES", 200_000)
    path = tmp_path / "results.db"
    with Store.open(path, retry=QUICK) as store:
        run = store.begin_run(PLAN)
        listed = list_uris(store, run, *(f"{n:04d}.jpg" for n in range(600)))
        batches = _batches(listed, 50)
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM bioclip_media").fetchone()
        for batch in batches[:10]:
            store.commit(run, batch)
        log = Path(f"{path}-wal")
        grown = log.stat().st_size
        assert grown > 5 * 200_000
        reader.close()
        for batch in batches[10:]:
            store.commit(run, batch)
        assert log.stat().st_size < grown / 2  # what was written since then, above the limit
        assert store.verify(run).complete


def test_a_store_that_is_written_keeps_few_pages_in_memory(tmp_path: Path) -> None:
    """They stay until it is closed, so that the memory of a long run would grow with its store."""
    with Store.open(tmp_path / "results.db") as store:
        pages, size = store._database.read(
            lambda connection: [
                int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()) for name in ("cache_size", "page_size")
            ]
        )
    kept = -1024 * pages if pages < 0 else pages * size
    assert kept <= 4 << 20
