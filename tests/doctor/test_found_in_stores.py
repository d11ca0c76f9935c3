"""Each problem of a store, made and found, and the store unchanged."""

from __future__ import annotations

import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from doctor_samples import codes

from bioclip_core.errors import StoreError
from bioclip_plugin.doctor import DoctorOptions, Report, stores
from bioclip_plugin.doctor.report import Problem
from bioclip_plugin.store import Store, looking
from bioclip_plugin.store.database import versions
from bioclip_plugin.store.database.schema import VERSION_TABLE
from bioclip_plugin.store.looking import Look, look_at

Examine = Callable[..., Report]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "results.db"
    Store.open(path).close()
    return path


def state(path: Path) -> dict[str, tuple[str, int]]:
    """Return bytes and times of the files of a store, those beside it included."""
    return {
        file.name: (hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_mtime_ns)
        for file in path.parent.glob(f"{path.name}*")
    }


def faults(found: Look) -> list[str]:
    return [fault.code for fault in found.faults]


def test_a_store_that_is_well_is_described_and_not_changed(store: Path) -> None:
    before = state(store)
    found = look_at(str(store))
    assert (found.kind, found.version, found.whole, found.is_locked, found.faults) == (
        "SQLite",
        versions.HEAD,
        True,
        False,
        [],
    )
    assert state(store) == before


def test_an_address_with_a_home_folder_and_one_of_sqlalchemy_are_the_same(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(store.parent))
    assert look_at("~/results.db").address == look_at(f"sqlite:///{store}").address


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_store_that_another_program_writes_to_is_found_and_not_changed(
    store: Path, journal: str, look: Examine
) -> None:
    other = sqlite3.connect(store, isolation_level=None)
    other.execute(f"PRAGMA journal_mode={journal}")
    other.execute("BEGIN IMMEDIATE")
    try:
        report = look("store", store=str(store))
    finally:
        other.execute("ROLLBACK")
        other.close()
    assert codes(report) == ["store.locked"]
    assert report.results[0].facts["written_by_another_program"] is True


def test_a_store_that_another_program_has_open_is_no_problem_and_is_not_changed(store: Path, look: Examine) -> None:
    with Store.open(store) as opened:
        opened.runs()
        log = (store.parent / "results.db-wal").read_bytes()
        report = look("store", store=str(store))
        assert report.is_healthy
        assert (store.parent / "results.db-wal").read_bytes() == log


def test_the_log_of_a_killed_program_stays_where_it_is(store: Path, look: Examine) -> None:
    code = (
        "import sqlite3, os, sys\none = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "one.execute('CREATE TABLE mine (x)')\nos.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(store)], check=False)
    assert killed.returncode == -signal.SIGKILL
    files = {name: digest for name, (digest, _) in state(store).items() if not name.endswith("-shm")}
    assert set(files) == {"results.db", "results.db-wal"}
    report = look("store", store=str(store))
    assert report.is_healthy
    assert {name: digest for name, (digest, _) in state(store).items() if not name.endswith("-shm")} == files


@pytest.mark.parametrize("place", [100, 4096 + 8, 3 * 4096])
def test_a_damaged_store_is_found(store: Path, place: int) -> None:
    with store.open("r+b") as file:
        file.seek(place)
        file.write(b"\xa5" * 4000)
    found = look_at(str(store))
    assert "damaged" in faults(found)


def test_a_file_that_is_no_database_is_found(tmp_path: Path, look: Examine) -> None:
    (tmp_path / "bioclip.db").write_text("no database\n" * 1000)
    report = look("store")
    assert codes(report) == ["store.damaged"]
    assert "is not an SQLite database" in report.problems[0].line()


