"""What a published collection holds: files with samples, and the images in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bioclip_training.published.sample_texts import Described

Kind = Literal["tar", "parquet", "files", "table"]


@dataclass(frozen=True, slots=True)
class Holder:
    """A file, or a folder of loose samples, that holds samples of a collection."""

    name: str
    """Relative to the collection's folder, with ``/``."""
    kind: Kind
    bytes: int
    modified_ns: int

    @property
    def state(self) -> tuple[str, str, int, int]:
        """What changes when the holder changes."""
        return self.name, self.kind, self.bytes, self.modified_ns


@dataclass(frozen=True, slots=True)
class HeldSample:
    """One image of a collection, with what its sample says of it."""

    key: str
    file: str
    """File that holds the image's bytes, relative to the collection's folder."""
    member: str
    """Member of a tar, row of a Parquet file; empty for a file of its own."""
    offset: int
    """Of the bytes in the file; of an image in Parquet the number of its row."""
    size: int
    """Bytes; 0 for an image in Parquet."""
    about: Described
    block: int = 0
    """Part of the file whose samples lie together: a row group of Parquet."""

    @property
    def uri(self) -> str:
        return f"{self.file}#{self.member}" if self.member else self.file
