"""The actor of the engine ``ray``: a worker in a process of Ray. Nothing here imports Ray."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from bioclip_core.errors import BioclipError
from bioclip_plugin.contracts.engine import ShardWorker


class ShardActor:
    """Turns names of shards into counts. Errors come back as text: an exception would end the whole dataset, or its row."""

    def __init__(self, open_worker: Callable[[], ShardWorker], threads: int, directory: str) -> None:
        """Open the worker; the model follows with the first image.

        Args:
            open_worker: opens it.
            threads: threads of the model. Ray sets one per logical CPU of the actor, which would leave most of a machine idle.
            directory: working directory of the command, in which relative paths begin.
        """
        os.environ["OMP_NUM_THREADS"] = str(threads)  # read when torch is imported, which is later
        with suppress(OSError):  # of another machine
            os.chdir(directory)
        self._worker: ShardWorker | None = None
        self._error = ""
        try:
            self._worker = open_worker()
        except BioclipError as error:
            self._error = str(error)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Work on the shards of a batch."""
        rows: dict[str, list[Any]] = {"shard": [], "images": [], "failed": [], "error": []}
        for shard in map(str, batch["shard"]):
            images, failed, error = self._work(shard)
            for name, value in (("shard", shard), ("images", images), ("failed", failed), ("error", error)):
                rows[name].append(value)
        return rows

    def _work(self, shard: str) -> tuple[int, int, str]:
        if self._worker is None:
            return 0, 0, self._error
        try:
            result = self._worker.work(shard)
        except BioclipError as error:
            return 0, 0, str(error)
        assert result is not None
        return result.images, result.failed, ""
