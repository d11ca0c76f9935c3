"""The folder of fetched images: equal bytes once, under their sha256, and drafts that are renamed when they are whole.

::

    FOLDER/cache.json                     the version of this layout
    FOLDER/3f/3f7a….jpg                   an image, named by its sha256
    FOLDER/manifest/a1/b2/a1b2….json      the record of one address
    FOLDER/working/                       drafts, and claims of addresses that are being fetched
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

from bioclip_core.errors import DataError
from bioclip_core.files.documents import read_document
from bioclip_core.files.leftovers import is_of_killed, mark
from bioclip_core.files.replacing import reason_of, rename
from bioclip_core.files.whole import write_whole

T = TypeVar("T")
LAYOUT = "bioclip-plugin images by address"
VERSION = 1
MANIFEST, WORKING, _ABOUT = "manifest", "working", "cache.json"
_STRANGERS_ALLOWED = frozenset(
    (".ds_store", "thumbs.db", "desktop.ini", "lost+found", ".snapshot", "readme.txt", "readme.md")
)
_OLD_S = 7 * 86_400.0
"""Age of what another machine left behind in the working folder, after which it is removed."""
_IMAGE = re.compile(r"[0-9a-f]{64}\.[a-z0-9]{1,8}")
_numbers = itertools.count()


class DiskFault(OSError):
    """A file of the cache that cannot be written: the machine's fault, not the image's."""

    is_of_disk = True


class Draft:
    """A file that an answer is written to; it is removed unless it is kept."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """Give the empty file to write to."""
        with self.faults():
            file = made(self.path, lambda: self.path.open("wb", buffering=0))
        try:
            yield file
        finally:
            with suppress(OSError):
                file.close()

    def write(self, data: bytes) -> None:
        """Write the whole file."""
        with self.faults():
            made(self.path, lambda: self.path.write_bytes(data))

    def flush(self, file: BinaryIO) -> None:
        """Write the bytes to the disk, so that the file is whole after a power cut too."""
        with self.faults():
            file.flush()
            os.fsync(file.fileno())

    @contextmanager
    def faults(self) -> Iterator[None]:
        """Report an error of the system in this block as one of the disk."""
        try:
            yield
        except OSError as error:
            raise DiskFault(error.errno, error.strerror, str(self.path)) from error

    def remove(self) -> None:
        """Remove the file, if it is there."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


def made(path: Path, make: Callable[[], T]) -> T:
    """Make a file in the working folder; a cache that somebody removed meanwhile, to free space, is made again.

    The folder that the cache is in must be there: that of a disk that is gone would be made on another disk.

    Raises:
        OSError: if the system refuses.
    """
    try:
        return make()
    except FileNotFoundError:
        _lay_out(path.parent.parent)
        return make()


def _lay_out(folder: Path) -> None:
    """Make the folders and the description of a cache, in a folder that exists.

    Raises:
        OSError: if the system refuses.
    """
    folder.mkdir(exist_ok=True)
    about = folder / _ABOUT
    if not about.exists():
        write_whole(about, f'{{"layout": "{LAYOUT}", "version": {VERSION}}}\n')
    for name in (MANIFEST, WORKING):
        (folder / name).mkdir(exist_ok=True)


def check_description(folder: Path) -> None:
    """Check that a folder is one of fetched images, of this version. Nothing is changed.

    Raises:
        DataError: if it is not.
    """
    about = folder / _ABOUT
    said = read_document(about, dict, name="the description of a folder of fetched images,")
    if said.get("layout") != LAYOUT:
        raise DataError(f"{about} is not the description of a folder of fetched images: give another folder")
    if said.get("version") != VERSION:
        raise DataError(
            f"the folder {folder} for fetched images has version {said.get('version')!r}, and this program reads "
            f"{VERSION}: give another folder, or use the program that made it"
        )


