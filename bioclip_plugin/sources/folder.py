"""The folder source: image files of a folder and of what is in it, hidden files and sidecars skipped."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from bioclip_core.errors import SourceError
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.items.media import MediaItem, Unlisted, path_of, uri_of

# What cameras, scanners and museums write and Pillow reads; HEIF where the host has a plugin for it (else a failure
# that says so, which is better than silence). A file of another suffix can still be named itself.
IMAGE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .apng .tif .tiff .gif .bmp .dib .webp .jp2 .j2k .j2c .jpc .jpf .jpx "
    ".ppm .pgm .pbm .pnm .pfm .avif .heic .heif .hif .mpo .psd .qoi".split()
)

# Folders that systems and storage devices keep for themselves, with copies and thumbnails of the user's images.
SYSTEM_FOLDERS = frozenset({"__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found"})


class FolderSource:
    """Lists a folder: in each folder first its files, then its folders, both sorted by name.

    Linked folders are followed, and every real folder is listed once, so that loops end. Only the folders on the way down
    and the identities of those seen are kept in memory, besides the names of the folder at hand.
    """

    name = "folder"

    def __init__(self, suffixes: frozenset[str] = frozenset()) -> None:
        """Set up.

        Args:
            suffixes: in lower case, of further files that plugins can open.
        """
        self._suffixes = IMAGE_SUFFIXES | suffixes

    def takes(self, address: str) -> bool:
        return path_of(address).is_dir()

    def items(self, address: str, options: ListingOptions | None = None) -> Iterator[MediaItem | Unlisted]:  # noqa: ARG002
        root = address if Path(address).is_dir() else os.fspath(path_of(address))
        try:
            seen = {_identity(root)}
            files, folders = _entries(root, self._suffixes)
        except OSError as error:
            raise SourceError(
                f"the folder {uri_of(address)} cannot be listed: {_why(error)}; name a folder that you may read"
            ) from error
        yield from files
        waiting = folders[::-1]
        while waiting:
            folder = waiting.pop()
            try:
                identity = _identity(folder)
                if identity in seen:
                    continue
                seen.add(identity)
                files, folders = _entries(folder, self._suffixes)
            except OSError as error:
                yield Unlisted(uri_of(folder), f"the folder cannot be listed: {_why(error)}")
                continue
            yield from files
            waiting.extend(reversed(folders))


def _entries(folder: str, suffixes: frozenset[str]) -> tuple[list[MediaItem | Unlisted], list[str]]:
    """The images and the sub-folders of one folder, each sorted by name."""
    files: list[MediaItem | Unlisted] = []
    folders: list[str] = []
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if _is_folder(entry):
            if entry.name.lower() not in SYSTEM_FOLDERS:
                folders.append(entry.path)
        elif Path(entry.name).suffix.lower() in suffixes:
            if _is_file(entry):
                files.append(MediaItem(uri=uri_of(entry.path), path=Path(entry.path)))
            else:
                files.append(Unlisted(uri_of(entry.path), "it is a link to nothing, or no file"))
    return files, folders


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that points to itself
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def _identity(folder: str) -> tuple[int, int]:
    about = Path(folder).stat()
    return about.st_dev, about.st_ino


def _why(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "no permission"
    if isinstance(error, FileNotFoundError):
        return "it does not exist (any more)"
    return error.strerror or str(error)
