"""Zip and tar archives that somebody else made: every member is checked before the first byte of it is written or used."""

from __future__ import annotations

import calendar
import io
import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, BinaryIO, Literal, Self

from bioclip_core.errors import SourceError
from bioclip_core.files import archive_tar
from bioclip_core.files.archive_gate import DEFAULT_LIMITS, Gate, Limits, Member
from bioclip_core.files.archive_tar import TarReader

_CHUNK = 1 << 20
_SPECIAL = {stat.S_IFLNK: "a symbolic link", stat.S_IFCHR: "a device file", stat.S_IFBLK: "a device file",
            stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}  # fmt: skip
_FAULTS = (zipfile.BadZipFile, NotImplementedError, RuntimeError, *archive_tar.FAULTS)

__all__ = [
    "DEFAULT_LIMITS",
    "Archive",
    "Limits",
    "Member",
    "archive_kind",
    "damaged",
    "members_in_order",
    "open_archive",
    "unpacked",
]


def archive_kind(path: Path) -> Literal["zip", "tar"] | None:
    """What kind of archive a file is by its content; None for anything else, and for what cannot be read."""
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except (OSError, ValueError):
        return None
    if start in (b"PK\x03\x04", b"PK\x05\x06"):
        return "zip"
    return "tar" if archive_tar.is_tar(path) else None


class Archive:
    """An open archive whose members were all looked at: names that stay inside a folder, ordinary files, sizes within limits.

    Made by :func:`open_archive`; to be closed, or used with ``with``.
    """

    def __init__(
        self, path: Path, handle: zipfile.ZipFile | TarReader, found: Mapping[str, tuple[Member, Any]]
    ) -> None:
        self.path = path
        self._handle = handle
        self._found = found
        self.members: Mapping[str, Member] = {name: member for name, (member, _) in found.items()}
        """By name, in the archive's order; folders are left out."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._handle.close()

    def open(self, name: str) -> BinaryIO:
        """A stream of one member's bytes.

        Raises:
            SourceError: if there is no such member, or (while reading) if it is damaged or longer than the archive says.
        """
        if name not in self._found:
            raise SourceError(f"{self.path} has no member {name!r}; it has {_some(self.members)}")
        member, entry = self._found[name]
        try:
            return _stream(self.path, member, self._handle.open(entry))
        except _FAULTS as error:
            raise SourceError(f"{self.path}: {name} cannot be read: {error}") from error

    def extract(self, folder: Path, names: Iterable[str] | None = None) -> list[Path]:
        """Write members (by default all) into a folder and say where they lie; nothing that is there is overwritten.

        Raises:
            SourceError: as :meth:`open` does, where the disk has too little room or where a file exists; what had been
                written by then is removed again.
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
                written.append(self._extract(name, folder))
        except BaseException:
            for path in written:
                path.unlink(missing_ok=True)
            raise
        return written

    def _extract(self, name: str, folder: Path) -> Path:
        target = folder / name
        with self.open(name) as source:
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                # The folder may have been there before, with a link in it that leads elsewhere.
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
    """Open a zip or tar file (also compressed with gzip, bzip2 or xz), whatever it is called, and check every member.

    Raises:
        SourceError: if it is no archive, or one that is not safe to use: which member, what is wrong, and the limit.
    """
    kind = archive_kind(path)
    if kind is None:
        why = "is no zip or tar archive" if path.is_file() else "is no file"
        raise SourceError(f"{path} {why}; give one, or a folder with its content")
    handle: zipfile.ZipFile | TarReader | None = None
    try:
        handle = zipfile.ZipFile(path) if kind == "zip" else TarReader(path)
        entries = _zip_members(handle, path, limits) if isinstance(handle, zipfile.ZipFile) else handle.checked(limits)
        found = {member.name: (member, entry) for member, entry in entries}
        if isinstance(handle, TarReader):
            handle.listing = False
        return Archive(path, handle, found)
    except BaseException as error:
        if handle is not None:
            handle.close()
        if isinstance(error, _FAULTS):
            raise damaged(path, error) from error
        raise


