"""The interface of an execution engine: where the shards of a run are worked on, in this process, in a batch system, in a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from bioclip_plugin.items.request import ClassifyRequest


@dataclass(frozen=True, slots=True)
class ShardResult:
    """A shard whose part is whole and in the work folder."""

    shard: str
    images: int
    failed: int
    """Images among them that could not be answered, each with its reason in the part."""
    was_done: bool = False
    """True if its part was there already."""


class ShardWorker(Protocol):
    """Works on shards with a model that it opens once. It has everything else from the work folder."""

    def work(self, shard: str, *, waits: bool = True) -> ShardResult | None:
        """Answer the images of a shard and write its part, atomically; a shard that has one is done at once.

        Args:
            shard: its id.
            waits: wait while another living worker has the shard; False returns None then.

        Raises:
            BioclipError: if the shard cannot be worked on. Images that cannot be read are failures in the part, and no error.
        """
        ...

    def close(self) -> None:
        """Give back the model and its threads."""
        ...


@dataclass(frozen=True, slots=True)
class ShardJob:
    """The shards of one run that are to be worked on."""

    folder: Path
    """The work folder, which every worker must see under the same path."""
    request: ClassifyRequest
    shards: tuple[str, ...]
    """Ids of the shards without a part, in the order of the images."""
    open_worker: Callable[[], ShardWorker]
    """Function that opens a worker in the process where it is called; it can be pickled. A worker is to be closed."""
    report: Callable[[str], None]
    """Function that shows one line to the user."""
    workers: int | None = None
    """Number of workers that the user asked for; None leaves it to the engine."""


class ExecutionEngine(Protocol):
    """Has shards worked on. Any shard may be worked on twice, and gives the same part."""

    name: str
    """The name that ``--engine`` takes."""
    description: str
    """One line on the engine, for ``plugins``."""

    def is_worker(self) -> bool:
        """True in a process that only works on shards, such as a task of a batch system: it opens no store and lists nothing."""
        ...

    def check(self, request: ClassifyRequest, workers: int | None) -> None:
        """Refuse what cannot work, before images are listed.

        Raises:
            BioclipError: with what is wrong and what to do.
        """
        ...

    def work(self, job: ShardJob) -> Iterable[ShardResult]:
        """Yield the shards as their parts are there; those that others work on later are left out.

        In a process that is not a worker, the parts are loaded into the store as they are yielded. An engine whose workers
        are started by the user yields nothing there and reports what to do.

        Raises:
            BioclipError: if it cannot go on. Parts that are there stay, and the same command continues.
        """
        ...


@runtime_checkable
class OptionalEngine(Protocol):
    """An engine that needs packages which may be missing."""

    def missing(self) -> str:
        """Return how to install what is missing, such as ``pip install "bioclip-plugin[ray]"``; empty if nothing is.

        It must be cheap: look for packages without importing them.
        """
        ...
