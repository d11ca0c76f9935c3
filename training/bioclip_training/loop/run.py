"""From a recipe to a checkpoint: opens data and model, trains or continues, and finishes the folder."""

from __future__ import annotations

import logging
import platform
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bioclip_core.device import Compute, choose_compute
from bioclip_core.errors import SourceError, UsageError
from bioclip_core.models import ModelEntry
from bioclip_training.batches.data import open_images
from bioclip_training.evidence.minima import Evidence
from bioclip_training.loop.building import Plan, build_trainer, open_data, plain_towers
from bioclip_training.loop.checkpoint import RunFolder
from bioclip_training.loop.distributed import World, joined_world
from bioclip_training.loop.finishing import finish, finished_result
from bioclip_training.loop.recipe import TrainConfig, TrainingProgress, TrainResult
from bioclip_training.loop.start import Start, open_start, with_pairwise_bias
from bioclip_training.loop.validation import HeldOut

log = logging.getLogger("bioclip_plugin.training")


def train(config: TrainConfig, models: Mapping[str, ModelEntry]) -> TrainResult:
    """Train by a recipe, or continue an unfinished run in its folder; a finished run is left as it is.

    Every process of a torchrun calls this. The state of the caller's process (random numbers, threads, signals) is the same
    afterwards.

    Args:
        config: the recipe.
        models: the registry of models, by name.

    Raises:
        TrainingStopped: if ``config.should_stop`` asked for it.
        BioclipError: if something cannot be used as given; before training where that can be known before.
    """
    recorded = RunFolder(Path(config.output)).recorded_precision()
    compute = choose_compute(config.device, config.precision, recorded, "the run in this folder")
    with joined_world(compute.device) as world:
        is_cuda = compute.device.startswith("cuda")
        if is_cuda and world.size > 1:  # each process has a GPU of its own
            compute = replace(compute, device=f"cuda:{world.local_rank % torch.cuda.device_count()}")
            torch.cuda.set_device(compute.device)
        with torch.random.fork_rng(devices=[torch.device(compute.device)] if is_cuda else []):
            return _train(config, models, compute, world)


def _train(config: TrainConfig, models: Mapping[str, ModelEntry], compute: Compute, world: World) -> TrainResult:
    folder = RunFolder(Path(config.output))
    if (done := finished_result(folder)) is not None:
        folder.check_settings({"config": config.as_dict()})
        message = f"the run in {folder.output} is finished already; nothing was done"
        log.info(message)
        if world.is_first and config.tell:
            config.tell(TrainingProgress(done.steps, done.steps, message=message))
        return done
    _check_shares(config, world)
    images, replay, notes = open_data(config)
    notes += [line for found in (images, replay) if found is not None for line in found.look_first()]
    start = _open_start(config, models)
    text_width = int(start.model_cfg.get("text_cfg", {}).get("width", 512))
    settled = config.settled(images=len(images), text_width=text_width, random_weights=start.is_random)
    plan = Plan(settled, start, images, replay, compute, world, folder)
    settings = _settings(plan, config)
    if world.is_first:
        folder.begin(settings)
        folder.check_space(_bytes_needed(start))
    world.agreed(None)  # every process waits until the folder exists
    trainer = build_trainer(plan)
    for line in [*notes, *_opening_lines(plan, trainer.held_out)]:
        trainer.say(line)
    state = folder.newest_state(trainer.say)
    if state is not None:
        trainer.restore(state)
        trainer.say(f"going on after step {trainer.step} of {plan.steps}")
    world.agreed(None)
    trainer.run()
    # The kept weights have LoRA's additions in their matrices, and are measured in towers without additions.
    is_merged = config.method == "lora" and world.is_first
    towers = plain_towers(plan, _open_start(config, models)) if is_merged else trainer.towers
    return finish(trainer, towers, plan, settings)


def _open_start(config: TrainConfig, models: Mapping[str, ModelEntry]) -> Start:
    start = open_start(config.start, models, config.seed)
    return with_pairwise_bias(start) if config.loss == "siglip" else start


def _check_shares(config: TrainConfig, world: World) -> None:
    """Check that every process gets the same number of images.

    Raises:
        UsageError: if not, with a batch size that can be shared.
    """
    parts = world.size * config.accumulate
    advice = f"each must get the same number; try --batch-size {-(-config.batch_size // parts) * parts}"
    if config.batch_size % world.size:
        raise UsageError(f"a batch size of {config.batch_size} over {world.size} processes: {advice}")
    if config.replay and config.replay_batch_size % world.size:
        raise UsageError(
            f"a replay batch of {config.replay_batch_size} over {world.size} processes: {advice} and --replay-ratio 1"
        )


def _settings(plan: Plan, asked: TrainConfig) -> dict[str, Any]:
    """Return the stored settings of a run, which a resumed run must share."""
    return {
        "config": asked.as_dict(),
        "steps": plan.steps,
        "learning_rate": plan.config.learning_rate,
        "trunk_rate": plan.config.trunk_rate,
        "data_sha256": plan.images.identity,
        "replay_sha256": plan.replay.identity if plan.replay else None,
        "start": dict(plan.start.identity) or {"random": asked.start},
        "preprocessing": plan.start.preprocessing.identity(),
        "precision": plan.compute.precision,
        "world": plan.world.size,
        "made_with": {
            **{name: _version(name) for name in ("bioclip-plugin", "torch", "open_clip_torch", "numpy", "pillow")},
            "python": platform.python_version(), "device": plan.compute.described(),
        },
    }  # fmt: skip


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # a checkout that is not installed
        return ""


def _bytes_needed(start: Start) -> int:
    """Return the size of three states (weights and two moments, each in fp32) and three copies of the weights."""
    numbers: int = sum(parameter.numel() for parameter in start.model.parameters())
    return 4 * numbers * (3 * 3 + 3)


def _opening_lines(plan: Plan, held_out: HeldOut | None) -> list[str]:
    """Describe a run before its first step."""
    config, counts = plan.config, np.bincount(plan.images.taxon_of_N)
    lines = [
        f"{len(plan.images)} images of {int((counts > 0).sum())} taxa; {plan.steps} steps of {config.batch_size}"
        + (f" and {config.replay_batch_size} replayed" if plan.replay else "")
        + (f", {plan.world.size} processes" if plan.world.size > 1 else ""),
        f"on {plan.compute.described()}",
    ]
    if single := int((counts == 1).sum()):
        lines.append(f"{single} taxa have a single example: it is learnt, and takes no part in choosing weights")
    dev = held_out.evidence if held_out is not None else Evidence.of("dev", ())
    lines += [dev.shows, dev.rule]
    if dev.images and not dev.can_choose:
        lines.append("dev is only measured, and not trained on; --dev-fraction 0 trains on its images too")
    return [*lines, _val_of(config).shows]


def _val_of(config: TrainConfig) -> Evidence:
    """Count the images that ``evaluate`` will measure the result on."""
    try:
        val = open_images(config.data, "val", dev_fraction=config.dev_fraction, replace_prefix=config.replace_prefix)
    except SourceError:
        return Evidence.of("val", ())
    return Evidence.of("val", [val.group(row) for row in range(len(val))])
