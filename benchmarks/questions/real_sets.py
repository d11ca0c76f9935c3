"""Two questions put to the real sets in ``BIOCLIP_DATA``: leaves of unseen species, and both losses on the reef fish."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.fixtures import cache
from benchmarks.questions.cells import answers_of
from benchmarks.questions.figures import Sample, averaged, hits, percent, points, table
from benchmarks.questions.relatives import RANKS
from benchmarks.questions.sizes import Size
from benchmarks.questions.world import nearest
from bioclip_core.files.whole import replacing_file
from bioclip_core.identity import settings_id

if TYPE_CHECKING:
    from bioclip_training.catalog.rows import Catalog

_ROOT = Path(__file__).parent.parent.parent


def leaves(_size: Size, _seeds: Sequence[int], *, may_train: bool) -> str:  # noqa: ARG001 - one signature for all questions
    """Put question 4 to the mini checkpoint on the leaves. It was trained on ``train`` alone; nothing is trained here."""
    catalog = catalog_of("leaves")
    taxa, splits = catalog.taxa, np.array(catalog.column("split"), dtype=object)
    seen = sorted(set(catalog.taxon_of_N[splits == "train"].tolist()))
    unseen = sorted(set(range(len(taxa))) - set(seen))
    rows_N = np.flatnonzero((splits == "unseen") | (splits == "val"))
    label_sets = {"all": range(len(taxa)), "untrained": unseen}
    answers = answers_of(_data() / "models" / "mini", catalog, rows_N, taxa, label_sets)
    truth_N = catalog.taxon_of_N[rows_N]
    relatives = {index: nearest(taxa[index], [taxa[other] for other in seen]) for index in unseen}
    groups: dict[str, list[int]] = {"val: the species itself": seen}
    for index, rank in relatives.items():
        groups.setdefault(f"unseen: the {rank}", []).append(index)
    rows = []
    for labels, name in (("all", f"all {len(taxa)}"), ("untrained", f"the {len(unseen)} unseen")):
        for what, members in groups.items():
            if labels == "untrained" and members is seen:
                continue
            found = [hits(_array(answers, labels), truth_N, taxa, rank, members) for rank in RANKS]
            rows.append([name, f"{what} ({len(members)} labels, {len(found[0].hits_N)} images)", *map(percent, found)])
    return table(["among", "nearest seen", *(f"{rank} correct" for rank in RANKS)], rows)


def reef_fish(size: Size, seeds: Sequence[int], *, may_train: bool) -> str:
    """Put question 5 to the reef fish, with one small model per loss and seed, from random weights."""
    catalog = catalog_of("reef_fish")
    rows_N = np.flatnonzero(np.array(catalog.column("split"), dtype=object) == "val")
    truth_N, tracks_N = (
        catalog.taxon_of_N[rows_N],
        np.unique(np.array(catalog.column("group"))[rows_N], return_inverse=True)[1],
    )
    samples: dict[str, list[Sample]] = {"taxon": [], "clip": []}
    for seed in seeds:
        both = {loss: _trained(size, catalog, loss, seed, rows_N, may_train) for loss in samples}
        for loss, answers in both.items():
            if all(both.values()):
                samples[loss].append(Sample((_array(answers, "all") == truth_N).astype(np.float64), tracks_N))
    if not samples["clip"]:
        return "Not trained yet."
    # Frames of one track are one observation in every run: the seeds are averaged, not counted as more fish.
    taxon, clip = (averaged(samples[loss]) for loss in ("taxon", "clip"))
    head = ["labels", "images", "tracks", "seeds", "taxon", "clip", "difference"]
    counts = [len(catalog.taxa), len(rows_N), int(tracks_N.max()) + 1, len(samples["clip"])]
    return table(head, [[*map(str, counts), percent(taxon), percent(clip), points(taxon.minus(clip))]])


REAL: Mapping[str, Callable[..., str]] = {"leaves": leaves, "reef-fish": reef_fish}
"""Questions by the name that the command takes."""


def _trained(
    size: Size, catalog: Catalog, loss: str, seed: int, rows_N: NDArray[np.int64], may_train: bool
) -> dict[str, list[int]]:  # fmt: skip
    """Return the answers of one run on the val rows, by caption and label set; empty if it is missing and must not be trained."""
    from bioclip_training.loop.recipe import TrainConfig
    from bioclip_training.loop.run import train

    settings: dict[str, Any] = {
        "steps": size.steps, "batch_size": size.batch_size, "validate_every": size.steps, "save_every": size.steps,
        "dev_fraction": 0.0, "augmentation": "none", "precision": "fp32", "learning_rate": size.learning_rate, "seed": seed,
        "loss": loss,
    }  # fmt: skip
    model = dict(size.model("resnet"))
    folder = (
        cache() / "questions" / "reef-fish" / settings_id({**settings, "model": model, "data": catalog.identity})[:16]
    )
    file = folder / "answers.json"
    if not file.is_file() and may_train:
        folder.parent.mkdir(parents=True, exist_ok=True)
        start = folder.with_suffix(".json")
        start.write_text(json.dumps(model), "utf-8")
        train(TrainConfig(data=str(catalog.file), start=f"new:{start}", output=str(folder), **settings), {})
        answers = answers_of(folder, catalog, rows_N, catalog.taxa, {"all": range(len(catalog.taxa))})
        shutil.rmtree(folder / "training")
        with replacing_file(file) as draft:
            draft.write_text(json.dumps(answers), "utf-8")
    found: dict[str, list[int]] = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    return found


def catalog_of(name: str) -> Catalog:
    """Open a real set as a catalog; the command builds it once."""
    from bioclip_training.catalog.rows import Catalog

    file = cache() / "questions" / f"{name}.parquet"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        source = _data() / "data" / name / "collection.csv"
        command = [sys.executable, "-m", "bioclip_plugin", "catalog", "build", str(source), "--output", str(file)]
        subprocess.run(command, cwd=_ROOT, check=True, capture_output=True)
    return Catalog.open(file)


def _data() -> Path:
    return Path(os.environ["BIOCLIP_DATA"])


def _array(answers: Mapping[str, Sequence[int]], labels: str) -> NDArray[np.int64]:
    return np.array(answers[f"taxonomic/{labels}"], dtype=np.int64)
