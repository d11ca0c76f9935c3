"""Identities: sha256 of files and of settings, and where this software keeps what it may lose."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bioclip_core.files.whole import write_whole

_SMALL = 256 * 1024 * 1024  # bytes; hashing less than this again takes under a second


def settings_id(settings: Mapping[str, Any]) -> str:
    """Sha256 (hex) of settings as canonical JSON: equal settings give equal ids on every machine."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def user_cache() -> Path:
    """The folder for what can be made or fetched again; ``BIOCLIP_CACHE`` moves it."""
    if chosen := os.environ.get("BIOCLIP_CACHE"):
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "bioclip-plugin"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "bioclip-plugin"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bioclip-plugin"


def file_sha256(path: Path) -> str:
    """Sha256 (hex) of a file; for a large one it is remembered by path, size and modification time."""
    stat = path.stat()
    if stat.st_size < _SMALL:
        return _hash(path)
    book = user_cache() / "sha256.json"
    key = f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"
    known = _read_book(book)
    if key not in known:
        known[key] = _hash(path)
        _write_book(book, known)
    return known[key]


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_book(book: Path) -> dict[str, str]:
    try:
        known = json.loads(book.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _write_book(book: Path, known: dict[str, str]) -> None:
    """A cache that cannot be written costs time, never the run."""
    try:
        book.parent.mkdir(parents=True, exist_ok=True)
        write_whole(book, json.dumps(known))
    except OSError:
        return
