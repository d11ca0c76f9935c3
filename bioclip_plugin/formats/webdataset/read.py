"""WebDataset shards as a source: each image in a tar is read in place, with its sample's JSON as metadata."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from bioclip_core.errors import DataError, SourceError
from bioclip_core.files.archive_tar import FAULTS, decompressed
from bioclip_core.files.archives import damaged
from bioclip_core.files.documents import parse_document
from bioclip_core.files.present import exists, is_file, is_folder
from bioclip_core.files.tar_members import BLOCK, COMPRESSED, LostBytes, Member, is_header, members_in_place
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.shared.stated_values import StatedValues, fields_in
from bioclip_plugin.items.media import MediaItem, Unlisted, path_of, uri_of
from bioclip_plugin.sources.folder import IMAGE_SUFFIXES
from bioclip_training.shards.manifest import MANIFEST_FILE, Manifest

_MOST_JSON_BYTES = 1 << 20  # a larger file is not the description of an image, and stays unread
_MOST_OTHERS = 10_000  # files of other kinds in one folder, after which no tar is looked for
_LOOKED_OVER, _CHUNK = 1 << 30, 1 << 20  # bytes of a decompressed file


class ShardsSource:
    """Lists a tar of images, as ``shards write`` and WebDataset make them (``KEY.jpg`` with ``KEY.json``), or a folder of tars.

    A listing reads headers and JSON members only. An item's uri is ``shard.tar#KEY.jpg``.
    """

    name = "shards"

    def takes(self, address: str) -> bool:
        path = path_of(address)
        try:
            if is_folder(path):
                return is_file(path / MANIFEST_FILE) or bool(_tars_alone(path))
            if not is_file(path):
                return False
            with path.open("rb") as file:
                start = file.read(BLOCK)
        except (OSError, ValueError):
            return False
        return is_header(start) or (start.startswith(COMPRESSED) and ".tar" in path.suffixes)

    def items(self, address: str, options: ListingOptions) -> Iterator[MediaItem | Unlisted]:
        path = Path(address) if exists(Path(address)) else path_of(address)
        values = StatedValues(uri_of(path), options, partial(_cells, path))
        return _items_of(path, partial(_described, values))


Describe = Callable[[str, bytes], dict[str, Any]]
"""Function that returns fields of an item from its uri and the JSON of its sample."""


def _items_of(path: Path, describe: Describe) -> Iterator[MediaItem | Unlisted]:
    return _items_of_folder(path, describe) if is_folder(path) else _items_of_shard(path, describe)


def _cells(path: Path, name: str) -> Iterator[tuple[str, object]]:
    """Yield a value of each sample's JSON, for the order of its dates."""

    def describe(_uri: str, text: bytes) -> dict[str, Any]:
        with suppress(ValueError, RecursionError):
            return {"metadata": {name: _values_in(text).get(name)}}
        return {}

    for item in _items_of(path, describe):
        if isinstance(item, MediaItem):
            yield item.uri, item.metadata.get(name)


def _items_of_folder(folder: Path, describe: Describe) -> Iterator[MediaItem | Unlisted]:
    """Yield the items of the shards in a manifest, or of all tars; the listing goes on behind a damaged shard."""
    is_ours = is_file(folder / MANIFEST_FILE)
    files = [folder / shard.file for shard in Manifest.read(folder).shards] if is_ours else _tars_alone(folder)
    for file in files:
        try:
            if not file.is_relative_to(folder) or ".." in file.parts:
                raise SourceError("the manifest names a shard outside its folder")
            yield from _items_of_shard(file, describe)
        except SourceError as error:
            yield Unlisted(uri_of(file), str(error))


def _tars_alone(folder: Path) -> list[Path]:
    """Return the tars of published shards in a folder and in those below it; nothing if there are images beside them.

    A folder of photographs may have a tar among them, and is still a folder of photographs.
    """
    tars = []
    for parent, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            suffix = PurePosixPath(name).suffix.lower()
            if suffix in IMAGE_SUFFIXES:
                return []
            if suffix == ".tar" and not name.startswith("."):
                tars.append(Path(parent) / name)
        if not tars and len(files) > _MOST_OTHERS:
            return []
    return tars


def _items_of_shard(path: Path, describe: Describe) -> Iterator[MediaItem | Unlisted]:
    uri = uri_of(path)
    try:
        with path.open("rb") as file:
            if file.read(BLOCK).startswith(COMPRESSED):
                _check_whole(path)
                raise SourceError(
                    f"the shard {uri} is compressed, and images are read in place: unpack it first (gunzip)"
                )
            yield from _Shard(uri, path, file, describe).items()
    except OSError as error:
        raise SourceError(f"the shard {uri} cannot be read: {error.strerror or error}") from error


