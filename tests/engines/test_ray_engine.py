"""The engine ``ray`` on one small Ray of two logical CPUs; and what it does to a cluster and to this process, without Ray."""

from __future__ import annotations

import logging
import os
import platform
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from engine_samples import install_plugin, rows_of

from bioclip_core.errors import BioclipError, UsageError
from bioclip_core.process.environment import environment
from bioclip_plugin import create_plugin_manager
from bioclip_plugin.contracts.engine import ShardJob, ShardResult
from bioclip_plugin.engines import ray_actor, ray_engine
from bioclip_plugin.engines.ray_actor import ShardActor
from bioclip_plugin.engines.ray_engine import Pool, RayEngine, pool_for
from bioclip_plugin.items.request import ClassifyRequest
from bioclip_plugin.plugin_api import BioclipPluginManager

Command = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def one_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small Ray, in whose processes the model of the tests is installed; the file that says how often it ends its process."""
    pytest.importorskip("ray")
    folder = tmp_path_factory.mktemp("installed")
    install_plugin(folder)
    deaths = folder / "deaths"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        patch.setenv("BIOCLIP_TEST_DEATHS", str(deaths))
        patch.syspath_prepend(str(folder))
        patch.setattr(sys, "path", [*sys.path])
        with environment(ray_engine.SETTINGS):
            import ray

            ray.init(
                address="local", num_cpus=2, num_gpus=0, include_dashboard=False, object_store_memory=80_000_000,
                log_to_driver=False, logging_level=logging.ERROR,
            )  # fmt: skip
        yield deaths
        ray.shutdown()


@pytest.fixture
def pm(request: pytest.FixtureRequest) -> Iterator[BioclipPluginManager]:
    request.getfixturevalue("one_ray")
    manager = create_plugin_manager()
    yield manager
    manager.close()


def test_actors_that_end_without_a_word_cost_their_shard_only(command: Command, one_ray: Path) -> None:
    """A plain run, then one in which an actor exits at an image, and the finished run again; one file is corrupt."""
    handler = signal.getsignal(signal.SIGTERM)
    assert command("plain.db")[0] == 3
    one_ray.write_text("1", "utf-8")
    code, output = command("ray.db", "ray")
    assert code == 3, output
    assert one_ray.read_text("utf-8") == "0", "an actor was lost"
    assert rows_of("ray.db") == rows_of("plain.db")
    assert "1 worker, without a GPU" in output
    assert "1 x decode: the file is truncated" in output
    Path("photos/corrupt.jpg").unlink()
    code, output = command("ray.db", "ray")
    assert "0 were done before" not in output
    assert signal.getsignal(signal.SIGTERM) is handler
    assert "RAY_USAGE_STATS_ENABLED" not in os.environ
    from ray._common.usage import usage_lib

    with environment(ray_engine.SETTINGS):
        assert not usage_lib.usage_stats_enabled()
    code, output = command("many.db", "ray", "--engine-workers", "2")
    assert (code, "2 workers would hold all of the 2 CPUs of the Ray cluster" in output) == (2, True)


def never_opened() -> Any:
    raise UsageError("never opened")


class FakeData(SimpleNamespace):
    """Ray Data whose only dataset has these rows."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        super().__init__(
            DataContext=SimpleNamespace(get_current=lambda: SimpleNamespace(enable_progress_bars=True)),
            ActorPoolStrategy=SimpleNamespace,
        )
        self._rows = rows

    def from_items(self, *_: Any, **__: Any) -> FakeData:
        return self

    def map_batches(self, *_: Any, **__: Any) -> FakeData:
        return self

    def iter_rows(self) -> Iterator[dict[str, Any]]:
        return iter(self._rows)


class FakeRay(SimpleNamespace):
    """What the engine asks of Ray before it starts."""

    def __init__(self, fails: str = "") -> None:
        super().__init__(seen={}, given={}, is_up=False, fails=fails)

    def is_initialized(self) -> bool:
        return self.is_up

    def init(self, **given: Any) -> None:
        if self.fails:
            raise ConnectionError(self.fails)
        self.seen, self.given, self.is_up = dict(os.environ), given, True
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def shutdown(self) -> None:
        self.is_up = False

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 8.0, "GPU": 2.0}

    def nodes(self) -> list[dict[str, Any]]:
        return [
            {"Alive": True, "Resources": {"CPU": 4.0}},
            {"Alive": True, "Resources": {"CPU": 4.0}},
            {"Alive": False, "Resources": {}},
        ]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    ray = FakeRay()
    monkeypatch.setattr(ray_engine, "import_module", lambda name: ray)
    return ray


