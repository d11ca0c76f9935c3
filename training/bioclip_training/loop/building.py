"""The parts of a training run, built from its recipe: plan, towers, sources of batches, held-out images, trainer."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bioclip_core.device import Compute
from bioclip_core.errors import SourceError
from bioclip_core.files.present import is_file, is_folder
from bioclip_core.next_commands import command
from bioclip_core.progress import Progress
from bioclip_core.taxonomy import Taxon
from bioclip_training.batches.caption_drawing import all_captions
from bioclip_training.batches.clashing import Collection, without_clashes
from bioclip_training.batches.data import LabelledImages, open_images
from bioclip_training.batches.stream import TrainingStream
from bioclip_training.batches.together import one_label_each, same_labels
from bioclip_training.catalog.rows import Catalog
from bioclip_training.catalog.trained_on import learnt_by
from bioclip_training.loop.checkpoint import RunFolder
from bioclip_training.loop.distributed import World
from bioclip_training.loop.optimizer import Optimizer
from bioclip_training.loop.plan_record import counted
from bioclip_training.loop.recipe import TrainConfig, TrainingProgress, stage_of
from bioclip_training.loop.start import Start
from bioclip_training.loop.trainer import Source, Trainer
from bioclip_training.loop.update import Ancestors, Side, log_priors
from bioclip_training.loop.validation import MOST, HeldOut, label_captions
from bioclip_training.shards.manifest import INDEX_FILE
from bioclip_training.shards.published import PublishedCatalog
from bioclip_training.towers.kernel_book import KernelBook
from bioclip_training.towers.lora import add_low_rank, freeze_all_but_additions
from bioclip_training.towers.model import Towers

log = logging.getLogger("bioclip_plugin.training")

_MOST_CAPTIONS = 1_000_000
"""Published captions whose tokens are looked up before the first step, a minute's work; of more, every token is trained."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is decided before the first step of a run."""

    config: TrainConfig
    """The recipe with a number for every choice that it left open."""
    start: Start
    images: LabelledImages
    replay: LabelledImages | None
    compute: Compute
    world: World
    folder: RunFolder
    notes: tuple[str, ...] = ()
    """Remarks on the data, from their opening."""
    dev_images: int = MOST
    """Limit of held-out images; a plan needs few."""

    def say(self, *messages: str) -> None:
        """Log messages and report them to the caller, before there is a trainer."""
        for message in messages:
            log.info(message)
            if self.config.tell is not None:
                self.config.tell(TrainingProgress(0, self.steps, message=message))

    def stage(self, name: str) -> Progress:
        """Return a function that reports the progress of long work before the first step."""
        return stage_of(self.config, name, 0, self.steps)

    def learnt_by_start(self, catalog: Catalog, rows: NDArray[np.int64], part: str) -> str:
        """Say how many images of a held-out part the start model learnt from, by its own list; empty if it lists none of them."""
        learnt_N, _ = learnt_by(self.start.folder, catalog, rows)
        if not learnt_N.any():
            return ""
        return (
            f"the start model learnt from {int(learnt_N.sum())} of the {counted(len(rows), 'image')} of {part}, or from others of their "
            "groups: accuracy there is too good, its own most of all"
        )

    @property
    def taxa(self) -> list[Taxon]:
        """The taxa of the data and of the replay."""
        return [*self.images.taxa, *(self.replay.taxa if self.replay else ())]

    @property
    def replayed_taxa(self) -> LabelledImages | None:
        """The replay if its images have taxa, whose accuracy can be measured."""
        return self.replay if self.replay is not None and self.replay.taxa else None

    @property
    def steps(self) -> int:
        return self.config.steps or 1


def open_data(config: TrainConfig) -> tuple[LabelledImages, LabelledImages | None, list[str]]:
    """Open the data and the replay, with one label per taxon, and return what is to be said of them.

    Raises:
        SourceError: if one of them cannot be read, or the data have a single taxon.
        DataError: if one of them holds out what the other one trains on, and no option decides.
    """
    opened = partial(
        open_images, part="train", dev_fraction=config.dev_fraction, replace_prefix=config.replace_prefix, captions=config.caption_source,
        progress=stage_of(config, "Reading the headers of published shards", 0, 0),
    )  # fmt: skip
    data = Collection(opened(config.data), f"--data {config.data}")
    old = Collection(opened(config.replay, is_replay=True), f"--replay {config.replay}") if config.replay else None
    images, replay, clashes = without_clashes(data, old, config.clashing_splits, config.dev_fraction)
    notes = clashes + one_label_each([images, *([replay] if replay else [])])
    if len(np.unique(images.taxon_of_N)) < 2:
        only = "".join(f", {images.taxa[number].name}" for number in images.taxon_of_N[:1].tolist())
        listed = Path(config.data, INDEX_FILE) if is_folder(config.data) else Path(config.data)
        is_catalog = is_file(listed) and not isinstance(images.catalog, PublishedCatalog)
        see = f", see: {command('catalog show', listed, taxa=True)}" if is_catalog else ""
        raise SourceError(
            f"--data {config.data}: its part train has {counted(len(images), 'image')} of a single taxon{only}, and a contrast needs two; "
            f"add another{see}"
        )
    return images, replay, notes


