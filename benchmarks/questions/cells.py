"""Cells: small models from the trainer, each with its answers for every held-out plate, kept as JSON so that it is trained once."""

from __future__ import annotations

import json
import shutil
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache as remembered
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import machine
from benchmarks.fixtures import cache
from benchmarks.questions.sizes import Size, Vision
from benchmarks.questions.world import Plates
from bioclip_core.captions import Caption, captions_for_labels
from bioclip_core.errors import SourceError
from bioclip_core.files.whole import replacing_file
from bioclip_core.identity import settings_id
from bioclip_core.taxonomy import Taxon

if TYPE_CHECKING:
    from bioclip_training.catalog.rows import Catalog

CAPTIONS = tuple(kind for kind in Caption if kind is not Caption.TEMPLATES)
"""BioCLIP's five captions."""


@dataclass(frozen=True, slots=True)
class Collection:
    """Training plates of some species of a world."""

    name: str
    species: tuple[int, ...]
    plates: int | None = None
    """Plates per species; None takes the world's number."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One training run."""

    seed: int
    collection: Collection
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Settings that differ from the trainer's recipe."""
    base: Cell | None = None
    """Run whose model this one starts from; None starts with random weights."""
    replay: Collection | None = None
    vision: Vision = "resnet"
    """Vision tower of the random start."""

    def identity(self, size: Size) -> str:
        """Return a key that is equal for equal experiments. Sizes count by their values, since a name can change its meaning."""
        values = {**asdict(self), "size": {**asdict(size), "name": ""}}
        return settings_id(json.loads(json.dumps(values)))[:16]

    @property
    def trained(self) -> tuple[int, ...]:
        """Every species that the model was trained on, in this run or before."""
        own = {*self.collection.species, *(self.replay.species if self.replay else ())}
        return tuple(sorted(own | set(self.base.trained if self.base else ())))


@dataclass(frozen=True, slots=True)
class Outcome:
    """Answers of a cell, one per plate, from which every figure and interval is computed."""

    answers: Mapping[str, Sequence[int]]
    """Species with the nearest caption for each of the N val plates, by ``CAPTION/LABELS``. The labels are ``all`` species, or only
    the ``trained`` or the ``untrained`` ones."""
    facts: Mapping[str, Any]
    """Processor time, share of duplicate captions, last losses and commit of the run."""

    def species_N(self, caption: str = "taxonomic", labels: str = "all") -> NDArray[np.int64]:  # noqa: N802
        return np.array(self.answers[f"{caption}/{labels}"], dtype=np.int64)


class Study:
    """All cells of one size on this machine."""

    def __init__(self, size: Size, *, may_train: bool = True, say: Callable[[str], None] = print) -> None:
        self.size = size
        self._may_train = may_train
        self._say = say

    @cached_property
    def _folder(self) -> Path:
        folder = cache() / "questions"
        (folder / "cells").mkdir(parents=True, exist_ok=True)
        return folder

    def outcome(self, cell: Cell) -> Outcome | None:
        """Return the cell's stored answers, or train it now; None if it is not stored and training is off."""
        file = self._folder / "cells" / f"{cell.identity(self.size)}.json"
        if not file.is_file():
            if not self._may_train:
                return None
            self._say(f"seed {cell.seed}, {cell.collection.name}, {dict(cell.changes) or 'as the recipe'}")
            outcome = self._made(cell)
            with replacing_file(file) as draft:
                draft.write_text(json.dumps(asdict(outcome)), "utf-8")
        return Outcome(**json.loads(file.read_text("utf-8")))

    def _made(self, cell: Cell) -> Outcome:
        started = time.process_time()
        folder = self.checkpoint(cell)
        trained = time.process_time() - started
        answers = _answers(folder, plates_of(self.size, cell.seed), cell)
        facts = {**json.loads((folder / "facts.json").read_text("utf-8")), "training_cpu_s": round(trained, 1)}
        facts |= {"commit": machine.commit(), "seconds": round(time.process_time() - started, 1)}
        self._say(f"  {facts}")
        return Outcome(answers, facts)

    def checkpoint(self, cell: Cell) -> Path:
        """Return the folder of the trained model, without the files that the trainer keeps to resume."""
        from bioclip_training.loop.recipe import TrainConfig
        from bioclip_training.loop.run import train

        folder = self._folder / "models" / cell.identity(self.size)
        if not (folder / "facts.json").is_file():
            plates = plates_of(self.size, cell.seed)
            config = TrainConfig(
                data=_catalog(plates, cell.collection), start=self._start(cell), output=str(folder),
                replay=_catalog(plates, cell.replay) if cell.replay else None, seed=cell.seed, **self._settings(cell),
            )  # fmt: skip
            train(config, {})
            facts = _facts_of_run(folder)
            shutil.rmtree(folder / "training")
            (folder / "facts.json").write_text(json.dumps(facts), "utf-8")
        return folder

    def _start(self, cell: Cell) -> str:
        if cell.base is not None:
            return f"local-dir:{self.checkpoint(cell.base)}"
        model = self.size.model(cell.vision)
        file = self._folder / f"start-{settings_id(model)[:12]}.json"
        file.write_text(json.dumps(model), "utf-8")
        return f"new:{file}"

    def _settings(self, cell: Cell) -> dict[str, Any]:
        """Return settings without any choice on held-out images, so that arms differ only in the setting that names them."""
        size, tuned = self.size, cell.base is not None
        first_steps = {"resnet": size.steps, "transformer": size.transformer_steps}[cell.vision]
        steps = size.fine_tuning_steps if tuned else first_steps
        settings = {
            "steps": steps, "batch_size": size.batch_size, "validate_every": steps, "save_every": steps, "dev_fraction": 0.0,
            "wise_ft": False, "augmentation": "none", "precision": "fp32",
            "learning_rate": size.fine_tuning_rate if tuned else size.learning_rate, "trunk_rate": 0.1 if tuned else 1.0,
        }  # fmt: skip
        return {**settings, **cell.changes}


