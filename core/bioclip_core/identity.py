"""Identities: sha256 of files and of settings, and the user's cache."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from bioclip_core.errors import DataError
from bioclip_core.files.documents import read_document
from bioclip_core.files.whole import write_whole
from bioclip_core.process import system

CACHE_VARIABLE = "BIOCLIP_CACHE"
"""Environment variable that names the folder of :func:`user_cache`; ``~`` and other variables in it are expanded."""
_LFS = b"version https://git-lfs"
LFS_REMEDY = "is a pointer of Git LFS, not the file itself; get it with: git lfs pull"

log = logging.getLogger("bioclip_plugin.identity")

_SMALL = 64 * 1024 * 1024
"""Bytes; hashing a smaller file takes a fraction of a second, so its digest is not kept."""
_ANNOUNCED = 1 << 30
"""Bytes from which hashing takes seconds and is announced."""
_CLOCK_STEP_S = 2.0
"""The coarsest clock of a file system (FAT): a file that is younger may change without another modification time."""


def settings_id(settings: Mapping[str, Any]) -> str:
    """Return the sha256 (hex) of settings as canonical JSON: equal settings give equal ids on every machine."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def user_cache() -> Path:
    """Return the folder for files that can be made or fetched again; ``BIOCLIP_CACHE`` overrides it."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(os.path.expandvars(os.path.expanduser(chosen)))  # noqa: PTH111 - it takes a user that does not exist
    if system.is_windows():
        return Path(os.environ.get("LOCALAPPDATA") or _home() / "AppData" / "Local") / "bioclip-plugin"
    if system.is_macos():
        return _home() / "Library" / "Caches" / "bioclip-plugin"
    return Path(os.environ.get("XDG_CACHE_HOME") or _home() / ".cache") / "bioclip-plugin"


def _home() -> Path:
    """Return the user's home folder; a temporary one for a user without it, as in a container started with a number."""
    try:
        return Path.home()
    except RuntimeError:
        user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "")
        return Path(tempfile.gettempdir()) / f"bioclip-plugin-home-{user}"


def read_cache(file: Path) -> dict[str, Any]:
    """Return the JSON object that a file of the cache holds; empty if it cannot be read."""
    try:
        return read_document(file, dict[str, Any], name="cache")
    except DataError:
        return {}


def write_cache(file: Path, known: Mapping[str, Any]) -> bool:
    """Write a JSON object to a file of the cache, and return True if that worked.

    A cache that cannot be written costs time, never the run.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, json.dumps(known))
    except OSError:
        return False
    return True


def sha256_of(path: Path) -> str:
    """Return the sha256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_lfs_pointer(path: Path) -> bool:
    """True if Git LFS put a pointer in place of a file: a clone without it, or an archive of the repository."""
    with path.open("rb") as file:
        return file.read(len(_LFS)) == _LFS


def file_sha256(path: Path) -> str:
    """Return the sha256 (hex) of a file's bytes; that of a large file is computed once, as long as the file is unchanged."""
    with path.open("rb") as file:
        if known := kept_sha256(file):
            return known
        if os.fstat(file.fileno()).st_size >= _ANNOUNCED:
            log.info("Checking %s; an unchanged file is not checked again", path)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        keep_sha256(file, digest)
        return digest


def kept_sha256(file: IO[bytes]) -> str | None:
    """Return the sha256 of an open file that :func:`keep_sha256` kept, if the file is unchanged since."""
    if os.fstat(file.fileno()).st_size < _SMALL:
        return None
    known = read_cache(_hash_book()).get(_state_of(file))
    return known if isinstance(known, str) else None


def keep_sha256(file: IO[bytes], digest: str) -> None:
    """Keep the sha256 of an open file for as long as it is unchanged, if computing it again would take noticeable time."""
    if not is_worth_keeping(file):
        return
    state = _state_of(file)
    path, _, _ = state.partition("|")
    others = {key: value for key, value in read_cache(_hash_book()).items() if key.partition("|")[0] != path}
    write_cache(_hash_book(), {**others, state: digest})


def is_worth_keeping(file: IO[bytes]) -> bool:
    """True for a large file that was not changed just now: another change within the clock's step would leave no trace."""
    stat = os.fstat(file.fileno())
    return stat.st_size >= _SMALL and time.time() - max(stat.st_mtime, stat.st_ctime) > _CLOCK_STEP_S


def was_checked(what: str) -> bool:
    """True if :func:`keep_checked` was called for something that is named by its hash."""
    return bool(read_cache(_check_book()).get(what))


def keep_checked(what: str) -> None:
    """Remember that something was found good. ``what`` names it by its hash, so that it cannot change."""
    write_cache(_check_book(), {**read_cache(_check_book()), what: True})


def _hash_book() -> Path:
    return user_cache() / "sha256.json"


def _check_book() -> Path:
    return user_cache() / "checked.json"


def _state_of(file: IO[bytes]) -> str:
    """Return a text that changes with any change of a file: of its bytes, or of the file that has the name."""
    stat = os.fstat(file.fileno())
    path = Path(file.name).resolve()
    return f"{path}|{stat.st_size}|{stat.st_mtime_ns}|{stat.st_ctime_ns}|{stat.st_dev}:{stat.st_ino}"
