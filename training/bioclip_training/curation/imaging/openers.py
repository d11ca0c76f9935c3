"""The images of all sources of a curation by source and uri, compressed tars included, which are unpacked once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from threading import Lock

from bioclip_core.errors import ImageError
from bioclip_core.files.present import is_file
from bioclip_core.nouns import size_of
from bioclip_core.progress import Progress, silent
from bioclip_training.catalog.uris import file_of
from bioclip_training.curation.tallies import Tally
from bioclip_training.published.opening import ImageOpener, Place
from bioclip_training.published.parquet_images import StoredImage, is_parquet
from bioclip_training.published.tar_images import is_compressed, unpack, unpacked_name

UNPACKED = "unpacked"


class Openers:
    """The images of several sources. May be used from many threads."""

    def __init__(self, roots: Mapping[str, Path], unpacked: Path | None = None) -> None:
        """Prepare the openers; nothing is read before the first call.

        Args:
            roots: path of each source by its name.
            unpacked: folder of unpacked copies of compressed tars.
        """
        self._roots = dict(roots)
        self._unpacked = unpacked
        self._unpacking = Lock()
        self._openers = {name: ImageOpener(path, unpacked=unpacked) for name, path in roots.items()}

    def __enter__(self) -> Openers:
        return self

    def __exit__(self, *_: object) -> None:
        for opener in self._openers.values():
            opener.close()

    def read(self, source: str, uri: str) -> bytes:
        """Return the bytes of an image file; see :meth:`stored`."""
        return self.stored(source, uri).data

    def stored(self, source: str, uri: str) -> StoredImage:
        """Return an image as its source holds it. A compressed tar whose unpacked copy was deleted is unpacked again.

        Raises:
            ImageError: if it cannot be read.
        """
        try:
            return self._openers[source].stored(uri)
        except ImageError:
            if not self._unpacked_again(source, uri):
                raise
            return self._openers[source].stored(uri)

    def place(self, source: str, uri: str) -> Place:
        """Return where an image lies."""
        return self._openers[source].place(uri)

    def shown(self, source: str, reason: str) -> str:
        """Return the reason of an error without the place of the source on this machine."""
        root = self._roots[source]
        for folder in dict.fromkeys((str(root), str(root.parent) if not root.is_dir() else str(root))):
            reason = reason.replace(f"{folder}/", "").replace(f"{folder}\\", "")
        return reason

    def unpack(self, holders: Iterable[tuple[str, str]], tally: Tally, progress: Progress = silent) -> None:
        """Unpack the compressed tars among files that hold images, unless they are unpacked already.

        Args:
            holders: source and uri of each file.
            tally: gets a sentence about each, with its size.
            progress: called with the bytes written so far and 0.

        Raises:
            SourceError: if a tar is truncated or damaged, or the disk has too little room.
        """
        assert self._unpacked is not None
        for source, path in self._compressed(holders):
            copy = unpack(path, self._unpacked, progress=progress)
            tally.note(
                f"source {source}: {path.name} is compressed; it was unpacked to read it in any order "
                f"({size_of(copy.stat().st_size)} in kept/images/{UNPACKED})"
            )

    def _unpacked_again(self, source: str, uri: str) -> bool:
        """Unpack the compressed tar that holds an image if its copy is missing; return True if there is one now.

        Another thread may have unpacked it in the meantime.
        """
        if self._unpacked is None or "#" not in uri:
            return False
        with self._unpacking:
            for _, path in self._compressed([(source, uri.partition("#")[0])]):
                if not (self._unpacked / unpacked_name(path)).is_file():
                    unpack(path, self._unpacked)
                return True
        return False

    def _compressed(self, holders: Iterable[tuple[str, str]]) -> Iterator[tuple[str, Path]]:
        for source, uri in holders:
            root = self._roots[source]
            path = file_of(uri, root if root.is_dir() else root.parent)
            if is_file(path) and not is_parquet(path) and is_compressed(path):
                yield source, path
