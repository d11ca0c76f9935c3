"""A simulated season on the reef fish: murky water, a model that answers, a reviewer who corrects, a model that learns.

python -m benchmarks.season                     five seeds
python -m benchmarks.season --seeds 1 --steps 40

Everything goes through the command line, as a curator would do it. The start model has learnt the clear images of the training
tracks. In the season the water is murky: it answers 300 images of those tracks, a reviewer looks at the least certain answers
until 60 are corrected, and a catalog is built of the answers as the station entered them and of the reviews. The model that
learns from it is compared with the start on the tracks of ``val``, which neither has seen, in the same water. Needs BIOCLIP_DATA.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from benchmarks.questions.figures import table
from bioclip_training.catalog.rows import Catalog

IMAGES, CORRECTIONS = 300, 60
_RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "specificEpithet")
_VEIL = np.array([60.0, 120.0, 130.0])  # green water, 0 to 255
_SEEN = 0.7  # share of the light that comes from the fish
_BLUR = 0.01  # of the longer side
_NOISE = 3.0  # standard deviation, of 255


@dataclass(frozen=True, slots=True)
class Season:
    """Results of one season."""

    seed: int
    answered: int
    looked_at: int
    corrected: int
    rows: int
    images_twice: int
    species_twice: int
    before: float
    after: float
    difference_ci95: tuple[float, float]
    images: int
    tracks: int
    seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Play the seasons, print the table and return 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="number of seasons")
    parser.add_argument("--first-seed", type=int, default=0, help="number of the first season")
    parser.add_argument("--images", type=int, default=IMAGES, help="images that are answered")
    parser.add_argument("--corrections", type=int, default=CORRECTIONS, help="answers that the reviewer corrects")
    parser.add_argument("--steps", type=int, help="training steps, if not the default")
    parser.add_argument("--keep", type=Path, help="folder to keep the files of all seasons in")
    options = parser.parse_args(arguments)
    if "BIOCLIP_DATA" not in os.environ:
        parser.error("set BIOCLIP_DATA to the folder with the real sets")
    seasons = []
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        with TemporaryDirectory() as folder:
            work = (options.keep or Path(folder)) / f"season-{seed}"
            work.mkdir(parents=True)
            seasons.append(play(seed, work, options.images, options.corrections, options.steps))
            print(json.dumps({name: getattr(seasons[-1], name) for name in Season.__slots__}), flush=True)
    print(report(seasons))
    return 0


def play(seed: int, work: Path, images: int, corrections: int, steps: int | None) -> Season:
    """Play one season in an empty folder."""
    data = Path(os.environ["BIOCLIP_DATA"])
    model = f"local-dir:{(data / 'models' / 'mini').resolve()}"
    fish = pd.read_csv(data / "data" / "reef_fish" / "collection.csv", dtype=str, keep_default_na=False)
    draws = np.random.default_rng(seed)
    train = fish[fish["split"] == "train"]
    season = train.iloc[np.sort(draws.permutation(len(train))[:images])]
    held = fish[fish["split"] == "val"]
    source = data / "data" / "reef_fish"
    for part, folder in ((season, "season"), (held, "held")):
        for name in part["image"]:
            _murky(source / name, work / folder / name, draws)
    began = time.monotonic()
    _write(work / "names.csv", fish.drop_duplicates([*_RANKS])[[*_RANKS, "vernacularName"]].to_dict("records"))
    held_out = held.assign(image=[f"held/{name}" for name in held["image"]])
    _write(work / "held.csv", held_out[["image", "eventID", *_RANKS, "split"]].to_dict("records"))
    _run(work, "catalog", "build", "held.csv", "--output", "held.parquet")
    _run(work, "labels", "build", "names.csv", "--model", model, "--output", "labels")
    _run(work, "classify", "season", "--model", model, "--labels", "labels", "--rank", "species", "--store", "store.db")
    _run(work, "export", "--store", "store.db", "--format", "csv", "--output", "answers.csv")
    answers = pd.read_csv(work / "answers.csv", dtype=str, keep_default_na=False)
    looked_at, reviews = _reviewed(answers, season, corrections)
    _write(work / "reviews.csv", reviews)
    _run(work, "review", "import", "reviews.csv", "--store", "store.db", "--reviewer", "Ann Example")
    track = dict(zip(season["image"], season["eventID"], strict=True))
    entered = [
        {"image": f"season/{_image(row)}", "eventID": track[_image(row)], **_name(row)}
        for row in answers.to_dict("records")
    ]
    _write(work / "old.csv", entered)
    _run(work, "catalog", "build", "old.csv", "store.db", "--val", "0", "--output", "season.parquet")
    more = ["--steps", str(steps)] if steps else []
    _run(work, "train", "--data", "season.parquet", "--start", model, "--seed", str(seed), "--output", "learnt", *more)
    for name, which, compared in (("before", model, []), ("after", "local-dir:learnt", ["--compare", "before"])):
        _run(
            work, "evaluate", "--data", "held.parquet", "--split", "val", "--model", which, "--output", name, *compared
        )
    seconds = time.monotonic() - began
    return _outcome(seed, work, len(answers), looked_at, len(reviews), seconds)


def report(seasons: Iterable[Season]) -> str:
    """Return the table of all seasons."""
    head = ("seed", "answered", "looked at", "corrected", "rows", "images twice", "species twice", "before", "after", "difference (95%)",
            "images / tracks", "seconds")  # fmt: skip
    rows = [
        (
            season.seed, season.answered, season.looked_at, season.corrected, season.rows, season.images_twice, season.species_twice,
            f"{season.before:.1%}", f"{season.after:.1%}",
            f"{season.after - season.before:+.1%} ({season.difference_ci95[0]:+.1%} to {season.difference_ci95[1]:+.1%})",
            f"{season.images} / {season.tracks}", f"{season.seconds:.0f}",
        )
        for season in seasons
    ]  # fmt: skip
    return table(list(head), [[str(cell) for cell in row] for row in rows])


def _murky(source: Path, target: Path, draws: np.random.Generator) -> None:
    """Write an image as it would look through more water: veiled, blurred and noisy."""
    with Image.open(source) as image:
        blurred = image.convert("RGB").filter(ImageFilter.GaussianBlur(_BLUR * max(image.size)))
    pixels: NDArray[np.float64] = np.asarray(blurred, dtype=np.float64) * _SEEN + _VEIL * (1 - _SEEN)
    pixels += draws.normal(0.0, _NOISE, pixels.shape)
    target.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(target)


def _reviewed(answers: pd.DataFrame, season: pd.DataFrame, corrections: int) -> tuple[int, list[dict[str, str]]]:
    """Look at the least certain answers until enough are corrected; return how many were looked at, and the corrections."""
    truth = season.set_index("image")
    found: list[dict[str, str]] = []
    order = answers.assign(certainty=answers["probability"].astype(float)).sort_values(["certainty", "uri"])
    for number, answer in enumerate(order.to_dict("records"), 1):
        right = truth.loc[_image(answer)]
        if _name(answer)["scientificName"] != right["scientificName"]:
            found.append({"uri": str(answer["uri"]), "scientificName": str(right["scientificName"])})
        if len(found) == corrections:
            return number, found
    return len(order), found


def _image(answer: Mapping[Any, Any]) -> str:
    return "images/" + str(answer["uri"]).rpartition("/")[2]


def _name(answer: Mapping[Any, Any]) -> dict[str, str]:
    """Return the name that an answer gives, as a station would enter it."""
    return {"scientificName": str(answer["scientific_name"])}


def _outcome(seed: int, work: Path, answered: int, looked_at: int, corrected: int, seconds: float) -> Season:
    catalog = Catalog.open(work / "season.parquet")
    hashes = [value for value in catalog.column("sha256") if value]
    species = [taxon.scientific_name for taxon in catalog.taxa]
    before, after = (json.loads((work / name / "metrics.json").read_text("utf-8")) for name in ("before", "after"))
    change = after["comparison"]["by_rank"]["species"]
    low, high = change["difference_ci95"]
    return Season(
        seed, answered, looked_at, corrected, len(catalog), len(hashes) - len(set(hashes)), len(species) - len(set(species)),
        change["other_top1"], change["top1"], (low, high), change["n"], before["images"]["groups"], round(seconds, 1),
    )  # fmt: skip


def _write(file: Path, rows: Sequence[Mapping[Any, Any]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _run(work: Path, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bioclip_plugin", *arguments], cwd=work, text=True, capture_output=True, check=False
    )
    (work / "log.txt").open("a", encoding="utf-8").write(
        f"$ bioclip-plugin {' '.join(arguments)}\n{done.stdout}{done.stderr}\n"
    )
    if done.returncode:
        raise RuntimeError(
            f"bioclip-plugin {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )


if __name__ == "__main__":
    sys.exit(main())
