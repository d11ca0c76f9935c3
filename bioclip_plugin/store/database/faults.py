"""What a database's errors mean: whether to try again, and the one line that a person reads."""

from __future__ import annotations

from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from bioclip_core.errors import StoreError
from bioclip_plugin.store.database.address import secrets_of, shown

KEPT = "what was committed stays, and the same command goes on from there"

# PostgreSQL's SQLSTATEs that pass: lost connections, shutdown and start, too many clients, deadlock, serialisation.
_PASSING_STATES = ("08", "57P01", "57P02", "57P03", "53300", "40001", "40P01", "55P03")
_REFUSALS = (
    ("password authentication failed", "refuses the user name or the password: check both (PGPASSWORD, ~/.pgpass)"),
    ("no password supplied", "asks for a password: give it in PGPASSWORD or ~/.pgpass"),
    ("no pg_hba.conf entry", "lets nobody in from this machine under this name: ask its administrator (pg_hba.conf)"),
    ("role", "does not know this user: create the role, or give another one"),
    ("database", "has no such database: create it first (createdb)"),
)
_UNREACHABLE = (
    "connection refused",
    "no such file or directory",
    "could not translate",
    "failed to resolve",
    "timeout",
)


def passes(error: BaseException, *, connected_before: bool) -> bool:
    """Whether the same work may succeed a moment later.

    A server that cannot be reached at all is worth waiting for only where it has answered before: else the address is
    more likely wrong.
    """
    cause = _cause(error)
    text = str(cause).lower()
    if "database is locked" in text or "database table is locked" in text or "database is busy" in text:
        return True
    state = getattr(cause, "sqlstate", None)
    if state is not None:
        return str(state).startswith(_PASSING_STATES)
    if "the database system is" in text:  # starting up, shutting down, in recovery
        return True
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    unreachable = (
        type(cause).__name__ in ("OperationalError", "InterfaceError") and "sqlite3" not in type(cause).__module__
    )
    return connected_before and (lost or unreachable) and not _refused(text)


def store_error(error: BaseException, url: URL, *, tries: int = 1) -> StoreError:
    """The error as one line: which store, what happened, what to do next; never a password."""
    cause = _cause(error)
    text = " ".join(str(cause).split())
    for secret in secrets_of(url):
        text = text.replace(secret, "***")
    meaning = _sqlite_meaning(text) if url.get_backend_name() == "sqlite" else _postgres_meaning(cause, text)
    again = f" (tried {tries} times)" if tries > 1 else ""
    return StoreError(f"the store {shown(url)} {meaning}{again}")


def _cause(error: BaseException) -> BaseException:
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


def _refused(text: str) -> bool:
    return _refusal(text) is not None


def _refusal(text: str) -> str | None:
    text = text.lower()
    for sign, meaning in _REFUSALS:
        if sign in text and (sign not in ("role", "database") or (f'{sign} "' in text and "does not exist" in text)):
            return meaning
    return None


def _sqlite_meaning(text: str) -> str:
    low = text.lower()
    if "not a database" in low:
        return "is not an SQLite database: give another file, or remove this one if it is not needed"
    if "full" in low:
        return f"could not be written, the disk is full: make room; {KEPT}"
    if "readonly" in low or "read-only" in low:
        return "cannot be written (read-only): give yourself the right to write the file and its folder, or copy it"
    if "unable to open" in low:
        return "cannot be opened: check the rights on the file and its folder"
    if "locked" in low or "busy" in low:
        return f"is in use by another program that does not let go of it: end that one; {KEPT}"
    if "malformed" in low:
        return "is damaged: restore it from a copy, or try `sqlite3 FILE .recover`"
    if "disk i/o error" in low:
        return f"could not be read or written (disk I/O error): check the disk; {KEPT}"
    return f"refused: {text}"


def _postgres_meaning(cause: BaseException, text: str) -> str:
    refusal = _refusal(text)
    if refusal and getattr(cause, "sqlstate", None) in (None, "28P01", "28000", "3D000"):
        return refusal
    state = str(getattr(cause, "sqlstate", None) or "")
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
