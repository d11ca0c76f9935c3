"""Agreement of an int8 model with the same model in fp32, by rank, on images that it was not calibrated on.

    python -m benchmarks.int8_agreement MODEL LABELS FOLDER [--every N] [--known COLLECTION.csv]

LABELS is a label set or "own". The first 128 images of FOLDER calibrate (half of them) and are left out of the figures. With a
table of known names (columns image, genus, scientificName), the share of right answers of both is printed too.
"""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bioclip_core.acceleration.quantising import MOST_IMAGES
from bioclip_core.runtimes.quantised import find_quantised
from bioclip_plugin import Session

SUFFIXES = {".jpg", ".jpeg", ".png"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("labels")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=int, default=1, help="judge every Nth image")
    parser.add_argument("--known", type=Path)
    given = parser.parse_args()
    files = sorted(file for file in given.folder.rglob("*") if file.suffix.lower() in SUFFIXES)
    np.random.default_rng(0).shuffle(files)
    calibrating, judging = files[:MOST_IMAGES], files[MOST_IMAGES :: given.every]
    with tempfile.TemporaryDirectory() as cache:
        os.environ["BIOCLIP_CACHE"] = cache  # an int8 model of these images alone
        options = {"model": given.model, "labels": None if given.labels == "own" else given.labels, "device": "cpu"}
        exact, features = _answers(Session(**options, precision="fp32"), judging)
        session = Session(**options, precision="int8")
        session.calibrate(list(map(str, calibrating)))
        kept, _ = find_quantised(session.engine.model)
        quantised, int8_features = _answers(session, judging)
    if kept is not None:
        print(kept.described())
    cosines = (
        (features * int8_features).sum(1) / np.linalg.norm(features, axis=1) / np.linalg.norm(int8_features, axis=1)
    )
    print(f"{len(judging)} other images: cosine at least {cosines.min():.4f}, {cosines.mean():.4f} on average")
    known = _known(given.known, judging) if given.known else []
    print("| rank | same first answer | fp32 right | int8 right |\n|---|--:|--:|--:|")
    for rank in exact[0]:
        same = np.mean([one[rank] == other[rank] for one, other in zip(exact, quantised, strict=True)])
        shares = [
            f"{np.mean([one[rank] == row[rank] for one, row in zip(answers, known, strict=True)]):.1%}"
            if known and rank in known[0]
            else ""
            for answers in (exact, quantised)
        ]
        print(f"| {rank} | {same:.1%} | {shares[0]} | {shares[1]} |")


def _answers(session: Session, files: Sequence[Path]) -> tuple[list[dict[str, str]], np.ndarray]:
    """Return the first candidate of each image by rank, and the features."""
    with session:
        features = np.concatenate(
            [one.features_RD for one in session.embed_stream(map(str, files)) if one.features_RD is not None]
        )
        found = session.engine.classifier.classify(features, rank=session.request.rank, top=1)
        named = [{rank: best[0].name if best else "" for rank, best in one.by_rank.items()} for one in found]
    return named, features.astype(np.float64)


def _known(table: Path, files: Sequence[Path]) -> list[dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as file:
        rows = {Path(row["image"]).name: row for row in csv.DictReader(file)}
    ranks = ("kingdom", "phylum", "class", "order", "family", "genus")
    return [
        {**{rank: rows[file.name][rank] for rank in ranks}, "species": rows[file.name]["scientificName"]}
        for file in files
    ]


if __name__ == "__main__":
    main()