@remembered
def plates_of(size: Size, seed: int) -> Plates:
    return Plates(size.world(seed))


def truth_N(plates: Plates) -> NDArray[np.int64]:  # noqa: N802
    """Return the species of each val plate, in the order of the val catalog."""
    return np.repeat(np.arange(len(plates.taxa)), plates.world.val_plates)


def _catalog(plates: Plates, collection: Collection) -> str:
    return str(plates.train_catalog(collection.name, collection.species, collection.plates))


def _facts_of_run(folder: Path) -> dict[str, Any]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    steps = [line for line in lines if "duplicate_captions" in line]
    return {
        "duplicate_captions": round(statistics.mean(line["duplicate_captions"] for line in steps), 3),
        "last_losses": round(statistics.mean(line["loss"] for line in steps[-10:]), 3),
        "logit_scale": round(steps[-1]["logit_scale"], 2),
    }


def _answers(folder: Path, plates: Plates, cell: Cell) -> dict[str, list[int]]:
    from bioclip_training.catalog.rows import Catalog

    catalog = Catalog.open(plates.val_catalog())
    everything = tuple(range(len(plates.taxa)))
    untrained = tuple(sorted(set(everything) - set(cell.trained)))
    label_sets = {"all": everything, "trained": cell.trained, "untrained": untrained}
    return answers_of(folder, catalog, np.arange(len(catalog)), plates.taxa, label_sets)


def answers_of(
    model: Path, catalog: Catalog, rows_N: NDArray[np.int64], taxa: Sequence[Taxon], label_sets: Mapping[str, Sequence[int]]
) -> dict[str, list[int]]:  # fmt: skip
    """Return the nearest label of each row, as an index into ``taxa``, for each caption and label set.

    Raises:
        SourceError: if an image cannot be read, since an experiment needs all its images.
    """
    from bioclip_core.device import choose_compute
    from bioclip_core.models import find_model
    from bioclip_core.open_clip_encoder import open_encoder
    from bioclip_core.progress import silent
    from bioclip_training.evaluation.features import FeatureBook

    compute = choose_compute(precision="fp32")
    encoder = open_encoder(find_model(f"local-dir:{model}", {}), compute)
    book = FeatureBook(catalog, encoder, batch_size=64)
    book.encode(rows_N, "images", silent)
    if book.failures:
        raise SourceError(
            f"{catalog.file}: {len(book.failures)} images cannot be read, the first: {min(book.failures.items())}; "
            "restore them and run again"
        )
    features_ND = book.of(rows_N).astype(np.float32)
    answers = {}
    for caption in CAPTIONS:
        texts_SD = encoder.encode_texts([captions_for_labels(taxon, caption)[0] for taxon in taxa])
        for name, labels in label_sets.items():
            if labels:
                places_N = (features_ND @ texts_SD[list(labels)].T).argmax(axis=1)
                answers[f"{caption.value}/{name}"] = [int(labels[place]) for place in places_N]
    return answers