def test_statistics_of_use_are_off_before_ray_is_imported_and_nothing_is_left_in_the_process(
    monkeypatch: pytest.MonkeyPatch, fake: FakeRay
) -> None:
    imported: list[str | None] = []

    def imports(_: str) -> FakeRay:
        imported.append(os.environ.get("RAY_USAGE_STATS_ENABLED"))
        return fake

    monkeypatch.setattr(ray_engine, "import_module", imports)
    handler, before = signal.getsignal(signal.SIGTERM), dict(os.environ)
    with ray_engine._cluster():
        assert fake.is_up
    assert imported[0] == "0"
    assert fake.seen["RAY_USAGE_STATS_ENABLED"] == fake.seen["RAY_worker_niceness"] == "0"
    assert (fake.given["address"], fake.given["include_dashboard"]) == ("local", False)
    assert not fake.is_up
    assert signal.getsignal(signal.SIGTERM) is handler
    assert dict(os.environ) == before


def test_a_connection_of_the_host_stays(fake: FakeRay) -> None:
    fake.is_up = True
    with ray_engine._cluster():
        pass
    assert fake.is_up
    assert fake.given == {}


def test_a_cluster_that_cannot_be_reached_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch, fake: FakeRay) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    version = "Version mismatch: The cluster was started with:\n    Ray: 2.9.0\nThis process was started with:\n    Ray: 2.60.0\n"
    for text, said in (
        ("Traceback of it:\n\nfailed to connect to 10.0.0.1:6379", "failed to connect to 10.0.0.1:6379"),
        (version, " ".join(version.split())),
    ):
        fake.fails = text
        with pytest.raises(BioclipError) as refused:
            RayEngine().check(ClassifyRequest(), None)
        assert not isinstance(refused.value, UsageError), "the command line is right, so that the exit code is 1"
        begins = f"RAY_ADDRESS is auto, and Ray cannot connect to it: {said}; give HOST:PORT"
        assert str(refused.value).startswith(begins)
    monkeypatch.delenv("RAY_ADDRESS")
    with pytest.raises(BioclipError, match="Ray cannot be started on this machine: Version mismatch"):
        RayEngine().check(ClassifyRequest(), 1)


