"""Running of an ablation: each arm trained with each seed and asked about the tests, once; the same call continues."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bioclip_core.device import choose_compute
from bioclip_core.errors import BioclipError, DataError, UsageError
from bioclip_core.files.documents import read_document
from bioclip_core.files.whole import replacing_file, write_whole
from bioclip_core.identity import settings_id
from bioclip_core.models import ModelEntry, find_model
from bioclip_training.ablation.answers import Answers, Test, answers_of
from bioclip_training.ablation.arms import Arm, arms_of
from bioclip_training.ablation.configuration import Ablation
from bioclip_training.ablation.results import Results
from bioclip_training.ablation.trained_images import leave_out_trained, seen_by
from bioclip_training.ablation.wording import errors_in_configuration
from bioclip_training.catalog.rows import Catalog
from bioclip_training.catalog.uris import RelativeUris
from bioclip_training.evaluation.features import StageProgress
from bioclip_training.loop.recipe import TrainConfig, TrainingProgress, TrainingStopped, TrainResult
from bioclip_training.shards.collection import open_collection

log = logging.getLogger("bioclip_plugin.training")

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


@dataclass(frozen=True)
class Prepared:
    """An opened ablation: its catalog, tests, arms, and which runs have answers."""

    config: Ablation
    catalog: Catalog
    tests: tuple[Test, ...]
    arms: tuple[Arm, ...]
    start_id: str
    remarks: tuple[str, ...] = ()
    """Sentences on images of the tests that are trained on."""
    _content_of: dict[str, str] = field(default_factory=dict)
    """Sha256 of replayed collections, by address."""

    @property
    def runs(self) -> list[tuple[Arm, int]]:
        """All runs: seed after seed, so that after each seed every arm can be compared."""
        return [(arm, seed) for seed in self.config.seeds for arm in self.arms]

    def identity(self, arm: Arm, seed: int) -> str:
        """Return a key that is equal for runs with equal answers: by the content of collections, wherever they lie."""
        settings = arm.deciding
        if address := settings.get("replay"):
            if address not in self._content_of:
                self._content_of[address] = open_collection(address).identity
            settings["replay"] = self._content_of[address]
        return settings_id(
            {
                "settings": settings, "sources": list(arm.sources), "seed": seed,
                "start": self.start_id, "catalog": self.catalog.identity, "captions": list(self.config.captions),
                "tests": {test.name: test.identity() for test in self.tests},
            }
        )[:16]  # fmt: skip

    def answers(self, arm: Arm, seed: int) -> Path:
        return self.config.output / ANSWERS / f"{self.identity(arm, seed)}.npz"

    def stored(self, arm: Arm, seed: int) -> Answers | None:
        """Return the answers of a run; None if there are none, or if they are damaged or not of all images, which is logged."""
        file = self.answers(arm, seed)
        if not file.is_file():
            return None
        try:
            found = Answers.read(file)
        except DataError as error:
            log.warning(f"{error}; the run is done again")
            return None
        sizes = {(test.name, caption): len(test.rows_N) for test in self.tests for caption in self.config.captions}
        if {key: len(answers) for key, answers in found.by_test.items()} != sizes:
            log.warning(f"{file}: the answers are not those to the images of the tests; the run is done again")
            return None
        return found

    def failure(self, arm: Arm, seed: int) -> str:
        """Return the reason why the last attempt at a run failed; empty if it did not."""
        file = self.facts(arm, seed)
        if self.answers(arm, seed).is_file() or not file.is_file():
            return ""
        return str(read_document(file, dict[str, Any], name="facts of a run").get("failed", ""))

    def facts(self, arm: Arm, seed: int) -> Path:
        return self.answers(arm, seed).with_suffix(".json")

    @property
    def finished(self) -> int:
        return sum(self.stored(arm, seed) is not None for arm, seed in self.runs)


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
    with errors_in_configuration():
        for arm in arms:  # settings that do not fit are found before the first run
            TrainConfig(data=str(config.data), start=config.start, output=str(config.output / RUNS), **arm.settings)
    start_id, folder = _start(config.start, entries)
    seen = seen_by(arms, catalog, folder)
    remarks = [
        f"Test {test.name}: {line}" for test in tests for line in leave_out_trained(test, config.tests[test.name], seen)
    ]
    return Prepared(config, catalog, tuple(tests), tuple(arms), start_id, tuple(remarks))


def _start(start: str, entries: Mapping[str, ModelEntry]) -> tuple[str, Path | None]:
    """Return what decides the first weights, and the folder of the start model if it has one."""
    if not start.startswith("new:"):
        found = find_model(start, entries)
        return settings_id({"model": found.identity()}), found.folder
    file = Path(start.removeprefix("new:"))
    return (settings_id({"architecture": file.read_text("utf-8")}) if file.is_file() else start), None


def run(
    prepared: Prepared,
    train: Callable[[TrainConfig], TrainResult],
    entries: Mapping[str, ModelEntry],
    listener: Listener | None = None,
) -> Results:
    """Train and ask every run that has no answers yet, and return the results of all.

    A run of another arm than the baseline that fails does not end the others: its reason is logged and kept, and the next call
    tries it again. Without the baseline there is nothing to compare with.

    Args:
        prepared: the opened ablation.
        train: trains by a recipe; that of the plugins, or :func:`bioclip_training.loop.run.train`.
        entries: the registry of models, by name.
        listener: is told of the progress.

    Raises:
        TrainingStopped: if the listener asked for it; finished runs stay.
        BioclipError: if the baseline cannot be trained or asked.
    """
    listener = listener or Listener()
    runs = prepared.runs
    for done, (arm, seed) in enumerate(runs):
        listener.begin(arm.name, seed, done, len(runs))
        if prepared.stored(arm, seed) is not None:
            continue
        try:
            with errors_in_configuration():
                _run_one(prepared, arm, seed, train, entries, listener)
        except TrainingStopped:
            raise
        except BioclipError as error:
            if arm is prepared.arms[0]:
                raise
            log.warning(f"{arm.name}, seed {seed}: {error}. The other arms go on; the same command tries it again")
            _write_facts(prepared, arm, seed, {"failed": str(error)})
        finally:
            _remove_empty(prepared.config.output)
    return results_of(prepared)


def _write_facts(prepared: Prepared, arm: Arm, seed: int, facts: Mapping[str, Any]) -> None:
    file = prepared.facts(arm, seed)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, json.dumps({"arm": arm.name, "seed": seed, **facts}, indent=1) + "\n")


def _remove_empty(output: Path) -> None:
    """Remove folders of runs in which nothing is kept, and those above them, so that an error leaves nothing behind."""
    runs = output / RUNS
    for folder in [*(runs.iterdir() if runs.is_dir() else ()), runs, output]:
        with suppress(OSError):  # a folder with something in it
            folder.rmdir()


def results_of(prepared: Prepared) -> Results:
    """Return the results of the runs that have answers, and the reasons of those that failed."""
    runs = {(arm.name, seed): (arm, seed) for arm, seed in prepared.runs}
    found = {key: answers for key, run in runs.items() if (answers := prepared.stored(*run)) is not None}
    failed = {key: reason for key, run in runs.items() if key not in found and (reason := prepared.failure(*run))}
    return Results(prepared.config, prepared.tests, prepared.arms, found, failed, prepared.remarks)


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
        "steps": result.steps, "best_step": result.best_step, "dev_top1": result.dev_top1, "quarantined": result.quarantined,
    }  # fmt: skip
    _write_facts(prepared, arm, seed, facts)
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
