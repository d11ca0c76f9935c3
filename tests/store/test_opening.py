"""Opening a store: addresses, unusable places, versions and migrations."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, inspect, text
from store_samples import PLAN, answer_all, list_uris

from bioclip_core.errors import StoreError
from bioclip_plugin.store import Retry, Store
from bioclip_plugin.store.database import schema, versions
from bioclip_plugin.store.database.address import network_file_system, parse_address, shown
from bioclip_plugin.store.database.connection import Database

MOUNTS = """\
sysfs /sys sysfs rw 0 0
/dev/sda1 / ext4 rw 0 0
server:/export /mnt/nas nfs4 rw 0 0
/dev/sdb1 /mnt/nas/local xfs rw 0 0
//box/my\\040share /mnt/my\\040share cifs rw 0 0
scratch@tcp:/lfs /scratch lustre rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/mnt/nas/results.db", "nfs4"),
        ("/mnt/nas/local/results.db", None),
        ("/mnt/nasty/results.db", None),
        ("/mnt/my share/results.db", "cifs"),
        ("/scratch/a/b/results.db", "lustre"),
        ("/home/results.db", None),
    ],
)
def test_network_file_systems_are_distinguished_from_local_ones(path: str, kind: str | None) -> None:
    assert network_file_system(Path(path), MOUNTS) == kind


def test_mounts_are_unknown_without_a_list_of_them() -> None:
    assert network_file_system(Path("/home/results.db"), "") is None


def test_a_file_on_a_network_file_system_is_refused(tmp_path: Path) -> None:
    from bioclip_plugin.store.database.address import check_place

    url, point = parse_address(tmp_path / "results.db"), str(tmp_path).replace(" ", "\\040")
    with pytest.raises(StoreError, match=r"network file system \(nfs\).*local disk, or use PostgreSQL"):
        check_place(url, create=True, mounts=f"server:/x {point} nfs rw 0 0")
    check_place(url, create=True, mounts=f"/dev/sda {point} ext4 rw 0 0")


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("results.db", "sqlite:///results.db"),
        (Path("a/b.db"), "sqlite:///a/b.db"),
        ("sqlite:////var/x.db", "sqlite:////var/x.db"),
        ("postgresql://u@h/d", "postgresql+psycopg://u@h/d"),
        ("postgres://u:secret@h:5433/d", "postgresql+psycopg://u:***@h:5433/d"),
        ("postgresql+psycopg://h/d?password=secret", "postgresql+psycopg://h/d"),
    ],
)
def test_addresses_take_one_form_and_are_shown_without_password(address: str | Path, url: str) -> None:
    assert shown(parse_address(address)) == url


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("", "the store's address is empty"),
        ("mysql://u:secret@h/d", "a store cannot be kept in mysql: a store is a path"),
        ("postgresql+asyncpg://u:secret@h/d", r"cannot be kept in postgresql\+asyncpg"),
        ("postgresql://u:secret@h:port/d", "cannot be read"),
        ("postgresql://u:secret@h", r"names no database"),
        ("sqlite://", "a store in memory is gone at the end"),
        ("sqlite:///:memory:", "a store in memory is gone at the end"),
        ("missing/folder/results.db", "the folder missing/folder of the store results.db does not exist"),
    ],
)
def test_addresses_that_cannot_be_used_are_refused_in_one_line(address: str, sentence: str) -> None:
    with pytest.raises(StoreError, match=sentence) as refusal:
        Store.open(address)
    assert "secret" not in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is a folder: give a file in it"):
        Store.open(tmp_path)


def test_a_file_that_is_not_a_database_is_refused_and_left_unchanged(tmp_path: Path) -> None:
    file = tmp_path / "photo.jpg"
    file.write_bytes(b"\xff\xd8 not a database" * 100)
    with pytest.raises(StoreError, match="is not an SQLite database"):
        Store.open(file)
    assert file.read_bytes().startswith(b"\xff\xd8 not a database")


