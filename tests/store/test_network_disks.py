"""SQLite stores on network file systems and on those without locks, and several programs on one store: what is said, and what happens."""

from __future__ import annotations

import errno
import fcntl
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from store_samples import PLAN, QUICK, answer_all, list_uris

from bioclip_core.errors import StoreError
from bioclip_core.files.locks import why_no_ranges
from bioclip_plugin.store import Store
from bioclip_plugin.store.database import address
from bioclip_plugin.store.database.address import network_file_system, parse_address, shown


@pytest.fixture
def share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the machine mounts from a server."""
    point = str(tmp_path).replace(" ", "\\040")
    monkeypatch.setattr(address, "_mounts", lambda: f"/dev/sda1 / ext4 rw 0 0\nserver:/x {point} nfs4 rw 0 0")
    return tmp_path


def _journal(store: Store) -> object:
    return store._database.read(lambda connection: connection.exec_driver_sql("PRAGMA journal_mode").scalar_one())


@pytest.mark.parametrize(
    "kind", ["nfs", "cifs", "smb3", "fuse.sshfs", "9p", "lustre", "fuse.rclone", "drvfs", "vboxsf"]
)
def test_file_systems_that_are_shared_with_other_machines_are_known(kind: str) -> None:
    assert network_file_system(Path("/mnt/c/results.db"), f"/dev/sda1 / ext4 rw 0 0\nC: /mnt/c {kind} rw 0 0") == kind


def test_the_own_disk_of_a_sandbox_is_not_a_network_disk() -> None:
    mounts = "none / 9p rw 0 0\nnone /mnt/host 9p rw 0 0"
    assert network_file_system(Path("/home/results.db"), mounts) is None
    assert network_file_system(Path("/mnt/host/results.db"), mounts) == "9p"


def test_a_store_on_a_network_disk_is_refused_with_the_reason_and_the_three_ways_out(share: Path) -> None:
    with pytest.raises(StoreError) as refused:
        Store.open(share / "results.db")
    for part in ("(nfs4)", "write-ahead log", "local disk", "postgresql+psycopg://", "results.db?network=allow'"):
        assert part in str(refused.value)
    assert not list(share.iterdir())


def test_with_the_option_a_store_is_kept_there_without_a_log_that_all_machines_would_need(share: Path) -> None:
    given = f"sqlite:///{share / 'results.db'}?network=allow"
    assert shown(parse_address(given)) == given
    with Store.open(given, retry=QUICK) as store, Store.open(given, retry=QUICK) as other:
        assert (_journal(store), store.shown_address) == ("delete", given)
        answer_all(store, run := store.begin_run(PLAN), list_uris(store, store.run(), "a.jpg"))
        answer_all(other, run, list_uris(other, run, "b.jpg"))
        assert store.verify(run).complete
        assert store.summary(run).done == 2
    assert not [file.name for file in share.iterdir() if file.name.endswith(("-wal", "-shm", "-journal"))]


def test_a_store_changes_its_journal_with_the_disk_and_keeps_its_rows(tmp_path: Path) -> None:
    file = tmp_path / "results.db"
    for number, (given, journal) in enumerate(
        [(str(file), "wal"), (f"sqlite:///{file}?network=allow", "delete"), (str(file), "wal")], 1
    ):
        with Store.open(given, retry=QUICK) as store:
            run = store.begin_run(PLAN)
            answer_all(store, run, list_uris(store, run, f"{number}.jpg"))
            assert (_journal(store), store.summary(run).done) == (journal, number)


@pytest.mark.usefixtures("waits_for_the_disk")
def test_without_the_log_a_listing_waits_for_the_disk(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path / 'results.db'}?network=allow") as store:
        setting = store._database.write_unsynced(lambda c: c.exec_driver_sql("PRAGMA synchronous").scalar_one())
    assert setting == 2  # FULL


@pytest.mark.parametrize("option", ["mode=ro", "network=yes", "timeout=3"])
def test_other_options_of_an_address_are_refused_and_not_dropped(tmp_path: Path, option: str) -> None:
    with pytest.raises(StoreError, match=r"the only one is \?network=allow"):
        Store.open(f"sqlite:///{tmp_path / 'results.db'}?{option}")


def test_locks_are_tried_where_a_store_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert why_no_ranges(tmp_path) is None
    assert not list(tmp_path.iterdir())
    real = fcntl.fcntl

    def refused(file: int, command: int, *given: Any) -> Any:
        if command == fcntl.F_OFD_SETLK:
            raise OSError(errno.ENOLCK, "No locks available")
        return real(file, command, *given)

    monkeypatch.setattr(fcntl, "fcntl", refused)
    with pytest.raises(
        StoreError, match=r"without the locks that SQLite needs \(a file cannot be locked \(No locks available\)\)"
    ):
        Store.open(tmp_path / "results.db")
    monkeypatch.setattr(fcntl, "fcntl", lambda *_: b"")  # locks that keep nobody out
    with pytest.raises(StoreError, match="two programs can lock one file at once"):
        Store.open(f"sqlite:///{tmp_path / 'results.db'}?network=allow")
    assert not list(tmp_path.iterdir())


def test_a_system_that_does_not_know_the_trial_of_locks_keeps_stores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Model: kernels that run programs of Linux and lack locks of open files."""
    real = fcntl.fcntl

    def unknown(file: int, command: int, *given: Any) -> Any:
        if command == fcntl.F_OFD_SETLK:
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(file, command, *given)

    monkeypatch.setattr(fcntl, "fcntl", unknown)
    Store.open(tmp_path / "results.db").close()


def test_a_second_program_on_a_run_or_on_an_sqlite_store_is_named_with_what_happens(
    store_address: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    with Store.open(store_address) as store, Store.open(store_address) as other:
        run = store.begin_run(PLAN)
        store.begin_run(replace(PLAN, sources=("more photos",)))  # of the same program
        assert caplog.messages == []
        assert other.begin_run(PLAN).id == run.id
        (said,) = caplog.messages
        assert "another program works on run 1, too: both do the same work, each row is stored once" in said
        caplog.clear()
        other.begin_run(replace(PLAN, sources=("others",)))
        said = " ".join(caplog.messages)
        assert ("another program works on run 2: SQLite has one writer at a time" in said) == store._database.is_sqlite
        assert said.count("\n") == 0
