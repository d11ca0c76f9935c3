"""The engine ``slurm``: a Slurm array whose tasks run the same command. It needs the variables of the environment only.

Ids of tasks say where a task begins among the shards and no more: an array with holes, one that was submitted again in part, and
several arrays at once still do every shard, since each task goes on with whatever has neither a part nor a worker.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from shutil import which

from bioclip_core.errors import UsageError
from bioclip_plugin.contracts.engine import ShardJob, ShardResult
from bioclip_plugin.engines.turns import in_turn
from bioclip_plugin.items.request import ClassifyRequest

_TASK, _COUNT, _FIRST, _STEP = (f"SLURM_ARRAY_TASK_{name}" for name in ("ID", "COUNT", "MIN", "STEP"))
_PROCESS, _PROCESSES = "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"


class SlurmEngine:
    """Works in the tasks of a Slurm array, and in the processes of a step (srun)."""

    name = "slurm"
    description = "in the tasks of a Slurm array, each of which runs the same command"

    def is_worker(self) -> bool:
        """True in a task of an array, and in a step with several processes."""
        return bool(os.environ.get(_TASK, "").strip()) or int_of(os.environ, _PROCESSES, 1) > 1

    def check(self, request: ClassifyRequest, workers: int | None) -> None:
        """Refuse a number of workers, which the array states.

        Raises:
            UsageError: for a number of workers.
        """
        del request
        if workers is not None:
            raise UsageError(
                "--engine-workers is not for the engine slurm: the array has the number of workers, "
                f"sbatch --array=0-{workers - 1} for {workers}"
            )

    def work(self, job: ShardJob) -> Iterator[ShardResult]:
        """In a worker: work on all shards that no other worker has. Elsewhere: say how workers are started."""
        if not self.is_worker():
            tasks = min(len(job.shards), 64)
            how = f"sbatch --array=0-{tasks - 1} SCRIPT, for example; docs/scale.md has a script"
            if which("sbatch") is None:
                how += f". This machine has no sbatch. Without Slurm, start a worker with this command and {_TASK}=0 before it"
            job.report(
                f"Workers are the tasks of an array, each of which runs this same command: {how}. Give this command again to load "
                f"finished shards ({len(job.shards):,} to do)."
            )
            return
        yield from in_turn(job, ordered(job.shards, *place_of_task(os.environ)), waits=False)


def place_of_task(environment: Mapping[str, str]) -> tuple[int, int]:
    """Return the number of this worker and how many there are, as the scheduler states it; only a hint.

    >>> place_of_task({"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "3", "SLURM_ARRAY_TASK_COUNT": "5"})
    (4, 5)
    """
    first, step = int_of(environment, _FIRST, 0), max(1, int_of(environment, _STEP, 1))
    task, tasks = (int_of(environment, _TASK, 0) - first) // step, max(1, int_of(environment, _COUNT, 1))
    process, processes = int_of(environment, _PROCESS, 0), max(1, int_of(environment, _PROCESSES, 1))
    return task * processes + process, tasks * processes


def ordered(shards: Sequence[str], number: int, count: int) -> list[str]:
    """Return all shards, beginning at the share of a worker, so that workers meet late.

    >>> ordered(["a", "b", "c", "d"], 1, 2)
    ['c', 'd', 'a', 'b']
    """
    start = len(shards) * (number % count) // count
    return [*shards[start:], *shards[:start]]


def int_of(environment: Mapping[str, str], name: str, default: int) -> int:
    """Return a whole number of the environment.

    Raises:
        UsageError: if it is not one.
    """
    value = environment.get(name, "")
    try:
        return int(value) if value.strip() else default
    except ValueError:
        raise UsageError(
            f"the variable {name} is {value!r}, and a whole number is needed: it is set by Slurm"
        ) from None
