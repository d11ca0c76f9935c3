"""The engine ``local``: shards one after the other in this process. Without a work folder, ``local`` is the plain run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from bioclip_plugin.contracts.engine import ShardJob, ShardResult
from bioclip_plugin.engines.options import LOCAL
from bioclip_plugin.items.request import ClassifyRequest


class LocalEngine:
    """Works in this process."""

    name = LOCAL
    description = "in this process; with --work-folder shard by shard"

    def is_worker(self) -> bool:
        """False: this process has the store."""
        return False

    def check(self, request: ClassifyRequest, workers: int | None) -> None:
        """Refuse nothing: every machine has a process."""
        del request, workers

    def work(self, job: ShardJob) -> Iterator[ShardResult]:
        """Work on each shard, and wait for those that another program has."""
        with closing(job.open_worker()) as worker:
            for shard in job.shards:
                result = worker.work(shard)
                if result is not None:
                    yield result
