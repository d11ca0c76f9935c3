"""Addresses of stores: brought into one form, checked before a database is opened, shown without secrets."""

from __future__ import annotations

import errno
import ntpath
import os
import re
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from bioclip_core.errors import StoreError
from bioclip_core.files.drives import without_long_mark
from bioclip_core.files.homes import with_home
from bioclip_core.process import system

ALLOWED = (
    "a store is a path (results.db), sqlite:///PATH or postgresql+psycopg://USER@HOST/DATABASE "
    "(a password is better kept in PGPASSWORD or ~/.pgpass)"
)
# SQLite's write-ahead log needs memory that all its users share; these file systems do not provide it.
NETWORK_FILE_SYSTEMS = frozenset(
    "afs beegfs ceph cifs fuse.ceph fuse.glusterfs fuse.sshfs glusterfs gpfs lustre ncpfs nfs nfs4 orangefs panfs pvfs2 "
    "smb3 smbfs".split()
)
_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.\-]+://")  # at least two letters: one is a drive
_SECRET_OPTIONS = frozenset({"password", "passfile", "sslpassword", "sslkey"})


def parse_address(address: str | os.PathLike[str]) -> URL:
    """Return the address in its one form: ``sqlite:///PATH`` or ``postgresql+psycopg://…``.

    Raises:
        StoreError: if it is neither a path nor an address of one of these two databases.
    """
    text = os.fspath(address)
    if not text.strip():
        raise StoreError(f"the store's address is empty: {ALLOWED}")
    if not _SCHEME.match(text):
        return URL.create("sqlite", database=str(with_home(text, StoreError)))
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):  # SQLAlchemy's own message repeats the address, with the password
        raise StoreError(
            f"the store's address ({text.split('://', 1)[0]}://…) cannot be read: {ALLOWED}; "
            "write @ : / and % in a password as %40 %3A %2F %25"
        ) from None
    if url.drivername in ("sqlite", "sqlite+pysqlite"):
        if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
            raise StoreError("a store in memory is gone at the end: give a file, such as sqlite:///results.db")
        return URL.create("sqlite", database=str(with_home(url.database, StoreError)))
    if url.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise StoreError(f"a store cannot be kept in {url.drivername}: {ALLOWED}")
    if find_spec("psycopg") is None:
        raise StoreError(
            "a store in PostgreSQL needs psycopg, which is not installed: pip install 'bioclip-plugin[postgres]'"
        )
    if not url.database:
        raise StoreError(f"the address {shown(url)} names no database: {ALLOWED}")
    return url.set(drivername="postgresql+psycopg")


def shown(url: URL) -> str:
    """Return the address for messages and provenance, without any secret."""
    if url.get_backend_name() == "sqlite":
        return f"sqlite:///{url.database}"
    return url.difference_update_query(_SECRET_OPTIONS).render_as_string(hide_password=True)


def secrets_of(url: URL) -> list[str]:
    """Return the parts of an address that must not appear in any message."""
    options = [url.normalized_query[name] for name in _SECRET_OPTIONS & url.query.keys()]
    return [text for text in (*chain.from_iterable(options), url.password) if text]


def check_place(url: URL, *, create: bool, mounts: str | None = None) -> None:
    """Check that an SQLite file is or can be kept at this place; SQLite's own messages are shorter.

    Args:
        url: an address from :func:`parse_address`; one of PostgreSQL is left to the server.
        create: True if the file may be made.
        mounts: the text of ``/proc/mounts``; None reads it from there.

    Raises:
        StoreError: for a folder, a missing folder or file, and a new file on a network file system or in a folder that
            cannot be written.
    """
    if url.get_backend_name() != "sqlite":
        return
    path = Path(url.database or "")
    try:
        path.stat()
    except OSError as error:
        if isinstance(error, PermissionError):
            raise StoreError(
                f"the store {path} cannot be opened: the rights on a folder that holds it do not allow it; ask its owner"
            ) from error
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL):  # the last for a?b.db on Windows
            raise StoreError(f"the store {str(path)[:80]!r} cannot be opened: {error.strerror}") from error
    except ValueError as error:
        raise StoreError(f"the store {str(path)[:80]!r} cannot be opened: {error}") from error
    if path.is_dir():
        raise StoreError(f"the store {path} is a folder: give a file in it, such as {path / 'bioclip.db'}")
    if not path.parent.is_dir():
        raise StoreError(f"the folder {path.parent} of the store {path.name} does not exist: make it first")
    if path.exists():
        return
    if not create:
        raise StoreError(f"there is no store at {path}: name the file that was given to classify as --store")
    try:
        whole = path.resolve()
    except OSError as error:
        raise StoreError(
            f"the store {path} cannot be made: the working directory is gone; go to another one, or give a whole path"
        ) from error
    kind = network_kind(whole, mounts)
    if kind:
        raise StoreError(
            f"the store {path} is on a network file system ({kind}), where SQLite cannot keep its write-ahead log safely: "
            "put it on a local disk, or use PostgreSQL (--store postgresql+psycopg://USER@HOST/DATABASE)"
        )
    if not may_write(path.parent):
        raise StoreError(
            f"the store {path} cannot be made: its folder cannot be written; give a file in another folder"
        )


def may_write(path: Path) -> bool:
    """Return True if this process may write a file, or make files in a folder."""
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def network_kind(path: Path, mounts: str | None = None) -> str | None:
    """Return the type of the network file system that holds an absolute path, as this machine mounts it."""
    if system.is_windows():
        return _share_of_windows(str(path))
    return network_file_system(path, _mounts() if mounts is None else mounts)


def _share_of_windows(path: str) -> str | None:
    drive = ntpath.splitdrive(without_long_mark(path))[0]
    return "a share of Windows" if drive.startswith("\\\\") or system.is_network_drive(f"{drive}\\") else None


def network_file_system(path: Path, mounts: str) -> str | None:
    """Return the type of the network file system that holds an absolute path, None for a local one.

    ``mounts`` is in the format of ``/proc/mounts``: device, mount point (spaces as ``\\040``), type, options.
    """
    best, kind = "", None
    for fields in (line.split() for line in mounts.splitlines()):
        if len(fields) < 3:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[1])
        inside = point == "/" or str(path) == point or str(path).startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):  # of two mounts at one point the later one counts
            best, kind = point, fields[2]
    return kind if kind in NETWORK_FILE_SYSTEMS else None


def _mounts() -> str:
    try:
        return Path("/proc/mounts").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:  # not Linux: mounts are not known
        return ""
