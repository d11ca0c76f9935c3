"""Names of millions of image files on disk, in eight bytes each."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bioclip_core.errors import SourceError, one_line
from bioclip_core.files.near_names import near_hint
from bioclip_training.published.layout import ReadOptions

Hashes = npt.NDArray[np.int64]
IMAGE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .tif .tiff .gif .bmp .webp .jp2 .j2k .jpf .jpx .ppm .pgm .pbm .avif .heic .heif".split()
)
"""Ends of the names of image files in published collections, in lower case."""
NOT_UTF8 = "images whose file name is not UTF-8: rename them"
NO_FILE = "links to an image that is gone, and other names of images that are no file"
OTHER_FILES = "files among the images whose name does not end like that of an image are not read"


def hashes_of(texts: pa.Array | Sequence[str]) -> Hashes:
    """Return a 64-bit hash per text, good within this process. Two of ten million texts collide once in a hundred thousand runs."""
    values = texts.to_pylist() if isinstance(texts, pa.Array) else texts
    return np.fromiter(map(hash, values), np.int64, len(values))


def _is_in(hashes: Hashes, run: Hashes) -> npt.NDArray[np.bool_]:
    if not len(run):
        return np.zeros(len(hashes), np.bool_)
    places = np.minimum(np.searchsorted(run, hashes), len(run) - 1)
    found: npt.NDArray[np.bool_] = run[places] == hashes
    return found


class ImageFiles:
    """The image files below a folder, by their names relative to it."""

    def __init__(
        self, root: Path, folders: Sequence[str] = ("",), *, suffixes: Collection[str] = IMAGE_SUFFIXES
    ) -> None:
        """List them.

        Args:
            root: folder that names are relative to.
            folders: folders below it that hold images; empty name: all.
            suffixes: ends of the names of images, in lower case.
        """
        self._root, self._folders, self._suffixes = root, list(folders), suffixes
        self._hashes = np.unique(np.fromiter(map(hash, self.names()), np.int64))
        self._used = np.zeros(len(self._hashes), np.bool_)

    def __len__(self) -> int:
        return len(self._hashes)

    def names(self) -> Iterator[str]:
        """Yield the names, sorted within each folder."""
        for folder in self._folders:
            yield from image_names(self._root, folder, self._suffixes)

    def are_there(self, names: pa.Array | Sequence[str]) -> npt.NDArray[np.bool_]:
        """Return True for each name of an image, and note it as used."""
        hashes = hashes_of(names)
        found = _is_in(hashes, self._hashes)
        self._used[np.searchsorted(self._hashes, hashes[found])] = True
        return found

    def unused(self) -> tuple[int, str]:
        """Return the number of images that nothing asked for, and the first of them."""
        count = int((~self._used).sum())
        if not count:
            return 0, ""
        unused = frozenset(self._hashes[~self._used].tolist()) if count < 10_000 else None
        for name in self.names():
            key = hash(name)
            if key in unused if unused is not None else not self._used[np.searchsorted(self._hashes, key)]:
                return count, one_line(name)
        return count, ""

    def hint(self, name: str) -> str:
        """Return the end of a message about a missing image: an existing file with nearly this name."""
        return near_hint(self._root / name)


def image_names(
    root: Path, folder: str = "", suffixes: Collection[str] = IMAGE_SUFFIXES, options: ReadOptions | None = None
) -> Iterator[str]:
    """Yield the names of images below a folder, relative to ``root``, with forward slashes and in order; hidden files are passed.

    Args:
        root: folder that names are relative to.
        folder: folder below it; empty: all of it.
        suffixes: ends of the names of images, in lower case.
        options: count the files that cannot be records: names that are not UTF-8 are skipped then; None: nothing is counted.

    Raises:
        SourceError: if a folder cannot be read.
    """
    start = root / folder
    waiting = [(os.fspath(start), f"{folder}/" if folder else "")]
    linked: set[str] = set()
    while waiting:
        place, prefix = waiting.pop()
        inside: list[tuple[str, str]] = []
        try:
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError as error:
            raise SourceError(f"the folder {place} cannot be read: {error.strerror or error}") from error
        for entry in entries:
            if entry.name.startswith((".", "__MACOSX")):
                continue
            is_named = os.path.splitext(entry.name)[1].lower() in suffixes  # noqa: PTH122
            if is_named and entry.is_file():
                if options is None or _can_be_written(prefix + entry.name, options):
                    yield prefix + entry.name
            elif entry.is_dir():
                if entry.is_symlink() and (target := os.path.realpath(entry.path)) in linked:
                    continue  # links in a circle, or a second one to the same folder
                elif entry.is_symlink():
                    linked.add(target)
                inside.append((entry.path, f"{prefix}{entry.name}/"))
            elif options is not None and is_named:
                options.skip(NO_FILE, one_line(prefix + entry.name))
            elif options is not None:
                options.findings.add(OTHER_FILES, one_line(prefix + entry.name))
        waiting += reversed(inside)


def _can_be_written(name: str, options: ReadOptions) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        options.skip(NOT_UTF8, one_line(name))
        return False
    return True
