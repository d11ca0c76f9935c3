"""The checks on members of foreign archives: names that stay inside a folder, ordinary files, sizes within limits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from bioclip_core.errors import SourceError


@dataclass(frozen=True, slots=True)
class Limits:
    """Largest permitted content of an archive."""

    total_bytes: int = 64 << 30
    """Of all members together, unpacked."""
    ratio: int = 300
    """Unpacked bytes per packed byte: text has 5 to 50, a decompression bomb a thousand."""
    small_bytes: int = 1 << 20
    """Unpacked bytes up to which the ratio does not matter."""
    members: int = 2_000_000


@dataclass(frozen=True, slots=True)
class Member:
    """One file in an archive."""

    name: str
    """Relative, with forward slashes and without ``.`` or ``..``: safe to join to a folder."""
    size: int
    """Bytes, unpacked; reading more raises an error."""
    modified_s: int = 0
    """Seconds since 1970 (a zip file's clock taken as UTC) for the extracted file; 0 = not stated."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One header of an archive, unchecked."""

    name: str
    is_folder: bool
    size: int
    modified_s: float
    handle: Any
    """Form in which the reader of the archive knows the member."""
    special: str = ""
    """Reason why the member is not an ordinary file; empty for files and folders."""
    packed: int | None = None
    """Bytes in the archive; None where members are not packed one by one."""


DEFAULT_LIMITS = Limits()
_LATEST_S = 2**33
"""The year 2242."""


def checked_members(path: Path, limits: Limits, entries: Iterable[Entry]) -> Iterator[tuple[Member, Any]]:
    """Yield every ordinary file of an archive with its handle, as soon as its header is read and checked.

    Raises:
        SourceError: for the first member that is refused, and once the members are too many or expand too much.
    """
    names: set[str] = set()
    folders: set[str] = set()
    total, total_packed = 0, path.stat().st_size
    for entry in entries:
        name = _relative_name(path, entry)
        parts = name.split("/")
        parents = set() if entry.is_folder else {"/".join(parts[:n]) for n in range(1, len(parts))}
        if name in names and not entry.is_folder:
            raise _refused(path, entry, "is duplicated, so it is unknown which one is meant")
        if name in (names if entry.is_folder else folders) or parents & names:
            raise _refused(path, entry, "is a file and a folder at once")
        if entry.special:
            raise _refused(path, entry, f"is {entry.special}; only ordinary files are accepted")
        if entry.is_folder:
            continue
        names.add(name)
        folders |= parents
        if len(names) > limits.members:
            raise SourceError(f"{path} has more than {limits.members:,} members, which is the limit")
        if entry.size < 0:  # a reader that skips it goes back, and reads the same header again for ever
            raise _refused(path, entry, f"states a size of {entry.size:,} bytes")
        total += entry.size
        _check_sizes(path, limits, entry, total, total_packed)
        yield Member(name, entry.size, _seconds(entry.modified_s)), entry.handle


def _seconds(modified_s: float) -> int:
    """Return a time that every file system can keep, 0 for any other; a header may state an infinite one."""
    return int(modified_s) if 0 <= modified_s < _LATEST_S else 0


def _relative_name(path: Path, entry: Entry) -> str:
    """Return the member's name with forward slashes, unless it leads out of the folder."""
    shown = entry.name.replace("\\", "/")
    parts = PurePosixPath(shown).parts
    if not entry.name or "\x00" in entry.name or not (parts or entry.is_folder):
        raise _refused(path, entry, "lacks a usable name")
    if shown.startswith("/") or (parts and len(parts[0]) > 1 and parts[0][1] == ":"):
        raise _refused(path, entry, "has an absolute path; members must be relative")
    if ".." in parts:
        raise _refused(path, entry, "would leave the folder that it is unpacked into ('..')")
    return "/".join(parts)


def _check_sizes(path: Path, limits: Limits, entry: Entry, total: int, total_packed: int) -> None:
    """Refuse a member if it, or all so far, expand too much."""
    size, packed = entry.size, entry.packed
    if packed is not None and size > limits.small_bytes and size > limits.ratio * packed:
        raise _refused(path, entry, f"expands {size // max(packed, 1):,}-fold, {packed:,} to {size:,} bytes; "
                                    f"allowed is {limits.ratio}-fold")  # fmt: skip
    if total > limits.small_bytes and total > limits.ratio * total_packed:
        raise SourceError(f"{path} expands at least {total // max(total_packed, 1):,}-fold, {total_packed:,} to {total:,} "
                          f"bytes; allowed is {limits.ratio}-fold")  # fmt: skip
    if total > limits.total_bytes:
        raise SourceError(f"{path} has at least {total:,} bytes unpacked; allowed are {limits.total_bytes:,}: "
                          "unpack it yourself and give the folder")  # fmt: skip


def _refused(path: Path, entry: Entry, why: str) -> SourceError:
    return SourceError(f"{path} is refused: its member {entry.name!r} {why}")
