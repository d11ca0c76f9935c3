"""From a recipe to a checkpoint: opens data and model, trains or continues, and finishes the folder."""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from bioclip_core.device import Compute, choose_compute
from bioclip_core.errors import BioclipError, UsageError
from bioclip_core.files.leftovers import temporary_folder
from bioclip_core.models import ModelEntry
from bioclip_training.catalog.first_look import unused_prefix_lines
from bioclip_training.loop.building import Plan, build_trainer, open_data, plain_towers
from bioclip_training.loop.checkpoint import RunFolder
from bioclip_training.loop.distributed import World, joined_world
from bioclip_training.loop.finishing import finish, finished_result
from bioclip_training.loop.measuring import measure
from bioclip_training.loop.plan_record import TrainingPlan
from bioclip_training.loop.planning import measured_plan, opening_plan
from bioclip_training.loop.recipe import TrainConfig, TrainingProgress, TrainResult, stage_of
from bioclip_training.loop.start import Start, open_start, with_pairwise_bias
from bioclip_training.loop.trainer import Trainer
from bioclip_training.loop.validation import IMAGES_AT_ONCE
from bioclip_training.towers.checkpointing import towers_without_checkpointing

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
    with _computing(config) as (own, compute, world):
        return _train(own, models, compute, world)


def plan_training(config: TrainConfig, models: Mapping[str, ModelEntry]) -> TrainingPlan:
    """Return the plan of a run, from a few measured steps of it; nothing is written to its folder.

    Args:
        config: the recipe.
        models: the registry of models, by name.

    Raises:
        BioclipError: for everything that :func:`train` would refuse, except lack of space and memory, which the plan states.
    """
    with _computing(config) as (own, compute, world):
        return _plan(own, models, compute, world)


@contextmanager
def _computing(config: TrainConfig) -> Iterator[tuple[TrainConfig, Compute, World]]:
    """Give the recipe as this process has it (only the first process speaks), the device, and the processes."""
    recorded = RunFolder(Path(config.output)).recorded_precision()
    compute = choose_compute(config.device, config.precision, recorded, "the run in this folder")
    with joined_world(compute.device) as world:
        is_cuda = compute.device.startswith("cuda")
        if is_cuda and world.size > 1:  # each process has a GPU of its own
            compute = replace(compute, device=f"cuda:{world.local_rank % torch.cuda.device_count()}")
            torch.cuda.set_device(compute.device)
        with torch.random.fork_rng(devices=[torch.device(compute.device)] if is_cuda else []):
            yield config if world.is_first else replace(config, tell=None), compute, world


def _train(config: TrainConfig, models: Mapping[str, ModelEntry], compute: Compute, world: World) -> TrainResult:
    folder = RunFolder(Path(config.output))
    if (done := finished_result(folder)) is not None:
        _check_finished(folder, config, models)
        message = f"the run in {folder.output} is finished already; nothing was done"
        log.info(message)
        if config.tell:
            config.tell(TrainingProgress(done.steps, done.steps, message=message))
        return done
    plan = _decided(config, models, compute, world)
    settings = _settings(plan, config)
    opening = opening_plan(plan, folder.newest_step())
    if world.is_first:
        is_resumed = folder.check(settings)
        if opening.problems:
            raise BioclipError(opening.problems[0])
        folder.begin(settings)
        plan.say(*opening.opening_lines(), *opening.remarks, *(folder.differences(settings) if is_resumed else ()))
    world.agreed(None)  # every process waits until the folder exists
    trainer = build_trainer(plan)
    _say_measured(plan, opening, trainer)
    state = folder.newest_state(trainer.say)
    if state is not None:
        trainer.restore(state)
        trainer.say(f"going on after step {trainer.step} of {plan.steps}")
    world.agreed(None)
    trainer.run()
    # The kept weights have LoRA's additions in their matrices, and are measured in towers without additions.
    is_merged = config.method == "lora" and world.is_first
    towers = plain_towers(plan, _open_start(config, models)) if is_merged else trainer.towers
    return finish(trainer, towers, plan, settings, models)


