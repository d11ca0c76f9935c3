"""Identities: sha256 of files and of settings, and the user's cache."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from bioclip_core.files.whole import write_whole

_SMALL = 256 * 1024 * 1024
"""Bytes; hashing a smaller file takes less than a second, so its digest is not cached."""


def settings_id(settings: Mapping[str, Any]) -> str:
    """Return the sha256 (hex) of settings as canonical JSON: equal settings give equal ids on every machine."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def user_cache() -> Path:
    """Return the folder for files that can be made or fetched again; ``BIOCLIP_CACHE`` overrides it."""
    if chosen := os.environ.get("BIOCLIP_CACHE"):
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or _home() / "AppData" / "Local") / "bioclip-plugin"
    if sys.platform == "darwin":
        return _home() / "Library" / "Caches" / "bioclip-plugin"
    return Path(os.environ.get("XDG_CACHE_HOME") or _home() / ".cache") / "bioclip-plugin"


def _home() -> Path:
    """Return the user's home folder; a temporary one for a user without it, as in a container started with a number."""
    try:
        return Path.home()
    except RuntimeError:
        return Path(tempfile.gettempdir()) / f"bioclip-plugin-home-{os.getuid()}"


def read_cache(file: Path) -> dict[str, Any]:
    """Return the JSON object that a file of the cache holds; empty if it cannot be read."""
    try:
        known = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def write_cache(file: Path, known: Mapping[str, Any]) -> None:
    """Write a JSON object to a file of the cache. A cache that cannot be written costs time, never the run."""
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, json.dumps(known))


def sha256_of(path: Path) -> str:
    """Return the sha256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_sha256(path: Path) -> str:
    """Return the sha256 (hex) of a file; for a large one it is cached by path, size and modification time."""
    stat = path.stat()
    if stat.st_size < _SMALL:
        return sha256_of(path)
    book = user_cache() / "sha256.json"
    key = f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"
    known = read_cache(book)
    if key not in known:
        known[key] = sha256_of(path)
        write_cache(book, known)
    return str(known[key])
