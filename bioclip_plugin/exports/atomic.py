"""Files that are whole or not there: written beside the wanted name and renamed when they are finished."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bioclip_core.errors import BioclipError


def check_output(path: Path, *, force: bool = False, folder: bool = False) -> None:
    """Hear of an output that cannot be written before the work is done.

    Args:
        folder: whether the output is to be a folder; an empty one may be there already.

    Raises:
        BioclipError: if its folder is missing, it is of the other kind, or it exists and ``force`` is not given.
    """
    if not path.parent.is_dir():
        raise BioclipError(f"the folder {path.parent} of the output {path.name} does not exist: make it first")
    if folder and path.is_dir():
        if any(path.iterdir()) and not force:
            raise BioclipError(f"the output {path} exists already: give another name, or --force to replace it")
        return
    if path.exists() and not path.is_file():
        raise BioclipError(f"the output {path} is a folder or a device: give the name of a file")
    if path.exists() and not force:
        raise BioclipError(f"the output {path} exists already: give another name, or --force to replace it")


@contextmanager
def whole_file(path: Path, *, force: bool = False) -> Iterator[Path]:
    """Give the path of a draft to write; it takes the wanted name when the block ends, and goes when the block fails.

    The draft lies beside the wanted file (the one a link points to), since only within a file system is renaming atomic.

    Raises:
        BioclipError: as :func:`check_output`, and if the operating system refuses to write (a full disk).
    """
    check_output(path, force=force)
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
def whole_folder(path: Path, *, force: bool = False) -> Iterator[Path]:
    """Give an empty folder to fill; it takes the wanted name when the block ends, and goes when the block fails.

    With ``force`` a folder that is there already goes once the new one is whole; what else lies in it goes with it.

    Raises:
        BioclipError: as :func:`check_output`, and if the operating system refuses to write.
    """
    check_output(path, force=force, folder=True)
    target = path.resolve()
    draft, old = (target.with_name(f".{target.name}.{os.getpid()}.{suffix}") for suffix in ("part", "old"))
    try:
        draft.mkdir()
        yield draft
        for file in draft.rglob("*"):
            if file.is_file():
                _flush_to_disk(file)
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
