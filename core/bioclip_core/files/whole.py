"""Files and folders that are whole or absent: written as a draft beside the wanted name and renamed once finished."""

from __future__ import annotations

import os
import re
import shutil
import stat
import zipfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bioclip_core.errors import BioclipError
from bioclip_core.files.leftovers import is_of_killed, mark
from bioclip_core.files.replacing import reason_of, remove, remove_tree, rename
from bioclip_core.process import system

_DATABASE = b"SQLite format 3\0"
_JOURNAL = re.compile(r"-(wal|shm|journal)$")
"""Ending of a file that belongs to a database in use, or to one that was in use when the power failed."""
_DRAFT = re.compile(r"([0-9a-f]+-\d+)\.(part|parts|old)(-wal|-shm|-journal)?")
_NAMES_SHOWN = 3


def check_output(
    path: Path,
    *,
    force: bool = False,
    has_force: bool = True,
    database: bool = False,
    reads: Collection[str | os.PathLike[str]] = (),
) -> None:
    """Refuse an output file that cannot be written, before the work is done.

    Args:
        path: the file to write.
        force: replace an existing file.
        has_force: the command has an option ``--force``, which the message then offers.
        database: replace a database too; otherwise any database is taken for a result store and kept.
        reads: inputs of the same command. Inputs that are not files, such as addresses, are ignored.

    Raises:
        BioclipError: if the parent folder is missing, the path is not a file, it exists without ``force``, or replacing it
            would lose something that is not an earlier output.
    """
    _check_parent(path)
    if not path.exists():
        return
    if not path.is_file():
        raise BioclipError(f"the output {path} is a folder or a device: give the name of a file")
    if any(_is_same_file(path, read) for read in reads):
        raise BioclipError(f"the output {path} is an input of this command: give another name")
    if not database and any(map(_is_database, (path, path.with_name(_JOURNAL.sub("", path.name) or path.name)))):
        raise BioclipError(
            f"the output {path} is a database, perhaps a result store, and is not replaced: give another name"
        )
    if not force:
        advice = ", or --force to replace it" if has_force else ""
        raise BioclipError(f"the output {path} exists already: give another name{advice}")


def check_folder(
    path: Path,
    *,
    force: bool = False,
    ours: Collection[str] = (),
    others_in: Callable[[Path], list[str]] | None = None,
) -> None:
    """Refuse an output folder that cannot be written, before the work is done. An empty folder may exist already.

    Args:
        path: the folder to write.
        force: replace an earlier output.
        ours: names of the files of an earlier output. A folder that holds anything else is never replaced.
        others_in: returns the files that are not of an earlier output, for outputs with folders in them; in place of ``ours``.

    Raises:
        BioclipError: if the parent folder is missing, the path is not a folder, it is not empty and ``force`` is not given,
            or it holds other things.
    """
    _check_parent(path)
    if path.exists() and not path.is_dir():
        raise BioclipError(f"the output {path} is a file: give the name of a folder")
    held = sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []
    if others_in is not None:
        others = others_in(path) if held else []
    else:
        others = [name for name in held if name not in ours or not (path / name).is_file()]
    if others:
        more = f" and {len(others) - _NAMES_SHOWN} more" if len(others) > _NAMES_SHOWN else ""
        raise BioclipError(
            f"the folder {path} holds more than an earlier output ({', '.join(others[:_NAMES_SHOWN])}{more}), "
            "which would be lost: give the name of a new folder"
        )
    if held and not force:
        raise BioclipError(f"the output {path} exists already: give another name, or --force to replace it")


def _check_parent(path: Path) -> None:
    if not path.parent.is_dir():
        raise BioclipError(f"the folder {path.parent} of the output {path.name} does not exist: make it first")


def _is_same_file(path: Path, other: str | os.PathLike[str]) -> bool:
    try:
        return path.samefile(other)
    except (OSError, ValueError):  # the address of a database server, or text that is not a possible file name
        return False


def _is_database(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_DATABASE)) == _DATABASE
    except OSError:  # writing the file will report the reason
        return False


@contextmanager
def whole_file(path: Path, *, force: bool = False, reads: Collection[str | os.PathLike[str]] = ()) -> Iterator[Path]:
    """Give the path of a draft to write an output of a command to, as :func:`replacing_file` does.

    Args:
        path: the file to write.
        force: replace an existing file.
        reads: inputs of the same command, which are never replaced.

    Raises:
        BioclipError: as :func:`check_output`, and if the operating system refuses to write (a full disk).
    """
    check_output(path, force=force, reads=reads)
    with _errors_of(path), replacing_file(path) as draft:
        yield draft


