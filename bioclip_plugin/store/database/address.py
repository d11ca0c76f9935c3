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
from bioclip_core.files.locks import why_no_ranges
from bioclip_core.process import system

ALLOWED = (
    "a store is a path (results.db), sqlite:///PATH or postgresql+psycopg://USER@HOST/DATABASE "
    "(a password is better kept in PGPASSWORD or ~/.pgpass)"
)
# SQLite's write-ahead log needs memory that all its users share; these file systems do not provide it.
NETWORK_FILE_SYSTEMS = frozenset(
    "9p acfs afp afpfs afs beegfs ceph cifs coda davfs drvfs fuse.ceph fuse.davfs2 fuse.glusterfs fuse.goofys fuse.grpcfuse "
    "fuse.gvfsd-fuse fuse.juicefs fuse.mfs fuse.osxfs fuse.rclone fuse.s3fs fuse.sshfs fuse.weka gfs2 glusterfs gpfs juicefs kafs "
    "lustre macfuse ncpfs nfs nfs4 ocfs2 orangefs panfs prl_fs pvfs2 smb2 smb3 smbfs vboxsf vmhgfs webdav wekafs".split()
)
NETWORK, WITH_LOCKS = "network", "allow"
"""Option of an address, and its value, that lets SQLite keep a store on a network file system whose locks work."""
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
        if unknown := {name: value for name, value in url.query.items() if (name, value) != (NETWORK, WITH_LOCKS)}:
            raise StoreError(
                f"the store's address has the option {next(iter(unknown.items()))!r}, which a store in SQLite does not have: the "
                f"only one is ?{NETWORK}={WITH_LOCKS}, for a network file system with locks"
            )
        return URL.create("sqlite", database=str(with_home(url.database, StoreError)), query=url.query)
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
        return f"sqlite:///{url.database}" + (f"?{NETWORK}={WITH_LOCKS}" if may_be_remote(url) else "")
    return url.difference_update_query(_SECRET_OPTIONS).render_as_string(hide_password=True)


def may_be_remote(url: URL) -> bool:
    """True if an SQLite store may be on a network file system: without a write-ahead log then, and with locks that were tried."""
    return url.query.get(NETWORK) == WITH_LOCKS


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
        StoreError: for a folder, a missing folder or file, a new file on a network file system or in a folder that cannot be
            written, and a file system without locks.
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
    if may_be_remote(url) and may_write(path.parent):
        _check_locks(path)
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
    if kind and not may_be_remote(url):
        raise StoreError(f"the store {path} {remote(kind, path)}")
    if not may_write(path.parent):
        raise StoreError(
            f"the store {path} cannot be made: its folder cannot be written; give a file in another folder"
        )
    _check_locks(path)


def remote(kind: str, path: Path) -> str:
    """Return the end of a sentence about a file on a network file system: the reason, and what to do."""
    return (
        f"is on a network file system ({kind}), where SQLite cannot keep its write-ahead log safely: put it on a local disk, or "
        "use PostgreSQL (--store postgresql+psycopg://USER@HOST/DATABASE); if all machines see each other's locks there, "
        f"--store 'sqlite:///{path}?{NETWORK}={WITH_LOCKS}' keeps it there without that log, more slowly"
    )


def _check_locks(path: Path) -> None:
    reason = why_no_ranges(path.parent)
    if reason:
        raise StoreError(
            f"the store {path} is on a file system without the locks that SQLite needs ({reason}), so that two programs would "
            "damage it: put it on a local disk, or use PostgreSQL (--store postgresql+psycopg://USER@HOST/DATABASE)"
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
    if kind == "9p" and best == "/":  # the own disk of a virtual machine or a sandbox
        return None
    return kind if kind in NETWORK_FILE_SYSTEMS else None


def _mounts() -> str:
    try:
        return Path("/proc/mounts").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:  # not Linux: mounts are not known
        return ""