def test_an_address_where_no_cluster_runs_is_refused_at_once(monkeypatch: pytest.MonkeyPatch, fake: FakeRay) -> None:
    """Ray itself says "Failed to connect to GCS within 5 seconds" again and again, for minutes: TinyZero#75, vllm#15385."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
        RayEngine().check(ClassifyRequest(), None)
        assert fake.given["address"] == f"127.0.0.1:{port}"
    fake.is_up, fake.given = False, {}
    for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}", "127.0.0.1:99999"):
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(
            BioclipError, match=f"RAY_ADDRESS is {address}, and nothing answers there .*unset RAY_ADDRESS"
        ) as refused:
            RayEngine().check(ClassifyRequest(), None)
        assert not isinstance(refused.value, UsageError)
    assert not fake.given


def test_a_gpu_that_the_cluster_does_not_have_is_refused_before_images_are_listed(
    monkeypatch: pytest.MonkeyPatch, fake: FakeRay
) -> None:
    monkeypatch.setattr(fake, "cluster_resources", lambda: {"CPU": 8.0})
    with pytest.raises(UsageError, match=r"--device cuda, and Ray on this machine has no GPU: give --device cpu"):
        RayEngine().check(ClassifyRequest(device="cuda"), None)
    with pytest.raises(UsageError, match=r"--device cuda:1: each worker of the engine ray sees one GPU"):
        RayEngine().check(ClassifyRequest(device="cuda:1"), None)
    fake.is_up, fake.given = False, {}
    RayEngine().check(ClassifyRequest(), None)
    assert not fake.given, "Ray is not started where nothing is to be asked"


def test_a_pool_that_a_cluster_cannot_hold_is_refused_before_images_are_listed(
    monkeypatch: pytest.MonkeyPatch, fake: FakeRay
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    RayEngine().check(ClassifyRequest(), None)
    assert fake.given["address"] == "auto"
    with pytest.raises(UsageError, match="3 workers for 2 GPUs: give --engine-workers 2 at most"):
        RayEngine().check(ClassifyRequest(), 3)
    with pytest.raises(UsageError, match="8 workers would hold all of the 8 CPUs"):
        RayEngine().check(ClassifyRequest(device="cpu"), 8)


@pytest.mark.parametrize(
    ("cpus", "gpus", "nodes", "workers", "pool"),
    [
        (2, 0, 1, None, Pool(1, 1.0, 0, 2)),
        (1, 0, 1, None, Pool(1, 0.5, 0, 1)),
        (32, 0, 4, None, Pool(4, 1.0, 0, 8)),
        (32, 0, 4, 8, Pool(8, 1.0, 0, 4)),
        (32, 8, 2, None, Pool(8, 0, 1, 4)),  # GPU actors hold no CPU: the dataset's own tasks need them (ray#44687)
        (2, 1, 1, None, Pool(1, 0, 1, 2)),
        (2, 0, 2, None, Pool(2, 0.5, 0, 1)),  # machines of one CPU each
        (3, 0, 2, None, Pool(2, 1.0, 0, 1)),
    ],
)
def test_there_is_one_worker_per_gpu_or_node_with_the_threads_of_its_share(
    cpus: float, gpus: int, nodes: int, workers: int | None, pool: Pool
) -> None:
    """Ray gives an actor as many threads as it holds CPUs, which is 1 here: a fraction of the machine (ray#28594)."""
    assert pool_for(cpus, gpus, nodes, workers) == pool
    assert pool.cpus * pool.size < cpus


@pytest.mark.parametrize(("cpus", "nodes", "workers"), [(2, 1, 2), (1, 1, 2), (2, 2, 2), (0, 0, None), (4, 2, 9)])
def test_workers_never_hold_every_cpu(cpus: float, nodes: int, workers: int | None) -> None:
    with pytest.raises(UsageError, match=r"--engine-workers|no CPU"):
        pool_for(cpus, 0, nodes, workers)


def test_an_actor_whose_worker_cannot_open_says_why_for_each_shard(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An exception would make Ray start the actor again and again."""

    def refuses() -> Any:
        raise UsageError("the model is not here")

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    rests: list[float] = []
    monkeypatch.setattr(ray_actor, "time", SimpleNamespace(sleep=rests.append))
    rows = ShardActor(refuses, threads=3, directory=str(tmp_path))({"shard": ["a", "b"]})
    assert rows["error"] == [f"on {platform.node()}: the model is not here"] * 2
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert rests == [1, 2], "it leaves the shards to those that work"


def test_an_actor_whose_worker_opens_with_an_error_that_nobody_expects_says_so_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A damaged torch of one machine raises ImportError, which must not end the work of all others."""

    def breaks() -> Any:
        raise ImportError("libtorch.so: undefined symbol")

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ray_actor, "time", SimpleNamespace(sleep=lambda _: None))
    (said,) = ShardActor(breaks, threads=1, directory=str(tmp_path))({"shard": ["a"]})["error"]
    assert said == f"on {platform.node()}: ImportError: libtorch.so: undefined symbol"


def test_an_error_of_a_worker_that_nobody_expects_costs_its_shard_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Raised out of an actor it ends the dataset, or with max_errored_blocks the actor is never replaced: ray#62746, ray#39800."""
    errors = iter(
        [OSError(28, "No space left on device"), RuntimeError("CUDA error: unspecified\nlaunch failure"), None]
    )

    class Failing:
        def work(self, shard: str) -> ShardResult:
            if error := next(errors):
                raise error
            return ShardResult(shard, 5, 0)

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ray_actor, "time", SimpleNamespace(sleep=lambda _: None))
    rows = ShardActor(Failing, threads=1, directory=str(tmp_path))({"shard": ["a", "b", "c"]})  # type: ignore[arg-type]
    assert [error.partition(": ")[2] for error in rows["error"]] == [
        "shard a: OSError: [Errno 28] No space left on device",
        "shard b: RuntimeError: CUDA error: unspecified",
        "",
    ]
    assert rows["images"] == [0, 0, 5]


def test_work_ends_when_every_worker_only_fails_and_goes_on_while_one_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node without the shared disk fails at once, and would take the shards of all others."""

    def rows(*said: tuple[str, str]) -> list[dict[str, Any]]:
        return [
            {"shard": f"{n}", "images": 1, "failed": 0, "error": error, "worker": w}
            for n, (w, error) in enumerate(said)
        ]

    bad, good = ("bad 1", "on bad: no plan"), ("good 2", "")
    pool, job = Pool(2, 1.0, 0, 1), ShardJob(Path(), ClassifyRequest(), ("0",), never_opened, print)
    for given, done in (
        (rows(*[bad] * 9, good, *[bad] * 9, good), 2),
        (rows(*[bad] * 9, *[("other 3", "on other: no plan")] * 5, good), 0),
    ):
        monkeypatch.setattr(ray_engine, "import_module", lambda _, given=given: FakeData(given))
        results = ray_engine._results(job, pool)
        found = []
        with pytest.raises(BioclipError, match=r"on bad: no plan \(the first of \d+ shards\)"):
            found.extend(results)
        assert len(found) == done


def test_what_ray_prints_about_lost_nodes_is_dropped_while_the_engine_has_it(
    monkeypatch: pytest.MonkeyPatch, fake: FakeRay
) -> None:
    """Pages of the raylet's log on standard output, again for each try: among the JSON lines of a command."""
    printed: list[str] = []
    fake.print_to_stdstream = lambda data, **_: printed.append(data)
    own = fake.print_to_stdstream
    with ray_engine._cluster():
        fake.print_to_stdstream("the node is dead", ignore_prefix=False)
    assert (printed, fake.print_to_stdstream is own) == ([], True)
    fake.fails = "no"
    with pytest.raises(BioclipError), ray_engine._cluster():
        pass
    assert fake.print_to_stdstream is own
