"""The engine ``local``: shards one after the other in this process. Without a work folder, ``local`` is the plain run."""

from __future__ import annotations

from collections.abc import Iterator

from bioclip_core.errors import UsageError
from bioclip_plugin.contracts.engine import ShardJob, ShardResult
from bioclip_plugin.engines.options import LOCAL
from bioclip_plugin.engines.turns import in_turn
from bioclip_plugin.items.request import ClassifyRequest


class LocalEngine:
    """Works in this process."""

    name = LOCAL
    description = "in this process; with --work-folder shard by shard"

    def is_worker(self) -> bool:
        """False: this process has the store."""
        return False

    def check(self, request: ClassifyRequest, workers: int | None) -> None:
        """Refuse a number of workers.

        Raises:
            UsageError: for a number of workers.
        """
        del request
        if workers is not None:
            raise UsageError(
                "--engine-workers is not for the engine local, which has one worker, this process; --workers has the threads that "
                "decode images"
            )

    def work(self, job: ShardJob) -> Iterator[ShardResult]:
        """Work on each shard, and wait for those that another program has."""
        return in_turn(job, job.shards, waits=True)
