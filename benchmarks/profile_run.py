"""Profile of one end-to-end run: processor time of each thread, what each of ours does, and the operations of the encoder.

python -m benchmarks.profile_run    photographs of 500×375 through a Session, species over the middle label file
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from benchmarks import fixtures, ours
from bioclip_plugin import Session
from bioclip_plugin.items.media import item_of
from bioclip_plugin.running.clock import Profile

PROFILED = 4
"""Images whose operations are shown; more are encoded on threads that the profiler does not see."""
PHOTOS = 16 if fixtures.QUICK else 64
SAMPLE_S = 0.005
SHOWN = 8
_OURS = ("bioclip_plugin", "bioclip_core")


class Sampler:
    """Thread that looks at the stacks of all others; a waiting thread has a lock, a queue or a condition at its top."""

    def __init__(self) -> None:
        self.samples = 0
        self.places: dict[str, Counter[str]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            names = {thread.ident: thread.name for thread in threading.enumerate()}
            self.samples += 1
            for ident, frame in sys._current_frames().items():
                name = names.get(ident, "unnamed")
                if name != "sampler":
                    self.places.setdefault(name, Counter())[_place(frame)] += 1


def _place(frame: FrameType) -> str:
    """Return the innermost function of ours, or that the thread waits."""
    if Path(frame.f_code.co_filename).name in ("threading.py", "queue.py", "selectors.py"):
        return "waits"
    for one in _outwards(frame):
        module = str(one.f_globals.get("__name__", ""))
        if module.startswith(_OURS):
            waiting = one is frame and one.f_code.co_name in ("_work", "_watch", "_take", "get", "wait")
            return "waits" if waiting else f"{module.rpartition('.')[2]}.{one.f_code.co_name}"
    return "elsewhere"


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def thread_seconds() -> dict[tuple[int, str], float]:
    """Return the processor seconds of each thread of this process by its number and name; empty off Linux."""
    found = {}
    ticks = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
    for task in Path("/proc/self/task").glob("*/stat"):
        try:
            name, _, rest = task.read_text().partition("(")[2].rpartition(")")
        except OSError:  # it has ended
            continue
        fields = rest.split()
        found[int(task.parent.name), name] = (int(fields[11]) + int(fields[12])) / ticks
    return found


def measure() -> list[dict[str, Any]]:
    """Return the tables of one run."""
    labels = ours.label_set(fixtures.label_files(fixtures.LABEL_COUNTS[1]))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos = fixtures.small_photos()
        settings: dict[str, Any] = {
            "model": ours.model_name(),
            "labels": str(labels),
            "store": str(folder / "profile.db"),
        }
        with Session(**settings) as session:
            list(session.classify_stream(map(str, ours.fresh_copies(photos, folder))))  # opens everything
            copies: list[str] = []
            while len(copies) < PHOTOS:
                copies += map(str, ours.fresh_copies(photos, folder))
            names = {thread.native_id: thread.name for thread in threading.enumerate()}
            before, began = thread_seconds(), time.perf_counter()
            pipeline = session.pipeline(session.begin_run([name]))
            with Sampler() as sampler:
                answers = []
                for answer in pipeline.answers(item_of(Path(copy)) for copy in copies[:PHOTOS]):
                    answers.append(answer)
                    names |= {thread.native_id: thread.name for thread in threading.enumerate()}
                    if len(answers) == PHOTOS:  # before its threads end, and take their time with them
                        after = thread_seconds()
                wall_s = time.perf_counter() - began
            assert all(answer.failure is None for answer in answers)
            encoder = session.engine.encoder
            alone_s = _alone_s(encoder)
    spent = {key: seconds - before.get(key, 0.0) for key, seconds in after.items()}
    return [
        _threads(spent, names, sampler, wall_s),
        _stages(pipeline.profile()),
        _of_encoder(encoder),
        {
            "title": "The same run in time",
            "columns": ["", "seconds", "per image, ms"],
            "rows": [
                ["end to end, wall clock", f"{wall_s:.2f}", f"{1000 * wall_s / PHOTOS:.1f}"],
                ["its encoder alone on prepared images", f"{alone_s * PHOTOS:.2f}", f"{1000 * alone_s:.1f}"],
                [
                    "difference: the encoder waited, or shared the cores", f"{wall_s - alone_s * PHOTOS:.2f}",
                    f"{1000 * (wall_s / PHOTOS - alone_s):.1f}",
                ],
            ],
        },
    ]  # fmt: skip


def _stages(profile: Profile) -> dict[str, Any]:
    """Return the stages by the run's own clock: wall time of all threads at work, and what waited for what."""
    rows = [(f"{stage}: threads at work", seconds) for stage, seconds in profile.busy_s.items()]
    rows += [(f"the stream waited for {what}", seconds) for what, seconds in profile.waiting_s.items()]
    idle = f"the encoder had nothing to do ({profile.idle_share:.1%} of its time)"
    rows.append((idle, profile.idle_share * profile.encoder_s))
    return {
        "title": "The same run by stage",
        "columns": ["", "seconds", "per image, ms"],
        "rows": [[name, f"{seconds:.2f}", f"{1000 * seconds / PHOTOS:.1f}"] for name, seconds in rows],
    }