def test_an_empty_file_and_a_database_of_others_are_notes(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE theirs (x)").connection.close()
    for name in ("empty.db", "other.db"):
        (fault,) = look_at(str(tmp_path / name)).faults
        assert (fault.code, fault.is_grave) == ("empty", False)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such files")
def test_a_pipe_in_place_of_a_store_is_not_opened(tmp_path: Path, look: Examine) -> None:
    os.mkfifo(tmp_path / "results.db")
    report = look("store", store="results.db")
    assert "is not a file" in report.problems[0].line()


@pytest.mark.parametrize(("version", "code"), [("9999", "newer"), ("0001", "old")])
def test_tables_of_another_version_are_found(store: Path, version: str, code: str) -> None:
    one = sqlite3.connect(store)
    one.execute(f"UPDATE {VERSION_TABLE} SET version_num = ?", (version,))
    one.commit()
    one.close()
    (fault,) = look_at(str(store)).faults
    assert (fault.code, fault.is_grave) == (code, code == "newer")


@pytest.mark.parametrize("content", [b"[x]\n\xff\xfe = a:b\n", b"[x]\nno equals sign\n"])
def test_a_package_that_breaks_alembic_is_not_taken_for_damage_of_the_store(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad_one-1.0.dist-info").mkdir()
    (tmp_path / "bad_one-1.0.dist-info" / "entry_points.txt").write_bytes(content)
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from bioclip_plugin.store import Store\nfrom bioclip_core.errors import InstallationError\n"
        "try:\n    Store.open('new.db')\nexcept InstallationError as error:\n    print(error)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.startswith("alembic, which makes the tables of stores, cannot be imported: ")
    assert done.stdout.endswith("the metadata of another package cannot be read, which the command doctor names\n")


@pytest.mark.parametrize(
    "change",
    [
        f"DELETE FROM {VERSION_TABLE}", f"UPDATE {VERSION_TABLE} SET version_num = ''",
        f"UPDATE {VERSION_TABLE} SET version_num = '  '", f"DROP TABLE {VERSION_TABLE}",
    ],
)  # fmt: skip
def test_tables_without_a_version_are_not_called_newer(store: Path, change: str) -> None:
    one = sqlite3.connect(store)
    one.execute(change)
    one.commit()
    one.close()
    (fault,) = look_at(str(store)).faults
    assert (fault.code, fault.is_grave) == ("unreadable", True)
    assert "has tables of ours but does not say of which version" in fault.found
    assert fault.advice.startswith("restore it from a copy")
    with pytest.raises(StoreError, match="does not say of which version"):
        Store.open(store)


def test_a_store_that_cannot_be_read_is_one_problem(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "may_read", lambda _: False)  # as with the rights 000; the superuser reads all files
    monkeypatch.setattr(looking, "why_read_only", lambda _: "the rights on it do not allow to write: ask its owner")
    (fault,) = look_at(str(store)).faults
    assert (fault.code, fault.is_grave) == ("unreadable", True)
    assert "cannot be read: " not in fault.found
    assert "rights" in fault.meaning


def test_a_user_that_does_not_exist_is_a_problem_with_advice() -> None:
    (problem,) = (found for found in stores.look(DoctorOptions(store="~nobodyx/x.db")) if isinstance(found, Problem))
    assert problem.found == "path '~nobodyx/x.db' names a user 'nobodyx' that this machine does not have"
    assert problem.advice.startswith("give a path without ~")


@pytest.mark.parametrize("version", ["abc", "0000", "-1", "1", "000x"])
def test_tables_of_a_version_that_cannot_be_a_newer_one_are_not_called_so(store: Path, version: str) -> None:
    one = sqlite3.connect(store)
    one.execute(f"UPDATE {VERSION_TABLE} SET version_num = ?", (version,))
    one.commit()
    one.close()
    (fault,) = look_at(str(store)).faults
    assert fault.code == "unreadable"
    assert f"has the tables {version}" in fault.found


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("missing.db", "there is no store at missing.db"), ("no/folder/x.db", "does not exist"), (".", "is a folder"),
        ("mysql://u:hunter2@h/d", "a store cannot be kept in mysql"), ("postgresql+psycopg://h", "names no database"),
    ],
)  # fmt: skip
def test_an_address_without_a_store_is_one_problem(look: Examine, address: str, words: str) -> None:
    report = look("store", store=address)
    assert codes(report) == ["store.unreachable"]
    assert words in report.problems[0].line()
    assert "hunter2" not in report.text()


