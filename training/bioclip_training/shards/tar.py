"""A tar that is always the same bytes for the same members, hashed while it is written, and renamed when it is whole."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from bioclip_core.files.whole import replacing_file

_HEADER_BYTES = 512


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a member's bytes lie in the tar."""

    offset: int
    bytes: int


@contextmanager
def writing_shard(file: Path) -> Iterator[ShardFile]:
    """Write a shard as a draft, which takes the name of the file when the block ends and is removed when it fails."""
    with replacing_file(file) as draft, draft.open("wb") as raw:
        shard = ShardFile(file, raw)
        yield shard
        shard.finish()


class ShardFile:
    """A shard that is being written, see :func:`writing_shard`."""

    def __init__(self, file: Path, raw: BinaryIO) -> None:
        self.file = file
        self._stream = _Hashing(raw)
        # Ustar, without owner and time: the bytes do not depend on when and by whom they were written.
        stream = cast(BinaryIO, self._stream)
        self._tar = tarfile.TarFile(file.name, fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT)

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._stream.count

    def add(self, name: str, data: bytes) -> Stored:
        """Append a member."""
        about = tarfile.TarInfo(name)
        about.size, about.mode = len(data), 0o644
        self._tar.addfile(about, io.BytesIO(data))
        blocks = -(-len(data) // _HEADER_BYTES) * _HEADER_BYTES
        return Stored(self._tar.offset - blocks, len(data))

    @property
    def sha256(self) -> str:
        """Digest of the bytes written so far."""
        return self._stream.hash.hexdigest()

    def finish(self) -> None:
        """Write the end of the archive."""
        self._tar.close()


class _Hashing:
    """A stream that hashes and counts what goes through it."""

    def __init__(self, raw: BinaryIO) -> None:
        self.raw = raw
        self.hash = hashlib.sha256()
        self.count = 0

    def tell(self) -> int:
        return self.count

    def write(self, data: bytes) -> int:
        self.hash.update(data)
        self.count += len(data)
        return self.raw.write(data)
