"""python -m benchmarks.near_duplicates [--images N] [--seed S]

Precision and recall of near duplicates at several distances: copies of rendered scenes and plates of a biosphere, and of the leaves and
reef fish in $BIOCLIP_DATA, beside different photographs of bursts, tracks and species that look alike.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from bioclip_training.biosphere.phylogeny import Biosphere
from bioclip_training.biosphere.pose import Pose
from bioclip_training.biosphere.scene import Setting, photograph, plate
from bioclip_training.curation.imaging.looking import SeenRegion, seen
from bioclip_training.curation.imaging.lookup import Looks, pairs_within
from bioclip_training.published.parquet_images import StoredImage

DISTANCES = (4, 6, 8, 10, 12, 14, 16, 20)
_SIZE = (320, 240)
Copy = Callable[[Image.Image, np.random.Generator], bytes]


def encoded(image: Image.Image, kind: str = "JPEG", quality: int = 90) -> bytes:
    stream = BytesIO()
    image.save(stream, kind, quality=quality)
    return stream.getvalue()


def cropped(image: Image.Image, rng: np.random.Generator, low: float, high: float) -> Image.Image:
    width, height = image.size
    left, top, right, bottom = rng.uniform(low, high, 4)
    return image.crop(
        (round(left * width), round(top * height), round((1 - right) * width), round((1 - bottom) * height))
    )


def resized(image: Image.Image, factor: float) -> Image.Image:
    return image.resize((max(8, round(image.width * factor)), max(8, round(image.height * factor))))


COPIES: dict[str, Copy] = {
    "resized to 0.4-1.6": lambda image, rng: encoded(resized(image, float(rng.uniform(0.4, 1.6)))),
    "JPEG quality 30-75": lambda image, rng: encoded(image, quality=int(rng.integers(30, 76))),
    "each side cropped by 1-3%": lambda image, rng: encoded(cropped(image, rng, 0.01, 0.03)),
    "all sides cropped by 5%": lambda image, rng: encoded(cropped(image, rng, 0.05, 0.05)),
    "brightness 0.8-1.2": lambda image, rng: encoded(ImageEnhance.Brightness(image).enhance(float(rng.uniform(0.8, 1.2)))),
    "greyscale": lambda image, _: encoded(image.convert("L")),
    "PNG or WebP": lambda image, rng: encoded(image, "PNG" if rng.random() < 0.5 else "WEBP", 80),
    "squashed to 224": lambda image, _: encoded(image.resize((224, 224))),
    "resized, cropped, brighter": lambda image, rng: encoded(
        ImageEnhance.Brightness(cropped(resized(image, 0.6), rng, 0.01, 0.03)).enhance(1.1), quality=60
    ),
}  # fmt: skip


def originals(count: int, seed: int) -> Iterator[tuple[str, str, Image.Image]]:
    """Yield the set, what images have in common that may look alike, and the image."""
    rng, biosphere = np.random.default_rng(seed), Biosphere.grow()
    for burst in range(count):
        species = biosphere.species[int(rng.integers(len(biosphere.species)))]
        setting, pose = Setting.drawn(rng), Pose.drawn(rng)
        for shot in range(3):
            moved = replace(pose, stride=-pose.stride if shot % 2 else pose.stride)
            scene = photograph(species, np.random.default_rng([seed, burst, shot]), _SIZE, setting=setting, pose=moved)
            yield "scenes", f"burst {burst}", scene.image.convert("RGB")
    for number in range(count):
        species = biosphere.species[number % len(biosphere.species)]
        yield (
            "plates",
            f"species {number % len(biosphere.species)}",
            plate(species, np.random.default_rng([seed, number]), _SIZE).image,
        )
    data = Path(os.environ["BIOCLIP_DATA"]) / "data"
    for name, together in (("leaves", "scientificName"), ("reef_fish", "eventID")):
        with (data / name / "collection.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        for row in rows[:: max(1, len(rows) // (2 * count))]:
            with Image.open(data / name / row["image"]) as image:
                yield name, row[together], image.convert("RGB")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--images", type=int, default=150, help="Bursts, plates, and half of the images of each real set."
    )
    parser.add_argument("--seed", type=int, default=11)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    images = list(
        {encoded(one[2], "PNG"): one for one in originals(options.images, options.seed)}.items()
    )  # equal ones once
    regions: list[SeenRegion] = []
    truth: list[tuple[int, str]] = []  # original, and what was done to it
    for number, (data, (_, _, image)) in enumerate(images):
        for kind, content in [("", data), *((kind, make(image, rng)) for kind, make in COPIES.items())]:
            regions.append(seen(lambda content=content: StoredImage(content, content), [None]).regions[0])  # type: ignore[misc]
            truth.append((number, kind))
    looks = looks_of(regions)
    sys.stdout.write(f"{len(images)} images, {len(looks)} with their copies; seed {options.seed}\n\n")
    report(looks, truth, [(name, together) for _, (name, together, _) in images])
    return 0


def looks_of(regions: list[SeenRegion]) -> Looks:
    assert all(one.look.hashed for one in regions), "an image of one colour"
    return Looks(
        np.array([np.frombuffer(one.look.hashed, np.uint8) for one in regions]),
        np.array([np.frombuffer(one.inner, np.uint8).reshape(2, -1) for one in regions]),
        np.array([np.frombuffer(one.look.colours, np.uint8) for one in regions]),
    )


def report(looks: Looks, truth: list[tuple[int, str]], about: list[tuple[str, str]]) -> None:
    """Print recall by kind of copy, and pairs of different originals that are found, at each distance."""
    pairs = pairs_within(looks, max(DISTANCES))
    copies: dict[str, list[int]] = {kind: [] for kind in COPIES}
    of_set: dict[str, list[int]] = {}
    false: Counter[tuple[str, str, int]] = Counter()
    for i, j, bits in zip(pairs.i.tolist(), pairs.j.tolist(), pairs.bits.tolist(), strict=True):
        (one, first), (other, second) = truth[i], truth[j]
        if one == other and not (first and second):
            copies[first or second].append(bits)
            of_set.setdefault(about[one][0], []).append(bits)
        elif one != other and not (first or second):
            same = "of one group" if about[one] == about[other] else "of different groups"
            false[about[one][0], same, bits] += 1
    head = (
        "| | " + " | ".join(f"≤ {distance}" for distance in DISTANCES) + " |\n|---|" + "---:|" * len(DISTANCES) + "\n"
    )
    sys.stdout.write("Recall, copies of each image:\n\n" + head)
    for kind, found in copies.items():
        shares = (sum(bits <= distance for bits in found) / len(about) for distance in DISTANCES)
        sys.stdout.write(f"| {kind} | " + " | ".join(f"{share:.1%}" for share in shares) + " |\n")
    for name in dict.fromkeys(name for name, _ in about):
        total = len(COPIES) * sum(one == name for one, _ in about)
        shares = (sum(bits <= distance for bits in of_set.get(name, [])) / total for distance in DISTANCES)
        sys.stdout.write(
            f"| all copies of {name} ({total}) | " + " | ".join(f"{share:.1%}" for share in shares) + " |\n"
        )
    sys.stdout.write("\nPairs of different images that are found:\n\n" + head)
    groups = Counter(about)
    for name in dict.fromkeys(name for name, _ in about):
        size = sum(count for (of, _), count in groups.items() if of == name)
        within = sum(count * (count - 1) // 2 for (of, _), count in groups.items() if of == name)
        for same, total in (("of one group", within), ("of different groups", size * (size - 1) // 2 - within)):
            counts = (
                sum(n for (a, b, bits), n in false.items() if (a, b) == (name, same) and bits <= distance)
                for distance in DISTANCES
            )
            sys.stdout.write(f"| {name} {same} ({total:,}) | " + " | ".join(map(str, counts)) + " |\n")


if __name__ == "__main__":
    sys.exit(main())
