"""Files that are whole or not there: written beside the wanted name and renamed when they are finished."""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bioclip_core.errors import BioclipError

_DATABASE = b"SQLite format 3\0"
_JOURNAL = re.compile(r"-(wal|shm|journal)$")  # part of a database that is in use, or was when the power failed
_NAMED = 3  # files that are called by their names


def check_output(
    path: Path, *, force: bool = False, database: bool = False, reads: Collection[str | os.PathLike[str]] = ()
) -> None:
    """Hear of an output that cannot be written before the work is done.

    Args:
        database: whether a database may be replaced; otherwise it is taken for somebody's result store.
        reads: files that the same command reads; names of what is no file do not matter.

    Raises:
        BioclipError: if its folder is missing, it is no file, it exists and ``force`` is not given, or replacing it would
            lose something that is no earlier output.
    """
    _check_parent(path)
    if path.exists() and not path.is_file():
        raise BioclipError(f"the output {path} is a folder or a device: give the name of a file")
    if not path.exists():
        return
    if any(_is_same(path, read) for read in reads):
        raise BioclipError(f"the output {path} is what this command reads: give another name")
    if not database and any(_begins_with(part, _DATABASE) for part in (path, _database_of(path))):
        raise BioclipError(
            f"the output {path} is a database, perhaps a result store, and is not replaced: give another name"
        )
    if not force:
        raise BioclipError(f"the output {path} exists already: give another name, or --force to replace it")


def check_folder(path: Path, *, force: bool = False, ours: Collection[str] = ()) -> None:
    """The same for an output that is a folder; an empty one may be there already.

    Args:
        ours: the names that an earlier output may consist of. A folder that holds anything else is never replaced.

    Raises:
        BioclipError: if its folder is missing, it is no folder, it exists and ``force`` is not given, or it holds other things.
    """
    _check_parent(path)
    if path.exists() and not path.is_dir():
        raise BioclipError(f"the output {path} is a file: give the name of a folder")
    held = sorted(one.name for one in path.iterdir()) if path.is_dir() else []
    others = [name for name in held if name not in ours or not (path / name).is_file()]
    if others:
        more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
        raise BioclipError(
            f"the folder {path} holds other things than an earlier output ({', '.join(others[:_NAMED])}{more}), "
            "which would be lost: give the name of a new folder"
        )
    if held and not force:
        raise BioclipError(f"the output {path} exists already: give another name, or --force to replace it")


def _check_parent(path: Path) -> None:
    if not path.parent.is_dir():
        raise BioclipError(f"the folder {path.parent} of the output {path.name} does not exist: make it first")


def _is_same(path: Path, other: str | os.PathLike[str]) -> bool:
    try:
        return path.samefile(other)
    except (OSError, ValueError):  # an address of a database server, a name that cannot be one
        return False


def _database_of(path: Path) -> Path:
    """The database that a file would be the journal of, by its name."""
    return path.with_name(_JOURNAL.sub("", path.name) or path.name)


def _begins_with(path: Path, signature: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(signature)) == signature
    except OSError:  # whoever writes it hears why
        return False


@contextmanager
def whole_file(path: Path, *, force: bool = False, reads: Collection[str | os.PathLike[str]] = ()) -> Iterator[Path]:
    """Give the path of a draft to write; it takes the wanted name when the block ends, and goes when the block fails.

    The draft lies beside the wanted file (the one a link points to), since only within a file system is renaming atomic.

    Raises:
        BioclipError: as :func:`check_output`, and if the operating system refuses to write (a full disk).
    """
    check_output(path, force=force, reads=reads)
    target = path.resolve()
    draft = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        yield draft
        _flush_to_disk(draft)
        draft.replace(target)
    except OSError as error:
        if error.filename is not None and os.fspath(error.filename) not in (os.fspath(draft), os.fspath(target)):
            raise  # another file's trouble
        raise BioclipError(f"{path} cannot be written: {error.strerror or error}; nothing was kept") from error
    finally:
        with suppress(OSError):  # where nothing can be written there is nothing to remove either
            draft.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path, *, force: bool = False, ours: Collection[str] = ()) -> Iterator[Path]:
    """Give an empty folder to fill; it takes the wanted name when the block ends, and goes when the block fails.

    With ``force`` a folder that is there already goes once the new one is whole.

    Raises:
        BioclipError: as :func:`check_folder`, and if the operating system refuses to write.
    """
    check_folder(path, force=force, ours=ours)
    target = path.resolve()
    draft, old = (target.with_name(f".{target.name}.{os.getpid()}.{suffix}") for suffix in ("part", "old"))
    try:
        draft.mkdir()
        yield draft
        for file in draft.rglob("*"):
            if file.is_file():
                _flush_to_disk(file)
        check_folder(target, force=force, ours=ours)  # somebody may have put something there meanwhile
        if target.exists():
            target.replace(old)
        draft.replace(target)
    except OSError as error:
        if error.filename is not None and not os.fspath(error.filename).startswith(
            (os.fspath(draft), os.fspath(target))
        ):
            raise  # another file's trouble
        if old.exists() and not target.exists():
            old.replace(target)
        raise BioclipError(f"{path} cannot be written: {error.strerror or error}; nothing was kept") from error
    finally:
        for folder in (draft, old):
            shutil.rmtree(folder, ignore_errors=True)


def zip_folder(folder: Path, file: Path) -> None:
    """Pack a folder's files; the same files give the same bytes."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in sorted(path for path in folder.rglob("*") if path.is_file()):
            about = zipfile.ZipInfo(member.relative_to(folder).as_posix(), (1980, 1, 1, 0, 0, 0))
            about.compress_type, about.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            with member.open("rb") as source, archive.open(about, "w", force_zip64=True) as packed:
                shutil.copyfileobj(source, packed, 1 << 20)


def _flush_to_disk(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
