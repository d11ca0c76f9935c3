"""The actor of the engine ``ray``: a worker in a process of Ray. Nothing here imports Ray."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from bioclip_core.errors import BioclipError, first_line
from bioclip_plugin.contracts.engine import ShardWorker

LONGEST_REST_S = 600.0
"""Longest time for which an actor that fails at every shard waits before it takes the next one."""


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
        self._name = f"{platform.node()} {os.getpid()}"
        self._failures = 0  # one after the other
        self._worker: ShardWorker | None = None
        self._error = ""
        try:
            self._worker = open_worker()
        except BioclipError as error:
            self._error = str(error)
        except Exception as error:  # raised, it would make Ray start the actor again and again
            self._error = f"{type(error).__name__}: {first_line(error)}"

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Work on the shards of a batch."""
        rows: dict[str, list[Any]] = {"shard": [], "images": [], "failed": [], "error": [], "worker": []}
        for shard in map(str, batch["shard"]):
            images, failed, error = self._work(shard)
            row = {"shard": shard, "images": images, "failed": failed, "error": error, "worker": self._name}
            for name, value in row.items():
                rows[name].append(value)
            self._rest(has_failed=bool(error))
        return rows

    def _rest(self, *, has_failed: bool) -> None:
        """Wait after a failure, longer each time: a machine that fails at once would take all shards from those that work."""
        if has_failed:
            time.sleep(min(LONGEST_REST_S, 2.0**self._failures))
        self._failures = self._failures + 1 if has_failed else 0

    def _work(self, shard: str) -> tuple[int, int, str]:
        if self._worker is None:
            return 0, 0, f"on {platform.node()}: {self._error}"
        try:
            result = self._worker.work(shard)
        except BioclipError as error:
            return 0, 0, f"on {platform.node()}: {error}"
        except Exception as error:
            return 0, 0, f"on {platform.node()}: shard {shard}: {type(error).__name__}: {first_line(error)}"
        assert result is not None
        return result.images, result.failed, ""
