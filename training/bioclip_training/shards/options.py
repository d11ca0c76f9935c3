"""Options of writing shards, as one frozen record that decides their bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bioclip_core.errors import UsageError
from bioclip_core.options import check_options

if TYPE_CHECKING:
    from bioclip_training.shards.ordered import ShardRows


@dataclass(frozen=True, slots=True)
class ShardOptions:
    """Options of writing shards."""

    splits: tuple[str, ...] = field(default=(), metadata={"flag": "--split"})
    """Only rows with this word in the split column."""
    samples_per_shard: int | None = field(default=1000, metadata={"low": 1, "high": 10**7, "automatic": "1000"})
    """Number of samples in one tar.

    None if ``shard_bytes`` decides.
    """
    shard_bytes: int | None = field(default=None, metadata={"low": 1, "high": 10**12})
    """Size at which a tar is closed."""
    max_side: int = field(default=512, metadata={"low": 16, "high": 16384})
    """Longest side of a stored image in pixels; smaller images keep their size."""
    quality: int = field(default=92, metadata={"low": 1, "high": 95})
    """JPEG quality of images that must be encoded: reduced ones and cut-out regions."""
    workers: int | None = field(default=None, metadata={"low": 1, "automatic": "one per core, at most 16"})
    """Number of threads that read and encode."""

    def __post_init__(self) -> None:
        check_options(self)
        if (self.samples_per_shard is None) == (self.shard_bytes is None):
            raise UsageError(
                "a shard ends by its samples or by its size: give one of --samples-per-shard and --size-mb"
            )

    def settings(self, rows: ShardRows) -> dict[str, Any]:
        """Return all that decides the bytes of the shards, as plain JSON values."""
        return {
            "catalog": rows.identity,
            "splits": sorted(self.splits) or sorted(rows.counts),
            "samples_per_shard": self.samples_per_shard,
            "shard_bytes": self.shard_bytes,
            "max_side": self.max_side,
            "quality": self.quality,
            **({"leakage": rows.leakage} if rows.leakage else {}),
        }
