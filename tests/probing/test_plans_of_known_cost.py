"""Plans of runs whose costs are known: every thread has a clock of its own, which nothing but these costs moves."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bioclip_plugin.contracts.manager import BioclipPluginManager
from bioclip_plugin.hookspecs import hookimpl
from bioclip_plugin.host import Session
from bioclip_plugin.items.media import MediaItem
from bioclip_plugin.plugin_api import Detection
from bioclip_plugin.plugins import create_plugin_manager
from bioclip_plugin.probing import probe as probing
from bioclip_plugin.probing.estimate import Estimate, steady_s
from bioclip_plugin.running import clock as clocks
from bioclip_plugin.running.fetched import Fetching
from bioclip_plugin.running.reading import Reader
from bioclip_plugin.store import Store
from bioclip_plugin.testing import FakeModel

SAMPLE, IMAGES, WORKERS = 30, 3_000, 2


class Clock:
    """A clock for each thread."""

    def __init__(self) -> None:
        self._own = threading.local()

    def perf_counter(self) -> float:
        return float(getattr(self._own, "now", 0.0))

    def process_time(self) -> float:
        return 0.0

    def spend(self, seconds: float) -> None:
        self._own.now = self.perf_counter() + seconds


class Wanted:
    """An image on the web that is there once it was waited for."""

    def __init__(self, path: Path, clock: Clock, cost_s: float) -> None:
        self._path, self._clock, self._left_s = path, clock, cost_s

    def is_done(self) -> bool:
        return not self._left_s

    def wait(self, _seconds: float) -> None:
        self._clock.spend(self._left_s)
        self._left_s = 0.0

    def give_up(self) -> None:
        raise AssertionError("nothing is given up")

    def result(self) -> tuple[Any, str]:
        return SimpleNamespace(path=self._path, sha256=self._path.stem), "https://example.org/a.png"


class Boxes:
    """A detector that finds one animal, and the plugin that registers it."""

    name, version, side = "boxes", "1", 64

    def __init__(self, clock: Clock, cost_s: float) -> None:
        self._clock, self._cost_s = clock, cost_s

    def identity(self) -> dict[str, str]:
        return {"weights_sha256": "w"}

    def detect(self, images: Sequence[Any], device: str) -> list[list[Detection]]:
        self._clock.spend(self._cost_s * len(images))
        return [[Detection(0.0, 0.0, 0.5, 0.5, "animal", 0.9)] for _ in images]

    @hookimpl
    def register_detectors(self, register: Any) -> None:
        register(self)


class World:
    """A run with costs in seconds per image: read, decode, detect, encode, classify, store, and of the network."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, plugins: BioclipPluginManager, **costs: float):
        self.clock, self._costs, self._plugins, self._folder = Clock(), costs, plugins, tmp_path
        for module in (clocks, probing):
            monkeypatch.setattr(module, "time", self.clock)
        model = FakeModel()
        plugins.register(model)
        plugins.register(Boxes(self.clock, costs.get("detect", 0.0)))
        self._spends(monkeypatch, type(model.encoder), "encode_images", "encode", lambda given: len(given[0]))
        self._spends(monkeypatch, Store, "commit", "store", lambda given: len(given[1]))
        self._spends(monkeypatch, Reader, "read", "decode", lambda _: 1)
        self._spends(monkeypatch, probing, "bytes_of", "read", lambda _: 1)
        fetched: dict[str, Wanted] = {}

        def begin(_fetching: Fetching, item: MediaItem, *_: Any) -> Wanted:
            path = self._folder / f"{item.uri.rpartition('/')[2]}"
            return fetched.setdefault(item.uri, Wanted(path, self.clock, costs.get("fetch", 0.0)))

        monkeypatch.setattr(Fetching, "begin", begin)

    def _spends(self, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, stage: str, count: Any) -> None:
        work, is_method = getattr(owner, name), isinstance(owner, type)

        def slow(*given: Any, **named: Any) -> Any:
            self.clock.spend(self._costs.get(stage, 0.0) * count(given[is_method:]))
            return work(*given, **named)

        monkeypatch.setattr(owner, name, slow)

    def plan(self, **options: Any) -> Estimate:
        """Return the plan for many images from a sample of them."""
        items = []
        for number in range(SAMPLE):
            name = f"{number:02}.png"
            Image.fromarray(np.full((8, 8, 3), (255, 6 * number, 3 * number), np.uint8)).save(self._folder / name)
            is_on_web = "fetch" in options
            items.append(MediaItem(f"https://example.org/{name}" if is_on_web else str(self._folder / name)))
        with Session(
            model="fake", labels=["a red fish", "a blue fish"], store=self._folder / "plan.db", workers=WORKERS,
            plugins=self._plugins, **options,
        ) as session:  # fmt: skip
            probe = probing.Probe(session, lambda: session.begin_run(["photos"]), lambda *_: None)
            return Estimate(probe.measure(items), IMAGES, is_complete=True)


