"""The engine ``ray``: Ray Data hands out shards to actors, on this machine or in a cluster.

Only names of shards are in the dataset, and only counts come back. Decoding and errors of images are inside the actors, and what is
done is told by our parts and not by Ray, whose own bookkeeping drops rows of failed blocks and writes others twice.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from bioclip_core.errors import BioclipError, UsageError
from bioclip_core.nouns import number_of
from bioclip_core.process.environment import environment
from bioclip_core.process.quiet import importing, quiet
from bioclip_plugin.contracts.engine import ShardJob, ShardResult
from bioclip_plugin.engines.ray_actor import ShardActor
from bioclip_plugin.engines.turns import first_of
from bioclip_plugin.items.request import ClassifyRequest
from bioclip_plugin.running.places import working_directory

INSTALL = 'pip install "bioclip-plugin[ray]"'
ADDRESS = "RAY_ADDRESS"
"""Variable with the address of a running cluster, which Ray's own tools read too."""
SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal", "RAY_worker_niceness": "0"}
"""Variables for Ray while it is imported and started: it sends statistics of its use otherwise, prints lines of its own, and gives way
to every other program of the machine (a niceness of 15)."""
_FAILURES = 5
"""Shards one after the other at which a worker fails until it is taken for one that cannot work."""
_OBJECTS_BYTES = 200_000_000
"""Shared memory of a cluster that is started here; names and counts need less."""
_MOST_BLOCKS = 10_000
_HOST_AND_PORT = re.compile(r"(?:ray://)?([^/\s]+):(\d+)")
_ANSWERS_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Pool:
    """The actors of a run."""

    size: int
    cpus: float
    """Logical CPUs of Ray that each actor holds; its threads are not bound by them."""
    gpus: int
    threads: int
    """Threads of the model in each actor."""