def _threads(
    spent: dict[tuple[int, str], float], names: dict[int | None, str], sampler: Sampler, wall_s: float
) -> dict[str, Any]:
    busy: Counter[str] = Counter()
    for (number, system_name), seconds in spent.items():
        busy[names.get(number) or f"native, {system_name}"] += seconds  # type: ignore[assignment]
    rows = []
    for name, seconds in busy.most_common():
        if name == "sampler" or seconds < 0.005 * wall_s:
            continue
        places = sampler.places.get(name, Counter())
        total = sum(places.values()) or 1
        top = ", ".join(f"{place} {count / total:.0%}" for place, count in places.most_common(4))
        rows.append([name, f"{seconds / wall_s:.0%}", top or "–"])
    return {
        "title": f"One run of {PHOTOS} photographs: processor time of each thread as a share of the wall clock ({wall_s:.1f} s), and where "
        f"it was seen ({sampler.samples:,} samples)",
        "columns": ["thread", "busy", "seen in"],
        "rows": rows,
    }


def _alone_s(encoder: Any, rounds: int = 3) -> float:
    """Return the encoder's seconds per image on prepared images, in batches of its own choice."""
    batch = int(getattr(encoder, "best_batch", 0) or 16)
    images_BHWC = np.random.default_rng(1).integers(0, 256, (batch, 224, 224, 3), dtype=np.uint8)
    encoder.encode_images(images_BHWC)
    began = time.perf_counter()
    for _ in range(rounds):
        encoder.encode_images(images_BHWC)
    return (time.perf_counter() - began) / (rounds * batch)


def _of_encoder(encoder: Any) -> dict[str, Any]:
    """Return the operations of torch in a batch too small to be shared out among threads; an encoder of another program shows none."""
    import torch

    images_BHWC = np.random.default_rng(1).integers(0, 256, (PROFILED, 224, 224, 3), dtype=np.uint8)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        encoder.encode_images(images_BHWC)
    events = sorted(profile.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events) or 1
    rows = [
        [
            event.key,
            f"{event.self_cpu_time_total / total:.0%}",
            f"{event.self_cpu_time_total / (1000 * PROFILED):.2f}",
            str(event.count),
        ]
        for event in events[:SHOWN]
    ]
    return {
        "title": f"Operations of torch in the encoder ({type(encoder).__name__}), a batch of {PROFILED}",
        "columns": ["operation", "share", "ms per image", "calls"],
        "rows": rows,
    }


if __name__ == "__main__":
    for table in measure():
        print(f"\n{table['title']}\n" + "\n".join(" | ".join(row) for row in [table["columns"], *table["rows"]]))
