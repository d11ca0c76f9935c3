"""python -m benchmarks.curation_images [--images N] [--width W --height H] [--threads T] [--rounds R]

The stage ``images`` of curate beside bare decoding of the same JPEG files by Pillow with as many threads, in turns: images per second of
wall time, and processor time per image, medians of the rounds.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import pyarrow as pa
from PIL import Image

from benchmarks.photos import write_photos
from bioclip_core.progress import silent
from bioclip_training.curation.imaging.images import examine
from bioclip_training.curation.imaging.openers import Openers


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--width", type=int, default=500)
    parser.add_argument("--height", type=int, default=375)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with TemporaryDirectory() as held:
        folder = Path(held)
        (folder / "photos").mkdir()
        files = write_photos(folder / "photos", options.images, options.width, options.height)
        ways: dict[str, Callable[[int], None]] = {
            "stage images": lambda turn: stage(files, folder / f"pieces-{turn}", options.threads),
            "Pillow alone": lambda _: pillow(files, options.threads),
        }
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for turn in range(options.rounds + 1):  # the first one warms up
            for name, work in ways.items():
                began, used = time.perf_counter(), time.process_time()
                work(turn)
                if turn:
                    taken[name].append((time.perf_counter() - began, time.process_time() - used))
    for name, times in taken.items():
        rates = sorted(options.images / wall for wall, _ in times)
        used_ms = sorted(1000 * used / options.images for _, used in times)
        sys.stdout.write(
            f"{name}: {median(rates):.1f} images/s ({rates[0]:.1f} to {rates[-1]:.1f}), "
            f"{median(used_ms):.2f} ms of processor time per image ({used_ms[0]:.2f} to {used_ms[-1]:.2f})\n"
        )
    return 0


def stage(files: list[Path], pieces: Path, threads: int) -> None:
    """Look at all images, as the stage does, without the final sorting of the rows."""
    nothing = {
        **dict.fromkeys(("url", "published_sha256", "published_md5"), ""),
        **dict.fromkeys(("bboxX", "bboxY", "bboxWidth", "bboxHeight")),
    }
    rows = [
        {"key": f"{number:032x}", "source": "a", "uri": file.name, **nothing}
        for number, file in enumerate(files)
    ]  # fmt: skip
    with Openers({"a": files[0].parent}) as openers:
        examine(
            pa.Table.from_pylist(rows).to_batches(), openers, pieces, images=len(rows), threads=threads, progress=silent
        )


def pillow(files: list[Path], threads: int) -> None:
    """Decode all images to RGB at their full size."""

    def decode(file: Path) -> tuple[int, int]:
        with Image.open(file) as image:
            return image.convert("RGB").size

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(decode, files))


if __name__ == "__main__":
    sys.exit(main())
