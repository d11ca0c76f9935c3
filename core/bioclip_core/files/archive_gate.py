"""The checks on members of foreign archives: names that stay inside a folder, ordinary files, sizes within limits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

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


DEFAULT_LIMITS = Limits()


class Gate:
    """Checks one member after the other and adds up their numbers and sizes."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self._path = path
        self._limits = limits
        self._packed = path.stat().st_size
        self._total = 0
        self._names: set[str] = set()
        self._folders: set[str] = set()

    def name(self, given: str, *, is_folder: bool) -> str:
        """Return the member's name with forward slashes.

        Raises:
            SourceError: if the name leads out of the folder or is duplicated.
        """
        shown = given.replace("\\", "/")
        parts = PurePosixPath(shown).parts
        name = "/".join(parts)
        if not given or "\x00" in given or not (name or is_folder):
            raise self.refused(given, "has no usable name")
        if shown.startswith("/") or (parts and len(parts[0]) > 1 and parts[0][1] == ":"):
            raise self.refused(given, "has an absolute path; members must be relative")
        if ".." in parts:
            raise self.refused(given, "would leave the folder that it is unpacked into ('..')")
        parents = {"/".join(parts[:n]) for n in range(1, len(parts))}
        if is_folder:
            if name in self._names:
                raise self.refused(given, "is a file and a folder at once")
            return name
        if name in self._names:
            raise self.refused(given, "is duplicated, so it is unknown which one is meant")
        if name in self._folders or parents & self._names:
            raise self.refused(given, "is a file and a folder at once")
        self._names.add(name)
        self._folders |= parents
        if len(self._names) > self._limits.members:
            raise SourceError(f"{self._path} has more than {self._limits.members:,} members, which is the limit")
        return name

    def size(self, name: str, size: int, packed: int | None = None) -> None:
        """Add a member's bytes.

        Raises:
            SourceError: if the member, or all so far, expand too much.
        """
        limits = self._limits
        self._total += size
        if packed is not None and size > limits.small_bytes and size > limits.ratio * packed:
            raise self.refused(name, f"expands {size // max(packed, 1):,}-fold, {packed:,} to {size:,} bytes; "
                                     f"allowed is {limits.ratio}-fold")  # fmt: skip
        if self._total > limits.small_bytes and self._total > limits.ratio * self._packed:
            times = self._total // max(self._packed, 1)
            raise SourceError(f"{self._path} expands at least {times:,}-fold, {self._packed:,} to {self._total:,} bytes; "
                              f"allowed is {limits.ratio}-fold")  # fmt: skip
        if self._total > limits.total_bytes:
            raise SourceError(f"{self._path} has at least {self._total:,} bytes unpacked; allowed are {limits.total_bytes:,}: "
                              "unpack it yourself and give the folder")  # fmt: skip

    def special(self, name: str, kind: str) -> SourceError:
        """Return the error for a link, a device and the like."""
        return self.refused(name, f"is {kind}; only ordinary files are accepted")

    def refused(self, name: str, why: str) -> SourceError:
        """Return the error for a member."""
        return SourceError(f"{self._path} is refused: its member {name!r} {why}")
