"""Files that are whole or not there: written beside the wanted name and renamed when they are finished."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bioclip_core.errors import BioclipError


def check_output(path: Path, *, force: bool = False) -> None:
    """Hear of an output that cannot be written before the work is done.

    Raises:
        BioclipError: if its folder is missing, it is no file, or it exists and ``force`` is not given.
    """
    if not path.parent.is_dir():
        raise BioclipError(f"the folder {path.parent} of the output {path.name} does not exist: make it first")
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


def _flush_to_disk(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
