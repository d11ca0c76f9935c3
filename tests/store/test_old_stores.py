"""Stores that earlier versions wrote: they open, are upgraded, and give the same exports, reviews and finished runs."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from old_stores import CLASSIFY, EXPORTS, FIXTURE, RUNS, classify, exported, exports, model, restore, write_project
from sqlalchemy import Connection, MetaData, Table, create_engine, event, inspect, select, text
from sqlalchemy.engine import Engine

from bioclip_core.errors import StoreError
from bioclip_plugin import create_plugin_manager
from bioclip_plugin.cli import run
from bioclip_plugin.store import Retry, Store
from bioclip_plugin.store.database import schema, versions
from bioclip_plugin.store.database.address import parse_address
from bioclip_plugin.store.database.connection import Database

Call = Callable[..., int]

REVIEWS = [
    ("photos/cam1/a.ppm", "taxon", "Red fictus", "Ann", "sure", "2"),
    ("photos/cam1/a.ppm", "taxon", "Green fictus", "Bo", 'a "quoted" word; über', "1"),
    ("photos/cam2/f.ppm", "blank", None, "Bo", "", None),
    (None, "taxon", "Blue pictus", "Cy", "the whole event", None),
    ("photos/broken.jpg", "unidentifiable", None, "Ann", "", None),
]
COUNTS = {1: (6, 1), 2: (6, 2), 3: (3, 1), 4: (6, 2)}
"""Done and failed items of each run."""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def old(store_address: str) -> str:
    """Address of the store that version 0.1.0 wrote, on each database in turn."""
    restore(store_address)
    return store_address


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Iterator[Call]:
    """Command line as a function that returns the exit code."""
    fake = model()
    manager = create_plugin_manager(installed=False)
    manager.register(fake)
    yield lambda *arguments: run([str(argument) for argument in arguments], manager=manager)
    assert fake.encoder.images_encoded == 0  # nothing is computed anew


def expected(name: str, kind: str) -> dict[str, str]:
    return exported(FIXTURE / "expected" / name / kind)


def reviews_in(store: Store) -> list[tuple[object, ...]]:
    return [
        (
            r.target.uri,
            r.verdict,
            r.taxon and f"{r.taxon.genus} {r.taxon.species}",
            r.reviewer,
            r.comment,
            r.details.get("count"),
        )
        for r in store.reviews()
    ]


def test_a_store_of_0_1_0_is_upgraded_with_every_run_and_review(old: str, call: Call) -> None:
    assert call("store", "upgrade", "--store", old) == 0
    with Store.open(old, create=False) as store:
        assert store.version() == versions.HEAD
        assert [one.id for one in store.runs()] == list(RUNS)
        for one in store.runs():
            proof = store.verify(one)
            assert (proof.answered, proof.failed, proof.problems) == (*COUNTS[one.id], [])
            assert store.undecided(one) == 0
        assert reviews_in(store) == REVIEWS
        assert {one.target.kind for one in store.reviews()} == {"media", "region", "event"}


def test_exports_of_a_store_of_0_1_0_are_as_they_were(
    old: str, call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    call("store", "upgrade", "--store", old)
    monkeypatch.setenv("TZ", "Pacific/Chatham")
    time.tzset()
    try:
        for number, name, kind in exports():
            output = tmp_path / f"{name}-{kind}"
            assert call("export", "--run", number, "--store", old, *EXPORTS[kind], "--output", output) == 0
            assert exported(output) == expected(name, kind), f"{name} as {kind}"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_same_requests_find_everything_done_in_a_store_of_0_1_0(old: str, call: Call) -> None:
    call("store", "upgrade", "--store", old)
    with Store.open(old) as store:
        before = [(one.rule_id, store.summary(one)) for one in store.runs()]
    for given in CLASSIFY:
        assert call(*classify(given, old)) == 3  # the broken file is tried again
    with Store.open(old) as store:
        assert [(one.rule_id, store.summary(one)) for one in store.runs()] == before
        assert {one.feature_id for one in store.runs()} == {store.run(1).feature_id}
    assert call("review", "import", "reviews.csv", "--run", 2, "--store", old) == 0
    with Store.open(old) as store:
        assert reviews_in(store) == REVIEWS


@pytest.mark.parametrize("version", versions.known_versions()[:-1])
def test_a_store_of_every_earlier_version_of_the_tables_gives_the_same_answers(
    new_store_address: Callable[[], str], call: Call, version: str, tmp_path: Path
) -> None:
    old, earlier = new_store_address(), new_store_address()
    restore(old)
    _copy_into_version(old, earlier, version)
    assert call("store", "upgrade", "--store", earlier) == 0
    with Store.open(earlier) as store:
        assert [store.verify(one).answered for one in store.runs()] == [done for done, _ in COUNTS.values()]
        assert store.verify(store.run(1)).problems == []  # of the others, version 0001 had neither rules nor people
        assert [review[:5] for review in reviews_in(store)] == [review[:5] for review in REVIEWS]
    assert call("export", "--run", 1, "--store", earlier, *EXPORTS["csv"], "--output", "answers") == 0
    assert exported(tmp_path / "answers") == expected("photos", "csv")


@pytest.mark.parametrize("table", ["bioclip_regions", schema.VERSION_TABLE])
def test_an_upgrade_that_is_interrupted_leaves_the_store_as_it_was(
    new_store_address: Callable[[], str], call: Call, table: str, tmp_path: Path
) -> None:
    old, earlier = new_store_address(), new_store_address()
    restore(old)
    _copy_into_version(old, earlier, "0001")

    def stop(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if re.match(rf"\s*(ALTER TABLE|INSERT INTO|UPDATE|CREATE TABLE) {table}", statement):
            raise KeyboardInterrupt

    event.listen(Engine, "after_cursor_execute", stop)
    try:
        with pytest.raises(KeyboardInterrupt):
            Store.open(earlier, upgrade=True)
    finally:
        event.remove(Engine, "after_cursor_execute", stop)
    engine = create_engine(parse_address(earlier))
    with engine.connect() as connection:
        assert versions.version_of(connection) == "0001"
        assert [name for name in inspect(connection).get_table_names() if name.endswith("0002")] == []
    engine.dispose()
    assert call("store", "upgrade", "--store", earlier) == 0
    assert call("export", "--run", 1, "--store", earlier, *EXPORTS["csv"], "--output", "answers") == 0
    assert exported(tmp_path / "answers") == expected("photos", "csv")


def _copy_into_version(old: str, earlier: str, version: str) -> None:
    """Fill a database with the tables of a version, and with those columns of the old store that they have."""
    database = Database(parse_address(earlier), Retry())
    database.migrate(lambda connection: versions.migrate(connection, version))

    def fill(connection: Connection) -> None:
        engine = create_engine(parse_address(old))
        with engine.connect() as source:
            there = {*inspect(connection).get_table_names()} & {*inspect(source).get_table_names()}
            for table in schema.metadata.sorted_tables:
                if table.name not in there:  # made by a later version
                    continue
                kept = Table(table.name, MetaData(), autoload_with=connection)
                had = Table(table.name, MetaData(), autoload_with=source)
                columns = [column for column in had.columns if column.name in kept.columns]
                rows = [dict(row._mapping) for row in source.execute(select(*columns))]
                if rows:
                    connection.execute(kept.insert(), rows)
        engine.dispose()

    database.migrate(fill)
    database.close()


def test_a_store_of_a_later_version_is_refused_in_one_line(
    old: str, call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = create_engine(parse_address(old))
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(StoreError, match="written by another version"):
        Store.open(old)
    assert call("runs", "list", "--store", old) == 1
    assert call("store", "upgrade", "--store", old) == 1
    assert "tables 9999, ours are" in capsys.readouterr().err
