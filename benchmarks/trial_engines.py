"""Trials of runs in shards that take minutes: workers, drivers and nodes that are lost, and Ray beside the plain run.

python benchmarks/trial_engines.py [costs poison driver cluster array pace]
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "engines"))

from engine_samples import install_plugin, make_photos, rows_of  # noqa: E402
from PIL import Image  # noqa: E402

LIMIT_S = 300
SLOW = """

import time
_encode = Mortal.encode_images
def _slow(self, images_BHWC):
    time.sleep(float(os.environ.get("BIOCLIP_TEST_SLEEP", "0")) * len(images_BHWC))
    return _encode(self, images_BHWC)
Mortal.encode_images = _slow
"""


class Place:
    """A folder with photos, the installed model, and commands in processes of their own."""

    def __init__(self, copies: int = 1) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="bioclip-trial-"))
        installed = self.folder / "installed"
        installed.mkdir()
        install_plugin(installed)
        with (installed / "mortal_model.py").open("a") as file:
            file.write(SLOW)
        make_photos(self.folder / "photos")
        for number in range(17 * (copies - 1)):
            colour = (number % 251, number // 251 % 251, 90)
            Image.new("RGB", (16, 16), colour).save(self.folder / "photos" / f"more{number:05}.png")
        (self.folder / "fish.txt").write_text("a red fish\na blue fish\na green fish\n", "utf-8")
        self.deaths = self.folder / "deaths"
        self.environment = {
            **os.environ, "PYTHONPATH": str(installed), "BIOCLIP_TEST_DEATHS": str(self.deaths), "BIOCLIP_PRECISION": "fp32",
            "BIOCLIP_CACHE": str(self.folder / "cache"),
        }  # fmt: skip

    def begin(self, store: str, engine: str = "", *more: str, **variables: str) -> subprocess.Popen[str]:
        """Start a command."""
        given = ["classify", "photos", "--model", "mortal", "--labels", "fish.txt", "--store", store]
        shards = ["--engine", engine, "--work-folder", f"work-{store}", "--shard-size", "5"] if engine else []
        return subprocess.Popen(
            [sys.executable, "-m", "bioclip_plugin", *given, *shards, *more], cwd=self.folder, text=True,
            env={**self.environment, **variables}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def run(self, store: str, engine: str = "", *more: str, **variables: str) -> str:
        """Run a command to its end; return its output."""
        return str(self.begin(store, engine, *more, **variables).communicate(timeout=LIMIT_S)[0])

    def rows(self, store: str) -> list[object]:
        """Return the rows of a store."""
        found: list[object] = rows_of(str(self.folder / store))
        return found

    def parts(self, store: str) -> int:
        """Return the number of parts."""
        return len(list((self.folder / f"work-{store}" / "parts").glob("*/*.parquet")))

    def wait_for_parts(self, store: str, count: int) -> None:
        """Wait until there are some parts."""
        began = time.monotonic()
        while self.parts(store) < count:
            if time.monotonic() - began > LIMIT_S:
                raise TimeoutError(f"{count} parts of {store}")
            time.sleep(0.05)


def poison() -> str:
    """Let Ray's actors exit at one image, always: the image is a failure, and all others are as in a plain run."""
    place = Place()
    place.run("plain.db")
    place.deaths.write_text("1000", "utf-8")
    output = place.run("ray.db", "ray")
    plain, ray = place.rows("plain.db")[0], place.rows("ray.db")[0]
    differ = [(one[0].uri, two[2]) for one, two in zip(plain, ray, strict=True) if one != two]  # type: ignore[call-overload]
    assert [uri for uri, _ in differ] == ["photos/black.png"], (differ, output)
    return f"{1000 - int(place.deaths.read_text())} actors lost; differs: {differ}"


