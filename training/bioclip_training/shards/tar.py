"""A tar that is always the same bytes for the same members, hashed while it is written, and renamed when it is whole."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, cast

_HEADER_BYTES = 512


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a member's bytes lie in the tar."""

    offset: int
    bytes: int


class ShardFile:
    """A shard in writing: a draft beside its place, until :meth:`finish`."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._draft = file.with_name(file.name + ".draft")
        self._stream = _Hashing(self._draft.open("wb"))
        # Ustar, without owner and time: nothing in it depends on when and by whom it was written.
        stream = cast(BinaryIO, self._stream)
        self._tar = tarfile.TarFile(str(self._draft), fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT)

    def __enter__(self) -> ShardFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.raw.close()
        self._draft.unlink(missing_ok=True)

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

    def finish(self) -> tuple[int, str]:
        """Close it, flush it to the disk and give it its name; its bytes and sha256."""
        self._tar.close()
        raw = self._stream.raw
        raw.flush()
        os.fsync(raw.fileno())
        raw.close()
        self._draft.replace(self.file)
        return self._stream.count, self._stream.hash.hexdigest()


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
