"""Options of the execution of a run: which engine, and where its shards lie."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from bioclip_core.errors import UsageError
from bioclip_core.options import check_options

LOCAL = "local"
"""Name of the engine that needs no work folder: without one it is the plain run in this process."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Where the images of a run are worked on. Nothing of it enters the identity of a result."""

    engine: str = LOCAL
    """Where images are worked on: local, slurm, ray, or an engine of a plugin; `plugins` shows them."""
    work_folder: Path | None = None
    """Folder for the shards of a distributed run and their parts, which every worker must see under the same path.

    The same command with the same folder continues.
    """
    engine_workers: int | None = field(
        default=None, metadata={"low": 1, "high": 100_000, "automatic": "one per GPU, without GPUs one per machine"}
    )
    """Number of workers that the engine starts."""
    shard_size: int = field(default=2_000, metadata={"low": 1, "high": 100_000})
    """Images per shard: as much as a worker that is lost has to do again."""

    def __post_init__(self) -> None:
        check_options(self)
        if self.engine != LOCAL and self.work_folder is None:
            raise UsageError(
                f"the engine {self.engine} needs a folder that every worker sees: give --work-folder FOLDER"
            )

    @property
    def is_distributed(self) -> bool:
        """True if the run goes through shards."""
        return self.work_folder is not None
