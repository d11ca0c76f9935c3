"""Single values on their way into the tables and back: text, JSON, times, and hashes over several values."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from bioclip_core.errors import StoreError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DAMAGED = (
    "restore it from a backup; without one, `sqlite3 FILE 'PRAGMA integrity_check'` shows the extent, and `sqlite3 FILE .recover "
    "| sqlite3 NEW` saves what is left"
)
"""Advice for a damaged store."""
_SHOWN = 60
LONGEST_URI_BYTES = 2_400  # PostgreSQL's index takes rows of up to about 2,700 bytes


class StoredJson(Mapping[str, Any]):
    """A JSON object of the database as a read-only mapping that is parsed when a value is first asked for.

    A table of a million images needs none of their metadata: 150 instead of 176 s for an export of a million images.
    """

    __slots__ = ("_parsed", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._parsed: dict[str, Any] | None = None

    def _values(self) -> dict[str, Any]:
        if self._parsed is None:
            parsed = _parsed(self._text)
            if not isinstance(parsed, dict):
                raise damaged(self._text)
            self._parsed = parsed
        return self._parsed

    def __getitem__(self, key: str) -> Any:
        if self._parsed is None and key.isascii() and key.isidentifier() and f'"{key}"' not in self._text:
            raise KeyError(key)  # without parsing: most keys that are asked for are absent
        return self._values()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values())

    def __len__(self) -> int:
        return len(self._values())

    def __bool__(self) -> bool:
        return self._text != "{}"

    def __repr__(self) -> str:
        return repr(self._values())

    def __reduce__(self) -> tuple[Any, ...]:
        return StoredJson, (self._text,)


def clean_text(text: str) -> str:
    """Return text that both databases take: without NULs, lone surrogates written as ``\\udc80``."""
    text = text.replace("\x00", "")
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def stored_uri(uri: str) -> str:
    """Return a uri as it is stored: one that is too long for an index is cut, and a hash of the whole keeps it unique."""
    uri = clean_text(uri)
    encoded = uri.encode("utf-8")
    if len(encoded) <= LONGEST_URI_BYTES:
        return uri
    return encoded[:LONGEST_URI_BYTES].decode("utf-8", "ignore") + "#sha256=" + hashlib.sha256(encoded).hexdigest()


def to_json(value: Any) -> str:
    """Return canonical JSON: keys sorted, numbers that are not finite as null, values of other types as text."""
    return json.dumps(_json_value(value), sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _json_value(value: Any) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {clean_text(str(key)): _json_value(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_json_value(part) for part in value]
    return clean_text(str(value))


def from_json(text: str | None) -> Any:
    """Return the value that ``to_json`` wrote; an empty mapping for null.

    Raises:
        StoreError: for text that it did not write.
    """
    return {} if text is None else _parsed(text)


def damaged(value: object) -> StoreError:
    """Return the error for a stored value that this program did not write in this form."""
    return StoreError(f"the store holds a value that cannot be read ({str(value)[:_SHOWN]!r}): {DAMAGED}")


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise damaged(text) from None


def digest(*parts: Any) -> str:
    """Return the sha256 of the parts' canonical JSON, in hexadecimal."""
    return hashlib.sha256(to_json(list(parts)).encode("utf-8")).hexdigest()


def vector_of(stored: bytes) -> NDArray[np.float16]:
    """Return a stored feature vector (D numbers).

    Raises:
        StoreError: for bytes that are not one, or numbers that are not finite.
    """
    import numpy as np

    if len(stored) % 2:
        raise damaged(stored[:8].hex())
    vector = np.frombuffer(stored, dtype="<f2").astype(np.float16)
    if not np.isfinite(vector).all():
        raise damaged(stored[:8].hex())
    return vector


def now() -> str:
    """Return the present moment in UTC, as it is stored."""
    return moment_text(datetime.now(UTC))


def moment_text(moment: datetime) -> str:
    """Return a moment as it is stored: UTC, ISO 8601. A naive one is taken as UTC."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).isoformat(timespec="microseconds")


def moment_of(text: str) -> datetime:
    """Return the stored moment, aware, in UTC.

    Raises:
        StoreError: for text that is not a moment.
    """
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise damaged(text) from None


def wall_time(captured_at: datetime | None) -> tuple[str | None, int | None]:
    """Return the wall-clock time in ISO 8601 and its offset from UTC in minutes, None for a naive time."""
    if captured_at is None:
        return None, None
    offset = captured_at.utcoffset()
    minutes = None if offset is None else round(offset.total_seconds() / 60)
    return captured_at.replace(tzinfo=None).isoformat(), minutes


def captured_at_of(text: str | None, offset_minutes: int | None) -> datetime | None:
    """Return the stored capture time, aware where its offset is stored."""
    if text is None:
        return None
    wall = moment_of(text)
    try:
        return wall if offset_minutes is None else wall.replace(tzinfo=timezone(timedelta(minutes=offset_minutes)))
    except (ValueError, OverflowError):
        raise damaged(offset_minutes) from None