def test_a_place_without_a_store_is_refused_if_it_must_exist(store_address: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"there is no store at|holds no store of ours"):
        Store.open(store_address, create=False)
    assert not list(tmp_path.glob("*.db"))


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs POSIX users")
def test_a_new_store_is_made_once_and_opened_again(store_address: str) -> None:
    with Store.open(store_address) as store:
        run = store.begin_run(PLAN)
        assert store.version() == versions.HEAD
    with Store.open(store_address, create=False) as store:
        assert store.run().id == run.id
        assert store.upgraded_from is None
        assert store.upgrade() == versions.HEAD


def test_tables_of_the_host_stay_and_all_of_ours_carry_the_prefix(store_address: str) -> None:
    engine = create_engine(parse_address(store_address))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num TEXT)"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('of the host')"))
    Store.open(store_address).close()
    tables = inspect(engine).get_table_names()
    assert [name for name in tables if not name.startswith("bioclip_")] == ["alembic_version"]
    assert "bioclip_alembic_version" in tables
    with engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "of the host"
    engine.dispose()


def _set_version(address: str, version: str) -> None:
    engine = create_engine(parse_address(address))
    with engine.begin() as connection:
        connection.execute(text("UPDATE bioclip_alembic_version SET version_num = :version"), {"version": version})
    engine.dispose()


def test_a_version_that_we_do_not_know_is_refused(store_address: str) -> None:
    Store.open(store_address).close()
    _set_version(store_address, "9999")
    with pytest.raises(StoreError, match=r"another version of bioclip-plugin \(tables 9999, ours are"):
        Store.open(store_address)
    with pytest.raises(StoreError, match="tables 9999"):
        Store.open(store_address, upgrade=True)


def test_tables_without_a_version_are_refused(store_address: str) -> None:
    Store.open(store_address).close()
    engine = create_engine(parse_address(store_address))
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE bioclip_alembic_version"))
    engine.dispose()
    with pytest.raises(StoreError, match="does not say of which version"):
        Store.open(store_address)


def test_the_head_is_the_newest_migration() -> None:
    assert versions.known_versions()[-1] == versions.HEAD
    assert versions.known_versions()[0] == "0001"


def _described(address: str) -> dict[str, object]:
    engine = create_engine(parse_address(address))
    inspector = inspect(engine)
    found: dict[str, object] = {}
    for table in sorted(set(inspector.get_table_names()) - {schema.VERSION_TABLE}):
        columns = {c["name"]: (repr(c["type"]), c["nullable"]) for c in inspector.get_columns(table)}
        indexes = sorted((i["name"] or "", tuple(i["column_names"]), i["unique"]) for i in inspector.get_indexes(table))
        keys = sorted((k["constrained_columns"][0], k["referred_table"]) for k in inspector.get_foreign_keys(table))
        unique = sorted(tuple(u["column_names"]) for u in inspector.get_unique_constraints(table))
        primary = inspector.get_pk_constraint(table)["constrained_columns"]
        options: Any = inspector.get_table_options(table)
        if engine.dialect.name == "postgresql":
            with engine.connect() as connection:
                query = text("SELECT reloptions FROM pg_class WHERE oid = CAST(:name AS regclass)")
                options = connection.execute(query, {"name": table}).scalar()
        found[table] = (columns, indexes, keys, unique, primary, options)
    engine.dispose()
    return found


def test_the_migrations_make_exactly_the_tables_of_the_schema(new_store_address: Callable[[], str]) -> None:
    migrated, direct = new_store_address(), new_store_address()
    Store.open(migrated).close()
    engine = create_engine(parse_address(direct))
    schema.metadata.create_all(engine)
    engine.dispose()
    assert _described(migrated) == _described(direct)
    assert len(_described(migrated)) == len(schema.metadata.tables)


