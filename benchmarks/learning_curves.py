"""Accuracy with 1, 2, 5, 10 … labelled images per species, on frozen features: leaves, reef fish and the fictional biosphere.

python -m benchmarks.learning_curves                  all; leaves and reef fish need BIOCLIP_DATA; 12,240 scenes are drawn once
python -m benchmarks.learning_curves --each 120       fewer scenes per species of the biosphere
python -m benchmarks.learning_curves --model demo     features of another model than BIOCLIP_DATA/models/mini
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyarrow import parquet

from benchmarks import machine
from benchmarks.fixtures import cache
from benchmarks.questions.figures import table
from bioclip_core.device import choose_compute
from bioclip_core.files.whole import replacing_file
from bioclip_core.identity import settings_id
from bioclip_core.models import FoundModel, find_model
from bioclip_core.open_clip_encoder import open_encoder
from bioclip_training.biosphere import Biosphere, photograph
from bioclip_training.catalog.rows import Catalog, CatalogRow, hashed_share, table_from
from bioclip_training.evaluation.features import FeatureBook
from bioclip_training.evaluation.learning_curve import COUNTS, Sample, learning_curve
from bioclip_training.evaluation.questions import groups_of

RESULTS = Path(__file__).parent / "results" / "learning_curves.json"

_TREE, _SPECIES, _FAMILIES = 22, 12, 6  # another tree than that of the demo model
_TEST = 20  # scenes per species to measure on
_SIZE = (160, 120)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the curves, print their table, and store them."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.learning_curves", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--model", help="Model of the features (default: BIOCLIP_DATA/models/mini).")
    parser.add_argument("--each", type=int, default=1000, help="Labelled scenes per species of the biosphere.")
    parser.add_argument("--draws", type=int, default=5, help="Number of draws of the labelled images.")
    options = parser.parse_args(arguments)
    name = options.model or f"local-dir:{_data() / 'models' / 'mini'}"
    found = _found(name)
    stored = json.loads(RESULTS.read_text("utf-8")) if RESULTS.is_file() else {}
    label = Path(name.removeprefix("local-dir:")).name
    for collection, catalog, examples, queries in _collections(options.each):
        rows = np.union1d(examples, queries)
        sample, is_example = _features(found, catalog, rows), np.isin(rows, examples)
        curve = learning_curve(sample.where(is_example), sample.where(~is_example), draws=options.draws)
        stored[f"{collection}, features of {label}"] = {
            **curve,
            "machine": machine.describe(),
            "commit": machine.commit(),
        }
        print(f"{collection}: {curve['sentence']}", file=sys.stderr, flush=True)
        with replacing_file(RESULTS) as draft:
            draft.write_text(json.dumps(stored, indent=1, sort_keys=True) + "\n", "utf-8")
    print(markdown(stored))
    return 0


def markdown(stored: dict[str, Any]) -> str:
    """Return the curves as a table, one row per collection; a figure is that of the species with as many labelled images."""
    counts = [count for count in COUNTS if any(count in _points(curve) for curve in stored.values())]
    rows = []
    for name, curve in stored.items():
        points = _points(curve)
        rows.append([name, f"{curve['taxa']}", f"{curve['images']}", *(points.get(count, "") for count in counts)])
    return table(["collection", "species", "test images", *(str(count) for count in counts)], rows)


def _points(curve: dict[str, Any]) -> dict[int, str]:
    """Return accuracies by the number of images; with the number of species where only some have so many."""
    found: dict[int, str] = {}
    for step in curve["by_images"]:
        few = f" ({step['taxa']} sp.)" if step["taxa"] < curve["taxa"] else ""
        found.setdefault(step["fewer"], f"{100 * step['fewer_top1']:.0f}")
        found[step["more"]] = f"{100 * step['more_top1']:.0f}{few}"
    return found


def _collections(each: int) -> Iterator[tuple[str, Catalog, NDArray[np.int64], NDArray[np.int64]]]:
    """Yield names with the catalog and its rows of labelled and of test images."""
    if "BIOCLIP_DATA" in os.environ:
        leaves, fish = (_built(name) for name in ("leaves", "reef_fish"))
        unseen = leaves.rows_of("unseen")
        is_test = np.array([hashed_share(f"curve {leaves.group(row)}") < 0.3 for row in unseen.tolist()], dtype=bool)
        yield "leaves, 14 species that the model never saw", leaves, unseen[~is_test], unseen[is_test]
        yield "leaves, 85 species", leaves, _train(leaves), leaves.rows_of("val")
        yield "reef fish, 15 species", fish, _train(fish), fish.rows_of("val")
    world = _biosphere(each)
    yield f"biosphere, {_SPECIES} species", world, _train(world), world.rows_of("val")


def _train(catalog: Catalog) -> NDArray[np.int64]:
    return np.union1d(catalog.rows_of("train"), catalog.rows_of("dev"))


def _features(found: FoundModel, catalog: Catalog, rows: NDArray[np.int64]) -> Sample:
    """Return the rows' features, which are computed once for a model and a catalog."""
    key = settings_id({"weights": found.weights_sha256, "catalog": catalog.identity, "rows": rows.tolist()})[:16]
    file = cache() / "learning_curves" / f"{key}.npy"
    if not file.is_file():
        compute = choose_compute("cpu", "fp32")
        book = FeatureBook(catalog, open_encoder(found, compute), workers=1)
        book.encode(rows, "Encoding", _progress)
        assert not book.failures, book.failures
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing_file(file) as draft, draft.open("wb") as out:
            np.save(out, book.of(rows))
    return Sample(np.load(file).astype(np.float32), catalog.taxon_of_N[rows], groups_of(catalog)[rows])


def _progress(stage: str, done: int, total: int) -> None:
    if done % 1000 == 0 or done == total:
        print(f"{stage}: {done} of {total}", file=sys.stderr, flush=True)


def _found(name: str) -> FoundModel:
    from bioclip_plugin import create_plugin_manager

    return find_model(name, create_plugin_manager(installed=False).models())


def _built(name: str) -> Catalog:
    from benchmarks.questions.real_sets import catalog_of

    return catalog_of(name)


def _biosphere(each: int) -> Catalog:
    """Return a catalog of the animals of camera-trap scenes, cut out by their boxes; every scene is a group of its own."""
    folder = cache() / "learning_curves" / f"biosphere-{each}"
    file = folder / "catalog.parquet"
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        species = Biosphere.grow(seed=_TREE, families=_FAMILIES, species=_SPECIES).species
        rows = []
        for number in range(_SPECIES * (each + _TEST)):
            own = species[number % _SPECIES]
            photo = photograph(own, np.random.default_rng([_TREE, number]), _SIZE)
            photo.image.save(folder / f"{number}.jpg", quality=88)
            split = "train" if number < _SPECIES * each else "val"
            rows.append(CatalogRow(f"{number}.jpg", own.taxon, split=split, group=str(number), box=photo.box))
            _progress("Drawing", number + 1, _SPECIES * (each + _TEST))
        with replacing_file(file) as draft:
            parquet.write_table(table_from(rows), draft)
    return Catalog.open(file)


def _data() -> Path:
    return Path(os.environ["BIOCLIP_DATA"])


if __name__ == "__main__":
    sys.exit(main())