def damaged(path: Path, error: BaseException) -> SourceError:
    """What to raise for an archive whose beginning is one and whose rest is not."""
    return SourceError(f"the archive {path} is truncated or damaged: copy it anew ({error})")


def members_in_order(path: Path, limits: Limits = DEFAULT_LIMITS) -> Iterator[tuple[Member, BinaryIO]]:
    """The members of an archive one after the other, each with a stream that is good until the next one is taken.

    One pass, in flat memory; a member that is not safe is heard of when it is reached (in a zip file: before the first).

    Raises:
        SourceError: as :func:`open_archive` does.
    """
    if archive_kind(path) != "tar":
        with open_archive(path, limits) as archive:
            for member in archive.members.values():
                with archive.open(member.name) as stream:
                    yield member, stream
        return
    handle = None
    try:
        handle = TarReader(path)
        for member, entry in handle.checked(limits):
            handle.listing = False
            with _stream(path, member, handle.open(entry)) as stream:
                yield member, stream
            handle.listing = True
            handle.forget()
    except _FAULTS as error:
        raise damaged(path, error) from error
    finally:
        if handle is not None:
            handle.close()


@contextmanager
def unpacked(
    path: Path, *, into: Path | None = None, names: Iterable[str] | None = None, limits: Limits = DEFAULT_LIMITS
) -> Iterator[Path]:
    """A folder with an archive's members: ``into``, which stays, or a temporary one, which is removed at the end.

    Raises:
        SourceError: as :func:`open_archive` and :meth:`Archive.extract` do.
    """
    with open_archive(path, limits) as archive:
        if into is not None:
            archive.extract(into, names)
            yield into
            return
        with tempfile.TemporaryDirectory(prefix="bioclip-archive-") as folder:
            archive.extract(Path(folder), names)
            yield Path(folder)


# -- What is refused ---------------------------------------------------------------------------------------------------


def _zip_members(archive: zipfile.ZipFile, path: Path, limits: Limits) -> Iterator[tuple[Member, zipfile.ZipInfo]]:
    gate = Gate(path, limits)
    packed = sum(entry.compress_size for entry in archive.infolist())
    if packed > path.stat().st_size:
        raise SourceError(
            f"{path} is refused: its members overlap ({packed:,} packed bytes in {path.stat().st_size:,})"
        )
    for entry in archive.infolist():
        kind = _SPECIAL.get(stat.S_IFMT(entry.external_attr >> 16))
        name = gate.name(entry.filename, is_folder=entry.is_dir())
        if kind:
            raise gate.special(entry.filename, kind)
        if entry.is_dir():
            continue
        if entry.flag_bits & 1:
            raise gate.special(entry.filename, "encrypted")
        gate.size(entry.filename, entry.file_size, entry.compress_size)
        yield Member(name, entry.file_size, _seconds(entry.date_time)), entry


def _seconds(moment: tuple[int, int, int, int, int, int]) -> int:
    try:
        return max(calendar.timegm((*moment, 0, 0, 0)), 0)
    except ValueError:  # a day that is none
        return 0


# -- Reading -----------------------------------------------------------------------------------------------------------


class _Counted(io.RawIOBase):
    """A member's bytes, never more than the archive said that there are; damage is told in one line."""

    def __init__(self, path: Path, member: Member, file: IO[bytes]) -> None:
        super().__init__()
        self._where = f"{path}: {member.name}"
        self._left = member.size
        self._size = member.size
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
            raise SourceError(f"{self._where} is damaged: it has not the {self._size:,} bytes that the archive says")
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def _stream(path: Path, member: Member, file: IO[bytes]) -> BinaryIO:
    return io.BufferedReader(_Counted(path, member, file), buffer_size=1 << 16)


def _some(names: Iterable[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:5]) + (f" and {len(listed) - 5:,} more" if len(listed) > 5 else "") if listed else "none"
