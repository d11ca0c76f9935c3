"""WebDataset shards as a source: each image in a tar is an item that is read in place, with its sample's JSON as metadata."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from bioclip_core.errors import SourceError
from bioclip_core.files.archive_tar import FAULTS, decompressed
from bioclip_core.files.archives import damaged
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.shared.table_rows import fields_of, item_fields
from bioclip_plugin.items.media import MediaItem, Unlisted, path_of, uri_of
from bioclip_plugin.sources.folder import IMAGE_SUFFIXES
from bioclip_training.shards.manifest import MANIFEST_FILE

_BLOCK = 512
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")
_MOST_JSON_BYTES = 1 << 20  # a larger one is no description of an image, and stays unread
_MOST_HEADER_BYTES = 1 << 20  # a name or attribute that claims more is damage
_LOOKED_OVER, _CHUNK = 1 << 30, 1 << 20  # bytes of what a compressed file holds
_ENCODING = "utf-8"


class ShardsSource:
    """Lists a tar of images, as ``shards write`` and WebDataset make them (``KEY.jpg`` with ``KEY.json``), or a folder of ours.

    Only headers and JSON members are read to list it. An item's uri is ``shard.tar#KEY.jpg``.
    """

    name = "shards"

    def takes(self, address: str) -> bool:
        path = path_of(address)
        try:
            if path.is_dir():
                return (path / MANIFEST_FILE).is_file()
            if not path.is_file():
                return False
            with path.open("rb") as file:
                start = file.read(_BLOCK)
        except (OSError, ValueError):
            return False
        return _is_header(start) or (start.startswith(_COMPRESSED) and ".tar" in path.suffixes)

    def items(self, address: str, options: ListingOptions) -> Iterator[MediaItem | Unlisted]:  # noqa: ARG002
        path = Path(address) if Path(address).exists() else path_of(address)
        if path.is_dir():
            yield from _items_of_folder(path)
        else:
            yield from _items_of_shard(path)


def _items_of_folder(folder: Path) -> Iterator[MediaItem | Unlisted]:
    """The shards that a folder of ``shards write`` names, each read by itself: one that is damaged ends nothing."""
    from bioclip_training.shards.manifest import Manifest

    for shard in Manifest.read(folder).shards:
        file = folder / shard.file
        if file.parent != folder:
            yield Unlisted(uri_of(file), "the manifest names a shard outside its folder")
            continue
        try:
            yield from _items_of_shard(file)
        except SourceError as error:
            yield Unlisted(uri_of(file), str(error))


def _items_of_shard(path: Path) -> Iterator[MediaItem | Unlisted]:
    uri = uri_of(path)
    try:
        with path.open("rb") as file:
            if file.read(_BLOCK).startswith(_COMPRESSED):
                _check_whole(path)
                raise SourceError(
                    f"the shard {uri} is compressed, and images are read where they lie in it: unpack it first (gunzip)"
                )
            yield from _Shard(uri, path, file).items()
    except OSError as error:
        raise SourceError(f"the shard {uri} cannot be read: {error.strerror or error}") from error


def _check_whole(path: Path) -> None:
    """Go over a compressed file, as far as that takes seconds: one that is cut off need not be unpacked."""
    try:
        with decompressed(path) as plain:
            for _ in range(_LOOKED_OVER // _CHUNK):
                if not plain.read(_CHUNK):
                    return
    except FAULTS as error:
        raise damaged(path, error) from error


def member(uri: str) -> MediaItem | None:
    """The member of a shard that a uri of :class:`ShardsSource` names, with the place of its bytes; None for another uri.

    For items that were read from a store, which keeps uris. A few shards' members are remembered.
    """
    at = uri.find("#")
    while at > 0:
        path = path_of(uri[:at])
        if path.is_file():
            about = path.stat()
            span = _places(path, about.st_size, about.st_mtime_ns).get(uri[at + 1 :])
            return MediaItem(uri=uri, path=path, span=span) if span is not None else None
        at = uri.find("#", at + 1)  # a sign of the shard's own name
    return None


@lru_cache(maxsize=8)
def _places(path: Path, _size: int, _mtime_ns: int) -> Mapping[str, tuple[int, int]]:
    """Offset and length of each image of a shard, by what stands behind its name in a uri."""
    if not ShardsSource().takes(str(path)):
        return {}
    try:
        listed = [item for item in _items_of_shard(path) if isinstance(item, MediaItem) and item.span]
    except SourceError:
        return {}
    start = len(uri_of(path)) + 1
    return {item.uri[start:]: item.span for item in listed if item.span}


@dataclass
class _Sample:
    """Members that lie together and share what comes before the first dot of their names."""

    key: str
    images: list[tuple[str, int, int]] = field(default_factory=list)
    """Name, offset, length."""
    descriptions: dict[str, bytes] = field(default_factory=dict)
    """The content of JSON members, by name."""
    troubles: list[Unlisted] = field(default_factory=list)


class _Shard:
    """One tar in listing."""

    def __init__(self, uri: str, path: Path, file: BinaryIO) -> None:
        self._uri = uri
        self._path = path
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
        self._seen: set[int] = set()
        self._images = 0

    def items(self) -> Iterator[MediaItem | Unlisted]:
        sample = _Sample("")
        for entry in self._members():
            if isinstance(entry, Unlisted):
                sample.troubles.append(entry)
                continue
            key = _key_of(entry.name)
            if key != sample.key:
                yield from self._listed(sample)
                sample = _Sample(key)
            self._add(sample, entry)
        yield from self._listed(sample)
        if not self._images:
            raise SourceError(f"the tar {self._uri} holds no images: members such as 0001.jpg are looked for")

    def _add(self, sample: _Sample, entry: tarfile.TarInfo) -> None:
        suffix = PurePosixPath(entry.name).suffix.lower()
        uri = f"{self._uri}#{uri_of(entry.name)}"
        if suffix == ".json" and entry.isreg():
            sample.descriptions[entry.name] = self._content(entry)
        elif suffix in IMAGE_SUFFIXES and not PurePosixPath(entry.name).name.startswith("."):
            self._images += 1
            if not entry.isreg() or entry.issparse():
                sample.troubles.append(Unlisted(uri, "it is a link or a special member of the shard, no image"))
            elif entry.offset_data + entry.size > self._size:
                sample.troubles.append(Unlisted(uri, "the shard is truncated: it ends before this image does"))
            elif hash(entry.name) in self._seen:
                again = Unlisted(f"{uri}@{entry.offset}", "the shard has a member of this name before")
                sample.troubles.append(again)
            else:
                self._seen.add(hash(entry.name))
                sample.images.append((entry.name, entry.offset_data, entry.size))

    def _content(self, entry: tarfile.TarInfo) -> bytes:
        if entry.size > _MOST_JSON_BYTES:
            return b""
        at = self._file.tell()
        self._file.seek(entry.offset_data)
        data = self._file.read(entry.size)
        self._file.seek(at)
        return data

    def _listed(self, sample: _Sample) -> Iterator[MediaItem | Unlisted]:
        for name, offset, size in sample.images:
            stem = name.rpartition(".")[0]
            text = sample.descriptions.get(f"{stem}.json") or sample.descriptions.get(f"{sample.key}.json") or b""
            uri = f"{self._uri}#{uri_of(name)}"
            yield MediaItem(uri=uri, path=self._path, span=(offset, size), **_described(text))
        yield from sample.troubles

    # Members

    def _members(self) -> Iterator[tarfile.TarInfo | Unlisted]:
        """The members in order. Where a header is damaged the next good one is looked for, and what was lost is said."""
        at = 0
        while at < self._size:
            end = yield from self._run_of_members(at)
            if self._ends_at(end):
                return
            at = self._next_header(end)
            lost = f"bytes {end:,} to {at:,}" if at < self._size else f"what follows byte {end:,}"
            yield Unlisted(f"{self._uri}#{end}", f"the shard is damaged: {lost} cannot be read")

    def _run_of_members(self, at: int) -> Generator[tarfile.TarInfo | Unlisted, None, int]:
        """Members from an offset on; returns where they end or break off."""
        self._file.seek(at)
        guarded: Any = _Guarded(self._file)
        end = at
        try:
            with tarfile.TarFile(fileobj=guarded, mode="r", encoding=_ENCODING, errors="surrogateescape") as tar:
                while (entry := tar.next()) is not None and tar.offset > end:  # a negative size would go round for ever
                    tar.members.clear()  # type: ignore[attr-defined] # a shard of a million would fill the memory
                    end = tar.offset
                    yield entry
        except (tarfile.TarError, ValueError, OverflowError, EOFError):
            return end  # the caller looks at what is there
        return end

    def _ends_at(self, offset: int) -> bool:
        """Whether the shard properly ends here: at a block of zeros, with its file, or in a member that was said to be cut off."""
        self._file.seek(min(offset, self._size))
        return not self._file.read(_BLOCK).strip(b"\0")

    def _next_header(self, after: int) -> int:
        """The offset of the next block that is a good header; the shard's size where there is none."""
        at = after + _BLOCK
        self._file.seek(at)
        while block := self._file.read(_BLOCK):
            if block[257:262] == b"ustar" and _is_header(block):
                return at
            at += _BLOCK
        return self._size


class _Guarded:
    """A shard's bytes for the reader of headers, with no single read larger than any header: its size is the shard's word."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.name = ""
        self.mode = "rb"

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MOST_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _is_header(block: bytes) -> bool:
    """Whether a block is the header of a member: its sum says so."""
    try:
        tarfile.TarInfo.frombuf(block, _ENCODING, "surrogateescape")
    except tarfile.TarError:
        return False
    return True


def _key_of(name: str) -> str:
    """What the members of one sample share: folders, and the name up to its first dot."""
    folder, slash, file = name.rpartition("/")
    return folder + slash + file.partition(".")[0]


def _described(text: bytes) -> dict[str, Any]:
    """Return the fields of an item that a sample's JSON gives: time, place, deployment and sequence, and all else as metadata.

    A box in it is the part of another image from which this one was cut, so it is not a region of this image.
    """
    try:
        cells = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {"metadata": {"description": "the JSON of this sample cannot be read"}}
    if not isinstance(cells, Mapping):
        return {}
    return item_fields({key: value for key, value in cells.items() if value not in (None, "")}, fields_of(cells))
