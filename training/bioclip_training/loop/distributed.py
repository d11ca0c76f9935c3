"""The processes of one training run: alone, or several under torchrun, over gloo (CPU) or NCCL (GPU)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from bioclip_core.errors import UsageError

if TYPE_CHECKING:
    import torch

_TIMEOUT = timedelta(minutes=30)  # the first process may validate and save while the others wait


@dataclass(frozen=True, slots=True)
class World:
    """This process among those of the run."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """Among those of this machine; the number of its GPU."""

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and reports."""
        return self.rank == 0

    def rows(self, own: int) -> slice:
        """This process's rows of a gathered batch of which each process holds ``own``."""
        return slice(self.rank * own, (self.rank + 1) * own)

    def gathered(self, rows_BD: torch.Tensor) -> torch.Tensor:
        """The rows of all processes, in their order; each process gives equally many. Carries no gradient."""
        if self.size == 1:
            return rows_BD
        import torch
        from torch import distributed

        rows_BD = rows_BD.contiguous()
        parts = [torch.empty_like(rows_BD) for _ in range(self.size)]
        distributed.all_gather(parts, rows_BD)
        return torch.cat(parts)

    def sum_(self, tensors: Iterable[torch.Tensor]) -> None:
        """Add up the same tensors of all processes, in place."""
        if self.size == 1:
            return
        from torch import distributed

        for bucket in _buckets(tensors):
            flat = _flat(bucket)
            distributed.all_reduce(flat)
            _unflat(flat, bucket)

    def same_everywhere_(self, tensors: Iterable[torch.Tensor]) -> None:
        """Give every process the first one's values, in place."""
        if self.size == 1:
            return
        from torch import distributed

        for tensor in tensors:
            distributed.broadcast(tensor.data, src=0)

    def agreed(self, value: Any) -> Any:
        """The first process's value of something small, in every process."""
        if self.size == 1:
            return value
        from torch import distributed

        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    def all_of(self, value: Any) -> list[Any]:
        """Something small of every process, in their order."""
        if self.size == 1:
            return [value]
        from torch import distributed

        box: list[Any] = [None] * self.size
        distributed.all_gather_object(box, value)
        return box


@contextmanager
def joined_world(device: str) -> Iterator[World]:
    """This process's world: read from torchrun's environment, and left again at the end.

    Raises:
        UsageError: if torchrun's environment is there only in part.
    """
    if "WORLD_SIZE" not in os.environ:
        yield World()
        return
    from torch import distributed

    try:
        rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        local_rank = int(os.environ.get("LOCAL_RANK", rank))
    except (KeyError, ValueError) as error:
        raise UsageError(
            f"WORLD_SIZE is set and {error} is not usable: start several processes with "
            "torchrun --nproc-per-node N -m -- bioclip_plugin train ..., or unset WORLD_SIZE"
        ) from None
    if size == 1:
        yield World()
        return
    begun_here = not distributed.is_initialized()
    if begun_here:
        distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo", timeout=_TIMEOUT)
    try:
        yield World(rank, size, local_rank)
    finally:
        if begun_here:
            distributed.destroy_process_group()


_BUCKET_NUMBERS = 16_000_000  # 64 MB in fp32: few calls, little memory


def _buckets(tensors: Iterable[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    bucket: list[torch.Tensor] = []
    for tensor in tensors:
        if bucket and (
            bucket[0].dtype != tensor.dtype or sum(t.numel() for t in bucket) + tensor.numel() > _BUCKET_NUMBERS
        ):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket


def _flat(tensors: list[torch.Tensor]) -> torch.Tensor:
    import torch

    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def _unflat(flat: torch.Tensor, tensors: list[torch.Tensor]) -> None:
    start = 0
    for tensor in tensors:
        tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
        start += tensor.numel()
