"""Foreign zip and tar archives: every member is checked before the first byte of it is written or used."""

from __future__ import annotations

import calendar
import io
import os
import shutil
import stat
import struct
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from functools import cached_property
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal

from bioclip_core.errors import SourceError
from bioclip_core.files import archive_tar
from bioclip_core.files.archive_gate import DEFAULT_LIMITS, Entry, Limits, Member, checked_members
from bioclip_core.files.archive_tar import TarReader
from bioclip_core.files.drives import possible_on_windows
from bioclip_core.files.regular import open_regular
from bioclip_core.process import system

_CHUNK = 1 << 20
_SPECIAL = {stat.S_IFLNK: "a symbolic link", stat.S_IFCHR: "a device file", stat.S_IFBLK: "a device file",
            stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}  # fmt: skip
ARCHIVE_FAULTS = (zipfile.BadZipFile, NotImplementedError, RuntimeError, struct.error, *archive_tar.FAULTS)
"""Exceptions of the readers for damaged, encrypted and unusual archives."""


def archive_kind(path: Path) -> Literal["zip", "tar"] | None:
    """Return the kind of an archive by its content; None for other and unreadable files."""
    try:
        with open_regular(path) as file:
            start = file.read(4)
    except (OSError, ValueError):
        return None
    if start in (b"PK\x03\x04", b"PK\x05\x06"):
        return "zip"
    return "tar" if archive_tar.is_tar(path) else None


class Archive(AbstractContextManager["Archive"]):
    """An open archive, made by :func:`open_archive`, with all members checked. Close it, or use it in a ``with`` block."""

    def __init__(
        self, path: Path, handle: zipfile.ZipFile | TarReader, found: Mapping[str, tuple[Member, Any]]
    ) -> None:
        self.path = path
        self._handle = handle
        self._found = found
        self.members: Mapping[str, Member] = {name: member for name, (member, _) in found.items()}
        """Files by name, in the archive's order."""

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._handle.close()

    def open(self, name: str) -> BinaryIO:
        """Open a stream of one member's bytes.

        Raises:
            SourceError: if the member does not exist, or (while reading) if it is damaged or longer than the archive states.
        """
        if name not in self._found:
            more = f" and {len(self.members) - 5:,} more" if len(self.members) > 5 else ""
            listed = ", ".join(sorted(self.members)[:5]) or "none"
            raise SourceError(f"{self.path} has no member {name!r}; it has {listed}{more}")
        member, entry = self._found[name]
        try:
            content = _Counted(f"{self.path}: {member.name}", member.size, self._handle.open(entry))
        except ARCHIVE_FAULTS as error:
            raise SourceError(f"{self.path}: {name} cannot be read: {error}") from error
        return io.BufferedReader(content, buffer_size=1 << 16)

    def place_of(self, folder: Path, name: str) -> Path:
        """Return the place of a member that is extracted ``anywhere``.

        It has its own name, unless Windows refuses that, or a disk without letter case takes it for another member's.
        """
        parts = name.split("/")
        if system.is_windows():
            parts = [possible_on_windows(part) for part in parts]
        if name in self._doubles:
            parts.insert(0, f"~{self._doubles[name]}")
        return folder.joinpath(*parts)

    @cached_property
    def _doubles(self) -> dict[str, int]:
        """Numbers of members whose name differs from an earlier one only in letter case or Unicode form."""
        seen: set[int] = set()
        doubles: dict[str, int] = {}
        for name in self.members:
            key = hash(unicodedata.normalize("NFC", name).casefold())
            if key in seen:
                doubles[name] = len(doubles) + 2
            seen.add(key)
        return doubles

    def extract(self, folder: Path, names: Iterable[str] | None = None, *, anywhere: bool = False) -> list[Path]:
        """Write members (by default all) into a folder and return their paths; existing files are never overwritten.

        Args:
            folder: the folder; made if need be.
            names: the members.
            anywhere: write each to :meth:`place_of`, instead of under its own name in any case.

        Raises:
            SourceError: as :meth:`open` does, if the disk has too little room, or if a file exists; the files written so far
                are removed again.
        """
        wanted = list(self.members if names is None else names)
        needed = sum(self.members[name].size for name in wanted if name in self.members)
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise SourceError(
                f"{self.path} needs {needed:,} bytes unpacked and {folder} has {free:,}; give another folder"
            )
        written: list[Path] = []
        try:
            for name in wanted:
                target = self.place_of(folder, name) if anywhere else folder / name
                written.append(self._extract(name, folder, target))
        except BaseException:
            for path in written:
                path.unlink(missing_ok=True)
            raise
        return written

    def _extract(self, name: str, folder: Path, target: Path) -> Path:
        with self.open(name) as source:
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                # An existing folder may contain a link that leads elsewhere.
                if not target.parent.resolve().is_relative_to(folder.resolve()):
                    raise SourceError(f"{self.path}: {name} would be written outside {folder}: a link there leads away")
                file = target.open("xb")
            except OSError as error:
                raise SourceError(f"{self.path}: {name} cannot be written to {folder}: {error.strerror}") from error
            try:
                with file:
                    shutil.copyfileobj(source, file, _CHUNK)
                if modified_s := self.members[name].modified_s:
                    os.utime(target, (modified_s, modified_s))
            except BaseException:
                target.unlink(missing_ok=True)
                raise
        return target


