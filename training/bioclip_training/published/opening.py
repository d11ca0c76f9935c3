"""Bytes of one image of a published collection by its uri: a file, a member of a tar, or a row of a Parquet file."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Generic, NamedTuple, TypeVar

from bioclip_core.errors import ImageError, SourceError
from bioclip_core.files.present import is_file
from bioclip_core.images.decoding import read_bytes
from bioclip_core.process.forks import renew_after_fork
from bioclip_training.catalog.uris import file_of
from bioclip_training.published.parquet_images import ParquetImages, StoredImage, is_parquet
from bioclip_training.published.tar_images import TarImages, is_compressed, unpacked_name

_INDEX_BYTES = 256 << 20
"""Limit of the indices of tars in memory: 24 bytes per member, so ten million members."""
_ROW_FILES = 8
"""Parquet files with rows in memory, each at most ``parquet_images.WINDOW_BYTES``."""

Key = TypeVar("Key")
Value = TypeVar("Value")


class Place(NamedTuple):
    """Where an image of a source lies."""

    path: Path | None
    """The file that holds it; None if it does not exist."""
    at: int = 0
    """Its offset or row in that file; 0 for a file of its own, and for a part that does not exist."""


class ImageOpener:
    """The images of one source, by uri. May be used from many threads; no file stays open between two calls for files and tars."""

    def __init__(self, root: Path, *, unpacked: Path | None = None) -> None:
        """Prepare an opener; nothing is read before the first call.

        Args:
            root: folder that uris are relative to; the folder of the file, if a source is a single file.
            unpacked: folder in which compressed tars were unpacked by :func:`unpack`; without it they are refused.
        """
        self._root = root if root.is_dir() else root.parent
        self._unpacked = unpacked
        self._start()
        renew_after_fork(self)

    def _start(self) -> None:
        self._tars: _Cache[tuple[Path, int, int], TarImages] = _Cache(_INDEX_BYTES, lambda tar: tar.nbytes)
        self._tables: _Cache[tuple[Path, int, int], ParquetImages] = _Cache(_ROW_FILES, lambda _: 1)

    def after_fork(self) -> None:
        """Begin with empty caches in the child: locks may be held, and files are shared with the parent."""
        self._start()

    def read(self, uri: str) -> bytes:
        """Return the bytes of an image file; see :meth:`stored`."""
        return self.stored(uri).data

    def stored(self, uri: str) -> StoredImage:
        """Return an image file, and the bytes as they are stored.

        Args:
            uri: ``FILE``, ``FILE#MEMBER`` of a tar, or ``FILE#ROW`` of a Parquet file with an image column. Raw pixels of a
                row, as distributed-downloader stores them, are returned as a PNG file.

        Raises:
            ImageError: with stage ``read``, if there is no such file, member or row, or it cannot be read.
        """
        path, part = self._located(uri)
        if part is None:
            return _as_stored(read_bytes(path))
        try:
            if is_parquet(path):
                return self._tables.get(_state(path), lambda: ParquetImages(path)).stored(part)
            if is_compressed(path):
                path = self._plain_tar(path)
            return _as_stored(self._tars.get(_state(path), lambda: TarImages(path)).read(part))
        except SourceError as error:  # here the file is a datum, and a damaged one spoils its own images only
            raise ImageError(str(error), stage="read") from error
        except OSError as error:
            raise ImageError(f"{path} cannot be read: {error.strerror or error}", stage="read") from error

    def place(self, uri: str) -> Place:
        """Return where an image lies. Images that are read in the order of their places are read without going back."""
        path: Path | None = None
        with suppress(ImageError, SourceError, OSError):
            path, part = self._located(uri)
            if part is None:
                return Place(path)
            if is_parquet(path):
                return Place(path, int(part) if part.isascii() and part.isdigit() else 0)
            plain = self._plain_tar(path) if is_compressed(path) else path
            return Place(path, self._tars.get(_state(plain), lambda: TarImages(plain)).place(part)[0])
        return Place(path)

    def close(self) -> None:
        """Close the files of rows and forget all indices; the opener can be used again."""
        self._tars.clear()
        for table in self._tables.clear():
            table.close()

    def _located(self, uri: str) -> tuple[Path, str | None]:
        """Return the file that a uri names, and the part of it; the sign # may also be a part of names."""
        self._check(uri)
        whole = file_of(uri, self._root)
        at = uri.find("#")
        if at < 0 or is_file(whole):
            return whole, None
        while at > 0:
            path = file_of(uri[:at], self._root)
            if is_file(path):
                return path, uri[at + 1 :]
            at = uri.find("#", at + 1)
        missing = file_of(uri[: uri.find("#")], self._root)
        raise ImageError(f"{missing} does not exist, so its member or row cannot be read", stage="read")

    def _check(self, uri: str) -> None:
        name = PurePosixPath(uri.partition("#")[0])
        if not uri or "\0" in uri or name.is_absolute() or ".." in name.parts:
            raise ImageError(f"the uri {uri[:200]!r} is not the name of a file in {self._root}", stage="read")

    def _plain_tar(self, path: Path) -> Path:
        plain = self._unpacked / unpacked_name(path) if self._unpacked else None
        if plain is None or not is_file(plain):
            raise ImageError(
                f"{path} is compressed, so that its members cannot be read in any order: unpack it first", stage="read"
            )
        return plain


def open_image(root: Path, uri: str, *, unpacked: Path | None = None) -> bytes:
    """Return the bytes of an image of a source; see :class:`ImageOpener`, of which a few are kept.

    Raises:
        ImageError: as :meth:`ImageOpener.read`.
    """
    return _opener(root, unpacked).read(uri)


@lru_cache(maxsize=8)
def _opener(root: Path, unpacked: Path | None) -> ImageOpener:
    return ImageOpener(root, unpacked=unpacked)


def _as_stored(data: bytes) -> StoredImage:
    return StoredImage(data, data)


def _state(path: Path) -> tuple[Path, int, int]:
    """Return the key of a file's index, which changes with the file."""
    status = path.stat()
    return path, status.st_size, status.st_mtime_ns


class _Cache(Generic[Key, Value]):
    """Values by key, the least recently used dropped; each is made once, while other keys can be read."""

    def __init__(self, limit: int, size_of: Callable[[Value], int]) -> None:
        self._limit, self._size_of = limit, size_of
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self._making: dict[Key, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                if key in self._values:
                    return self._values[key]
            try:
                made = make()
            finally:
                with self._lock:
                    self._making.pop(key, None)
            self._put(key, made)
            return made

    def clear(self) -> list[Value]:
        """Forget all values, and return them."""
        with self._lock:
            values, self._values = list(self._values.values()), OrderedDict()
        return values

    def _put(self, key: Key, value: Value) -> None:
        with self._lock:
            self._values[key] = value
            # A dropped value may be in use in another thread; it ends with its last reader.
            while len(self._values) > 1 and sum(map(self._size_of, self._values.values())) > self._limit:
                self._values.popitem(last=False)
