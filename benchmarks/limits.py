"""Limits of the machine beside the figures: the least work that a stage cannot do without, measured in the same run.

A limit is the 90th percentile of some samples, half of them taken before a benchmark and half after it.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import fixtures, machine
from benchmarks.pairs import percentile_90

_LAYERS, _PATCHES = 12, 196
GFLOP_PER_IMAGE = 1e-9 * (
    _LAYERS * (24 * machine.TOKENS * 768**2 + 4 * machine.TOKENS**2 * 768) + 2 * _PATCHES * 768 * 3 * 16**2
)
"""A ViT-B/16 at 224 px: 12 layers of 197 tokens × 768. A multiplication and its addition are two operations."""
SAMPLES = 2 if fixtures.QUICK else 6
LABEL_SAMPLES = 2 if fixtures.QUICK else 3  # a product with 400,000 labels takes most of a second


@dataclass(slots=True)
class Limit:
    """A rate that leaves out all work of a stage but the least, with its samples. Products are torch's; other kernels may exceed them."""

    name: str
    sample: Callable[[], Sequence[float]]
    """Measures the rate several times, in items per second of the benchmark's unit."""
    rates: list[float] = field(default_factory=list)

    def take(self) -> None:
        self.rates += self.sample()

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "p90": percentile_90(self.rates), "samples": len(self.rates)}


def limit_of(group: str | None, given: Mapping[str, Any]) -> Limit | None:
    """Return the limit of a benchmark by its group and its parameters; None without one."""
    if group == "encode":
        return of_products(_precision(given), int(given.get("batch", 16)))
    if group == "end to end":
        return of_products(_precision(given), 16)
    if group in ("decode", "crop", "read"):
        paths = fixtures.PHOTOS[given["size"]]()
        return of_reading(paths) if group == "read" else of_entropy_decoding(paths)
    if group == "classify" and "count" in given:
        return of_label_products(int(given["count"]), 64)
    return None


def _precision(given: Mapping[str, Any]) -> str:
    from bioclip_core.device import choose_compute

    if "precision" in given:
        return str(given["precision"])
    return "int8" if "int8" in map(str, given.values()) else choose_compute().precision


def of_products(precision: str, images: int) -> Limit:
    """Images per second if a program did nothing but the model's own matrix products."""
    return Limit(
        f"{precision} products of the model's shapes",
        lambda: [rate / GFLOP_PER_IMAGE for rate in machine.product_gflops(precision, images=images, samples=SAMPLES)],
    )


def of_reading(paths: Sequence[Path]) -> Limit:
    """Files per second of a memory copy of their bytes: what reading costs once they are in the system's cache."""
    size = sum(path.stat().st_size for path in paths) / len(paths)
    return Limit("memory copy of the bytes", lambda: [1e9 * rate / size for rate in machine.copy_gb_s(samples=SAMPLES)])


def of_entropy_decoding(paths: Sequence[Path]) -> Limit:
    """Images per second of the entropy decoding of a JPEG, the part that no scale and no crop saves.

    libjpeg decodes to an eighth in grey: every coefficient is read, and hardly anything is computed of them.
    """
    from PIL import Image

    contents = [path.read_bytes() for path in paths]

    def sample() -> list[float]:
        rates = []
        for _ in range(SAMPLES):
            started = time.perf_counter()
            for content in contents:
                with Image.open(io.BytesIO(content)) as image:
                    image.draft("L", (image.width // 8, image.height // 8))
                    image.load()
            rates.append(len(contents) / (time.perf_counter() - started))
        return rates

    return Limit("a JPEG's entropy decoding", sample)


def of_label_products(count: int, rows: int, dimension: int = fixtures.DIMENSION) -> Limit:
    """Rows per second of the bare product with all labels, in the faster of fp32 and bf16, over matrices that are ready."""
    import torch

    def sample() -> list[float]:
        best: list[float] = []
        with torch.inference_mode():
            for dtype in (torch.float32, torch.bfloat16):
                labels_ND = torch.randn(count, dimension, dtype=torch.float32).to(dtype)
                features_BD = torch.randn(rows, dimension).to(dtype)
                rates = []
                for _ in range(LABEL_SAMPLES + 1):
                    started = time.perf_counter()
                    features_BD @ labels_ND.T
                    rates.append(rows / (time.perf_counter() - started))
                best = max(best, rates[1:], key=lambda found: percentile_90(found) if found else 0.0)
        return best

    return Limit("the bare product with the labels", sample)
