"""Cells of ``benchmarks.scale``: one amount of one thing, measured in its own process and printed as one JSON object.

python -m benchmarks.scale_cells images 10000
"""

from __future__ import annotations

import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from benchmarks import fixtures, machine
from benchmarks.__main__ import command_figures
from benchmarks.memory_worker import PeakWatch, private_bytes

Figures = dict[str, Any]
WARMED = 1_000
"""Images after which memory must no longer grow."""
AHEAD = 4_000
"""Files that lie on the disk at once; a photograph is deleted long after its answer is stored."""
ROWS = 64


def images(amount: int) -> Figures:
    """Real decoding, classification and store of photographs of 500×375, with a fake encoder; memory every 1,000 images."""
    samples: list[int] = []
    with tempfile.TemporaryDirectory() as folder, _fake_session(Path(folder)) as session:
        for _ in session.classify_stream(_files(Path(folder) / "warm", 16)):  # imports and opens what is needed
            pass
        began = time.perf_counter()
        for number, answer in enumerate(
            session.classify_stream(_files(Path(folder) / "timed", amount, first=16)), start=1
        ):
            assert answer.failure is None
            if number % min(WARMED, amount) == 0:
                samples.append(private_bytes())
        seconds = time.perf_counter() - began
        store_mb = sum(file.stat().st_size for file in Path(folder).glob("store.db*")) / 1e6
    figures: Figures = {"seconds": seconds, "per_second": amount / seconds, "store_mb": store_mb}
    if len(samples) > 1:
        figures |= {
            "growth_mb": (max(samples) - samples[0]) / 1e6,
            "private_mb": [round(one / 1e6, 1) for one in samples],
        }
    return figures


