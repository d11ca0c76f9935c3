"""Private memory of a process that opens a label set and classifies with it, printed as one JSON object.

python -m benchmarks.memory_worker LABEL_SET_FOLDER
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

ROWS = 64
SAMPLE_S = 0.002


def private_bytes() -> int:
    """Return the memory of this process without mapped files (``RssAnon`` and shared memory), in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("RssAnon:", "RssShmem:")))


class PeakWatch:
    """Thread that samples private memory; ``peak`` is the highest sample."""

    def __init__(self) -> None:
        self.peak = private_bytes()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            self.peak = max(self.peak, private_bytes())

    def close(self) -> int:
        self._stop.set()
        self._thread.join()
        self.peak = max(self.peak, private_bytes())
        return self.peak


def main(folder: str) -> None:
    import numpy as np
    import torch

    from bioclip_core.classify import Classifier
    from bioclip_core.labels.label_set import LabelSet

    torch.ones(1).sum()
    dimension = LabelSet.open(folder).dimension  # also imports what opening needs, as a model that is loaded has
    rows = np.random.default_rng(2).standard_normal((ROWS, dimension)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    before = private_bytes()
    watch = PeakWatch()
    started = time.perf_counter()
    labels = LabelSet.open(folder)
    classifier = Classifier(labels)
    opened_s = time.perf_counter() - started
    opened = private_bytes()
    classifier.classify(rows[:1].astype(np.float16))
    first_s, first_peak = time.perf_counter() - started, max(watch.peak, private_bytes())
    for rank in ("species", "genus"):
        found = classifier.classify(rows.astype(np.float16), rank=rank)
        assert len(found) == ROWS
        assert len(found[0].by_rank[rank]) == 5
    figures = {
        "labels": len(labels), "before": before, "opened": opened, "opened_s": opened_s, "first_s": first_s,
        "first_peak": first_peak, "peak": watch.close(),
    }  # fmt: skip
    print(json.dumps(figures))


if __name__ == "__main__":
    main(sys.argv[1])
