"""What may be in somebody's archive: names that stay inside a folder, ordinary files, sizes within limits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bioclip_core.errors import SourceError


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an archive may hold."""

    total_bytes: int = 64 << 30
    """Of all members together, unpacked."""
    ratio: int = 300
    """Unpacked bytes for one packed byte: text gives 5 to 50, and somebody's trap a thousand."""
    small_bytes: int = 1 << 20
    """Up to here the ratio does not matter."""
    members: int = 2_000_000


@dataclass(frozen=True, slots=True)
class Member:
    """One file in an archive."""

    name: str
    """Relative, with forward slashes, no ``.`` or ``..`` in it: safe to join to a folder."""
    size: int
    """Bytes, unpacked; reading stops with an error where there are more."""
    modified_s: int = 0
    """Seconds since 1970 (a zip file's clock taken as UTC), given to what is extracted; 0 = not stated."""


DEFAULT_LIMITS = Limits()


class Gate:
    """Looks at one member after the other and keeps count."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self._path = path
        self._limits = limits
        self._packed = path.stat().st_size
        self._total = 0
        self._names: set[str] = set()
        self._folders: set[str] = set()

    def name(self, given: str, *, is_folder: bool) -> str:
        """The member's name with forward slashes.

        Raises:
            SourceError: if it leaves the folder, or was there before.
        """
        shown = given.replace("\\", "/")
        parts = PurePosixPath(shown).parts
        if not given or "\x00" in given:
            raise self._refused(given, "has no usable name")
        if shown.startswith("/") or (parts and len(parts[0]) > 1 and parts[0][1] == ":"):
            raise self._refused(given, "has an absolute path; members must be relative")
        if ".." in parts:
            raise self._refused(given, "would leave the folder that it is unpacked into ('..')")
        name = "/".join(parts)
        if not is_folder:
            parents = {"/".join(parts[:n]) for n in range(1, len(parts))}
            if not name or name in self._names:
                raise self._refused(
                    given, "comes twice; which of them is meant cannot be known" if name else "has no usable name"
                )
            if name in self._folders or parents & self._names:
                raise self._refused(given, "is a file and a folder at once")
            self._names.add(name)
            self._folders |= parents
            if len(self._names) > self._limits.members:
                raise SourceError(f"{self._path} has more than {self._limits.members:,} members, which is the limit")
        elif name in self._names:
            raise self._refused(given, "is a file and a folder at once")
        return name

    def size(self, name: str, size: int, packed: int | None = None) -> None:
        """Count a member's bytes.

        Raises:
            SourceError: if it, or all so far, expand too much.
        """
        limits = self._limits
        self._total += size
        if packed is not None and size > limits.small_bytes and size > limits.ratio * packed:
            raise self._refused(name, f"expands {size // max(packed, 1):,}-fold, {packed:,} to {size:,} bytes; "
                                      f"allowed is {limits.ratio}-fold")  # fmt: skip
        if self._total > limits.small_bytes and self._total > limits.ratio * self._packed:
            times = self._total // max(self._packed, 1)
            raise SourceError(f"{self._path} expands at least {times:,}-fold, {self._packed:,} to {self._total:,} bytes; "
                              f"allowed is {limits.ratio}-fold")  # fmt: skip
        if self._total > limits.total_bytes:
            raise SourceError(f"{self._path} has at least {self._total:,} bytes unpacked; allowed are {limits.total_bytes:,}: "
                              "unpack it yourself and give the folder")  # fmt: skip

    def special(self, name: str, kind: str) -> SourceError:
        """What to raise for a link, a device and the like."""
        return self._refused(name, f"is {kind}; only ordinary files are taken")

    def _refused(self, name: str, why: str) -> SourceError:
        return SourceError(f"{self._path} is refused: its member {name!r} {why}")
