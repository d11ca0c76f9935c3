"""Stores that can only be read: write-protected files and folders, read-only media, servers without the right to write."""

from __future__ import annotations

import ctypes
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from old_stores import EXPORTS, FIXTURE, classify, exported, model, restore, write_project
from sqlalchemy.engine import make_url
from store_samples import PLAN, QUICK, answer_all, list_uris

from bioclip_core.errors import StoreError
from bioclip_plugin import Session, create_plugin_manager
from bioclip_plugin.cli import run
from bioclip_plugin.store import Store
from bioclip_plugin.store.database import read_only, versions
from bioclip_plugin.store.database.address import parse_address
from bioclip_plugin.store.database.connection import Database

Call = Callable[..., tuple[int, str, str]]


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Rights(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


@contextmanager
def rights_count() -> Iterator[None]:
    """Take the capability of root to ignore the rights of files from this thread."""
    if os.name == "nt" or os.geteuid() != 0:
        yield
        return
    if not sys.platform.startswith("linux"):
        pytest.skip("root ignores the rights of files here")
    libc, header, rights = ctypes.CDLL(None), _Header(0x20080522, 0), (_Rights * 2)()
    assert libc.capget(ctypes.byref(header), rights) == 0
    had = rights[0].effective
    rights[0].effective &= ~0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    assert libc.capset(ctypes.byref(header), rights) == 0
    try:
        yield
    finally:
        rights[0].effective = had
        assert libc.capset(ctypes.byref(header), rights) == 0


@contextmanager
def protected(folder: Path, *, files: int = 0o444, folders: int = 0o555) -> Iterator[None]:
    """Take the right to write from the files in a folder and from the folder."""
    for file in folder.iterdir():
        file.chmod(files)
    folder.chmod(folders)
    try:
        with rights_count():
            yield
    finally:
        folder.chmod(0o755)
        for file in folder.iterdir():
            file.chmod(0o644)


@pytest.fixture
def medium(tmp_path: Path) -> Path:
    """Folder with a finished store alone in it."""
    folder = tmp_path / "medium"
    folder.mkdir()
    write(folder / "results.db", "a.jpg", "b.jpg")
    return folder


def write(file: Path, *uris: str) -> None:
    with Store.open(file) as store:
        one = store.begin_run(PLAN)
        answer_all(store, one, list_uris(store, one, *uris))


def uris_in(file: Path) -> list[str]:
    with Store.open(file, create=False) as store:
        return [item.item.uri for item in store.items_of(store.run())]


def leave_log(folder: Path, *endings: str) -> None:
    """Make the folder one in which a program was killed after a commit: with its log, and with an index if it is given."""
    store = Store.open(folder / "results.db")
    one = store.begin_run(PLAN)
    answer_all(store, one, list_uris(store, one, "late.jpg"))
    taken = folder.with_name("taken")
    taken.mkdir()
    for ending in ("", "-wal", *endings):
        shutil.copy(folder / f"results.db{ending}", taken)
    store.close()
    shutil.rmtree(folder)
    taken.rename(folder)


MODES = [(0o444, 0o755), (0o644, 0o555), (0o444, 0o555)]


@pytest.mark.parametrize(("files", "folders"), MODES)
def test_a_write_protected_store_is_read_and_leaves_nothing_behind(medium: Path, files: int, folders: int) -> None:
    with protected(medium, files=files, folders=folders):
        assert uris_in(medium / "results.db") == ["a.jpg", "b.jpg"]
        assert [file.name for file in medium.iterdir()] == ["results.db"]


@pytest.mark.parametrize("endings", [(), ("-shm",)])
@pytest.mark.parametrize(("files", "folders"), MODES)
def test_what_was_committed_into_a_log_that_was_left_is_read_too(
    medium: Path, files: int, folders: int, endings: tuple[str, ...]
) -> None:
    leave_log(medium, *endings)
    with protected(medium, files=files, folders=folders):
        had = sorted(medium.iterdir())
        assert uris_in(medium / "results.db") == ["a.jpg", "b.jpg", "late.jpg"]
        assert sorted(medium.iterdir()) == had


def test_a_store_without_a_log_mode_is_read(medium: Path) -> None:
    with closing(sqlite3.connect(medium / "results.db")) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    with protected(medium):
        assert uris_in(medium / "results.db") == ["a.jpg", "b.jpg"]


def test_changes_that_were_not_finished_are_never_read_as_results(medium: Path) -> None:
    (medium / "results.db-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(600))
    with (
        protected(medium),
        pytest.raises(StoreError, match=r"results.db-journal is needed to undo that: copy both files"),
    ):
        Store.open(medium / "results.db")


@pytest.mark.parametrize(
    ("files", "folders", "reason"),
    [
        (
            0o444,
            0o755,
            "the file is write-protected: give yourself the right to write it, or copy it to another folder",
        ),
        (0o644, 0o555, "its folder, in which SQLite keeps a log, is write-protected"),
    ],
)
def test_writing_is_refused_with_the_reason(medium: Path, files: int, folders: int, reason: str) -> None:
    with protected(medium, files=files, folders=folders):
        with pytest.raises(StoreError, match=f"can only be read, since {reason}"):
            Store.open(medium / "results.db", writes=True)
        with Store.open(medium / "results.db") as store, pytest.raises(StoreError, match=reason):
            store.begin_run(PLAN)


def test_a_store_cannot_be_made_in_a_folder_that_is_write_protected(medium: Path) -> None:
    with protected(medium), pytest.raises(StoreError, match=r"new.db cannot be made: its folder cannot be written"):
        Store.open(medium / "new.db")


def test_a_store_that_cannot_be_read_is_refused_in_one_line(medium: Path) -> None:
    with (
        protected(medium, files=0o000),
        pytest.raises(StoreError, match="cannot be opened: check the rights on the file"),
    ):
        Store.open(medium / "results.db")
    with (
        protected(medium, folders=0o000),
        pytest.raises(StoreError, match="the rights on a folder that holds it do not allow"),
    ):
        Store.open(medium / "results.db")


def test_a_read_only_mount_is_named(medium: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_only, "_is_on_read_only_medium", lambda _path: True)
    with Store.open(medium / "results.db") as store:
        assert len(store.runs()) == 1
        with pytest.raises(StoreError, match="it is on a read-only medium: copy it to another folder and use the copy"):
            store.begin_run(PLAN)


def test_a_store_on_a_network_file_system_is_read_but_not_written(
    medium: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = medium.with_name("left")
    shutil.copytree(medium, left)
    leave_log(left)
    mounts = f"server:/x {medium.parent} nfs rw 0 0\n"
    monkeypatch.setattr("bioclip_plugin.store.database.address._mounts", lambda: mounts)
    assert uris_in(medium / "results.db") == ["a.jpg", "b.jpg"]
    with pytest.raises(StoreError, match=r"network file system \(nfs\).*local disk, or use PostgreSQL"):
        Store.open(medium / "results.db", writes=True)
    with pytest.raises(StoreError, match=r"its log results.db-wal holds changes.*copy both files to a local disk"):
        Store.open(left / "results.db")


def test_another_users_program_may_write_while_a_store_is_read(medium: Path) -> None:
    file = medium / "results.db"
    with protected(medium, files=0o444, folders=0o755):
        reader = Store.open(file)
        assert [run.status for run in reader.runs()] == ["running"]
    with Store.open(file) as writer:  # as another user, who has the rights
        run = writer.run()
        answer_all(writer, run, list_uris(writer, run, "c.jpg"))
        assert reader.summary(reader.run()).done == 3
        answer_all(writer, run, list_uris(writer, run, "d.jpg"))
        assert reader.summary(reader.run()).done == 4
    assert reader.summary(reader.run()).done == 4
    with Store.open(file) as writer:
        writer.end_run(writer.run(), "finished", {})
    assert reader.run().status == "finished"
    reader.close()


def test_a_read_that_another_program_writes_into_is_repeated(medium: Path) -> None:
    file, looks = medium / "results.db", []
    with protected(medium, files=0o444, folders=0o755):
        reader = Database(parse_address(file), QUICK)

    def look(connection: Any) -> int:
        looks.append(connection.exec_driver_sql("SELECT count(*) FROM bioclip_media").scalar_one())
        if len(looks) == 1:
            write(file, "c.jpg")
        return int(looks[-1])

    assert reader.read(look) == 3
    assert looks == [2, 3]
    reader.close()


def test_a_file_system_that_refuses_what_its_rights_allow_is_read(
    medium: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Network drives of Windows and sandboxes say that a folder can be written."""
    with monkeypatch.context() as patch, protected(medium):
        patch.setattr("bioclip_plugin.store.database.connection._why_read_only", lambda _url: None)
        with Store.open(medium / "results.db") as store:
            assert len(store.runs()) == 1
            with pytest.raises(StoreError, match="can only be read, since the file system does not let SQLite write"):
                store.begin_run(PLAN)


@pytest.mark.parametrize("left", [False, True])
def test_a_store_on_a_full_disk_is_read(medium: Path, monkeypatch: pytest.MonkeyPatch, left: bool) -> None:
    """SQLite fails to make the index of its log there, and leaves empty files behind."""
    if left:
        leave_log(medium, "-shm")
    else:
        for ending in ("-wal", "-shm"):
            (medium / f"results.db{ending}").touch()

    class Full(sqlite3.OperationalError):
        sqlite_errorname = "SQLITE_IOERR_SHMSIZE"

    def fail(_connection: object, _entry: object) -> None:
        raise Full("disk I/O error")

    monkeypatch.setattr("bioclip_plugin.store.database.connection._set_up_sqlite", fail)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(1000, 1000, 0))  # type: ignore[attr-defined]
    assert uris_in(medium / "results.db") == ["a.jpg", "b.jpg", *(["late.jpg"] if left else [])]
    with pytest.raises(StoreError, match="can only be read, since its disk is full: make room"):
        Store.open(medium / "results.db", writes=True)


def test_tables_of_an_older_version_on_a_read_only_medium_are_refused_with_what_to_do(tmp_path: Path) -> None:
    folder = tmp_path / "medium"
    folder.mkdir()
    database = Database(parse_address(folder / "old.db"), QUICK)
    database.migrate(lambda connection: versions.migrate(connection, "0001"))
    database.close()
    with (
        protected(folder),
        pytest.raises(
            StoreError, match=r"older version \(0001, ours are .* cannot be upgraded, since the file is .* use the copy"
        ),
    ):
        Store.open(folder / "old.db")


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Command line as a function that returns the exit code and both outputs."""
    manager = create_plugin_manager(installed=False)
    manager.register(model())

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments], manager=manager)
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project's store in a folder that cannot be written; the working directory can."""
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "archive"
    folder.mkdir()
    restore(str(folder / "results.db"))
    Store.open(folder / "results.db").close()
    with protected(folder):
        yield folder / "results.db"


def test_every_command_that_reads_works_on_an_archived_store(archive: Path, call: Call, tmp_path: Path) -> None:
    for command in (
        ("runs", "list"), ("runs", "show", 2), ("runs", "verify", 2), ("review", "list"), ("review", "stats", "--run", 2),
        ("second-opinion", "--run", 2), ("report", "--run", 2, "--output", "report.html"),
        ("store", "upgrade"), ("catalog", "build", str(archive), "--output", "catalog.parquet"),
    ):  # fmt: skip
        given = command if command[0] == "catalog" else (*command, "--store", archive)
        code, _, err = call(*given)
        assert (code, err) == (0, ""), command
    for kind, options in EXPORTS.items():
        output = tmp_path / f"export-{kind}"
        assert call("export", "--run", 2, "--store", archive, *options, "--output", output)[0] == 0
        assert exported(output) == exported(FIXTURE / "expected" / "table" / kind)


def test_every_command_that_writes_refuses_an_archived_store_in_one_line(archive: Path, call: Call) -> None:
    for command in (
        classify(("photos",), str(archive)),
        ("rules", "apply", "--run", 1, "--rule", "unknown", "--store", archive),
        ("review", "import", "reviews.csv", "--store", archive),
    ):
        code, _, err = call(*command)
        assert (code, err.count("\n")) == (1, 1), command
        assert err.startswith(
            f"Error: the store sqlite:///{archive} can only be read, since the file is write-protected"
        ), err
    manager = create_plugin_manager(installed=False)
    manager.register(model())
    with pytest.raises(StoreError, match="can only be read"):
        Session(model="fake", labels="labels", store=archive, plugins=manager)


@pytest.mark.parametrize("setting", ["rights", "read-only transactions"])
def test_a_postgresql_user_who_may_only_read_reads(postgres_server: Any, setting: str, call: Call, tmp_path: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    name = postgres_server.new_database()
    restore(postgres_server.address(name))
    Store.open(postgres_server.address(name), upgrade=True).close()
    role = f"reads_{name}"
    postgres_server.execute(f"CREATE ROLE {role} LOGIN")
    if setting == "rights":
        postgres_server.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}", name)
        reason = "this user lacks the right INSERT on bioclip_feature_sets"
    else:
        postgres_server.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}", name)
        postgres_server.execute(f"ALTER ROLE {role} SET default_transaction_read_only = on")
        reason = "this user or database is set to read-only transactions"
    address = make_url(postgres_server.address(name)).set(username=role).render_as_string(hide_password=False)
    assert call("export", "--run", 2, "--store", address, *EXPORTS["csv"], "--output", "out.csv")[0] == 0
    assert exported(tmp_path / "out.csv") == exported(FIXTURE / "expected" / "table" / "csv")
    code, _, err = call(*classify(("photos",), address))
    assert (code, err.count("\n")) == (1, 1)
    assert reason in err
    with Store.open(address) as store, pytest.raises(StoreError, match=r"does not allow|cannot be written"):
        store.begin_run(PLAN)
    postgres_server.execute(f"DROP OWNED BY {role}", name)
    postgres_server.execute(f"DROP ROLE {role}")