def _check_whole(path: Path) -> None:
    """Decompress a file as far as that takes seconds: unpacking a truncated one would be of no use."""
    try:
        with decompressed(path) as plain:
            for _ in range(_LOOKED_OVER // _CHUNK):
                if not plain.read(_CHUNK):
                    return
    except FAULTS as error:
        raise damaged(path, error) from error


def member(uri: str) -> MediaItem | None:
    """Return the member of a shard that a uri of :class:`ShardsSource` names, with the place of its bytes; None for others.

    This is for items from a store, which keeps uris. The members of a few shards are cached.
    """
    at = uri.find("#")
    while at > 0:
        path = path_of(uri[:at])
        if is_file(path):
            stat = path.stat()
            span = _places(path, stat.st_size, stat.st_mtime_ns).get(uri[at + 1 :])
            return MediaItem(uri=uri, path=path, span=span) if span is not None else None
        at = uri.find("#", at + 1)  # a sign in the shard's own name
    return None


@lru_cache(maxsize=8)
def _places(path: Path, _size: int, _mtime_ns: int) -> Mapping[str, tuple[int, int]]:
    """Return offset and length of each image of a shard, by the part of its uri behind the shard's."""
    if not ShardsSource().takes(str(path)):
        return {}
    start = len(uri_of(path)) + 1
    try:
        listed = list(_items_of_shard(path, lambda _uri, _text: {}))
    except SourceError:
        return {}
    return {item.uri[start:]: item.span for item in listed if isinstance(item, MediaItem) and item.span}


@dataclass
class _Sample:
    """Neighbouring members whose names are equal up to the first dot."""

    key: str
    images: dict[str, MediaItem] = field(default_factory=dict)
    """Images without metadata, by the name of the member."""
    descriptions: dict[str, bytes] = field(default_factory=dict)
    """Contents of the JSON members, by name."""
    messages: list[Unlisted] = field(default_factory=list)

    def items(self, describe: Describe) -> Iterator[MediaItem | Unlisted]:
        for name, item in self.images.items():
            texts = (self.descriptions.get(f"{stem}.json") for stem in (name.rpartition(".")[0], self.key))
            yield replace(item, **describe(item.uri, next(filter(None, texts), b"")))
        yield from self.messages


class _Shard:
    """The listing of one tar."""

    def __init__(self, uri: str, path: Path, file: BinaryIO, describe: Describe) -> None:
        self._describe = describe
        self._uri = uri
        self._path = path
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
        self._seen: set[int] = set()
        self._has_images = False

    def items(self) -> Iterator[MediaItem | Unlisted]:
        sample = _Sample("")
        for entry in self._members():
            if isinstance(entry, Unlisted):
                sample.messages.append(entry)
                continue
            folder, slash, file = entry.name.rpartition("/")
            key = folder + slash + file.partition(".")[0]
            if key != sample.key:
                yield from sample.items(self._describe)
                sample = _Sample(key)
            suffix = PurePosixPath(entry.name).suffix.lower()
            if suffix == ".json" and entry.isreg():
                sample.descriptions[entry.name] = self._content(entry)
            elif suffix in IMAGE_SUFFIXES and not PurePosixPath(entry.name).name.startswith("."):
                self._has_images = True
                self._add_image(sample, entry)
        yield from sample.items(self._describe)
        if not self._has_images:
            raise SourceError(f"the tar {self._uri} does not hold images: members such as 0001.jpg are needed")

    def _add_image(self, sample: _Sample, entry: Member) -> None:
        uri = f"{self._uri}#{uri_of(entry.name)}"
        if not entry.isreg() or entry.issparse():
            sample.messages.append(Unlisted(uri, "it is a link or a special member of the shard, not an image"))
        elif entry.offset_data + entry.size > self._size:
            sample.messages.append(Unlisted(uri, "the shard is truncated: it ends before this image does"))
        elif hash(entry.name) in self._seen:
            sample.messages.append(
                Unlisted(f"{uri}@{entry.offset}", "duplicate member; the first one of this name is used")
            )
        else:
            self._seen.add(hash(entry.name))
            sample.images[entry.name] = MediaItem(uri, self._path, span=(entry.offset_data, entry.size))

    def _content(self, entry: Member) -> bytes:
        if entry.size > _MOST_JSON_BYTES:
            return b""
        at = self._file.tell()
        self._file.seek(entry.offset_data)
        data = self._file.read(entry.size)
        self._file.seek(at)
        return data

    def _members(self) -> Iterator[Member | Unlisted]:
        """Yield the members in order, with a message for each damaged part."""
        for entry in members_in_place(self._file):
            if isinstance(entry, LostBytes):
                yield Unlisted(f"{self._uri}#{entry.start}", f"the shard is damaged: {entry} cannot be read")
            else:
                yield entry


def _described(values: StatedValues, uri: str, text: bytes) -> dict[str, Any]:
    """Return the fields of an item that a sample's JSON gives: time, place, deployment and sequence, and all else as metadata.

    A box in it is the part of another image from which this one was cut, so it is not a region of this image.
    """
    try:
        cells = _values_in(text)
    except DataError:
        return {"metadata": {"description": "the JSON of this sample cannot be read"}}
    rest = {key: value for key, value in cells.items() if value not in (None, "")}
    return values.item_fields(rest, fields_in(rest), uri.partition("#")[2]) if rest else {}


def _values_in(text: bytes) -> Mapping[str, Any]:
    """Return the JSON object of a sample; empty without one.

    Raises:
        DataError: for text that is not JSON.
    """
    cells: Any = parse_document(text, Any, name="the JSON of a sample") if text else {}
    return cells if isinstance(cells, Mapping) else {}
