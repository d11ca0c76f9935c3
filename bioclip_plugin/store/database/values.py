"""Single values on their way into the tables and back: text, JSON, times, and hashes over several of them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

LONGEST_URI_BYTES = 2_400  # PostgreSQL's index takes rows of up to about 2,700 bytes


def clean_text(text: str) -> str:
    """Text that both databases take: without NULs, lone surrogates written as ``\\udc80``."""
    if "\x00" in text:
        text = text.replace("\x00", "")
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def stored_uri(uri: str) -> str:
    """A uri as it is stored: one that no index takes is cut, and a hash of the whole keeps it apart from others."""
    uri = clean_text(uri)
    encoded = uri.encode("utf-8")
    if len(encoded) <= LONGEST_URI_BYTES:
        return uri
    return encoded[:LONGEST_URI_BYTES].decode("utf-8", "ignore") + "#sha256=" + hashlib.sha256(encoded).hexdigest()


def to_json(value: Any) -> str:
    """Canonical JSON: keys sorted, numbers that are not finite as null, what JSON has no word for as text."""
    return json.dumps(_plain(value), sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {clean_text(str(key)): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(part) for part in value]
    return clean_text(str(value))


def from_json(text: str | None) -> Any:
    """What ``to_json`` wrote; an empty mapping for null."""
    return {} if text is None else json.loads(text)


def digest(*parts: Any) -> str:
    """sha256 in hexadecimal over the parts' canonical JSON."""
    return hashlib.sha256(to_json(list(parts)).encode("utf-8")).hexdigest()


def now() -> str:
    """The present moment in UTC, as it is stored."""
    return moment_text(datetime.now(UTC))


def moment_text(moment: datetime) -> str:
    """A moment as it is stored: UTC, ISO 8601. A naive one is taken as UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat(timespec="microseconds")


def moment_of(text: str) -> datetime:
    """The stored moment, aware, in UTC."""
    return datetime.fromisoformat(text)


def wall_time(captured_at: datetime | None) -> tuple[str | None, int | None]:
    """Wall-clock time in ISO 8601 and the offset from UTC in minutes, which is None for a naive time."""
    if captured_at is None:
        return None, None
    offset = captured_at.utcoffset()
    minutes = None if offset is None else round(offset.total_seconds() / 60)
    return captured_at.replace(tzinfo=None).isoformat(), minutes


def captured_at_of(text: str | None, offset_minutes: int | None) -> datetime | None:
    """The capture time: aware where the offset is stored."""
    if text is None:
        return None
    wall = datetime.fromisoformat(text)
    return wall if offset_minutes is None else wall.replace(tzinfo=timezone(timedelta(minutes=offset_minutes)))