class Cache:
    """A folder of fetched images. Several threads, programs and machines may use it at the same time."""

    def __init__(self, folder: Path, *, create: bool = True) -> None:
        """Open a folder, or make it.

        Args:
            folder: the folder.
            create: make it if there is none.

        Raises:
            DataError: if it cannot be used, holds other things, or was made by another version.
        """
        self.folder = folder
        if not create and not (folder / _ABOUT).is_file():
            raise DataError(f"{folder} is not a folder of fetched images: give the folder that was given to --fetch")
        try:
            self._open()
        except OSError as error:
            raise DataError(
                f"the folder {folder} for fetched images cannot be used ({reason_of(error, folder)}): give a folder on a disk that "
                "can be written"
            ) from error

    def _open(self) -> None:
        about = self.folder / _ABOUT
        if self.folder.exists() and not self.folder.is_dir():
            raise DataError(f"{self.folder} is a file: give a folder for fetched images")
        if about.exists():
            check_description(self.folder)
        else:
            self._check_strangers()
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            _lay_out(self.folder)
        with suppress(OSError):  # a folder that may only be read: what is in it can be used
            _lay_out(self.folder)
            self._clear()

    def _check_strangers(self) -> None:
        """Refuse a folder with other things, such as a person's photographs; ours without a description is mended."""
        if not self.folder.is_dir() or (self.folder / MANIFEST).is_dir():
            return
        others = [
            entry.name
            for entry in os.scandir(self.folder)
            if entry.name.lower() not in _STRANGERS_ALLOWED and not entry.name.startswith((".", WORKING))
        ]
        if others:
            raise DataError(
                f"the folder {self.folder} for fetched images holds other things ({sorted(others)[0]}): give a new folder"
            )

    def _clear(self) -> None:
        """Remove what killed programs of this machine left, and what any left long ago."""
        long_ago = time.time() - _OLD_S
        with os.scandir(self.folder / WORKING) as entries:
            for entry in entries:
                with suppress(OSError):
                    path = Path(entry.path)
                    owner = path.read_text("ascii", "replace") if path.suffix == ".claim" else path.name.split(".")[0]
                    if is_of_killed(owner) or entry.stat().st_mtime < long_ago:
                        path.unlink()

    def draft(self) -> Draft:
        """Return a new draft."""
        return Draft(self.folder / WORKING / f"{mark()}.{next(_numbers)}.part")

    def path_of(self, sha256: str, suffix: str) -> Path:
        """Return the place of an image."""
        return self.folder / sha256[:2] / f"{sha256}{suffix}"

    def keep(self, draft: Draft, sha256: str, size: int, suffix: str) -> Path:
        """Give a whole draft its place, unless the same bytes are there already.

        Raises:
            DiskFault: if the system refuses.
        """
        path = self.path_of(sha256, suffix)
        if self.is_whole(path, sha256, size):
            draft.remove()
            return path
        with draft.faults():
            path.parent.mkdir(exist_ok=True)
            try:
                rename(draft.path, path)
            except PermissionError:  # Windows, while another program reads the same image
                if not self.is_whole(path, sha256, size):
                    raise
                draft.remove()
        return path

    def images(self) -> Iterator[Path]:
        """Yield the files of images in the order of their names; one folder's names are in memory."""
        for number in range(256):
            folder = self.folder / f"{number:02x}"
            with suppress(FileNotFoundError), os.scandir(folder) as entries:
                names = sorted(entry.name for entry in entries if _IMAGE.fullmatch(entry.name))
                yield from (folder / name for name in names)

    @staticmethod
    def is_whole(path: Path, sha256: str, size: int) -> bool:
        """True if the file is there with these very bytes, which are read."""
        try:
            if path.stat().st_size != size:
                return False
            return sha256_of(path) == sha256
        except OSError:
            return False


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file.

    Raises:
        OSError: if it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_full(error: OSError) -> bool:
    """True if no file can be written before there is more space."""
    return error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
