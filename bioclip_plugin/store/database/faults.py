"""Errors of a database: the ones that pass, and the one line that the user reads."""

from __future__ import annotations

from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from bioclip_core.errors import StoreError
from bioclip_plugin.store.database.address import secrets_of, shown
from bioclip_plugin.store.database.values import DAMAGED

KEPT = "what was committed stays, and the same command goes on from there"

# PostgreSQL's SQLSTATEs that pass: lost connections, shutdown and start, too many clients, deadlock, serialisation.
_PASSING_STATES = ("08", "57P01", "57P02", "57P03", "53300", "40001", "40P01", "55P03")
_PASSING_WORDS = (
    "database is locked",
    "database table is locked",
    "database is busy",
    "the database system is",  # starting up, shutting down, in recovery
)
_REFUSALS = (
    ("password authentication failed", "refuses the user name or the password: check both (PGPASSWORD, ~/.pgpass)"),
    ("no password supplied", "asks for a password: give it in PGPASSWORD or ~/.pgpass"),
    ("no pg_hba.conf entry", "does not admit this user from this machine: ask its administrator (pg_hba.conf)"),
    ("role", "does not know this user: create the role, or give another one"),
    ("database", "has no such database: create it first (createdb)"),
)
# SQLite's names of faults that a file system without write access, room, locks or shared memory causes.
_UNWRITABLE = (
    "SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PROTOCOL", "SQLITE_FULL", "SQLITE_IOERR_SHM", "SQLITE_IOERR_LOCK", "SQLITE_IOERR_WRITE"
)  # fmt: skip
_UNREACHABLE = (
    "connection refused",
    "no such file or directory",
    "could not translate",
    "failed to resolve",
    "timeout",
)
_SQLITE_MEANINGS = (
    (("not a database",), "is not an SQLite database: give another file, or remove this one if it is not needed"),
    (("full",), f"could not be written, the disk is full: make room; {KEPT}"),
    (
        ("readonly", "read-only"),
        "cannot be written (read-only): give yourself the right to write the file and its folder, or copy it",
    ),
    (("unable to open",), "cannot be opened: check the rights on the file and its folder"),
    (("locked", "busy"), f"is in use by another program that does not release it: end that program; {KEPT}"),
    (("malformed", "could not decode to utf-8"), f"is damaged: {DAMAGED}"),
    (
        ("locking protocol",),
        "is on a file system without the shared locks that SQLite needs: put it on a local disk, or use PostgreSQL",
    ),
    (("disk i/o error",), f"could not be read or written (disk I/O error): check the disk; {KEPT}"),
)


def passes(error: BaseException, *, connected_before: bool) -> bool:
    """Return True if the same work may succeed a moment later.

    A server that cannot be reached at all is worth waiting for only if it has answered before; otherwise the address is more
    likely wrong.
    """
    cause = _cause(error)
    text = str(cause).lower()
    state = getattr(cause, "sqlstate", None)
    if state is not None:
        return str(state).startswith(_PASSING_STATES)
    if any(words in text for words in _PASSING_WORDS):
        return True
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    unreachable = (
        type(cause).__name__ in ("OperationalError", "InterfaceError") and "sqlite3" not in type(cause).__module__
    )
    return connected_before and (lost or unreachable) and _refusal(text) is None


def is_away(error: BaseException) -> bool:
    """Return True if the database went away, or another program did not let go of it: other work would wait as long in vain."""
    return error.__cause__ is not None and passes(error.__cause__, connected_before=True)


def is_about_writing(cause: BaseException | None) -> bool:
    """Return True if SQLite cannot open a file as one that is written: reading it without locks may still succeed."""
    error = _cause(cause) if cause is not None else None
    return str(getattr(error, "sqlite_errorname", "")).startswith(_UNWRITABLE)


def store_error(error: BaseException, url: URL, *, tries: int = 1) -> StoreError:
    """Return the error as one line: which store, what happened, what to do next; never a password."""
    cause = _cause(error)
    text = " ".join(str(cause).split())
    for secret in secrets_of(url):
        text = text.replace(secret, "***")
    meaning = _sqlite_meaning(text) if url.get_backend_name() == "sqlite" else _postgres_meaning(cause, text)
    return StoreError(f"the store {shown(url)} {meaning}{f' (tried {tries} times)' if tries > 1 else ''}")


def _cause(error: BaseException) -> BaseException:
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


def _refusal(text: str) -> str | None:
    text = text.lower()
    for sign, meaning in _REFUSALS:
        if sign in text and (sign not in ("role", "database") or (f'{sign} "' in text and "does not exist" in text)):
            return meaning
    return None


def _sqlite_meaning(text: str) -> str:
    found = (meaning for signs, meaning in _SQLITE_MEANINGS if any(sign in text.lower() for sign in signs))
    return next(found, f"refused: {text}")


def _postgres_meaning(cause: BaseException, text: str) -> str:
    state = str(getattr(cause, "sqlstate", None) or "")
    refusal = _refusal(text)
    if refusal and state in ("", "28P01", "28000", "3D000"):
        return refusal
    if state == "53100":
        return f"could not be written, the server's disk is full: make room there; {KEPT}"
    if state == "42501":
        return f"does not allow this user to do that: ask its administrator ({text})"
    if state == "25006":
        return "cannot be written: the server is read-only (a standby?)"
    if any(sign in text.lower() for sign in _UNREACHABLE) and not state:
        return f"cannot be reached: check host, port and that the server runs; {KEPT} ({text})"
    if not state or state.startswith(_PASSING_STATES):
        return f"went away: {KEPT} ({text})"
    return f"refused: {text}"
