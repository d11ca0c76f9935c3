"""Databases that can only be read: the reason, and a way to read SQLite files that needs no other file.

An SQLite store is in WAL mode, in which SQLite makes two files beside it even to read: ``-wal``, the log of committed transactions that
are not in the store's file yet, and ``-shm``, an index of it. On a read-only medium it cannot, and its option for such media
(``immutable``) ignores a log that is there. So the way depends on the files that lie beside the store.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, text

from bioclip_core.errors import StoreError
from bioclip_core.files.drives import sqlite_address
from bioclip_core.process import system
from bioclip_plugin.store.database.address import may_write, network_kind, remote
from bioclip_plugin.store.database.schema import metadata

_NO_LOCKS = "win32-none" if system.is_windows() else "unix-none"
"""SQLite's file access without locks. With exclusive access to a log it keeps the log's index in memory."""
_ROLLBACK = 1
"""Byte 18 of a file that is not in WAL mode."""

State = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """A way to read an SQLite file without writing anything."""

    path: Path
    options: str
    """Of the file's address, as SQLite takes them."""
    exclusive: bool = False
    """True if the log is read without its index."""
    state: State | None = None
    """State of the files that this way is valid for; None if SQLite's locks take care of changes."""

    @property
    def uri(self) -> str:
        """The address for ``sqlite3.connect``."""
        return sqlite_address(self.path, self.options)

    def is_current(self) -> bool:
        """True if nothing was written since this way was chosen."""
        return self.state is None or self.state == _state(self.path)


def why_read_only(file: Path, mounts: str | None = None, *, remotely: bool = False) -> str | None:
    """Return the reason why an existing SQLite file can only be read, with what to do; None if it can be written.

    Args:
        file: the store's file.
        mounts: the text of ``/proc/mounts``; None reads it from there.
        remotely: True if it may be on a network file system.
    """
    path = file.resolve()
    kind = network_kind(path, mounts)
    if kind and not remotely:
        return f"it {remote(kind, file)}"
    copy = "copy it to another folder and use the copy"
    if _is_on_read_only_medium(path):
        return f"it is on a read-only medium: {copy}"
    if not may_write(path):
        return f"the file is write-protected: give yourself the right to write it, or {copy}"
    if not may_write(path.parent):
        return f"its folder, in which SQLite keeps a log, is write-protected: give yourself the right to write there, or {copy}"
    return None


def why_server_read_only(connection: Connection) -> str | None:
    """Return the reason why a PostgreSQL store can only be read, with what to do; None if it can be written."""
    if connection.execute(text("SELECT pg_is_in_recovery()")).scalar():
        return "the server is a standby: give the address of the primary server"
    if connection.execute(text("SHOW transaction_read_only")).scalar() == "on":
        return (
            "this user or database is set to read-only transactions (default_transaction_read_only): give another user"
        )
    missing = connection.execute(
        text(
            "SELECT wanted, name FROM unnest(CAST(:tables AS text[])) name, unnest(ARRAY['INSERT', 'UPDATE', 'DELETE']) wanted "
            "WHERE NOT has_table_privilege(name, wanted) LIMIT 1"
        ),
        {"tables": list(metadata.tables)},
    ).first()
    if missing is None:
        return None
    return f"this user lacks the right {missing[0]} on {missing[1]}: give another user, or ask the administrator for it"


def reading_of(file: Path, mounts: str | None = None, *, index: bool = True) -> Reading:
    """Return the way to read an SQLite file as it is now, with everything that is committed.

    Args:
        file: the store's file.
        mounts: as for :func:`why_read_only`.
        index: False if SQLite cannot use the index of the log, although it may lie there.

    Raises:
        StoreError: if committed or unfinished changes lie beside the file in a form that cannot be read in place.
    """
    path = file.resolve()
    state = _state(path)
    log, journal = _beside(path, "-wal"), _beside(path, "-journal")
    shared = network_kind(path, mounts)
    if _size(log) and shared:
        raise StoreError(
            f"the store {path} is on a network file system ({shared}), and its log {log.name} holds changes, perhaps of a "
            "program that is running: end that program, or copy both files to a local disk and use the copy"
        )
    if index and log.exists() and _beside(path, "-shm").exists() and not shared:
        return Reading(path, "mode=ro")
    if _size(log):
        return Reading(path, f"mode=ro&vfs={_NO_LOCKS}", exclusive=True, state=state)
    if index and _write_version(path) == _ROLLBACK and not shared:
        return Reading(path, "mode=ro")
    if _size(journal):
        raise StoreError(
            f"the store {path} was being changed when a program ended, and {journal.name} is needed to undo that: copy both "
            "files to a folder that you may write, and use the copy"
        )
    return Reading(path, "immutable=1", state=state)


def _state(path: Path) -> State:
    return tuple(_stat(_beside(path, ending)) for ending in ("", "-wal", "-journal"))


def _stat(path: Path) -> tuple[int, int, int] | None:
    """Return what changes when a file is written; an empty file beside the store says as little as none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return (stat.st_mtime_ns, stat.st_size, stat.st_ino) if stat.st_size else None


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _write_version(path: Path) -> int | None:
    try:
        with path.open("rb") as file:
            head = file.read(19)
    except OSError:  # SQLite will give the reason
        return None
    return head[18] if len(head) == 19 else None


def _is_on_read_only_medium(path: Path) -> bool:
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except (AttributeError, OSError):  # Windows has no such call
        return False
