"""python -m bioclip_training.biosphere --count 100 --seed 5 --output FOLDER [--plates]

Renders scenes of the fictional biosphere as JPEG files with ``truth.csv`` beside them; another seed gives other scenes.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bioclip_core.errors import BioclipError, UsageError
from bioclip_training.biosphere import Biosphere, Species, photograph, plate
from bioclip_training.biosphere.scene import SIZE, Photograph

_COLUMNS = (
    "image", "kingdom", "phylum", "class", "order", "family", "genus", "specificEpithet", "scientificName", "vernacularName", "habitat",
    "infrared", "life_stage", "sex", "x", "y", "width", "height",
)  # fmt: skip


def write_scenes(
    folder: Path,
    biosphere: Biosphere,
    *,
    count: int,
    seed: int,
    size: tuple[int, int] = SIZE,
    plates: bool = False,
    first: int = 0,
) -> None:
    """Write ``scene_NNNNN.jpg`` files and ``truth.csv`` (their species in turn); ``x`` to ``height`` is the animal's box as shares."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "truth.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(_COLUMNS)
        for number in range(first, first + count):
            species = biosphere.species[number % len(biosphere.species)]
            rng = np.random.default_rng([seed, number])
            photo = plate(species, rng, size) if plates else photograph(species, rng, size)
            name = f"scene_{number:05d}.jpg"
            photo.image.save(folder / name, quality=88)
            table.writerow(_row(name, species, photo))
            _progress(number + 1 - first, count)


def _row(name: str, species: Species, photo: Photograph) -> list[str]:
    taxon = species.taxon
    truth = [
        photo.habitat,
        str(photo.infrared).lower(),
        photo.life_stage,
        photo.sex,
        *(f"{value:.5f}" for value in photo.box),
    ]
    return [name, *taxon.lineage, taxon.scientific_name, taxon.common_name, *truth]


def _progress(done: int, count: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\rscene {done} of {count}" + ("\n" if done == count else ""))
    elif done % 100 == 0 or done == count:
        sys.stderr.write(f"scene {done} of {count}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0 when everything is written, 1 with one line of why when not."""
    parser = argparse.ArgumentParser(
        prog="python -m bioclip_training.biosphere", description=(__doc__ or "").split("\n\n")[1]
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FOLDER", help="made if it does not exist; must be empty"
    )
    parser.add_argument("--count", type=int, default=100, help="scenes, the species in turn (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=5, help="of the scenes (default: %(default)s)")
    parser.add_argument(
        "--biosphere-seed", type=int, default=2, help="of the tree (default: %(default)s, the demo model's)"
    )
    parser.add_argument("--families", type=int, default=24, help="(default: %(default)s, the demo model's)")
    parser.add_argument("--species", type=int, default=72, help="(default: %(default)s, the demo model's)")
    parser.add_argument(
        "--width",
        type=int,
        default=SIZE[0],
        help="in pixels; the height is three quarters of it (default: %(default)s)",
    )
    parser.add_argument("--plates", action="store_true", help="specimen plates instead of camera-trap scenes")
    options = parser.parse_args(argv)
    try:
        _check(options)
        biosphere = Biosphere.grow(seed=options.biosphere_seed, families=options.families, species=options.species)
        size = (options.width, options.width * 3 // 4)
        write_scenes(
            options.output, biosphere, count=options.count, seed=options.seed, size=size, plates=options.plates
        )
    except (BioclipError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def _check(options: argparse.Namespace) -> None:
    if options.count < 1 or options.width < 64:
        raise UsageError(f"--count {options.count}, --width {options.width}: at least 1 scene of 64 pixels is needed")
    if min(options.seed, options.biosphere_seed) < 0:
        raise UsageError(f"--seed {options.seed}, --biosphere-seed {options.biosphere_seed}: seeds are 0 or more")
    if options.output.exists() and (not options.output.is_dir() or any(options.output.iterdir())):
        raise UsageError(
            f"--output {options.output}: must be a new or empty folder, so that truth.csv describes all that is in it"
        )


if __name__ == "__main__":
    sys.exit(main())