def driver() -> str:
    """Kill the program that plans and loads half-way, and start it again."""
    place = Place(6)
    place.run("plain.db")
    begun = place.begin("ray.db", "ray", BIOCLIP_TEST_SLEEP="0.05")
    place.wait_for_parts("ray.db", 6)
    begun.send_signal(signal.SIGKILL)
    begun.wait()
    had = place.parts("ray.db")
    output = place.run("ray.db", "ray")
    assert place.rows("ray.db") == place.rows("plain.db"), output
    again = place.run("ray.db", "ray")
    last = next(line for line in again.splitlines() if "done" in line)
    return f"killed with {had} of {place.parts('ray.db')} parts; rows equal; again: {last}"


def cluster() -> str:
    """Kill one of two nodes of a cluster."""
    from ray.cluster_utils import Cluster

    place = Place(6)
    place.run("plain.db")
    os.environ.update(
        {"RAY_USAGE_STATS_ENABLED": "0", **{n: place.environment[n] for n in ("PYTHONPATH", "BIOCLIP_PRECISION")}}
    )
    os.environ.update({"BIOCLIP_CACHE": place.environment["BIOCLIP_CACHE"], "BIOCLIP_TEST_SLEEP": "0.1"})
    node: dict[str, Any] = {"num_cpus": 2, "object_store_memory": 80_000_000}
    two = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    second = two.add_node(**node)
    two.wait_for_nodes()
    try:
        begun = place.begin("ray.db", "ray", RAY_ADDRESS=two.address)
        place.wait_for_parts("ray.db", 4)
        two.remove_node(second, allow_graceful=False)
        had = place.parts("ray.db")
        output = begun.communicate(timeout=LIMIT_S)[0]
    finally:
        two.shutdown()  # type: ignore[no-untyped-call]
    assert place.rows("ray.db") == place.rows("plain.db"), output
    first = next(line for line in output.splitlines() if line.startswith("Ray cluster"))
    return f"{first}; a node lost at {had} of {place.parts('ray.db')} parts; rows equal"


def array() -> str:
    """Run arrays of 1 to 4 tasks as processes beside each other, one of which is killed, and submit the lost one again."""
    said = []
    for count in range(1, 5):
        place = Place(4)
        place.run("plain.db")
        place.run("s.db", "slurm")
        tasks = [
            place.begin(
                "s.db",
                "slurm",
                SLURM_ARRAY_TASK_ID=str(task),
                SLURM_ARRAY_TASK_COUNT=str(count),
                BIOCLIP_TEST_SLEEP="0.05",
            )
            for task in range(count)
        ]
        place.wait_for_parts("s.db", 2)
        tasks[0].kill()
        outputs = [task.communicate(timeout=LIMIT_S)[0] for task in tasks[1:]]
        before = place.run("s.db", "slurm").strip().splitlines()[-1] if place.parts("s.db") < 14 else "all shards"
        place.run("s.db", "slurm", SLURM_ARRAY_TASK_ID="0", SLURM_ARRAY_TASK_COUNT="1")
        place.run("s.db", "slurm")
        assert place.rows("s.db") == place.rows("plain.db"), outputs
        said.append(f"{count} tasks, one killed ({before.split('. Continue')[0]}), submitted again: rows equal")
    return "; ".join(said)


def pace() -> str:
    """Compare Ray on one machine with the plain run, start-up apart: medians of the rate that each command prints."""
    model = os.environ.get("BIOCLIP_TRIAL_MODEL", "demo")
    images = Path(os.environ["BIOCLIP_TRIAL_IMAGES"])
    rates: dict[str, list[float]] = {"plain": [], "ray": []}
    for _ in range(int(os.environ.get("BIOCLIP_TRIAL_PAIRS", "3"))):
        for engine, found in rates.items():
            with tempfile.TemporaryDirectory() as name:
                more = ["--engine", "ray", "--work-folder", "w", "--shard-size", "500"] if engine == "ray" else []
                command = [
                    sys.executable,
                    "-m",
                    "bioclip_plugin",
                    "classify",
                    str(images),
                    "--model",
                    model,
                    "--store",
                    "r.db",
                    *more,
                ]
                done = subprocess.run(command, cwd=name, capture_output=True, text=True, timeout=1800, check=False)
                found.append(_seconds(Path(name), engine, done.stdout))
    ratios = [plain / ray for plain, ray in zip(rates["plain"], rates["ray"], strict=True)]
    return f"seconds of work: {rates}; plain / ray: median {statistics.median(ratios):.2f}"