def test_a_store_on_a_network_drive_can_only_be_read(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (looking, sys.modules["bioclip_plugin.store.database.read_only"]):
        monkeypatch.setattr(module, "network_kind", lambda *_: "nfs4")
    found = look_at(str(store))
    assert found.file_system == "nfs4"
    (fault,) = found.faults
    assert fault.code == "read-only"
    assert "network file system (nfs4)" in fault.meaning


def test_a_write_protected_store_can_only_be_read(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bioclip_plugin.store.database.read_only.may_write", lambda path: path.is_dir())
    (fault,) = look_at(str(store)).faults
    assert fault.code == "read-only"
    assert "write-protected" in fault.meaning


def test_the_search_for_damage_ends_in_time(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "_STEPS_BETWEEN_LOOKS", 1)
    assert look_at(str(store), patience_s=0).whole is None


def test_without_a_store_nothing_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (fact,) = stores.look(DoctorOptions())
    assert "none given" in fact.value  # type: ignore[union-attr]


# PostgreSQL


def test_a_server_that_refuses_connections_is_a_problem(look: Examine) -> None:
    report = look("store", store="postgresql+psycopg://marie:hunter2@127.0.0.1:9/results")
    assert codes(report) == ["store.unreachable"]
    assert "cannot be reached" in report.problems[0].line()
    assert "hunter2" not in report.text()
    assert "marie" not in report.text()


def test_a_server_that_never_answers_is_given_up(look: Examine) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0), backlog=1) as server:
        address = f"postgresql+psycopg://u:hunter2@127.0.0.1:{server.getsockname()[1]}/results"
        began_at = time.monotonic()
        report = look("store", store=address, patience=1)
    assert time.monotonic() - began_at < 60
    assert len(report.problems) == 1
    assert "hunter2" not in report.text()


@pytest.fixture
def database(postgres_server: Any) -> Iterator[tuple[Any, str]]:
    name = postgres_server.new_database()
    yield postgres_server, name
    postgres_server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_postgresql_store_is_described_and_its_faults_are_found(database: tuple[Any, str]) -> None:
    server, name = database
    address = server.address(name)
    assert faults(look_at(address)) == ["empty"]
    Store.open(address).close()
    found = look_at(address)
    assert (found.kind, found.version, found.faults) == ("PostgreSQL", versions.HEAD, [])
    assert found.server

    server.execute("CREATE ROLE reader LOGIN PASSWORD 'pw'", name)
    server.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader", name)
    reader = server.url.set(database=name, username="reader", password="pw").render_as_string(hide_password=False)
    try:
        assert faults(look_at(reader)) == ["read-only"]
        for version, code in (("9999", "newer"), ("0001", "old")):
            server.execute(f"UPDATE {VERSION_TABLE} SET version_num = '{version}'", name)
            (fault,) = look_at(address).faults
            assert (fault.code, fault.is_grave) == (code, True)
        assert next(iter(server.execute(f"SELECT version_num FROM {VERSION_TABLE}", name))) == ("0001",)
    finally:
        server.execute("DROP OWNED BY reader; DROP ROLE reader", name)
    report = list(stores.look(DoctorOptions(store=address)))
    assert "bioclip-plugin store upgrade --store" in report[-1].line()  # type: ignore[union-attr]


def test_a_database_that_the_server_lacks_is_one_line(postgres_server: Any, look: Examine) -> None:
    report = look("store", store=postgres_server.address("no_such_database"))
    assert codes(report) == ["store.unreachable"]
    assert "has no such database" in report.problems[0].line()
