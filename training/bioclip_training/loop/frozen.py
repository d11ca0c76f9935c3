"""The rungs without training: prototypes and a probe on the features of the starting model, as their commands make them.

Features, label sets and answers are those of the main job, so that a rung's figure is what ``classify --labels`` answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from bioclip_core.encoder import Encoder
from bioclip_core.errors import BioclipError
from bioclip_core.labels.label_set import LabelSet
from bioclip_core.labels.prototypes import build_prototypes
from bioclip_core.models import ModelEntry, find_model
from bioclip_core.open_clip_encoder import open_encoder
from bioclip_training.catalog.trained_on import learnt_by
from bioclip_training.evaluation.features import FeatureBook
from bioclip_training.evaluation.probing import MOST_EXAMPLES, Tested, fit_probe
from bioclip_training.evaluation.prototyping import Sample, examples_of, scores_of, text_labels
from bioclip_training.evaluation.scores import mean_nll
from bioclip_training.evaluation.truth import EXACT
from bioclip_training.loop.building import Plan
from bioclip_training.loop.trainer import Trainer
from bioclip_training.loop.validation import HeldOut
from bioclip_training.shards.collection import open_collection

PROTOTYPES, PROBE = "prototypes", "probe"
"""Names of the rungs."""

_IMAGES_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class FrozenRung:
    """Answers of a label set that needs no training."""

    name: str
    hits_N: NDArray[np.bool_]
    nll: float


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Examples that the probe answered while they were left out of it, and the start's answers to the same images.

    Where the start did not learn from them either, they tell which of the two is better if ``dev`` is too small to.
    """

    probe_T: NDArray[np.bool_]
    start_T: NDArray[np.bool_]
    groups_T: tuple[str, ...]
    is_new_to_start: bool = False
    """True if the start's own list of training images has none of these; False if it has no list."""
    learnt: int = 0
    """Further such images that the start learnt from, itself or another image of their group; they are not compared."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """The rungs without training."""

    rungs: tuple[FrozenRung, ...] = ()
    is_capped: bool = False
    """True if not all images of ``train`` were examples."""
    left_out: LeftOut | None = None
    bad: tuple[tuple[str, str], ...] = ()
    """Key and reason of each training image that cannot be read."""


def frozen_rungs(plan: Plan, models: Mapping[str, ModelEntry], held_out: HeldOut, trainer: Trainer) -> Frozen:
    """Measure prototypes and a probe of the training images on the held-out ones.

    A rung that cannot be made is reported and left out: training is done, and its result must not be lost for it.

    Args:
        plan: the plan of the run.
        models: the registry of models, by name.
        held_out: the held-out images, decoded.
        trainer: takes each figure, and the progress.
    """

    def report(stage: str, done: int, total: int) -> None:
        trainer.stage(stage)(done, total)

    config, device = plan.config, plan.compute.device
    try:
        encoder = open_encoder(find_model(config.start, models), plan.compute)
        catalog = open_collection(config.data, dev_fraction=config.dev_fraction, replace_prefix=config.replace_prefix)
        book = FeatureBook(catalog, encoder, workers=config.workers or None)
        examples = examples_of(catalog, "train", book, most_examples=MOST_EXAMPLES, progress=report)
    except BioclipError as error:
        trainer.say(f"prototypes and probe cannot be measured: {error}")
        return Frozen()
    queries = _queries(held_out, encoder)
    left_out: LeftOut | None = None

    def prototypes(folder: Path) -> LabelSet:
        return build_prototypes(examples.features_ND, examples.taxa, encoder.identity, folder)

    def probe(_: Path) -> LabelSet:
        nonlocal left_out
        fitted, _fit, tested = fit_probe(examples.features_ND, examples.taxa, examples.groups, progress=report)
        left_out = _left_out(
            examples, tested, encoder, held_out, device, partial(learnt_by, plan.start.folder, catalog)
        )
        return fitted.in_memory(encoder.identity)

    rungs = []
    for name, make in ((PROTOTYPES, prototypes), (PROBE, probe)):
        try:
            with TemporaryDirectory(prefix="bioclip-", ignore_cleanup_errors=True) as scratch:
                scores = scores_of(make(Path(scratch) / "set"), queries, device=device)[EXACT]
        except BioclipError as error:
            trainer.say(f"{name} cannot be measured: {error}")
            continue
        rungs.append(FrozenRung(name, scores.place_N == 0, mean_nll(scores.own_N)))
        trainer.say(f"{name}: {rungs[-1].hits_N.mean():.1%} of {held_out.evidence.counted} of dev")
    is_capped = len(catalog.rows_of("train")) > MOST_EXAMPLES
    bad = tuple((catalog.key(row), reason.partition(": ")[2]) for row, reason in book.failures.items())
    return Frozen(tuple(rungs), is_capped, left_out, bad)


def _queries(held_out: HeldOut, encoder: Encoder) -> Sample:
    parts = [
        encoder.encode_images(np.stack(held_out.images[start : start + _IMAGES_AT_ONCE]))
        for start in range(0, len(held_out), _IMAGES_AT_ONCE)
    ]
    taxa = tuple(held_out.taxa[taxon] for taxon in held_out.taxon_N.tolist())
    return Sample("dev", np.concatenate(parts), taxa, tuple(held_out.groups))


def _left_out(
    examples: Sample,
    tested: Tested,
    encoder: Encoder,
    held_out: HeldOut,
    device: str,
    learnt: Callable[[NDArray[np.int64]], tuple[NDArray[np.bool_], bool]],
) -> LeftOut | None:
    if not len(tested.rows_T):
        return None
    rows_T = np.sort(tested.rows_T)
    probe_T = tested.hits_T[np.argsort(tested.rows_T)]
    learnt_T, is_known = learnt(np.array(examples.rows, dtype=np.int64)[rows_T])
    count = int(learnt_T.sum())
    if learnt_T.all():
        nothing = np.zeros(0, dtype=bool)
        return LeftOut(nothing, nothing, (), True, count)
    sample = examples.where(np.isin(np.arange(len(examples)), rows_T[~learnt_T]))
    named = [taxon for taxon in held_out.taxa if taxon.rank is not None]
    start = scores_of(text_labels(named, encoder), sample, device=device)[EXACT]
    return LeftOut(probe_T[~learnt_T], start.place_N == 0, sample.groups, is_known, count)
