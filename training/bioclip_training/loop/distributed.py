"""The processes of one training run: a single one, or several under torchrun, over gloo (CPU) or NCCL (GPU)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

from bioclip_core.errors import UsageError

_TIMEOUT = timedelta(minutes=30)  # the first process may validate and save while the others wait
_BUCKET_NUMBERS = 16_000_000  # 64 MB in fp32: few calls, little memory


@dataclass(frozen=True, slots=True)
class World:
    """This process among those of the run."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """Number of this process among those of its machine; the number of its GPU."""

    @property
    def is_first(self) -> bool:
        """True if this is the process that writes and reports."""
        return self.rank == 0

    def rows(self, own: int) -> slice:
        """Return this process's rows of a gathered batch to which each process contributes ``own`` rows."""
        return slice(self.rank * own, (self.rank + 1) * own)

    def gathered(self, rows_BD: torch.Tensor) -> torch.Tensor:
        """Return the rows of all processes in their order, without gradient; each process gives the same number."""
        if self.size == 1:
            return rows_BD
        rows_BD = rows_BD.contiguous()
        parts = [torch.empty_like(rows_BD) for _ in range(self.size)]
        distributed.all_gather(parts, rows_BD)
        return torch.cat(parts)

    def sum_(self, tensors: Iterable[torch.Tensor]) -> None:
        """Add up the same tensors of all processes, in place."""
        for bucket in _buckets(tensors) if self.size > 1 else ():
            flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
            distributed.all_reduce(flat)
            for tensor, part in zip(bucket, torch.split(flat, [tensor.numel() for tensor in bucket]), strict=True):
                tensor.copy_(part.view_as(tensor))

    def same_everywhere_(self, tensors: Iterable[torch.Tensor]) -> None:
        """Give every process the first one's values, in place."""
        for tensor in tensors if self.size > 1 else ():
            distributed.broadcast(tensor.data, src=0)

    def agreed(self, value: Any) -> Any:
        """Return the first process's value of a small object, in every process; wait for all of them."""
        box = [value]
        if self.size > 1:
            distributed.broadcast_object_list(box, src=0)
        return box[0]

    def all_of(self, value: Any) -> list[Any]:
        """Return the values that all processes have of a small object, in their order."""
        box = [value] * self.size
        if self.size > 1:
            distributed.all_gather_object(box, value)
        return box


@contextmanager
def joined_world(device: str) -> Iterator[World]:
    """Give the world of this process, read from torchrun's environment, and leave it at the end.

    Raises:
        UsageError: if torchrun's environment is incomplete.
    """
    world = _world_of_environment()
    begun_here = world.size > 1 and not distributed.is_initialized()
    if begun_here:
        distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo", timeout=_TIMEOUT)
    try:
        yield world
    finally:
        if begun_here:
            distributed.destroy_process_group()


def _world_of_environment() -> World:
    if "WORLD_SIZE" not in os.environ:
        return World()
    try:
        rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        return World(rank, size, int(os.environ.get("LOCAL_RANK", rank)))
    except (KeyError, ValueError) as error:
        raise UsageError(
            f"WORLD_SIZE is set and {error} is not usable: start several processes with "
            "torchrun --nproc-per-node N -m -- bioclip_plugin train ..., or unset WORLD_SIZE"
        ) from None


def _buckets(tensors: Iterable[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Yield the tensors in groups of one type and limited size, each of which is added up in one call."""
    bucket: list[torch.Tensor] = []
    for tensor in tensors:
        numbers = sum(other.numel() for other in bucket) + tensor.numel()
        if bucket and (bucket[0].dtype != tensor.dtype or numbers > _BUCKET_NUMBERS):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket
