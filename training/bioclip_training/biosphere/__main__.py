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
from bioclip_training.biosphere import Biosphere, photograph, plate
from bioclip_training.biosphere.scene import SIZE

_COLUMNS = (
    "image", "kingdom", "phylum", "class", "order", "family", "genus", "specificEpithet", "scientificName", "vernacularName", "habitat",
    "infrared", "life_stage", "sex", "x", "y", "width", "height",
)  # fmt: skip


def write_scenes(
    folder: Path, biosphere: Biosphere, *, count: int, seed: int, size: tuple[int, int] = SIZE, plates: bool = False
) -> None:
    """Write ``scene_NNNNN.jpg`` files, the species in turn, and ``truth.csv``.

    The columns ``x`` to ``height`` are the animal's box as shares of the picture.
    """
    folder.mkdir(parents=True, exist_ok=True)
    draw = plate if plates else photograph
    with (folder / "truth.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(_COLUMNS)
        for number in range(count):
            species = biosphere.species[number % len(biosphere.species)]
            photo = draw(species, np.random.default_rng([seed, number]), size)
            name = f"scene_{number:05d}.jpg"
            photo.image.save(folder / name, quality=88)
            box = (f"{value:.5f}" for value in photo.box)
            scene = [photo.habitat, str(photo.infrared).lower(), photo.life_stage, photo.sex, *box]
            table.writerow(
                [name, *species.taxon.lineage, species.taxon.scientific_name, species.taxon.common_name, *scene]
            )
            _progress(number + 1, count)


def _progress(done: int, count: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\rscene {done} of {count}" + ("\n" if done == count else ""))
    elif done % 100 == 0 or done == count:
        sys.stderr.write(f"scene {done} of {count}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0 if everything is written, or 1 after one line with the reason."""
    options = _parser().parse_args(argv)
    try:
        _check(options)
        biosphere = Biosphere.grow(seed=options.biosphere_seed, families=options.families, species=options.species)
        write_scenes(
            options.output, biosphere, count=options.count, seed=options.seed, plates=options.plates,
            size=(options.width, options.width * 3 // 4),
        )  # fmt: skip
    except (BioclipError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bioclip_training.biosphere", description=(__doc__ or "").split("\n\n")[1]
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="New or empty folder.")
    for name, default, text in (
        ("count", 100, "Number of scenes, the species in turn (default: %(default)s)."),
        ("seed", 5, "Random seed of the scenes (default: %(default)s)."),
        ("biosphere-seed", 2, "Random seed of the tree (default: %(default)s, the demo model's)."),
        ("families", 24, "Number of families (default: %(default)s, the demo model's)."),
        ("species", 72, "Number of species (default: %(default)s, the demo model's)."),
        ("width", SIZE[0], "Width in pixels; the height is three quarters of it (default: %(default)s)."),
    ):
        parser.add_argument(f"--{name}", type=int, default=default, help=text)
    parser.add_argument("--plates", action="store_true", help="Write specimen plates instead of camera-trap scenes.")
    return parser


def _check(options: argparse.Namespace) -> None:
    if options.count < 1 or options.width < 64:
        raise UsageError(f"--count {options.count}, --width {options.width}: at least 1 scene of 64 pixels is needed")
    if min(options.seed, options.biosphere_seed) < 0:
        raise UsageError(f"--seed {options.seed}, --biosphere-seed {options.biosphere_seed}: seeds are 0 or more")
    if options.output.exists() and (not options.output.is_dir() or any(options.output.iterdir())):
        raise UsageError(
            f"--output {options.output}: must be a new or empty folder, so that truth.csv describes everything in it"
        )


if __name__ == "__main__":
    sys.exit(main())