def pool_for(cpus: float, gpus: int, nodes: int, workers: int | None) -> Pool:
    """Return the actors for a cluster: one per GPU, and without GPUs one per node.

    Args:
        cpus: logical CPUs of the cluster.
        gpus: its GPUs, 0 if they are not to be used.
        nodes: its machines.
        workers: number of actors that the user wants.

    Raises:
        UsageError: for actors that the cluster cannot hold, and for those that would leave it no CPU: Ray Data starts its actors
            first and then waits for ever, without a word, for a CPU for its own tasks.
    """
    nodes = max(1, nodes)
    size = workers or gpus or nodes
    threads = max(1, int(cpus / nodes / -(-size // nodes)))
    if gpus:
        if size > gpus:
            raise UsageError(f"{size} workers for {number_of(gpus, 'GPU')}: give --engine-workers {gpus} at most")
        return Pool(size, 0, 1, threads)
    # Machines of one CPU each hold a worker each, if that is what the user leaves to us.
    each = 0.5 if cpus <= 1 or (workers is None and size >= cpus) else 1.0
    if cpus <= 0:
        raise UsageError("the Ray cluster has no CPU: start it with at least one")
    if size * each >= cpus:
        raise UsageError(
            f"{number_of(size, 'worker')} would hold all of the {cpus:g} CPUs of the Ray cluster, which then waits for ever for one "
            f"of its own: give --engine-workers {max(1, int(cpus / each) - 1)} at most; a worker uses the whole machine anyway"
        )
    return Pool(size, each, 0, threads)


class RayEngine:
    """Works in actors of Ray."""

    name = "ray"
    description = "in a Ray cluster, that of RAY_ADDRESS or one on this machine"

    def missing(self) -> str:
        """Return how to install Ray, if it is missing."""
        return INSTALL if find_spec("ray") is None else ""

    def is_worker(self) -> bool:
        """False: Ray starts the workers."""
        return False

    def check(self, request: ClassifyRequest, workers: int | None) -> None:
        """Refuse a pool that the cluster cannot hold, before images are listed."""
        if ":" in request.device:
            raise UsageError(
                f"--device {request.device}: each worker of the engine ray sees one GPU, as the first one; give --device "
                f"{request.device.partition(':')[0]}"
            )
        if os.environ.get(ADDRESS) or workers is not None or request.device not in ("auto", "cpu"):
            with _cluster() as ray:
                _pool(ray, request, workers)

    def work(self, job: ShardJob) -> Iterator[ShardResult]:
        """Yield shards as actors finish them."""
        with _cluster() as ray:
            pool = _pool(ray, job.request, job.workers)
            what = number_of(pool.size, "worker")
            job.report(f"{_place()}: {what}, {'one per GPU' if pool.gpus else 'without a GPU'}")
            try:
                yield from _results(job, pool)
            except BioclipError:
                raise
            except Exception as error:
                if not type(error).__module__.startswith("ray"):
                    raise
                raise BioclipError(f"Ray ended the work: {_reason(error)}") from error


def _results(job: ShardJob, pool: Pool) -> Iterator[ShardResult]:
    with importing():
        data = import_module("ray.data")
    with quiet():  # it warns of its own settings
        context = data.DataContext.get_current()
    options: dict[str, Any] = {"num_gpus": pool.gpus} if pool.gpus else {}
    shards = data.from_items(
        [{"shard": shard} for shard in job.shards], override_num_blocks=min(len(job.shards), _MOST_BLOCKS)
    ).map_batches(
        ShardActor,
        fn_constructor_kwargs={
            "open_worker": job.open_worker,
            "threads": pool.threads,
            "directory": working_directory(),
        },
        batch_size=1,
        compute=data.ActorPoolStrategy(size=min(pool.size, len(job.shards)), max_tasks_in_flight_per_actor=2),
        num_cpus=pool.cpus,
        **options,
    )
    reasons: list[str] = []
    failures: Counter[str] = Counter()  # of each worker, one after the other
    with _silent(context):
        for row in shards.iter_rows():
            if not row["error"]:
                failures[str(row["worker"])] = 0
                yield ShardResult(str(row["shard"]), int(row["images"]), int(row["failed"]))
                continue
            reasons.append(str(row["error"]))
            failures[str(row["worker"])] += 1
            if sum(count >= _FAILURES for count in failures.values()) >= pool.size:
                break
    if reasons:
        raise BioclipError(first_of(reasons))


@contextmanager
def _silent(context: Any) -> Iterator[None]:
    """Switch off the progress bars and lines of Ray Data, which are settings of the process, and put them back."""
    logger = logging.getLogger("ray.data")
    before = context.enable_progress_bars, logger.level
    context.enable_progress_bars = False
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        context.enable_progress_bars = before[0]
        logger.setLevel(before[1])


def _place() -> str:
    return f"Ray cluster at {os.environ[ADDRESS]}" if os.environ.get(ADDRESS) else "Ray on this machine"


def _pool(ray: Any, request: ClassifyRequest, workers: int | None) -> Pool:
    resources = ray.cluster_resources()
    gpus = 0 if request.device == "cpu" else int(resources.get("GPU", 0))
    if request.device not in ("auto", "cpu", "mps") and not gpus:
        raise UsageError(
            f"--device {request.device}, and {_place()} has no GPU: give --device cpu, or start Ray where GPUs are (ray start --num-gpus)"
        )
    nodes = sum(1 for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU"))
    return pool_for(float(resources.get("CPU", 0)), gpus, nodes, workers)


@contextmanager
def _cluster() -> Iterator[Any]:
    """Give Ray, connected; what it does to this process is undone at the end, and a connection of the host stays."""
    with environment(SETTINGS), importing():
        ray: Any = import_module("ray")
    if ray.is_initialized():
        yield ray
        return
    with _raylet_silenced():
        _start(ray)
        try:
            yield ray
        finally:
            with _signals_kept(), suppress(Exception):
                ray.shutdown()


def _start(ray: Any) -> None:
    """Connect to the cluster of the environment, or start one on this machine.

    Raises:
        BioclipError: with the reason.
    """
    address = os.environ.get(ADDRESS)
    _check_answers(address or "")
    local = {} if address else {"include_dashboard": False, "object_store_memory": _OBJECTS_BYTES}
    with environment(SETTINGS), _signals_kept():
        try:
            ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **local)
        except Exception as error:  # of many types, also of the system
            if not address:
                raise BioclipError(f"Ray cannot be started on this machine: {_reason(error)}") from error
            raise BioclipError(
                f"{ADDRESS} is {address}, and Ray cannot connect to it: {_reason(error)}; give HOST:PORT of a cluster that runs, auto for "
                f"one on this machine, or unset {ADDRESS} to start one"
            ) from error


@contextmanager
def _raylet_silenced() -> Iterator[None]:
    """Drop what Ray prints about lost actors and nodes: pages of its own logs on standard output, for each try.

    Lost workers are counted where their shards are worked on again.
    """
    module, name = import_module("ray._private.worker"), "print_to_stdstream"
    original = getattr(module, name, None)
    if original is None:  # of another version
        yield
        return
    setattr(module, name, lambda *_, **__: None)
    try:
        yield
    finally:
        setattr(module, name, original)


def _check_answers(address: str) -> None:
    """Refuse an address where nothing listens: Ray tries again for minutes, with lines of its own.

    Raises:
        BioclipError: with what to do.
    """
    found = _HOST_AND_PORT.fullmatch(address)
    if found is None:  # "auto", or something that Ray explains
        return
    try:
        socket.create_connection((found[1].strip("[]"), int(found[2])), timeout=_ANSWERS_WITHIN_S).close()
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise BioclipError(
            f"{ADDRESS} is {address}, and nothing answers there ({why}): start the cluster (ray start --head), give the address of one "
            f"that runs, or unset {ADDRESS} for Ray on this machine"
        ) from None


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Keep the handler of SIGTERM, which Ray replaces when it starts."""
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if is_main and before is not None:
            signal.signal(signal.SIGTERM, before)


def _reason(error: BaseException) -> str:
    """Return the last line of a trace, and any other text as one line."""
    text = str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (lines[-1] if "Traceback" in text else " ".join(lines) or type(error).__name__)[:300]