# A row of each version's own tables, inserted before the later versions run. Add one with every migration.
ROWS = {
    "0001": [
        "INSERT INTO bioclip_media (id, uri, frame) VALUES (7, 'old.jpg', 0)",
        "INSERT INTO bioclip_reviews (id, uid, kind, media, verdict, reviewer, reviewed_at, comment) "
        "VALUES (3, 'u', 'media', 7, 'blank', 'Ann', '2020-01-02T03:04:05.000000+00:00', '')",
        "INSERT INTO bioclip_regions (id, media, x, y, w, h, detector, detector_version, category) "
        "VALUES (11, 7, 1, 2, 3, 4, 'md', '5', 'animal')",
        "INSERT INTO bioclip_reviews (id, uid, kind, media, region, verdict, reviewer, reviewed_at, comment) "
        "VALUES (4, 'v', 'region', 7, 11, 'vehicle', 'Ben', '2020-01-02T03:04:06.000000+00:00', '')",
    ],
    "0002": [
        "INSERT INTO bioclip_regions (id, media, x, y, w, h, detector, detector_version, category) "
        "VALUES (12, 7, 1, 2, 3, 4, 'md', '5', 'person')",
        "INSERT INTO bioclip_reviews (id, uid, kind, media, region, verdict, reviewer, reviewed_at, comment, details) "
        "VALUES (5, 'w', 'region', 7, 12, 'person', 'Cy', '2020-01-02T03:04:07.000000+00:00', '', '{\"count\": 2}')",
    ],
    "0003": [
        "INSERT INTO bioclip_contents (id, sha256, frame, size) VALUES (9, 'c0', 0, 10)",
        "INSERT INTO bioclip_detector_sets (id, detector_id, settings) VALUES (2, 'd', '{}')",
        "INSERT INTO bioclip_detections (detector_set, content, boxes) VALUES (2, 9, '[]')",
    ],
    "0004": ["UPDATE bioclip_media SET content = 9 WHERE id = 7"],
    "0005": [
        "INSERT INTO bioclip_audit_items (media, event, stratum, inclusion, drawn_at) "
        "VALUES (7, 'e', 'd', 0.5, '2020-01-02T03:04:08.000000+00:00')"
    ],
}


def test_rows_of_every_version_survive_all_later_migrations(store_address: str) -> None:
    assert list(ROWS) == versions.known_versions()
    database = Database(parse_address(store_address), Retry())
    for version, statements in ROWS.items():
        database.migrate(lambda connection, version=version: versions.migrate(connection, version))
        for statement in statements:
            database.write(lambda connection, statement=statement: connection.execute(text(statement)))
    database.close()
    with Store.open(store_address, upgrade=True) as store:
        assert [item.uri for item in store.media_under()] == ["old.jpg"]
        found = [(review.id, review.verdict, review.reviewer, dict(review.details)) for review in store.reviews()]
        assert found == [(3, "blank", "Ann", {}), (4, "vehicle", "Ben", {}), (5, "person", "Cy", {"count": 2})]
        regions = [review.target.region.category for review in store.reviews() if review.target.region]
        assert regions == ["animal", "person"]
        assert [(one.uri, one.event, one.inclusion) for one in store.audit_items()] == [("old.jpg", "e", 0.5)]