def open_archive(path: Path, limits: Limits = DEFAULT_LIMITS) -> Archive:
    """Open a zip or tar file (also compressed with gzip, bzip2 or xz), whatever its name, and check every member.

    Raises:
        SourceError: if it is not an archive, or not a safe one; with the member, the fault and the limit.
    """
    kind = archive_kind(path)
    if kind is None:
        why = "is not a zip or tar archive" if path.is_file() else "is not a file"
        raise SourceError(f"{path} {why}; give one, or a folder with its content")
    try:
        with ExitStack() as opened:
            handle = zipfile.ZipFile(path) if kind == "zip" else TarReader(path)
            opened.callback(handle.close)
            entries = _zip_entries(handle, path) if isinstance(handle, zipfile.ZipFile) else handle.entries()
            members = checked_members(path, limits, entries)
            archive = Archive(path, handle, {member.name: (member, entry) for member, entry in members})
            opened.pop_all()
            return archive
    except ARCHIVE_FAULTS as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: BaseException) -> SourceError:
    """Return the error for a file that starts like an archive and cannot be read as one."""
    return SourceError(f"the archive {path} is truncated or damaged: copy it again ({error})")


def _zip_entries(archive: zipfile.ZipFile, path: Path) -> Iterator[Entry]:
    packed = sum(entry.compress_size for entry in archive.infolist())
    if packed > path.stat().st_size:
        raise SourceError(
            f"{path} is refused: its members overlap ({packed:,} packed bytes in {path.stat().st_size:,})"
        )
    for entry in archive.infolist():
        special = _SPECIAL.get(stat.S_IFMT(entry.external_attr >> 16), "")
        if entry.flag_bits & 1 and not entry.is_dir():
            special = special or "encrypted"
        try:
            modified_s = calendar.timegm((*entry.date_time, 0, 0, 0))
        except ValueError:  # a day that does not exist
            modified_s = 0
        yield Entry(
            entry.filename, entry.is_dir(), entry.file_size, modified_s, entry, special, packed=entry.compress_size
        )


class _Counted(io.RawIOBase):
    """A member's bytes, never more than the archive states; damage is reported in one line."""

    def __init__(self, where: str, size: int, file: IO[bytes]) -> None:
        super().__init__()
        self._where = where
        self._left = self._size = size
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._file.read(len(buffer))
        except Exception as error:  # each way of compressing has errors of its own
            raise SourceError(f"{self._where} cannot be read, the archive is damaged: {error}") from error
        self._left -= len(data)
        if self._left < 0 or (not data and self._left > 0 and len(buffer)):
            raise SourceError(
                f"{self._where} is damaged: it does not have the {self._size:,} bytes that the archive states"
            )
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()
