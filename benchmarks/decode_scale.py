"""Features and first candidates of reduced decoding compared with full decoding, for several limits of the reduction.

python -m benchmarks.decode_scale --model demo --images FOLDER [--names collection.csv]

The limit is the size that a region keeps on each side, in multiples of the model's. Each image is a JPEG whose shorter side can be
halved at a limit of 1. First candidates are names of the table (column scientificName), or else the nearest other image.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bioclip_core.encoder import Encoder
from bioclip_core.errors import BioclipError
from bioclip_core.images import loading
from bioclip_core.images.decoding import decode_regions, read_bytes
from bioclip_core.preprocessing import Preprocessing
from bioclip_plugin import Session

LIMITS = (1, 2, 4)
_BATCH = 32


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one line per limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--names", type=Path)
    parser.add_argument("--most", type=int, default=400)
    given = parser.parse_args(arguments)
    encoder = Session(model=given.model, labels=("an animal",)).engine.encoder
    contract = encoder.preprocessing
    files = _readable(given.images, 2 * contract.size, given.most)
    names = _name_features(encoder, given.names) if given.names else None
    print(f"{len(files)} images of {given.images.name}, {given.model}, {contract.size} px")
    full, full_s = _features(encoder, files, replace(contract, decode="full"))
    for limit in LIMITS:
        loading.OVERSAMPLING = limit
        reduced, reduced_s = _features(encoder, files, replace(contract, decode="reduced"))
        cosines = (full * reduced).sum(axis=1)
        same = float((_first(full, names) == _first(reduced, names)).mean())
        print(
            f"at least {limit} x the model's side: cosine mean {cosines.mean():.5f}, lowest {cosines.min():.5f}; "
            f"first candidate the same {same:.1%}; decoding {full_s / reduced_s:.2f} x as fast as in full"
        )
    return 0


def _readable(folder: Path, least_side: int, most: int) -> list[Path]:
    found: list[Path] = []
    for path in sorted(folder.rglob("*.jpg")):
        try:
            with Image.open(path) as image:
                is_large = min(image.size) >= least_side
            if is_large:
                decode_regions(read_bytes(path), [None], Preprocessing())
                found.append(path)
        except (BioclipError, OSError):
            continue
    step = max(1, len(found) // most)
    return found[::step][:most]


def _features(encoder: Encoder, files: Sequence[Path], contract: Preprocessing) -> tuple[NDArray[np.float32], float]:
    rows, seconds = [], 0.0
    for start in range(0, len(files), _BATCH):
        began = time.thread_time()
        crops = [decode_regions(read_bytes(file), [None], contract)[0] for file in files[start : start + _BATCH]]
        seconds += time.thread_time() - began
        rows.append(encoder.encode_images(np.stack(crops)).astype(np.float32))
    features = np.concatenate(rows)
    return features / np.linalg.norm(features, axis=1, keepdims=True), seconds


def _name_features(encoder: Encoder, table: Path) -> NDArray[np.float32]:
    with table.open(encoding="utf-8", newline="") as file:
        names = sorted({row["scientificName"] for row in csv.DictReader(file)})
    return encoder.encode_texts([f"a photo of {name}." for name in names])


def _first(features: NDArray[np.float32], names: NDArray[np.float32] | None) -> NDArray[np.int_]:
    scores = features @ (features if names is None else names).T
    if names is None:
        np.fill_diagonal(scores, -np.inf)
    first: NDArray[np.int_] = scores.argmax(axis=1)
    return first


if __name__ == "__main__":
    raise SystemExit(main())
