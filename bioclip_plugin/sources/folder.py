"""The folder source: the image files of a folder and its sub-folders, without hidden files and sidecars."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from bioclip_core.errors import SourceError
from bioclip_core.files.present import is_folder
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.items.media import MediaItem, Unlisted, item_of, path_of, uri_of
from bioclip_plugin.sources.no_images import SYSTEM_FOLDERS, is_of_a_system, why_no_images

# Files of cameras, scanners and museums that Pillow reads; HEIF if the host has a plugin for it (else a failure reports its
# absence). A file with another suffix can still be named by the user.
IMAGE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .apng .tif .tiff .gif .bmp .dib .webp .jp2 .j2k .j2c .jpc .jpf .jpx "
    ".ppm .pgm .pbm .pnm .pfm .avif .heic .heif .hif .mpo .psd .qoi".split()
)


OTHER_FILES = "files in folders that are not images, skipped"
"""Text of the finding about files with other suffixes."""


class FolderSource:
    """Lists a folder: in each folder first its files, then its folders, both sorted by name.

    Linked folders are followed, and every real folder is listed once, so that loops end. Memory holds the folders on the
    way down, the identities of listed folders, and the names of the current folder.
    """

    name = "folder"

    def __init__(self, suffixes: frozenset[str] = frozenset()) -> None:
        """Set up.

        Args:
            suffixes: of further files that plugins can open, in lower case.
        """
        self._suffixes = IMAGE_SUFFIXES | suffixes

    def takes(self, address: str) -> bool:
        return is_folder(path_of(address))

    def why_empty(self, address: str) -> str:
        """Return the reason why a folder lists nothing."""
        return why_no_images(path_of(address), self._suffixes)

    def items(self, address: str, options: ListingOptions | None = None) -> Iterator[MediaItem | Unlisted]:
        findings = (options or ListingOptions()).findings
        root = address if is_folder(Path(address)) else os.fspath(path_of(address))
        seen: set[tuple[int, int]] = set()
        waiting = [root]
        while waiting:
            folder = waiting.pop()
            try:
                stat = Path(folder).stat()
                identity = (stat.st_dev, stat.st_ino)
                if identity in seen:
                    continue
                seen.add(identity)
                files, folders, others = _entries(folder, self._suffixes)
            except OSError as error:
                if folder == root:
                    raise SourceError(
                        f"the folder {uri_of(address)} cannot be listed: {_why(error)}; name a folder that you may read"
                    ) from error
                yield Unlisted(uri_of(folder), f"the folder cannot be listed: {_why(error)}")
                continue
            if others:
                findings.add(OTHER_FILES, uri_of(others[0]), len(others))
            yield from files
            waiting.extend(reversed(folders))


def _entries(folder: str, suffixes: frozenset[str]) -> tuple[list[MediaItem | Unlisted], list[str], list[str]]:
    """Return the images, the sub-folders and the other files of one folder, each sorted by name."""
    files: list[MediaItem | Unlisted] = []
    folders: list[str] = []
    others: list[str] = []
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if _is(entry.is_dir):
            if entry.name.lower() not in SYSTEM_FOLDERS:
                folders.append(entry.path)
        elif Path(entry.name).suffix.lower() in suffixes:
            files.append(
                item_of(entry.path)
                if _is(entry.is_file)
                else Unlisted(uri_of(entry.path), "it is a broken link, or not a file")
            )
        elif not is_of_a_system(entry.name):
            others.append(entry.path)
    return files, folders, others


def _is(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except OSError:  # a link that points to itself
        return False


def _why(error: OSError) -> str:
    usual = {PermissionError: "no permission", FileNotFoundError: "it does not exist any more"}
    return usual.get(type(error)) or error.strerror or str(error)