def build_trainer(plan: Plan) -> Trainer:
    """Return a trainer that is ready to run or to be restored."""
    config, start, world = plan.config, plan.start, plan.world
    plan.stage("Preparing the towers and the fastest kernels")(0, 0)
    if config.method == "lora":
        add_low_rank(start.model, config.lora_rank, config.lora_alpha, seed=config.seed)
    towers = _build_towers(plan)
    if config.method == "lora":
        freeze_all_but_additions(start.model)
    world.same_everywhere_([item.parameter for item in towers.trainable()])
    optimizer = Optimizer(towers, config, plan.steps)
    data = _source(plan, plan.images, config.batch_size, seed=config.seed, weight=1.0)
    replay = None
    if plan.replay:
        replay = _source(plan, plan.replay, config.replay_batch_size, seed=config.seed + 1, weight=config.replay_weight)
    held_out, of_replay = _held_out(plan, config.data, plan.images), _held_out(plan, config.replay, plan.replayed_taxa)
    trainer = Trainer(
        config, towers, optimizer, data, replay, plan.folder, world, plan.steps, has_baseline=not start.is_random,
        held_out=held_out or None, held_out_of_replay=of_replay or None,
    )  # fmt: skip
    for found in (held_out, of_replay):
        trainer.quarantine(() if found is None else found.bad)
    return trainer


def plain_towers(plan: Plan, start: Start) -> Towers:
    """Return towers without LoRA's additions, for weights that have the additions in their matrices.

    Args:
        plan: the plan of the run.
        start: the start of the run, opened again; only this process uses the towers.
    """
    return _build_towers(replace(plan, start=start, config=replace(plan.config, method="full"), world=World()))


def _build_towers(plan: Plan) -> Towers:
    config, start, world = plan.config, plan.start, plan.world
    captions = dict.fromkeys([*all_captions(plan.taxa, config.captions), *label_captions(plan.taxa)])
    published = [part.texts.distinct(_MOST_CAPTIONS) for part in (plan.images, plan.replay) if part and part.texts]
    for texts in published:
        captions.update(dict.fromkeys(texts or ()))
    book = KernelBook(start.model_cfg, config.batch_size // config.accumulate, plan.compute)
    towers = Towers(
        start.model, start.tokenizer, captions=list(captions), preprocessing=start.preprocessing, compute=plan.compute,
        replay_projection=plan.replay is not None and config.replay_projection == "second",
        gradient_checkpointing=config.gradient_checkpointing, lock_image=config.lock_image, lock_text=config.lock_text,
        drop_path=config.drop_path, compile=config.compile, kernels=world.agreed(book.remembered()),
        images=max(1, config.batch_size // config.accumulate // world.size), every_token=None in published,
    )  # fmt: skip
    towers.use_kernels(world.agreed(towers.kernels))  # without a remembered choice each process measured for itself
    book.remember(towers.kernels)
    return towers


def _source(plan: Plan, images: LabelledImages, batch_size: int, *, seed: int, weight: float) -> Source:
    config = plan.config
    stream = TrainingStream(
        images, batch_size=batch_size, preprocessing=plan.start.preprocessing, augmentation=config.augmentation,
        captions=config.captions, balance=config.balance, seed=seed, workers=config.threads, cache_mb=config.cache_mb,
        rank=plan.world.rank, world=plan.world.size,
    )  # fmt: skip
    has_prior = config.balance == "logits" and images.taxa
    prior = log_priors(images.taxon_of_N, len(images.taxa)) if has_prior else None
    ancestors = Ancestors([taxon.lineage for taxon in images.taxa])
    return Source(stream, partial(Side, weight=weight, log_prior_C=prior, ancestors=ancestors))


def _held_out(plan: Plan, address: str | None, trained: LabelledImages | None) -> HeldOut | None:
    """Return the ``dev`` part of a collection in the first process, with the labels of its trained part; None if it has none."""
    if address is None or trained is None or not plan.world.is_first:
        return None
    try:
        images = open_images(
            address, "dev", dev_fraction=plan.config.dev_fraction, replace_prefix=plan.config.replace_prefix
        )
    except SourceError:
        return None
    same_labels(images, trained)
    return HeldOut(
        images, plan.start.preprocessing, plan.config.threads, most=plan.dev_images, report=plan.stage("Decoding dev")
    )
