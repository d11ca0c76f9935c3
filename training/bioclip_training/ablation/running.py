"""Running of an ablation: each arm trained with each seed and asked about the tests, once; the same call continues."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bioclip_core.device import choose_compute
from bioclip_core.errors import DataError, UsageError
from bioclip_core.files.whole import replacing_file, write_whole
from bioclip_core.identity import settings_id
from bioclip_core.models import ModelEntry, find_model
from bioclip_training.ablation.answers import Answers, Test, answers_of
from bioclip_training.ablation.arms import Arm, arms_of
from bioclip_training.ablation.configuration import Ablation
from bioclip_training.ablation.results import Results
from bioclip_training.catalog.rows import Catalog
from bioclip_training.catalog.uris import RelativeUris
from bioclip_training.evaluation.features import StageProgress
from bioclip_training.loop.recipe import TrainConfig, TrainingProgress, TrainResult

ANSWERS, DATA, RUNS = "answers", "data", "runs"
_SAY_EVERY = 10  # steps


@dataclass(frozen=True, slots=True)
class Listener:
    """What a caller is told while an ablation runs."""

    begin: Callable[[str, int, int, int], None] = lambda _arm, _seed, _done, _total: None
    """Called before each run with arm, seed, finished runs and all runs."""
    training: Callable[[TrainingProgress], None] | None = None
    """Called with the progress of a training."""
    testing: StageProgress = lambda _stage, _done, _total: None
    """Called with the progress of the tests."""
    should_stop: Callable[[], bool] | None = None
    """Asked before each step; True saves the state and raises ``TrainingStopped``."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """An opened ablation: its catalog, tests, arms, and which runs have answers."""

    config: Ablation
    catalog: Catalog
    tests: tuple[Test, ...]
    arms: tuple[Arm, ...]
    start_id: str

    @property
    def runs(self) -> list[tuple[Arm, int]]:
        """All runs: seed after seed, so that after each seed every arm can be compared."""
        return [(arm, seed) for seed in self.config.seeds for arm in self.arms]

    def identity(self, arm: Arm, seed: int) -> str:
        """Return a key that is equal for runs with equal answers."""
        return settings_id(
            {
                "settings": dict(arm.settings), "sources": list(arm.sources), "seed": seed,
                "start": self.start_id, "catalog": self.catalog.identity, "captions": list(self.config.captions),
                "tests": {test.name: test.identity() for test in self.tests},
            }
        )[:16]  # fmt: skip

    def answers(self, arm: Arm, seed: int) -> Path:
        return self.config.output / ANSWERS / f"{self.identity(arm, seed)}.npz"

    @property
    def finished(self) -> int:
        return sum(self.answers(arm, seed).is_file() for arm, seed in self.runs)


def prepare(config: Ablation, entries: Mapping[str, ModelEntry]) -> Prepared:
    """Open catalogs, tests and arms of an ablation; nothing is trained or written.

    Raises:
        SourceError: if a catalog cannot be read.
        DataError: if a test has no images.
        UsageError: for arms that do not fit the catalog.
    """
    catalog = Catalog.open(config.data)
    opened = {config.data: catalog}
    tests = []
    for name, test in config.tests.items():
        file = test.data or config.data
        opened.setdefault(file, catalog if file == config.data else Catalog.open(file))
        if test.split == "train" and file == config.data:
            raise UsageError(f"tests.{name}: the models are trained on train; give val, unseen or another part")
        tests.append(Test(name, opened[file], test.split))
    train = catalog.rows_of("train", dev_fraction=0.0)
    if not len(train):
        raise DataError(f"{config.data} has no rows of the split train; it has {catalog.parts()}")
    source_N = np.array(catalog.column("source"), dtype=object)[train]
    arms = arms_of(config, sorted(set(source_N.tolist()) - {""}))
    for arm in arms:  # settings that do not fit are found before the first run
        TrainConfig(data=str(config.data), start=config.start, output=str(config.output / RUNS), **arm.settings)
    return Prepared(config, catalog, tuple(tests), tuple(arms), _start_id(config.start, entries))


def _start_id(start: str, entries: Mapping[str, ModelEntry]) -> str:
    """Return what decides the first weights."""
    if not start.startswith("new:"):
        return settings_id({"model": find_model(start, entries).identity()})
    file = Path(start.removeprefix("new:"))
    return settings_id({"architecture": file.read_text("utf-8")}) if file.is_file() else start


def run(
    prepared: Prepared,
    train: Callable[[TrainConfig], TrainResult],
    entries: Mapping[str, ModelEntry],
    listener: Listener | None = None,
) -> Results:
    """Train and ask every run that has no answers yet, and return the results of all.

    Args:
        prepared: the opened ablation.
        train: trains by a recipe; that of the plugins, or :func:`bioclip_training.loop.run.train`.
        entries: the registry of models, by name.
        listener: is told of the progress.

    Raises:
        TrainingStopped: if the listener asked for it; finished runs stay.
        SourceError: if the images of a test cannot be read.
    """
    listener = listener or Listener()
    runs = prepared.runs
    (prepared.config.output / ANSWERS).mkdir(parents=True, exist_ok=True)
    for done, (arm, seed) in enumerate(runs):
        listener.begin(arm.name, seed, done, len(runs))
        if not prepared.answers(arm, seed).is_file():
            _run_one(prepared, arm, seed, train, entries, listener)
    return results_of(prepared)


def results_of(prepared: Prepared) -> Results:
    """Return the results of the runs that have answers."""
    found = {
        (arm.name, seed): Answers.read(file)
        for arm, seed in prepared.runs
        if (file := prepared.answers(arm, seed)).is_file()
    }
    return Results(prepared.config, prepared.tests, prepared.arms, found)


def _run_one(
    prepared: Prepared,
    arm: Arm,
    seed: int,
    train: Callable[[TrainConfig], TrainResult],
    entries: Mapping[str, ModelEntry],
    listener: Listener,
) -> None:
    from bioclip_core.open_clip_encoder import open_encoder

    config, key = prepared.config, prepared.identity(arm, seed)
    folder = config.output / RUNS / key
    recipe = TrainConfig(
        data=str(_data_of(prepared, arm)), start=config.start, output=str(folder), seed=seed, tell=listener.training,
        should_stop=listener.should_stop, **arm.settings,
    )  # fmt: skip
    result = train(recipe)
    compute = choose_compute(recipe.device, recipe.precision)
    encoder = open_encoder(find_model(f"local-dir:{folder}", entries), compute)
    answers = answers_of(encoder, prepared.tests, config.captions, listener.testing)
    facts = {
        "arm": arm.name, "seed": seed, "steps": result.steps, "best_step": result.best_step, "dev_top1": result.dev_top1,
        "quarantined": result.quarantined,
    }  # fmt: skip
    write_whole(prepared.answers(arm, seed).with_suffix(".json"), json.dumps(facts, indent=1) + "\n")
    answers.write(prepared.answers(arm, seed))  # last: with it the run is finished
    if not config.keep_models:
        del encoder
        shutil.rmtree(folder)


def _data_of(prepared: Prepared, arm: Arm) -> Path:
    """Return the catalog that an arm is trained on: the whole one, or a copy with the rows of its sources."""
    if not arm.sources:
        return prepared.config.data
    from pyarrow import compute, parquet

    catalog = prepared.catalog
    folder = prepared.config.output / DATA
    file = folder / f"{settings_id({'catalog': catalog.identity, 'sources': list(arm.sources)})[:16]}.parquet"
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        table = catalog.table
        is_kept = compute.or_(
            compute.is_in(table["source"], value_set=_texts(arm.sources)), compute.not_equal(table["split"], "train")
        )
        rows = np.flatnonzero(is_kept.to_numpy(zero_copy_only=False))
        uris, kept = RelativeUris(folder), table.take(rows)
        place = kept.column_names.index("uri")
        moved = _texts([uris.of(catalog.path(row)) for row in rows.tolist()])
        with replacing_file(file) as draft:
            parquet.write_table(kept.set_column(place, "uri", moved), draft)
    return file


def _texts(values: Sequence[str]) -> Any:
    import pyarrow as pa

    return pa.array(list(values), pa.string())