def _plan(config: TrainConfig, models: Mapping[str, ModelEntry], compute: Compute, world: World) -> TrainingPlan:
    folder = RunFolder(Path(config.output))
    done = finished_result(folder)
    if done is not None:
        _check_finished(folder, config, models)
        config = replace(config, steps=done.steps)
    plan = _decided(config, models, compute, world)
    opening = opening_plan(plan, done.steps if done else folder.newest_step())
    if done is not None:
        return replace(opening, state="finished", validations=0, problems=())
    is_resumed = folder.check(settings := _settings(plan, config))
    if is_resumed:
        opening = replace(opening, remarks=(*opening.remarks, *folder.differences(settings)))
    with temporary_folder("bioclip-training-") as scratch:  # unreadable images are listed there
        trainer = build_trainer(replace(plan, folder=RunFolder(Path(scratch)), dev_images=IMAGES_AT_ONCE))
        try:
            found = measure(trainer, plan.stage("Measuring a few steps"))
        except BioclipError as error:
            return replace(opening, problems=(*opening.problems, str(error)))
    return opening if found is None else measured_plan(opening, plan, trainer, found)


def _check_finished(folder: RunFolder, config: TrainConfig, models: Mapping[str, ModelEntry]) -> None:
    """Compare a finished run with the recipe; data and start, which may be gone, are opened only if an address is another one."""
    given: dict[str, Any] = {"config": config.as_dict()}
    if not folder.is_from(config):
        images, replay, _ = open_data(config)
        start = _identity_of(_open_start(config, models), config)
        given |= {"data_sha256": images.identity, "replay_sha256": replay.identity if replay else None, "start": start}
    folder.check_settings(given)


def _say_measured(plan: Plan, opening: TrainingPlan, trainer: Trainer) -> None:
    """Measure a few steps, and say what follows from them."""
    if not plan.config.measure:
        return
    found = measure(trainer, plan.stage("Measuring a few steps"))
    if found is not None and plan.world.is_first:
        measured = measured_plan(opening, plan, trainer, found)
        plan.say(*measured.measured_lines(), *measured.remarks[len(opening.remarks) :])


def _decided(config: TrainConfig, models: Mapping[str, ModelEntry], compute: Compute, world: World) -> Plan:
    """Open data and start model, and decide everything that the recipe leaves open."""
    _check_shares(config, world)
    stage_of(config, "Opening the collection", 0, 0)(0, 0)
    images, replay, notes = open_data(config)
    stage_of(config, "Opening the start model", 0, 0)(0, 0)
    notes += [line for found in (images, replay) if found is not None for line in found.look_first()]
    catalogs = [found.catalog for found in (images, replay) if found is not None]
    notes += unused_prefix_lines(catalogs, config.replace_prefix)
    start = _open_start(config, models)
    if config.gradient_checkpointing:
        notes += towers_without_checkpointing(start.model)
    text_width = int(start.model_cfg.get("text_cfg", {}).get("width", 512))
    settled = config.settled(images=len(images), text_width=text_width, random_weights=start.is_random)
    return Plan(settled, start, images, replay, compute, world, RunFolder(Path(config.output)), tuple(notes))


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
        "start": _identity_of(plan.start, asked),
        "preprocessing": plan.start.preprocessing.identity(),
        "precision": plan.compute.precision,
        "world": plan.world.size,
        "made_with": {
            **{name: _version(name) for name in ("bioclip-plugin", "torch", "open_clip_torch", "numpy", "pillow")},
            "python": platform.python_version(), "device": plan.compute.described(),
        },
    }  # fmt: skip


def _identity_of(start: Start, config: TrainConfig) -> dict[str, str]:
    return dict(start.identity) or {"random": config.start}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # a checkout that is not installed
        return ""