@contextmanager
def whole_folder(path: Path, check: Callable[[], None]) -> Iterator[Path]:
    """Give an empty folder to fill with an output of a command, as :func:`replacing_folder` does.

    Args:
        path: the folder to write.
        check: raises an error if the folder may not be written or replaced, for example :func:`check_folder`. It is called
            at the start, and again before the rename since another program may have written the folder in the meantime.

    Raises:
        BioclipError: from ``check``, and if the operating system refuses to write.
    """
    _clear_drafts(path.resolve())
    check()
    with _errors_of(path), replacing_folder(path) as draft:
        yield draft
        check()


@contextmanager
def folder_beside(path: Path) -> Iterator[Path]:
    """Give an empty folder beside an output for its parts; it is removed when the block ends, however it ends.

    What a killed program left is removed by the next one that writes the output.
    """
    target = path.resolve()
    _clear_drafts(target)
    folder = _beside(target, "parts")
    try:
        folder.mkdir()
        yield folder
    finally:
        remove_tree(folder)


@contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """Give the path of a draft; it replaces ``path`` when the block ends, and is removed when the block fails.

    The draft lies beside the file (beside the target of a link), since a rename is atomic only within one file system.
    """
    target = path.resolve()
    _clear_drafts(target)
    draft = _beside(target, "part")
    try:
        yield draft
        _flush_to_disk(draft)
        rename(draft, target)
        _flush_folder(target.parent)
    finally:
        with suppress(OSError):  # a disk that cannot be written holds no draft
            remove(draft)


@contextmanager
def replacing_folder(path: Path, *, flush: bool = True) -> Iterator[Path]:
    """Give an empty folder to fill; it replaces ``path`` when the block ends, and is removed when the block fails.

    Args:
        path: the folder to make; an existing one is removed after the new one has its name.
        flush: write every file to the disk first, so that the folder is whole after a power cut too.
    """
    target = path.resolve()
    _clear_drafts(target)
    draft, old = _beside(target, "part"), _beside(target, "old")
    try:
        draft.mkdir(parents=True)
        yield draft
        for file in draft.rglob("*") if flush else ():
            if file.is_file() and not file.is_symlink() and file.stat().st_nlink == 1:  # links lead to files of others
                _flush_to_disk(file)
        if target.exists():  # a folder that is not empty cannot be replaced in one step
            rename(target, old)
        rename(draft, target)
        _flush_folder(target.parent)
    finally:
        if old.exists() and not target.exists():
            rename(old, target)
        for folder in (draft, old):
            remove_tree(folder)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a small file at once, text as UTF-8, so that a reader finds the old content or the new one."""
    with replacing_file(path) as draft:
        draft.write_bytes(content.encode() if isinstance(content, str) else content)


def zip_folder(folder: Path, file: Path) -> None:
    """Pack a folder's files; the same files give the same bytes."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(member.relative_to(folder).as_posix(), (1980, 1, 1, 0, 0, 0))
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            with member.open("rb") as source, archive.open(entry, "w", force_zip64=True) as packed:
                shutil.copyfileobj(source, packed, 1 << 20)


def _beside(target: Path, suffix: str) -> Path:
    return target.with_name(f".{target.name}.{mark()}.{suffix}")


def _clear_drafts(target: Path) -> None:
    """Remove what killed programs of this machine left beside a target, and give back an output that one was replacing.

    Drafts of living programs and of other machines, which may share the folder, stay.
    """
    start = f".{target.name}."
    try:
        with os.scandir(target.parent) as entries:
            names = sorted(entry.name for entry in entries if entry.name.startswith(start))
    except OSError:  # the folder cannot be listed; writing to it will give the reason
        return
    for path, match in ((target.with_name(name), _DRAFT.fullmatch(name.removeprefix(start))) for name in names):
        if match is None or not is_of_killed(match[1]):
            continue
        if match[2] == "old" and path.is_dir() and not target.exists():  # it was killed between two renames
            with suppress(OSError):
                rename(path, target)
        elif path.is_dir():
            remove_tree(path)
        else:
            with suppress(OSError):
                path.unlink()


@contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    """Report an error of the operating system about an output, and leave errors about other files as they are."""
    target = path.resolve()
    ours = tuple(map(os.fspath, (target, _beside(target, "part"), _beside(target, "old"))))
    try:
        yield
    except OSError as error:
        if error.filename is not None and not os.fspath(error.filename).startswith(ours):
            raise
        raise BioclipError(f"{path} cannot be written: {reason_of(error, path)}; nothing was kept") from error


def _flush_to_disk(path: Path) -> None:
    # Windows flushes files that are open for writing only. A copy of a read-only file may not be opened for that.
    writable = bool(path.stat().st_mode & stat.S_IWUSR)
    if not writable and system.is_windows():
        return
    with path.open("rb+" if writable else "rb") as file:
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Make a rename survive a power cut; Windows cannot open folders and needs no such call."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
