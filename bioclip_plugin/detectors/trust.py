"""Checkpoints that may be opened: those whose sha256 ``models fetch`` recorded, or the user confirmed.

A checkpoint is a pickle, and reading one can run any code. Each confirmed sha256 is a small file in the user's cache.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime
from pathlib import Path

from bioclip_core.errors import DataError, ModelUnavailable, UnsafeWeights, UsageError
from bioclip_core.files.present import is_file
from bioclip_core.files.whole import write_whole
from bioclip_core.identity import LFS_REMEDY, file_sha256, is_lfs_pointer, read_cache, user_cache
from bioclip_core.next_commands import command

PICKLE_WARNING = "its checkpoint is a Python pickle, and opening a pickle can run any code"
MOST_BYTES = 4 << 30
"""Limit of a checkpoint, which is read into memory; that of MegaDetector 5 has 280 MB."""

_BEGINNINGS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04")
"""First bytes of a checkpoint: an archive, or a pickle of the oldest format."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


def folder_of_detectors() -> Path:
    """Return the folder of detectors in the user's cache."""
    return user_cache() / "detectors"


def is_confirmed(sha256: str) -> bool:
    """True if a checkpoint with this sha256 was fetched or confirmed on this machine."""
    return read_cache(_record_of(sha256)).get("sha256") == sha256


def confirm(sha256: str, name: str, reason: str) -> None:
    """Record that the checkpoint with this sha256 may be opened.

    Args:
        sha256: of its bytes.
        name: file name, for people who read the record.
        reason: ``fetched`` from where, or ``confirmed`` by the user.

    Raises:
        ModelUnavailable: if the cache cannot be written.
    """
    record = {
        "sha256": sha256,
        "name": name,
        "reason": reason,
        "recorded": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_record(_record_of(sha256), record)


def write_record(file: Path, record: object) -> None:
    """Write a record of the cache.

    Raises:
        ModelUnavailable: if that is not possible: without its record a checkpoint is not opened.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, json.dumps(record, indent=1) + "\n")
    except OSError as error:
        raise ModelUnavailable(
            f"{file} cannot be written: {error.strerror or error}; set BIOCLIP_CACHE to another folder"
        ) from None


def confirm_file(path: Path, sha256: str) -> str:
    """Confirm a checkpoint on this machine, and return its sha256.

    Args:
        path: the file.
        sha256: the sha256 that its publisher names.

    Raises:
        UsageError: for text that is not a sha256.
        DataError: for the sha256 of another file.
        ModelUnavailable: for a file that cannot be read, or is not a checkpoint.
    """
    wanted = sha256.strip().lower().removeprefix("sha256:")
    if not _SHA256.fullmatch(wanted):
        raise UsageError(f"--sha256 {sha256!r} is not a sha256: 64 digits and letters from a to f are needed")
    found = sha256_to_confirm(path)
    if wanted != found:
        raise DataError(
            f"{path} has the sha256 {found}, not {wanted} as given: it is another file, or damaged; nothing was confirmed"
        )
    confirm(found, path.name, "confirmed")
    return found


def sha256_to_confirm(path: Path) -> str:
    """Return the sha256 of a file that can be confirmed; nothing is recorded.

    Raises:
        ModelUnavailable: for a file that cannot be read, or is not a checkpoint.
    """
    found = sha256_of_checkpoint(path)
    try:
        with path.open("rb") as file:
            check_beginning(file.read(20), str(path))
    except OSError as error:
        raise ModelUnavailable(f"the checkpoint {path} cannot be read: {error.strerror or error}") from None
    return found


def check_beginning(data: bytes, source: str) -> None:
    """Refuse data that are not the beginning of a checkpoint.

    Raises:
        ModelUnavailable: with what is there instead.
    """
    if not data.startswith(_BEGINNINGS):
        raise ModelUnavailable(
            f"{source} is not a checkpoint: it {f'begins with {data[:20]!r}' if data else 'is empty'}"
        )


def sha256_of_checkpoint(path: Path) -> str:
    """Return the sha256 of a checkpoint, computed once as long as the file is unchanged.

    Raises:
        ModelUnavailable: if it cannot be read.
    """
    if not is_file(path):
        raise ModelUnavailable(f"the checkpoint {path} does not exist, or is not a file")
    try:
        if is_lfs_pointer(path):
            raise ModelUnavailable(f"the checkpoint {path} {LFS_REMEDY}")
        _check_size(path)
        return file_sha256(path)
    except OSError as error:
        raise ModelUnavailable(f"the checkpoint {path} cannot be read: {error.strerror or error}") from None


def check_confirmed(path: Path, sha256: str) -> None:
    """Refuse a checkpoint that nobody confirmed.

    Raises:
        UnsafeWeights: with its sha256 and how to confirm it.
    """
    if not is_confirmed(sha256):
        earlier = _confirmed_as(path.name)
        recorded = (
            f"; a file of this name was confirmed with {earlier}, so it was replaced or damaged" if earlier else ""
        )
        raise UnsafeWeights(
            f"the checkpoint {path} was not fetched by this program, and nobody confirmed it: opening it can run any code. "
            f"Its sha256 is {sha256}{recorded}; if its publisher names the same one: {command('models trust', path, sha256=sha256)}"
        )


def read_confirmed(path: Path, sha256: str) -> bytes:
    """Return the bytes of a checkpoint, read once, if they have the sha256 that was checked before.

    Raises:
        UnsafeWeights: if they have another one: the file was replaced meanwhile.
        ModelUnavailable: if it cannot be read.
    """
    try:
        _check_size(path)
        weights = path.read_bytes()
    except OSError as error:
        raise ModelUnavailable(f"the checkpoint {path} cannot be read: {error.strerror or error}") from None
    found = hashlib.sha256(weights).hexdigest()
    if found != sha256:
        raise UnsafeWeights(
            f"the checkpoint {path} changed after it was checked: its sha256 is {found}, not {sha256}; it is not opened. "
            "Give the command again"
        )
    check_confirmed(path, found)
    return weights


def _confirmed_as(name: str) -> str:
    """Return the sha256 of the file of this name that was confirmed last; empty if none was."""
    records = [read_cache(file) for file in (folder_of_detectors() / "confirmed").glob("*.json")]
    ours = [record for record in records if record.get("name") == name and record.get("sha256")]
    return str(max(ours, key=lambda record: str(record.get("recorded")))["sha256"]) if ours else ""


def _check_size(path: Path) -> None:
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise ModelUnavailable(f"the checkpoint {path} has {size:,} bytes; up to {MOST_BYTES:,} are read")


def _record_of(sha256: str) -> Path:
    return folder_of_detectors() / "confirmed" / f"{sha256}.json"