@pytest.fixture
def plugins() -> Iterator[BioclipPluginManager]:
    manager = create_plugin_manager(installed=False)
    yield manager
    manager.close()


@pytest.mark.parametrize(
    ("costs", "bottleneck", "per_image_s"),
    [
        ({"decode": 0.1, "encode": 0.02, "store": 0.01}, "decode", 0.1 / WORKERS),
        ({"decode": 0.02, "encode": 0.1, "store": 0.01}, "encode", 0.1),
        ({"decode": 0.02, "encode": 0.01, "store": 0.1}, "store", 0.1),
        ({"read": 0.3, "decode": 0.2, "encode": 0.1}, "read", 0.3 / WORKERS),
        ({"detect": 0.2, "decode": 0.1, "encode": 0.1}, "detect", 0.2),
        ({"fetch": 0.5, "decode": 0.2, "encode": 0.1}, "fetch", 0.5),
        ({"fetch": 0.1, "decode": 0.1, "encode": 0.3}, "encode", 0.3),
    ],
)
def test_the_slowest_stage_is_named_and_gives_the_time_of_the_run(
    costs: dict[str, float], bottleneck: str, per_image_s: float,
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, plugins: BioclipPluginManager,
) -> None:  # fmt: skip
    world = World(monkeypatch, tmp_path, plugins, **costs)
    options = {"fetch": tmp_path / "fetched"} if "fetch" in costs else {}
    plan = world.plan(**options, **({"detector": "boxes"} if "detect" in costs else {}))
    assert plan.measured.failed == 0
    assert plan.measured.bottleneck == bottleneck
    assert plan.measured.stage_s[bottleneck] == pytest.approx(per_image_s)
    _, likely_s, _ = plan.seconds(IMAGES)
    assert likely_s == pytest.approx(IMAGES * per_image_s, rel=0.2)
    assert plan.measured.bytes > 0


def simulated(
    decode: float, encode: float, store: float, images: int, batch: int = 16
) -> tuple[list[tuple[float, int]], float]:
    """Return the commits of a pipeline whose stages have machines of their own, and the time of its end."""
    encoded_at = stored_at = 0.0
    commits = []
    for first in range(0, images, batch):
        count = min(batch, images - first)
        encoded_at = (
            max(encoded_at, 3.0 + decode * (first + count)) + encode * count
        )  # 3 s until the first image is there
        stored_at = max(stored_at, encoded_at) + store * count
        commits.append((stored_at, count))
    return commits, stored_at


@pytest.mark.parametrize("costs", [(0.1, 0.02, 0.01), (0.02, 0.1, 0.01), (0.02, 0.01, 0.1), (0.1, 0.1, 0.1)])
def test_a_forecast_from_few_images_leaves_out_the_time_in_which_the_pipeline_fills(costs: tuple[float, ...]) -> None:
    real_s = simulated(*costs, IMAGES)[1]
    commits, seconds = simulated(*costs, 90)
    assert IMAGES * steady_s(commits, seconds, 0.0) == pytest.approx(real_s, rel=0.05)
    assert IMAGES * seconds / 90 > 1.2 * real_s  # so much too long would it be with the time of the whole sample


def test_stages_that_share_the_processor_are_no_faster_than_it() -> None:
    """Of 90 images 48 were decoded before the first commit, and need no processor any more."""
    commits = [(20.0, 16), (22.0, 32), (25.0, 42)]
    assert steady_s(commits, 25.0, 22.5) == pytest.approx(22.5 / 90)
    assert steady_s(commits, 25.0, 0.0) == pytest.approx(5 / 74)
    assert steady_s(commits[:2], 22.0, 0.0) == pytest.approx(22 / 48)
    assert steady_s([(1.0, 100), (1.1, 1), (1.2, 1)], 1.2, 0.0) == pytest.approx(1.2 / 102)