def costs() -> str:
    """Measure what the ledger costs per image, in processor time: listing to shards, writing, reading and loading parts."""
    import numpy as np

    from bioclip_core.classify import Candidate
    from bioclip_core.taxonomy import Taxon
    from bioclip_plugin.engines.parts import About, PartRow, read_part, write_part
    from bioclip_plugin.items.media import MediaItem
    from bioclip_plugin.store.records import ItemRecord, Listed, RegionRecord

    random = np.random.default_rng(0)
    levels = ("kingdom", "phylum", "class", "order", "family", "genus")

    def record(number: int) -> ItemRecord:
        item = MediaItem(f"/data/photos/{number // 1000:05}/IMG_{number:07}.JPG")
        epithets = random.integers(0, 50_000, 5)
        best = tuple(Candidate(Taxon("Animalia", "Chordata", "Aves", "Passeriformes", f"F{n % 90}idae", f"Genus{n % 9000}", f"species{n}",
                                     f"bird {n}"), "species", float(random.random())) for n in epithets)  # fmt: skip
        above = {
            level: (Candidate(Taxon("Animalia", "Chordata", "Aves"), level, float(random.random())),)
            for level in levels
        }
        features = random.standard_normal(768).astype(np.float16)
        region = RegionRecord(None, features, {"species": best, **above}, (), best[0])
        return ItemRecord(Listed(item, number, number + 1, False, None), item, (5, 6), f"{number:064x}", 5, (region,))

    rows = [PartRow(record(number), (5, 6)) for number in range(2_000)]
    path = Path(tempfile.mkdtemp(prefix="bioclip-trial-")) / "parts" / "part.parquet"
    path.parent.mkdir()
    found: dict[str, list[float]] = {}

    def timed(what: str, work: Callable[[], object]) -> None:
        began = time.process_time()
        work()
        found.setdefault(what, []).append((time.process_time() - began) / len(rows) * 1e6)

    for _ in range(5):
        timed("write", lambda: write_part(path, rows, About("a", "b", len(rows), 0, 1.0, {})))
        timed("read", lambda: read_part(path))
    size = path.stat().st_size / len(rows)
    place = Place(600)  # 10,200 photos
    times: dict[str, float] = {}
    for what, command in (("list", ("slurm",)), ("load", ("local",))):
        if what == "load":
            place.run("c.db", "slurm", "--shard-size", "2000", SLURM_ARRAY_TASK_ID="0")
        began = os.times()
        place.run("c.db", *command, "--shard-size", "2000")
        ended = os.times()
        used = ended.children_user + ended.children_system - began.children_user - began.children_system
        times[what] = used / 10_200 * 1e6
    per_image = {name: f"{statistics.median(values):.0f} us" for name, values in found.items()}
    return (
        f"a part: {size:,.0f} bytes per image (768 numbers, 11 candidates), {per_image}; commands over 10,200 images of the fake model, "
        f"their start included: { ({name: f'{value:.0f} us' for name, value in times.items()}) }"
    )


def _seconds(folder: Path, engine: str, output: str) -> float:
    from bioclip_plugin.store import Store

    with Store.open(folder / "r.db") as store:
        counts = store.run().counts
        assert store.summary(store.run()).todo == 0, output
    return float(sum(one["seconds"] for one in counts["engine"]["workers"]) if engine == "ray" else counts["seconds"])


TRIALS: dict[str, Callable[[], str]] = {
    "costs": costs, "poison": poison, "driver": driver, "cluster": cluster, "array": array, "pace": pace
}  # fmt: skip


if __name__ == "__main__":
    for chosen in sys.argv[1:] or list(TRIALS):
        started = time.monotonic()
        print(f"{chosen}: {TRIALS[chosen]()} ({time.monotonic() - started:.0f} s)", flush=True)