def regions(amount: int) -> Figures:
    """Images of 12 megapixels with ``amount`` boxes each through the same pipeline: decoded once, cropped ``amount`` times."""
    from bioclip_plugin.items.media import MediaItem, Region

    count = 16
    with tempfile.TemporaryDirectory() as folder, _fake_session(Path(folder)) as session:
        items = []
        for number, path in enumerate(fixtures.large_photos()[:count] * 2):
            copy = Path(folder) / f"{number:05d}.jpg"
            copy.write_bytes(path.read_bytes() + number.to_bytes(8, "little"))
            boxes = tuple(
                Region(place % 8 / 10, place // 8 % 8 / 10, 0.1 + place % 7 / 100, 0.12, "bench", "1", "animal", 0.9)
                for place in range(amount)
            )
            items.append(MediaItem(str(copy), regions=boxes, detected=True))
        began = time.perf_counter()
        answers = list(session.classify_stream(items))
        seconds = (time.perf_counter() - began) / len(items)
    assert all(answer.failure is None and len(answer.regions) == amount for answer in answers)
    return {"seconds": seconds, "images": len(items), "regions_per_second": amount / seconds}


def encoded(amount: int) -> Figures:
    """The same with a ViT-B/16 over 50,000 labels, through the public Session."""
    from benchmarks import ours
    from bioclip_plugin import Session

    labels = ours.label_set(fixtures.label_files(fixtures.LABEL_COUNTS[1]))
    with (
        tempfile.TemporaryDirectory() as folder,
        Session(model=ours.model_name(), labels=str(labels), store=str(Path(folder) / "store.db")) as session,
    ):
        for _ in session.classify_stream(_files(Path(folder) / "warm", 16)):  # opens the model
            pass
        began = time.perf_counter()
        for answer in session.classify_stream(_files(Path(folder) / "timed", amount, first=16)):
            assert answer.failure is None
        seconds = time.perf_counter() - began
    return {"seconds": seconds, "per_second": amount / seconds}


def labels(amount: int) -> Figures:
    """Open a label set of ``amount`` × 768, answer one image, then groups of rows; private memory beyond the mapped file."""
    import numpy as np
    import torch

    from benchmarks import taxa
    from bioclip_core.classify import Classifier
    from bioclip_core.labels.label_set import LabelSet

    folder = fixtures.wide_label_set(amount)
    rows_BD = taxa.random_units(ROWS, fixtures.WIDE, seed=2).astype(np.float16)
    torch.ones(1).sum()
    before, watch = private_bytes(), PeakWatch()
    began = time.perf_counter()
    classifier = Classifier(LabelSet.open(folder))
    opened_s = time.perf_counter() - began
    classifier.classify(rows_BD[:1])
    first_s = time.perf_counter() - began
    peak_mb = (watch.close() - before) / 1e6
    flat = _median_s(lambda: classifier.classify(rows_BD))
    # Rows near a label, whose probabilities are as peaked as a trained model's.
    near = np.asarray(classifier.labels.embeddings_ND[:: max(1, amount // ROWS)][:ROWS], np.float32)
    near = near + 2.7 * taxa.random_units(len(near), fixtures.WIDE, seed=3)
    peaked_BD = (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float16)
    peaked = _median_s(lambda: classifier.classify(peaked_BD))
    return {
        "seconds": flat / ROWS, "peaked_seconds": peaked / len(peaked_BD), "opened_s": opened_s, "first_answer_s": first_s,
        "private_mb": peak_mb, "rows": ROWS,
    }  # fmt: skip


def stored(amount: int) -> Figures:
    """Write regions until the store holds ``amount``, and time the last ones, the listing of runs and the first results."""
    from benchmarks import bench_export

    folder = Path(os.environ.get("BENCH_SCALE_FOLDER") or fixtures.cache() / "scale-stores")
    folder.mkdir(parents=True, exist_ok=True)
    address = folder / f"stored-{amount}.db"
    for left in folder.glob(f"{address.name}*"):  # of an interrupted call: the time is that of the whole store
        left.unlink()
    began = time.perf_counter()
    bench_export.make(str(address), amount, 1)
    written_s = time.perf_counter() - began
    figures: Figures = {
        "seconds": written_s,
        "per_second": amount / written_s,
        "store_mb": address.stat().st_size / 1e6,
    }
    for name, arguments in {
        "runs list": ["runs", "list", "--store", str(address)],
        "runs show": ["runs", "show", "--store", str(address)],
        "export csv": [
            "export",
            "--store",
            str(address),
            "--format",
            "csv",
            "--force",
            "--output",
            str(folder / "out.csv"),
        ],
    }.items():
        figures[name] = command_figures(*arguments)
    for left in folder.glob(f"stored-{amount}.*"):
        left.unlink()
    (folder / "out.csv").unlink(missing_ok=True)
    return figures


def megadetector(amount: int) -> Figures:
    """Read a MegaDetector file of ``amount`` images in turn with megadetector-utils, processor time against processor time."""
    from benchmarks import bench_formats

    ours, peers = bench_formats.beside_peer("read", bench_formats.file_of(amount), amount, 3)
    times = [mine["process_s"] / theirs["process_s"] for mine, theirs in zip(ours, peers, strict=True)]
    return {
        "seconds": statistics.median(one["process_s"] for one in ours),
        "peer_seconds": statistics.median(one["process_s"] for one in peers),
        "times": statistics.median(times), "all_times": times,
        "peak_mb": max(one["peak_mb"] for one in ours), "peer_peak_mb": max(one["peak_mb"] for one in peers),
    }  # fmt: skip


def ray(amount: int) -> Figures:
    """``--engine ray`` on this machine against the local pipeline, per image after the first eighth, so that start-up falls out.

    Processor time counts the processes of Ray, too: beside other programs it says more than the clock.
    """
    wall: dict[str, list[float]] = {"local": [], "ray": []}
    processor: dict[str, list[float]] = {"local": [], "ray": []}
    size = max(1, amount // 8)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        list(_files(folder / "photos", amount, kept=True))
        for number in range(5):
            for engine, seconds in wall.items():
                work = folder / f"{engine}-{number}"
                more = (
                    ["--engine", "ray", "--work-folder", str(work), "--shard-size", str(size)]
                    if engine == "ray"
                    else []
                )
                arguments = ["classify", str(folder / "photos"), "--model", "demo", "--store", f"{work}.db", *more]
                took = _seconds_between(arguments, Path(f"{work}.db"), size, amount)
                seconds.append(took[0] / (amount - size))
                processor[engine].append(took[1] / (amount - size))
                print(f"{engine}: {took[0]:.1f} s, {took[1]:.1f} s of processors", file=sys.stderr, flush=True)
    slower, more_work = (
        [100 * (r / one - 1) for r, one in zip(t["ray"], t["local"], strict=True)] for t in (wall, processor)
    )
    return {
        "seconds": statistics.median(wall["ray"]), "local_seconds": statistics.median(wall["local"]),
        "slower": statistics.median(slower), "all_slower": slower,
        "processor_slower": statistics.median(more_work), "all_processor_slower": more_work,
    }  # fmt: skip


def _seconds_between(arguments: list[str], store: Path, first: int, last: int) -> tuple[float, float]:
    """Run a command; return the time from the moment at which its store has as many images done to the one at which it has all.

    Returns:
        Wall time, and processor time of the command with its children.
    """
    at: dict[int, tuple[float, float]] = {}
    program = [sys.executable, "-m", "bioclip_plugin", *arguments]
    with subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as command:
        is_over = False
        while last not in at and not is_over:
            time.sleep(0.1)
            is_over = command.poll() is not None
            with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
                (done,) = connection.execute("SELECT count(*) FROM bioclip_listing WHERE status = 1").fetchone()
                for count in (first, last):
                    if done >= count and count not in at:
                        at[count] = time.perf_counter(), _processor_s(command.pid)
        said = command.communicate()[1]
    if last not in at:
        raise RuntimeError(said.decode(errors="replace"))
    return at[last][0] - at[first][0], at[last][1] - at[first][1]


def _processor_s(program: int) -> float:
    """Return the processor time of a process and its living descendants, with that of children which have ended."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            values = path.read_text().rpartition(")")[2].split()
            parents[int(path.parent.name)], ticks[int(path.parent.name)] = int(values[1]), sum(map(int, values[11:15]))
    family, found = {program}, {program}
    while found:
        found = {child for child, parent in parents.items() if parent in found} - family
        family |= found
    return sum(ticks.get(one, 0) for one in family) / os.sysconf("SC_CLK_TCK")


def _fake_session(folder: Path) -> Any:
    """Open a Session with a fake encoder of 8 pixels, so that only the other stages take time."""
    from bioclip_plugin import Session, create_plugin_manager
    from bioclip_plugin.testing import FakeModel

    manager = create_plugin_manager(installed=False)
    manager.register(FakeModel(logit_scale=10.0))
    words = folder / "words.txt"
    words.write_text("a red fish\na green frog\na blue bird\n", encoding="utf-8")
    return Session(model="fake", labels=str(words), store=str(folder / "store.db"), precision="fp32", plugins=manager)


def _files(folder: Path, count: int, *, first: int = 0, kept: bool = False) -> Iterator[str]:
    """Write photographs one by one as they are asked for, and delete them long after."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = [path.read_bytes() for path in fixtures.small_photos()]
    for number in range(first, first + count):
        path = folder / f"{number:07d}.jpg"
        path.write_bytes(contents[number % len(contents)] + number.to_bytes(8, "little"))
        if not kept and number >= first + AHEAD:
            (folder / f"{number - AHEAD:07d}.jpg").unlink()
        yield str(path)


def _median_s(work: Callable[[], object], repeats: int = 5) -> float:
    work()
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


KINDS: dict[str, Callable[[int], Figures]] = {
    kind.__name__: kind for kind in (images, regions, encoded, labels, stored, megadetector, ray)
}


def main(kind: str, amount: str) -> None:
    figures = KINDS[kind](int(amount))
    figures["peak_rss_mb"] = round(machine.peak_bytes() / 2**20, 1)
    print(json.dumps(figures))


if __name__ == "__main__":
    main(*sys.argv[1:])
