"""A tar that has the same bytes for the same members, is hashed while it is written, and is whole or absent."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bioclip_core.files.whole import replacing_file

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _HashedFile(io.BufferedWriter):
    """A file that is counted and hashed while it is written."""

    def __init__(self, file: Path) -> None:
        super().__init__(io.FileIO(file, "w"))
        self.size, self.hash = 0, hashlib.sha256()

    def write(self, data: ReadableBuffer, /) -> int:
        self.hash.update(data)
        written = super().write(data)
        self.size += written
        return written


class ShardFile:
    """A shard that is being written, see :func:`writing_shard`."""

    def __init__(self, file: Path, stream: _HashedFile) -> None:
        self.file = file
        self._stream = stream
        # Ustar, without owner and time: the bytes do not depend on when and by whom they were written.
        self._tar = tarfile.TarFile(file.name, fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT)

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._stream.size

    @property
    def sha256(self) -> str:
        """Digest of the bytes written so far."""
        return self._stream.hash.hexdigest()

    def add(self, name: str, data: bytes) -> int:
        """Append a member, and return the offset of its bytes in the tar."""
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(data), 0o644
        start = self._tar.offset + tarfile.BLOCKSIZE
        self._tar.addfile(member, io.BytesIO(data))
        return start

    def finish(self) -> None:
        """Write the end of the archive."""
        self._tar.close()


@contextmanager
def writing_shard(file: Path) -> Iterator[ShardFile]:
    """Write a shard as a draft, which takes the name of the file when the block ends and is removed when it fails."""
    with replacing_file(file) as draft, _HashedFile(draft) as stream:
        shard = ShardFile(file, stream)
        yield shard
        shard.finish()