def test_an_older_version_is_upgraded_on_sqlite_and_named_on_postgresql(
    store_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store.open(store_address).close()
    with monkeypatch.context() as patch:
        patch.setattr(versions, "HEAD", "9999")  # as if this program were newer than the tables
        patch.setattr(versions, "_migrate", lambda connection: None)
        if store_address.startswith("sqlite"):
            with Store.open(store_address) as store:
                assert store.upgraded_from == versions.known_versions()[-1]
        else:
            with pytest.raises(StoreError, match="`bioclip-plugin store upgrade --store 'postgresql"):
                Store.open(store_address)
            with Store.open(store_address, upgrade=True) as store:
                assert store.upgraded_from == versions.known_versions()[-1]


def test_two_programs_may_make_the_same_store_at_once(store_address: str) -> None:
    program = "import sys; from bioclip_plugin.store import Store; print(Store.open(sys.argv[1]).version())"
    both = [
        subprocess.Popen([sys.executable, "-c", program, store_address], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [process.communicate(timeout=60)[0].strip() for process in both] == [versions.HEAD] * 2


def test_tables_that_another_program_makes_between_two_looks_are_a_store(store_address: str) -> None:
    with Store.open(store_address):
        engine = create_engine(store_address if "://" in store_address else f"sqlite:///{store_address}")
        with engine.connect() as connection:
            looks: list[str] = []
            has_table = connection.dialect.has_table

            def too_early(*given: Any, **options: Any) -> bool:
                looks.append("look")
                return len(looks) > 1 and has_table(*given, **options)

            connection.dialect.has_table = too_early  # type: ignore[method-assign]
            assert versions.version_of(connection) == versions.HEAD
        engine.dispose()


def test_opening_a_finished_store_imports_neither_alembic_nor_torch_nor_pandas(store_address: str) -> None:
    with Store.open(store_address) as store:
        run = store.begin_run(PLAN)
        answer_all(store, run, list_uris(store, run, "a.jpg"))
    program = """
import sys
from bioclip_plugin.items.media import MediaItem
from bioclip_plugin.store import Store
store = Store.open(sys.argv[1])
print(store.list_items(store.run(), [MediaItem("a.jpg")], [(100, 1_700_000_000_000_000_000)])[0].done)
print(sorted({"alembic", "torch", "open_clip", "pandas", "sqlalchemy.orm"} & set(sys.modules)))
"""
    answer = subprocess.run(
        [sys.executable, "-c", program, store_address], capture_output=True, text=True, check=True, timeout=60
    )
    assert answer.stdout.split("\n")[:2] == ["True", "[]"]


def test_the_package_can_be_imported_without_a_database() -> None:
    program = "import sys, bioclip_plugin.store; print('sqlalchemy' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.strip() == "False"


@pytest.mark.usefixtures("waits_for_the_disk")
def test_an_sqlite_store_is_safe_against_power_cuts_and_wrong_types(tmp_path: Path) -> None:
    file = tmp_path / "results.db"
    with Store.open(file) as store:
        pragmas = ("journal_mode", "synchronous", "foreign_keys")
        found = [
            store._database.read(lambda connection, name=name: connection.exec_driver_sql(f"PRAGMA {name}").scalar())
            for name in pragmas
        ]
    assert found == ["wal", 2, 1]
    plain = sqlite3.connect(file)
    with pytest.raises(sqlite3.IntegrityError, match="cannot store TEXT value in INTEGER column"):
        plain.execute("INSERT INTO bioclip_media (uri, frame) VALUES ('a', 'first')")
    plain.close()


QUIET = """
import logging, sys
found = []
handler = logging.Handler()
handler.emit = lambda record: found.append(f"{record.name}: {record.getMessage()}")
logging.root.addHandler(handler)
logging.root.setLevel(logging.DEBUG)
logging.getLogger("sqlalchemy").setLevel(logging.DEBUG)
from bioclip_plugin.store import Store
with Store.open(sys.argv[1]) as store:
    store.runs()
print(*found, sep="\\n")
import sqlalchemy
with sqlalchemy.create_engine("sqlite://").connect() as connection:
    connection.execute(sqlalchemy.text("SELECT 42"))
assert any("SELECT 42" in record for record in found)
assert logging.root.handlers == [handler] and not logging.getLogger("alembic").disabled
"""


def test_a_host_that_logs_everything_sees_its_own_statements_and_not_ours(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", QUIET, str(tmp_path / "results.db")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


def test_the_statements_that_make_tables_in_the_tests_make_those_of_the_migrations(
    new_store_address: Callable[[], str],
) -> None:
    """Most stores of the tests are made by what the migrations said when they ran first."""
    found = []
    for migrate in (versions.migrate.of_the_program, versions.migrate, versions.migrate):  # type: ignore[attr-defined]
        database = Database(parse_address(new_store_address()), Retry())
        database.migrate(lambda connection, migrate=migrate: migrate(connection, versions.HEAD))
        found.append(database.read(_everything_of_ours))
        database.close()
    assert len(found[0]) > 20
    assert found[0] == found[1] == found[2]


def _everything_of_ours(connection: Connection) -> list[str]:
    """Return tables, columns, defaults, constraints and indexes as the database itself has them, and the version."""
    queries = {
        "sqlite": ["SELECT sql FROM sqlite_master"],
        "postgresql": [
            "SELECT table_name, column_name, data_type, is_nullable, column_default, is_identity, ordinal_position "
            "FROM information_schema.columns WHERE table_schema = 'public'",
            "SELECT conrelid::regclass, conname, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE connamespace = 'public'::regnamespace",
            "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'",
        ],
    }
    asked = [*queries[connection.dialect.name], "SELECT version_num FROM bioclip_alembic_version"]
    return sorted(str(tuple(row)) for query in asked for row in connection.execute(text(query)))
