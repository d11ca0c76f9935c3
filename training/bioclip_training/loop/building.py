"""The parts of a training run, built from its recipe: data, towers, trainer."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bioclip_core.device import Compute
from bioclip_core.errors import SourceError
from bioclip_core.taxonomy import Taxon
from bioclip_training.loop.checkpoint import RunFolder
from bioclip_training.loop.distributed import World
from bioclip_training.loop.recipe import TrainConfig
from bioclip_training.loop.trainer import Source, Trainer

if TYPE_CHECKING:
    from bioclip_training.batches.data import LabelledImages
    from bioclip_training.batches.stream import Batch, TrainingStream
    from bioclip_training.loop.start import Start
    from bioclip_training.loop.update import Side
    from bioclip_training.loop.validation import HeldOut
    from bioclip_training.towers.model import Towers


def build_trainer(
    config: TrainConfig, start: Start, images: LabelledImages, replay: LabelledImages | None, compute: Compute, world: World,
    folder: RunFolder, total: int,
) -> Trainer:  # fmt: skip
    """A trainer that is ready to run or to be restored."""
    from bioclip_training.loop.optimizer import Optimizer
    from bioclip_training.towers.lora import add_low_rank, freeze_all_but_additions

    taxa = [*images.taxa, *(replay.taxa if replay else ())]
    if config.method == "lora":
        add_low_rank(start.model, config.lora_rank, config.lora_alpha)
    towers = build_towers(config, start, taxa, compute, world, replayed=replay is not None)
    if config.method == "lora":
        freeze_all_but_additions(start.model)
    world.same_everywhere_([item.parameter for item in towers.trainable()])
    optimizer = Optimizer(towers, config, total)
    replay_source = (
        _source(replay, config, start, world, weight=config.replay_weight, of_replay=True) if replay else None
    )
    data_source = _source(images, config, start, world, weight=1.0, of_replay=False)
    trainer = Trainer(config, towers, optimizer, data_source, replay_source, folder, world, total)
    if world.is_first and not start.is_random:
        trainer.starting_weights = trainer.weights()
    if world.is_first:
        trainer.held_out = held_out_of(config.data, config, start, trainer.quarantined)
        trainer.held_out_of_replay = (
            held_out_of(config.replay, config, start, trainer.quarantined) if config.replay else None
        )
    return trainer


def build_towers(
    config: TrainConfig, start: Start, taxa: Sequence[Taxon], compute: Compute, world: World, *, replayed: bool
) -> Towers:
    """The towers of a start, for these taxa."""
    from bioclip_training.batches.caption_drawing import all_captions
    from bioclip_training.loop.validation import label_captions
    from bioclip_training.towers.kernel_book import KernelBook
    from bioclip_training.towers.model import Towers

    book = KernelBook(start, config, compute)
    towers = Towers(
        start.model, start.tokenizer, captions=list(dict.fromkeys([*all_captions(taxa, config.captions), *label_captions(taxa)])),
        preprocessing=start.preprocessing, compute=compute, replay_projection=replayed and config.replay_projection == "second",
        gradient_checkpointing=config.gradient_checkpointing, lock_image=config.lock_image, lock_text=config.lock_text,
        drop_path=config.drop_path, compile=config.compile, kernels=world.agreed(book.remembered()),
        images=max(1, config.batch_size // config.accumulate // world.size),
    )  # fmt: skip
    towers.use_kernels(world.agreed(towers.kernels))  # each process measured for itself where nothing was remembered
    book.remember(towers.kernels)
    return towers


def held_out_of(address: str, config: TrainConfig, start: Start, bad: Callable[[str, str], None]) -> HeldOut | None:
    """The ``dev`` part of a catalog or of shards; None where it has none."""
    from bioclip_training.batches.data import open_images
    from bioclip_training.loop.validation import HeldOut

    try:
        images = open_images(address, "dev", dev_fraction=config.dev_fraction)
    except SourceError:
        return None
    held_out = HeldOut(images, start.preprocessing, workers_of(config), bad)
    return held_out if len(held_out) else None


def _source(
    images: LabelledImages, config: TrainConfig, start: Start, world: World, *, weight: float, of_replay: bool
) -> Source:
    from bioclip_training.batches.stream import TrainingStream
    from bioclip_training.loop.update import Ancestors, Side, log_priors

    size = round(config.batch_size * config.replay_ratio) if of_replay else config.batch_size
    stream: TrainingStream = TrainingStream(
        images, batch_size=max(1, size), size=start.preprocessing.size, preprocessing=start.preprocessing,
        augmentation=config.augmentation, captions=config.captions, balance="sampling" if config.balance == "sampling" else "none",
        seed=config.seed + (1 if of_replay else 0), workers=workers_of(config), cache_mb=config.cache_mb, rank=world.rank,
        world=world.size,
    )  # fmt: skip
    prior = log_priors(images.taxon_of_N, len(images.taxa)) if config.balance == "logits" else None
    ancestors = Ancestors([taxon.lineage for taxon in images.taxa])

    def side(batch: Batch) -> Side:
        return Side(batch, weight, prior, ancestors)

    return Source(stream, side)


def workers_of(config: TrainConfig) -> int:
    """Decoding threads."""
    return config.workers or min(16, os.cpu_count() or 1)
